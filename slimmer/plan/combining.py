"""What several steps do together: each path counted once, each file rewritten once."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from slimmer.edits.changes import Changes
from slimmer.splice import Splice, compose, view

if TYPE_CHECKING:
    from collections.abc import Iterable

    from slimmer.analysis.facts import Facts
    from slimmer.plan.steps import Bookkeeper, Rewrite, Step


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


def without_overlap(facts: Facts, steps: Iterable[Step]) -> list[Step]:
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
