"""The installed packages of a Debian system: their files, and who depends on whom."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from slimmer.ecosystems import debian
from slimmer.plan.protection import LICENCES
from slimmer.tar.reading import DIRECTORY

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from slimmer.analysis.facts import Facts
    from slimmer.attribution import Owner


@dataclass(frozen=True, slots=True)
class Package:
    """One installed package, as dpkg's status and apt's marks have it."""

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
    """Whether apt installed it on its own account."""

    @property
    def identity(self) -> tuple[bytes, bytes]:
        """Name and architecture, as a paragraph has them."""
        return self.name.encode(), self.architecture.encode()


@dataclass(frozen=True)
class Packages:
    """The installed packages of an image, by label."""

    facts: Facts

    @cached_property
    def by_label(self) -> Mapping[str, Package]:
        evidence = self.facts.index.evidence
        automatic = debian.automatic(evidence.get(debian.STATES, b""))
        paragraphs = [
            fields
            for fields in debian.paragraphs(evidence.get(debian.STATUS, b""))
            if debian.is_installed(fields)
        ]
        native = next(
            (one.get(b"Architecture", b"") for one in paragraphs if one[b"Package"] == b"dpkg"),
            b"",
        )
        found = (_package(fields, native, automatic) for fields in paragraphs)
        return {one.label: one for one in found if one.label in self.owner}

    @cached_property
    def owner(self) -> Mapping[str, Owner]:
        """Label → the owner that the ledger knows it by."""
        return {
            claim.owner.name: claim.owner
            for claim in self.facts.ledger.claims
            if claim.owner.kind == "deb" and claim.files
        }

    # Who depends on whom

    @cached_property
    def _satisfy(self) -> Mapping[str, tuple[str, ...]]:
        """Name → the packages that are called so or provide it."""
        found: defaultdict[str, dict[str, None]] = defaultdict(dict)
        for label, package in self.by_label.items():
            found[package.name][label] = None
        for label, package in self.by_label.items():
            for name in package.provides:
                found[name][label] = None
        return {name: tuple(labels) for name, labels in found.items()}

    def _meet(self, group: Iterable[str]) -> list[str]:
        """Every installed package that meets a dependency."""
        return list(dict.fromkeys(one for name in group for one in self._satisfy.get(name, ())))

    def needs(self, label: str) -> set[str]:
        """What a package depends on or recommends, as far as it is installed."""
        package = self.by_label[label]
        return {
            one for group in (*package.depends, *package.recommends) for one in self._meet(group)
        } - {label}

    def reached(self, start: Iterable[str]) -> set[str]:
        """These packages, and all that they need, and what that needs."""
        todo = list(start)
        reached = set(todo)
        while todo:
            for other in self.needs(todo.pop()):
                if other not in reached:
                    reached.add(other)
                    todo.append(other)
        return reached

    def departing(
        self, selected: Collection[str], stays: Collection[str]
    ) -> tuple[set[str], dict[str, str]]:
        """The selected packages and those that apt installed because of them, less all that the
        packages which stay depend on; and of what has to stay, why.

        What a package recommends keeps what apt brought along, but not what was selected.
        """
        leaving = set(selected) | {
            label
            for label in self.reached(selected)
            if self.by_label[label].automatic
            and not self.by_label[label].protected
            and label not in stays
        }
        needed: dict[str, str] = {}
        todo = [label for label in self.by_label if label not in leaving]
        while todo:
            label = todo.pop()
            package = self.by_label[label]
            for group in (*package.depends, *package.recommends):
                back = [one for one in self._meet(group) if one in leaving and one not in selected]
                leaving.difference_update(back)
                todo += back
            for group in package.depends:
                meet = self._meet(group)
                if meet and leaving.issuperset(meet):
                    leaving.discard(meet[0])
                    needed[meet[0]] = label
                    todo.append(meet[0])
        return leaving, needed

    # Files

    @cached_property
    def listing(self) -> Mapping[bytes, tuple[str, ...]]:
        """Path → the packages that list it."""
        listing: defaultdict[bytes, list[str]] = defaultdict(list)
        for claim in self.facts.ledger.claims:
            if claim.owner.kind == "deb" and claim.owner.name in self.by_label:
                for path in claim.files:
                    listing[path].append(claim.owner.name)
        return {path: tuple(labels) for path, labels in listing.items()}

    @cached_property
    def _listed(self) -> Mapping[str, tuple[bytes, ...]]:
        listed: defaultdict[str, dict[bytes, None]] = defaultdict(dict)
        for path, labels in self.listing.items():
            for label in labels:
                listed[label][path] = None
        for path, claim in self.facts.ledger.claim_of.items():
            if claim.owner.kind == "deb" and path.endswith(b".pyc"):
                listed[claim.owner.name][path] = None
        return {label: tuple(paths) for label, paths in listed.items()}

    def listed(self, label: str) -> tuple[bytes, ...]:
        """Every path that a package lists, and the bytecode of its sources."""
        return self._listed.get(label, ())

    def files(self, label: str) -> list[bytes]:
        """The files of a package that can leave with it: its licences stay."""
        visible = self.facts.index.visible
        return [
            path
            for path in self.listed(label)
            if visible[path].kind is not DIRECTORY and not path.startswith(debian.DATABASE)
            if path not in LICENCES
        ]

    def leaving_files(self, leaving: Collection[str]) -> set[bytes]:
        """The files of these packages that no other package lists."""
        wanted = set(leaving)
        return {
            path
            for label in leaving
            for path in self.files(label)
            if wanted.issuperset(self.listing.get(path, ()))
        }

    def groups(self, leaving: Collection[str]) -> list[list[str]]:
        """The packages that leave, in groups that nothing connects: no dependency, no file that
        two of them list, no library."""
        top = {label: label for label in leaving}

        def found(label: str) -> str:
            while top[label] != label:
                top[label] = label = top[top[label]]
            return label

        def join(first: str, others: Iterable[str]) -> None:
            for other in others:
                if other in top:
                    top[found(other)] = found(first)

        linkage = self.facts.linkage
        for label in leaving:
            join(label, self.needs(label))
            for path in self.listed(label):
                join(label, self.listing.get(path, ()))
                for _, library in linkage.needs(path):
                    if library is not None:
                        join(label, self.listing.get(self.facts.index.resolve(library), ()))
        groups: defaultdict[str, list[str]] = defaultdict(list)
        for label in sorted(leaving):
            groups[found(label)].append(label)
        return sorted(groups.values())


def _package(
    fields: debian.Fields, native: bytes, automatic: Collection[tuple[bytes, bytes]]
) -> Package:
    name, architecture = debian.identity(fields)
    foreign = architecture not in (native, b"all", b"")
    requires = fields.get(b"Pre-Depends", b"") + b"," + fields.get(b"Depends", b"")
    return Package(
        debian.text(name + b":" + architecture if foreign else name),
        debian.text(name),
        debian.text(architecture),
        debian.groups(requires),
        debian.groups(fields.get(b"Recommends", b"")),
        tuple(one for group in debian.groups(fields.get(b"Provides", b"")) for one in group),
        debian.protected(fields),
        (name, architecture) in automatic or (name, native) in automatic,
    )
