"""What is only read when something is built: static libraries, Cython sources, Windows programs."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from slimmer.analysis.spots import is_comment
from slimmer.analysis.texts import Kind, Search
from slimmer.names import printable
from slimmer.plan.guards.finding import Finding
from slimmer.plan.guards.programs import APPLICATION, owner_kind

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from slimmer.analysis.facts import Facts
    from slimmer.analysis.texts import Hit, Text
    from slimmer.image import Read
    from slimmer.policy import Rule

_is_linker = re.compile(
    rb"(?:.*/)?bin/(?:[\w.-]+-)?(?:ld|ld\.lld|ld\.bfd|ld\.gold|mold|gcc|cc|clang)\Z"
).match
_ENVIRONMENTS = ("pip", "conda", "python", "pypy")
_SPEAKS_OF_LIBRARIES = re.compile(rb"libraries|extra_objects|link_args|LIBS\b|ldflags").search
_EXTENSION = re.compile(rb"(.*/)?([^/.]+)(?:\.[\w-]+)?\.so\Z", re.DOTALL).match
_CYTHON = re.compile(rb"(.*/)?([^/]+?)\.(pyx|pxd|pxi)(?:\.in)?\Z", re.DOTALL).match


def nothing_links_statically(facts: Facts, rule: Rule, paths: Sequence[bytes]) -> Iterator[Finding]:
    """Static libraries that a text names, where the image has a linker; in doubt where only a
    build file does.

    Those of system packages lie where `cc -static` looks: they are in doubt as long as it is there.
    """
    linker = next(filter(_is_linker, facts.index.visible), None)
    if linker is None:
        return
    stems: dict[bytes, list[bytes]] = {}
    system: list[bytes] = []
    for path in paths:
        if not path.endswith(b".a"):
            continue
        if facts.ledger.owner(path).kind in _ENVIRONMENTS:
            name = path[path.rfind(b"/") + 1 : -2]
            stems.setdefault(name.removeprefix(b"lib"), []).append(path)
        else:
            system.append(path)
    links = f", and {printable(linker)} links"
    for stem, (doubt, evidence) in sorted(_linked(facts, stems, frozenset(paths)).items()):
        yield Finding(printable(stem), evidence + links, stems[stem], doubt)
    if system:
        evidence = f"{printable(linker)} links with them when it is told -static"
        yield Finding("static libraries", evidence, system, doubt=True)


def _linked(
    facts: Facts, stems: Collection[bytes], leaving: frozenset[bytes]
) -> dict[bytes, tuple[bool, str]]:
    """The names of static libraries that a text gives to a linker: whether in doubt, and where."""
    told: dict[bytes, tuple[bool, str]] = {}

    def look(text: Text, hits: Sequence[Hit]) -> None:
        kind = owner_kind(facts, text.path)
        if text.path in leaving or kind in ("python", "pypy"):
            return
        for hit in hits[:200]:
            if not _names_library(text.content, hit) or is_comment(text, hit.start):
                continue
            sure = kind in APPLICATION or text.kind is Kind.PYTHON
            doubt = text.kind is Kind.BUILD or not sure
            known = told.get(hit.needle)
            if known is None or (known[0] and not doubt):
                place = f"{text.name}:{text.line(hit.start)}"
                told[hit.needle] = doubt, f"{place} names {printable(hit.needle)}"

    facts.texts.scan([Search(tuple(stems), look, whole_words=False)])
    return told


def _names_library(content: bytes, hit: Hit) -> bool:
    """Whether a stem stands as a linker takes it: `-lfoo`, `libfoo.a`, or a string of its own in a
    source that speaks of libraries."""
    before = content[max(0, hit.start - 4) : hit.start]
    after = content[hit.end : hit.end + 3]
    if before.endswith(b"-l"):
        return not (after[:1].isalnum() or after[:1] in (b"_", b"-", b"."))
    if before.endswith(b"lib"):
        return after.startswith(b".a") and not after[2:3].isalnum()
    quoted = before[-1:] in (b'"', b"'") and after[:1] == before[-1:]
    return quoted and _SPEAKS_OF_LIBRARIES(content) is not None


def compiled_beside(facts: Facts, rule: Rule, paths: Sequence[bytes]) -> Iterator[Finding]:
    """Cython sources whose module is not there compiled: a program may compile or read them."""
    compiled: set[bytes] = set()
    folders: set[bytes] = set()
    for path in facts.index.visible:
        match = _EXTENSION(path)
        if match is not None:
            compiled.add((match[1] or b"") + match[2])
            folders.add(match[1] or b"")
    for path in paths:
        match = _CYTHON(path)
        if match is None:
            continue
        module = (match[1] or b"") + match[2]
        there = module in compiled if match[3] == b"pyx" else (match[1] or b"") in folders
        if not there:
            yield Finding(printable(path), "no compiled module lies beside it", (path,))


def only_launches(facts: Facts, rule: Rule, paths: Sequence[bytes]) -> Iterator[Finding]:
    """Windows programs that are more than launchers: those for .NET, which mono runs, and those
    that something other than their own distribution names."""
    programs = [path for path in paths if path.endswith(b".exe")]
    for path, read in facts.readers(programs):
        if _is_dotnet(read):
            yield Finding(printable(path), "a .NET program, which mono runs", (path,))
    names: dict[bytes, list[bytes]] = {}
    for path in programs:
        names.setdefault(path[path.rfind(b"/") + 1 :], []).append(path)
    owners = {path: facts.ledger.owner(path) for path in programs}
    told: dict[bytes, str] = {}
    leaving = frozenset(paths)

    def look(text: Text, hits: Sequence[Hit]) -> None:
        owner = facts.ledger.owner(text.path) if text.path else None
        for hit in hits[:100]:
            if text.path in leaving or is_comment(text, hit.start):
                continue
            for path in names[hit.needle]:
                if owner != owners[path]:
                    place = f"{text.name}:{text.line(hit.start)}"
                    told.setdefault(path, f"{place} names {printable(hit.needle)}")

    facts.texts.scan([Search(tuple(names), look)])
    for path, evidence in sorted(told.items()):
        yield Finding(printable(path), evidence, (path,))


def _is_dotnet(read: Read) -> bool:
    """Whether a PE file has a CLI header (ECMA-335, II.25.2.3.3: data directory 14)."""
    head = read(0, 64)
    if len(head) < 64 or not head.startswith(b"MZ"):
        return False
    start = int.from_bytes(head[60:64], "little")
    header = read(start, 24 + 240)
    if not header.startswith(b"PE\0\0") or len(header) < 26:
        return False
    magic = int.from_bytes(header[24:26], "little")
    directories = 24 + (96 if magic == 0x10B else 112)
    entry = header[directories + 14 * 8 : directories + 15 * 8]
    return len(entry) == 8 and entry != bytes(8)
