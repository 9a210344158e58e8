"""A report as text for people: legible at any width, without colour, and in a pipe."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.table import Table as Grid
from rich.text import Text

from slimmer.formats import tables
from slimmer.formats.console import Display, Renderer, glyphs, rendered
from slimmer.units import size_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from rich.console import RenderableType

    from slimmer.formats.tables import By
    from slimmer.report.reasons import Reasons
    from slimmer.report.report import Report


def render(report: Report, display: Display, by: By | None = None, top: int = 15) -> str:
    """The report as text, a line feed at its end."""
    return rendered(
        _report(report, Renderer(display, glyphs(report.categories, display)), by, top), display
    )


def render_reasons(found: Sequence[Reasons], display: Display, top: int = 15) -> str:
    """Why each of some owners is in the image."""
    renderer = Renderer(display)
    blocks = [block for reasons in found for block in (*_reasons(reasons, renderer, top), "", "")]
    return rendered(blocks, display)


def _report(
    report: Report, renderer: Renderer, by: By | None, top: int
) -> Iterable[RenderableType]:
    yield _header(report, renderer)
    for table in tables.tables(report, by, top):
        yield ""
        yield from renderer.table(table)
    if report.disputed and by is None:
        yield ""
        yield renderer.text(
            f"paths that several owners claim: {report.disputed:,} (the JSON report lists them)",
            "dim",
        )
    if report.problems:
        yield ""
        yield Text(f"Problems ({len(report.problems)})", style="bold yellow")
        for problem in report.problems:
            yield renderer.indented(problem)


def _header(report: Report, renderer: Renderer) -> RenderableType:
    facts = (report.platform, report.digest[:19], report.route)
    grid = Grid.grid(padding=(0, 2, 0, 0))
    grid.add_column(no_wrap=True)
    grid.add_column(justify="right", no_wrap=True)
    grid.add_column()
    for name, size, words in tables.summary(report):
        grid.add_row("  " + name, Text(size, style="bold"), Text(words, style="dim"))
    outer = Grid.grid()
    outer.add_row(renderer.text(report.reference, "bold"))
    outer.add_row(renderer.text("  ".join(fact for fact in facts if fact), "dim"))
    outer.add_row("")
    outer.add_row(grid)
    return outer


def _reasons(reasons: Reasons, renderer: Renderer, top: int) -> Iterable[RenderableType]:
    yield renderer.text(reasons.owner, "bold")
    told = [size_text(reasons.size)]
    if reasons.retained is not None and reasons.retained != reasons.size:
        told.append(f"{size_text(reasons.retained)} with all that only it needs")
    if reasons.requested:
        told.append("asked for by name")
    yield renderer.indented(", ".join(told))
    for text in reasons.evidence[:top]:
        yield renderer.indented(f"by {text}", "dim")
    yield ""
    arrow = " → " if renderer.display.unicode else " -> "
    chains = [chain for chain in reasons.chains if len(chain) > 1]
    if chains:
        yield Text("Brought in by", style="bold")
        for chain in chains[:top]:
            yield renderer.indented(arrow.join(chain))
        if len(chains) > top:
            yield renderer.indented(f"and {len(chains) - top:,} longer chains", "dim")
    else:
        yield renderer.indented("nothing in the image requires it")
    if len(reasons.required_by) > 1:
        yield ""
        yield Text("Required by", style="bold")
        more = len(reasons.required_by) - 2 * top
        names = ", ".join(reasons.required_by[: 2 * top])
        yield renderer.indented(f"{names}, and {more} more" if more > 0 else names)
    if reasons.links:
        yield ""
        yield from renderer.table(tables.links(reasons, top).without_empty())
    if reasons.unmet:
        yield ""
        yield Text("Requirements that nothing in the image meets", style="bold")
        for text in reasons.unmet[:top]:
            yield renderer.indented(text)
