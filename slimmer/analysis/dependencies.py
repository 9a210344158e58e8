"""Who requires whom, and what would leave with whom.

Python requirements by PEP 508, names by PEP 503, markers evaluated for the image's own Python and
platform; Debian's by deb-control(5); those of apk, rpm, conda and npm by their names.
"""

from __future__ import annotations

import re
from collections import defaultdict, deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from packaging.utils import canonicalize_name

from slimmer.attribution import Owner
from slimmer.ecosystems import debian
from slimmer.ecosystems.machines import machine
from slimmer.ecosystems.python import Requirement, Site, environment
from slimmer.files import parent

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence

    from slimmer.attribution import Attribution, Claim

KINDS = frozenset(("pip", "deb", "apk", "rpm", "conda", "npm"))
"""Kinds of owners whose metadata tells what they require; each kind is a graph of its own."""


@dataclass(frozen=True, slots=True)
class Distribution:
    """An owner that requires others: a Python distribution, a Debian package …"""

    owner: Owner
    size: int
    """Bytes that are put on it."""
    requires: tuple[Owner, ...] = ()
    """What it requires and the image holds, in the order of its metadata."""
    required_by: tuple[Owner, ...] = ()
    unmet: tuple[str, ...] = ()
    """Requirements, as its metadata writes them, that nothing in the image meets."""
    requested: bool = False
    """Whether somebody asked for it by name: a user, or the application."""


@dataclass(frozen=True, slots=True)
class DependencyGraph:
    """What each owner requires, and what would leave with it.

    >>> graph = session.inspect().graph
    >>> [str(owner) for owner in graph.find("anyio")]
    ['pip:anyio 3.7.1']
    """

    distributions: Mapping[Owner, Distribution]
    roots: tuple[Owner, ...]
    """What was asked for, and what nothing else requires: all others are there because of them."""
    _dominated: Mapping[Owner, tuple[Owner, ...]] = field(repr=False)
    """Owner → those that only it keeps, without what they keep in turn: the dominator tree."""
    _retained: Mapping[Owner, int] = field(repr=False)

    def __repr__(self) -> str:
        return f"DependencyGraph({len(self.distributions)} distributions, {len(self.roots)} roots)"

    @classmethod
    def of(cls, ledger: Attribution) -> DependencyGraph:
        """Read who requires whom out of a ledger's claims."""
        claims = [claim for claim in ledger.claims if claim.owner.kind in KINDS]
        sizes: defaultdict[Claim, int] = defaultdict(int)
        claim_of = ledger.claim_of
        for path, size in ledger.size_of.items():
            sizes[claim_of[path]] += size
        owners: defaultdict[Owner, int] = defaultdict(int)
        for claim in claims:
            owners[claim.owner] += sizes.get(claim, 0)
        python = [claim for claim in claims if claim.owner.kind == "pip"]
        edges: dict[Owner, dict[Owner, None]] = {owner: {} for owner in owners}
        unmet: defaultdict[Owner, dict[str, None]] = defaultdict(dict)
        requested = _requested(ledger, python)
        if python:
            _Python(ledger, python, edges, unmet).connect(requested)
        _connect(claims, edges, unmet)
        return cls.between(
            owners,
            edges,
            {owner for owner in owners if owner in requested},
            {owner: tuple(texts) for owner, texts in unmet.items()},
        )

    @classmethod
    def between(
        cls,
        sizes: Mapping[Owner, int],
        requires: Mapping[Owner, Iterable[Owner]],
        requested: Iterable[Owner] = (),
        unmet: Mapping[Owner, tuple[str, ...]] | None = None,
    ) -> DependencyGraph:
        """A graph of these owners; what is missing from `sizes` is no part of it."""
        edges = {
            owner: tuple(
                dict.fromkeys(
                    other for other in requires.get(owner, ()) if other != owner and other in sizes
                )
            )
            for owner in sizes
        }
        by: defaultdict[Owner, list[Owner]] = defaultdict(list)
        for owner, others in edges.items():
            for other in others:
                by[other].append(owner)
        asked = set(requested) & sizes.keys()
        roots = _roots(edges, by, asked)
        dominated = _dominated(edges, roots)
        retained = dict(sizes)
        for owner in _bottom_up(dominated):
            retained[owner] = sizes[owner] + sum(retained[other] for other in dominated[owner])
        return cls(
            {
                owner: Distribution(
                    owner,
                    size,
                    edges[owner],
                    tuple(by.get(owner, ())),
                    (unmet or {}).get(owner, ()),
                    owner in asked,
                )
                for owner, size in sizes.items()
            },
            tuple(roots),
            dominated,
            retained,
        )

    def find(self, name: str) -> tuple[Owner, ...]:
        """The owners of that name: `torch`, `pip:torch`, or `pip:torch 2.9.0`."""
        kind, colon, rest = name.partition(":")
        if not colon or kind not in KINDS:
            kind, rest = "", name
        rest, _, version = rest.partition(" ")
        plain = canonicalize_name(rest)
        return tuple(
            owner
            for owner in self.distributions
            if (owner.name == rest or (owner.kind == "pip" and owner.name == plain))
            and kind in ("", owner.kind)
            and version in ("", owner.version)
        )

    def retained(self, owner: Owner) -> int | None:
        """Bytes that leave when `owner` leaves with all that only it needs; None for an owner
        that no requirement is known of."""
        return self._retained.get(owner)

    def leaves_with(self, owner: Owner | str) -> tuple[Owner, ...]:
        """Who leaves when `owner` leaves: itself, and all that nothing else needs."""
        leaving: list[Owner] = []
        todo = list(self._owners(owner))
        while todo:
            one = todo.pop()
            leaving.append(one)
            todo += self._dominated.get(one, ())
        return tuple(dict.fromkeys(leaving))

    def chains(self, owner: Owner | str) -> tuple[tuple[Owner, ...], ...]:
        """Why it is there: from each root that leads to it the shortest chain, shortest first."""
        roots = set(self.roots)
        found: list[tuple[Owner, ...]] = []
        for target in self._owners(owner):
            next_to: dict[Owner, Owner | None] = {target: None}
            queue = deque([target])
            while queue:
                one = queue.popleft()
                if one in roots:
                    chain = [one]
                    while (step := next_to[chain[-1]]) is not None:
                        chain.append(step)
                    found.append(tuple(chain))
                for other in self.distributions[one].required_by:
                    if other not in next_to:
                        next_to[other] = one
                        queue.append(other)
        return tuple(sorted(found, key=lambda chain: (len(chain), chain)))

    @property
    def unmet(self) -> Mapping[Owner, tuple[str, ...]]:
        """Owner → requirements that nothing in the image meets."""
        return {
            owner: distribution.unmet
            for owner, distribution in self.distributions.items()
            if distribution.unmet
        }

    def _owners(self, owner: Owner | str) -> tuple[Owner, ...]:
        if isinstance(owner, Owner):
            return (owner,) if owner in self.distributions else ()
        return self.find(owner)


def _roots(
    edges: Mapping[Owner, Sequence[Owner]],
    by: Mapping[Owner, Sequence[Owner]],
    asked: set[Owner],
) -> list[Owner]:
    """What was asked for, what nothing requires, and every circle that nothing else leads to."""
    roots = [owner for owner in edges if owner in asked or not by.get(owner)]
    reached = _reached(edges, roots)
    if len(reached) == len(edges):
        return roots
    # Kosaraju: the first of the owners left, by time of finishing, stand in front of the others.
    place = {owner: number for number, owner in enumerate(edges)}
    for owner in reversed(_postorder(edges, [one for one in edges if one not in reached])):
        if owner not in reached:
            circle = sorted(_reached(by, [owner]), key=place.__getitem__)
            roots += circle
            reached |= _reached(edges, circle, reached)
    return roots


def _reached(
    edges: Mapping[Owner, Sequence[Owner]],
    start: Iterable[Owner],
    before: Collection[Owner] = (),
) -> set[Owner]:
    """What can be reached from `start` without going through what was reached `before`."""
    todo = list(start)
    reached = set(todo)
    while todo:
        for other in edges.get(todo.pop(), ()):
            if other not in reached and other not in before:
                reached.add(other)
                todo.append(other)
    return reached


def _postorder(edges: Mapping[Owner, Sequence[Owner]], start: Iterable[Owner]) -> list[Owner]:
    """Every owner that can be reached, each behind all that it leads to; circles are cut."""
    order: list[Owner] = []
    seen: set[Owner] = set()
    for first in start:
        if first in seen:
            continue
        seen.add(first)
        path: list[tuple[Owner, Iterator[Owner]]] = [(first, iter(edges.get(first, ())))]
        while path:
            owner, others = path[-1]
            for other in others:
                if other not in seen:
                    seen.add(other)
                    path.append((other, iter(edges.get(other, ()))))
                    break
            else:
                order.append(owner)
                path.pop()
    return order


def _dominated(
    edges: Mapping[Owner, Sequence[Owner]], roots: Sequence[Owner]
) -> dict[Owner, tuple[Owner, ...]]:
    """The dominator tree below a virtual root that requires all roots.

    Cooper, Harvey, Kennedy, "A Simple, Fast Dominance Algorithm" (2001): number 0 is the virtual
    root, the others are numbered in reverse postorder.
    """
    order = _postorder(edges, reversed(roots))[::-1]
    number = {owner: place for place, owner in enumerate(order, 1)}
    before: list[list[int]] = [[] for _ in range(len(order) + 1)]
    for owner in order:
        for other in edges[owner]:
            before[number[other]].append(number[owner])
    for owner in roots:
        before[number[owner]].append(0)
    dominator = [0] + [-1] * len(order)
    changed = True
    while changed:
        changed = False
        for place in range(1, len(order) + 1):
            found = -1
            for meeting in before[place]:
                if dominator[meeting] < 0:
                    continue
                if found < 0:
                    found = meeting
                    continue
                while found != meeting:  # the nearest common ancestor, by numbers that only fall
                    while found > meeting:
                        found = dominator[found]
                    while meeting > found:
                        meeting = dominator[meeting]
            if dominator[place] != found:
                dominator[place] = found
                changed = True
    below: dict[Owner, list[Owner]] = {owner: [] for owner in edges}
    for place, owner in enumerate(order, 1):
        if dominator[place]:
            below[order[dominator[place] - 1]].append(owner)
    return {owner: tuple(others) for owner, others in below.items()}


def _bottom_up(dominated: Mapping[Owner, Sequence[Owner]]) -> Iterable[Owner]:
    """Every owner of the dominator tree, each behind those below it."""
    children = {other for others in dominated.values() for other in others}
    return _postorder(dominated, [owner for owner in dominated if owner not in children])


class _Python:
    """Requirements of Python distributions, followed until no new extra is asked for."""

    def __init__(
        self,
        ledger: Attribution,
        claims: Sequence[Claim],
        edges: Mapping[Owner, dict[Owner, None]],
        unmet: Mapping[Owner, dict[str, None]],
    ) -> None:
        self._edges = edges
        self._unmet = unmet
        self._claims = claims
        self._by_name: defaultdict[str, list[Claim]] = defaultdict(list)
        for claim in claims:
            self._by_name[claim.owner.name].append(claim)
        self._requirements: dict[Claim, list[Requirement]] = {}
        self._wanted: defaultdict[Claim, set[str]] = defaultdict(set)
        self._environments = _environments(ledger)
        self._evaluated: dict[tuple[str, str, str], bool] = {}

    def connect(self, requested: Mapping[Owner, set[str]]) -> None:
        todo: deque[tuple[Claim, str]] = deque((claim, "") for claim in self._claims)
        for claim in self._claims:
            for extra in sorted(requested.get(claim.owner, ())):
                self._want(claim, extra, todo)
        while todo:
            claim, extra = todo.popleft()
            for requirement in self._required(claim, extra):
                found = self._installed(requirement.name, claim)
                if found is None:
                    self._unmet[claim.owner][requirement.text] = None
                    continue
                self._edges[claim.owner][found.owner] = None
                for wanted in requirement.extras:
                    self._want(found, wanted, todo)

    def _want(self, claim: Claim, extra: str, todo: deque[tuple[Claim, str]]) -> None:
        if extra not in self._wanted[claim]:
            self._wanted[claim].add(extra)
            todo.append((claim, extra))

    def _required(self, claim: Claim, extra: str) -> Iterator[Requirement]:
        """What the distribution requires without an extra (`""`), or because of that one."""
        requirements = self._requirements.get(claim)
        if requirements is None:
            parsed = [Requirement.parse(text) for text in claim.requires]
            requirements = [one for one in parsed if one is not None]
            self._requirements[claim] = requirements
        minor = _minor(claim)
        for requirement in requirements:
            if requirement.concerns(extra) and self._holds(requirement, minor, extra):
                yield requirement

    def _holds(self, requirement: Requirement, minor: str, extra: str) -> bool:
        if not requirement.marker:
            return True
        key = (requirement.marker, minor, extra)
        holds = self._evaluated.get(key)
        if holds is None:
            environment = self._environments.get(minor) or self._environments[""]
            holds = self._evaluated[key] = requirement.holds(environment, extra)
        return holds

    def _installed(self, name: str, claim: Claim) -> Claim | None:
        """The distribution of that name that `claim` would import: its neighbour, if it has one."""
        candidates = self._by_name.get(name, ())
        if len(candidates) > 1:
            site = site_of(claim)
            for candidate in candidates:
                if site_of(candidate) == site:
                    return candidate
        return candidates[0] if candidates else None


def site_of(claim: Claim) -> bytes:
    """The folder that a Python distribution is installed to: around its metadata's folder."""
    return parent(claim.metadata)


def _minor(claim: Claim) -> str:
    site = Site.parse(site_of(claim))
    return site.minor if site else ""


def _environments(ledger: Attribution) -> dict[str, Mapping[str, str]]:
    """Marker variables (PEP 508) of each Python of the image, by its minor version.

    Under the empty name that of the newest one, for distributions whose folder does not tell.
    """
    platform = ledger.index.image.platform
    versions = {
        claim.owner.version: claim.owner.kind
        for claim in ledger.claims
        if claim.owner.kind in ("python", "pypy") and claim.owner.version
    }
    ordered = sorted(versions, key=lambda version: [int(n) for n in re.findall(r"\d+", version)])
    environments: dict[str, Mapping[str, str]] = {}
    for version in ordered or ["3.11"]:
        full = version if version.count(".") > 1 else f"{version}.0"
        told = environment(
            full, machine(platform.architecture), pypy=versions.get(version) == "pypy"
        )
        environments[told["python_version"]] = environments[""] = told
    return environments


def _requested(ledger: Attribution, python: Sequence[Claim]) -> dict[Owner, set[str]]:
    """Owners that somebody asked for by name, with the extras that were asked for.

    pip marks such distributions with a file `REQUESTED` (PEP 376), apt the others as installed
    automatically; the application says so in its own files. uv marks every distribution
    (astral-sh/uv#13278), which tells nothing.
    """
    index = ledger.index
    requested: defaultdict[Owner, set[str]] = defaultdict(set)
    names: defaultdict[str, list[Owner]] = defaultdict(list)
    for claim in python:
        names[claim.owner.name].append(claim.owner)
        by_uv = index.evidence.get(claim.metadata + b"/INSTALLER", b"").strip() == b"uv"
        if claim.metadata + b"/REQUESTED" in index.visible and not by_uv:
            requested[claim.owner] |= set()
    for path, content in index.evidence.items():
        name = path.rpartition(b"/")[2]
        if name.startswith(b"requirements") and name.endswith(b".txt"):
            lines = _lines(content)
        elif name == b"pyproject.toml":
            lines = _pyproject(content)
        else:
            continue
        if ledger.claim_of[path].owner.kind not in ("app", "unowned", "cache"):
            continue  # a distribution's own list is for those who develop it
        for line in lines:
            requirement = Requirement.parse(line)
            if requirement is not None:
                for owner in names.get(requirement.name, ()):
                    requested[owner] |= set(requirement.extras)
    states = index.evidence.get(debian.STATES)
    if states is not None:  # else apt keeps no book
        automatic = {debian.text(name) for name, _ in debian.automatic(states)}
        for claim in ledger.claims:
            if claim.owner.kind == "deb" and claim.owner.name not in automatic:
                requested[claim.owner] |= set()
    return requested


def _lines(content: bytes) -> list[str]:
    """Requirement strings of a requirements file; its options are left out."""
    lines = content.decode("utf-8", "replace").replace("\\\n", " ").splitlines()
    lines = [line.partition(" #")[0].strip() for line in lines]
    return [line.partition(" --")[0] for line in lines if line and line[0] not in "-#"]


def _pyproject(content: bytes) -> list[str]:
    import tomllib

    try:
        document = tomllib.loads(content.decode("utf-8", "replace"))
        listed = [str(text) for text in document.get("project", {}).get("dependencies", ())]
        poetry = document.get("tool", {}).get("poetry", {}).get("dependencies", {})
        return [*listed, *map(str, poetry)]
    except (tomllib.TOMLDecodeError, AttributeError, TypeError, RecursionError):
        return []


_APK_NAME = re.compile(r"\s*([^!<>=~@\s][^<>=~@\s]*)").match
_WORD = re.compile(r"\s*(?:[\w.-]+::)?([^\s<>=!~]+)").match


def _apk(text: str) -> list[str]:
    match = _APK_NAME(text)
    return [match[1]] if match else []


def _word(text: str) -> list[str]:
    match = _WORD(text)
    return [match[1]] if match else []


def _whole(text: str) -> list[str]:
    return [text]


_NAMES: Mapping[str, Callable[[str], Sequence[str]]] = {
    "deb": debian.alternatives,
    "apk": _apk,
    "rpm": _whole,
    "conda": _word,
    "npm": _whole,
}
"""How each kind writes a requirement: the names of which any one meets it."""


def _connect(
    claims: Sequence[Claim],
    edges: Mapping[Owner, dict[Owner, None]],
    unmet: Mapping[Owner, dict[str, None]],
) -> None:
    """Requirements that are met by a name alone; the first alternative that is there is taken."""
    found: dict[tuple[str, str], Owner] = {}
    for claim in claims:
        kind, name, _ = claim.owner
        found.setdefault((kind, name), claim.owner)
        if kind == "deb" and ":" in name:
            found.setdefault((kind, name.partition(":")[0]), claim.owner)
    for claim in claims:
        kind = claim.owner.kind
        if kind in _NAMES:
            for text in claim.provides:
                for name in _NAMES[kind](text):
                    found.setdefault((kind, name), claim.owner)
    for claim in claims:
        kind = claim.owner.kind
        if kind not in _NAMES:
            continue
        for text in claim.requires:
            names = _NAMES[kind](text)
            owner = next((found[kind, name] for name in names if (kind, name) in found), None)
            if owner is not None:
                edges[claim.owner][owner] = None
            elif names:
                unmet[claim.owner][text] = None
