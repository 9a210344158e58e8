"""A report as text for people: legible at any width, without colour, and in a pipe."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.table import Table as Grid
from rich.text import Text

from slimmer.formats import tables
from slimmer.formats.console import Paper, Pen, glyphs, written
from slimmer.units import size_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from rich.console import RenderableType

    from slimmer.formats.tables import By
    from slimmer.report.reasons import Reasons
    from slimmer.report.report import Report


def render(report: Report, paper: Paper, by: By | None = None, top: int = 15) -> str:
    """The report as text, a line feed at its end."""
    return written(_report(report, Pen(paper, glyphs(report.categories, paper)), by, top), paper)


def render_reasons(found: Sequence[Reasons], paper: Paper, top: int = 15) -> str:
    """Why each of some owners is in the image."""
    pen = Pen(paper)
    blocks = [block for reasons in found for block in (*_reasons(reasons, pen, top), "", "")]
    return written(blocks, paper)


def _report(report: Report, pen: Pen, by: By | None, top: int) -> Iterable[RenderableType]:
    yield _header(report, pen)
    for table in tables.tables(report, by, top):
        yield ""
        yield from pen.table(table)
    if report.disputed and by is None:
        yield ""
        yield pen.text(
            f"paths that several owners claim: {report.disputed:,} (the JSON report lists them)",
            "dim",
        )
    if report.problems:
        yield ""
        yield Text(f"Problems ({len(report.problems)})", style="bold yellow")
        for problem in report.problems:
            yield pen.below(problem)


def _header(report: Report, pen: Pen) -> RenderableType:
    facts = (report.platform, report.digest[:19], report.route)
    grid = Grid.grid(padding=(0, 2, 0, 0))
    grid.add_column(no_wrap=True)
    grid.add_column(justify="right", no_wrap=True)
    grid.add_column()
    for name, size, words in tables.summary(report):
        grid.add_row("  " + name, Text(size, style="bold"), Text(words, style="dim"))
    outer = Grid.grid()
    outer.add_row(pen.text(report.reference, "bold"))
    outer.add_row(pen.text("  ".join(fact for fact in facts if fact), "dim"))
    outer.add_row("")
    outer.add_row(grid)
    return outer


def _reasons(reasons: Reasons, pen: Pen, top: int) -> Iterable[RenderableType]:
    yield pen.text(reasons.owner, "bold")
    told = [size_text(reasons.size)]
    if reasons.retained is not None and reasons.retained != reasons.size:
        told.append(f"{size_text(reasons.retained)} with all that only it needs")
    if reasons.requested:
        told.append("asked for by name")
    yield pen.below(", ".join(told))
    for text in reasons.evidence[:top]:
        yield pen.below(f"by {text}", "dim")
    yield ""
    arrow = " → " if pen.paper.unicode else " -> "
    chains = [chain for chain in reasons.chains if len(chain) > 1]
    if chains:
        yield Text("Brought in by", style="bold")
        for chain in chains[:top]:
            yield pen.below(arrow.join(chain))
        if len(chains) > top:
            yield pen.below(f"and {len(chains) - top:,} longer chains", "dim")
    else:
        yield pen.below("nothing in the image requires it")
    if len(reasons.required_by) > 1:
        yield ""
        yield Text("Required by", style="bold")
        more = len(reasons.required_by) - 2 * top
        names = ", ".join(reasons.required_by[: 2 * top])
        yield pen.below(f"{names}, and {more} more" if more > 0 else names)
    if reasons.links:
        yield ""
        yield from pen.table(tables.links(reasons, top).told())
    if reasons.unmet:
        yield ""
        yield Text("Requirements that nothing in the image meets", style="bold")
        for text in reasons.unmet[:top]:
            yield pen.below(text)
