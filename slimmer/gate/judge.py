"""The release gate: limits, and whether an image keeps them. Being over is a result, not an error.

A judgement never rests on an estimate: where the number that a limit bounds is not known, the
gate says so and cannot go on.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from slimmer.attribution import Owner
from slimmer.gate.limits import GateError
from slimmer.names import one_line
from slimmer.policy import Globs, Selector
from slimmer.units import exact_text, size_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from slimmer.gate import dive
    from slimmer.gate.limits import Limit
    from slimmer.report.comparison import Comparison
    from slimmer.report.report import Report

CAUSES = 5
"""How many of the largest things that make up its bytes a judgement names."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """A limit, and what the image is."""

    limit: Limit
    actual: int
    """Bytes; for growth the bytes grown."""
    maximum: int
    """Bytes that the limit comes to on this image."""
    because: tuple[tuple[str, int], ...] = ()
    """What the bytes are, largest first."""

    @property
    def fits(self) -> bool:
        return self.actual <= self.maximum

    @property
    def over(self) -> int:
        """Bytes over the limit; 0 where it fits."""
        return max(0, self.actual - self.maximum)

    @property
    def summary(self) -> str:
        """The judgement in one line."""
        title = self.limit.title
        if self.limit.bounds == "forbidden" and not self.fits:
            return f"{title}: the image has {size_text(self.actual)} of it"
        sizes = f"{size_text(self.actual)} of {size_text(self.maximum)}"
        if self.fits:
            return f"{title}: {sizes}, fits"
        over = size_text(self.over)
        exact = "" if over.endswith(" B") else f" ({exact_text(self.over)})"
        return f"{title}: {sizes}, over by {over}{exact}"

    def to_dict(self) -> dict[str, Any]:
        """The judgement as JSON has it."""
        limit = self.limit
        return {
            "title": limit.title,
            "bounds": limit.bounds,
            "target": one_line(limit.target),
            "source": one_line(limit.source),
            "note": one_line(limit.note),
            "actual": self.actual,
            "maximum": self.maximum,
            "over": self.over,
            "fits": self.fits,
            "because": [{"name": name, "size": size} for name, size in self.because],
        }


@dataclass(frozen=True, slots=True)
class DiveJudgement:
    """One of dive's rules: judged by dive's number, beside it the true one."""

    rule: dive.Rule
    score: float
    true: float

    @property
    def fits(self) -> bool:
        return not self.rule.broken_by(self.score)

    @property
    def truly_fits(self) -> bool:
        return not self.rule.broken_by(self.true)

    def to_dict(self) -> dict[str, Any]:
        """The judgement as JSON has it."""
        return {
            "rule": self.rule.name,
            "threshold": self.rule.threshold,
            "dive": _number(self.score),
            "true": _number(self.true),
            "fits": self.fits,
            "truly_fits": self.truly_fits,
        }


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None


@dataclass(frozen=True, slots=True)
class Ruling:
    """Every limit judged."""

    judgements: tuple[Judgement, ...]
    dive: tuple[DiveJudgement, ...] = ()

    @property
    def fits(self) -> bool:
        return not self.broken and all(judgement.fits for judgement in self.dive)

    @property
    def verdict(self) -> str:
        """All judgements in one line."""
        broken = len(self.broken) + sum(not rule.fits for rule in self.dive)
        count = len(self.judgements) + len(self.dive)
        if not broken:
            return "fits its limit" if count == 1 else f"fits all {count} limits"
        if count == 1 and self.broken:
            return f"over its limit by {size_text(self.broken[0].over)}"
        return f"breaks {broken} of {count} limits" if count > 1 else "breaks its limit"

    @property
    def broken(self) -> tuple[Judgement, ...]:
        return tuple(judgement for judgement in self.judgements if not judgement.fits)


def judge(
    limits: Iterable[Limit],
    report: Report,
    comparison: Comparison | None = None,
    size_of: Callable[[Globs], int] | None = None,
) -> Ruling:
    """Hold a report against limits.

    `comparison` (with the baseline) answers limits of growth, `size_of` those of paths. Raises
    GateError where what a limit bounds is not known.
    """
    return Ruling(tuple(_judge(limit, report, comparison, size_of) for limit in limits))


def _judge(
    limit: Limit,
    report: Report,
    comparison: Comparison | None,
    size_of: Callable[[Globs], int] | None,
) -> Judgement:
    match limit.bounds:
        case "image":
            # Of packed bytes nobody can tell whose they are.
            owners = report.owners[:CAUSES] if limit.target != "packed" else ()
            because = tuple((row.label, row.size) for row in owners)
            return Judgement(limit, _size(report, limit.target), limit.maximum, because)
        case "category":
            shares = sorted(
                ((row.label, row.categories.get(limit.target, 0)) for row in report.owners),
                key=lambda share: (-share[1], share[0]),
            )
            because = tuple(share for share in shares[:CAUSES] if share[1])
            return Judgement(limit, report.categories.get(limit.target, 0), limit.maximum, because)
        case "hidden":
            rows = tuple(
                (f"layer {row.by} {_verb(row.how)} layer {row.layer}", row.size)
                for row in report.hidden[:CAUSES]
            )
            return Judgement(limit, report.overwritten + report.deleted, limit.maximum, rows)
        case "layer":
            sizes = _layer_sizes(report, limit)
            over = tuple(row for row in sizes if row[1] > limit.maximum)
            return Judgement(limit, sizes[0][1] if sizes else 0, limit.maximum, over[:CAUSES])
        case "owner" | "forbidden":
            selector = Selector(owners=(limit.target,))
            found = [
                row
                for row in report.owners
                if selector.owner(Owner(row.kind, row.name, row.version))
            ]
            size = sum(row.size for row in found)
            if limit.bounds == "forbidden" and found:
                size = max(size, 1)  # an empty distribution is there all the same
            return Judgement(
                limit, size, limit.maximum, tuple((row.label, row.size) for row in found[:CAUSES])
            )
        case "path":
            if size_of is None:
                raise GateError(
                    f"{limit.source}: a saved report tells no size of {limit.target!r:.100}",
                    hint="name the image itself",
                )
            return Judgement(limit, size_of(Globs((limit.target,))), limit.maximum)
        case "growth":
            return _growth(limit, comparison)


def _growth(limit: Limit, comparison: Comparison | None) -> Judgement:
    if comparison is None:
        raise GateError(
            f"{limit.source}: growth is measured against a baseline",
            hint="give one: --baseline FILE|IMAGE; slimmer inspect IMAGE -o baseline.json makes it",
        )
    before = _size(comparison.before, limit.target)
    maximum = limit.maximum if limit.percent is None else int(before * limit.percent / 100)
    because = tuple(
        (f"{change.name} {change.version}".strip(), change.growth)
        for change in comparison.owners
        if change.growth > 0
    )[:CAUSES]
    return Judgement(limit, _size(comparison.after, limit.target) - before, maximum, because)


def _size(report: Report, metric: str) -> int:
    size: int | None = getattr(report, metric)
    if size is None:
        raise _not_known(report)
    return size


def _not_known(report: Report) -> GateError:
    return GateError(
        f"the packed size of {report.reference} is not known: there are no compressed blobs",
        hint="--measure-packed compresses the layers to measure it, or bound unpacked instead",
    )


def _layer_sizes(report: Report, limit: Limit) -> list[tuple[str, int]]:
    """Each layer's command and size, largest first."""
    sizes: list[tuple[str, int]] = []
    for row in report.layers:
        size = row.packed if limit.target == "packed" else row.size
        if size is None:
            raise _not_known(report)
        sizes.append((row.command or row.diff_id[:19], size))
    return sorted(sizes, key=lambda row: (-row[1], row[0]))


def _verb(how: str) -> str:
    return "overwrites in" if how == "overwritten" else "deletes from"
