"""Removes the files that a rule selects: one step for each owner that loses some."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from slimmer.analysis.symlinks import dangling
from slimmer.names import printable
from slimmer.plan.proposals import in_doubt
from slimmer.plan.steps import Refusal, Step
from slimmer.policy import ActionName

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from slimmer.analysis.facts import Facts
    from slimmer.attribution import Owner
    from slimmer.plan.proposals import Ask
    from slimmer.plan.protection import Protection
    from slimmer.policy import Rule

ALTERNATIVES = b"etc/alternatives/"


@dataclass(frozen=True, slots=True)
class Remove:
    """Files leave by name; a folder that is emptied by it leaves too."""

    name: str = ActionName.REMOVE

    def propose(
        self, facts: Facts, protection: Protection, rule: Rule, ask: Ask
    ) -> Iterator[Step | Refusal]:
        asked = ask(protection.selected(rule.selector))
        leaving, kept = _with_links(protection, (*asked.free, *asked.doubted))
        for target, evidence, paths in kept:
            yield Refusal(rule.name, target, "nothing-links", evidence, facts.freed(paths))
        shares: defaultdict[tuple[Owner, bool], list[bytes]] = defaultdict(list)
        doubts: defaultdict[Owner, list[bytes]] = defaultdict(list)
        target_of = dict(facts.symlinks)
        for path in leaving:
            # A symlink leaves with what it leads to, so that no step leaves one that leads nowhere.
            holder = target_of.get(path, path)
            if holder not in leaving:
                below = [one for one in facts.below(holder) if one in leaving]
                holder = next((one for one in below if one in asked.doubted), None) or next(
                    iter(below), path
                )
            doubted = holder in asked.doubted or path in asked.doubted
            owner = facts.ledger.owner(holder)
            shares[owner, doubted].append(path)
            doubts[owner] += (holder, path) if doubted else ()
        for (owner, doubted), paths in shares.items():
            size = facts.freed(paths)
            if size <= 0:
                continue
            step = Step(
                rule.name,
                self.name,
                printable(str(owner)),
                rule.safety,
                rule.why,
                rule.evidence,
                tuple(sorted(paths)),
                unpacked=size,
                rootfs=size,
                disturbs=size,
            )
            yield in_doubt(step, asked.doubts(sorted(doubts[owner]))) if doubted else step

    def restore(self, facts: Facts, protection: Protection, step: Step) -> Step:
        return step


def _with_links(
    protection: Protection, paths: Iterable[bytes]
) -> tuple[set[bytes], list[tuple[str, str, list[bytes]]]]:
    """The paths less those that a symlink leads to which stays: no link may lose its target.

    Links of update-alternatives(1) leave with what they lead to, as dpkg's `path-exclude` does it.
    """
    facts = protection.facts
    leaving = set(paths)
    kept: list[tuple[str, str, list[bytes]]] = []
    while leaving:
        found = list(dangling(facts, leaving))
        if not found:
            break
        for link, target, lost in found:
            if _is_alternative(facts, link) and not protection.keeps(link):
                leaving.add(link)
                continue
            stay = [path for path in lost if path in leaving]
            leaving.difference_update(stay)
            if facts.freed(stay):
                kept.append((printable(target), f"{printable(link)} leads to it", stay))
    return leaving, kept


def _is_alternative(facts: Facts, link: bytes) -> bool:
    """Whether a symlink is one of update-alternatives(1): the switch, or the name that leads to
    the switch."""
    written = facts.index.link(link) or b""
    return link.startswith(ALTERNATIVES) or written.lstrip(b"/").startswith(ALTERNATIVES)
