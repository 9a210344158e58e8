"""A report as GitHub-flavoured Markdown, for a job's summary or a review.

A name goes into a code span and nowhere else: there no markup, link, mention or HTML is read.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from slimmer.formats import tables
from slimmer.formats.tables import Bar, Name
from slimmer.units import share_text

if TYPE_CHECKING:
    from collections.abc import Iterable

    from slimmer.formats.tables import By, Cell, Table
    from slimmer.report.report import Report

LIMIT = 1_000_000
"""Bytes at most: a job summary may hold 1 MiB."""
NAME = 160
"""Characters of a name at most."""
PROBLEMS = 50
PARTS = 3
"""How many categories a bar names in words."""


def render(report: Report, by: By | None = None, top: int = 15) -> str:
    """The report as Markdown of at most LIMIT bytes; tables lose rows where it would be more."""
    while True:
        text = "\n".join(_lines(report, by, top)) + "\n"
        if len(text.encode()) <= LIMIT or top <= 1:
            return text
        top //= 2


def code(text: str) -> str:
    r"""A code span for a name, also inside a table.

    A backtick would end the span and a `|` the cell: they are escaped as other characters of names
    are, `\x60` and `\x7c`; the cell's own escape `\|` serves where no backslash stands before it.
    """
    if not text:
        return ""
    if len(text) > NAME:
        text = text[: NAME // 3] + "…" + text[-(NAME - NAME // 3 - 1) :]
    text = re.sub(r"(?<!\\)\|", r"\\|", text.replace("`", "\\x60"))
    text = text.replace("\\\\|", "\\\\x7c") if "\\\\|" in text else text
    return f"`{text}`"


def _lines(report: Report, by: By | None, top: int) -> Iterable[str]:
    yield f"### Image {code(report.reference)}"
    yield ""
    facts = [code(report.platform), code(report.digest), code(report.route)]
    yield " · ".join(fact for fact in facts if fact)
    yield ""
    yield "| | size | |"
    yield "|---|---:|---|"
    for name, size, words in tables.summary(report):
        yield f"| **{name}** | {size} | {words} |"
    for part in tables.tables(report, by, top):
        yield from table(part)
    if report.problems:
        yield ""
        yield f"#### Problems ({len(report.problems):,})"
        yield ""
        for problem in report.problems[:PROBLEMS]:
            yield f"- {code(problem)}"
        if len(report.problems) > PROBLEMS:
            yield f"- … {len(report.problems) - PROBLEMS:,} more"


def table(drawn: Table) -> Iterable[str]:
    """A heading, the rows, and what there is to say about them."""
    # A bar without a title only repeats, to scale, what the row says in numbers.
    told = [column.kind != "bar" or bool(column.title) for column in drawn.columns]

    def line(cells: Iterable[str]) -> str:
        kept = [cell for cell, show in zip(cells, told, strict=True) if show]
        return f"| {' | '.join(kept)} |"

    yield ""
    yield f"#### {drawn.title}"
    yield ""
    yield line(column.title for column in drawn.columns)
    yield line("---:" if column.kind == "number" else "---" for column in drawn.columns)
    for row in drawn.rows:
        yield line(_cell(cell) for cell in row)
    for words in (drawn.rest and f"… {drawn.rest}", drawn.note):
        if words:
            yield ""
            yield f"*{words}*"


def _cell(cell: Cell) -> str:
    match cell:
        case Name():
            return "&emsp;" * cell.indent + code(cell.text)
        case Bar():
            total = sum(cell.parts.values())
            return ", ".join(
                f"{category} {share_text(size, total)}"
                for category, size in list(cell.parts.items())[:PARTS]
            )
        case str():
            return cell
