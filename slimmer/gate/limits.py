"""Limits: the numbers that an image may not pass, as settings, options and platforms state them."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from slimmer.categories import Category
from slimmer.errors import SlimmerError
from slimmer.names import one_line
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


def limits_of(table: Mapping[str, Any], where: str) -> tuple[Limit, ...]:
    """The limits of a `[budget]` table.

    `max` with its `metric`, or `unpacked`, `rootfs`, `packed` by name; `layer`, `hidden`, `growth`
    (`+5%`, `+50MB`, or both in a list), `forbid` (owners), and the tables `owners`, `categories`,
    `paths` (name = size). Raises GateError or SizeError that name the key.
    """
    for key in table:
        if key not in BUDGET_KEYS:
            raise GateError(
                f"{where}: there is no key {key!r:.60}", hint="one of: " + ", ".join(BUDGET_KEYS)
            )
    metric = table.get("metric", "unpacked")
    if metric not in METRICS:
        raise GateError(f"{where}.metric: expected one of {', '.join(METRICS)}, got {metric!r:.60}")
    limits: list[Limit] = []

    def add(bounds: Bounds, value: object, key: str, target: str = "") -> None:
        source = f"{where}.{key}"
        # A bare 0 has no unit to mix up.
        bare = value == "0" or (type(value) is int and value == 0)
        maximum = 0 if bare else parse_size(value, source)
        limits.append(Limit(bounds, maximum, target, source=source))

    if "max" in table:
        add("image", table["max"], "max", metric)
    for name in METRICS:
        if name in table:
            add("image", table[name], name, name)
    if "layer" in table:
        add("layer", table["layer"], "layer")
    if "hidden" in table:
        add("hidden", table["hidden"], "hidden")
    grown = table.get("growth", [])
    limits += [
        growth(text, metric, f"{where}.growth")
        for text in (grown if isinstance(grown, list) else [grown])
    ]
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
    try:
        tables = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise GateError(f"{where}: {error}", hint="the file is TOML: https://toml.io") from None
    return {name: _platform(name, table, f"{where}: {name}") for name, table in tables.items()}


def _platform(name: str, table: Mapping[str, Any], where: str) -> Platform:
    for key in ("title", "limit", "metric", "date", "source"):
        if key not in table:
            raise GateError(f"{where}: the key {key!r} is missing")
    maximum = parse_size(table["limit"], f"{where}.limit")
    metric, source = table["metric"], f"{table['title']}, {table['date']}"
    notes = [str(table["note"])] if "note" in table else []
    if metric == "unclear":
        notes.append("the platform does not say what it measures: judged by the larger size")
        limit = Limit("image", maximum, "unpacked")
    elif metric == "layer":
        limit = Limit("layer", maximum, "packed")
    elif metric in METRICS:
        limit = Limit("image", maximum, metric)
    else:
        raise GateError(f"{where}.metric: expected a metric, layer or unclear, got {metric!r:.60}")
    told = Limit(limit.bounds, maximum, limit.target, source=source, note="; ".join(notes))
    return Platform(name, str(table["title"]), told, str(table["date"]), str(table["source"]))


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
