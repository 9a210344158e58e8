"""Images as the standard library reads them, to the true end of each layer."""

from __future__ import annotations

import ast
import io
import tarfile
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from proofs import looked
from thorough import examples
from tiny import Bytes, image, layer

import slimmer.proof.reading
import slimmer.proof.tree
from slimmer.image import Digest
from slimmer.proof.reading import read
from slimmer.proof.tree import FIELDS, Tree, shown
from slimmer.tar.reading import Stream

if TYPE_CHECKING:
    from collections.abc import Iterator


def tree(*tars: bytes, contents: bool = False) -> Tree:
    return read(image(*tars), {}, contents=contents)


def test_it_shares_no_code_with_what_it_judges():
    modules = (slimmer.proof.reading, slimmer.proof.tree)
    named = {
        node.module
        for one in modules
        for node in ast.walk(ast.parse(Path(one.__file__).read_text(encoding="utf-8")))
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("slimmer")
    }

    assert named <= {
        *("slimmer.errors", "slimmer.names", "slimmer.image", "slimmer.proof.tree"),
    }


NAMES = ("a", "b", "d/a", "d/b", "d/e/f", "d")


@st.composite
def layers(draw: st.DrawFn) -> list[bytes]:
    made = []
    for _ in range(draw(st.integers(1, 3))):
        files: dict[str, bytes | None] = {}
        for name in draw(st.lists(st.sampled_from(NAMES[:5]), unique=True)):
            files[name] = draw(st.binary(max_size=9))
        links = {f"l{n}": draw(st.sampled_from(sorted(files))) for n in range(bool(files))}
        removed = draw(st.lists(st.sampled_from(NAMES), unique=True, max_size=2))
        opaque = draw(st.sampled_from(([], ["d"])))
        made.append(
            layer(files, removed, opaque, links, {"s": "d/a"} if draw(st.booleans()) else {})
        )
    return made


@given(layers())
@settings(max_examples=examples(500), deadline=None)
def test_it_shows_what_an_index_shows(tars: list[bytes]):
    index = looked(image(*tars)).index

    found = tree(*tars)

    assert index.visible.keys() == found.members.keys()
    assert index.unpacked == found.unpacked
    for path, member in found.members.items():
        header = index.visible[path]
        same = ("mode", "uid", "gid", "mtime", "device", "xattrs")
        assert [getattr(header, name) for name in same] == [getattr(member, name) for name in same]


def odd(tar: bytes, *below: bytes) -> tuple[str, ...]:
    return read(image(*below, tar), {}, judged=True).layers[-1].odd


PLAIN = layer({"a": b"x" * 700, "b": b"y" * 512})


def test_a_whole_tar_has_nothing_odd():
    assert () == odd(PLAIN)
    assert () == odd(b"")
    assert () == odd(PLAIN[: PLAIN.rindex(b"y") + 1])  # some writers leave the two blocks out


@pytest.mark.parametrize("at", [10, 600, 1300, 1600, 2300])
def test_a_tar_that_is_cut_short_is_odd(at: int):
    assert () != odd(PLAIN[:at])


def test_what_stands_behind_the_end_is_odd():
    (what,) = odd(PLAIN + b"\0" * 512 + b"more")

    assert "goes on behind its end" in what


def test_a_damaged_header_is_no_end():
    damaged = bytearray(PLAIN)
    damaged[PLAIN.index(b"b\0")] ^= 1

    (what,) = odd(bytes(damaged))

    assert "damaged header" in what


def tar(*members: tuple[str, bytes, str]) -> bytes:
    """A tar of members in this very order: name, type, target of a link."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as file:
        for name, kind, target in members:
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, target
            file.addfile(info)
    return buffer.getvalue()


def test_a_path_named_twice_is_odd():
    assert ("names a twice",) == odd(tar(("a", tarfile.REGTYPE, ""), ("./a", tarfile.REGTYPE, "")))


def test_a_link_before_its_target_is_odd():
    (what,) = odd(tar(("b", tarfile.LNKTYPE, "a"), ("a", tarfile.REGTYPE, "")))

    assert "links b to a, which comes later" == what


def test_a_folder_behind_what_lies_in_it_is_odd():
    assert ("names d behind what lies in it",) == odd(
        tar(("d/a", tarfile.REGTYPE, ""), ("d", tarfile.DIRTYPE, ""))
    )


def test_numbers_are_read_to_their_last_digit():
    whole = bytearray(layer({"a": b"x" * 8, "b": b""}))
    whole[124:136] = b"000000000010"  # 8 in octal, no end
    whole[148:156] = b" " * 8
    whole[148:156] = b"%06o\0 " % sum(whole[:512])

    assert (8, ()) == (tree(bytes(whole)).members[b"a"].size, odd(bytes(whole)))


def test_global_records_are_not_applied():
    buffer = io.BytesIO()
    with tarfile.open(
        fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT, pax_headers={"path": "other"}
    ) as file:
        file.addfile(tarfile.TarInfo("a"))

    assert {b"a"} == tree(buffer.getvalue()).members.keys()


def test_times_are_exact():
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as file:
        info = tarfile.TarInfo("a")
        info.pax_headers = {"mtime": "1700000000.123456789"}
        file.addfile(info)

    assert 1_700_000_000_123_456_789 == tree(buffer.getvalue()).members[b"a"].mtime


def test_all_names_of_a_file_are_one_file():
    found = tree(layer({"a": b"xy"}, links={"b": "a", "c": "b"}), layer({}, links={"e": "c"}))

    held = {found.members[name].held for name in (b"a", b"b", b"c", b"e")}
    sizes = {found.members[name].size for name in (b"a", b"b", b"c", b"e")}
    assert ({(0, 0)}, {2}) == (held, sizes)
    assert dict(zip(FIELDS, shown(found.members[b"c"]), strict=True))["kind"] == "file"


def test_what_lies_behind_a_symlink_is_kept_apart_from_what_lies_below_its_target():
    found = tree(layer({"usr/lib/x": b"1"}, symlinks={"lib": "usr/lib"}), layer({"lib/x": b"22"}))

    assert {b"usr/lib/x", b"lib", b"lib/x"} == found.members.keys()
    assert b"usr/lib/x" == found.real(b"lib/x")


def test_contents_are_read_once_and_checked():
    one = image(PLAIN)
    found = read(one, {}, contents=True)

    digests = {found.digest(found.members[name]) for name in (b"a", b"b")}
    assert 2 == len(digests - {None})


class Pieces(Bytes):
    """A medium that hands out no more at a time than it holds in one piece."""

    @contextmanager
    def walkable(self) -> Iterator[Any]:
        pieces = [self.tar[at : at + 300] for at in range(0, len(self.tar), 300)]
        yield Stream(iter(pieces))


def test_it_reads_a_stream_without_going_back():
    tars = [layer({"d/" + "n" * 120: b"x" * 512, "a": b"", "b": b"y" * 700}, links={"c": "a"})]
    plain = image(*tars)
    one = replace(plain.layers[0], content=Pieces(tars[0]))

    assert read(plain, {}).members == read(replace(plain, layers=(one,)), {}).members
    assert () == read(replace(plain, layers=(one,)), {}).layers[0].odd


def test_the_table_of_contents_of_a_layer_for_lazy_pulling_is_no_file():
    made = layer({"a": b"x", ".prefetch.landmark": b"1", "stargz.index.json": b"{}"})
    source = image(made)

    plain, lazy = read(source, {}), read(source, {}, lazy={Digest.of(made)})

    assert ({b"a"}, 1) == (set(lazy.members), lazy.unpacked)
    assert (3, 4) == (len(plain.members), plain.unpacked)
