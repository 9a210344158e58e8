"""Drops symbol tables and debug information that no loader reads.

Only sections outside of the loaded segments leave: `.symtab`, `.strtab` and DWARF. No address
moves, no loaded byte changes but for the file offsets in the headers. GNU strip rewrites the file
by its section headers and so breaks libraries that patchelf or auditwheel edited; the loader and
this module go by the program headers.

What stays: `.dynsym`, `.eh_frame`, build ids, debug links, MiniDebugInfo (`.gnu_debugdata`), and
the whole symbol table of a file that a Python debugger or profiler or a thread debugger finds
its way by.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from slimmer.elf.file import (
    ET_DYN,
    ET_EXEC,
    SHF_EXECINSTR,
    SHF_INFO_LINK,
    SHT_DYNSYM,
    SHT_NOBITS,
    SHT_REL,
    SHT_RELA,
    SHT_STRTAB,
    Elf,
    ElfError,
    Section,
    is_debug,
    is_symbols,
)
from slimmer.elf.layout import relayout

if TYPE_CHECKING:
    from slimmer.splice import Read, Splice

NEEDED_BY_TOOLS = (b"_PyRuntime", b"nptl_version", b"_thread_db_sizeof_pthread")
"""Symbols that outside tools look up: py-spy, austin and memray find the interpreter's state by
`_PyRuntime`; gdb's libthread_db recognises its C library by the other two, which glibc does not
export. A file keeps its symbol table where one of them is defined there and not in `.dynsym`."""
NAMES_BLOCK = 1 << 20
"""Bytes of symbol names that are searched at a time; there may be 100 MB of them."""


def strip(read: Read, size: int) -> Splice | None:
    """The file of `size` bytes without static symbols and debug information.

    None where there is nothing to drop, where the file is an object file (an archive is no ELF
    file), and where a tool needs the symbols at run time. Raises ElfError where the file is not
    understood well enough, as where something was appended to it, which self-extracting programs
    find by the file's end; it stays as it is then, too.
    """
    elf = Elf.parse(read, size)
    if elf.kind not in (ET_DYN, ET_EXEC) or not elf.loads:
        return None
    dropped = droppable(elf)
    if not dropped or _is_separate_debug_file(elf) or _is_needed(elf, read, dropped):
        return None
    splice = relayout(elf, read, dropped=dropped)
    return splice if splice.size < size else None


def droppable(elf: Elf) -> frozenset[int]:
    """Indexes of the sections that can leave without another one losing its meaning."""
    sections = elf.sections
    dropped = {
        section.index for section in sections if is_symbols(section) or is_debug(section)
    } - {elf.names_index}
    # What stays keeps the sections that it refers to, and those the ones that they refer to.
    staying = [section for section in sections if section.index not in dropped]
    while staying:
        for index in _referred(staying.pop()):
            if index in dropped:
                dropped.remove(index)
                staying.append(sections[index])
    return frozenset(index for index in dropped if sections[index].file_size)


def _referred(section: Section) -> tuple[int, ...]:
    if section.flags & SHF_INFO_LINK or section.kind in (SHT_REL, SHT_RELA):
        return section.link, section.info
    return (section.link,)


def _is_separate_debug_file(elf: Elf) -> bool:
    # objcopy --only-keep-debug leaves code its header and takes its bytes.
    code = [section for section in elf.sections if section.flags & SHF_EXECINSTR and section.size]
    return bool(code) and all(section.kind == SHT_NOBITS for section in code)


def _is_needed(elf: Elf, read: Read, dropped: frozenset[int]) -> bool:
    """Whether an outside tool looks for a symbol that only the static table defines."""
    static = [elf.sections[index] for index in dropped]
    names = [section for section in static if section.kind == SHT_STRTAB]
    if sum(section.size for section in names) > elf.size:
        raise ElfError("string tables that overlap")
    wanted = set[bytes]().union(*(_names_in(read, section) for section in names))
    if not wanted:
        return False
    # There is one table of exported names; a second one would be nobody's.
    exports = next((section for section in elf.sections if section.kind == SHT_DYNSYM), None)
    if exports is not None and exports.link < len(elf.sections):
        wanted -= _names_in(read, elf.sections[exports.link])
    return bool(wanted)


def _names_in(read: Read, strings: Section) -> set[bytes]:
    """Which of the names that tools look for stand in a string table."""
    found: set[bytes] = set()
    longest = max(map(len, NEEDED_BY_TOOLS)) + 1
    for start in range(strings.offset, strings.end, NAMES_BLOCK):
        raw = read(start, min(NAMES_BLOCK + longest, strings.end - start))
        # A table may share the tail of a longer name, so that only its end is certain.
        found.update(name for name in NEEDED_BY_TOOLS if name + b"\0" in raw)
    return found
