"""Limits: the numbers that an image may not pass, as settings, options and platforms state them."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from slimmer.categories import Category
from slimmer.errors import SlimmerError
from slimmer.names import one_line
from slimmer.toml import Table
from slimmer.units import parse_size

if TYPE_CHECKING:
    from collections.abc import Mapping

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
    """Owner, category, path glob; for the image, its growth and its layers the metric."""
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
                return "largest layer" + (f" ({self.target})" if self.target else "")
            case "forbidden":
                return f"no {one_line(self.target)}"
            case bounds:
                return f"{bounds} {one_line(self.target)}"


BUDGET_KEYS = (
    *("max", "metric", *METRICS, "layer", "hidden", "growth", "forbid"),
    *("owners", "categories", "paths", "platform", "baseline", "dive-ci"),
)


def limits_of(fields: Mapping[str, Any], where: str) -> tuple[Limit, ...]:
    """The limits of a `[budget]` table.

    `max` with its `metric`, or `unpacked`, `rootfs`, `packed` by name; `layer`, `hidden`, `growth`
    (`+5%`, `+50MB`, or both in a list), `forbid` (owners), and the tables `owners`, `categories`,
    `paths` (name = size). Raises GateError or SizeError that name the key.
    """
    table = Table(fields, where, GateError).only(BUDGET_KEYS)
    metric = table.choice("metric", METRICS, "unpacked")
    limits: list[Limit] = []

    def add(bounds: Bounds, value: object, key: str, target: str = "") -> None:
        source = table.place(key)
        # A bare 0 has no unit to mix up.
        bare = value == "0" or (type(value) is int and value == 0)
        maximum = 0 if bare else parse_size(value, source)
        limits.append(Limit(bounds, maximum, target, source=source))

    if "max" in table:
        add("image", fields["max"], "max", metric)
    for name in METRICS:
        if name in table:
            add("image", fields[name], name, name)
    if "layer" in table:
        add("layer", fields["layer"], "layer")
    if "hidden" in table:
        add("hidden", fields["hidden"], "hidden")
    grown = fields.get("growth", [])
    limits += [
        growth(text, metric, table.place("growth"))
        for text in (grown if isinstance(grown, list) else [grown])
    ]
    if isinstance(fields.get("forbid"), str):
        raise table.fault("forbid", "a list of owners")
    limits += [
        Limit("forbidden", 0, name, source=table.place("forbid"))
        for name in table.texts("forbid", "owners")
    ]
    named: tuple[tuple[str, Bounds], ...]
    named = (("owners", "owner"), ("categories", "category"), ("paths", "path"))
    for key, kind in named:
        for name, value in table.table(key).fields.items():
            if kind == "category":
                _category(name, table.place(key))
            add(kind, value, f"{key}.{name}", name)
    return tuple(limits)


def growth(text: object, metric: str, source: str) -> Limit:
    """`+5%` or `+50MB` as a limit."""
    match = (
        re.fullmatch(r"\+?\s*([0-9]+(?:\.[0-9]+)?)\s*%", text) if isinstance(text, str) else None
    )
    if match:
        return Limit("growth", 0, metric, percent=float(match[1]), source=source)
    # `+5` alone may mean bytes or percent: it has to say which.
    if isinstance(text, str) and re.match(r"\s*\+.*[A-Za-z]\s*\Z", text, re.DOTALL):
        return Limit(
            "growth", parse_size(text.lstrip()[1:].lstrip(), source), metric, source=source
        )
    raise GateError(f"{source}: expected a growth such as '+5%' or '+50MB', got {text!r:.60}")


def _category(name: str, where: str) -> None:
    if name not in {category.value for category in Category}:
        raise GateError(
            f"{where}: there is no category {name!r}",
            hint="one of: " + ", ".join(category.value for category in Category),
        )


@dataclass(frozen=True, slots=True)
class Platform:
    """What one platform says an image may be."""

    name: str
    title: str
    limit: Limit
    date: str
    """The day on which it was read, ISO 8601."""
    source: str
    """The page that says it."""


def platforms(text: str, where: str) -> Mapping[str, Platform]:
    """The platforms of a TOML file, by name; raises GateError that names the key."""
    tables = Table.parse(text, where, GateError).tables()
    return {name: _platform(name, table) for name, table in tables}


def _platform(name: str, table: Table) -> Platform:
    told = table.having("title", "limit", "metric", "date", "source").fields
    maximum = parse_size(told["limit"], table.place("limit"))
    metric, source = told["metric"], f"{told['title']}, {told['date']}"
    notes = [str(told["note"])] if "note" in told else []
    if metric == "unclear":
        notes.append("the platform does not say what it measures: judged by the larger size")
        limit = Limit("image", maximum, "unpacked")
    elif metric == "layer":
        limit = Limit("layer", maximum, "packed")
    elif metric in METRICS:
        limit = Limit("image", maximum, metric)
    else:
        raise table.fault("metric", "a metric, layer or unclear")
    limit = replace(limit, source=source, note="; ".join(notes))
    return Platform(name, str(told["title"]), limit, str(told["date"]), str(told["source"]))


def size_argument(size: int) -> str:
    """A size as an option takes it, to the byte: `4GB`, `4GiB`, `1234567B`."""
    found = f"{size}B"
    for base, suffix in ((1000, "B"), (1024, "iB")):
        for power, letter in enumerate("kMGTP", start=1):
            unit = letter.upper() if base == 1024 else letter
            if size and size % base**power == 0:
                text = f"{size // base**power}{unit}{suffix}"
                found = min(found, text, key=len)
    return found
