"""Tar headers written: old ones with some fields changed, and new ones.

A changed header keeps every byte that the change is not about; see `tarstream` for the formats.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from slimmer.tar.fields import XATTR, number, pax_list
from slimmer.tar.reading import (
    BLOCK,
    BLOCK_DEVICE,
    CHARACTER,
    DIRECTORY,
    HARDLINK,
    KINDS,
    STAR,
    USTAR,
    padded,
    prefix_of,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from slimmer.tar.reading import Header


def amended(
    raw: bytes,
    *,
    path: bytes | None = None,
    size: int | None = None,
    link: bytes | None = None,
    kind: str | None = None,
) -> bytes:
    """The raw blocks of a header with some fields changed, everything else as it was.

    `kind` may turn a regular file into a hard link (`link` says to what) or back. Extension
    headers stay but for the records that the change overrides.
    """
    kept, at = _extensions(raw)
    block = bytearray(raw[at : at + BLOCK])
    records: dict[bytes, bytes] = {}
    dropped: set[bytes] = set()
    if kind is not None:
        block[156:157] = b"1" if kind == HARDLINK else b"0"
        if kind == HARDLINK:
            size = 0
        else:
            link = b""
    if size is not None:
        _put_number(block, 124, 12, size, b"size", records)
    if path is not None:
        dropped |= {b"path", b"GNU.sparse.name"}
        block[345:500] = _without_prefix(block)
        _put_text(block, 0, path, b"path", records)
    if link is not None:
        dropped.add(b"linkpath")
        _put_text(block, 157, link, b"linkpath", records)
    extensions = _amended(kept, dropped, records, size)
    return b"".join((*extensions, _checksummed(block), raw[at + BLOCK :]))


def _amended(
    kept: Sequence[tuple[bytes, bytes]],
    dropped: set[bytes],
    records: dict[bytes, bytes],
    size: int | None,
) -> Iterator[bytes]:
    """Extension headers without what is `dropped`, and with these records."""
    # Of several pax headers only the last says anything, and what stands before a global one
    # is not said of this member.
    first = max((n + 1 for n, (head, _) in enumerate(kept) if head[156:157] == b"g"), default=0)
    pax = [n for n, (head, _) in enumerate(kept) if n >= first and head[156:157] in b"xX"]
    said = pax_list(kept[pax[-1]][1], 0) if pax else []
    old_size = dict(said).get(b"size")
    if size is not None and old_size:
        # As many digits as before, so that the header keeps its length.
        records[b"size"] = (b"%d" % size).zfill(len(old_size))
    says = [(key, records.get(key, value)) for key, value in said if key not in dropped]
    there = {key for key, _ in says}
    says += [(key, value) for key, value in records.items() if key not in there]
    for place, (head, content) in enumerate(kept):
        if place >= first and _LONG.get(head[156:157]) in dropped:
            continue
        if place in pax and says != said:
            if place == pax[-1] and says:
                yield _pax(says, head)
            elif says:
                yield from (head, content.ljust(padded(len(content)), b"\0"))
            continue
        yield from (head, content.ljust(padded(len(content)), b"\0"))
    if says and not pax:
        yield _pax(says, None)


_LONG = {b"L": b"path", b"K": b"linkpath"}
"""What GNU's long names override."""


def _extensions(raw: bytes) -> tuple[list[tuple[bytes, bytes]], int]:
    """The extension headers before a member's own, each with its content, and where that lies."""
    found: list[tuple[bytes, bytes]] = []
    at = 0
    while raw[at + 156 : at + 157] in _EXTENSIONS:
        length = number(raw[at + 124 : at + 136], at)
        found.append((raw[at : at + BLOCK], raw[at + BLOCK : at + BLOCK + length]))
        at += BLOCK + padded(length)
    return found, at


def _without_prefix(block: bytearray) -> bytes:
    """The bytes 345 to 500 of a header with no prefix in them: other formats have more there."""
    if block[257:263] == USTAR and block[508:512] == STAR:
        return bytes(131) + block[476:500]
    if block[257:263] == USTAR or prefix_of(bytes(block), 0):
        return bytes(155)
    return bytes(block[345:500])


_EXTENSIONS = frozenset((b"x", b"X", b"g", b"L", b"K"))


def composed(header: Header) -> bytes:
    """The raw blocks of a header made anew from its fields (ustar, with pax where it needs it)."""
    block = bytearray(BLOCK)
    records: dict[bytes, bytes] = {}
    name = header.path + b"/" if header.kind == DIRECTORY else header.path
    _put_text(block, 0, name, b"path", records)
    _put_number(block, 100, 8, header.mode, b"mode", records)
    _put_number(block, 108, 8, header.uid, b"uid", records)
    _put_number(block, 116, 8, header.gid, b"gid", records)
    _put_number(block, 124, 12, header.stored, b"size", records)
    seconds, fraction = divmod(header.mtime, 1_000_000_000)
    _put_number(block, 136, 12, seconds, b"mtime", records)
    if fraction:
        records[b"mtime"] = b"%d.%09d" % (seconds, fraction)
    block[156:157] = next(flag for flag, kind in KINDS.items() if kind == header.kind)
    _put_text(block, 157, header.link, b"linkpath", records)
    block[257:265] = b"ustar\x0000"
    if header.kind in (CHARACTER, BLOCK_DEVICE):
        _put_number(block, 329, 8, header.device[0], b"SCHILY.devmajor", records)
        _put_number(block, 337, 8, header.device[1], b"SCHILY.devminor", records)
    records |= {XATTR + key: value for key, value in header.xattrs}
    return (_pax(records.items(), None) if records else b"") + _checksummed(block)


def _put_text(
    block: bytearray, at: int, text: bytes, key: bytes, records: dict[bytes, bytes]
) -> None:
    if len(text) > 100:
        records[key] = text
    block[at : at + 100] = text[:100].ljust(100, b"\0")


def _put_number(
    block: bytearray, at: int, width: int, value: int, key: bytes, records: dict[bytes, bytes]
) -> None:
    if value < 0 or value >= 8 ** (width - 1):
        records[key] = b"%d" % value
        value = 0
    block[at : at + width] = b"%0*o\0" % (width - 1, value)


def _pax(records: Iterable[tuple[bytes, bytes]], head: bytes | None) -> bytes:
    """A pax extension header with these records, in the order given."""
    lines: list[bytes] = []
    for key, value in records:
        bare = len(key) + len(value) + 3
        length = bare + len(str(bare))
        length = bare + len(str(length))
        lines.append(b"%d %s=%s\n" % (length, key, value))
    content = b"".join(lines)
    block = bytearray(head if head is not None else BLOCK)
    if head is None:
        block[0:14] = b"PaxHeaders.0/x"
        block[100:124] = b"0000644\x000000000\x000000000\0"
        block[136:148] = b"00000000000\0"
        block[156:157] = b"x"
        block[257:265] = b"ustar\x0000"
    block[124:136] = b"%011o\0" % len(content)
    return _checksummed(block) + content.ljust(padded(len(content)), b"\0")


def _checksummed(block: bytearray) -> bytes:
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)
