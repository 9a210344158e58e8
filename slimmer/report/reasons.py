"""Why an owner's bytes are in the image: what brings it in, and what leaves with each of those."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import asdict, dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from slimmer.errors import SlimmerError
from slimmer.names import one_line, printable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from slimmer.analysis.dependencies import DependencyGraph
    from slimmer.attribution import Attribution, Owner


class OwnerError(SlimmerError):
    """No owner of the image is called that."""


@dataclass(frozen=True, slots=True)
class Link:
    """One owner that requires what is asked about, itself or through others."""

    owner: str
    size: int
    retained: int | None
    leaves: tuple[str, ...]
    """Who else leaves when it leaves, the largest first."""
    takes_it_along: bool
    """Whether what is asked about leaves with it."""


@dataclass(frozen=True, slots=True)
class Reasons:
    """Why one owner is in the image. Names are printable.

    >>> session.why("anyio")[0].required_by
    ('pip:starlette 0.27.0',)
    """

    owner: str
    size: int
    retained: int | None
    requested: bool
    """Whether somebody asked for it by name."""
    evidence: tuple[str, ...]
    """What says that the bytes are its own."""
    required_by: tuple[str, ...]
    """Who requires it directly."""
    chains: tuple[tuple[str, ...], ...]
    """From what was asked for to it, shortest first."""
    links: tuple[Link, ...]
    """Every owner that requires it, itself or through others: what retains most first, and what
    is asked about last."""
    unmet: tuple[str, ...]
    """Requirements of its own that nothing in the image meets."""

    def __repr__(self) -> str:
        return f"Reasons({self.owner!r}, size={self.size}, {len(self.chains)} chains)"

    def to_dict(self) -> dict[str, Any]:
        """All of it as plain values."""
        return asdict(self)

    def records(self) -> list[dict[str, Any]]:
        """Who requires it, as plain records: what pandas, polars and csv take."""
        return [
            {name: value for name, value in asdict(link).items() if name != "leaves"}
            for link in self.links
        ]


def reasons(ledger: Attribution, graph: DependencyGraph, name: str) -> tuple[Reasons, ...]:
    """Why the owners called `name` are there: `torch`, `pip:torch`, `cache:pip`, `app`.

    Raises OwnerError where there is none, with names that are close.
    """
    sizes: defaultdict[Owner, int] = defaultdict(int)
    for claim in set(ledger.claim_of.values()):
        sizes[claim.owner] += 0
    for path, size in ledger.size_of.items():
        sizes[ledger.claim_of[path].owner] += size
    found = graph.find(name)
    if not found:
        wanted = name.strip().lower()
        found = tuple(
            sorted(owner for owner in sizes if wanted in {part.lower() for part in _names(owner)})
        )
    if not found:
        known = {part for owner in sizes for part in _names(owner)[:1]}
        close = [one_line(part) for part in get_close_matches(name, sorted(known), n=3, cutoff=0.6)]
        raise OwnerError(
            f"nothing in the image is called {name!r:.100}",
            hint=f"did you mean {', '.join(close)}?"
            if close
            else "see the owners: slimmer inspect IMAGE --by owner --top 500",
        )
    return tuple(_reasons(ledger, graph, owner, sizes) for owner in found)


def _names(owner: Owner) -> tuple[str, ...]:
    """What people may call an owner."""
    if not owner.name:
        return (owner.kind,)
    return owner.name, f"{owner.kind}:{owner.name}", str(owner)


def _reasons(
    ledger: Attribution, graph: DependencyGraph, owner: Owner, sizes: Mapping[Owner, int]
) -> Reasons:
    chains = graph.chains(owner)
    known = graph.distributions.get(owner)
    links: list[Link] = []
    for one in _requiring(graph, owner):
        leaves = graph.leaves_with(one)
        others = sorted(
            (other for other in leaves if other != one),
            key=lambda other: (-sizes.get(other, 0), other),
        )
        links.append(
            Link(
                printable(str(one)),
                sizes.get(one, 0),
                graph.retained(one),
                tuple(printable(str(other)) for other in others),
                owner in leaves,
            )
        )
    label = printable(str(owner))
    links.sort(key=lambda link: (link.owner == label, -(link.retained or 0), link.owner))
    evidence = {claim.evidence: None for claim in ledger.claims if claim.owner == owner}
    return Reasons(
        owner=label,
        size=sizes.get(owner, 0),
        retained=graph.retained(owner),
        requested=known.requested if known else False,
        evidence=tuple(one_line(text) for text in evidence),
        required_by=tuple(sorted(printable(str(one)) for one in known.required_by))
        if known
        else (),
        chains=tuple(tuple(printable(str(step)) for step in chain) for chain in chains),
        links=tuple(links),
        unmet=tuple(one_line(text) for text in (known.unmet if known else ())),
    )


def _requiring(graph: DependencyGraph, owner: Owner) -> set[Owner]:
    """An owner of the graph with all that require it, directly or through others."""
    if owner not in graph.distributions:
        return set()
    found = {owner}
    todo = [owner]
    while todo:
        for other in graph.distributions[todo.pop()].required_by:
            if other not in found:
                found.add(other)
                todo.append(other)
    return found
