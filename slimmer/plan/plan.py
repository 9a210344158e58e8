"""Plans: the steps chosen for an image, the budget they must meet, and what they promise.

The solver picks the least risky steps that fit. A plan is bound to one image, can be written to a
file, read by people, edited, and carried out later.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from slimmer.edits.changes import Changes
from slimmer.image import Digest
from slimmer.names import printable
from slimmer.plan.budget import Budget, PlanError, Sizes
from slimmer.plan.proposals import Proposals
from slimmer.plan.protection import Protection
from slimmer.plan.solver import choose
from slimmer.plan.steps import (
    Refusal,
    Rewrite,
    Step,
    as_list,
    step_json,
    step_of,
)
from slimmer.splice import Splice, compose, view

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from slimmer.analysis.facts import Facts
    from slimmer.plan.budget import Metric
    from slimmer.plan.steps import Action, Bookkeeper
    from slimmer.policy import Policy, Safety

SCHEMA_VERSION = 1


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
        steps = _without_overlap(facts, proposed)
        keepers = tuple(bookkeeping)
        allowed = [step for step in steps if step.safety <= accept]
        metric: Metric = budget.metric if budget else "unpacked"
        chosen = allowed
        if budget is not None:
            excess = Sizes.of(facts.index).by(metric) - budget.maximum
            # Hidden bytes are in no merged tree: dropping them saves nothing of `rootfs`.
            helpful = sum(step.saves(metric) > 0 for step in allowed)
            while True:
                chosen = choose(allowed, excess, metric)
                changes = settle(facts, chosen, keepers)
                short = Sizes.of(changes.after).by(metric) - budget.maximum
                if short <= 0 or len(chosen) == helpful:
                    break
                excess += short  # the records cost, or shared bytes gave less than they promised
        changes = settle(facts, chosen, keepers)
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
        """The plan as a file: versioned, for people to read and to drop steps from."""
        return (
            json.dumps(
                {
                    "schema_version": SCHEMA_VERSION,
                    "image": self.image,
                    "policy": self.policy,
                    "budget": None
                    if self.budget is None
                    else {"max": self.budget.maximum, "metric": self.budget.metric},
                    "before": self.before.fields(),
                    "after": self.after.fields(),
                    "steps": [step_json(step, self.facts) for step in self.steps],
                },
                indent=1,
                ensure_ascii=True,
            )
            + "\n"
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
        fields = _read_json(text, source)
        if fields.get("schema_version") != SCHEMA_VERSION:
            raise PlanError(
                f"{source}: expected schema_version {SCHEMA_VERSION}, "
                f"got {fields.get('schema_version')!r}",
                hint="make the plan again with this version of slimmer",
            )
        protection = protection or Protection(facts)
        image = facts.index.image.id
        if fields.get("image") != image:
            raise PlanError(
                f"{source} is a plan for the image {str(fields.get('image'))[:19]}, "
                f"not for {image[:19]}",
                hint="make a plan for this image: slimmer plan IMAGE -o plan.json",
            )
        budget = fields.get("budget")
        steps: list[Step] = []
        for number, entry in enumerate(as_list(fields.get("steps"), f"{source}: steps")):
            where = f"{source}: steps[{number}]"
            step = step_of(entry, facts, where)
            action = actions.get(step.action)
            if action is None:
                raise PlanError(f"{where}.action: there is no action {step.action!r}")
            steps.append(action.restore(facts, protection, step))
        changes = settle(facts, steps, tuple(bookkeeping))
        return cls(
            image,
            str(fields.get("policy", "")),
            Budget.of(int(budget["max"]), str(budget["metric"]))
            if isinstance(budget, dict) and {"max", "metric"} <= budget.keys()
            else None,
            tuple(steps),
            (),
            (),
            (),
            Sizes.of(facts.index, facts.index.image.packed),
            Sizes.of(changes.after),
            changes,
            facts,
        )


def settle(facts: Facts, steps: Iterable[Step], bookkeeping: Iterable[Bookkeeper]) -> Changes:
    """What a set of steps does to the image, records included."""
    steps = tuple(steps)
    removed = frozenset(path for step in steps for path in step.removes)
    splices = _combined(facts, steps, removed)
    additions = [addition for step in steps for addition in step.additions]
    added = {addition.header.path for addition in additions}
    for keeper in bookkeeping:
        for rewrite in keeper(facts, removed, splices):
            if rewrite.path not in added:
                splices.setdefault(rewrite.path, rewrite.splice)
    return Changes.of(
        facts.index,
        removed,
        (drop for step in steps for drop in step.drops),
        splices,
        (twin for step in steps for twin in step.twins),
        additions,
        facts.stays,
    )


def _combined(
    facts: Facts, steps: Iterable[Step], removed: frozenset[bytes]
) -> dict[bytes, Splice]:
    """One splice for each rewritten file: the second step works on what the first one made."""
    wanted: dict[bytes, list[Rewrite]] = {}
    for step in steps:
        for rewrite in step.rewrites:
            if rewrite.path not in removed:
                wanted.setdefault(rewrite.path, []).append(rewrite)
    splices = {path: rewrites[0].splice for path, rewrites in wanted.items()}
    several = [path for path, rewrites in wanted.items() if len(rewrites) > 1]
    for path, read in facts.readers(several):
        splice = splices[path]
        for rewrite in wanted[path][1:]:
            if rewrite.again is None:
                splice = rewrite.splice
                continue
            further = rewrite.again(view(read, splice), splice.size)
            if further is not None:
                splice = compose(splice, further)
        splices[path] = splice
    return splices


def _without_overlap(facts: Facts, steps: Iterable[Step]) -> list[Step]:
    """Steps in ladder order, each path taken by the first that names it and counted once."""
    taken: set[bytes] = set()
    dropped: set[tuple[int, int]] = set()
    size_of = facts.ledger.size_of
    result: list[Step] = []
    for step in sorted(steps, key=lambda step: (step.safety, -step.unpacked, step.id)):
        removes = tuple(path for path in step.removes if path not in taken)
        drops = tuple(drop for drop in step.drops if drop not in dropped)
        rewrites = tuple(rewrite for rewrite in step.rewrites if rewrite.path not in taken)
        lost = sum(size_of.get(path, 0) for path in step.removes if path in taken) + sum(
            rewrite.before - rewrite.splice.size
            for rewrite in step.rewrites
            if rewrite.path in taken
        )
        if (removes, drops, rewrites) != (step.removes, step.drops, step.rewrites):
            step = replace(
                step,
                removes=removes,
                drops=drops,
                rewrites=rewrites,
                unpacked=step.unpacked - lost,
                rootfs=step.rootfs - lost,
                disturbs=max(0, step.disturbs - lost),
            )
        if step.unpacked <= 0 and step.rootfs <= 0:
            continue
        taken.update(removes)
        dropped.update(drops)
        result.append(step)
    return result


def _read_json(text: str, source: str) -> dict[str, Any]:
    try:
        fields = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise PlanError(f"{source}: expected a plan in JSON: {error}") from None
    if not isinstance(fields, dict):
        raise PlanError(f"{source}: expected a plan, got {type(fields).__name__}")
    return fields
