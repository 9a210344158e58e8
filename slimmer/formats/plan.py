"""The tables of a plan before any format: its steps, what would help further, what it refused."""

from __future__ import annotations

import json
from itertools import accumulate
from typing import TYPE_CHECKING

from slimmer.formats.tables import Column, Name, Table
from slimmer.names import one_line, printable
from slimmer.units import exact_text, size_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from rich.console import RenderableType

    from slimmer.formats.console import Display, Renderer
    from slimmer.plan.plan import Plan
    from slimmer.plan.steps import Refusal, Step
    from slimmer.policy import Policy


def summary(plan: Plan) -> tuple[str, ...]:
    """What the plan comes to, a line each."""
    metric = plan.metric
    before, after = plan.before.by(metric), plan.after.by(metric)
    lines = [f"{size_text(before)} → {size_text(after)} {metric}, by {len(plan.steps)} steps"]
    if plan.budget is not None:
        bound = f"the budget of {size_text(plan.budget.maximum)} {metric}"
        if plan.shortfall:
            lines.append(f"over {bound} by {size_text(plan.shortfall)}")
        else:
            lines.append(f"within {bound}, {size_text(plan.budget.maximum - after)} to spare")
    return tuple(lines)


REFUSED = "Refused, since this image needs it"


def tables(plan: Plan, top: int) -> Iterable[Table]:
    """Its steps, and below them what would help further and what may not leave."""
    yield steps_table(plan, top)
    if plan.shortfall and plan.riskier:
        yield riskier_table(plan.riskier, plan.shortfall, top)
    refused = tuple(refusal for refusal in plan.refusals if refusal.size)
    if refused:
        yield refusals_table(refused, min(top, 10))


def steps_table(plan: Plan, top: int) -> Table:
    """Step, bytes, safety and reason, with the running total and where the budget is met."""
    metric = plan.metric
    start = plan.before.by(metric)
    totals = list(accumulate((-step.saves(metric) for step in plan.steps), initial=start))[1:]
    maximum = plan.budget.maximum if plan.budget else None
    shown = _shown(plan.steps, top)
    rows = []
    met = maximum is not None and start <= maximum
    for number, (step, total) in enumerate(zip(plan.steps, totals, strict=True)):
        meets = maximum is not None and not met and total <= maximum
        met = met or meets
        if number in shown or meets:
            rows.append(
                (
                    Name(one_line(printable(step.target))),
                    step.rule,
                    size_text(step.saves(metric)),
                    str(step.safety),
                    size_text(total) + (" ← fits" if meets else ""),
                    Name(one_line(printable(step.evidence)), prose=True),
                )
            )
    left = [step for number, step in enumerate(plan.steps) if number not in shown]
    rest = ""
    if left:
        rest = f"{len(left)} more steps: {size_text(sum(step.saves(metric) for step in left))}"
    note = ""
    if plan.bookkeeping:
        note = (
            f"records rewritten to tell the truth, and bytes that steps share: "
            f"{exact_text(abs(plan.bookkeeping))} {'less' if plan.bookkeeping > 0 else 'more'}"
        )
    return Table(
        "Steps, least risk first",
        (
            Column("target", "name"),
            Column("rule", "words"),
            Column("saves", "number"),
            Column("safety", "words"),
            Column("total", "number"),
            Column("evidence", "words", 120),
        ),
        tuple(rows),
        rest,
        note,
    )


def riskier_table(steps: Sequence[Step], shortfall: int, top: int) -> Table:
    """Riskier steps, largest first, and which of them would close the gap."""
    ranked = sorted(steps, key=lambda step: -step.unpacked)[:top]
    rows = []
    saved = 0
    for step in ranked:
        closes = saved < shortfall <= saved + step.unpacked
        saved += step.unpacked
        rows.append(
            (
                Name(one_line(printable(step.target))),
                step.rule,
                size_text(step.unpacked) + (" ← closes the gap" if closes else ""),
                str(step.safety),
                Name(one_line(step.why), prose=True),
            )
        )
    return Table(
        "Riskier steps that this policy does not take",
        (
            Column("target", "name"),
            Column("rule", "words"),
            Column("saves", "number"),
            Column("safety", "words"),
            Column("why", "words", 100),
        ),
        tuple(rows),
        f"{len(steps) - len(ranked)} more" if len(steps) > len(ranked) else "",
    )


def refusals_table(refused: Sequence[Refusal], top: int) -> Table:
    """What a guard forbade, with what it found."""
    rows = tuple(
        (
            Name(one_line(printable(refusal.target))),
            refusal.rule,
            size_text(refusal.size),
            Name(one_line(printable(refusal.evidence)), prose=True),
        )
        for refusal in refused[:top]
    )
    left = refused[top:]
    return Table(
        REFUSED,
        (
            Column("target", "name"),
            Column("rule", "words"),
            Column("size", "number"),
            Column("evidence", "words"),
        ),
        rows,
        f"{len(left)} more: {size_text(sum(refusal.size for refusal in left))}" if left else "",
    )


def _shown(steps: Sequence[Step], top: int) -> set[int]:
    """Places of the largest steps."""
    return set(sorted(range(len(steps)), key=lambda place: -steps[place].unpacked)[:top])


def render(plan: Plan) -> str:
    """The plan with all that was proposed around it, for programs."""
    return json.dumps(plan.to_dict(), indent=1) + "\n"


def text(plan: Plan, display: Display, top: int) -> str:
    """The plan for people, on lines of text."""
    from slimmer.formats.console import Renderer, rendered

    renderer = Renderer(display)
    first, *more = summary(plan)
    blocks: list[RenderableType] = [renderer.text(first, "bold"), *map(renderer.text, more)]
    for table in tables(plan, top):
        if table.title == REFUSED:
            blocks += ["", *_refusals(plan, renderer, min(top, 10))]
        elif table.rows:
            blocks += ["", *renderer.table(table)]
    blocks += ["", *(renderer.indented(note, "dim") for note in plan.notes)]
    return rendered(blocks, display)


def _refusals(plan: Plan, renderer: Renderer, top: int) -> Iterable[RenderableType]:
    """Each refusal on two lines: the evidence is what matters, and must not be cut short."""
    yield renderer.text(REFUSED, "bold")
    refused = [refusal for refusal in plan.refusals if refusal.size]
    for refusal in refused[:top]:
        target = one_line(printable(refusal.target))
        yield renderer.indented(f"{size_text(refusal.size)}, {refusal.rule}: {target}")
        yield renderer.indented(f"  {one_line(printable(refusal.evidence))}", "dim")
    left = refused[top:]
    if left:
        more = f"… {len(left)} more: {size_text(sum(refusal.size for refusal in left))}"
        yield renderer.indented(
            more if renderer.display.unicode else more.replace("…", "..."), "dim"
        )


def markdown(plan: Plan, top: int) -> str:
    """The plan for a merge request."""
    from slimmer.formats import markdown

    lines = [*summary(plan), ""]
    for table in tables(plan, top):
        lines += markdown.table(table) if table.rows else ()
    return "\n".join(lines) + "\n"


def policies_text(policies: Sequence[Policy], display: Display) -> str:
    """The shipped policies, a row each."""
    from slimmer.formats.console import Renderer, rendered

    rows = tuple(
        (
            Name(policy.name),
            str(policy.safety),
            str(len(policy.rules)),
            Name(policy.description, prose=True),
        )
        for policy in policies
    )
    columns = (
        Column("policy", "name"),
        Column("accepts", "words"),
        Column("rules", "number"),
        Column("", "words"),
    )
    return rendered(Renderer(display).table(Table("Policies", columns, rows)), display)


def policy_text(policy: Policy, display: Display) -> str:
    """Every rule of a policy with its reason and its evidence, and what it keeps."""
    from slimmer.formats.console import Renderer, rendered

    renderer = Renderer(display)
    blocks: list[RenderableType] = [renderer.text(f"{policy.name}: {policy.description}", "bold")]
    for rule in policy.rules:
        guards = f", guarded by {', '.join(rule.guards)}" if rule.guards else ""
        blocks += [
            "",
            renderer.text(f"{rule.name}  ({rule.safety}, {rule.action}{guards})", "bold"),
        ]
        blocks.append(renderer.indented(" ".join(rule.why.split())))
        if rule.evidence:
            blocks.append(renderer.indented(" ".join(rule.evidence.split()), "dim"))
    if policy.keep:
        blocks += [
            "",
            renderer.text("keeps", "bold"),
            renderer.indented("  ".join(policy.keep.patterns)),
        ]
    return rendered(blocks, display)
