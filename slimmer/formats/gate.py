"""What the release gate says: text for people, Markdown for a merge request, JSON for programs.

`gate.schema.json` beside this module is the published schema. Within one `schema_version` fields
are only ever added. Sizes are bytes.
"""

from __future__ import annotations

import json
import math
from itertools import accumulate
from typing import TYPE_CHECKING

from slimmer.formats import tables
from slimmer.formats.comparison import table
from slimmer.formats.tables import Column, Name, Table
from slimmer.names import in_ascii, one_line
from slimmer.units import size_text

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rich.console import RenderableType

    from slimmer.formats.console import Display
    from slimmer.gate.gate import Gate, Remedy
    from slimmer.gate.judge import DiveJudgement, Judgement

MARKER = "<!-- slimmer:budget -->"
"""First line of the Markdown: a bot finds its own comment by it, and updates it."""
LIMIT = 60_000
"""Bytes of Markdown at most: a comment of GitHub holds 65,536 characters."""
DIVE_DIGITS = 4


def limits(gate: Gate) -> Table:
    """Every limit with what the image is, the broken ones first."""
    order = sorted(gate.ruling.judgements, key=lambda judgement: judgement.fits)
    return Table(
        "Limits",
        (
            Column("limit", "name"),
            Column("is", "number"),
            Column("allowed", "number"),
            Column("", "words"),
            Column("by", "name", 60),
        ),
        tuple(_limit(judgement) for judgement in order),
    )


def _limit(judgement: Judgement) -> tuple[tables.Cell, ...]:
    limit = judgement.limit
    told = "fits"
    if not judgement.fits:
        told = (
            "not allowed" if limit.bounds == "forbidden" else f"over by {size_text(judgement.over)}"
        )
    return (
        Name(limit.title, prose=True),
        size_text(judgement.actual),
        "none" if limit.bounds == "forbidden" else size_text(judgement.maximum),
        told,
        Name(one_line(limit.source)),
    )


def exactly(gate: Gate) -> tuple[str, ...]:
    """To the byte, what is over, and what there is to know about a limit."""
    lines = [judgement.summary for judgement in gate.ruling.broken]
    lines += [
        f"{one_line(limit.source) or limit.title}: {one_line(limit.note)}"
        for limit in (judgement.limit for judgement in gate.ruling.judgements)
        if limit.note
    ]
    return tuple(dict.fromkeys(lines))


def dive(rules: Iterable[DiveJudgement]) -> Table:
    """dive's rules, with dive's numbers and the true ones side by side."""
    return Table(
        "dive's rules",
        (
            Column("rule", "words"),
            Column("threshold", "number"),
            Column("dive says", "number"),
            Column("", "words"),
            Column("in truth", "number"),
            Column("", "words"),
        ),
        tuple(
            (
                one.rule.name,
                "off" if one.rule.threshold is None else _value(one, one.rule.threshold),
                _value(one, one.score),
                "off" if one.rule.threshold is None else "passes" if one.fits else "fails",
                _value(one, one.true),
                "" if one.rule.threshold is None else "passes" if one.truly_fits else "fails",
            )
            for one in rules
        ),
        note="the gate goes by dive's verdict; in truth every byte that a later layer hides is"
        " wasted, and no other",
    )


def _value(one: DiveJudgement, value: float) -> str:
    if one.rule.name == "highestWastedBytes":
        return size_text(int(value))
    return "not a number" if math.isnan(value) else f"{value:.{DIVE_DIGITS}f}"


def causes(gate: Gate) -> Table:
    """What makes up the bytes of each broken limit but the image's own, whose owners are listed."""
    return Table(
        "What breaks them",
        (Column("limit", "name"), Column("what", "name"), Column("size", "number")),
        tuple(
            (Name(judgement.limit.title, prose=True), Name(name, prose=True), size_text(size))
            for judgement in gate.ruling.broken
            if judgement.limit.bounds not in ("image", "growth")
            for name, size in judgement.because
        ),
    )


def outcome(remedy: Remedy) -> str:
    """What one policy comes to, in a line."""
    sizes = f"{size_text(remedy.before)} → {size_text(remedy.after)} {remedy.metric}"
    if remedy.fits:
        return f"{remedy.policy}: {sizes} by {_steps(remedy)}, fits"
    return f"{remedy.policy}: {sizes} by {_steps(remedy)}, still over by " + size_text(
        remedy.after - remedy.maximum
    )


def _steps(remedy: Remedy) -> str:
    return f"{remedy.steps:,} step" + ("" if remedy.steps == 1 else "s")


def steps_table(remedy: Remedy, top: int) -> Table:
    """The steps of a remedy, least risk first, with what is left after each."""
    order = sorted(remedy.largest, key=lambda step: -step.saves)[:top]
    shown = [step for step in remedy.largest if step in order]
    left = remedy.steps - len(shown)
    saved = list(accumulate(step.saves for step in shown))
    rest = remedy.before - remedy.after - (saved[-1] if saved else 0)
    return Table(
        "Steps that fit, least risk first" if remedy.fits else "Steps that come closest",
        (
            Column("target", "name"),
            Column("rule", "name"),
            Column("saves", "number"),
            Column("so far", "number", 64),
            Column("safety", "words"),
            Column("evidence", "name", 120),
        ),
        tuple(
            (
                Name(step.target),
                Name(step.rule),
                size_text(step.saves),
                size_text(total),
                step.safety,
                Name(step.evidence, prose=True),
            )
            for step, total in zip(shown, saved, strict=True)
        ),
        f"{left:,} more step{'' if left == 1 else 's'}, and records: {size_text(rest)}"
        if left
        else "",
    )


def _tables(gate: Gate, top: int) -> Iterable[Table]:
    if gate.ruling.dive:
        yield dive(gate.ruling.dive)
    if gate.fits:
        return
    what = causes(gate)
    if what.rows:
        yield what
    yield tables.owners(gate.report, top).without_empty()
    if gate.comparison is not None:
        yield table(gate.comparison, "owner", top, "What changed since the baseline")


def text(gate: Gate, display: Display, top: int = 10) -> str:
    """The gate's word for people, on lines of text."""
    from slimmer.formats.console import Renderer, glyphs, rendered

    renderer = Renderer(display, glyphs(gate.report.categories, display))
    blocks: list[RenderableType] = [
        renderer.text(
            f"{gate.report.reference} {gate.verdict}", "bold green" if gate.fits else "bold red"
        )
    ]
    if gate.ruling.judgements:
        blocks += ["", *renderer.table(limits(gate))]
        blocks += [renderer.indented(line, "dim") for line in exactly(gate)]
    for drawn in _tables(gate, top):
        blocks += ["", *renderer.table(drawn)]
    if gate.remedies:
        blocks += ["", renderer.text("The least risky way back under the limit", "bold")]
        blocks += [renderer.indented(outcome(remedy)) for remedy in gate.remedies]
        if gate.best is not None and gate.best.largest:
            blocks += ["", *renderer.table(steps_table(gate.best, top))]
    made = rendered(blocks, display)
    if gate.command:
        # On one line whatever the width, so that it can be copied.
        command = gate.command if display.unicode else in_ascii(gate.command)
        made += f"\nTo get there, run\n  {command}\n"
    if gate.notes:
        made += "\n" + rendered((renderer.indented(note, "dim") for note in gate.notes), display)
    return made


def markdown(gate: Gate, top: int = 10) -> str:
    """The gate's word for a merge request: at most LIMIT bytes, MARKER first."""
    while True:
        made = "\n".join(_markdown(gate, top)) + "\n"
        if len(made.encode()) <= LIMIT or top <= 1:
            return made if len(made.encode()) <= LIMIT else _short(gate)
        top //= 2


def _short(gate: Gate) -> str:
    """Where thousands of limits leave no room for a table."""
    from slimmer.formats.markdown import code

    heading = f"### {code(gate.report.reference)} {gate.verdict}"
    return f"{MARKER}\n{heading}\n\nToo much to show here: see the JSON of the gate.\n"


def _markdown(gate: Gate, top: int) -> Iterable[str]:
    from slimmer.formats.markdown import code
    from slimmer.formats.markdown import table as markdown_table

    yield MARKER
    sign = "✅" if gate.fits else "❌"
    yield f"### {sign} {code(gate.report.reference)} {gate.verdict}"
    if gate.ruling.judgements:
        yield from markdown_table(limits(gate))
        yield ""
        for line in exactly(gate):
            yield f"- {code(line)}"
    for drawn in _tables(gate, top):
        yield from markdown_table(drawn)
    if gate.remedies:
        yield ""
        yield "#### The least risky way back under the limit"
        yield ""
        for remedy in gate.remedies:
            yield f"- {code(outcome(remedy))}"
        if gate.best is not None and gate.best.largest:
            yield from markdown_table(steps_table(gate.best, top))
    if gate.command:
        yield ""
        yield "To get there, run"
        yield ""
        # An indented block ends with its line, whatever stands in it.
        yield f"    {gate.command}"
    if gate.notes:
        yield ""
        for note in gate.notes:
            yield f"- {code(note)}"


def render(gate: Gate) -> str:
    """The gate's word as JSON."""
    return json.dumps(gate.to_dict(), indent=1, ensure_ascii=False) + "\n"
