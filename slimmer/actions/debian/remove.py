"""Removes whole Debian packages, with the package database edited so that all agree they left.

What may leave is worked out as apt's `autoremove` does it: the packages that a rule selects, and
then those that apt installed on its own account and that nothing which stays depends on or
recommends. A package stays, with all that it depends on, where it is essential or important, where
a package that stays depends on it, where an ELF file that stays needs a library of it (or names
one, which is doubt enough), where a script runs by its interpreter, or a symlink leads into it.

Each package leaves with its files (but for licences), its paragraph in dpkg's status, its files in
dpkg's info folder, its alternatives, triggers and apt's mark. Packages that leave only with one
another are one step, so that any subset of the steps leaves a consistent system behind.
"""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING

from slimmer.analysis.symlinks import dangling
from slimmer.categories import Category
from slimmer.ecosystems import debian, scripts
from slimmer.ecosystems.debian import Alternative
from slimmer.names import printable
from slimmer.plan.proposals import in_doubt
from slimmer.plan.protection import LICENCES
from slimmer.plan.steps import Refusal, Rewrite, Step
from slimmer.policy import ActionName
from slimmer.splice import Splice
from slimmer.tar.reading import DIRECTORY, FILE, HARDLINK, SYMLINK

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence

    from slimmer.analysis.facts import Facts
    from slimmer.attribution import Owner
    from slimmer.image import Read
    from slimmer.plan.proposals import Ask, Asked
    from slimmer.plan.protection import Protection
    from slimmer.policy import Rule

    Drops = Callable[[bytes], Sequence[tuple[int, int]]]
    """Which ranges of a text leave, by start and end."""

_COMPILERS = re.compile(r"(?:gcc|g\+\+|clang|cc|c\+\+)(?:-\d+)?\Z").match
_COMPILES_AT_RUN_TIME = ("triton", "pythran", "pyximport", "cppyy", "pyopencl")
"""Distributions that call a compiler of the image when a program uses them."""
_PATH = (b"usr/local/bin/", b"usr/bin/", b"bin/")
_UNUSED = (Category.DOCS, Category.TESTS, Category.CACHES)
"""Examples and tests: scripts that no program runs."""
_GUARDS = {"depends": "nothing-requires", "links": "nothing-links", "keeps": "nothing-requires"}


@dataclass(frozen=True, slots=True)
class _Package:
    """One installed package."""

    label: str
    """Its name; `name:architecture` where that is not the system's own."""
    name: str
    architecture: str
    depends: tuple[tuple[str, ...], ...]
    """Depends and Pre-Depends: of each group, one must be there."""
    recommends: tuple[tuple[str, ...], ...]
    provides: tuple[str, ...]
    protected: str
    """Why it can never leave, or nothing."""
    automatic: bool


@dataclass(frozen=True, slots=True)
class RemoveDebianPackage:
    """Packages leave as if they had been purged."""

    name: str = ActionName.REMOVE_DEBIAN_PACKAGE

    def propose(
        self, facts: Facts, protection: Protection, rule: Rule, ask: Ask
    ) -> Iterator[Step | Refusal]:
        system = _System(facts, protection)
        if not system.packages:
            return
        selected = {
            label
            for label in system.packages
            if rule.selector.owners and rule.selector.owner(system.owner[label])
        }
        if not selected:
            return
        leaving, stays, asked = system.settle(selected, ask)
        for label in sorted(selected & stays.keys()):
            how, evidence = stays[label]
            if how == "guard":
                continue  # its refusal is told by whoever asked the guard
            size = facts.freed(system.files(label))
            if size:
                target = f"deb:{label}"
                yield Refusal(rule.name, printable(target), _GUARDS[how], evidence, size)
        for group in system.groups(leaving):
            step = self._step(system, rule, group, selected)
            files = (path for label in group for path in system.files(label))
            yield in_doubt(step, asked.doubts(files))

    def restore(self, facts: Facts, protection: Protection, step: Step) -> Step:
        packages = dict(step.options).get("packages", ())
        known = _System(facts, protection)
        wanted = [label for label in packages if label in known.packages]
        removes, rewrites = known.departure(wanted)
        return _sized(facts, step, removes, rewrites)

    def _step(
        self, system: _System, rule: Rule, group: Collection[str], selected: Collection[str]
    ) -> Step:
        removes, rewrites = system.departure(group)
        inner = {other for label in group for other in system.needs(label)}
        sizes = {label: system.facts.freed(system.files(label)) for label in group}
        heads = [label for label in group if label in selected and label not in inner]
        heads = heads or [label for label in group if label in selected]
        heads.sort(key=lambda label: (-sizes[label], label))
        target = ", ".join(f"deb:{label}" for label in sorted(heads[:3]))
        if len(heads) > 3:
            target += f" and {len(heads) - 3} more"
        evidence = f"{len(group)} packages that nothing which stays depends on or links"
        if any(map(_COMPILERS, group)):
            found = [
                str(owner)
                for name in _COMPILES_AT_RUN_TIME
                for owner in system.facts.graph.find(f"pip:{name}")
            ]
            if found:
                evidence += f"; {', '.join(found)} calls a compiler when a program first uses it"
        step = Step(
            rule.name,
            self.name,
            printable(target),
            rule.safety,
            rule.why,
            printable(evidence),
            options=(("packages", sorted(group)),),
        )
        return _sized(system.facts, step, removes, rewrites)


def _sized(
    facts: Facts, step: Step, removes: Collection[bytes], rewrites: Sequence[Rewrite]
) -> Step:
    lost = facts.freed(removes)
    size = lost + sum(rewrite.before - rewrite.splice.size for rewrite in rewrites)
    return replace(
        step,
        removes=tuple(sorted(removes)),
        rewrites=tuple(rewrites),
        unpacked=size,
        rootfs=size,
        disturbs=lost + sum(rewrite.before for rewrite in rewrites),
    )


@dataclass(frozen=True)
class _System:
    """The installed packages of an image, and what holds them there."""

    facts: Facts
    protection: Protection
    _alternatives: dict[bytes, bytes] = field(default_factory=dict)

    @cached_property
    def packages(self) -> Mapping[str, _Package]:
        evidence = self.facts.index.evidence
        automatic = debian.automatic(evidence.get(debian.STATES, b""))
        stanzas = [
            fields
            for fields in debian.paragraphs(evidence.get(debian.STATUS, b""))
            if debian.is_installed(fields)
        ]
        native = next(
            (one.get(b"Architecture", b"") for one in stanzas if one.get(b"Package") == b"dpkg"),
            b"",
        )
        found: dict[str, _Package] = {}
        for fields in stanzas:
            name, architecture = fields.get(b"Package", b""), fields.get(b"Architecture", b"")
            foreign = architecture not in (native, b"all", b"")
            label = debian.text(name + b":" + architecture if foreign else name)
            found[label] = _Package(
                label,
                debian.text(name),
                debian.text(architecture),
                debian.groups(fields.get(b"Pre-Depends", b"") + b"," + fields.get(b"Depends", b"")),
                debian.groups(fields.get(b"Recommends", b"")),
                tuple(
                    one for group in debian.groups(fields.get(b"Provides", b"")) for one in group
                ),
                debian.protected(fields),
                (name, architecture) in automatic or (name, native) in automatic,
            )
        return {label: one for label, one in found.items() if label in self.owner}

    @cached_property
    def owner(self) -> Mapping[str, Owner]:
        return {
            claim.owner.name: claim.owner
            for claim in self.facts.ledger.claims
            if claim.owner.kind == "deb" and claim.files
        }

    @cached_property
    def _satisfy(self) -> Mapping[str, tuple[str, ...]]:
        """Name → the packages that are called so or provide it."""
        found: defaultdict[str, dict[str, None]] = defaultdict(dict)
        for label, package in self.packages.items():
            found[package.name][label] = None
        for label, package in self.packages.items():
            for name in package.provides:
                found[name][label] = None
        return {name: tuple(labels) for name, labels in found.items()}

    def _meet(self, group: Iterable[str]) -> list[str]:
        """Every installed package that meets a dependency."""
        return list(dict.fromkeys(one for name in group for one in self._satisfy.get(name, ())))

    def needs(self, label: str) -> set[str]:
        """What a package depends on or recommends, as far as it is installed."""
        package = self.packages[label]
        return {
            one for group in (*package.depends, *package.recommends) for one in self._meet(group)
        } - {label}

    @cached_property
    def _listed(self) -> Mapping[bytes, tuple[str, ...]]:
        """Path → the packages that list it."""
        listed: defaultdict[bytes, list[str]] = defaultdict(list)
        for claim in self.facts.ledger.claims:
            if claim.owner.kind == "deb" and claim.owner.name in self.packages:
                for path in claim.files:
                    listed[path].append(claim.owner.name)
        return {path: tuple(labels) for path, labels in listed.items()}

    @cached_property
    def _owned(self) -> Mapping[str, tuple[bytes, ...]]:
        """Package → every file that it lists, and the bytecode of its sources."""
        owned: defaultdict[str, dict[bytes, None]] = defaultdict(dict)
        for path, labels in self._listed.items():
            for label in labels:
                owned[label][path] = None
        for path, claim in self.facts.ledger.claim_of.items():
            if claim.owner.kind == "deb" and path.endswith(b".pyc"):
                owned[claim.owner.name][path] = None
        return {label: tuple(paths) for label, paths in owned.items()}

    def files(self, label: str) -> list[bytes]:
        """The files of a package that can leave with it: its licences stay."""
        visible = self.facts.index.visible
        return [
            path
            for path in self._owned.get(label, ())
            if visible[path].kind is not DIRECTORY and not path.startswith(debian.DATABASE)
            if path not in LICENCES
        ]

    def settle(
        self, selected: Collection[str], ask: Ask
    ) -> tuple[set[str], dict[str, tuple[str, str]], Asked]:
        """What leaves with the selected packages, what stays of them and why, and what the guards
        said about the files that leave.

        A file that a guard holds holds its package, and with it all that the package needs.
        """
        stays: dict[str, tuple[str, str]] = {}
        for label in selected:
            package = self.packages[label]
            if package.protected:
                stays[label] = ("keeps", package.protected)
        for label in self.packages:
            kept = self._kept(label)
            if kept:
                stays[label] = ("keeps", kept)
        while True:
            leaving = self._departing({one for one in selected if one not in stays}, stays)
            found = self._held(leaving)
            if not found:
                asked = ask(
                    sorted(self._leaving_files(leaving)),
                    {printable(f"deb:{label}"): self.files(label) for label in sorted(leaving)},
                )
                found = {
                    label: ("guard", finding.evidence)
                    for path, finding in asked.held.items()
                    for label in self._listed.get(path, ())
                    if label in leaving
                }
                if not found:
                    return leaving, stays, asked
            stays.update(found)

    def _kept(self, label: str) -> str:
        pinned = self.protection.pinned
        if self.protection.keeps_owner(self.owner[label]):
            return "the policy keeps it"
        if pinned:
            for path in self._owned.get(label, ()):
                if path in pinned and path not in LICENCES:
                    return f"the policy keeps {printable(path)}"
        return ""

    def _departing(self, selected: Collection[str], stays: dict[str, tuple[str, str]]) -> set[str]:
        """The selected packages and those that apt installed because of them, less all that the
        packages which stay depend on.

        What a package recommends keeps what apt brought along, but not what was selected.
        """
        leaving = set(selected) | {
            label
            for label in self._reached(selected)
            if self.packages[label].automatic
            and not self.packages[label].protected
            and label not in stays
        }
        todo = [label for label in self.packages if label not in leaving]
        while todo:
            label = todo.pop()
            package = self.packages[label]
            for group in (*package.depends, *package.recommends):
                back = [one for one in self._meet(group) if one in leaving and one not in selected]
                leaving.difference_update(back)
                todo += back
            for group in package.depends:
                meet = self._meet(group)
                if meet and leaving.issuperset(meet):
                    leaving.discard(meet[0])
                    stays[meet[0]] = ("depends", f"{printable(label)} depends on it")
                    todo.append(meet[0])
        return leaving

    def _reached(self, start: Iterable[str]) -> set[str]:
        todo = list(start)
        reached = set(todo)
        while todo:
            for other in self.needs(todo.pop()):
                if other not in reached:
                    reached.add(other)
                    todo.append(other)
        return reached

    def _held(self, leaving: Collection[str]) -> dict[str, tuple[str, str]]:
        """Packages of `leaving` whose files something that stays uses."""
        facts = self.facts
        removed = frozenset(self._leaving_files(leaving))
        holder = {path: label for label in leaving for path in self._owned.get(label, ())}
        held: dict[str, tuple[str, str]] = {}

        def hold(path: bytes, how: str, evidence: str) -> None:
            label = holder.get(path) or holder.get(facts.index.resolve(path))
            if label is not None:
                held.setdefault(label, (how, evidence))

        linkage = facts.linkage
        for need, library in linkage.lost(removed):
            hold(library, "links", str(need))
        if held:
            return held
        for script, interpreter in self._scripts:
            if interpreter in removed and script not in removed:
                hold(interpreter, "links", f"{printable(script)} runs by it")
        gone, _, blocked = self._changed_alternatives(removed)
        for path, name in blocked:
            hold(path, "keeps", f"it is the current choice for {printable(name)}")
        for link, _, lost in dangling(facts, removed | gone):
            for path in lost:
                hold(path, "keeps", f"{printable(link)} leads to it")
        owners = {path[: max(path.rfind(b"/"), 0)] for path in removed}
        for path in owners & self._diverting:
            hold(path, "keeps", "it diverts files of other packages")
        for label in leaving:
            if label.encode() in self._diverting:
                held.setdefault(label, ("keeps", "it diverts files of other packages"))
        if held:
            return held
        libraries = [
            path
            for path in removed
            if path in linkage.binaries and b".so" in path and path.count(b"/") <= 3
        ]
        for path, need in linkage.named(libraries, removed).items():
            hold(path, "links", str(need))
        return held

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
            if program.startswith(b"/"):
                places = [program[1:]]
            else:
                places = [folder + program for folder in _PATH]
            for place in places:
                real = index.resolve(place)
                if real in index.visible:
                    found.append((path, real))
                    break
        return tuple(found)

    def _leaving_files(self, leaving: Collection[str]) -> set[bytes]:
        """The files of these packages that no other package lists."""
        wanted = set(leaving)
        return {
            path
            for label in leaving
            for path in self.files(label)
            if wanted.issuperset(self._listed.get(path, ()))
        }

    def groups(self, leaving: Collection[str]) -> list[list[str]]:
        """The packages that leave, in groups that nothing connects."""
        parent = {label: label for label in leaving}

        def top(label: str) -> str:
            while parent[label] != label:
                parent[label] = label = parent[parent[label]]
            return label

        def join(first: str, second: str) -> None:
            if first in parent and second in parent:
                parent[top(second)] = top(first)

        for label in leaving:
            for other in self.needs(label):
                join(label, other)
        listed = self._listed
        for label in leaving:
            for path in self._owned.get(label, ()):
                for other in listed.get(path, ()):
                    join(label, other)
        linkage = self.facts.linkage
        for label in leaving:
            for path in self._owned.get(label, ()):
                for _, library in linkage.needs(path):
                    if library is not None:
                        for other in listed.get(self.facts.index.resolve(library), ()):
                            join(label, other)
        groups: defaultdict[str, list[str]] = defaultdict(list)
        for label in sorted(leaving):
            groups[top(label)].append(label)
        return sorted(groups.values())

    def departure(self, group: Collection[str]) -> tuple[set[bytes], list[Rewrite]]:
        """What leaves and what is rewritten when a group of packages is purged."""
        index = self.facts.index
        gone = self._leaving_files(group)
        rewrites: list[Rewrite] = []
        packages = [self.packages[label] for label in group]
        names = {(one.name.encode(), one.architecture.encode()) for one in packages}
        stems = {one.name.encode() for one in packages if one.label == one.name}
        stems |= {name + b":" + architecture for name, architecture in names}
        plain = {name for name, _ in names}
        remaining = {one.name.encode() for one in self.packages.values() if one.label not in group}
        for path in self.facts.below(debian.INFO.rstrip(b"/")):
            if path[len(debian.INFO) :].rpartition(b".")[0] in stems:
                gone.add(path)

        def paragraphs(text: bytes) -> list[tuple[int, int]]:
            return debian.spans(text, names)

        wanted = self._wanted(group)
        marked = names | {
            (one.name.encode(), one.architecture.encode())
            for one in self.packages.values()
            if one.label in wanted
        }

        def marks(text: bytes) -> list[tuple[int, int]]:
            return debian.spans(text, marked)

        rewrites += self._without(debian.STATUS, paragraphs)
        rewrites += self._without(debian.STATES, marks)
        for path in self.facts.below(debian.TRIGGERS.rstrip(b"/")):
            if index.visible[path].kind is not FILE or not index.visible[path].size:
                continue

            def lines(text: bytes) -> list[tuple[int, int]]:
                return [
                    match.span()
                    for match in re.finditer(rb"[^\n]*\n?", text)
                    if debian.triggered(match[0]) in plain - remaining
                ]

            rewrites += self._without(path, lines)
        dropped, altered, _ = self._changed_alternatives(frozenset(gone))
        gone |= dropped
        for path, ranges in altered.items():
            rewrites += self._without(path, ranges)
        empty = {one.path for one in rewrites if not one.splice.size}
        empty -= {debian.STATUS, debian.STATES}
        return gone | empty, [one for one in rewrites if one.path not in empty]

    def _wanted(self, group: Collection[str]) -> set[str]:
        """Packages that stay for a program's sake alone, though no package wants them any more.

        They lose apt's mark, or the next `apt-get autoremove` would take them.
        """
        behind = {one for one in self._reached(group) if self.packages[one].automatic}
        roots = [one for one in self.packages if one not in behind and one not in group]
        orphans = behind - set(group) - self._reached(roots)
        wanted: set[str] = set()
        while orphans:
            held = {
                label: how
                for label, (how, _) in self._held({*group, *orphans}).items()
                if label in orphans
            }
            if not held:
                break
            wanted |= {label for label, how in held.items() if how == "links"}
            orphans -= self._reached(held)
        return wanted

    def _without(self, path: bytes, drops: Drops) -> Iterator[Rewrite]:
        """The file without the parts that `drops` finds in it, whatever another step made of it."""
        header = self.facts.index.visible.get(path)
        if header is None or header.kind is not FILE:
            return
        text = self._content(path)
        splice = Splice.without(len(text), drops(text))
        if splice.size < len(text) == header.size:

            def again(read: Read, size: int) -> Splice:
                now = read(0, size)
                return Splice.without(len(now), drops(now))

            yield Rewrite(path, splice, header.size, again)

    def _content(self, path: bytes) -> bytes:
        known = self.facts.index.evidence.get(path)
        if known is not None:
            return known
        if path not in self._alternatives:
            for found, content in self.facts.contents([path]):
                self._alternatives[found] = content
        return self._alternatives.get(path, b"")

    def _changed_alternatives(
        self, removed: Collection[bytes]
    ) -> tuple[set[bytes], dict[bytes, Drops], list[tuple[bytes, bytes]]]:
        """What becomes of the alternatives (update-alternatives(1)) once these files are gone.

        Returns the paths that leave, the records that lose a choice, and the choices that are
        the current ones of several: those cannot leave, for the links would have to be changed.
        """
        index = self.facts.index
        gone: set[bytes] = set()
        altered: dict[bytes, Drops] = {}
        blocked: list[tuple[bytes, bytes]] = []
        for path in self._records:
            name = path[len(debian.ALTERNATIVES) :]
            links, choices = Alternative.parse(self._content(path))
            away = [choice for choice in choices if index.resolve(choice) in removed]
            if not away:
                continue
            if len(away) == len(choices):
                gone.add(path)
                for slave, link in [(name, links[0][1]), *links[1:]]:
                    switch = debian.SWITCHES + slave
                    real = self._placed(link)
                    header = index.visible.get(real)
                    if (
                        header is not None
                        and header.kind is SYMLINK
                        and header.link.lstrip(b"/") == switch
                    ):
                        gone.add(real)
                    if switch in index.visible:
                        gone.add(switch)
                continue
            switch_header = index.visible.get(debian.SWITCHES + name)
            current = switch_header.link if switch_header is not None else b""
            if current in away:
                blocked.append((index.resolve(current), name))
                continue

            def choice_lines(
                text: bytes, away: Sequence[bytes] = tuple(away)
            ) -> list[tuple[int, int]]:
                return Alternative.spans(text, away)

            altered[path] = choice_lines
        return gone, altered, blocked

    @cached_property
    def _records(self) -> tuple[bytes, ...]:
        records = [
            path
            for path in self.facts.below(debian.ALTERNATIVES.rstrip(b"/"))
            if self.facts.index.visible[path].kind is FILE
        ]
        for path, content in self.facts.contents(records):
            self._alternatives[path] = content
        return tuple(records)

    def _placed(self, link: bytes) -> bytes:
        folder, _, name = link.rpartition(b"/")
        real = self.facts.index.resolve(folder)
        return real + b"/" + name if real else name
