"""Lines of a Dockerfile and of requirements files that a finding can point to."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from packaging.utils import canonicalize_name

if TYPE_CHECKING:
    from collections.abc import Iterator

    from slimmer.gate.judge import Judgement
    from slimmer.report.report import Report
    from slimmer.report.rows import OwnerRow


@dataclass(frozen=True, slots=True)
class Location:
    """A line of a file."""

    file: str
    """As the user named it."""
    line: int
    """From 1 on."""


@dataclass(frozen=True, slots=True)
class SourceFile:
    """A file of the project, read."""

    name: str
    text: str


@dataclass(frozen=True, slots=True)
class SourceFiles:
    """The files that findings may point to; without any, nothing points anywhere."""

    dockerfile: SourceFile | None = None
    requirements: tuple[SourceFile, ...] = ()

    def judgement(self, judgement: Judgement, report: Report) -> Location | None:
        """Where what a judgement is about came in."""
        match judgement.limit.bounds:
            case "owner" | "forbidden":
                names = {name for name, _ in judgement.because[:1]}
                for row in report.owners:
                    if row.label in names:
                        return self.owner(row, report)
            case "hidden" if report.hidden:
                return self.layer(report.hidden[0].by, report)
            case _:
                pass
        largest = max(report.layers, key=lambda row: row.size, default=None)
        if largest is not None and self.dockerfile is not None:
            return self.layer(largest.number, report)
        return next((Location(source.name, 1) for source in self.requirements), None)

    def owner(self, row: OwnerRow, report: Report) -> Location | None:
        """The requirement that names an owner, or what made the layer that holds most of it."""
        if row.kind == "pip":
            for source in self.requirements:
                for number, line in enumerate(source.text.splitlines(), start=1):
                    match = _REQUIREMENT.match(line)
                    if match and canonicalize_name(match[1]) == row.name:
                        return Location(source.name, number)
        if self.dockerfile is None or not row.layers:
            return None
        return self.layer(max(row.layers, key=lambda layer: row.layers[layer]), report)

    def layer(self, number: int, report: Report) -> Location | None:
        """The instruction that made a layer; the last FROM where it lies in the base image."""
        if self.dockerfile is None:
            return None
        made_by = _folded(report.layers[number].command) if number < len(report.layers) else ""
        base = 1
        # From the end, so that the last stage wins: it is the one that the image is made of.
        instructions = list(_instructions(self.dockerfile.text))
        for line, text in reversed(instructions):
            keyword, _, rest = _folded(text).partition(" ")
            if _same(made_by, f"{keyword.upper()} {rest}"):
                return Location(self.dockerfile.name, line)
        for line, text in instructions:
            if text[:4].upper() == "FROM":
                base = line
        return Location(self.dockerfile.name, base)


_REQUIREMENT = re.compile(r"\s*([A-Za-z0-9][A-Za-z0-9._-]*)\s*(?:[\[<>=!~;@#]|$)")


def _folded(text: str) -> str:
    return " ".join(text.split())


def _same(made_by: str, instruction: str) -> bool:
    if made_by == instruction:
        return bool(made_by)
    words, told = instruction.split(" "), made_by.split(" ")
    # The classic builder's history says `COPY ... /app`, whatever was copied.
    return (
        len(told) > 2
        and told[0] in ("COPY", "ADD")
        and told[1] == "..."
        and (words[0], words[-1]) == (told[0], told[-1])
    )


def _instructions(text: str) -> Iterator[tuple[int, str]]:
    """Each instruction on one line, with the number of its first one."""
    held: list[str] = []
    start = 0
    for number, line in enumerate(text.splitlines(), start=1):
        bare = line.strip()
        if not bare or bare.startswith("#"):
            continue  # comments between continued lines are dropped, as Docker does
        if not held:
            start = number
        held.append(bare.removesuffix("\\"))
        if not bare.endswith("\\"):
            yield start, " ".join(held)
            held = []
    if held:
        yield start, " ".join(held)
