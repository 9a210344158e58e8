"""Which steps a budget takes: the least risky ones, and of these the ones that disturb least."""

from __future__ import annotations

from typing import TYPE_CHECKING

from slimmer.plan.budget import Sizes
from slimmer.policy import Safety

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from slimmer.edits.changes import Changes
    from slimmer.index import Index
    from slimmer.plan.budget import Budget, Metric
    from slimmer.plan.steps import Step


def fit(
    steps: Sequence[Step],
    budget: Budget,
    index: Index,
    settle: Callable[[Sequence[Step]], Changes],
) -> list[Step]:
    """The least risky steps by which an image fits; all that help where none do.

    What steps save together is worked out by `settle`: records cost bytes, and bytes that two
    steps share are saved once. So a choice is made anew for as much more as the last one lacked.
    """
    metric = budget.metric
    excess = Sizes.of(index).by(metric) - budget.maximum
    # Hidden bytes are in no merged tree: dropping them saves nothing of `rootfs`.
    helpful = sum(step.saves(metric) > 0 for step in steps)
    while True:
        chosen = choose(steps, excess, metric)
        short = Sizes.of(settle(chosen).after).by(metric) - budget.maximum
        if short <= 0 or len(chosen) == helpful:
            return chosen
        excess += short


def choose(steps: Sequence[Step], excess: int, metric: Metric) -> list[Step]:
    """The least risky steps that save `excess` bytes; all of them where they do not.

    Level by level: a level is taken whole only when it is needed whole. Within the last one the
    set that disturbs the fewest bytes is a covering knapsack; `_cheapest` solves it to within a
    factor of two, and exactly where one step is enough.
    """
    if excess <= 0:
        return []
    chosen: list[Step] = []
    for level in Safety:
        here = [step for step in steps if step.safety == level and step.saves(metric) > 0]
        saves = sum(step.saves(metric) for step in here)
        if saves >= excess:
            return chosen + [here[place] for place in sorted(_cheapest(here, excess, metric))]
        chosen += here
        excess -= saves
    return chosen


def _cheapest(steps: Sequence[Step], excess: int, metric: Metric) -> set[int]:
    """Places of steps that save `excess` together and disturb few bytes; all of them together do.

    Steps are taken by bytes saved for bytes disturbed; at each point the cheapest single step
    that would finish the job is tried as the last one, and the best of all these sets wins.
    """
    saves = [step.saves(metric) for step in steps]
    disturbs = [step.disturbs for step in steps]
    ranked = sorted(
        range(len(steps)), key=lambda place: (-saves[place] / max(disturbs[place], 1), saves[place])
    )
    best: list[int] = []
    cost = -1
    saved = spent = 0
    for count, place in enumerate(ranked):
        last = min(
            (one for one in ranked[count:] if saved + saves[one] >= excess),
            key=disturbs.__getitem__,
            default=None,
        )
        if last is not None and (cost < 0 or spent + disturbs[last] < cost):
            best = [*ranked[:count], last]
            cost = spent + disturbs[last]
        saved += saves[place]
        spent += disturbs[place]
        if saved >= excess:
            break
    left = sum(saves[place] for place in best)
    for place in sorted(best, key=lambda place: -disturbs[place]):
        if left - saves[place] >= excess:
            best.remove(place)
            left -= saves[place]
    return set(best)
