"""What is only read when something is built: static libraries, Cython sources, Windows programs."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from slimmer.analysis.naming import static_stem
from slimmer.analysis.texts import Kind
from slimmer.names import printable
from slimmer.plan.guards.finding import Finding
from slimmer.plan.guards.programs import APPLICATION, called_compiler, owner_kind

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from slimmer.analysis.facts import Facts
    from slimmer.image import Read
    from slimmer.policy import Rule

_is_linker = re.compile(
    rb"(?:.*/)?(?:bin/(?:[\w.-]+-)?(?:ld|gold|mold|lld|wild|gcc|g\+\+|cc|c\+\+|clang|clang\+\+"
    rb"|gfortran|tcc|rustc|nvcc|nvlink)(?:\.[a-z]+)?(?:-[\d.]+)?|(?:bin|ziglang|zig[\w.-]*)/zig)\Z"
).match
"""Programs that link, or compile and link: also those of other machines and of one version."""
_ENVIRONMENTS = ("pip", "conda", "python", "pypy")
_EXTENSION = re.compile(rb"(.*/)?([^/.]+)(?:\.[\w-]+)?\.so\Z", re.DOTALL).match
_CYTHON = re.compile(rb"(.*/)?([^/]+?)\.(pyx|pxd|pxi)(?:\.in)?\Z", re.DOTALL).match


def nothing_links_statically(facts: Facts, rule: Rule, paths: Sequence[bytes]) -> Iterator[Finding]:
    """Static libraries that a text names, where the image has a linker; in doubt where only a
    build file does.

    Those of system packages lie where `cc -static` looks: they are in doubt as long as it is there,
    and stay where the application calls it.
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
            stems.setdefault(static_stem(path), []).append(path)
        else:
            system.append(path)
    links = f", and {printable(linker)} links"
    for stem, (doubt, evidence) in sorted(_linked(facts, stems, frozenset(paths)).items()):
        yield Finding(printable(stem), evidence + links, stems[stem], doubt)
    if system:
        call = called_compiler(facts)
        evidence = f"{printable(linker)} links with them when it is told -static"
        evidence = f"{call}, and {evidence}" if call else evidence
        yield Finding("static libraries", evidence, system, doubt=not call)


def _linked(
    facts: Facts, stems: Collection[bytes], leaving: frozenset[bytes]
) -> dict[bytes, tuple[bool, str]]:
    """The names of static libraries that a text gives to a linker: whether in doubt, and where."""
    told: dict[bytes, tuple[bool, str]] = {}
    for word in facts.naming.stems(stems):
        kind = owner_kind(facts, word.path)
        if word.path in leaving or kind in ("python", "pypy"):
            continue
        sure = kind in APPLICATION or word.kind is Kind.PYTHON
        doubt = word.kind is Kind.BUILD or not sure
        known = told.get(word.word)
        if known is None or (known[0] and not doubt):
            told[word.word] = doubt, str(word)
    return told


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
    leaving = frozenset(paths)
    told: dict[bytes, str] = {}
    for word in facts.naming.said(names):
        owner = facts.ledger.owner(word.path) if word.path else None
        for path in names[word.word]:
            if word.path not in leaving and owner != facts.ledger.owner(path):
                told.setdefault(path, str(word))
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
