"""Removes the files that a rule selects: one step for each owner that loses some."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from slimmer.names import printable
from slimmer.plan.guards import dangling, freed, guarded
from slimmer.plan.steps import Refusal, Step
from slimmer.tar.reading import SYMLINK

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from slimmer.analysis.facts import Subject
    from slimmer.attribution import Owner
    from slimmer.policy import Rule

ALTERNATIVES = b"etc/alternatives/"


@dataclass(frozen=True, slots=True)
class Remove:
    """Files leave by name; a folder that is emptied by it leaves too."""

    name: str = "remove"

    def propose(self, subject: Subject, rule: Rule) -> Iterator[Step | Refusal]:
        allowed, refusals = guarded(subject, rule, subject.selected(rule.selector))
        yield from refusals
        leaving, kept = _with_links(subject, allowed)
        for target, evidence, paths in kept:
            yield Refusal(rule.name, target, "nothing-links", evidence, freed(subject, paths))
        by_owner: defaultdict[Owner, list[bytes]] = defaultdict(list)
        target_of = dict(subject.symlinks)
        for path in leaving:
            # A symlink leaves with what it leads to, so that no step leaves one that leads nowhere.
            holder = target_of.get(path, path)
            if holder not in leaving:
                holder = next((one for one in subject.below(holder) if one in leaving), path)
            by_owner[subject.ledger.owner(holder)].append(path)
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


def _with_links(
    subject: Subject, paths: Iterable[bytes]
) -> tuple[set[bytes], list[tuple[str, str, list[bytes]]]]:
    """The paths less those that a symlink leads to which stays: no link may lose its target.

    Links of update-alternatives(1) to documents leave with them, as dpkg's `path-exclude` does it.
    """
    leaving = set(paths)
    kept: list[tuple[str, str, list[bytes]]] = []
    while leaving:
        found = list(dangling(subject, leaving))
        if not found:
            break
        for link, target in found:
            if link.startswith(ALTERNATIVES) and not subject.keeps(link):
                leaving.add(link)
                continue
            stay = [path for path in (target, *subject.below(target)) if path in leaving]
            leaving.difference_update(stay)
            if stay:
                kept.append((printable(target), f"{printable(link)} leads to it", stay))
            else:  # the way to it goes over a link that was to leave
                for way in _ways(subject, link):
                    leaving.discard(way)
    return leaving, kept


def _ways(subject: Subject, link: bytes) -> Iterator[bytes]:
    """The symlinks that a symlink goes through."""
    index = subject.index
    for _ in range(40):
        header = index.visible.get(link)
        if header is None or header.kind is not SYMLINK:
            return
        folder = link[: max(link.rfind(b"/"), 0)]
        written = header.link if header.link.startswith(b"/") else folder + b"/" + header.link
        around, _, name = written.rpartition(b"/")
        real = index.resolve(around)
        link = real + b"/" + name if real else name
        yield link
