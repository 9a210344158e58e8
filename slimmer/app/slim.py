"""A smaller image, written beside its place, checked against the original, and put there."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from slimmer.app.events import ImageWritten, PlanMade, Problems, Verified
from slimmer.app.options import VerifyOptions
from slimmer.errors import SlimmerError

if TYPE_CHECKING:
    from slimmer.app.options import SlimOptions
    from slimmer.app.session import Session
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


def slim(session: Session, to: str, options: SlimOptions) -> Slimmed:
    """Carry out a plan; see `Session.slim`."""
    place = _place(session, to, options)
    inspection = session.inspect()
    session.reporter.tell(Problems(session.reference, inspection.problems))
    path = options.plan_file
    plan = session.read_plan(path, options.plan) if path else session.plan(options.plan)
    session.reporter.tell(PlanMade(plan))
    if plan.shortfall and not options.anyway:
        session.reporter.notes("nothing was written; --anyway writes the best there is")
        return Slimmed(plan, place.destination)
    draft = _draft(session, plan, options)
    if not options.verify:
        written = _write(session, draft, place.destination, options)
        return Slimmed(plan, place.destination, written)
    return _checked(session, plan, draft, place, options)


def _place(session: Session, to: str, options: SlimOptions) -> Provisional:
    from slimmer import stores
    from slimmer.stores.staging import Provisional

    if options.from_layer and options.mode != "flatten":
        raise SlimmerError("--from-layer says where to flatten from", hint="--mode flatten")
    place = Provisional.of(to)
    if place.replaces(*stores.on_disk(session.reference)):
        raise SlimmerError(
            f"{session.reference} is what to read, and cannot be written over",
            hint="write beside it, under another name",
        )
    return place


def _draft(session: Session, plan: Plan, options: SlimOptions) -> Draft:
    from slimmer.rewrite import apply

    draft = apply(session.image, plan, options.mode, options.from_layer)
    if not draft.changed:
        raise SlimmerError(
            "there is nothing to take from this image", hint="a bolder policy: --policy balanced"
        )
    return draft


def _checked(
    session: Session, plan: Plan, draft: Draft, place: Provisional, options: SlimOptions
) -> Slimmed:
    """Write beside the destination, check what was written as anyone would open it, and accept."""
    from slimmer.app.verify import proof

    environment = session.context.environment
    written = _write(session, draft, place.target, options)
    try:
        checks = VerifyOptions(trials=options.trials, static=options.static, mode=options.mode)
        verdict = proof(session, session.another(written.reference), checks, plan)
        session.reporter.tell(Verified(verdict))
    except BaseException:
        place.discard(environment)
        raise
    if not verdict.holds and not options.keep_failed:
        place.discard(environment)
        session.reporter.notes(
            "the result was removed again; --keep-failed keeps it, --keep mends the plan"
        )
        return Slimmed(plan, place.destination, None, verdict)
    place.accept(environment)
    written = replace(written, reference=place.destination)
    return Slimmed(plan, place.destination, written, verdict)


def _write(session: Session, draft: Draft, destination: str, options: SlimOptions) -> Written:
    from slimmer import stores

    with session.reporter.working():
        written = stores.write(
            draft,
            destination,
            compression=options.compression,
            progress=session.reporter.stage("writing", "bytes"),
            environment=session.context.environment,
        )
    session.reporter.notes(*written.notices)
    session.reporter.tell(ImageWritten(written))
    return written
