"""A reader for 64-bit little-endian ELF files: what a loader sees, and what a linker left behind.

Source: System V gABI, chapters 4 and 5 (object files, program loading and dynamic linking).
The bytes of an image are not trusted: every offset and size is checked before it is used, tables
have upper limits, and nothing but `ElfError` leaves `Elf.parse`. It takes a handful of reads per
file (headers, section table and names, dynamic section and its strings), so that thousands of
libraries can be looked at.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

from slimmer.errors import SlimmerError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from slimmer.splice import Read

ET_EXEC, ET_DYN = 2, 3
EM_X86_64, EM_AARCH64 = 62, 183
PT_LOAD, PT_DYNAMIC, PT_INTERP, PT_NOTE, PT_PHDR, PT_TLS = 1, 2, 3, 4, 6, 7
PF_X, PF_W, PF_R = 1, 2, 4
SHT_NULL, SHT_PROGBITS, SHT_SYMTAB, SHT_STRTAB, SHT_RELA, SHT_NOBITS = 0, 1, 2, 3, 4, 8
SHT_REL, SHT_DYNSYM, SHT_SYMTAB_SHNDX, SHT_RELR = 9, 11, 18, 19
SHF_WRITE, SHF_ALLOC, SHF_EXECINSTR, SHF_INFO_LINK = 1, 2, 4, 0x40

HEADER = struct.Struct("<16sHHIQQQIHHHHHH")
SEGMENT = struct.Struct("<IIQQQQQQ")
SECTION = struct.Struct("<IIQQQQIIQQ")
DYNAMIC = struct.Struct("<QQ")

SECTIONS_LIMIT = 1 << 17
"""Most section headers that are read: twice what the 16-bit count can say. Only object files
have more than a few dozen."""
NAMES_LIMIT = 64 << 20
"""Most bytes of a section name table; -ffunction-sections with C++ names makes large ones."""
NAME_LIMIT = 4096
"""Longest name, in bytes, of a section or library. Names may share bytes in their table, so
that without a limit a small file could name terabytes."""
NEEDED_LIMIT = 4096
"""Most libraries that one file may need."""
DYNAMIC_LIMIT = 1 << 20
"""Most bytes of a dynamic section."""


class ElfError(SlimmerError):
    """Not an ELF file, not one of the kind that is understood, or a damaged one."""


@dataclass(frozen=True, slots=True)
class Segment:
    """One program header: a range of the file and where a loader puts it."""

    kind: int
    """`p_type`."""
    flags: int
    """`p_flags`: PF_R, PF_W, PF_X."""
    offset: int
    """First byte in the file."""
    address: int
    """First byte in memory, before relocation."""
    physical: int
    """`p_paddr`: without a meaning on systems with virtual memory, kept as it is."""
    file_size: int
    """Bytes that come from the file."""
    memory_size: int
    """Bytes in memory; those beyond `file_size` are zero."""
    alignment: int
    """`p_align`, in bytes."""

    @property
    def end(self) -> int:
        """End of the range in the file."""
        return self.offset + self.file_size


@dataclass(frozen=True, slots=True)
class Section:
    """One section header."""

    index: int
    name: str
    """Undecodable bytes are kept as surrogates."""
    name_offset: int
    """`sh_name`: where the name stands in the name table."""
    kind: int
    """`sh_type`."""
    flags: int
    address: int
    offset: int
    """First byte in the file."""
    size: int
    """Bytes; of the file too, but for SHT_NOBITS."""
    link: int
    """`sh_link`: index of a section whose role depends on the type."""
    info: int
    alignment: int
    entry_size: int

    @property
    def allocated(self) -> bool:
        """Whether a loader puts it into memory."""
        return bool(self.flags & SHF_ALLOC)

    @property
    def file_size(self) -> int:
        """Bytes that it has in the file."""
        return 0 if self.kind in (SHT_NULL, SHT_NOBITS) else self.size

    @property
    def end(self) -> int:
        """End of the range in the file."""
        return self.offset + self.file_size


@dataclass(frozen=True, slots=True)
class Dynamic:
    """What the dynamic section asks of the loader. Undecodable bytes are kept as surrogates."""

    needed: tuple[str, ...] = ()
    """DT_NEEDED: libraries to load, in order."""
    soname: str | None = None
    rpath: str | None = None
    runpath: str | None = None
    tags: tuple[tuple[int, int], ...] = ()
    """Every tag and its value, in order, without the DT_NULL that ends them."""

    def value(self, tag: int) -> int | None:
        """The value of the last entry with this tag, as a loader takes it."""
        found = None
        for seen, value in self.tags:
            if seen == tag:
                found = value
        return found


@dataclass(frozen=True, slots=True)
class Elf:
    """The headers of one ELF file."""

    size: int
    """Bytes of the file."""
    header: tuple[bytes, int, int, int, int, int, int, int, int, int, int, int, int, int]
    """The fields of Elf64_Ehdr in their order."""
    segments: tuple[Segment, ...]
    sections: tuple[Section, ...]
    """Empty where the file has no section headers."""
    names_index: int
    """Index of the section that holds the names of sections; 0 without one."""
    dynamic: Dynamic

    @classmethod
    def parse(cls, read: Read, size: int) -> Elf:
        """The headers of the file of `size` bytes that `read` reads.

        Raises ElfError; whoever gets one leaves the file as it is.
        """
        reader = _Reader(read, size)
        raw = reader.bytes(0, HEADER.size, "ELF header") if size >= HEADER.size else b""
        if raw[:4] != b"\x7fELF":
            raise ElfError("not an ELF file")
        if raw[4:7] != b"\x02\x01\x01":
            raise ElfError("an ELF file that is not understood: not 64-bit little-endian")
        header = HEADER.unpack(raw)
        program, table = header[5], header[6]
        segment_size, segment_count, section_size, section_count, names = header[9:14]
        first: tuple[int, ...] = ()
        if table:
            if section_size != SECTION.size:
                raise ElfError(f"section headers of {section_size} bytes, expected 64")
            # gABI: what does not fit into 16 bits stands in the otherwise unused section 0.
            first = SECTION.unpack(reader.bytes(table, SECTION.size, "section header table"))
            section_count = section_count or first[5]
            names = first[6] if names == 0xFFFF else names
            segment_count = first[7] if segment_count == 0xFFFF else segment_count
        elif section_count:
            raise ElfError("sections without a section header table")
        segments: tuple[Segment, ...] = ()
        if segment_count:
            if segment_size != SEGMENT.size:
                raise ElfError(f"program headers of {segment_size} bytes, expected 56")
            raw = reader.bytes(program, segment_count * SEGMENT.size, "program header table")
            segments = tuple(Segment(*fields) for fields in SEGMENT.iter_unpack(raw))
            for segment in segments:
                if segment.file_size:
                    reader.check(segment.offset, segment.file_size, "segment")
                if segment.address + segment.memory_size >= 1 << 64:
                    raise ElfError("a segment reaches past the end of the address space")
        sections = _sections(reader, table, section_count, names) if table else ()
        return cls(size, header, segments, sections, names, _dynamic(reader, segments))

    @property
    def kind(self) -> int:
        """`e_type`: ET_DYN for a shared library or a position-independent program …"""
        return self.header[1]

    @property
    def is_program(self) -> bool:
        """Whether a kernel may be asked to run it: it has a fixed address, names an interpreter,
        or says that it is a position-independent program."""
        flags = self.dynamic.value(DT_FLAGS_1) or 0
        interpreted = any(segment.kind == PT_INTERP for segment in self.segments)
        return self.kind == ET_EXEC or interpreted or bool(flags & DF_1_PIE)

    @property
    def machine(self) -> int:
        """`e_machine`."""
        return self.header[2]

    @property
    def program_table(self) -> tuple[int, int]:
        """Offset and bytes of the program header table."""
        return self.header[5], len(self.segments) * SEGMENT.size

    @property
    def section_table(self) -> tuple[int, int]:
        """Offset and bytes of the section header table."""
        return self.header[6], len(self.sections) * SECTION.size

    @property
    def end(self) -> int:
        """Where the last thing that the headers speak of ends; bytes behind it were appended."""
        return max(
            HEADER.size,
            *(sum(table) for table in (self.program_table, self.section_table)),
            *(segment.end for segment in self.segments if segment.file_size),
            *(section.end for section in self.sections),
        )

    @property
    def loads(self) -> tuple[Segment, ...]:
        """The PT_LOAD segments, in their order."""
        return tuple(segment for segment in self.segments if segment.kind == PT_LOAD)

    def section(self, name: str) -> Section | None:
        """The first section of that name."""
        return next((section for section in self.sections if section.name == name), None)


DEVICE_CODE = (".nv_fatbin", "__nv_relfatbin")
"""Sections that hold code for NVIDIA GPUs: linked, and relocatable."""


def is_symbols(section: Section) -> bool:
    """Whether it is the static symbol table or its strings, which no loader reads."""
    if section.allocated:
        return False
    return section.kind in (SHT_SYMTAB, SHT_SYMTAB_SHNDX) or (
        section.kind == SHT_STRTAB and section.name == ".strtab"
    )


def is_debug(section: Section) -> bool:
    """Whether it is DWARF, stabs, or an index of those, which only debuggers read."""
    return not section.allocated and (
        section.name.startswith((".debug_", ".zdebug_", ".stab")) or section.name == ".gdb_index"
    )


class _Reader:
    """Reads that either give all that was asked for, or raise ElfError."""

    __slots__ = ("_read", "size")

    def __init__(self, read: Read, size: int) -> None:
        self._read = read
        self.size = size

    def check(self, offset: int, length: int, what: str) -> None:
        if offset + length > self.size:
            raise ElfError(f"a {what} reaches past the end of the file")

    def bytes(self, offset: int, length: int, what: str) -> bytes:
        self.check(offset, length, what)
        raw = self._read(offset, length)
        if len(raw) != length:
            raise ElfError(f"a {what} could not be read")
        return raw


def _sections(reader: _Reader, table: int, count: int, names: int) -> tuple[Section, ...]:
    if count > SECTIONS_LIMIT:
        raise ElfError(f"{count} sections, expected at most {SECTIONS_LIMIT}")
    raw = reader.bytes(table, count * SECTION.size, "section header table")
    rows = list(SECTION.iter_unpack(raw))
    strings = b""
    if names:
        if names >= count:
            raise ElfError("the section names are not among the sections")
        _, kind, _, _, offset, size, *_ = rows[names]
        if size > NAMES_LIMIT:
            raise ElfError(f"{size} bytes of section names, expected at most {NAMES_LIMIT}")
        strings = reader.bytes(offset, size, "section") if kind != SHT_NOBITS else b""
    found = []
    for index, row in enumerate(rows):
        name, kind, flags, address, offset, size, link, info, alignment, entry_size = row
        section = Section(
            index,
            _string(strings, name) if strings else "",
            name,
            kind,
            flags,
            address,
            offset,
            size,
            link,
            info,
            alignment,
            entry_size,
        )
        if section.file_size:
            reader.check(offset, size, "section")
        found.append(section)
    return tuple(found)


def _string(strings: bytes, offset: int) -> str:
    end = strings.find(b"\0", offset, offset + NAME_LIMIT + 1)
    if end < 0:
        raise ElfError("a name that does not end, or reaches past its table")
    return strings[offset:end].decode("utf-8", "surrogateescape")


def _offset(segments: tuple[Segment, ...], address: int) -> int | None:
    for segment in segments:
        if segment.kind == PT_LOAD and 0 <= address - segment.address < segment.file_size:
            return segment.offset + address - segment.address
    return None


DT_NULL, DT_NEEDED, DT_STRTAB, DT_STRSZ = 0, 1, 5, 10
DT_SONAME, DT_RPATH, DT_RUNPATH = 14, 15, 29
DT_FLAGS_1, DF_1_PIE = 0x6FFFFFFB, 0x08000000


def _dynamic(reader: _Reader, segments: tuple[Segment, ...]) -> Dynamic:
    segment = next((segment for segment in segments if segment.kind == PT_DYNAMIC), None)
    if segment is None or not segment.file_size:
        return Dynamic()
    if segment.file_size > DYNAMIC_LIMIT:
        raise ElfError(f"{segment.file_size} bytes of dynamic section, more than {DYNAMIC_LIMIT}")
    whole = segment.file_size // DYNAMIC.size * DYNAMIC.size
    tags = []
    for tag, value in DYNAMIC.iter_unpack(reader.bytes(segment.offset, whole, "dynamic section")):
        if tag == DT_NULL:
            break
        tags.append((tag, value))
    named = Dynamic(tags=tuple(tags))
    wanted = [(tag, value) for tag, value in tags if tag in _STRING_TAGS]
    if not wanted:
        return named
    if len(wanted) > NEEDED_LIMIT:
        raise ElfError(f"{len(wanted)} libraries needed, expected at most {NEEDED_LIMIT}")
    address, length = named.value(DT_STRTAB), named.value(DT_STRSZ)
    start = None if address is None else _offset(segments, address)
    if start is None or length is None:
        raise ElfError("a dynamic section without strings in the file")
    reader.check(start, length, "dynamic string table")
    texts = dict(_strings(reader, start, length, [value for _, value in wanted]))
    last = {tag: texts[value] for tag, value in wanted}
    return Dynamic(
        needed=tuple(texts[value] for tag, value in wanted if tag == DT_NEEDED),
        soname=last.get(DT_SONAME),
        rpath=last.get(DT_RPATH),
        runpath=last.get(DT_RUNPATH),
        tags=tuple(tags),
    )


_STRING_TAGS = (DT_NEEDED, DT_SONAME, DT_RPATH, DT_RUNPATH)


def _strings(
    reader: _Reader, start: int, length: int, places: list[int]
) -> Iterator[tuple[int, str]]:
    """The strings at `places` of a table, which may be many megabytes long: the names that are
    wanted stand close together, so that one read is nearly always enough."""
    low, high = min(places), min(max(places) + NAME_LIMIT + 1, length)
    if max(places) >= length:
        raise ElfError("a name that does not end, or reaches past its table")
    if high - low <= 1 << 20:
        strings = reader.bytes(start + low, high - low, "dynamic string table")
        for place in places:
            yield place, _string(strings, place - low)
    else:
        for place in places:
            taken = min(NAME_LIMIT + 1, length - place)
            yield place, _string(reader.bytes(start + place, taken, "dynamic string table"), 0)
