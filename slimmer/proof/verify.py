"""Proof that a result still works: against its original, against the plan, and by running both.

Static, on the result as it was written: its tars are whole, it differs from the original by
exactly the plan (law 3), untouched layers are the very same (law 4), its config is what it was,
what it starts is there, and what resolved before still resolves (law 8). An engine to run both
images with is handed in.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from slimmer.names import one_line
from slimmer.proof import behaviour, config, differences, entry, reading, resolution
from slimmer.proof.differences import NOTHING, Promise
from slimmer.proof.faults import Fault, Verdict
from slimmer.proof.losses import Losses
from slimmer.proof.trials import Trials
from slimmer.rewrite import PLAN_LABEL

if TYPE_CHECKING:
    from collections.abc import Callable

    from slimmer.analysis.facts import Facts
    from slimmer.image import Image
    from slimmer.plan.plan import Plan
    from slimmer.proof.differences import Allowed
    from slimmer.proof.tree import LayerTree, Tree
    from slimmer.proof.trials import Engine
    from slimmer.rewrite import Mode

    Told = Callable[[str, int, int], None]

READ_ALL = 1 << 30
"""Images of at most this many bytes are read whole unless told otherwise: a second or two."""


def silent(what: str, done: int, total: int) -> None:
    """Nobody listens."""


def verify(
    before: Facts,
    after: Facts,
    plan: Plan | None = None,
    *,
    engine: Engine | None = None,
    trials: Trials | None = None,
    contents: bool | None = None,
    mode: Mode = "rewrite",
    allowed: Allowed = NOTHING,
    told: Told = silent,
) -> Verdict:
    """All that can be proved: static always, contents if asked for, run-time with an engine.

    `contents` is whether the sha256 of every file that stays is compared, and every layer with
    its digest; by default where that takes seconds. `allowed` is what may differ beside the plan.
    `told(what, done, total)` hears how far it is; `total` is 0 where nobody knows.
    Raises SlimmerError where an image cannot be read or run at all.
    """
    if contents is None:
        contents = max(before.index.unpacked, after.index.unpacked) <= READ_ALL
    verdict = static(before, after, plan, contents=contents, mode=mode, allowed=allowed, told=told)
    made_by = dict(after.index.image.config.labels).get(PLAN_LABEL)
    if plan is None and made_by:
        named = one_line(made_by)[:19]
        note = f"the result was made by the plan {named}: --plan FILE judges it by that"
        verdict += Verdict(notes=(note,))
    if not contents:
        note = "files of the same size were not read and compared: --contents"
        verdict += Verdict(notes=(note,))
    if engine is not None:
        losses = Losses.of(before.index, after.index, plan)
        changes = plan.changes if plan else None
        verdict += behaviour.compare(
            before, after, changes, losses, engine, trials or Trials(), told
        )
    return verdict


def static(
    before: Facts,
    after: Facts,
    plan: Plan | None = None,
    *,
    contents: bool = False,
    mode: Mode = "rewrite",
    allowed: Allowed = NOTHING,
    told: Told = silent,
) -> Verdict:
    """What can be proved without running anything."""
    losses = Losses.of(before.index, after.index, plan)
    promise = Promise.of(plan.changes, mode) if plan else None
    original, result = _trees(before, after, contents, told)
    told("comparing the images", 0, 0)
    one, two = before.index.image, after.index.image
    verdict = differences.compare_layers(one, two, original, result, promise)
    verdict += differences.compare(original, result, losses, promise, allowed)
    verdict += config.compare(one, two, allowed.fields)
    verdict += entry.compare(before, after, original, result, losses)
    if contents:
        verdict += differences.compare_contents(original, result, losses, promise, allowed)
    verdict += resolution.symlinks(original, result, losses)
    verdict += resolution.libraries(before, after, losses)
    verdict += resolution.requirements(before, after, losses)
    return verdict + resolution.records(after, losses)


def _trees(before: Facts, after: Facts, contents: bool, told: Told) -> tuple[Tree, Tree]:
    """Both images as the standard library reads them, layers that they share once."""
    what = "comparing contents" if contents else "reading the layers anew"
    done = 0
    total = after.index.unpacked + before.index.unpacked

    def read(size: int) -> None:
        nonlocal done
        done += size
        told(what, min(done, total), total)

    known: dict[str, LayerTree] = {}
    two, one = after.index.image, before.index.image
    # Another medium may not carry the annotation that proves it.
    lazy = before.index.lazy_layers
    result = reading.read(two, known, contents=contents, judged=True, lazy=lazy, told=read)
    return reading.read(one, known, contents=contents, lazy=lazy, told=read), result


def unreadable(after: Image) -> Verdict:
    """What is wrong with the tars of a result that could not be looked at any further."""
    result = reading.read(after, {}, judged=True)
    return Verdict(
        tuple(
            Fault("tar", f"layer {number}", what)
            for number, layer in enumerate(result.layers)
            for what in layer.odd
        )
    )
