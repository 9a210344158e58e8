"""Members and layers: how they are stacked, and written as tar."""

import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import PurePosixPath

OPAQUE = ".wh..wh..opq"
"""The mark by which a layer says that a folder holds nothing from the layers below."""


@dataclass(frozen=True, slots=True)
class Member:
    """One member of a layer; what is not a regular file has no content."""

    name: str
    """Without slashes at either end; a byte that is not UTF-8 stands as a lone surrogate."""
    kind: bytes = b"0"
    """The tar type: 0 file, 1 hard link, 2 symbolic link, 5 directory."""
    content: bytes = b""
    target: str = ""
    mode: int = 0o644
    owner: int = 0
    """The numeric user, and the group with the same number."""
    xattrs: tuple[tuple[str, bytes], ...] = ()


@dataclass(frozen=True, slots=True)
class Layer:
    created: datetime
    members: tuple[Member, ...]


def directory(name: str, mode: int = 0o755, owner: int = 0) -> Member:
    return Member(name, b"5", mode=mode, owner=owner)


def symlink(name: str, target: str) -> Member:
    return Member(name, b"2", target=target, mode=0o777)


def whiteout(name: str) -> Member:
    """The mark by which a layer says that `name` is gone."""
    path = PurePosixPath(name)
    return Member(str(path.with_name(".wh." + path.name)), mode=0)


def raw(name: str) -> bytes:
    # Not os.fsencode: the image must not depend on the locale.
    return name.encode("utf-8", "surrogateescape")


def walk_order(member: Member) -> tuple[bytes, ...]:
    # A folder's content follows it at once, as in an engine's archives: "a/b" before "a.txt".
    return tuple(raw(part) for part in member.name.split("/"))


def parents(name: str) -> Iterator[str]:
    """The folders above `name`, outermost first."""
    parts = name.split("/")
    return ("/".join(parts[:depth]) for depth in range(1, len(parts)))


def stack(started: datetime, steps: Iterable[tuple[float, Iterable[Member]]]) -> tuple[Layer, ...]:
    """One layer for each step's seconds and members, and in it the folders that lead to them.

    A folder that is not among the members keeps the mode and owner it has below.
    """
    layers, folders, clock = [], dict[str, Member](), started
    for seconds, members in steps:
        clock += timedelta(seconds=seconds)
        by_name = {member.name: member for member in members}
        folders |= {name: member for name, member in by_name.items() if member.kind == b"5"}
        for folder in [folder for name in by_name for folder in parents(name)]:
            by_name.setdefault(folder, folders.setdefault(folder, directory(folder)))
        layers.append(Layer(clock, tuple(sorted(by_name.values(), key=walk_order))))
    return tuple(layers)


def tar(members: Iterable[Member], mtime: int) -> bytes:
    """A POSIX archive as Go's archive/tar, hence Docker, writes it.

    That is ustar, with a PAX header before what ustar can't say; names that are not UTF-8 go into
    it as they are. Python's tarfile is not used: its output may differ between versions.
    """
    blocks = []
    for member in members:
        name = raw(member.name) + (b"/" if member.kind == b"5" else b"")
        records = {f"SCHILY.xattr.{key}".encode(): value for key, value in member.xattrs}
        if len(name) > 100 or not name.isascii():
            records[b"path"] = name
        if records:
            base = raw(PurePosixPath(member.name).name)
            pax = b"".join(pax_record(key, value) for key, value in sorted(records.items()))
            extension = Member("", b"x", pax)
            blocks += [header(extension, b"PaxHeaders.0/" + base, 0), padded(pax)]
        blocks += [header(member, name, mtime), padded(member.content)]
    return b"".join(blocks) + bytes(1024)


def pax_record(key: bytes, value: bytes) -> bytes:
    body = b" " + key + b"=" + value + b"\n"
    # The length counts its own digits.
    length = next(n for n in range(len(body), len(body) + 9) if n == len(body) + len(str(n)))
    return str(length).encode() + body


def header(member: Member, name: bytes, mtime: int) -> bytes:
    name = bytes(byte for byte in name if byte < 128)[:100]
    owner = b"%07o\0" % member.owner
    numbers = b"%07o\0" % member.mode + owner + owner
    numbers += b"%011o\0%011o\0" % (len(member.content), mtime)
    kind, target = member.kind, member.target.encode()
    # No user names, the device 0,0 and no name prefix.
    rest = struct.pack("<s100s8s64x8s8s167x", kind, target, b"ustar\x0000", b"0000000", b"0000000")
    start = name.ljust(100, b"\0") + numbers
    # The checksum is taken as if its own field were blank.
    return start + b"%06o\0 " % (sum(start) + 8 * ord(" ") + sum(rest)) + rest


def padded(content: bytes) -> bytes:
    return content + bytes(-len(content) % 512)
