"""Which formats there are for each result, and which of them a file's name means.

A format is named here and drawn in a module of its own, which is imported when it is asked for.
"""

from __future__ import annotations

from pathlib import PurePath
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from slimmer.formats.console import Display
    from slimmer.formats.tables import By
    from slimmer.gate.gate import Gate
    from slimmer.gate.locations import SourceFiles
    from slimmer.plan.plan import Plan
    from slimmer.proof.faults import Verdict
    from slimmer.report.comparison import Comparison
    from slimmer.report.report import Report
    from slimmer.report.tree import Tree

REPORT = ("text", "json", "markdown", "html")
COMPARISON = ("text", "json", "markdown", "html")
PLAN = ("text", "json", "markdown")
VERDICT = ("text", "json")
GATE = ("text", "json", "markdown", "sarif", "junit", "github", "html")

_SUFFIXES: Mapping[str, str] = {
    ".json": "json",
    ".md": "markdown",
    ".markdown": "markdown",
    ".html": "html",
    ".sarif": "sarif",
    ".xml": "junit",
}


def by_name(name: str | None, known: tuple[str, ...], otherwise: str = "text") -> str:
    """The format that a file's name means, of those that a result has."""
    form = _SUFFIXES.get(PurePath(name or "").suffix, "")
    return form if form in known else otherwise


def report_text(
    report: Report, form: str, display: Display, by: By | None, top: int, tree: Callable[[], Tree]
) -> str:
    """Where the bytes went; `tree` is asked for only where there are pictures."""
    match form:
        case "json":
            from slimmer.formats import json

            return json.render(report)
        case "markdown":
            from slimmer.formats import markdown

            return markdown.render(report, by, top)
        case "html":
            from slimmer.formats import html

            return html.render(report, tree())
        case _:
            from slimmer.formats import text

            return text.render(report, display, by, top)


def comparison_text(
    comparison: Comparison,
    form: str,
    display: Display,
    by: By | None,
    top: int,
    tree: Callable[[], Tree],
) -> str:
    """What changed; `tree` is of the later side, asked for only where there are pictures."""
    from slimmer.formats.comparison import markdown, render, text

    match form:
        case "json":
            return render(comparison)
        case "markdown":
            return markdown(comparison, by, top)
        case "html":
            from slimmer.formats import html

            return html.render(comparison.after, tree(), comparison=comparison)
        case _:
            return text(comparison, display, by, top)


def plan_text(plan: Plan, form: str, display: Display, top: int) -> str:
    """What would leave, and how far that goes."""
    from slimmer.formats.plan import markdown, render, text

    match form:
        case "json":
            return render(plan)
        case "markdown":
            return markdown(plan, top)
        case _:
            return text(plan, display, top)


def verdict_text(verdict: Verdict, form: str, display: Display, before: str, after: str) -> str:
    """What a proof found; `before` and `after` are what the images are called."""
    from slimmer.formats.verdict import render, text

    return render(verdict, before, after) if form == "json" else text(verdict, display)


def gate_text(
    gate: Gate,
    form: str,
    display: Display,
    top: int,
    files: SourceFiles,
    tree: Callable[[], Tree],
    version: str,
) -> str:
    """Whether an image fits; `files` are what findings point to, `version` is slimmer's."""
    from slimmer.formats.gate import markdown, render, text

    match form:
        case "json":
            return render(gate)
        case "markdown":
            return markdown(gate, top)
        case "sarif":
            from slimmer.formats import sarif

            return sarif.render(gate, files, version)
        case "junit":
            from slimmer.formats import junit

            return junit.render(gate)
        case "github":
            from slimmer.formats import github

            return github.log(text(gate, display, top), gate, files)
        case "html":
            from slimmer.formats import html

            return html.render_gate(gate, tree())
        case _:
            return text(gate, display, top)
