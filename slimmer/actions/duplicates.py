"""Makes identical files of one layer one file with several names."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from slimmer.plan.budget import PlanError
from slimmer.plan.proposals import in_doubt
from slimmer.plan.steps import Step
from slimmer.policy import ActionName
from slimmer.tar.reading import FILE

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from slimmer.analysis.facts import Facts
    from slimmer.image import Read
    from slimmer.plan.proposals import Ask
    from slimmer.plan.protection import Protection
    from slimmer.policy import Rule
    from slimmer.tar.reading import Header

MINIMUM = 16 << 10
"""Smaller files are not worth the reading; `match = { size = ">=…" }` says otherwise."""
HEAD = 4096
CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class LinkDuplicates:
    """One step for each layer that holds the same content under several names.

    A file's names share mode, owner, attributes and time, so only files that already agree in all
    of them are joined: programs look at times too (bytecode knows its source's, caches compare).
    """

    name: str = ActionName.LINK_DUPLICATES

    def propose(self, facts: Facts, protection: Protection, rule: Rule, ask: Ask) -> Iterator[Step]:
        minimum = max(rule.selector.minimum, 1) if rule.selector.minimum else MINIMUM
        alike: defaultdict[tuple[object, ...], list[bytes]] = defaultdict(list)
        for path in protection.selected(rule.selector):
            header = facts.index.visible[path]
            if header.kind is not FILE or header.sparse or header.size < minimum:
                continue
            alike[facts.index.layer_of[path], _shared(header)].append(path)
        # Most files of one size differ in their first bytes; only the rest is read whole.
        groups = [paths for paths in alike.values() if len(paths) > 1]
        groups = list(_split(facts, groups, HEAD))
        groups = list(_split(facts, groups, None))
        asked = ask(path for paths in groups for path in paths)
        by_layer: defaultdict[tuple[int, bool], list[tuple[bytes, ...]]] = defaultdict(list)
        for group in groups:
            for paths, doubts in asked.shares(group):
                if len(paths) > 1:
                    ordered = sorted(paths, key=lambda path: facts.index.visible[path].start)
                    number = facts.index.layer_of[ordered[0]]
                    by_layer[number, bool(doubts)].append(tuple(ordered))
        for (number, _), twins in sorted(by_layer.items()):
            size = sum(facts.index.visible[twin[0]].size * (len(twin) - 1) for twin in twins)
            step = Step(
                rule.name,
                rule.action,
                f"layer {number}",
                rule.safety,
                rule.why,
                f"{sum(map(len, twins))} files with {len(twins)} contents",
                twins=tuple(twins),
                unpacked=size,
                rootfs=size,
                disturbs=size,
            )
            yield in_doubt(step, asked.doubts(path for twin in twins for path in twin))

    def restore(self, facts: Facts, protection: Protection, step: Step) -> Step:
        """Read the files again: a plan that was edited must not join different ones."""
        for twin in step.twins:
            same = {
                (facts.index.layer_of[path], _shared(facts.index.visible[path])) for path in twin
            }
            if len(same) != 1 or len(list(_split(facts, [list(twin)], None))) != 1:
                raise PlanError(f"the files {twin[0]!r} and {twin[-1]!r} are not the same")
        return step


def _shared(header: Header) -> tuple[object, ...]:
    """All that the names of one file share, its content aside."""
    return header.size, header.mode, header.uid, header.gid, header.mtime, header.xattrs


def _split(
    facts: Facts, groups: Iterable[Sequence[bytes]], length: int | None
) -> Iterator[list[bytes]]:
    """Groups of files whose first `length` bytes (None: all) are the same."""
    group_of = {path: number for number, paths in enumerate(groups) for path in paths}
    found: defaultdict[tuple[int, bytes], list[bytes]] = defaultdict(list)
    for path, read in facts.readers(group_of):
        size = facts.index.visible[path].size
        digest = _digest(read, size if length is None else min(length, size))
        found[group_of[path], digest].append(path)
    return (paths for paths in found.values() if len(paths) > 1)


def _digest(read: Read, length: int) -> bytes:
    digest = hashlib.sha256()
    offset = 0
    while offset < length:
        chunk = read(offset, min(CHUNK, length - offset))
        if not chunk:
            break
        digest.update(chunk)
        offset += len(chunk)
    return digest.digest()
