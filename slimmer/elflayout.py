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

from bisect import bisect_right
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING

from slimmer.elf import (
    EM_X86_64,
    ET_DYN,
    ET_EXEC,
    HEADER,
    PT_INTERP,
    PT_LOAD,
    PT_PHDR,
    SECTION,
    SEGMENT,
    SHF_ALLOC,
    SHF_INFO_LINK,
    SHT_NULL,
    SHT_PROGBITS,
    SHT_REL,
    SHT_RELA,
    SHT_SYMTAB,
    Elf,
    ElfError,
    Section,
    Segment,
)
from slimmer.splice import Copy, Literal, Piece, Read, Splice, Zeros, view

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

Range = tuple[int, int]
"""First byte and end in the old file."""

PAGE = 4096
"""Bytes of a page on x86-64, the only size there is."""
LARGEST_PAGE = 65536
"""Bytes of the largest page that other machines are run with (64-bit ARM servers)."""
SMALLEST_HOLE = 32768
"""Bytes. Every hole costs two of the mappings that Linux grants a process (65,530). Of 18 libraries
for torch 2.9 (4,976 MB, cut to sm_90) 2,452 holes from one page up leave 1,821 MB, and 1,882 holes
from 32 KiB up leave 1,826 MB."""
HOLES_LIMIT = 4096
"""Most holes in one file, for the same reason; the largest are taken."""
SEGMENTS_LIMIT = 8192
"""Most program headers of a file that is understood."""
SECTIONS_LIMIT = 0xFF00
"""From here on the gABI counts sections in another field; no loadable file comes near."""
PADDING_LIMIT = 4096
"""Most zero bytes that a tool may leave behind the end (patchelf: one)."""


class LayoutError(ElfError):
    """A file that is put together in a way that is not understood well enough to change it."""


@dataclass(frozen=True, slots=True)
class _Chunk:
    """A range of the old file that stays in one piece."""

    start: int
    end: int
    modulus: int
    """The new offset and the old one are equal modulo this many bytes."""
    new: int = 0
    """Where it begins in the new file."""


class _Places:
    """Where the bytes of the old file are in the new one."""

    __slots__ = ("chunks", "pages", "starts")

    def __init__(self, chunks: list[_Chunk], page: int) -> None:
        self.chunks = chunks
        self.starts = [chunk.start for chunk in chunks]
        self.pages = [chunk for chunk in chunks if chunk.modulus >= page]

    def of(self, start: int, end: int) -> int:
        """The new offset of a range. Raises LayoutError where it does not stay in one piece."""
        index = bisect_right(self.starts, start) - 1
        if index >= 0 and end <= self.chunks[index].end:
            return self.chunks[index].new + start - self.chunks[index].start
        raise LayoutError("a part of the file would be torn apart")

    def near(self, offset: int) -> int:
        """A place for a range of no bytes: it moves with the loaded bytes before it."""
        index = bisect_right(self.pages, offset, key=lambda chunk: chunk.start) - 1
        return offset + (self.pages[index].new - self.pages[index].start if index >= 0 else 0)


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
    holes = _holes(elf, sorted(freed), page)
    moved, gaps = _host(elf, holes, page)
    chunks, size = _place(_claims(elf, read, gaps, dropped, page))
    places = _Places(chunks, page)

    if moved is None:
        table, address = _program_table(elf, places), None
    else:
        table, address = places.of(moved, _table_end(elf, holes, moved)), _address(elf, moved)
        first = elf.loads[0]
        if _is_program(elf) and address - table != first.address - first.offset:
            # Kernels before 5.18 tell a program where its headers are by this equation.
            raise LayoutError("a program whose headers cannot be moved")
    segments = _segments(elf, gaps, places, page, table, address)
    renumbered = _renumber(elf, dropped)
    sections = _sections(elf, holes, dropped, renumbered, places)
    names = elf.names_index if renumbered is None else renumbered.get(elf.names_index, 0)
    splice = _write(elf, chunks, size, segments, sections, table, names)
    if moved is not None:
        # The old table would speak of places that have moved.
        splice = splice.overwritten(_program_table(elf, places), bytes(elf.program_table[1]))
    made = Elf.parse(view(read, splice), splice.size)
    if made.segments != tuple(segments) or len(made.sections) != len(sections):
        raise LayoutError("the new headers do not say what they should")
    return splice


def _program_table(elf: Elf, places: _Places) -> int:
    return places.of(*_span(elf.program_table)) if elf.segments else elf.header[5]


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


def _is_program(elf: Elf) -> bool:
    return elf.kind == ET_EXEC or any(segment.kind == PT_INTERP for segment in elf.segments)


def _span(table: tuple[int, int]) -> Range:
    return table[0], sum(table)


def _address(elf: Elf, offset: int) -> int:
    for load in elf.loads:
        if load.offset <= offset < load.end:
            return load.address + offset - load.offset
    raise LayoutError("a part of the file that is not loaded")


def _holes(elf: Elf, freed: list[Range], page: int) -> list[Range]:
    """The freed ranges that are worth a hole, in file order."""
    loads = sorted((load for load in elf.loads if load.file_size), key=lambda load: load.offset)
    if not freed or not loads:
        return []
    if any(after.offset < before.end for before, after in pairwise(loads)):
        raise LayoutError("segments that share bytes of the file")
    starts = [load.offset for load in loads]
    fixed = [(0, HEADER.size), _span(elf.program_table), *_other_segments(elf)]
    found: list[Range] = []
    for start, end in freed:
        load = loads[max(bisect_right(starts, start) - 1, 0)]
        # One byte at either end keeps the segment itself, and what is zero behind its end.
        start = max(start, load.offset + 1)
        end = min(end, load.end - (load.memory_size > load.file_size))
        if found and start < found[-1][1]:
            raise LayoutError("freed ranges that overlap")
        if end - start < max(page, SMALLEST_HOLE):
            continue
        if any(start < stop and begin < end for begin, stop in fixed):
            continue
        found.append((start, end))
    if len(found) > HOLES_LIMIT:
        found = sorted(sorted(found, key=lambda hole: hole[0] - hole[1])[:HOLES_LIMIT])
    return found


def _other_segments(elf: Elf) -> list[Range]:
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
) -> list[_Chunk]:
    """What stays, in file order: loaded bytes, tables, other sections, and whatever else is
    there but was not understood."""
    chunks: list[_Chunk] = []
    for load in elf.loads:
        reached = load.offset
        for start, end in _within(gaps, load.offset, load.end):
            chunks.append(_Chunk(reached, start, page))
            reached = end
        if reached < load.end:
            chunks.append(_Chunk(reached, load.end, page))
    loaded = sorted((load.offset, load.end) for load in elf.loads if load.file_size)
    rest = [(0, HEADER.size, 1), (*_span(elf.program_table), 8)]
    rest += [(*span, page) for span in _other_segments(elf)]
    rest += [
        (section.offset, section.end, _modulus(section.alignment, page))
        for section in elf.sections
        if section.file_size and section.index not in dropped
    ]
    chunks += [
        _Chunk(start, end, modulus)
        for start, end, modulus in rest
        if start < end and not _covered(loaded, start, end)
    ]
    merged = _merge(chunks)
    leaving = [(section.offset, section.end) for section in _chosen(elf, dropped)]
    leaving += [*gaps, _span(elf.section_table)] if elf.sections else gaps
    known = _merge([*merged, *(_Chunk(start, end, 1) for start, end in leaving if start < end)])
    unknown: list[_Chunk] = []
    reached = 0
    for chunk in known:
        if chunk.start > reached and not _is_zero(read, reached, chunk.start):
            unknown.append(_Chunk(reached, chunk.start, 1))
        reached = max(reached, chunk.end)
    if elf.size - reached > PADDING_LIMIT or not _is_zero(read, reached, elf.size):
        raise LayoutError("something was appended to the file")
    return sorted([*merged, *unknown], key=lambda chunk: chunk.start)


def _chosen(elf: Elf, indexes: Collection[int]) -> list[Section]:
    return [section for section in elf.sections if section.index in indexes and section.file_size]


def _modulus(alignment: int, page: int) -> int:
    return alignment if 0 < alignment <= page and not page % alignment else 1


def _within(ranges: list[Range], start: int, end: int) -> Iterator[Range]:
    index = bisect_right(ranges, (start, 0))
    while index < len(ranges) and ranges[index][0] < end:
        yield ranges[index]
        index += 1


def _covered(ranges: list[Range], start: int, end: int) -> bool:
    index = bisect_right(ranges, start, key=lambda span: span[0]) - 1
    return index >= 0 and end <= ranges[index][1]


def _merge(chunks: list[_Chunk]) -> list[_Chunk]:
    """Ranges that overlap, as one."""
    merged: list[_Chunk] = []
    for chunk in sorted(chunks, key=lambda chunk: (chunk.start, chunk.end)):
        if merged and chunk.start < merged[-1].end:
            last = merged[-1]
            end, modulus = max(last.end, chunk.end), max(last.modulus, chunk.modulus)
            merged[-1] = _Chunk(last.start, end, modulus)
        else:
            merged.append(chunk)
    return merged


def _is_zero(read: Read, start: int, end: int) -> bool:
    # Real files have less than 2 MiB of padding; what is larger is kept without a look.
    return start == end or (
        end - start <= 4 << 20 and read(start, end - start).count(0) == end - start
    )


def _place(claims: list[_Chunk]) -> tuple[list[_Chunk], int]:
    reached = 0
    placed = []
    for chunk in claims:
        # The file bytes of a page may end one segment and begin the next, as linkers do it, so
        # that a hole wastes less than a page.
        new = reached + (chunk.start - reached) % chunk.modulus
        placed.append(replace(chunk, new=new))
        reached = new + chunk.end - chunk.start
    return placed, reached


def _segments(
    elf: Elf,
    gaps: list[Range],
    places: _Places,
    page: int,
    table: int,
    table_address: int | None,
) -> list[Segment]:
    made: list[Segment] = []
    length = _table_end(elf, gaps, 0)
    for segment in elf.segments:
        if segment.kind == PT_LOAD and segment.file_size:
            spans: list[Range] = []
            reached = segment.offset
            for start, end in _within(gaps, segment.offset, segment.end):
                spans.append((reached, start))
                reached = end
            if reached < segment.end:
                spans.append((reached, segment.end))
            for start, end in spans:
                made.append(_part(segment, start, end, places, page))
        elif segment.kind == PT_PHDR and table_address is not None:
            made.append(
                replace(
                    segment,
                    offset=table,
                    address=table_address,
                    physical=table_address,
                    file_size=length,
                    memory_size=length,
                )
            )
        elif segment.file_size:
            made.append(replace(segment, offset=places.of(segment.offset, segment.end)))
        else:
            made.append(replace(segment, offset=places.near(segment.offset)))
    return made


def _part(segment: Segment, start: int, end: int, places: _Places, page: int) -> Segment:
    offset = places.of(start, end)
    before = start - segment.offset
    address = segment.address + before
    # The last part keeps what is zero in memory behind the bytes of the file.
    tail = segment.memory_size - segment.file_size if end == segment.end else 0
    alignment = segment.alignment
    if alignment > page and (address - offset) % alignment:
        alignment = page
    return Segment(
        PT_LOAD,
        segment.flags,
        offset,
        address,
        segment.physical + before,
        end - start,
        end - start + tail,
        alignment,
    )


def _sections(
    elf: Elf,
    holes: list[Range],
    dropped: Collection[int],
    renumbered: dict[int, int] | None,
    places: _Places,
) -> list[Section]:
    made: list[Section] = []
    more: list[Section] = []
    for section in elf.sections:
        if section.index in dropped:
            if renumbered is None:
                made.append(Section(section.index, "", 0, SHT_NULL, 0, 0, 0, 0, 0, 0, 0, 0))
            continue
        runs = [section]
        if section.file_size:
            runs = _runs(section, holes, places)
        elif section.kind != SHT_NULL:
            runs = [replace(section, offset=places.near(section.offset))]
        made.append(_relinked(runs[0], renumbered))
        more += [_relinked(run, renumbered) for run in runs[1:]]
    if len(made) + len(more) >= SECTIONS_LIMIT:
        raise LayoutError("more section headers than fit")
    return made + more


def _runs(section: Section, holes: list[Range], places: _Places) -> list[Section]:
    spans: list[Range] = []
    reached = section.offset
    index = bisect_right(holes, section.offset, key=lambda hole: hole[1])
    while index < len(holes) and holes[index][0] < section.end:
        start, end = holes[index]
        if section.kind != SHT_PROGBITS or not section.allocated:
            raise LayoutError("a hole in a section that is not program data")
        if start > reached:
            spans.append((reached, start))
        reached = end
        index += 1
    if reached < section.end:
        spans.append((reached, section.end))
    if not spans:
        raise LayoutError("a section that would be empty")
    return [
        replace(
            section,
            offset=places.of(start, end),
            address=section.address + (start - section.offset if section.allocated else 0),
            size=end - start,
        )
        for start, end in spans
    ]


def _renumber(elf: Elf, dropped: Collection[int]) -> dict[int, int] | None:
    """New index by old index; None where the headers of dropped sections must stay, empty."""
    first = min(dropped, default=len(elf.sections))
    for section in elf.sections[first:]:
        # Symbols speak of sections by index, and may speak of any that is loaded.
        if section.index not in dropped and section.flags & SHF_ALLOC:
            return None
    if any(section.kind == SHT_SYMTAB for section in elf.sections if section.index not in dropped):
        return None
    kept = (section.index for section in elf.sections if section.index not in dropped)
    return {old: new for new, old in enumerate(kept)}


def _relinked(section: Section, renumbered: dict[int, int] | None) -> Section:
    if renumbered is None:
        return section
    info = section.info
    if section.flags & SHF_INFO_LINK or section.kind in (SHT_REL, SHT_RELA):
        info = renumbered.get(info, 0)
    return replace(section, link=renumbered.get(section.link, 0), info=info)


def _write(
    elf: Elf,
    chunks: list[_Chunk],
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
        pieces.append(Literal(b"".join(SECTION.pack(*_section_fields(each)) for each in sections)))
        fields[6], fields[12], fields[13] = size + -size % 8, len(sections), names
    splice = Splice.of(pieces).overwritten(0, HEADER.pack(*fields))
    packed = b"".join(SEGMENT.pack(*_segment_fields(each)) for each in segments)
    return splice.overwritten(table, packed) if segments else splice


def _segment_fields(segment: Segment) -> tuple[int, ...]:
    return (
        segment.kind,
        segment.flags,
        segment.offset,
        segment.address,
        segment.physical,
        segment.file_size,
        segment.memory_size,
        segment.alignment,
    )


def _section_fields(section: Section) -> tuple[int, ...]:
    return (
        section.name_offset,
        section.kind,
        section.flags,
        section.address,
        section.offset,
        section.size,
        section.link,
        section.info,
        section.alignment,
        section.entry_size,
    )
