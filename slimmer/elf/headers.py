"""The headers of an ELF file whose bytes have moved.

Source: System V gABI, chapters 4 and 5. `Places` knows where the bytes of the old file are in the
new one; the program and section headers follow from it.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from slimmer.elf.file import (
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

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

Range = tuple[int, int]
"""First byte and end in the old file."""

SECTIONS_LIMIT = 0xFF00
"""From here on the gABI counts sections in another field; no loadable file comes near."""


class LayoutError(ElfError):
    """A file that is put together in a way that is not understood well enough to change it."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """A range of the old file that stays in one piece."""

    start: int
    end: int
    modulus: int
    """The new offset and the old one are equal modulo this many bytes."""
    new: int = 0
    """Where it begins in the new file."""


class Places:
    """Where the bytes of the old file are in the new one."""

    __slots__ = ("chunks", "pages", "starts")

    def __init__(self, chunks: list[Chunk], page: int) -> None:
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


def within(ranges: list[Range], start: int, end: int) -> Iterator[Range]:
    index = bisect_right(ranges, (start, 0))
    while index < len(ranges) and ranges[index][0] < end:
        yield ranges[index]
        index += 1


def new_segments(
    elf: Elf,
    gaps: list[Range],
    places: Places,
    page: int,
    table: int,
    table_address: int | None,
) -> list[Segment]:
    made: list[Segment] = []
    length = (len(elf.segments) + len(gaps)) * SEGMENT.size
    for segment in elf.segments:
        if segment.kind == PT_LOAD and segment.file_size:
            spans: list[Range] = []
            reached = segment.offset
            for start, end in within(gaps, segment.offset, segment.end):
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


def _part(segment: Segment, start: int, end: int, places: Places, page: int) -> Segment:
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


def new_sections(
    elf: Elf,
    holes: list[Range],
    dropped: Collection[int],
    renumbered: dict[int, int] | None,
    places: Places,
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


def _runs(section: Section, holes: list[Range], places: Places) -> list[Section]:
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
        return [replace(section, offset=places.near(section.offset), size=0)]
    return [
        replace(
            section,
            offset=places.of(start, end),
            address=section.address + (start - section.offset if section.allocated else 0),
            size=end - start,
        )
        for start, end in spans
    ]


def renumber(elf: Elf, dropped: Collection[int]) -> dict[int, int] | None:
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


def packed_segments(segments: Iterable[Segment]) -> bytes:
    """A program header table."""
    return b"".join(
        SEGMENT.pack(
            each.kind,
            each.flags,
            each.offset,
            each.address,
            each.physical,
            each.file_size,
            each.memory_size,
            each.alignment,
        )
        for each in segments
    )


def packed_sections(sections: Iterable[Section]) -> bytes:
    """A section header table."""
    return b"".join(
        SECTION.pack(
            each.name_offset,
            each.kind,
            each.flags,
            each.address,
            each.offset,
            each.size,
            each.link,
            each.info,
            each.alignment,
            each.entry_size,
        )
        for each in sections
    )
