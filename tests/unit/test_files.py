"""Files by their names: every hard link leads to the member that an unpacker would link it to."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st
from thorough import examples
from tiny import image, layer, tar

from slimmer.analysis.dependencies import DependencyGraph
from slimmer.analysis.facts import Facts
from slimmer.analysis.linkage import _configured
from slimmer.attribution import Attribution
from slimmer.evidence import Evidence
from slimmer.files import join, parent, parents
from slimmer.index import Index

if TYPE_CHECKING:
    from collections.abc import Callable

NOTHING = Evidence(())


def scan(*tars: bytes) -> Index:
    return Index.scan(image(*tars), NOTHING)


def contents(index: Index, *paths: bytes) -> dict[bytes, bytes]:
    found = {}
    for path in paths or index.visible:
        file = index.file(path)
        if file is not None:
            [(_, read)] = index.layers[file.layer].layer.content.files([file.holder])
            found[path] = read(0, file.size)
    return found


def test_paths_are_taken_apart_and_put_together():
    assert [b"a/b", b"", b""] == [parent(b"a/b/c"), parent(b"a"), parent(b"")]
    assert [b"a/b", b"a"] == list(parents(b"a/b/c"))
    assert [] == list(parents(b"a"))
    assert [b"a/b", b"b"] == [join(b"a", b"b"), join(b"", b"b")]


def test_all_names_of_a_file_lead_to_the_member_with_the_bytes():
    index = scan(tar(("file", "a", b"12345"), ("link", "b", "a"), ("link", "c", "b")))

    file = index.file(b"c")

    assert file is index.file(b"a") is index.file(b"b")
    assert file is not None
    assert (0, b"a", 5) == (file.layer, file.holder.path, file.size)
    assert (b"a", b"b", b"c") == file.names


def test_a_name_given_again_leaves_the_first_file_to_its_link():
    index = scan(tar(("file", "a", b"old"), ("link", "b", "a"), ("file", "a", b"newer")))

    assert {b"a": b"newer", b"b": b"old"} == contents(index)
    assert (8, 8) == (index.unpacked, index.rootfs)
    assert (b"b",) == index.file(b"b").names  # type: ignore[union-attr]


def test_a_link_means_what_lower_layers_show_where_its_own_has_nothing_before_it():
    index = scan(
        layer({"a": b"low", "b": b"gone"}),
        layer({}, removed=["b"]),
        tar(("link", "x", "a"), ("file", "a", b"high"), ("link", "y", "a"), ("link", "z", "b")),
    )

    assert {b"a": b"high", b"x": b"low", b"y": b"high"} == contents(index)
    assert 0 == index.file(b"x").layer  # type: ignore[union-attr]
    assert (b"a", b"y") == index.file(b"a").names  # type: ignore[union-attr]
    assert ("layer 2: 1 hard links to nothing, such as b'z'",) == index.problems
    assert 3 + 4 == index.rootfs


def test_what_a_layer_hides_itself_was_still_there_for_its_links():
    index = scan(layer({"a": b"low"}), tar(("file", ".wh.a", b""), ("link", "x", "a")))

    assert {b"x": b"low"} == contents(index)
    assert (3, 0) == (index.rootfs, index.deleted)


@pytest.mark.parametrize(
    "members",
    [
        [("link", "a", "a")],
        [("link", "a", "b"), ("link", "b", "a")],
        [("folder", "d", ""), ("link", "a", "d")],
        [("link", "a", "nowhere")],
        [("file", "a", b"x"), ("link", "a", "a")],
    ],
)
def test_links_that_lead_nowhere_are_told(members: list[tuple[str, str, bytes | str]]):
    index = scan(tar(*members))

    assert index.file(b"a") is None
    assert "hard links to nothing" in index.problems[0]


def test_a_symlink_with_two_names_is_followed_by_both():
    index = scan(tar(("file", "real/x", b"1"), ("symlink", "one", "real"), ("link", "two", "one")))

    assert b"real/x" == index.resolve(b"two/x")


def test_a_link_whose_target_goes_through_a_symlink_keeps_the_bytes():
    index = scan(
        tar(
            ("folder", "data", ""),
            ("file", "data/a", b"5" * 5000),
            ("symlink", "c", "data"),
            ("link", "b", "c/a"),
        ),
        layer({}, removed=["data/a"]),
    )

    assert {b"b"} == {path for path in index.visible if path not in (b"data", b"c")}
    assert (5000, 0) == (index.rootfs, index.deleted)
    assert b"5" * 5000 == contents(index, b"b")[b"b"]


def test_evidence_is_known_by_every_name_and_of_the_right_file():
    wanted = Evidence([("**/RECORD", 100)])
    index = Index.scan(
        image(
            tar(
                ("file", "cache/RECORD", b"first"),
                ("link", "site/RECORD", "cache/RECORD"),
                ("link", "site/other", "site/RECORD"),
                ("file", "cache/RECORD", b"second"),
            )
        ),
        wanted,
    )

    assert {
        b"cache/RECORD": b"second",
        b"site/RECORD": b"first",
        b"site/other": b"first",
    } == dict(index.evidence)


def facts(index: Index) -> Facts:
    ledger = Attribution.of(index, ())
    return Facts(ledger, DependencyGraph.of(ledger))


def test_contents_of_every_name_are_read_and_of_lower_layers_too():
    index = scan(
        tar(("file", "a", b"12345"), ("link", "b", "a")),
        layer({"x": b"new"}, links={"c": "b"}),
    )

    assert {b"a": b"12345", b"b": b"12345", b"c": b"12345"} == dict(
        facts(index).contents([b"a", b"b", b"c"])
    )
    assert 0 == facts(index).freed([b"a", b"b"])
    assert 5 == facts(index).freed([b"a", b"b", b"c"])


def test_a_configuration_of_the_loader_may_be_a_hard_link():
    index = scan(
        tar(
            ("file", "store/conf", b"/opt/own\n"),
            ("link", "etc/ld.so.conf", "store/conf"),
        )
    )

    assert b"opt/own" in _configured(index, facts(index).readers)


def seconds(work: Callable[[], object]) -> float:
    """The least of three tries, in processor time."""
    times = []
    for _ in range(3):
        begin = time.process_time()
        work()
        times.append(time.process_time() - begin)
    return min(times)


def test_files_with_many_names_cost_as_much_as_they_are():
    def work(count: int, layers: int) -> Callable[[], object]:
        each = count // layers
        tars = [
            tar(
                *(("file", f"s{at}/{n}", b"x") for n in range(each)),
                *(("link", f"t{at}/{n}", f"s{max(0, at - 1)}/{n}") for n in range(each)),
                *(("link", f"u{at}/{n}", f"s{at}/0") for n in range(each)),
            )
            for at in range(layers)
        ]
        source = image(*tars)

        def done() -> None:
            index = Index.scan(source, NOTHING)
            found = facts(index)
            assert len(dict(found.contents(index.visible))) == len(index.visible)
            found.freed(index.visible)

        return done

    for layers in (1, 4):
        small, large = seconds(work(1_000, layers)), seconds(work(8_000, layers))

        assert large < 24 * max(small, 0.005)  # 64 times where it grows with the square


# --- against a naive unpacker ---------------------------------------------------------------------

NAMES = st.sampled_from(["a", "b", "c", "d/a", "d/b", "e/a"])
MEMBER = st.one_of(
    st.tuples(st.just("file"), NAMES, st.binary(max_size=4)),
    st.tuples(st.just("link"), NAMES, NAMES),
    st.tuples(st.just("link"), NAMES, NAMES),
    st.tuples(st.just("gone"), NAMES, st.just(b"")),
)
LAYERS = st.lists(st.lists(MEMBER, max_size=7), min_size=1, max_size=4)


@dataclass(eq=False)
class Inode:
    content: bytes


def unpacked(layers: list[list[tuple[str, str, bytes | str]]]) -> dict[str, Inode]:
    """The tree that unpacking in order makes; links that no unpacker can make are taken out."""
    tree: dict[str, Inode] = {}
    for members in layers:
        lower = dict(tree)
        for kind, name, _ in members:
            if kind == "gone":
                tree.pop(name, None)
        for member in list(members):
            kind, name, more = member
            if kind == "file":
                assert isinstance(more, bytes)
                tree[name] = Inode(more)
            elif kind == "link":
                # Whether a whiteout or a link is carried out first is not for us to say.
                first = tree.get(str(more)) or lower.get(str(more))
                if first is None or more == name:
                    members[:] = [one for one in members if one is not member]
                else:
                    tree[name] = first
    return tree


@settings(max_examples=examples(2000), deadline=None)
@given(LAYERS)
def test_every_name_leads_to_the_file_that_an_unpacker_links_it_to(
    layers: list[list[tuple[str, str, bytes | str]]],
):
    tree = unpacked(layers)
    event(f"files with several names: {len(tree) - len({*tree.values()})}")

    index = scan(
        *(
            tar(
                *(
                    ("file", "/".join([*name.split("/")[:-1], ".wh." + name.split("/")[-1]]), more)
                    if kind == "gone"
                    else (kind, name, more)
                    for kind, name, more in members
                )
            )
            for members in layers
        )
    )

    assert {name: inode.content for name, inode in tree.items()} == {
        path.decode(): content for path, content in contents(index).items()
    }
    for name, inode in tree.items():
        file = index.file(name.encode())
        assert file is not None
        assert {other for other in tree if tree[other] is inode} == {
            path.decode() for path in file.names
        }
    assert index.rootfs == sum(len(inode.content) for inode in {*tree.values()})
    assert index.rootfs == sum(header.size for header in index.visible.values())
    assert index.unpacked == index.rootfs + index.overwritten + index.deleted
