"""The proof that one image still does what another one does, with an engine where there is one."""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING

from slimmer.proof.trials import Request, Trials

if TYPE_CHECKING:
    from collections.abc import Mapping

    from slimmer.app.opened import OpenedImage
    from slimmer.app.options import VerifyOptions
    from slimmer.app.planner import Planner
    from slimmer.plan.plan import Plan
    from slimmer.proof.faults import Verdict
    from slimmer.stores.engine.containers import Containers


def verify(planner: Planner, after: OpenedImage, options: VerifyOptions) -> Verdict:
    """The verdict on two images, and on the plan of a file between them if there is one."""
    from slimmer.app.events import Problems
    from slimmer.image import ImageError
    from slimmer.proof.verify import unreadable

    before = planner.opened
    before.inspect(libraries=False)
    try:
        looked = after.inspect(libraries=False)
    except ImageError:
        damaged = unreadable(after.image)
        if damaged.holds:
            raise
        return damaged
    after.reporter.tell(Problems(after.reference, looked.problems))
    path = options.plan_file
    plan = planner.read(path, options.plan) if path else None
    return proof(before, after, options, plan)


def proof(
    before: OpenedImage, after: OpenedImage, options: VerifyOptions, plan: Plan | None
) -> Verdict:
    """The verdict; a missing engine is an error only where something must run."""
    from slimmer.proof.differences import Allowed
    from slimmer.proof.faults import Verdict
    from slimmer.proof.verify import verify as prove

    first, second = before.inspect(libraries=False), after.inspect(libraries=False)
    engine, notes = _engine(first.index.image.reference, before.context.environment, options)
    reporter = before.reporter
    with reporter.working(), engine or nullcontext():
        verdict = prove(
            first.facts,
            second.facts,
            plan,
            engine=engine,
            trials=options.trials,
            contents=options.contents,
            mode=options.mode,
            allowed=Allowed.of(options.allow),
            told=reporter.step,
        )
    return verdict + Verdict(notes=notes)


def _engine(
    reference: str, environment: Mapping[str, str], options: VerifyOptions
) -> tuple[Containers | None, tuple[str, ...]]:
    """The engine to run both images with, or a note that says why there is none."""
    if options.static:
        return None, ()
    from slimmer.stores.content import MediumError
    from slimmer.stores.engine.containers import Containers

    podman = reference.startswith("podman:")
    try:
        return Containers.connect(environment, "podman" if podman else "any"), ()
    except MediumError as error:
        if options.must_run:
            raise
        return None, (f"nothing was run: {error.message}",)


__all__ = ["Request", "Trials", "proof", "verify"]
