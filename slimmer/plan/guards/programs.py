"""Programs that something which stays calls.

What the image's start calls is a proof (`analysis/starts.py`), and so is what the application's own
code calls. What a distribution calls is doubt: few programs use all that a distribution can do.
System packages say in their dependencies what they call, and an interpreter's library asks for a
compiler only where somebody builds.
"""

from __future__ import annotations

import re
from collections import defaultdict
from typing import TYPE_CHECKING

from slimmer.analysis.texts import Kind
from slimmer.analysis.words import COMPILING, FINDING
from slimmer.categories import TEST_FOLDERS
from slimmer.names import printable
from slimmer.plan.guards.finding import Finding

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from slimmer.analysis.facts import Facts
    from slimmer.policy import Rule

_PROGRAM = re.compile(rb"(?:.*/)?s?bin/([^/]+)\Z", re.DOTALL).match
_COMPILER = re.compile(
    r"(?:[\w-]+-)?(?:gcc|g\+\+|cc|c\+\+|c99|clang|clang\+\+|gfortran)(?:-\d+)?\Z"
)
_COMPILED_WITH = re.compile(
    rb"usr/include/|usr/lib/gcc/|usr/lib/(?:.*/)?(?:[^/]*\.(?:a|o|so|pc)|pkgconfig/.*)\Z"
).match
_ASKED_BY_FIND_LIBRARY = ("gcc", "cc", "ld", "objdump")
"""Programs that `ctypes.util.find_library` asks in turn, where ldconfig does not know a name."""
_SYSTEM = ("deb", "apk", "rpm", "python", "pypy")
_PYTHON = (Kind.PYTHON, Kind.NOTEBOOK)
APPLICATION = ("app", "unowned", "image")
"""Kinds of owners whose code is the application's."""
_BUILD_ONLY = (b"setup.py", b"conftest.py", b"noxfile.py", b"fabfile.py", b"dodo.py")


def nothing_calls(facts: Facts, rule: Rule, paths: Sequence[bytes]) -> Iterator[Finding]:
    """Programs that the start or the application calls; in doubt where a distribution may."""
    programs = _programs(facts, paths)
    leaving = frozenset(paths)
    strong: dict[str, str] = {}
    doubts: dict[str, str] = {}
    by_owner: defaultdict[str, dict[str, str]] = defaultdict(dict)
    started = {**facts.starts.files, **facts.starts.programs}
    for name, targets in programs.items():
        named = next((started[path] for path in targets if path in started), None)
        if named is not None:
            strong[name] = str(named)
    for call in facts.naming.programs(programs.keys() - strong.keys()):
        if call.path in leaving or only_built_or_tested(call.path):
            continue
        kind = owner_kind(facts, call.path)
        if kind in APPLICATION:
            told = strong if call.direct else doubts
            told.setdefault(call.program, str(call))
        elif kind not in _SYSTEM and call.direct:
            by_owner[printable(str(facts.ledger.owner(call.path)))].setdefault(
                call.program, str(call)
            )
    for name, evidence, doubt in _asked_at_run_time(facts, leaving):
        if name in programs:
            (doubts if doubt else strong).setdefault(name, evidence)
    for name, evidence in sorted(strong.items()):
        yield Finding(printable(name), evidence, _among(programs[name], leaving))
    compiler = next((name for name in sorted(strong) if _COMPILER.match(name)), None)
    if compiler is not None:
        against = [path for path in paths if _COMPILED_WITH(path)]
        if against:
            evidence = f"{printable(compiler)} stays, which compiles against it: {strong[compiler]}"
            yield Finding("what a compiler reads", evidence, against)
    for name, evidence in sorted(doubts.items()):
        if name not in strong:
            yield Finding(printable(name), evidence, _among(programs[name], leaving), doubt=True)
    for owner, told_by in sorted(by_owner.items()):
        left = sorted(told_by.keys() - strong.keys())
        if left:
            targets = [path for name in left for path in _among(programs[name], leaving)]
            evidence = f"{owner} calls {'it' if len(left) == 1 else 'them'}: {told_by[left[0]]}"
            yield Finding(printable(", ".join(left)), evidence, targets, doubt=True)


def _among(targets: Sequence[bytes], leaving: frozenset[bytes]) -> list[bytes]:
    return [path for path in targets if path in leaving]


def _programs(facts: Facts, paths: Sequence[bytes]) -> Mapping[str, list[bytes]]:
    """Name → the paths among these that a call of the name comes to, symlinks included."""
    leaving = set(paths)
    found: defaultdict[str, dict[bytes, None]] = defaultdict(dict)
    for path in paths:
        match = _PROGRAM(path)
        if match is not None:
            found[match[1].decode("utf-8", "surrogateescape")][path] = None
    for link, target in facts.symlinks:
        match = _PROGRAM(link)
        if match is not None and target in leaving:
            found[match[1].decode("utf-8", "surrogateescape")][target] = None
    for name, targets in found.items():
        for path in list(targets):
            found[name][facts.index.resolve(path)] = None
    return {name: list(targets) for name, targets in found.items()}


def owner_kind(facts: Facts, path: bytes) -> str:
    """The kind of a text's owner; `image` for the image's config."""
    return facts.ledger.owner(path).kind if path else "image"


def only_built_or_tested(path: bytes) -> bool:
    """Whether a source runs only in a build or under a test runner."""
    parts = path.split(b"/")
    return parts[-1] in _BUILD_ONLY or not TEST_FOLDERS.isdisjoint(parts[:-1])


def _asked_at_run_time(facts: Facts, leaving: frozenset[bytes]) -> Iterator[tuple[str, str, bool]]:
    """Programs that a library calls on the application's behalf: name, evidence, doubt."""
    for word in facts.naming.said((*COMPILING, FINDING)):
        if word.path in leaving or only_built_or_tested(word.path):
            continue
        if word.kind not in _PYTHON or owner_kind(facts, word.path) not in APPLICATION:
            continue
        if word.word == FINDING:
            evidence = f"{word.place} calls find_library, which asks it where ldconfig fails"
            for name in _ASKED_BY_FIND_LIBRARY:
                yield name, evidence, True
        else:
            evidence = f"{word.place} says {printable(word.word)}: {COMPILING[word.word]}"
            for name in ("gcc", "g++", "cc", "c++", "clang"):
                yield name, evidence, word.alone


def called_compiler(facts: Facts) -> str:
    """The place where the start or the application calls a compiler; empty where none does."""
    names = ("gcc", "g++", "cc", "c++", "clang", "ld")
    for path, named in facts.starts.programs.items():
        if path[path.rfind(b"/") + 1 :].decode("utf-8", "replace") in names:
            return str(named)
    for call in facts.naming.programs(names):
        if not call.direct or only_built_or_tested(call.path):
            continue
        if owner_kind(facts, call.path) in APPLICATION:
            return str(call)
    return next((why for _, why, doubt in _asked_at_run_time(facts, frozenset()) if not doubt), "")
