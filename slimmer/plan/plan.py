"""Plans: the steps chosen for an image, the budget they must meet, and what they promise.

The solver picks the least risky steps that fit. A plan is bound to one image, can be written to a
file, read by people, edited, and carried out later.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from slimmer.image import Digest
from slimmer.names import printable
from slimmer.plan import plan_file
from slimmer.plan.budget import Budget, PlanError, Sizes
from slimmer.plan.combining import settle, without_overlap
from slimmer.plan.proposals import Proposals
from slimmer.plan.protection import Protection
from slimmer.plan.solver import fit
from slimmer.plan.steps import Refusal, Step

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from slimmer.analysis.facts import Facts
    from slimmer.edits.changes import Changes
    from slimmer.plan.budget import Metric
    from slimmer.plan.proposals import Action
    from slimmer.plan.steps import Bookkeeper
    from slimmer.policy import Policy, Safety


@dataclass(frozen=True, slots=True)
class Plan:
    """The steps chosen for one image, and what they promise to the byte.

    >>> plan = session.plan()
    >>> plan.before.unpacked > plan.after.unpacked, plan.records()[0]["place"]
    (True, 'chosen')
    """

    image: Digest
    """ID of the image that the plan is for; it fits no other."""
    policy: str
    budget: Budget | None
    steps: tuple[Step, ...]
    """In the order of the ladder: least risk first, most bytes first."""
    spare: tuple[Step, ...]
    """Steps that the accepted safety allows but the budget did not need."""
    riskier: tuple[Step, ...]
    """Steps beyond the accepted safety."""
    refusals: tuple[Refusal, ...]
    before: Sizes
    """Of the image."""
    after: Sizes
    """Of the result, exact."""
    changes: Changes
    facts: Facts
    notes: tuple[str, ...] = ()

    @classmethod
    def of(
        cls,
        facts: Facts,
        policy: Policy,
        actions: Mapping[str, Action],
        bookkeeping: Iterable[Bookkeeper],
        budget: Budget | None = None,
        accept: Safety | None = None,
    ) -> Plan:
        """Propose every step of the policy, and choose.

        Without a budget every step at or below `accept` (the policy's own level if None); with
        one, the least risky set that fits, and inside one level the one that disturbs least.
        """
        return cls.chosen(Proposals(facts, actions), policy, bookkeeping, budget, accept)

    @classmethod
    def chosen(
        cls,
        proposals: Proposals,
        policy: Policy,
        bookkeeping: Iterable[Bookkeeper],
        budget: Budget | None = None,
        accept: Safety | None = None,
    ) -> Plan:
        """As `of`, from proposals that may know what other policies' rules came to."""
        facts = proposals.facts
        protection = Protection.of(facts, policy)
        accept = policy.safety if accept is None else accept
        proposed: list[Step] = []
        refusals: list[Refusal] = []
        idle: list[str] = []
        for rule in sorted(policy.rules, key=lambda rule: rule.safety):
            found = proposals.of(rule, protection)
            if not found:
                idle.append(rule.name)
            for outcome in found:
                if isinstance(outcome, Step):
                    proposed.append(outcome)
                else:
                    refusals.append(outcome)
        steps = without_overlap(facts, proposed)
        keepers = tuple(bookkeeping)
        allowed = [step for step in steps if step.safety <= accept]

        def settled(chosen: Sequence[Step]) -> Changes:
            return settle(facts, chosen, keepers)

        chosen = allowed
        if budget is not None:
            chosen = fit(allowed, budget, facts.index, settled)
        changes = settled(chosen)
        picked = {step.id for step in chosen}
        return cls(
            facts.index.image.id,
            policy.name,
            budget,
            tuple(chosen),
            tuple(step for step in allowed if step.id not in picked),
            tuple(step for step in steps if step.safety > accept),
            tuple(sorted(refusals, key=lambda refusal: -refusal.size)),
            Sizes.of(facts.index, facts.index.image.packed),
            Sizes.of(changes.after),
            changes,
            facts,
            (f"rules that found nothing in this image: {', '.join(idle)}",) if idle else (),
        )

    @property
    def metric(self) -> Metric:
        return self.budget.metric if self.budget else "unpacked"

    @property
    def shortfall(self) -> int:
        """Bytes by which the result is over the budget; 0 where it fits or none was set."""
        if self.budget is None:
            return 0
        return max(0, self.after.by(self.metric) - self.budget.maximum)

    @property
    def bookkeeping(self) -> int:
        """Bytes that the result differs from the sum of the steps: rewritten records, and bytes
        that two steps share."""
        saved = self.before.by(self.metric) - self.after.by(self.metric)
        return saved - sum(step.saves(self.metric) for step in self.steps)

    @property
    def digest(self) -> Digest:
        """Identifies the plan: the same image and steps give the same digest."""
        return Digest.of(self.to_json().encode())

    def __repr__(self) -> str:
        before, after = self.before.by(self.metric), self.after.by(self.metric)
        return (
            f"Plan({self.facts.index.image.reference!r}, {self.policy!r}, {len(self.steps)} steps,"
            f" {self.metric} {before} to {after})"
        )

    def to_dict(self) -> dict[str, Any]:
        """What the plan file says, and all that was proposed around it."""
        fields: dict[str, Any] = json.loads(self.to_json())
        fields["fits"] = None if self.budget is None else not self.shortfall
        fields["shortfall"] = self.shortfall
        fields["riskier"] = [step.summary() for step in self.riskier]
        fields["spare"] = [step.summary() for step in self.spare]
        fields["refusals"] = [refusal.to_dict() for refusal in self.refusals]
        fields["notes"] = list(self.notes)
        return fields

    def records(self) -> list[dict[str, Any]]:
        """Every step as a plain record, `chosen`, `spare` or `riskier`: what pandas, polars and
        csv take."""
        return [
            {
                "place": place,
                "rule": step.rule,
                "action": str(step.action),
                "target": printable(step.target),
                "safety": str(step.safety),
                "unpacked": step.unpacked,
                "rootfs": step.rootfs,
                "why": step.why,
                "evidence": printable(step.evidence),
            }
            for place, steps in (
                ("chosen", self.steps),
                ("spare", self.spare),
                ("riskier", self.riskier),
            )
            for step in steps
        ]

    def to_json(self) -> str:
        """The plan as a file; see `plan_file`."""
        return plan_file.render(
            self.facts, self.policy, self.budget, self.steps, self.before, self.after
        )

    @classmethod
    def read(
        cls,
        text: str,
        facts: Facts,
        actions: Mapping[str, Action],
        bookkeeping: Iterable[Bookkeeper],
        source: str = "plan",
        protection: Protection | None = None,
    ) -> Plan:
        """Read a plan file for the image it was made for, and work out anew what it promises.

        Raises PlanError for another image, for a path that the image does not have, for an
        unknown version, action or key.
        """
        content = plan_file.read(text, facts, source)
        protection = protection or Protection(facts)
        steps: list[Step] = []
        for where, step in content.steps:
            action = actions.get(step.action)
            if action is None:
                raise PlanError(f"{where}.action: there is no action {step.action!r:.60}")
            steps.append(action.restore(facts, protection, step))
        changes = settle(facts, steps, tuple(bookkeeping))
        return cls(
            facts.index.image.id,
            content.policy,
            content.budget,
            tuple(steps),
            (),
            (),
            (),
            Sizes.of(facts.index, facts.index.image.packed),
            Sizes.of(changes.after),
            changes,
            facts,
        )
