"""Headers at full fidelity, against Python's own tarfile as the second opinion."""

from __future__ import annotations

import io
import os
import stat
import subprocess
import tarfile
import tempfile
from fractions import Fraction
from typing import TYPE_CHECKING

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from thorough import examples

from slimmer.errors import SlimmerError
from slimmer.tar.fields import TarError
from slimmer.tar.reading import (
    BLOCK_DEVICE,
    CHARACTER,
    DIRECTORY,
    FIFO,
    FILE,
    HARDLINK,
    SYMLINK,
    Header,
    Stream,
    Window,
    normalised,
    padded,
    walk,
)

if TYPE_CHECKING:
    from pathlib import Path

KINDS = {
    tarfile.REGTYPE: FILE,
    tarfile.DIRTYPE: DIRECTORY,
    tarfile.SYMTYPE: SYMLINK,
    tarfile.LNKTYPE: HARDLINK,
    tarfile.CHRTYPE: CHARACTER,
    tarfile.BLKTYPE: BLOCK_DEVICE,
    tarfile.FIFOTYPE: FIFO,
}
NAME = st.lists(
    st.one_of(
        st.binary(min_size=1, max_size=12),
        st.text("abc.é\x1b\n<", min_size=1, max_size=8).map(str.encode),
        st.sampled_from([b"n" * 90, b"m" * 200, b".wh.x", b"..."]),
    ),
    min_size=1,
    max_size=4,
).map(
    lambda parts: (
        b"/".join(part.replace(b"/", b"").replace(b"\0", b"") or b"x" for part in parts)
    ).decode("utf-8", "surrogateescape")
)
# tarfile itself reads neither of these back as they were written
SOUND = NAME.filter(lambda name: normalised(os.fsencode(name)) == os.fsencode(name))


@st.composite
def members(draw: st.DrawFn) -> tuple[tarfile.TarInfo, bytes]:
    member = tarfile.TarInfo(draw(SOUND))
    member.type = draw(st.sampled_from(sorted(KINDS)))
    member.mode = draw(st.integers(0, 0o7777))
    # beyond seven octal digits GNU's format writes base 256, and pax a record
    member.uid, member.gid = draw(st.tuples(*[st.integers(0, 1 << 40)] * 2))
    member.mtime = draw(st.integers(0, 1 << 40))
    member.uname, member.gname = draw(
        st.sampled_from([("", ""), ("root", "wheel"), ("ü", "x" * 40)])
    )
    content = b""
    if member.type == tarfile.REGTYPE:
        content = draw(st.binary(max_size=1100))
        member.size = len(content)
    if member.type in (tarfile.SYMTYPE, tarfile.LNKTYPE):
        member.linkname = draw(SOUND)
    if member.type in (tarfile.CHRTYPE, tarfile.BLKTYPE):
        member.devmajor, member.devminor = draw(st.tuples(*[st.integers(0, 0o7777777)] * 2))
    return member, content


class Tar(bytes):
    """A tar that a failing test does not print."""

    def __repr__(self) -> str:
        return f"<tar of {[header.path for header in read(self)]}>"


@st.composite
def tars(draw: st.DrawFn) -> bytes:
    buffer = io.BytesIO()
    shape = draw(st.sampled_from([tarfile.PAX_FORMAT, tarfile.GNU_FORMAT]))
    with tarfile.open(
        fileobj=buffer, mode="w", format=shape, encoding="utf-8", errors="surrogateescape"
    ) as tar:
        for member, content in draw(st.lists(members(), max_size=6)):
            if shape == tarfile.PAX_FORMAT and draw(st.booleans()):
                member.pax_headers = {"SCHILY.xattr.user.a": "1", "mtime": "12.25"}
            tar.addfile(member, io.BytesIO(content))
    return Tar(buffer.getvalue())


def pieces(tar: bytes, size: int) -> Stream:
    return Stream(iter([tar[at : at + size] for at in range(0, len(tar), size)]))


def read(tar: bytes, size: int = 4096) -> list[Header]:
    return [header for header, _ in walk(pieces(tar, size))]


@given(tars(), st.integers(1, 3000))
def test_headers_and_contents_put_together_are_the_tar_again(tar: bytes, size: int):
    source = pieces(tar, size)
    again = b""
    for header, raw in walk(source):
        assert len(again) == header.start
        content = source.at(header.data, header.stored)
        again += raw + content + bytes(padded(header.stored) - header.stored)

    assert tar[: len(again)] == again
    assert not tar[len(again) :].strip(b"\0")


@settings(max_examples=examples(300))
@given(tars())
def test_tarfile_reads_the_same(tar: bytes):
    with tarfile.open(fileobj=io.BytesIO(tar), encoding="utf-8", errors="surrogateescape") as other:
        expected = other.getmembers()

    found = read(tar)

    assert len(expected) == len(found)
    for theirs, ours in zip(expected, found, strict=True):
        assert os.fsencode(theirs.name) == ours.path
        assert KINDS[theirs.type] == ours.kind
        assert (theirs.mode, theirs.uid, theirs.gid) == (ours.mode, ours.uid, ours.gid)
        assert Fraction(theirs.mtime) * 1_000_000_000 == ours.mtime
        assert (theirs.offset, theirs.offset_data) == (ours.start, ours.data)
        assert (theirs.size if theirs.isreg() else 0) == ours.size
        if ours.kind in (SYMLINK, HARDLINK):
            assert os.fsencode(theirs.linkname) == ours.link
        if ours.kind in (CHARACTER, BLOCK_DEVICE):
            assert (theirs.devmajor, theirs.devminor) == ours.device
        xattr = theirs.pax_headers.get("SCHILY.xattr.user.a")
        assert (((b"user.a", xattr.encode()),) if xattr else ()) == ours.xattrs


@given(tars(), st.integers(1, 700))
def test_a_window_on_a_file_reads_what_a_stream_does(tar: bytes, before: int):
    with tempfile.TemporaryFile() as file:
        file.write(b"\xff" * before + tar + b"\xff" * 700)
        file.flush()
        window = Window(file.fileno(), before, len(tar))

        assert list(walk(pieces(tar, 997))) == list(walk(window))


@given(tars(), st.data())
def test_a_truncated_tar_is_told_or_ends_between_members(tar: bytes, data: st.DataObject):
    cut = data.draw(st.integers(0, len(tar)))
    whole = read(tar)
    try:
        found = read(tar[:cut])
    except TarError:
        return
    assert whole[: len(found)] == found


@settings(max_examples=examples(300))
@given(tars(), st.lists(st.tuples(st.integers(0, 1 << 16), st.integers(0, 255)), max_size=8))
@example(b"\0" * 100, [])
def test_whatever_is_damaged_nothing_but_our_own_error_comes(
    tar: bytes, changes: list[tuple[int, int]]
):
    damaged = bytearray(tar)
    for place, value in changes:
        damaged[place % len(damaged)] = value
    try:
        read(bytes(damaged))
    except SlimmerError:
        pass


@settings(max_examples=examples(300))
@given(tars(), st.lists(st.tuples(st.integers(0, 511), st.integers(0, 255)), max_size=4))
def test_a_damaged_field_under_a_right_checksum_is_no_traceback_either(
    tar: bytes, changes: list[tuple[int, int]]
):
    block = bytearray(tar[:512])
    for place, value in changes:
        block[place] = value
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    try:
        read(bytes(block) + tar[512:])
    except SlimmerError:
        pass


def test_no_bytes_are_a_tar_of_no_members():
    assert [] == read(b"")
    assert [] == read(bytes(512))


def test_a_zero_block_amid_a_tar_is_told():
    member = tarfile.TarInfo("a").tobuf()

    with pytest.raises(TarError, match="amid the tar, at byte 512"):
        read(member + bytes(512) + member + bytes(1024))


def test_a_size_that_uses_its_whole_field_is_read_to_its_last_digit():
    block = bytearray(tarfile.TarInfo("a").tobuf())
    block[124:136] = b"%012o" % (9 << 30)
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)

    [(header, _)] = [next(walk(Stream(iter([bytes(block)]))))]

    assert (9 << 30, 512 + (9 << 30)) == (header.size, header.next)


def test_a_pax_path_of_four_kilobytes_is_read():
    name = "/".join(["d" * 99] * 40)
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as tar:
        tar.addfile(tarfile.TarInfo(name))

    assert [name.encode()] == [header.path for header in read(buffer.getvalue())]


def test_a_global_header_is_kept_with_the_next_member_and_not_applied():
    buffer = io.BytesIO()
    pax = {"path": "elsewhere", "comment": "made by git"}
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT, pax_headers=pax) as tar:
        tar.addfile(tarfile.TarInfo("a"))
    source = Stream(iter([buffer.getvalue()]))

    [(header, raw)] = walk(source)

    assert (header.path, header.start) == (b"a", 0)
    assert buffer.getvalue()[: header.data] == raw


def test_a_gnu_sparse_file_has_its_real_size_and_its_stored_one(tmp_path: Path):
    (tmp_path / "s").touch()
    os.truncate(tmp_path / "s", 10_000_000)
    with (tmp_path / "s").open("r+b") as file:
        for place in range(0, 10_000_000, 100_000):  # more than one block of map
            file.seek(place)
            file.write(b"x")
    for form, version in [("gnu", ""), ("posix", "0.0"), ("posix", "0.1"), ("posix", "1.0")]:
        options = [f"--sparse-version={version}"] if version else []
        tar = subprocess.run(
            ["tar", "-C", tmp_path, "-S", f"--format={form}", *options, "-cf", "-", "s"],
            check=True,
            stdout=subprocess.PIPE,
        ).stdout

        [header] = read(tar)

        assert (header.path, header.size, header.sparse) == (b"s", 10_000_000, True), version
        assert header.stored < 1_000_000
        assert header.next <= len(tar)


def test_a_folder_as_gnu_tar_writes_it(tmp_path: Path):
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "file").write_bytes(b"12345")
    (tmp_path / "d" / "file").chmod(0o4711)
    os.link(tmp_path / "d" / "file", tmp_path / "d" / "link")
    (tmp_path / "d" / "to").symlink_to("../elsewhere")
    os.mkfifo(tmp_path / "d" / "pipe")
    out = tmp_path / "d.tar"
    subprocess.run(["tar", "-C", tmp_path, "--sort=name", "-cf", out, "./d"], check=True)

    found = {header.path: header for header in read(out.read_bytes())}

    assert {b"d", b"d/file", b"d/link", b"d/to", b"d/pipe"} == set(found)
    assert (
        found[b"d/link"].kind,
        found[b"d/link"].link,
        found[b"d/link"].size,
    ) == (HARDLINK, b"d/file", 0)
    assert found[b"d/to"].link == b"../elsewhere"
    assert stat.S_IMODE((tmp_path / "d" / "file").stat().st_mode) == found[b"d/file"].mode
    assert found[b"d/pipe"].kind == FIFO


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (b"./a//b/", b"a/b"),
        (b"/etc/passwd", b"etc/passwd"),
        (b"../../x", b"x"),
        (b"a/../../b", b"b"),
        (b"./", b""),
        (b".", b""),
    ],
)
def test_names_are_paths_from_the_root_of_the_image(name: bytes, expected: bytes):
    assert expected == normalised(name)
    member = tarfile.TarInfo(name.decode())
    member.type = tarfile.DIRTYPE if name.endswith(b"/") else tarfile.REGTYPE

    assert [expected] == [header.path for header in read(member.tobuf() + bytes(1024))]
