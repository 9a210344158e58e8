"""Gives back parts of an ELF file without moving an address.

What a loader maps keeps its address and its bytes; what nobody maps any more leaves the file:
whole sections outside of the PT_LOAD segments, and ranges inside of them, whose segment is split
around the hole. The rules come from the System V gABI, chapter 5 (program loading): a segment's
file offset and address must agree modulo the page size, and nothing else ties the two together.

The result is truthful: every section header that stays says where its bytes are now. A section
with holes keeps its header for its first run; the headers of the other runs stand at the end of
the table, so that no section changes its index and no symbol its meaning.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING

from slimmer.elf.file import (
    EM_X86_64,
    ET_DYN,
    ET_EXEC,
    HEADER,
    PT_LOAD,
    SEGMENT,
    Elf,
    Section,
    Segment,
)
from slimmer.elf.headers import (
    SECTIONS_LIMIT,
    Chunk,
    LayoutError,
    Places,
    Range,
    new_sections,
    new_segments,
    packed_sections,
    packed_segments,
    renumber,
    within,
)
from slimmer.splice import Copy, Literal, Piece, Read, Splice, Zeros, view

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

PAGE = 4096
"""Bytes of a page on x86-64, the only size there is."""
LARGEST_PAGE = 65536
"""Bytes of the largest page that other machines are run with (64-bit ARM servers)."""
SMALLEST_HOLE = 16384
"""Bytes. Every hole costs two of the mappings that Linux grants a process (65,530). Of 18 libraries
for torch 2.9 (4,976 MB, cut to sm_90) 2,452 holes from one page up leave 1,821 MB, and 2,014 holes
from 16 KiB up leave 1,823 MB."""
HOLES_LIMIT = 4096
"""Most holes in one file, for the same reason; the largest are taken."""
SEGMENTS_LIMIT = 8192
"""Most program headers of a file that is understood."""
PADDING_LIMIT = 4096
"""Most zero bytes that a tool may leave behind the end (patchelf: one)."""


def page_size(elf: Elf) -> int:
    """The page size to reckon with: the largest that the file can be loaded with."""
    if elf.machine == EM_X86_64:
        return PAGE
    alignments = [load.alignment for load in elf.loads if load.alignment >= PAGE]
    return min([LARGEST_PAGE, *alignments])


def relayout(
    elf: Elf, read: Read, freed: Iterable[Range] = (), dropped: Collection[int] = ()
) -> Splice:
    """The file without the `freed` ranges and without the sections of the `dropped` indexes.

    Freed ranges lie inside of PT_LOAD segments. What cannot leave (less than a page, or shared
    with something that stays) keeps its bytes; the caller sees what was won by the size.

    Raises LayoutError where the file is not understood well enough.
    """
    _check(elf)
    page = page_size(elf)
    holes = _holes(elf, _joined(freed), page)
    moved, gaps = _host(elf, holes, page)
    chunks, size = _place(_claims(elf, read, gaps, dropped, page))
    places = Places(chunks, page)

    if moved is None:
        table, address = _program_table(elf, places), None
    else:
        table, address = places.of(moved, _table_end(elf, holes, moved)), _address(elf, moved)
        first = elf.loads[0]
        if elf.is_program and address - table != first.address - first.offset:
            # Kernels before 5.18 tell a program where its headers are by this equation.
            raise LayoutError("a program whose headers cannot be moved")
    segments = new_segments(elf, gaps, places, page, table, address)
    renumbered = renumber(elf, dropped)
    sections = new_sections(elf, holes, dropped, renumbered, places)
    names = elf.names_index if renumbered is None else renumbered.get(elf.names_index, 0)
    splice = _write(elf, chunks, size, segments, sections, table, names)
    if moved is not None:
        # The old table would speak of places that have moved.
        splice = splice.overwritten(_program_table(elf, places), bytes(elf.program_table[1]))
    made = Elf.parse(view(read, splice), splice.size)
    if made.segments != tuple(segments) or len(made.sections) != len(sections):
        raise LayoutError("the new headers do not say what they should")
    return splice


def _program_table(elf: Elf, places: Places) -> int:
    return places.of(*_span(elf.program_table))


def _table_end(elf: Elf, holes: list[Range], table: int) -> int:
    return table + (len(elf.segments) + len(holes)) * SEGMENT.size


def _check(elf: Elf) -> None:
    if elf.kind not in (ET_DYN, ET_EXEC):
        raise LayoutError("not a program and not a shared library")
    if len(elf.segments) > SEGMENTS_LIMIT or len(elf.sections) >= SECTIONS_LIMIT:
        raise LayoutError("more program or section headers than are understood")
    if elf.header[10] != len(elf.segments) or elf.header[12] != len(elf.sections):
        raise LayoutError("header counts that are not understood")
    page, loads = page_size(elf), elf.loads
    if not loads:
        raise LayoutError("no segment to load")
    for load in loads:
        if (load.offset - load.address) % page or load.file_size > load.memory_size:
            raise LayoutError("a segment that cannot be loaded")
    for before, after in pairwise(loads):
        if after.address < before.address + before.memory_size:
            raise LayoutError("segments that are not in the order of their addresses")


def _span(table: tuple[int, int]) -> Range:
    return table[0], sum(table)


def _address(elf: Elf, offset: int) -> int:
    for load in elf.loads:
        if load.offset <= offset < load.end:
            return load.address + offset - load.offset
    raise LayoutError("a part of the file that is not loaded")


def _joined(freed: Iterable[Range]) -> list[Range]:
    """Ranges in file order; those that touch are one, since nothing would be between them."""
    joined: list[Range] = []
    for start, end in sorted(freed):
        if joined and start < joined[-1][1]:
            raise LayoutError("freed ranges that overlap")
        if joined and start == joined[-1][1]:
            joined[-1] = (joined[-1][0], end)
        else:
            joined.append((start, end))
    return joined


def _holes(elf: Elf, freed: list[Range], page: int) -> list[Range]:
    """The freed ranges that are worth a hole, in file order."""
    loads = sorted((load for load in elf.loads if load.file_size), key=lambda load: load.offset)
    if not freed or not loads:
        return []
    if any(after.offset < before.end for before, after in pairwise(loads)):
        raise LayoutError("segments that share bytes of the file")
    starts = [load.offset for load in loads]
    fixed = [(0, HEADER.size), _span(elf.program_table), *_othernew_segments(elf)]
    found: list[Range] = []
    for first, last in freed:
        for load in loads[max(bisect_right(starts, first) - 1, 0) : bisect_left(starts, last)]:
            # One byte at either end keeps the segment itself, and what is zero behind its end.
            start = max(first, load.offset + 1)
            end = min(last, load.end - (load.memory_size > load.file_size))
            if end - start >= max(page, SMALLEST_HOLE) and not any(
                start < stop and begin < end for begin, stop in fixed
            ):
                found.append((start, end))
    if len(found) > HOLES_LIMIT:
        found = sorted(sorted(found, key=lambda hole: hole[0] - hole[1])[:HOLES_LIMIT])
    return found


def _othernew_segments(elf: Elf) -> list[Range]:
    others = {
        (segment.offset, segment.end)
        for segment in elf.segments
        if segment.kind != PT_LOAD and segment.file_size
    }
    if len(others) > 64:
        raise LayoutError("more kinds of segments than are understood")
    return sorted(others)


def _host(elf: Elf, holes: list[Range], page: int) -> tuple[int | None, list[Range]]:
    """Where a longer program header table goes, and the holes that are left when it is there.

    It stands at the beginning of a hole: an address that was mapped and stays so. Unwinders and
    C libraries look for the table in memory, and a new segment would need a new address.
    """
    if not holes:
        return None, []
    for index, (start, end) in enumerate(holes):
        table = -(-start // 8) * 8
        reached = _table_end(elf, holes, table)
        if end - reached >= page:
            return table, [*holes[:index], (reached, end), *holes[index + 1 :]]
    raise LayoutError("no room for the program headers")


def _claims(
    elf: Elf, read: Read, gaps: list[Range], dropped: Collection[int], page: int
) -> list[Chunk]:
    """What stays, in file order: loaded bytes, tables, other sections, and whatever else is
    there but was not understood."""
    chunks: list[Chunk] = []
    for load in elf.loads:
        reached = load.offset
        for start, end in within(gaps, load.offset, load.end):
            chunks.append(Chunk(reached, start, page))
            reached = end
        if reached < load.end:
            chunks.append(Chunk(reached, load.end, page))
    loaded = sorted((load.offset, load.end) for load in elf.loads if load.file_size)
    rest = [(0, HEADER.size, 1), (*_span(elf.program_table), 8)]
    rest += [(*span, page) for span in _othernew_segments(elf)]
    rest += [
        (section.offset, section.end, _modulus(section.alignment, page))
        for section in elf.sections
        if section.file_size and section.index not in dropped
    ]
    chunks += [
        Chunk(start, end, modulus)
        for start, end, modulus in rest
        if start < end and not _covered(loaded, start, end)
    ]
    merged = _merge(chunks)
    leaving = [(section.offset, section.end) for section in _chosen(elf, dropped)]
    leaving += [*gaps, _span(elf.section_table)] if elf.sections else gaps
    known = _merge([*merged, *(Chunk(start, end, 1) for start, end in leaving if start < end)])
    unknown: list[Chunk] = []
    reached = 0
    for chunk in known:
        if chunk.start > reached and not _is_zero(read, reached, chunk.start):
            unknown.append(Chunk(reached, chunk.start, 1))
        reached = max(reached, chunk.end)
    if elf.size - reached > PADDING_LIMIT or not _is_zero(read, reached, elf.size):
        raise LayoutError("something was appended to the file")
    return sorted([*merged, *unknown], key=lambda chunk: chunk.start)


def _chosen(elf: Elf, indexes: Collection[int]) -> list[Section]:
    return [section for section in elf.sections if section.index in indexes and section.file_size]


def _modulus(alignment: int, page: int) -> int:
    return alignment if 0 < alignment <= page and not page % alignment else 1


def _covered(ranges: list[Range], start: int, end: int) -> bool:
    index = bisect_right(ranges, start, key=lambda span: span[0]) - 1
    return index >= 0 and end <= ranges[index][1]


def _merge(chunks: list[Chunk]) -> list[Chunk]:
    """Ranges that overlap, as one."""
    merged: list[Chunk] = []
    for chunk in sorted(chunks, key=lambda chunk: (chunk.start, chunk.end)):
        if merged and chunk.start < merged[-1].end:
            last = merged[-1]
            end, modulus = max(last.end, chunk.end), max(last.modulus, chunk.modulus)
            merged[-1] = Chunk(last.start, end, modulus)
        else:
            merged.append(chunk)
    return merged


def _is_zero(read: Read, start: int, end: int) -> bool:
    # Real files have less than 2 MiB of padding; what is larger is kept without a look.
    return start == end or (
        end - start <= 4 << 20 and read(start, end - start).count(0) == end - start
    )


def _place(claims: list[Chunk]) -> tuple[list[Chunk], int]:
    reached = 0
    placed = []
    for chunk in claims:
        # The file bytes of a page may end one segment and begin the next, as linkers do it, so
        # that a hole wastes less than a page.
        new = reached + (chunk.start - reached) % chunk.modulus
        placed.append(replace(chunk, new=new))
        reached = new + chunk.end - chunk.start
    return placed, reached


def _write(
    elf: Elf,
    chunks: list[Chunk],
    size: int,
    segments: list[Segment],
    sections: list[Section],
    table: int,
    names: int,
) -> Splice:
    pieces: list[Piece] = []
    reached = 0
    for chunk in chunks:
        pieces += [Zeros(chunk.new - reached), Copy(chunk.start, chunk.end - chunk.start)]
        reached = chunk.new + chunk.end - chunk.start
    fields = list(elf.header)
    fields[5], fields[10] = table, len(segments)
    if elf.sections:
        pieces.append(Zeros(-size % 8))
        pieces.append(Literal(packed_sections(sections)))
        fields[6], fields[12], fields[13] = size + -size % 8, len(sections), names
    splice = Splice.of(pieces).overwritten(0, HEADER.pack(*fields))
    return splice.overwritten(table, packed_segments(segments))
