"""The release gate: limits, and whether an image keeps them. Being over is a result, not an error.

A judgement never rests on an estimate: where the number that a limit bounds is not known, the
gate says so and cannot go on.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from slimmer.attribution import Owner
from slimmer.errors import SlimmerError
from slimmer.policy import Globs, Selector
from slimmer.units import exact_text, parse_size, size_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from slimmer.comparison import Comparison
    from slimmer.report import Report

Bounds = Literal["image", "owner", "category", "layer", "hidden", "growth", "forbidden", "path"]
METRICS = ("unpacked", "rootfs", "packed")


class GateError(SlimmerError):
    """A limit that says something it cannot mean, or that nothing known can answer."""


@dataclass(frozen=True, slots=True)
class Limit:
    """One number that an image may not pass."""

    bounds: Bounds
    maximum: int
    """Bytes."""
    target: str = ""
    """Owner, category, path glob; for the image and its growth the metric."""
    percent: float | None = None
    """For growth: of the baseline, instead of `maximum`."""
    source: str = ""
    """Where the limit stands, for people: an option, a key of a file, a platform's page."""
    note: str = ""
    """What is to be known about it, such as that a platform does not say what it measures."""

    @property
    def title(self) -> str:
        match self.bounds:
            case "image":
                return f"image ({self.target})"
            case "growth":
                return f"growth ({self.target})"
            case "hidden":
                return "hidden bytes"
            case "layer":
                return "largest layer"
            case "forbidden":
                return f"no {self.target}"
            case bounds:
                return f"{bounds} {self.target}"


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
    def told(self) -> str:
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


@dataclass(frozen=True, slots=True)
class Ruling:
    """Every limit judged."""

    judgements: tuple[Judgement, ...]

    @property
    def fits(self) -> bool:
        return all(judgement.fits for judgement in self.judgements)

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
            because = tuple((row.label, row.size) for row in report.owners[:5])
            return Judgement(limit, _size(report, limit.target), limit.maximum, because)
        case "category":
            return Judgement(limit, report.categories.get(limit.target, 0), limit.maximum)
        case "hidden":
            rows = tuple(
                (f"layer {row.by} {_verb(row.how)} layer {row.layer}", row.size)
                for row in report.hidden[:5]
            )
            return Judgement(limit, report.overwritten + report.deleted, limit.maximum, rows)
        case "layer":
            layers = sorted(report.layers, key=lambda row: -row.size)
            rows = tuple((row.command, row.size) for row in layers if row.size > limit.maximum)
            return Judgement(
                limit, max((row.size for row in layers), default=0), limit.maximum, rows
            )
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
                limit, size, limit.maximum, tuple((row.label, row.size) for row in found[:5])
            )
        case "path":
            if size_of is None:
                raise GateError(
                    f"{limit.source}: a saved report does not tell the size of {limit.target!r}",
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
    )[:5]
    return Judgement(limit, _size(comparison.after, limit.target) - before, maximum, because)


def _size(report: Report, metric: str) -> int:
    size: int | None = getattr(report, metric)
    if size is None:
        raise GateError(
            f"the packed size of {report.reference} is not known: there are no compressed blobs",
            hint="--measure-packed compresses the layers to measure it, or bound unpacked instead",
        )
    return size


def _verb(how: str) -> str:
    return "overwrites in" if how == "overwritten" else "deletes from"


def limits_of(table: Mapping[str, Any], where: str) -> tuple[Limit, ...]:
    """The limits of a `[budget]` table.

    `max`, `metric`, `layer`, `hidden`, `growth` (`+5%`, `+50MB`), `forbid` (owners), and the
    tables `owners`, `categories`, `paths` (name = size). Raises GateError that names the key.
    """
    known = [
        *("max", "metric", "platform", "layer", "hidden", "growth", "forbid", "owners"),
        *("categories", "paths", "baseline"),
    ]
    for key in table:
        if key not in known:
            raise GateError(f"{where}: there is no key {key!r}", hint="one of: " + ", ".join(known))
    metric = table.get("metric", "unpacked")
    if metric not in METRICS:
        raise GateError(f"{where}.metric: expected one of {', '.join(METRICS)}, got {metric!r}")
    limits: list[Limit] = []

    def add(bounds: Bounds, value: object, key: str, target: str = "") -> None:
        source = f"{where}.{key}"
        # A bare 0 has no unit to mix up.
        maximum = 0 if value in (0, "0") else parse_size(value, source)
        limits.append(Limit(bounds, maximum, target, source=source))

    if "max" in table:
        add("image", table["max"], "max", metric)
    if "layer" in table:
        add("layer", table["layer"], "layer")
    if "hidden" in table:
        add("hidden", table["hidden"], "hidden")
    if "growth" in table:
        limits.append(growth(table["growth"], metric, f"{where}.growth"))
    forbidden = table.get("forbid", [])
    if not isinstance(forbidden, list) or not all(isinstance(name, str) for name in forbidden):
        raise GateError(f"{where}.forbid: expected a list of owners, got {forbidden!r:.60}")
    limits += [Limit("forbidden", 0, name, source=f"{where}.forbid") for name in forbidden]
    named: tuple[tuple[str, Bounds], ...]
    named = (("owners", "owner"), ("categories", "category"), ("paths", "path"))
    for key, kind in named:
        entries = table.get(key, {})
        if not isinstance(entries, dict):
            raise GateError(f"{where}.{key}: expected a table, got {entries!r:.60}")
        for name, value in entries.items():
            if kind == "category":
                _category(name, f"{where}.{key}")
            add(kind, value, f"{key}.{name}", name)
    return tuple(limits)


def growth(text: object, metric: str, source: str) -> Limit:
    """`+5%` or `+50MB` as a limit."""
    match = (
        re.fullmatch(r"\+?\s*([0-9]+(?:\.[0-9]+)?)\s*%", text) if isinstance(text, str) else None
    )
    if match:
        return Limit("growth", 0, metric, percent=float(match[1]), source=source)
    if isinstance(text, str) and text.lstrip().startswith("+"):
        return Limit(
            "growth", parse_size(text.lstrip()[1:].lstrip(), source), metric, source=source
        )
    raise GateError(f"{source}: expected a growth such as '+5%' or '+50MB', got {text!r:.60}")


def _category(name: str, where: str) -> None:
    from slimmer.categories import Category

    if name not in {category.value for category in Category}:
        raise GateError(
            f"{where}: there is no category {name!r}",
            hint="one of: " + ", ".join(category.value for category in Category),
        )
