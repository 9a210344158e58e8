"""Plans for one image: made by a policy, or read from a file; what they share is found once."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from slimmer.policy import Policy, Selector

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from slimmer.analysis.facts import Subject
    from slimmer.app.options import PlanOptions
    from slimmer.app.session import Inspection, Session
    from slimmer.plan.plan import Plan
    from slimmer.plan.steps import Action, Budget, Refusal, Step
    from slimmer.policy import Rule, Safety


class Planner:
    """Makes plans by several policies for one image, and reads them."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._made: dict[object, tuple[Subject, Mapping[str, Action]]] = {}
        """The image as a plan sees it, and actions that remember their answers about it."""

    def plan(self, policy: Policy, budget: Budget | None, accept: Safety | None) -> Plan:
        """What a policy comes to on the image."""
        from slimmer import actions
        from slimmer.plan.plan import Plan

        inspection = self._session.inspect()
        reporter = self._session.reporter
        with reporter.working():
            reporter.stage("looking for what may leave")
            subject, known = self._seen(inspection, policy)
            return Plan.of(subject, policy, known, actions.bookkeepers(), budget, accept)

    def read(self, path: str, policy: Policy, options: PlanOptions) -> Plan:
        """The plan of a file, worked out anew; raises PlanError where it is not for this image."""
        from slimmer import actions
        from slimmer.plan.plan import Plan

        subject, _ = self._seen(self._session.inspect(libraries=False), policy)
        known = actions.default(options.find_links, options.index_url or None)
        text = Path(path).read_text(encoding="utf-8", errors="replace")
        return Plan.read(text, subject, known, actions.bookkeepers(), path)

    def matches(self, name: str) -> bool:
        """Whether anything in the image fits what `keep` names."""
        ledger = self._session.inspect(libraries=False).ledger
        kept = Policy("", (), Selector().paths).keeping([name])
        if kept.keep:
            return any(path in kept.keep for path in ledger.index.visible)
        selector = Selector(owners=kept.keep_owners)
        return any(selector.owner(owner) for owner in ledger.paths())

    def _seen(self, inspection: Inspection, policy: Policy) -> tuple[Subject, Mapping[str, Action]]:
        from slimmer import actions
        from slimmer.analysis.facts import Subject

        kept = (policy.keep, policy.keep_owners)
        known = self._made.get(kept)
        if known is None or known[0].ledger is not inspection.ledger:
            subject = Subject.of(inspection.ledger, inspection.graph, policy)
            remembering = {
                name: _Remembered(action, subject) for name, action in actions.default().items()
            }
            known = self._made[kept] = subject, remembering
        return known


class _Remembered:
    """An action on one image that answers the same question once only."""

    def __init__(self, action: Action, subject: Subject) -> None:
        self.name = action.name
        self.restore = action.restore
        self._action = action
        self._subject = subject
        self._answers: dict[str, tuple[Step | Refusal, ...]] = {}

    def propose(self, subject: Subject, rule: Rule) -> Iterable[Step | Refusal]:
        if subject is not self._subject:
            return self._action.propose(subject, rule)
        question = repr(rule)
        if question not in self._answers:
            self._answers[question] = tuple(self._action.propose(subject, rule))
        return self._answers[question]
