"""Who requires whom, and what would leave with whom.

How requirements are read and what meets them: `requirements.py`.
"""

from __future__ import annotations

from collections import defaultdict, deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from packaging.utils import canonicalize_name

from slimmer.analysis.requirements import PythonRequirements, connect_by_name, requested
from slimmer.attribution import Owner

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

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
        asked = requested(ledger, python)
        if python:
            PythonRequirements(ledger, python, edges, unmet).connect(asked)
        connect_by_name(claims, edges, unmet)
        return cls.between(
            owners,
            edges,
            {owner for owner in owners if owner in asked},
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
