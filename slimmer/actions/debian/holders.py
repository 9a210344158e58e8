"""What holds a Debian package in an image: the policy, programs, scripts, symlinks, guards.

Dependencies are `packages.py`'s; here is all that dpkg knows nothing of.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

from slimmer.analysis.symlinks import dangling
from slimmer.categories import Category
from slimmer.ecosystems import debian, scripts
from slimmer.names import printable
from slimmer.plan.protection import LICENCES
from slimmer.tar.reading import FILE, HARDLINK

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from slimmer.actions.debian.alternatives import Alternatives
    from slimmer.actions.debian.packages import Packages
    from slimmer.analysis.facts import Facts
    from slimmer.plan.proposals import Ask, Asked
    from slimmer.plan.protection import Protection

_PATH = (b"usr/local/bin/", b"usr/bin/", b"bin/")
_UNUSED = (Category.DOCS, Category.TESTS, Category.CACHES)
"""Examples and tests: scripts that no program runs."""
_COMPILER = re.compile(r"(?:gcc|g\+\+|clang|cc|c\+\+)(?:-\d+)?\Z").match
_COMPILE_AT_RUN_TIME = ("triton", "pythran", "pyximport", "cppyy", "pyopencl")
"""Distributions that call a compiler of the image when a program uses them."""

REQUIRES = "nothing-requires"
LINKS = "nothing-links"
TOLD = ""
"""In the place of a guard: the refusal is told by whoever asked the guard."""


class Hold(NamedTuple):
    """Why a package stays."""

    guard: str
    evidence: str


@dataclass(frozen=True)
class Holders:
    """What keeps packages in the image beside other packages."""

    packages: Packages
    alternatives: Alternatives
    protection: Protection

    @property
    def facts(self) -> Facts:
        return self.packages.facts

    def settle(
        self, selected: Collection[str], ask: Ask
    ) -> tuple[set[str], dict[str, Hold], Asked]:
        """What leaves with the selected packages, what stays of them and why, and what the guards
        said about the files that leave.

        A file that a guard holds holds its package, and with it all that the package needs.
        """
        known = self.packages.by_label
        stays = {
            label: Hold(REQUIRES, known[label].protected)
            for label in selected
            if known[label].protected
        }
        for label in known:
            kept = self._kept(label)
            if kept:
                stays[label] = Hold(REQUIRES, kept)
        while True:
            wanted = {one for one in selected if one not in stays}
            leaving, needed = self.packages.departing(wanted, stays)
            for label, by in needed.items():
                stays[label] = Hold(REQUIRES, f"{printable(by)} depends on it")
            found = self.held(leaving)
            if not found:
                asked = self._asked(leaving, ask)
                found = {
                    label: Hold(TOLD, finding.evidence)
                    for path, finding in asked.held.items()
                    for label in self.packages.listing.get(path, ())
                    if label in leaving
                }
                if not found:
                    return leaving, stays, asked
            stays.update(found)

    def _asked(self, leaving: Collection[str], ask: Ask) -> Asked:
        files = sorted(self.packages.leaving_files(leaving))
        wholes = {printable(f"deb:{one}"): self.packages.files(one) for one in sorted(leaving)}
        return ask(files, wholes)

    def _kept(self, label: str) -> str:
        """Why a package stays whatever else leaves, or nothing."""
        pinned = self.protection.pinned
        if label.encode() in self._diverting:
            return "it diverts files of other packages"
        if self.protection.keeps_owner(self.packages.owner[label]):
            return "the policy keeps it"
        if pinned:
            for path in self.packages.listed(label):
                if path in pinned and path not in LICENCES:
                    return f"the policy keeps {printable(path)}"
        return ""

    def held(self, leaving: Collection[str]) -> dict[str, Hold]:
        """Packages of `leaving` whose files something that stays uses.

        What is cheap to find out comes first; the rest waits until nothing of that holds any.
        """
        removed = frozenset(self.packages.leaving_files(leaving))
        holder = {path: label for label in leaving for path in self.packages.listed(label)}
        held: dict[str, Hold] = {}
        for find in (self._by_linking, self._by_running, self._by_naming):
            for path, hold in find(removed):
                label = holder.get(path) or holder.get(self.facts.index.resolve(path))
                if label is not None:
                    held.setdefault(label, hold)
            if held:
                break
        return held

    def _by_linking(self, removed: frozenset[bytes]) -> Iterator[tuple[bytes, Hold]]:
        """Libraries that an ELF file needs."""
        for need, library in self.facts.linkage.lost(removed):
            yield library, Hold(LINKS, str(need))

    def _by_running(self, removed: frozenset[bytes]) -> Iterator[tuple[bytes, Hold]]:
        """Programs that scripts run by, current alternatives, targets of symlinks."""
        for script, interpreter in self._scripts:
            if interpreter in removed and script not in removed:
                yield interpreter, Hold(LINKS, f"{printable(script)} runs by it")
        changed = self.alternatives.without(removed)
        for path, name in changed.current:
            yield path, Hold(REQUIRES, f"it is the current choice for {printable(name)}")
        for link, _, lost in dangling(self.facts, removed | changed.gone):
            for path in lost:
                yield path, Hold(REQUIRES, f"{printable(link)} leads to it")

    def _by_naming(self, removed: frozenset[bytes]) -> Iterator[tuple[bytes, Hold]]:
        """Libraries whose name stands in a file that may open them, which is doubt enough."""
        linkage = self.facts.linkage
        libraries = [
            path
            for path in removed
            if path in linkage.binaries and b".so" in path and path.count(b"/") <= 3
        ]
        for path, need in linkage.named(libraries, removed).items():
            yield path, Hold(LINKS, str(need))

    @cached_property
    def _diverting(self) -> frozenset[bytes]:
        raw = self.facts.index.evidence.get(debian.DIVERSIONS, b"")
        return frozenset(one.by for one in debian.diversions(raw))

    @cached_property
    def _scripts(self) -> tuple[tuple[bytes, bytes], ...]:
        """Executable scripts, each with the program that runs it."""
        facts = self.facts
        index = facts.index
        candidates = [
            path
            for path, header in index.visible.items()
            if header.mode & 0o111
            and header.kind in (FILE, HARDLINK)
            and path not in facts.linkage.binaries
            and header.size < 1 << 20
            and facts.ledger.category_of[path] not in _UNUSED
        ]
        found: list[tuple[bytes, bytes]] = []
        for path, read in facts.readers(candidates):
            program = scripts.interpreter(read(0, 256))
            if program is None:
                continue
            absolute = program.startswith(b"/")
            for place in [program[1:]] if absolute else [folder + program for folder in _PATH]:
                real = index.resolve(place)
                if real in index.visible:
                    found.append((path, real))
                    break
        return tuple(found)

    def orphans(self, group: Collection[str]) -> set[str]:
        """Packages that stay for a program's sake alone, though no package wants them any more.

        They lose apt's mark, or the next `apt-get autoremove` would take them.
        """
        packages = self.packages
        known = packages.by_label
        behind = {one for one in packages.reached(group) if known[one].automatic}
        roots = [one for one in known if one not in behind and one not in group]
        unwanted = behind - set(group) - packages.reached(roots)
        wanted: set[str] = set()
        while unwanted:
            found = self.held({*group, *unwanted})
            held = {label: hold for label, hold in found.items() if label in unwanted}
            if not held:
                break
            wanted |= {label for label, hold in held.items() if hold.guard == LINKS}
            unwanted -= packages.reached(held)
        return wanted

    def compiling(self, group: Collection[str]) -> tuple[str, ...]:
        """Distributions of the image that call a compiler of the group when they are used."""
        if not any(map(_COMPILER, group)):
            return ()
        return tuple(
            str(owner)
            for name in _COMPILE_AT_RUN_TIME
            for owner in self.facts.graph.find(f"pip:{name}")
        )
