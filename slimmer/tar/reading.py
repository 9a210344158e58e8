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

from slimmer.tar.fields import (
    XATTR,
    TarError,
    decimal,
    nanoseconds,
    number,
    octal,
    pax_records,
    text,
)

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
    `header.data` on. Raises TarError with the offset of what is wrong. No bytes at all are a tar
    of no members, and so is one whose end is not marked by two zero blocks.

    Records of global pax headers are not applied: no engine applies them (Go's `archive/tar`
    hands them on), so an image is what it is without them. Their blocks belong to the next
    member's raw blocks.
    """
    at = source.at
    offset = 0
    while True:
        block = at(offset, 512)
        if len(block) < 512:
            if not block:
                return
            raise TarError(
                f"the tar ends too soon, at byte {offset + len(block)}",
                hint="it is truncated or no tar at all; save or pull the image again",
            )
        try:
            header = _plain(block, offset)
        except ValueError:
            if block == _ZERO:
                if at(offset + 512, 512).strip(b"\0"):
                    raise TarError(
                        f"a zero block amid the tar, at byte {offset}",
                        hint="the layer is damaged; save or pull the image again",
                    ) from None
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
    """Read a header that needs no second look; ValueError where it does.

    The hot loop: numbers of octal digits up to their terminator, no extension, no device. It
    knows less than `_header` and never anything else.
    """
    fields = _FIELDS(block, 100)
    # The sum of ASCII alone is below 65521, so that `_sum` is the sum itself.
    if fields is None or block[329:345] not in _NO_DEVICES or not block.isascii():
        raise ValueError
    mode, uid, gid, size, mtime, checksum, typeflag = fields.groups()
    if _sum(block) != int(checksum, 8):
        raise ValueError
    kind = _PLAIN[typeflag]
    name = block[: block.index(0, 0, 100)]
    if block[345] or block[508]:
        if block[257:263] != b"ustar\0" or block[508:512] == b"tar\0":
            raise ValueError
        name = text(block[345:500]) + b"/" + name if block[345] else name
    if name[-1:] == b"/":
        name = name[:-1]
    if _ODD(name):
        name = normalised(name)
    stored = int(size, 8) if kind is FILE else 0
    link = b""
    if kind is SYMLINK:
        link = text(block[157:257])
    elif kind is HARDLINK:
        link = normalised(text(block[157:257]))
    return _make(
        Header,
        (
            name,
            kind,
            stored,
            int(mode, 8) & 0o7777,
            int(uid, 8),
            int(gid, 8),
            int(mtime, 8) * 1_000_000_000,
            link,
            _NO_DEVICE,
            (),
            offset,
            offset + 512,
            stored,
            False,
        ),
    )


_PLAIN = {b"0": FILE, b"5": DIRECTORY, b"2": SYMLINK, b"1": HARDLINK}
_FIELDS = re.compile(
    rb"([0-7]{6}[0-7 ])[\0 ]" * 3 + rb"([0-7]{11})[\0 ]" * 2 + rb"([0-7]{6})(?:\0 | \0)([0125])"
).match
_NO_DEVICES = frozenset((bytes(16), b"0000000\0" * 2, b"000000 \0" * 2))
"""What is written for the device of a file that is none."""
_ODD = re.compile(rb"/?\.{0,2}/|.*/\.{0,2}(/|\Z)|\.{0,2}\Z", re.DOTALL).match


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
    name = link = b""
    offset = start
    while True:
        _check(block, offset)
        typeflag = block[156:157]
        if typeflag not in b"xXgLK":
            break
        size = _numbers(block, offset)[3]
        prefix_of(block, offset)
        if not 0 <= size <= EXTENSION_LIMIT:
            raise TarError(f"an extension header of {size} bytes at byte {offset}")
        content = at(offset + BLOCK, padded(size))
        if len(content) < padded(size):
            raise TarError(f"the tar ends within the extension header at byte {offset}")
        raw += (block, content)
        if typeflag == b"L":
            name = text(content[:size])
        elif typeflag == b"K":
            link = text(content[:size])
        elif typeflag == b"g":
            # A member of its own for Go's reader: what came before it was said of it.
            pax_records(content[:size], offset)
            records, name, link = {}, b"", b""
        else:
            # A second one takes the first one's place, with all that it said.
            records = pax_records(content[:size], offset)
        offset += BLOCK + padded(size)
        if len(raw) > 64:
            raise TarError(f"more than 32 extension headers for one member at byte {start}")
        block = at(offset, BLOCK)
        if len(block) < BLOCK:
            raise TarError(f"the tar ends behind the extension header at byte {start}")
        if block == _ZERO:
            if records or name or link:
                raise TarError(f"an extension header without its member at byte {start}")
            return None
    raw.append(block)
    if name:
        records[b"path"] = name
    if link:
        records[b"linkpath"] = link
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
        except ValueError:
            pass
        else:
            path = records.get(b"path")
            target = records.get(b"linkpath")
            if target is not None and header.kind is HARDLINK:
                target = normalised(target)
            header = header._replace(
                path=header.path if path is None else normalised(path),
                link=header.link if target is None or header.kind in (FILE, DIRECTORY) else target,
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
    mode, uid, gid, size, mtime, device = _numbers(block, offset)
    name = text(block[:100])
    prefix = prefix_of(block, offset)
    if prefix:
        name = prefix + b"/" + name
    name = records.get(b"path", name)
    link = records.get(b"linkpath", text(block[157:257]))
    said = {
        key: (nanoseconds if key in _TIMES else decimal)(records[key], key, offset)
        for key in _OVERRIDES
        if key in records
    }
    if typeflag == b"\0" and name.endswith(b"/"):
        kind = DIRECTORY  # how Unix V7 wrote directories
    if KINDS[typeflag] is not FILE:
        size = 0
    stored = said.get(b"size", size) if kind is FILE else 0
    name, real, sparse = _unpacked(block, records, name, stored, offset)
    if min(size, stored, real) < 0:
        raise TarError(f"a member of a negative size at byte {offset}")
    if sparse and kind is not FILE:
        raise TarError(f"a sparse member that is no file at byte {offset}")
    return Header(
        path=normalised(name),
        kind=kind,
        size=real,
        mode=mode & 0o7777,
        uid=said.get(b"uid", uid),
        gid=said.get(b"gid", gid),
        mtime=said.get(b"mtime", mtime * 1_000_000_000),
        link=link if kind is SYMLINK else normalised(link) if kind is HARDLINK else b"",
        device=device if kind is CHARACTER or kind is BLOCK_DEVICE else _NO_DEVICE,
        xattrs=tuple(
            sorted((key[13:], value) for key, value in records.items() if key.startswith(XATTR))
        ),
        start=start,
        data=data,
        stored=stored,
        sparse=sparse,
    )


_NAMES = {b"path", b"linkpath"}
_TIMES = (b"mtime", b"atime", b"ctime")
_OVERRIDES = (b"uid", b"gid", b"size", *_TIMES)
USTAR = b"ustar\0"
"""Magic of POSIX's formats; what follows it is not looked at."""
GNU = b"ustar  \0"
"""Magic and version of GNU's format."""
STAR = b"tar\0"
"""What Schilling's `star` writes into the last four bytes of a ustar header."""


def _numbers(block: bytes, offset: int) -> tuple[int, int, int, int, int, tuple[int, int]]:
    """Mode, uid, gid, size, mtime in seconds and device of a header block; all must be numbers,
    whether the member's type makes use of them or not."""
    device = _NO_DEVICE
    if block[257:263] == USTAR or block[257:265] == GNU:
        device = (number(block[329:337], offset), number(block[337:345], offset))
    return (
        number(block[100:108], offset),
        number(block[108:116], offset),
        number(block[116:124], offset),
        number(block[124:136], offset),
        number(block[136:148], offset),
        device,
    )


def prefix_of(block: bytes, offset: int) -> bytes:
    """What stands before the name, by the header's format."""
    if block[257:263] == USTAR:
        if block[508:512] != STAR:
            return text(block[345:500])
        number(block[476:488], offset), number(block[488:500], offset)
        return text(block[345:476])
    if block[257:265] == GNU:
        # Where others have a prefix GNU has times. Go once wrote a prefix there all the same.
        try:
            for field in (block[345:357], block[357:369]):
                if field[0]:
                    number(field, offset)
        except TarError:
            prefix = text(block[345:500])
            return prefix if prefix.isascii() else b""
    return b""


def _unpacked(
    block: bytes, records: dict[bytes, bytes], name: bytes, stored: int, offset: int
) -> tuple[bytes, int, bool]:
    """Name and size of a file once its holes are there again, and whether it has any."""
    if block[156:157] == b"S":
        if block[257:265] != GNU:
            raise TarError(f"a sparse member that is not of GNU's format at byte {offset}")
        return name, number(block[483:495], offset), True
    version = records.get(b"GNU.sparse.major", b""), records.get(b"GNU.sparse.minor", b"")
    if version not in _SPARSE and (any(version) or b"GNU.sparse.map" not in records):
        return name, stored, False
    for key in (b"GNU.sparse.size", b"GNU.sparse.realsize"):
        if key in records:
            size = decimal(records[key], key, offset)
            break
    else:
        size = stored
    return records.get(b"GNU.sparse.name", name), size, True


_SPARSE = ((b"0", b"0"), (b"0", b"1"), (b"1", b"0"))
"""Versions of sparse files in pax headers; 0.0 and 0.1 need not say theirs."""


def _check(block: bytes, offset: int) -> None:
    """Raise TarError unless the header's checksum is right, be it of unsigned or signed bytes."""
    expected = octal(block[148:156], offset)
    if block.isascii() and expected == _sum(block):
        return
    unsigned = sum(block) - sum(block[148:156]) + 256
    if expected != unsigned:
        signed = unsigned - 256 * sum(byte > 127 for byte in block[:148] + block[156:])
        if expected != signed:
            raise TarError(
                f"a wrong checksum in the tar header at byte {offset}",
                hint="this is no tar, or it is damaged; save or pull the image again",
            )
