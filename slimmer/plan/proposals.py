"""What the rules of a policy propose for one image: steps, and refusals with their evidence.

The guards of a rule are asked here, for all actions alike. An action says which paths it would
touch and is told which of them are free, which leave only in doubt, and which stay; the refusals
are made here of what the guards found.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Protocol

from slimmer.plan.budget import PlanError
from slimmer.plan.guards import GUARDS, Finding
from slimmer.plan.steps import Refusal, Step
from slimmer.policy import Safety

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence

    from slimmer.analysis.facts import Facts
    from slimmer.plan.protection import Protection
    from slimmer.policy import Rule

DOUBTS_SHOWN = 3
"""Findings that the evidence of a step in doubt tells; the others are counted."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What the guards of a rule say about the paths that an action would touch."""

    free: tuple[bytes, ...]
    """What nothing speaks against, in the order in which it was asked about."""
    doubted: Mapping[bytes, Finding]
    """What may leave, but in a step of its own: see `shares` and `in_doubt`."""
    held: Mapping[bytes, Finding]
    """What stays. The planner tells the refusal; the action only leaves it alone."""
    findings: tuple[Finding, ...] = ()

    def shares(self, paths: Iterable[bytes]) -> Iterator[tuple[list[bytes], tuple[Finding, ...]]]:
        """The paths that nothing is known against, and then those in doubt with the findings;
        none of those that are held."""
        paths = list(paths)
        free = [path for path in paths if path not in self.doubted and path not in self.held]
        doubted = [path for path in paths if path in self.doubted]
        if free:
            yield free, ()
        if doubted:
            yield doubted, self.doubts(doubted)

    def doubts(self, paths: Iterable[bytes]) -> tuple[Finding, ...]:
        """The findings that put any of the paths in doubt."""
        found = {
            (finding.target, finding.evidence): finding
            for path in paths
            if (finding := self.doubted.get(path)) is not None
        }
        return tuple(found.values())


def in_doubt(step: Step, doubts: Sequence[Finding]) -> Step:
    """The step as it is to be where guards found doubt: never below caution, the evidence shown,
    told apart from the step on the same target that is in no doubt. Without doubts, the step."""
    if not doubts:
        return step
    told = [f"{finding.target}: {finding.evidence}" for finding in doubts[:DOUBTS_SHOWN]]
    if len(doubts) > DOUBTS_SHOWN:
        told.append(f"and {len(doubts) - DOUBTS_SHOWN} more doubts")
    if step.evidence:
        told.append(step.evidence)
    return replace(
        step,
        target=f"{step.target} (in doubt)",
        safety=max(step.safety, Safety.CAUTION),
        evidence="; ".join(told),
    )


@dataclass(slots=True)
class Ask:
    """Asks the guards of one rule, and remembers what they refused."""

    facts: Facts
    rule: Rule
    asked: bool = False
    _refusals: dict[tuple[str, str, str], Refusal] = field(default_factory=dict)

    def __call__(
        self, paths: Iterable[bytes], wholes: Mapping[str, Collection[bytes]] | None = None
    ) -> Asked:
        """What the guards say about these paths leaving together.

        `wholes` names sets of the paths that leave whole or not at all, such as packages: a
        finding against one path of a set is one against the set. May be asked again about fewer
        paths, where what is held changes what the action wants.
        """
        self.asked = True
        left = list(dict.fromkeys(paths))
        members = wholes or {}
        sets_of: defaultdict[bytes, list[str]] = defaultdict(list)
        for name, whole in members.items():
            for path in whole:
                sets_of[path].append(name)

        def spread(finding: Finding) -> set[bytes]:
            found = set(finding.paths)
            for name in {name for path in finding.paths for name in sets_of.get(path, ())}:
                found.update(members[name])
            return found

        held: dict[bytes, Finding] = {}
        findings: dict[str, tuple[Finding, ...]] = {}
        todo = list(self.rule.guards)
        while todo and left:
            guard = todo.pop(0)
            findings[guard] = tuple(GUARDS[guard](self.facts, self.rule, left))
            before = len(held)
            grown = False
            for finding in findings[guard]:
                if finding.doubt:
                    continue
                against = spread(finding)
                grown |= len(against) > len(finding.paths)
                held.update((path, finding) for path in against if path not in held)
                self._refuse(guard, finding, members, sets_of)
            if len(held) > before:
                left = [path for path in left if path not in held]
                # What stays may need what another guard let go.
                again = (name for name in self.rule.guards if name != guard or grown)
                todo += [name for name in again if name not in todo]
        doubted = self._doubted(left, findings, spread)
        return Asked(
            tuple(path for path in left if path not in doubted),
            doubted,
            held,
            tuple(finding for found in findings.values() for finding in found),
        )

    def _doubted(
        self,
        left: Sequence[bytes],
        findings: Mapping[str, Sequence[Finding]],
        spread: Callable[[Finding], set[bytes]],
    ) -> dict[bytes, Finding]:
        """The paths in doubt. Those that only they need are in doubt too: where a plan leaves
        what is in doubt alone, what it takes must be free without it."""
        known = set(left)
        doubted: dict[bytes, Finding] = {}
        todo = [one for found in findings.values() for one in found if one.doubt]
        while todo:
            before = len(doubted)
            for finding in todo:
                for path in spread(finding) & known:
                    doubted.setdefault(path, finding)
            free = [path for path in left if path not in doubted]
            if len(doubted) == before or not free:
                break
            todo = [
                finding
                for guard in self.rule.guards
                for finding in GUARDS[guard](self.facts, self.rule, free)
            ]
        return doubted

    def _refuse(
        self,
        guard: str,
        finding: Finding,
        members: Mapping[str, Collection[bytes]],
        sets_of: Mapping[bytes, Sequence[str]],
    ) -> None:
        names = sorted({name for path in finding.paths for name in sets_of.get(path, ())})
        about = [
            (name, f"{finding.target}: {finding.evidence}", members[name]) for name in names
        ] or [(finding.target, finding.evidence, finding.paths)]
        for target, evidence, paths in about:
            key = (guard, target, "" if names else evidence)
            if key not in self._refusals:
                size = self.facts.freed(paths)
                self._refusals[key] = Refusal(self.rule.name, target, guard, evidence, size)

    @property
    def refusals(self) -> tuple[Refusal, ...]:
        return tuple(self._refusals.values())


class Action(Protocol):
    """One way to shrink; the files of `slimmer/actions` each hold one."""

    @property
    def name(self) -> str: ...

    def propose(
        self, facts: Facts, protection: Protection, rule: Rule, ask: Ask
    ) -> Iterable[Step | Refusal]:
        """Steps with exact sizes, for what the rule selects; nothing for what is kept.

        `ask(paths)` asks the guards of the rule. What they hold is no part of a step; what they
        doubt has a step of its own. An action whose steps touch visible files always asks.
        """

    def restore(self, facts: Facts, protection: Protection, step: Step) -> Step:
        """A step read from a plan file, with what the file does not hold worked out again."""


@dataclass(frozen=True, slots=True)
class Proposals:
    """What rules propose for one image. The same question is answered once, so that several
    policies that share a rule share its answer."""

    facts: Facts
    actions: Mapping[str, Action]
    _known: dict[object, tuple[Step | Refusal, ...]] = field(default_factory=dict, repr=False)

    def of(self, rule: Rule, protection: Protection) -> tuple[Step | Refusal, ...]:
        """Raises PlanError where no action carries the rule out, or none asks its guards."""
        question = (
            *(
                replace(rule, options=()),
                repr(rule.options),
                protection.keep,
                protection.keep_owners,
                protection.shipped,
            ),
        )
        if question not in self._known:
            self._known[question] = tuple(self._made(rule, protection))
        return self._known[question]

    def _made(self, rule: Rule, protection: Protection) -> Iterable[Step | Refusal]:
        action = self.actions.get(rule.action)
        if action is None:
            raise PlanError(f"{rule.where}: no action carries out {rule.action!r}")
        ask = Ask(self.facts, rule)
        found = list(action.propose(self.facts, protection, rule, ask))
        if rule.guards and not ask.asked and any(isinstance(one, Step) for one in found):
            raise PlanError(
                f"{rule.where}.guards: the action {rule.action!r} asks no guard",
                hint="leave guards out of this rule; what it takes, no guard could speak against",
            )
        return [*ask.refusals, *found]
