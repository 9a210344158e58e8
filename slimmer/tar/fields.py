"""The fields of tar headers and the records of pax headers, read as Go's `archive/tar` reads them.

Every container engine is built on that reader, so what it makes of an odd field is what the image
is, and what it refuses no engine loads. Its rules, where they differ from a standard's text:
spaces and NULs on both sides of an octal number are no part of it, and a number may use its whole
field; base 256 (GNU) has at most 63 bits; an empty pax record keeps the header's own value.
"""

from __future__ import annotations

import re

from slimmer.errors import SlimmerError

LOWEST, HIGHEST = -(1 << 63), (1 << 63) - 1
"""Numbers are of 64 bits with a sign."""
XATTR = b"SCHILY.xattr."
"""Prefix of the pax records that hold extended attributes."""


class TarError(SlimmerError):
    """A tar that ends too soon or whose headers are damaged."""


def text(field: bytes) -> bytes:
    """A name as a header holds it: up to the first NUL, or the whole field."""
    return field.partition(b"\0")[0]


def octal(field: bytes, offset: int) -> int:
    """A number as octal digits; 0 for a field of nothing but spaces and NULs."""
    digits = text(field.strip(b" \0"))
    if not digits:
        return 0
    if not _OCTAL(digits):
        raise TarError(f"expected an octal number, got {field!r} at byte {offset}")
    return int(digits, 8)


_OCTAL = re.compile(rb"[0-7]+\Z").match


def number(field: bytes, offset: int) -> int:
    """A number as octal digits, or in base 256 where the first bit says so (GNU)."""
    if not field[0] & 0x80:
        return octal(field, offset)
    bits = 8 * len(field) - 1
    value = int.from_bytes(field, "big") & ((1 << bits) - 1)
    if field[0] & 0x40:
        value -= 1 << bits
    if not LOWEST <= value <= HIGHEST:
        raise TarError(f"expected a number of 63 bits, got {field!r} at byte {offset}")
    return value


def decimal(value: bytes, key: bytes, offset: int) -> int:
    """The whole number of a pax record, with as many leading zeros as its writer liked."""
    match = _DECIMAL(value)
    # Twenty digits are out of range, and Python refuses to read thousands.
    if match is not None and len(match[2]) < 20:
        whole = int(match[1] + b"0" + match[2])
        if LOWEST <= whole <= HIGHEST:
            return whole
    raise TarError(
        f"expected a number, got {value[:40]!r} for {key.decode(errors='replace')} at byte {offset}"
    )


_DECIMAL = re.compile(rb"([+-]?)(?=[0-9])0*([0-9]*)\Z").match


def nanoseconds(value: bytes, key: bytes, offset: int) -> int:
    """The time of a pax record, in seconds with any number of decimals, cut to nanoseconds."""
    whole, _, fraction = value.partition(b".")
    seconds = decimal(whole, key, offset) * 1_000_000_000
    if not fraction:
        return seconds
    if not _DIGITS(fraction):
        raise TarError(f"expected a time, got {value[:40]!r} for mtime at byte {offset}")
    rest = int((fraction + b"000000000")[:9])
    return seconds - rest if whole.startswith(b"-") else seconds + rest


_DIGITS = re.compile(rb"[0-9]+\Z").match


def pax_list(content: bytes, offset: int) -> list[tuple[bytes, bytes]]:
    """Pax records in order, each `length key=value newline`; the length counts its own digits."""
    records: list[tuple[bytes, bytes]] = []
    at = 0
    while at < len(content):
        space = content.find(b" ", at)
        length = decimal(content[at:space], b"a length", offset) if space >= 0 else 0
        end = at + length
        if length < 5 or end > len(content) or end <= space + 1 or content[end - 1] != 10:
            raise TarError(f"a damaged pax record in the extension header at byte {offset}")
        key, equals, value = content[space + 1 : end - 1].partition(b"=")
        if not equals or not key:
            raise TarError(f"a pax record without '=' in the extension header at byte {offset}")
        if b"\0" in (value if key in _TEXTS else key):
            raise TarError(f"a pax record with a NUL in the extension header at byte {offset}")
        records.append((key, value))
        at = end
    return records


_TEXTS = frozenset((b"path", b"linkpath", b"uname", b"gname"))


def pax_records(content: bytes, offset: int) -> dict[bytes, bytes]:
    """What pax records say of a member: of two with one key the later counts, and an empty one
    says nothing. The parts of a sparse file (GNU sparse 0.0) become one map (0.1)."""
    records: dict[bytes, bytes] = {}
    parts: list[bytes] = []
    for key, value in pax_list(content, offset):
        if key in _PARTS:
            if key != _PARTS[len(parts) % 2] or b"," in value:
                raise TarError(f"a damaged sparse map in the extension header at byte {offset}")
            parts.append(value)
        else:
            records[key] = value
    if parts:
        records[b"GNU.sparse.map"] = b",".join(parts)
    return {key: value for key, value in records.items() if value}


_PARTS = (b"GNU.sparse.offset", b"GNU.sparse.numbytes")
