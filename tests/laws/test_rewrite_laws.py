"""Laws 3, 4, 5 and 7 over generated images: the written tree is the planned one, nothing else."""

from __future__ import annotations

import io
import tarfile
from typing import TYPE_CHECKING

import crossing
import odd
import pytest
from hypothesis import HealthCheck, Phase, assume, given, settings
from hypothesis import strategies as st
from thorough import examples
from tiny import Bytes, config, image, layer
from tiny import tar as made
from unpacked import Tree, faults, stored

from slimmer.edits.changes import Changes
from slimmer.evidence import Evidence
from slimmer.files import parents
from slimmer.image import Config, Digest, Image
from slimmer.index import Index
from slimmer.rewrite import RewriteError, flattened, overlaid, rewritten
from slimmer.splice import Copy, Literal, Splice
from slimmer.tar.reading import DIRECTORY, FILE, HARDLINK, Stream, walk

if TYPE_CHECKING:
    from collections.abc import Mapping

    from slimmer.edits.drafts import Draft
    from slimmer.tar.reading import Header

NAMES = ("a", "b", "c\udcff", "d" * 120, "e")
PATHS = st.lists(st.sampled_from(NAMES), min_size=1, max_size=3).map("/".join)


@st.composite
def layers(draw: st.DrawFn) -> bytes:
    """A layer as engines write them: parents before children, links after their first name."""
    buffer = io.BytesIO()
    kinds: dict[str, bytes] = {}
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for path in draw(st.lists(PATHS, max_size=8, unique=True)):
            parents = ["/".join(path.split("/")[:n]) for n in range(1, path.count("/") + 1)]
            if any(kinds.get(parent, tarfile.DIRTYPE) != tarfile.DIRTYPE for parent in parents):
                continue
            if path in kinds:
                continue
            for parent in parents:
                if parent not in kinds:
                    kinds[parent] = tarfile.DIRTYPE
                    tar.addfile(_member(parent, tarfile.DIRTYPE))
            kind = draw(
                st.sampled_from(
                    [tarfile.REGTYPE] * 3
                    + [tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE]
                )
            )
            member = _member(path, kind)
            content = b""
            if kind == tarfile.REGTYPE:
                content = draw(st.binary(max_size=700))
                member.size = len(content)
                if draw(st.booleans()):
                    member.pax_headers = {"SCHILY.xattr.user.note": "x"}
            elif kind == tarfile.LNKTYPE:
                files = [name for name, one in kinds.items() if one == tarfile.REGTYPE]
                if not files:
                    continue
                member.linkname = draw(st.sampled_from(files))
            elif kind == tarfile.SYMTYPE:
                member.linkname = "nowhere"
            kinds[path] = kind
            tar.addfile(member, io.BytesIO(content))
        for path in draw(st.lists(PATHS, max_size=2, unique=True)):
            directory, _, name = path.rpartition("/")
            if any(path == one or path.startswith(one + "/") for one in kinds):
                continue
            marker = draw(st.sampled_from([".wh." + name, ".wh..wh..opq"]))
            parents = ["/".join(path.split("/")[:n]) for n in range(1, path.count("/") + 1)]
            if all(kinds.get(parent) == tarfile.DIRTYPE for parent in parents):
                tar.addfile(_member(f"{directory}/{marker}" if directory else marker, b"0"))
    return buffer.getvalue()


def _member(name: str, kind: bytes) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type = kind
    member.mode = 0o755
    member.uid = 1000
    member.mtime = 1_700_000_000
    return member


PLAN = Digest.of(b"plan")


def written(source: Image, changes: Changes) -> Image:
    """The draft of these changes, written to memory."""
    return in_memory(rewritten(source, changes, PLAN, "test"))


def in_memory(draft: Draft) -> Image:
    """A draft, written."""
    tars = [b"".join(layer.chunks()) for layer in draft.layers]
    for one, tar in zip(draft.layers, tars, strict=True):
        assert one.length in (None, len(tar))
    finished = draft.finish([Digest.of(tar) for tar in tars])
    return Image.of("after", finished, [(Bytes(tar), None, None) for tar in tars])


def scan(source: Image) -> Index:
    return Index.scan(source, Evidence([]))


def tree(index: Index) -> Mapping[bytes, tuple[object, ...]]:
    """What a user of the image sees: all names of a file show the one file that they are."""
    result: dict[bytes, tuple[object, ...]] = {}
    for path, header in index.visible.items():
        content = b""
        if header.kind in (FILE, HARDLINK):
            header, content = _file(index, path)
        result[path] = (
            header.kind,
            content,
            header.mode,
            header.uid,
            header.gid,
            header.mtime,
            header.link,
            header.xattrs,
        )
    return result


def _file(index: Index, path: bytes) -> tuple[Header, bytes]:
    """The member that holds a file's content, and the content."""
    header = index.visible[path]
    for number in range(index.layer_of[path], -1, -1):
        tar = index.layers[number].layer.content.tar
        held = {one.path: one for one in index.layers[number].headers}
        if header.kind == HARDLINK:
            header = held.get(header.link, header)
        if header.kind == FILE:
            return header, tar[header.data : header.data + header.stored]
    raise AssertionError(f"{path!r} has no content")


def planned(before: Index, data: st.DataObject) -> tuple[Changes, set[bytes], set[bytes]]:
    """Changes of all kinds; the paths that are to leave, and those that get new content."""
    paths = sorted(before.visible)
    removed = data.draw(st.sets(st.sampled_from(paths), max_size=4)) if paths else set()
    for path in list(removed):
        removed.update(one for one in paths if one.startswith(path + b"/"))
    hidden = [(number, one.header.start) for number, one in before.droppable()]
    dropped = data.draw(st.sampled_from([[], hidden]))
    files = [
        path
        for path in paths
        if before.visible[path].kind == FILE and path not in removed and _single(before, path)
    ]
    rewritten_paths = data.draw(st.sets(st.sampled_from(files), max_size=2)) if files else set()
    splices = {
        path: Splice((Literal(b"new"), Copy(0, before.visible[path].size)))
        for path in rewritten_paths
    }
    return Changes.of(before, removed, dropped, splices), removed, set(splices)


def promised(changes: Changes, new: set[bytes]) -> Mapping[bytes, tuple[object, ...]]:
    """The tree that these changes are to leave."""
    expected = {
        path: row for path, row in tree(changes.before).items() if path not in changes.removed
    }
    for path in new:
        kind, content, *rest = expected[path]
        expected[path] = (kind, b"new" + content, *rest)
    return expected


@settings(max_examples=examples(300), deadline=None)
@given(st.lists(layers(), min_size=1, max_size=4).map(crossing.Tars), st.data())
def test_the_written_tree_is_the_old_one_minus_exactly_the_removals(
    tars: list[bytes], data: st.DataObject
):
    source = image(*tars)
    before = scan(source)
    changes, removed, new = planned(before, data)

    after = scan(written(source, changes))

    assert promised(changes, new) == tree(after)
    assert (changes.after.unpacked, changes.after.rootfs) == (after.unpacked, after.rootfs)
    assert removed >= {path for path in changes.removed if before.visible[path].kind != DIRECTORY}


@settings(max_examples=examples(300), deadline=None)
@given(st.lists(layers(), min_size=1, max_size=4).map(crossing.Tars), st.data())
def test_flattened_it_shows_the_same_tree_in_fewer_layers(tars: list[bytes], data: st.DataObject):
    source = image(*tars)
    changes, _, new = planned(scan(source), data)
    first = data.draw(st.integers(0, len(tars) - 1))
    draft = flattened(source, changes, PLAN, "test", first)

    result = in_memory(draft)
    after = scan(result)

    assert promised(changes, new) == tree(after)
    assert len(result.layers) <= first + 1
    assert draft.unpacked == after.unpacked
    if first == 0:
        assert not after.layers or not after.layers[0].whiteouts
        assert after.unpacked == after.rootfs == changes.after.rootfs


@settings(max_examples=examples(300), deadline=None)
@given(st.lists(layers(), min_size=1, max_size=4).map(crossing.Tars), st.data())
def test_overlaid_it_shows_the_same_tree_and_every_layer_is_as_it_was(
    tars: list[bytes], data: st.DataObject
):
    source = image(*tars)
    changes, _, new = planned(scan(source), data)
    draft = overlaid(source, changes, PLAN, "test")

    result = in_memory(draft)
    after = scan(result)

    assert promised(changes, new) == tree(after)
    kept = source.config.diff_ids
    assert kept == result.config.diff_ids[: len(kept)]
    assert draft.unpacked == after.unpacked
    if changes.removed:
        assert "unpacked" in draft.notices[0]


def _single(index: Index, path: bytes) -> bool:
    """Whether a file has one name only, so that new content changes nothing else."""
    return not any(
        header.kind == HARDLINK and header.link == path
        for layer in index.layers
        for header in layer.headers
    )


@settings(max_examples=examples(50), deadline=None)
@given(st.lists(layers(), min_size=1, max_size=3).map(crossing.Tars))
def test_no_changes_give_the_same_image(tars: list[bytes]):
    source = image(*tars)

    assert source.id == written(source, Changes.of(scan(source))).id


@settings(max_examples=examples(50), deadline=None)
@given(st.lists(layers(), min_size=2, max_size=3).map(crossing.Tars), st.data())
def test_an_untouched_layer_keeps_its_digest_and_twice_gives_the_same(
    tars: list[bytes], data: st.DataObject
):
    source = image(*tars)
    before = scan(source)
    removed = (
        data.draw(st.sets(st.sampled_from(sorted(before.visible)), max_size=2))
        if (before.visible)
        else set()
    )
    changes = Changes.of(before, removed)
    first = written(source, changes)

    assert first.id == written(source, Changes.of(scan(source), removed)).id
    for one, edit in zip(source.layers, changes.edits, strict=True):
        assert bool(edit) or one.diff_id in first.config.diff_ids


MODES = {
    "rewrite": lambda source, changes: rewritten(source, changes, PLAN, "test"),
    "flatten": lambda source, changes: flattened(source, changes, PLAN, "test"),
    "flatten from 1": lambda source, changes: flattened(source, changes, PLAN, "test", 1),
    "overlay": lambda source, changes: overlaid(source, changes, PLAN, "test"),
}
SLOW = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much]
ALL_BUT_SHRINK = (Phase.explicit, Phase.reuse, Phase.generate)
"""Shrinking such an image takes minutes and makes it little smaller."""
Rows = dict[bytes, tuple[object, ...]]


def settled(before: Tree, changes: Changes, new: Mapping[bytes, bytes]) -> Rows:
    """What an unpacker is to make of the written image: the rows of the source less what leaves,
    names that leave included, with the new contents under every name of a file."""
    rows = {path: row for path, row in before.rows().items() if path not in changes.removed}
    kept = {path.decode("utf-8", "surrogateescape") for path in rows}
    for path, (*fields, names) in rows.items():
        staying = tuple(sorted(kept.intersection(names)))
        for name in staying:
            content = new.get(name.encode("utf-8", "surrogateescape"))
            if content is not None:
                fields[CONTENT] = content
        rows[path] = (*fields, staying)
    return rows


CONTENT = 4


def asked(before: Index, tree: Tree, data: st.DataObject) -> tuple[Changes, dict[bytes, bytes]]:
    """Changes of all kinds, and the new contents by path."""
    paths = sorted(set(before.visible) - {b""})
    removed = data.draw(st.sets(st.sampled_from(paths), max_size=5)) if paths else set()
    for path in list(removed):
        removed.update(one for one in paths if one.startswith(path + b"/"))
    hidden = [(number, one.header.start) for number, one in before.droppable()]
    dropped = data.draw(st.sampled_from([[], hidden, hidden]))
    rows = tree.rows()
    files = {
        str(rows[path][-1]): path
        for path in paths
        if path in rows and rows[path][0] == "file" and path not in removed
    }
    chosen = data.draw(st.sets(st.sampled_from(sorted(files)), max_size=2)) if files else set()
    contents: dict[bytes, bytes] = {}
    splices: dict[bytes, Splice] = {}
    for path in (files[name] for name in sorted(chosen)):
        header, content = file_of(before, path)
        if not header.sparse:
            contents[path] = b"new" + content
            splices[path] = Splice((Literal(b"new"), Copy(0, header.size)))
    return Changes.of(before, removed, dropped, splices), contents


def file_of(index: Index, path: bytes) -> tuple[Header, bytes]:
    """The member that holds a visible file's content, and the content."""
    file = index.file(path)
    assert file is not None
    tar = index.layers[file.layer].layer.content.tar
    return file.holder, tar[file.holder.data : file.holder.data + file.holder.stored]


@settings(
    max_examples=examples(400), deadline=None, suppress_health_check=SLOW, phases=ALL_BUT_SHRINK
)
@given(crossing.layers(), st.data())
def test_an_independent_unpacker_finds_exactly_what_was_planned(
    tars: list[bytes], data: st.DataObject
):
    source, tree = image(*tars), Tree(tars)
    before = scan(source)
    # Open: a link beside a member that is named through a symlink of a lower layer may come to
    # stand before it, where that symlink's folder has a whiteout in the same layer.
    assume(not links_beside_names_through_symlinks(before, tars))
    changes, new = asked(before, tree, data)
    expected = settled(tree, changes, new)
    mode = data.draw(st.sampled_from(sorted(MODES)))
    assume(len(tars) > 1 or mode != "flatten from 1")
    try:
        draft = MODES[mode](source, changes)
    except RewriteError:
        assert mode == "flatten from 1"
        return

    written = [b"".join(layer.chunks()) for layer in draft.layers]

    after = Tree(written)
    rows = after.rows()
    assert not {path for path in {*rows, *expected} if rows.get(path) != expected.get(path)}
    assert changes.after.rootfs == after.size
    assert draft.unpacked == sum(map(stored, written))
    for number, tar in enumerate(written):
        assert tar in tars or not faults(tar, written[:number])
    for one, tar in zip(draft.layers, written, strict=True):
        assert one.length in (None, len(tar))


def links_beside_names_through_symlinks(index: Index, tars: list[bytes]) -> bool:
    """Whether a layer has hard links, whiteouts, and a name that leads through a symlink."""
    for laid, tar in zip(index.layers, tars, strict=True):
        names = [header.path for header, _ in walk(Stream(iter([tar])))]
        crooked = names != [header.path for header in laid.headers]
        if crooked and laid.whiteouts and any(one.kind is HARDLINK for one in laid.headers):
            return True
    return False


def beside_their_folder(index: Index) -> set[bytes]:
    """Paths that a whiteout names beside members below them in its own layer."""
    return {
        hidden
        for layer in index.layers
        for below in [{folder for one in layer.headers for folder in parents(one.path)}]
        for mark in layer.whiteouts
        if (hidden := mark.path.replace(b".wh.", b"", 1)) in below
    }


@settings(
    max_examples=examples(200), deadline=None, suppress_health_check=SLOW, phases=ALL_BUT_SHRINK
)
@given(crossing.layers(), st.data())
def test_what_was_slimmed_has_nothing_more_to_drop(tars: list[bytes], data: st.DataObject):
    source = image(*tars)
    before = scan(source)
    paths = sorted(before.visible)
    removed = data.draw(st.sets(st.sampled_from(paths), max_size=5)) if paths else set()
    hidden = [(number, one.header.start) for number, one in before.droppable()]
    promised = sum(one.size for _, one in before.droppable())

    changes = Changes.of(before, removed, hidden)

    after = scan(written(source, changes))
    # Open: `.wh.d` beside `d/x` hides nothing of `d` in a mount. Once `d/x` leaves it does, and
    # what only the mount showed of `d` is for the next run to drop. Nothing else is excused.
    became_holes = beside_their_folder(before) - beside_their_folder(after)
    more = [one.header.path for _, one in after.droppable() if one.size]
    assert not [path for path in more if became_holes.isdisjoint(parents(path))]
    assert after.unpacked == changes.after.unpacked
    assert after.unpacked <= before.unpacked - promised
    # A mount of the layers shows some of what the specification hides: that stays.
    assert before.mount_shows or after.unpacked == after.rootfs


@pytest.mark.parametrize("removed", [set[bytes](), {b"a/c"}])
def test_a_promoted_file_stays_where_a_mount_shows_it(removed: set[bytes]):
    """Under its real path, behind the symlink of the lower layer, the whiteout would hide it."""
    first, name = ("file", "a/x", b"x" * 512), ("link", "lib/lib/y", "a/x")
    tars = [
        made(("symlink", "lib", "a")),
        made(first, ("file", "a/c", b""), name, ("symlink", "a/x", "nowhere")),
        made(("file", "a/.wh.lib", b"")),
    ]
    source = image(*tars)
    before = scan(source)

    after = scan(written(source, Changes.of(before, removed)))

    assert [b"lib/lib/y"] == list(before.mount_shows.values()) == list(after.mount_shows.values())
    assert not list(after.droppable())


def test_a_whiteout_goes_on_hiding_what_only_a_mount_shows():
    first, name = ("file", "a/x", b"x" * 512), ("link", "lib/lib/y", "a/x")
    tars = [
        made(("symlink", "lib", "a")),
        made(first, ("file", "a/c", b""), name, ("symlink", "a/x", "nowhere")),
        made(("file", "a/lib/.wh.y", b""), ("file", "b", b"")),
    ]
    source = image(*tars)

    after = written(source, Changes.of(scan(source), {b"a/c", b"b"}))

    tree = Tree([one.content.tar for one in after.layers])  # type: ignore[attr-defined]
    assert {b"lib", b"a/x"} == set(tree.rows())


def test_a_folder_without_a_member_of_its_own_takes_the_place_of_its_whiteout_in_a_mount():
    source = image(_tar({"d/x": b"1"}), made(("file", ".wh.d", b""), ("file", "d/y", b"22")))

    index = scan(source)

    assert [b"d/x"] == list(index.mount_shows.values())
    assert not list(index.droppable())


def test_history_and_runtime_config_are_carried_and_say_what_happened():
    tars = [_tar({"keep": b"1", "drop": b"22"}), _tar({"gone": b"3"})]
    source = Image.of(
        "app:1",
        Config.parse(config(tars, ["FROM", "RUN"], {"Env": ["A=b"], "User": "me"})),
        [(Bytes(tar), None, None) for tar in tars],
    )

    after = written(source, Changes.of(scan(source), [b"drop", b"gone"]))

    assert 1 == len(after.layers), "a layer that becomes empty is no layer any more"
    assert [False, True, True] == [entry.empty_layer for entry in after.config.history]
    assert (("A", "b"),) == after.config.environment
    assert "me" == after.config.user
    assert source.id == dict(after.config.labels)["org.opencontainers.image.base.digest"]
    assert Digest.of(b"plan") == dict(after.config.labels)["io.slimmer.plan"]


def _tar(files: dict[str, bytes]) -> bytes:
    return layer(files)


@pytest.mark.parametrize("mode", MODES)
def test_the_odd_image_keeps_all_that_was_not_to_leave(mode: str):
    source = image(*odd.layers())
    changes = Changes.of(scan(source), odd.REMOVED)

    after = scan(in_memory(MODES[mode](source, changes)))

    assert promised(changes, set()) == tree(after)
    assert {b"only", b"was-link"} <= changes.removed
    third = b"links/third" + b"x" * 120
    assert b"shared" * 200 == _file(after, third)[1], "a file outlives its first name"
    server = after.visible[b"app/server"]
    assert dict(server.xattrs) == {b"security.capability": odd.CAPABILITY}
    assert (0o4755, 1_600_000_000_123_456_789) == (server.mode, server.mtime)
    assert (1_000_003, True) == (
        after.visible[b"app/sparse"].size,
        after.visible[b"app/sparse"].sparse,
    )
    assert (1, 5) == after.visible[b"dev/zero"].device


@pytest.mark.parametrize("mode", MODES)
def test_history_tells_of_as_many_layers_as_there_are(mode: str):
    tars = odd.layers()
    source = Image.of(
        "app:1",
        Config.parse(config(tars, ["FROM", "A", "B", "C"])),
        [(Bytes(tar), None, None) for tar in tars],
    )

    after = in_memory(MODES[mode](source, Changes.of(scan(source), odd.REMOVED)))

    assert not after.problems
    assert len(after.layers) == sum(not entry.empty_layer for entry in after.config.history)
    assert ["FROM", "A", "B", "C"] == [entry.created_by for entry in after.config.history][:4]
    assert {"rewrite": 3, "flatten": 1, "flatten from 1": 2, "overlay": 5}[mode] == len(
        after.layers
    )


def test_a_link_across_layers_takes_its_content_along():
    lower = _tar({"a": b"content"})
    upper = layer({}, links={"b": "a"})
    top = layer({}, removed=["a"])
    source = image(lower, upper, top)
    changes = Changes.of(scan(source))

    after = scan(in_memory(flattened(source, changes, PLAN, "test")))

    assert {b"b": b"content"} == {path: _file(after, path)[1] for path in after.visible}
    with pytest.raises(RewriteError, match="layer 1 links b'b' to a file of layer 0"):
        flattened(source, changes, PLAN, "test", 1)


def test_a_link_chain_survives_the_loss_of_its_middle():
    source = image(layer({"a": b"1"}, links={"b": "a", "c": "b"}))

    after = scan(written(source, Changes.of(scan(source), [b"b"])))

    assert [b"1", b"1"] == [_file(after, path)[1] for path in (b"a", b"c")]


def test_there_is_nothing_to_flatten_from_beyond_the_last_layer():
    source = image(_tar({"a": b"1"}))

    with pytest.raises(RewriteError, match="no layer 1"):
        flattened(source, Changes.of(scan(source)), PLAN, "test", 1)


def test_a_link_is_written_behind_the_file_that_it_names():
    source = image(_tar({"a": b"content"}), layer({}, links={"b": "a"}))

    after = scan(in_memory(flattened(source, Changes.of(scan(source)), PLAN, "test")))

    assert [b"a", b"b"] == [header.path for header in after.layers[0].headers]


def test_a_folder_is_written_once_and_before_what_lies_in_it():
    tars = [layer({"a": None, "a/x": b"1"}), layer({"a/y": b"2"}), layer({"b": None, "b/z": b"3"})]
    source = image(*tars)

    after = scan(in_memory(flattened(source, Changes.of(scan(source)), PLAN, "test")))

    assert [b"b", b"b/z", b"a", b"a/y", b"a/x"] == [one.path for one in after.layers[0].headers]


def test_a_promoted_file_does_not_fall_through_a_symlink_of_a_lower_layer():
    lower = layer({}, symlinks={"lib": "nowhere"})
    upper = layer({"first": b"content", "lib": None}, links={"lib/second": "first"})
    source = image(lower, upper)

    after = scan(written(source, Changes.of(scan(source), [b"first"])))

    assert {b"lib": DIRECTORY, b"lib/second": FILE} == {
        path: header.kind for path, header in after.visible.items()
    }


def test_identical_files_of_which_the_same_is_made_become_one():
    names = ["a", "b", "c", "d"]
    source = image(_tar(dict.fromkeys(names, b"content")))
    paths = [name.encode() for name in names]
    shorter, other = Splice((Copy(0, 3),)), Splice((Copy(4, 3),))
    splices = {b"a": shorter, b"b": other, b"c": shorter}

    changes = Changes.of(scan(source), splices=splices, twins=[paths])
    after = scan(written(source, changes))

    assert [b"con", b"ent", b"con", b"content"] == [_file(after, path)[1] for path in paths]
    assert [FILE, FILE, HARDLINK, FILE] == [after.visible[path].kind for path in paths]
    assert changes.after.unpacked == after.unpacked == 3 + 3 + 7
