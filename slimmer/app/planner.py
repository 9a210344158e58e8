"""Plans for one image: made by a policy, or read from a file; what they share is found once."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from slimmer.app.policies import policy_for
from slimmer.policy import Policy, Selector

if TYPE_CHECKING:
    from slimmer.app.opened import OpenedImage
    from slimmer.app.options import PlanOptions
    from slimmer.plan.budget import Budget
    from slimmer.plan.plan import Plan
    from slimmer.plan.proposals import Proposals
    from slimmer.policy import Safety


class Planner:
    """Makes plans by several policies for one image, and reads them."""

    def __init__(self, opened: OpenedImage) -> None:
        self.opened = opened
        self._made: Proposals | None = None

    def plan(self, options: PlanOptions) -> Plan:
        """What the options come to; tells what of them fits nothing in the image."""
        plan = self.by_policy(policy_for(options), options.budget, options.accept)
        for name in options.keep:
            if not self._matches(name):
                self.opened.reporter.notes(f"--keep {name} fits nothing in this image")
        return plan

    def by_policy(self, policy: Policy, budget: Budget | None, accept: Safety | None) -> Plan:
        """What a policy comes to on the image."""
        from slimmer import actions
        from slimmer.plan.plan import Plan

        self.opened.inspect()
        reporter = self.opened.reporter
        with reporter.working():
            reporter.stage("looking for what may leave")
            return Plan.chosen(self._proposals(), policy, actions.bookkeepers(), budget, accept)

    def read(self, path: str, options: PlanOptions) -> Plan:
        """The plan of a file, worked out anew; raises PlanError where it is not for this image."""
        from slimmer import actions
        from slimmer.plan.plan import Plan
        from slimmer.plan.protection import Protection

        facts = self.opened.inspect(libraries=False).facts
        protection = Protection.of(facts, policy_for(options))
        known = actions.default(options.find_links, options.index_url or None)
        text = Path(path).read_text(encoding="utf-8", errors="replace")
        return Plan.read(text, facts, known, actions.bookkeepers(), path, protection)

    def _matches(self, name: str) -> bool:
        """Whether anything in the image fits what `keep` names."""
        ledger = self.opened.inspect(libraries=False).ledger
        kept = Policy("", (), Selector().paths).keeping([name])
        if kept.keep:
            return any(path in kept.keep for path in ledger.index.visible)
        selector = Selector(owners=kept.keep_owners)
        return any(selector.owner(owner) for owner in ledger.paths())

    def _proposals(self) -> Proposals:
        from slimmer import actions
        from slimmer.plan.proposals import Proposals

        facts = self.opened.inspect().facts
        if self._made is None or self._made.facts is not facts:
            self._made = Proposals(facts, actions.default())
        return self._made
