"""Tar at full fidelity: headers read fast, and kept so that they can be written back byte for byte.

Formats: POSIX.1-2001 pax and ustar (IEEE Std 1003.1, `pax`), GNU tar (long names, sparse files,
base-256 numbers), as layers of real images mix them. Names are bytes: an image may hold any.
This is the part that `tarfile-stream` was to play in the design; no such package exists, and the
standard library's `tarfile` neither keeps the bytes of a header nor reads it fast enough.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, NamedTuple, Protocol
from zlib import adler32

from slimmer.errors import SlimmerError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

BLOCK = 512
"""Tar is made of blocks of this many bytes."""
END = bytes(2 * BLOCK)
"""Two zero blocks end an archive."""

FILE = "file"
DIRECTORY = "directory"
SYMLINK = "symlink"
HARDLINK = "hardlink"
CHARACTER = "character"
BLOCK_DEVICE = "block"
FIFO = "fifo"

KINDS = {
    b"0": FILE,
    b"\0": FILE,
    b"7": FILE,  # contiguous file: nobody tells it from a regular one any more
    b"S": FILE,  # GNU sparse
    b"1": HARDLINK,
    b"2": SYMLINK,
    b"3": CHARACTER,
    b"4": BLOCK_DEVICE,
    b"5": DIRECTORY,
    b"6": FIFO,
}
EXTENSION_LIMIT = 8 << 20
"""Bytes of one extension header at most: far above any real one, far below what hurts."""


class TarError(SlimmerError):
    """A tar that ends too soon or whose headers are damaged."""


class Header(NamedTuple):
    """One member of a layer: everything its header says, but for the bytes that say it.

    A tuple and not a dataclass: a million of them are made in one go, and this is three times
    faster and can be written to the cache as it is.
    """

    path: bytes
    """Path from the root of the image, without a leading or trailing slash; `b""` is the root."""
    kind: str
    size: int
    """Content bytes as a reader of the file sees them; 0 for all but regular files."""
    mode: int
    """Permission bits, setuid, setgid and sticky included."""
    uid: int
    gid: int
    mtime: int
    """Nanoseconds since the epoch."""
    link: bytes
    """Target of a symlink as written; path of a hard link's first name, normalised like `path`."""
    device: tuple[int, int]
    """Major and minor number of a device."""
    xattrs: tuple[tuple[bytes, bytes], ...]
    """Extended attributes, sorted by name."""
    start: int
    """Offset of the member's first block, extension headers included, in the layer's tar."""
    data: int
    """Offset of its content."""
    stored: int
    """Content bytes in the tar, without padding; other than `size` for sparse files only."""
    sparse: bool
    """True where the stored bytes are a sparse map and its parts, not the content itself."""

    @property
    def next(self) -> int:
        """Offset of the block behind the member."""
        return self.data + padded(self.stored)


class Forward(Protocol):
    """Bytes that are read from front to back, with gaps."""

    def at(self, offset: int, length: int) -> bytes:
        """The bytes at `offset`, fewer only at the end; `offset` never goes back."""
        ...


class Window:
    """A `Forward` over part of a file, read with `pread`: what is skipped is never read."""

    __slots__ = ("_buffer", "_end", "_fd", "_from", "_start")

    def __init__(self, fd: int, start: int, length: int) -> None:
        self._fd = fd
        self._start = start
        self._end = length
        self._buffer = b""
        self._from = 0

    def at(self, offset: int, length: int) -> bytes:
        at = offset - self._from
        buffer = self._buffer
        if at >= 0 and at + length <= len(buffer):
            return buffer[at : at + length]
        # 16 KiB holds the headers of several small files and wastes little on large ones.
        wanted = min(max(length, 16384), self._end - offset)
        if wanted <= 0:
            return b""
        if wanted > 65536:
            return os.pread(self._fd, min(length, wanted), self._start + offset)
        self._buffer = buffer = os.pread(self._fd, wanted, self._start + offset)
        self._from = offset
        return buffer[:length]


class Stream:
    """A `Forward` over chunks that come one after another, such as a decompressor's."""

    __slots__ = ("_chunks", "_from", "_held")

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._held = b""
        self._from = 0

    def at(self, offset: int, length: int) -> bytes:
        at = offset - self._from
        held = self._held
        if at + length <= len(held):
            return held[at : at + length]
        while at >= len(held):
            at -= len(held)
            self._from += len(held)
            chunk = next(self._chunks, None)
            if chunk is None:
                self._held = b""
                return b""
            held = self._held = chunk
        if at + length <= len(held):
            return held[at : at + length]
        parts = [held[at:]]
        missing = length - len(parts[0])
        while missing > 0:
            self._from += len(held)
            chunk = next(self._chunks, None)
            if chunk is None:
                self._held = b""
                break
            held = self._held = chunk
            parts.append(held[:missing])
            missing -= len(parts[-1])
        return b"".join(parts)

    def drain(self) -> int:
        """Read what is left, so that whoever checks the bytes sees all; how many there were."""
        self._from += len(self._held)
        self._held = b""
        for chunk in self._chunks:
            self._from += len(chunk)
        return self._from


def padded(size: int) -> int:
    """`size` rounded up to whole blocks."""
    return (size + 511) & ~511


def walk(source: Forward) -> Iterator[tuple[Header, bytes]]:
    """Every member of a tar in order, with the raw blocks of its header.

    Between two members the caller may read the content through `source` itself, from
    `header.data` on. Raises TarError with the offset of what is wrong.

    Records of global pax headers are not applied: no engine applies them (Go's `archive/tar`
    hands them on), so an image is what it is without them. Their blocks belong to the next
    member's raw blocks.
    """
    at = source.at
    offset = 0
    while True:
        block = at(offset, 512)
        if len(block) < 512:
            if not block and offset:
                return  # some writers leave out the two zero blocks
            raise TarError(
                f"the tar ends too soon, at byte {offset + len(block)}",
                hint="it is truncated or no tar at all; save or pull the image again",
            )
        try:
            header = _plain(block, offset)
        except (ValueError, KeyError):
            if block == _ZERO:
                return
            extended = _extended(at, offset, block)
            if extended is None:
                return
            yield extended
            offset = extended[0].next
        else:
            yield header, block
            offset = header.data + ((header.stored + 511) & ~511)


def _plain(block: bytes, offset: int) -> Header:
    """Read a header that needs no second look; ValueError or KeyError where it does.

    The hot loop: plain octal numbers, no extension, no device; 3 µs a header.
    """
    kind = _PLAIN[block[156]]
    if _sum(block) != int(block[148:154], 8) % 65521:
        raise ValueError
    name = block[: block.index(0, 0, 101)] if block[99] else block[:100].rstrip(b"\0")
    if block[345] and block[257:263] == b"ustar\0":
        name = block[345:500].rstrip(b"\0") + b"/" + name
    if name[-1:] == b"/":
        name = name[:-1]
    if _ODD(name):
        name = normalised(name)
    stored = int(block[124:135], 8) if kind is FILE else 0
    link = b""
    if kind is SYMLINK:
        link = block[157:257].rstrip(b"\0")
    elif kind is HARDLINK:
        link = normalised(block[157:257].rstrip(b"\0"))
    return _make(
        Header,
        (
            name,
            kind,
            stored,
            int(block[100:107], 8) & 0o7777,
            int(block[108:115], 8),
            int(block[116:123], 8),
            int(block[136:147], 8) * 1_000_000_000,
            link,
            _NO_DEVICE,
            (),
            offset,
            offset + 512,
            stored,
            False,
        ),
    )


_PLAIN = {ord("0"): FILE, ord("5"): DIRECTORY, ord("2"): SYMLINK, ord("1"): HARDLINK}
_ODD = re.compile(rb"/?\.{0,2}/|.*//|.*/\.{1,2}(/|\Z)|\.{1,2}\Z|\Z").match


def _sum(block: bytes) -> int:
    """A header's checksum modulo 65521.

    adler32's low half is the sum of all bytes plus one, at a tenth of the cost of `sum`.
    """
    return ((adler32(block) & 0xFFFF) - (adler32(block[148:156]) & 0xFFFF) + 256) % 65521


_ZERO = bytes(BLOCK)
_NO_DEVICE = (0, 0)
_make = tuple.__new__


def normalised(name: bytes) -> bytes:
    """A member's path from the root of the image: no `.`, no `..`, no slash at either end.

    `..` cannot lead out: as in every unpacker that matters, the root's parent is the root.
    """
    parts: list[bytes] = []
    for part in name.split(b"/"):
        if part == b"..":
            del parts[-1:]
        elif part not in (b"", b"."):
            parts.append(part)
    return b"/".join(parts)


def _extended(
    at: Callable[[int, int], bytes], start: int, block: bytes
) -> tuple[Header, bytes] | None:
    """Read a member whose header needs more than `_plain` does; None at the end of the tar."""
    raw: list[bytes] = []
    records: dict[bytes, bytes] = {}
    offset = start
    while True:
        _check(block, offset)
        typeflag = block[156:157]
        if typeflag not in b"xXgLK":
            break
        size = number(block[124:136], offset)
        if size > EXTENSION_LIMIT:
            raise TarError(f"an extension header of {size} bytes at byte {offset}")
        content = at(offset + BLOCK, padded(size))
        if len(content) < padded(size):
            raise TarError(f"the tar ends within the extension header at byte {offset}")
        raw += (block, content)
        if typeflag == b"L":
            records[b"path"] = content[:size].rstrip(b"\0")
        elif typeflag == b"K":
            records[b"linkpath"] = content[:size].rstrip(b"\0")
        elif typeflag != b"g":
            records |= pax_records(content[:size], offset)
        offset += BLOCK + padded(size)
        if len(raw) > 64:
            raise TarError(f"more than 32 extension headers for one member at byte {start}")
        block = at(offset, BLOCK)
        if len(block) < BLOCK:
            raise TarError(f"the tar ends behind the extension header at byte {start}")
        if block == _ZERO:
            if records:
                raise TarError(f"an extension header without its member at byte {start}")
            return None
    raw.append(block)
    data = offset + BLOCK
    if typeflag == b"S":
        # GNU sparse: the map may go on in further blocks, each saying whether one more follows.
        more = block[482]
        while more:
            extension = at(data, BLOCK)
            if len(extension) < BLOCK:
                raise TarError(f"the tar ends within the sparse map at byte {start}")
            raw.append(extension)
            more = extension[504]
            data += BLOCK
    elif records.keys() <= _NAMES:
        # Nine out of ten extensions only hold a name of more than a hundred bytes.
        try:
            header = _plain(block, offset)
        except (ValueError, KeyError):
            pass
        else:
            path = records.get(b"path")
            link = records.get(b"linkpath")
            if link is not None and header.kind is HARDLINK:
                link = normalised(link)
            header = header._replace(
                path=header.path if path is None else normalised(path),
                link=header.link if link is None or header.kind in (FILE, DIRECTORY) else link,
                start=start,
                data=data,
            )
            return header, b"".join(raw)
    return _header(block, records, start, data, offset), b"".join(raw)


def _header(
    block: bytes, records: dict[bytes, bytes], start: int, data: int, offset: int
) -> Header:
    """Read a header block in full, with the pax records that override it."""
    typeflag = block[156:157]
    kind = KINDS.get(typeflag)
    if kind is None:
        raise TarError(
            f"a member of the unknown type {typeflag!r} at byte {offset}",
            hint="the tar is damaged, or made by a tool that no container engine understands",
        )
    name = block[:100].partition(b"\0")[0]
    if block[257:263] == b"ustar\0" and block[345]:
        name = block[345:500].partition(b"\0")[0] + b"/" + name
    name = records.get(b"GNU.sparse.name") or records.get(b"path") or name
    if typeflag == b"\0" and name.endswith(b"/"):
        kind = DIRECTORY  # how Unix V7 wrote directories
    link = records.get(b"linkpath", block[157:257].partition(b"\0")[0])
    stored = size = 0
    sparse = False
    if kind is FILE:
        stored = size = _integer(records, b"size", block[124:136], offset)
        if typeflag == b"S":
            size, sparse = number(block[483:495], offset), True
        for key in (b"GNU.sparse.realsize", b"GNU.sparse.size"):
            if key in records:
                size, sparse = _integer(records, key, b"", offset), True
    if min(stored, size) < 0:
        raise TarError(f"a member of a negative size at byte {offset}")
    device = _NO_DEVICE
    if kind is CHARACTER or kind is BLOCK_DEVICE:
        device = (number(block[329:337], offset), number(block[337:345], offset))
    return Header(
        path=normalised(name),
        kind=kind,
        size=size,
        mode=number(block[100:108], offset) & 0o7777,
        uid=_integer(records, b"uid", block[108:116], offset),
        gid=_integer(records, b"gid", block[116:124], offset),
        mtime=_time(records, block[136:148], offset),
        link=link if kind is SYMLINK else normalised(link) if kind is HARDLINK else b"",
        device=device,
        xattrs=tuple(
            sorted((key[13:], value) for key, value in records.items() if key.startswith(XATTR))
        ),
        start=start,
        data=data,
        stored=stored,
        sparse=sparse,
    )


_NAMES = {b"path", b"linkpath"}
XATTR = b"SCHILY.xattr."
"""Prefix of the pax records that hold extended attributes."""


def _check(block: bytes, offset: int) -> None:
    """Raise TarError unless the header's checksum is right, be it of unsigned or signed bytes."""
    expected = number(block[148:156], offset)
    if expected % 65521 == _sum(block):
        return
    unsigned = sum(block) - sum(block[148:156]) + 256
    if expected != unsigned:
        signed = unsigned - 256 * sum(byte > 127 for byte in block[:148] + block[156:])
        if expected != signed:
            raise TarError(
                f"a wrong checksum in the tar header at byte {offset}",
                hint="this is no tar, or it is damaged; save or pull the image again",
            )


def number(field: bytes, offset: int) -> int:
    """A number as octal digits, or in base 256 where the first bit says so (GNU)."""
    if field and field[0] & 0x80:
        value = int.from_bytes(field, "big", signed=False) & ((1 << (8 * len(field) - 1)) - 1)
        return value - (1 << (8 * len(field) - 1)) if field[0] & 0x40 else value
    digits = field.partition(b"\0")[0].strip()
    try:
        return int(digits, 8) if digits else 0
    except ValueError:
        raise TarError(f"expected an octal number, got {field!r} at byte {offset}") from None


def _integer(records: dict[bytes, bytes], key: bytes, field: bytes, offset: int) -> int:
    text = records.get(key)
    if text is None:
        return number(field, offset)
    if len(text) > 20 or not text.isdigit():
        raise TarError(f"expected a number, got {text[:40]!r} for {key.decode()} at byte {offset}")
    return int(text)


def _time(records: dict[bytes, bytes], field: bytes, offset: int) -> int:
    text = records.get(b"mtime")
    if text is None:
        return number(field, offset) * 1_000_000_000
    match = _DECIMAL(text)
    if match is None:
        raise TarError(f"expected a time, got {text[:40]!r} for mtime at byte {offset}")
    sign, whole, fraction = match.groups(b"")
    nanoseconds = int(whole) * 1_000_000_000 + int((fraction + b"000000000")[:9])
    return -nanoseconds if sign else nanoseconds


_DECIMAL = re.compile(rb"(-?)(\d{1,18})(?:\.(\d*))?\Z").match


def pax_records(content: bytes, offset: int) -> dict[bytes, bytes]:
    """Pax records, each `length key=value newline`; the length counts its own digits too."""
    records: dict[bytes, bytes] = {}
    at = 0
    while at < len(content):
        space = content.find(b" ", at, at + 20)
        digits = content[at:space] if space > 0 else b""
        end = at + int(digits) if digits.isdigit() else 0
        if end <= space + 1 or end > len(content) or content[end - 1] != 10:
            if not content[at:].strip(b"\0"):
                break
            raise TarError(f"a damaged pax record in the extension header at byte {offset}")
        key, equals, value = content[space + 1 : end - 1].partition(b"=")
        if not equals:
            raise TarError(f"a pax record without '=' in the extension header at byte {offset}")
        records[key] = value
        at = end
    return records
