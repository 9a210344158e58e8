"""Drops what later layers hide: bytes that are pulled, stored and billed, and seen by nobody."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from slimmer.plan.steps import Step
from slimmer.policy import ActionName

if TYPE_CHECKING:
    from collections.abc import Iterator

    from slimmer.analysis.facts import Facts
    from slimmer.index import Hidden
    from slimmer.plan.proposals import Ask
    from slimmer.plan.protection import Protection
    from slimmer.policy import Rule


@dataclass(frozen=True, slots=True)
class DropHidden:
    """One step for each layer that holds hidden files."""

    name: str = ActionName.DROP_HIDDEN

    def propose(self, facts: Facts, protection: Protection, rule: Rule, ask: Ask) -> Iterator[Step]:
        found: dict[int, list[Hidden]] = {}
        for number, hidden in facts.index.droppable():
            if not rule.selector.layers or number in rule.selector.layers:
                found.setdefault(number, []).append(hidden)
        for number, members in found.items():
            size = sum(hidden.size for hidden in members)
            overwritten = sum(hidden.how == "overwritten" for hidden in members)
            by = sorted({hidden.layer for hidden in members})
            yield Step(
                rule.name,
                rule.action,
                f"layer {number}",
                rule.safety,
                rule.why,
                f"{overwritten} files overwritten and {len(members) - overwritten} deleted by layer"
                f"{'s' if len(by) > 1 else ''} {', '.join(map(str, by))}",
                drops=tuple((number, hidden.header.start) for hidden in members),
                unpacked=size,
                disturbs=size,
            )

    def restore(self, facts: Facts, protection: Protection, step: Step) -> Step:
        return step
