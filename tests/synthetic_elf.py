"""Small ELF files put together field by field, and a loader written from the gABI alone."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

PAGE = 4096
EHDR, PHDR, SHDR = 64, 56, 64


@dataclass(frozen=True, slots=True)
class Part:
    """A section."""

    name: str
    content: bytes = b""
    kind: int = 1
    flags: int = 2
    link: str = ""
    alignment: int = 8
    segment: int = 0
    """`p_type` of a segment of its own, or 0."""


@dataclass(frozen=True, slots=True)
class Load:
    """A PT_LOAD segment."""

    parts: tuple[Part, ...]
    flags: int = 4
    zero: int = 0
    """Bytes of memory behind those of the file."""
    relro: bool = False


@dataclass(slots=True)
class _Table:
    raw: bytearray = field(default_factory=lambda: bytearray(b"\0"))

    def add(self, name: str) -> int:
        offset = len(self.raw)
        self.raw += name.encode() + b"\0"
        return offset


def _row(part: Part, address: int, offset: int) -> list[object]:
    entry = 24 if part.kind in (2, 11) else 0
    size = len(part.content)
    return [
        *(part.name, part.kind, part.flags, address, offset, size),
        *(part.link, 0, part.alignment, entry),
    ]


def elf(
    loads: tuple[Load, ...],
    rest: tuple[Part, ...] = (),
    *,
    alignment: int = PAGE,
    packed: bool = True,
    headers: bool = True,
    kind: int = 3,
    machine: int = 62,
    interpreter: bool = False,
    rest_first: bool = False,
) -> bytes:
    """A file of these segments; the headers are part of the first.

    `packed`: segments follow each other in the file without padding, as linkers do it with
    `-z noseparate-code`; else each begins at a multiple of `alignment`. `rest`: sections that no
    segment loads. `headers`: whether there is a section header table; `rest_first`: it lists `rest`
    before what is loaded, as patchelf may leave it.
    """
    extra = sum(1 for load in loads for part in load.parts if part.segment)
    extra += sum(load.relro for load in loads) + bool(interpreter)
    count = len(loads) + extra
    body = bytearray(EHDR + count * PHDR)
    segments: list[tuple[int, ...]] = []
    late: list[tuple[int, ...]] = []
    rows: list[list[object]] = [["", 0, 0, 0, 0, 0, "", 0, 0, 0]]
    address = 0
    for index, load in enumerate(loads):
        if index:
            if not packed:
                body += bytes(-len(body) % alignment)
            address = -(-address // alignment) * alignment + len(body) % alignment
        start, base = (0, 0) if not index else (len(body), address)
        for part in load.parts:
            body += bytes(-(len(body)) % part.alignment)
            here = base + len(body) - start
            rows.append(_row(part, here, len(body)))
            if part.segment:
                size = len(part.content)
                place = (len(body), here, here, size, size, part.alignment)
                late.append((part.segment, 4, *place))
            body += part.content
        size = len(body) - start
        segments.append((1, load.flags, start, base, base, size, size + load.zero, alignment))
        if load.relro:
            late.append((0x6474E552, 4, start, base, base, size, size, 1))
        if load.zero:
            rows.append([".bss", 8, 3, base + size, len(body), load.zero, "", 0, 8, 0])
        address = base + size + load.zero
    if interpreter:
        late.append((3, 4, EHDR, EHDR, EHDR, 1, 1, 1))
    unloaded = []
    for part in rest:
        body += bytes(-len(body) % part.alignment)
        unloaded.append(_row(part, 0, len(body)))
        body += part.content
    rows = [rows[0], *unloaded, *rows[1:]] if rest_first else [*rows, *unloaded]
    table = _Table()
    packed_rows = b""
    section_table = 0
    if headers:
        names = [row[0] for row in rows] + [".shstrtab"]
        rows.append([".shstrtab", 3, 0, 0, 0, 0, "", 0, 1, 0])
        offsets = [table.add(str(name)) for name in names]
        rows[-1][4], rows[-1][5] = len(body), len(table.raw)
        body += table.raw
        body += bytes(-len(body) % 8)
        section_table = len(body)
        for offset, row in zip(offsets, rows, strict=True):
            link = names.index(row[6]) if row[6] else 0
            packed_rows += struct.pack(
                "<IIQQQQIIQQ", offset if row[0] else 0, *row[1:6], link, *row[7:]
            )
        body += packed_rows
    shape = (64, PHDR, len(segments) + len(late), SHDR if headers else 0)
    numbers = (len(rows), len(rows) - 1) if headers else (0, 0)
    body[:EHDR] = struct.pack(
        "<16sHHIQQQIHHHHHH",
        b"\x7fELF\x02\x01\x01",
        kind,
        machine,
        1,
        0,
        EHDR,
        section_table,
        0,
        *shape,
        *numbers,
    )
    listed = b"".join(struct.pack("<IIQQQQQQ", *row) for row in [*segments, *late])
    body[EHDR : EHDR + len(listed)] = listed
    return bytes(body)


def memory(raw: bytes) -> dict[int, bytes]:
    """The pages that a loader makes of a file, by address: what mmap does, and nothing else.

    The bytes of a page come from the whole page of the file, whoever owns them there; a later
    segment's page replaces an earlier one's.
    """
    (program,) = struct.unpack_from("<Q", raw, 32)
    (count,) = struct.unpack_from("<H", raw, 56)
    pages: dict[int, bytes] = {}
    for index in range(count):
        kind, _, offset, address, _, size, whole, alignment = struct.unpack_from(
            "<IIQQQQQQ", raw, program + index * PHDR
        )
        if kind != 1:
            continue
        assert (offset - address) % max(alignment, PAGE) == 0, "the loader refuses this"
        assert offset + size <= len(raw)
        shift = offset - address
        first, end = address // PAGE * PAGE, -(-(address + size) // PAGE) * PAGE
        if size:
            for page in range(first, end, PAGE):
                pages[page] = raw[page + shift : page + shift + PAGE].ljust(PAGE, b"\0")
        if whole > size:
            last = (address + size) // PAGE * PAGE
            if (address + size) % PAGE and last in pages:
                pages[last] = pages[last][: address + size - last].ljust(PAGE, b"\0")
            stop = -(-(address + whole) // PAGE) * PAGE
            for page in range(end if size else first, stop, PAGE):
                pages[page] = bytes(PAGE)
    return pages


def at(pages: dict[int, bytes], address: int, length: int) -> bytes | None:
    """The bytes at an address, or None where some of them are not mapped."""
    found = b""
    for page in range(address // PAGE * PAGE, address + length, PAGE):
        if page not in pages:
            return None
        found += pages[page]
    return found[address % PAGE :][:length]


def fatbin(*entries: tuple[int, int, int, bytes]) -> bytes:
    """A region of entries: kind, architecture, flags, payload (padded here)."""
    body = b""
    for kind, arch, flags, payload in entries:
        payload += bytes(-len(payload) % 8)
        body += struct.pack(
            "<HHIQIIHHIIIQQQ", kind, 0x101, 64, len(payload), 0, 0, 1, 7, arch, 0, 0, flags, 0, 0
        )
        body += payload
    return struct.pack("<IHHQ", 0xBA55ED50, 1, 16, len(body)) + body
