"""Removes whole Debian packages, with the package database edited so that all agree they left.

What may leave is worked out as apt's `autoremove` does it: the packages that a rule selects, and
then those that apt installed on its own account and that nothing which stays depends on or
recommends. A package stays, with all that it depends on, where it is essential or important, where
a package that stays depends on it, where an ELF file that stays needs a library of it (or names
one, which is doubt enough), where a script runs by its interpreter, or a symlink leads into it.

Each package leaves with its files (but for licences), its paragraph in dpkg's status, its files in
dpkg's info folder, its alternatives, triggers and apt's mark. Packages that leave only with one
another are one step, so that any subset of the steps leaves a consistent system behind.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple, Self

from slimmer.actions.debian.alternatives import Alternatives
from slimmer.actions.debian.database import Database
from slimmer.actions.debian.holders import TOLD, Holders
from slimmer.actions.debian.packages import Packages
from slimmer.names import printable
from slimmer.plan.proposals import in_doubt
from slimmer.plan.steps import Refusal, Step
from slimmer.policy import ActionName

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from slimmer.analysis.facts import Facts
    from slimmer.plan.proposals import Ask
    from slimmer.plan.protection import Protection
    from slimmer.plan.steps import Rewrite
    from slimmer.policy import Rule


class _Debian(NamedTuple):
    """An image's Debian system, from the sides that a removal looks at."""

    packages: Packages
    holders: Holders
    database: Database

    @classmethod
    def of(cls, facts: Facts, protection: Protection) -> Self:
        packages, alternatives = Packages(facts), Alternatives(facts)
        return cls(
            packages,
            Holders(packages, alternatives, protection),
            Database(packages, alternatives),
        )

    def departure(self, group: Collection[str]) -> tuple[set[bytes], list[Rewrite]]:
        return self.database.departure(group, self.holders.orphans(group))


@dataclass(frozen=True, slots=True)
class RemoveDebianPackage:
    """Packages leave as if they had been purged."""

    name: str = ActionName.REMOVE_DEBIAN_PACKAGE

    def propose(
        self, facts: Facts, protection: Protection, rule: Rule, ask: Ask
    ) -> Iterator[Step | Refusal]:
        system = _Debian.of(facts, protection)
        packages = system.packages
        selected = {
            label
            for label in packages.by_label
            if rule.selector.owners and rule.selector.owner(packages.owner[label])
        }
        if not selected:
            return
        leaving, stays, asked = system.holders.settle(selected, ask)
        for label in sorted(selected & stays.keys()):
            guard, evidence = stays[label]
            size = facts.freed(packages.files(label))
            if size and guard != TOLD:
                yield Refusal(rule.name, printable(f"deb:{label}"), guard, evidence, size)
        for group in packages.groups(leaving):
            step = self._step(system, rule, group, selected)
            files = (path for label in group for path in packages.files(label))
            yield in_doubt(step, asked.doubts(files))

    def restore(self, facts: Facts, protection: Protection, step: Step) -> Step:
        system = _Debian.of(facts, protection)
        named = dict(step.options).get("packages", ())
        known = [label for label in named if label in system.packages.by_label]
        return _sized(facts, step, *system.departure(known))

    def _step(
        self, system: _Debian, rule: Rule, group: Collection[str], selected: Collection[str]
    ) -> Step:
        evidence = f"{len(group)} packages that nothing which stays depends on or links"
        compiling = system.holders.compiling(group)
        if compiling:
            evidence += f"; {', '.join(compiling)} calls a compiler when a program first uses it"
        step = Step(
            rule.name,
            self.name,
            printable(_target(system.packages, group, selected)),
            rule.safety,
            rule.why,
            printable(evidence),
            options=(("packages", sorted(group)),),
        )
        return _sized(system.packages.facts, step, *system.departure(group))


def _target(packages: Packages, group: Collection[str], selected: Collection[str]) -> str:
    """What a group is called: the largest of the selected packages that no other one needs."""
    inner = {other for label in group for other in packages.needs(label)}
    heads = [label for label in group if label in selected and label not in inner]
    heads = heads or [label for label in group if label in selected]
    sizes = {label: packages.facts.freed(packages.files(label)) for label in heads}
    heads.sort(key=lambda label: (-sizes[label], label))
    target = ", ".join(f"deb:{label}" for label in sorted(heads[:3]))
    return target + (f" and {len(heads) - 3} more" if len(heads) > 3 else "")


def _sized(
    facts: Facts, step: Step, removes: Collection[bytes], rewrites: Sequence[Rewrite]
) -> Step:
    lost = facts.freed(removes)
    size = lost + sum(rewrite.before - rewrite.splice.size for rewrite in rewrites)
    return replace(
        step,
        removes=tuple(sorted(removes)),
        rewrites=tuple(rewrites),
        unpacked=size,
        rootfs=size,
        disturbs=lost + sum(rewrite.before for rewrite in rewrites),
    )
