"""Drops compiled Python: at once what no interpreter reads by default, the rest at a price."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from slimmer.ecosystems.python import is_cached, is_optimized, source_of
from slimmer.plan.budget import PlanError
from slimmer.plan.proposals import in_doubt
from slimmer.plan.steps import Refusal, Step
from slimmer.policy import ActionName
from slimmer.tar.reading import FILE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from slimmer.analysis.facts import Facts
    from slimmer.attribution import Owner
    from slimmer.plan.proposals import Ask
    from slimmer.plan.protection import Protection
    from slimmer.policy import Rule


@dataclass(frozen=True, slots=True)
class DropBytecode:
    """One step for each owner of bytecode; `options = { only = "optimized" }` for `.opt-N` alone.

    Bytecode leaves only if its source stays (PEP 3147, PEP 488); what has no source beside it is
    the program, and refused.
    """

    name: str = ActionName.DROP_BYTECODE

    def propose(
        self, facts: Facts, protection: Protection, rule: Rule, ask: Ask
    ) -> Iterator[Step | Refusal]:
        optimized = dict(rule.options).get("only") == "optimized"
        found: dict[Owner, list[bytes]] = {}
        alone: dict[Owner, list[bytes]] = {}
        for path in protection.selected(rule.selector):
            if not path.endswith(b".pyc") or facts.index.visible[path].kind is not FILE:
                continue
            if optimized and not is_optimized(path):
                continue
            owner = facts.ledger.owner(path)
            known = is_cached(path) and source_of(path) in facts.index.visible
            (found if known else alone).setdefault(owner, []).append(path)
        asked = ask(path for paths in found.values() for path in paths)
        for owner, every in found.items():
            for paths, doubts in asked.shares(every):
                size = facts.freed(paths)
                step = Step(
                    rule.name,
                    rule.action,
                    str(owner),
                    rule.safety,
                    rule.why,
                    f"{len(paths)} files whose source stays",
                    removes=tuple(paths),
                    unpacked=size,
                    rootfs=size,
                    disturbs=size,
                )
                yield in_doubt(step, doubts)
        for owner, paths in alone.items():
            yield Refusal(
                rule.name,
                str(owner),
                "source-stays",
                f"{len(paths)} files have no source beside them, such as {paths[0]!r}",
                facts.freed(paths),
            )

    def restore(self, facts: Facts, protection: Protection, step: Step) -> Step:
        leaving = set(step.removes)
        for path in step.removes:
            if is_cached(path) and source_of(path) in leaving:
                raise PlanError(f"{path!r} is bytecode whose source would leave with it")
        return step
