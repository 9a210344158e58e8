"""Removes the files that a rule selects: one step for each owner that loses some."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from slimmer.guards import freed, guarded
from slimmer.names import printable
from slimmer.plan import Step

if TYPE_CHECKING:
    from collections.abc import Iterator

    from slimmer.attribution import Owner
    from slimmer.plan import Refusal
    from slimmer.policy import Rule
    from slimmer.subject import Subject


@dataclass(frozen=True, slots=True)
class Remove:
    """Files leave by name; a folder that is emptied by it leaves too."""

    name: str = "remove"

    def propose(self, subject: Subject, rule: Rule) -> Iterator[Step | Refusal]:
        allowed, refusals = guarded(subject, rule, subject.selected(rule.selector))
        yield from refusals
        by_owner: defaultdict[Owner, list[bytes]] = defaultdict(list)
        for path in allowed:
            by_owner[subject.ledger.owner(path)].append(path)
        for owner, paths in by_owner.items():
            size = freed(subject, paths)
            if size <= 0:
                continue
            yield Step(
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

    def restore(self, subject: Subject, step: Step) -> Step:
        return step
