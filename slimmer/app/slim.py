"""A smaller image, written beside its place, checked against the original, and put there."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from slimmer.app.events import ImageWritten, PlanMade, Problems, Verified
from slimmer.app.options import VerifyOptions
from slimmer.errors import SlimmerError

if TYPE_CHECKING:
    from slimmer.app.opened import OpenedImage
    from slimmer.app.options import SlimOptions
    from slimmer.app.planner import Planner
    from slimmer.edits.drafts import Draft
    from slimmer.plan.plan import Plan
    from slimmer.proof.faults import Verdict
    from slimmer.stores.destination import Written
    from slimmer.stores.staging import Provisional


@dataclass(frozen=True, slots=True)
class Slimmed:
    """What became of a plan.

    >>> result = session.slim("docker-archive:slim.tar", slimmer.SlimOptions(static=True))
    >>> result.holds, result.written.unpacked < session.report().unpacked
    (True, True)
    """

    plan: Plan
    destination: str
    """Where the result is, or would have been."""
    written: Written | None = None
    """The result as it was written; None where nothing was, or it was removed again."""
    verdict: Verdict | None = None
    """The check of the result; None where it was not checked."""

    def __repr__(self) -> str:
        done = "written" if self.written else "not written"
        return f"Slimmed({self.destination!r}, {done}, {self.plan!r}, {self.verdict!r})"

    def to_dict(self) -> dict[str, Any]:
        """All of it as plain values."""
        written = self.written
        return {
            "destination": self.destination,
            "holds": self.holds,
            "written": None
            if written is None
            else {
                "reference": written.reference,
                "id": written.id,
                "manifest": written.manifest,
                "unpacked": written.unpacked,
                "packed": written.packed,
                "stored": written.stored,
                "reused": written.reused,
                "written": written.written,
                "notices": list(written.notices),
            },
            "verdict": self.verdict and self.verdict.to_dict(),
            "plan": self.plan.to_dict(),
        }

    @property
    def holds(self) -> bool:
        """Whether a result is there, and nothing of what was checked is worse than before."""
        return self.written is not None and (self.verdict is None or self.verdict.holds)


def slim(planner: Planner, to: str, options: SlimOptions) -> Slimmed:
    """Carry out a plan; see `Session.slim`."""
    opened = planner.opened
    place = _place(opened, to, options)
    inspection = opened.inspect()
    opened.reporter.tell(Problems(opened.reference, inspection.problems))
    path = options.plan_file
    plan = planner.read(path, options.plan) if path else planner.plan(options.plan)
    opened.reporter.tell(PlanMade(plan))
    if plan.shortfall and not options.anyway:
        opened.reporter.notes("nothing was written; --anyway writes the best there is")
        return Slimmed(plan, place.destination)
    draft = _draft(opened, plan, options)
    if not options.verify:
        written = _write(opened, draft, place.destination, options)
        _tell(opened, written)
        return Slimmed(plan, place.destination, written)
    return _checked(opened, plan, draft, place, options)


def _place(opened: OpenedImage, to: str, options: SlimOptions) -> Provisional:
    from slimmer import stores
    from slimmer.stores.staging import Provisional

    if options.from_layer and options.mode != "flatten":
        raise SlimmerError("--from-layer says where to flatten from", hint="--mode flatten")
    place = Provisional.of(to)
    if place.replaces(*stores.on_disk(opened.reference)):
        raise SlimmerError(
            f"{opened.reference} is what to read, and cannot be written over",
            hint="write beside it, under another name",
        )
    return place


def _draft(opened: OpenedImage, plan: Plan, options: SlimOptions) -> Draft:
    from slimmer.rewrite import apply

    draft = apply(opened.image, plan, options.mode, options.from_layer)
    if not draft.changed:
        raise SlimmerError(
            "there is nothing to take from this image", hint="a bolder policy: --policy balanced"
        )
    return draft


def _checked(
    opened: OpenedImage, plan: Plan, draft: Draft, place: Provisional, options: SlimOptions
) -> Slimmed:
    """Write beside the destination, check what was written as anyone would open it, and accept."""
    from slimmer.app.verify import proof

    environment = opened.context.environment
    written = _write(opened, draft, place.target, options)
    try:
        _tell(opened, written)
        checks = VerifyOptions(trials=options.trials, static=options.static, mode=options.mode)
        verdict = proof(opened, opened.another(written.reference), checks, plan)
        opened.reporter.tell(Verified(verdict))
    except BaseException:
        place.discard(environment)
        raise
    if not verdict.holds and not options.keep_failed:
        place.discard(environment)
        opened.reporter.notes(
            "the result was removed again; --keep-failed keeps it, --keep mends the plan"
        )
        return Slimmed(plan, place.destination, None, verdict)
    place.accept(environment)
    written = replace(written, reference=place.destination)
    return Slimmed(plan, place.destination, written, verdict)


def _write(opened: OpenedImage, draft: Draft, destination: str, options: SlimOptions) -> Written:
    from slimmer import stores

    with opened.reporter.working():
        return stores.write(
            draft,
            destination,
            compression=options.compression,
            progress=opened.reporter.stage("writing", "bytes"),
            environment=opened.context.environment,
        )


def _tell(opened: OpenedImage, written: Written) -> None:
    opened.reporter.notes(*written.notices)
    opened.reporter.tell(ImageWritten(written))
