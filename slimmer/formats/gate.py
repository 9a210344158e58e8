"""What the release gate says: text for people, Markdown for a merge request, JSON for programs.

`gate.schema.json` beside this module is the published schema. Within one `schema_version` fields
are only ever added. Sizes are bytes.
"""

from __future__ import annotations

import json
import math
from itertools import accumulate
from typing import TYPE_CHECKING, Any

from slimmer.formats import tables
from slimmer.formats.comparison import change_fields, table
from slimmer.formats.tables import Column, Name, Table
from slimmer.names import in_ascii, one_line
from slimmer.units import size_text

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rich.console import RenderableType

    from slimmer.formats.console import Paper
    from slimmer.gate.judge import DiveJudgement, Gate, Judgement, Ladder

SCHEMA_VERSION = 1
MARKER = "<!-- slimmer:budget -->"
"""First line of the Markdown: a bot finds its own comment by it, and updates it."""
LIMIT = 60_000
"""Bytes of Markdown at most: a comment of GitHub holds 65,536 characters."""
OWNERS = 20
"""How many of the largest owners the JSON tells; the report of `slimmer inspect` tells all."""
DIVE_DIGITS = 4


def verdict(gate: Gate) -> str:
    """The whole in one line."""
    broken = len(gate.ruling.broken) + sum(not rule.fits for rule in gate.ruling.dive)
    count = len(gate.ruling.judgements) + len(gate.ruling.dive)
    if not broken:
        return "fits its limit" if count == 1 else f"fits all {count} limits"
    if count == 1 and gate.ruling.broken:
        return f"over its limit by {size_text(gate.ruling.broken[0].over)}"
    return f"breaks {broken} of {count} limits" if count > 1 else "breaks its limit"


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
    lines = [judgement.told for judgement in gate.ruling.broken]
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


def tried(ladder: Ladder) -> str:
    """What one policy comes to, in a line."""
    sizes = f"{size_text(ladder.before)} → {size_text(ladder.after)} {ladder.metric}"
    if ladder.fits:
        return f"{ladder.policy}: {sizes} by {_steps(ladder)}, fits"
    return f"{ladder.policy}: {sizes} by {_steps(ladder)}, still over by " + size_text(
        ladder.after - ladder.maximum
    )


def _steps(ladder: Ladder) -> str:
    return f"{ladder.steps:,} step" + ("" if ladder.steps == 1 else "s")


def rungs(ladder: Ladder, top: int) -> Table:
    """The steps of a ladder, least risk first, with what is left after each."""
    order = sorted(ladder.rungs, key=lambda rung: -rung.saves)[:top]
    shown = [rung for rung in ladder.rungs if rung in order]
    left = ladder.steps - len(shown)
    saved = list(accumulate(rung.saves for rung in shown))
    rest = ladder.before - ladder.after - (saved[-1] if saved else 0)
    return Table(
        "Steps that fit, least risk first" if ladder.fits else "Steps that come closest",
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
                Name(rung.target),
                Name(rung.rule),
                size_text(rung.saves),
                size_text(total),
                rung.safety,
                Name(rung.evidence, prose=True),
            )
            for rung, total in zip(shown, saved, strict=True)
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
    yield tables.owners(gate.report, top).told()
    if gate.comparison is not None:
        yield table(gate.comparison, "owner", top, "What changed since the baseline")


def text(gate: Gate, paper: Paper, top: int = 10) -> str:
    """The gate's word for people, on lines of text."""
    from slimmer.formats.console import Pen, glyphs, written

    pen = Pen(paper, glyphs(gate.report.categories, paper))
    blocks: list[RenderableType] = [
        pen.text(
            f"{gate.report.reference} {verdict(gate)}", "bold green" if gate.fits else "bold red"
        )
    ]
    if gate.ruling.judgements:
        blocks += ["", *pen.table(limits(gate))]
        blocks += [pen.below(line, "dim") for line in exactly(gate)]
    for drawn in _tables(gate, top):
        blocks += ["", *pen.table(drawn)]
    if gate.ladders:
        blocks += ["", pen.text("The least risky way back under the limit", "bold")]
        blocks += [pen.below(tried(ladder)) for ladder in gate.ladders]
        if gate.best is not None and gate.best.rungs:
            blocks += ["", *pen.table(rungs(gate.best, top))]
    made = written(blocks, paper)
    if gate.command:
        # On one line whatever the width, so that it can be copied.
        command = gate.command if paper.unicode else in_ascii(gate.command)
        made += f"\nTo get there, run\n  {command}\n"
    if gate.notes:
        made += "\n" + written((pen.below(note, "dim") for note in gate.notes), paper)
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

    heading = f"### {code(gate.report.reference)} {verdict(gate)}"
    return f"{MARKER}\n{heading}\n\nToo much to show here: see the JSON of the gate.\n"


def _markdown(gate: Gate, top: int) -> Iterable[str]:
    from slimmer.formats import markdown as form

    yield MARKER
    sign = "✅" if gate.fits else "❌"
    yield f"### {sign} {form.code(gate.report.reference)} {verdict(gate)}"
    if gate.ruling.judgements:
        yield from form.table(limits(gate))
        yield ""
        for line in exactly(gate):
            yield f"- {form.code(line)}"
    for drawn in _tables(gate, top):
        yield from form.table(drawn)
    if gate.ladders:
        yield ""
        yield "#### The least risky way back under the limit"
        yield ""
        for ladder in gate.ladders:
            yield f"- {form.code(tried(ladder))}"
        if gate.best is not None and gate.best.rungs:
            yield from form.table(rungs(gate.best, top))
    if gate.command:
        yield ""
        yield "To get there, run"
        yield ""
        # An indented block ends with its line, whatever stands in it.
        yield f"    {gate.command}"
    if gate.notes:
        yield ""
        for note in gate.notes:
            yield f"- {form.code(note)}"


def render(gate: Gate) -> str:
    """The gate's word as JSON."""
    report = gate.report
    fields: dict[str, Any] = {
        "schema_version": SCHEMA_VERSION,
        "fits": gate.fits,
        "verdict": verdict(gate),
        "image": {
            "reference": report.reference,
            "digest": report.digest,
            "platform": report.platform,
            "route": report.route,
        },
        "sizes": {
            "unpacked": report.unpacked,
            "rootfs": report.rootfs,
            "packed": report.packed,
        },
        "hidden": {"overwritten": report.overwritten, "deleted": report.deleted},
        "limits": [
            {
                "title": judgement.limit.title,
                "bounds": judgement.limit.bounds,
                "target": one_line(judgement.limit.target),
                "source": one_line(judgement.limit.source),
                "note": one_line(judgement.limit.note),
                "actual": judgement.actual,
                "maximum": judgement.maximum,
                "over": judgement.over,
                "fits": judgement.fits,
                "because": [{"name": name, "size": size} for name, size in judgement.because],
            }
            for judgement in gate.ruling.judgements
        ],
        "dive": [
            {
                "rule": one.rule.name,
                "threshold": one.rule.threshold,
                "dive": _number(one.score),
                "true": _number(one.true),
                "fits": one.fits,
                "truly_fits": one.truly_fits,
            }
            for one in gate.ruling.dive
        ],
        "owners": [
            {
                "kind": row.kind,
                "name": row.name,
                "version": row.version,
                "size": row.size,
                "retained": row.retained,
            }
            for row in report.owners[:OWNERS]
        ],
        "baseline": None,
        "ladders": [
            {
                "policy": ladder.policy,
                "metric": ladder.metric,
                "maximum": ladder.maximum,
                "before": ladder.before,
                "after": ladder.after,
                "fits": ladder.fits,
                "safety": ladder.safety or None,
                "steps": ladder.steps,
                "largest": [
                    {
                        "target": rung.target,
                        "rule": rung.rule,
                        "safety": rung.safety,
                        "saves": rung.saves,
                        "evidence": rung.evidence,
                    }
                    for rung in ladder.rungs
                ],
            }
            for ladder in gate.ladders
        ],
        "command": gate.command or None,
        "notes": list(gate.notes),
        "problems": list(report.problems),
    }
    if gate.comparison is not None:
        before = gate.comparison.before
        fields["baseline"] = {
            "reference": before.reference,
            "digest": before.digest,
            "sizes": {
                "unpacked": before.unpacked,
                "rootfs": before.rootfs,
                "packed": before.packed,
            },
            "owners": [change_fields(change) for change in gate.comparison.owners],
        }
    return json.dumps(fields, indent=1, ensure_ascii=False) + "\n"


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None
