"""All that the release gate found out about an image, and what each policy could do about it."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from slimmer.gate.limits import GateError
from slimmer.names import one_line, printable

if TYPE_CHECKING:
    from slimmer.gate.judge import Ruling
    from slimmer.plan.plan import Plan
    from slimmer.report.comparison import Comparison
    from slimmer.report.report import Report

SCHEMA_VERSION = 1
"""Within one version fields are only ever added to `Gate.to_dict`."""
OWNERS = 20
"""How many of the largest owners `Gate.to_dict` tells; a report tells all."""
LARGEST = 40
"""How many of its largest steps a remedy tells one by one."""


@dataclass(frozen=True, slots=True)
class RemedyStep:
    """One step that a policy would take."""

    target: str
    rule: str
    safety: str
    saves: int
    """Bytes of the remedy's metric."""
    evidence: str


@dataclass(frozen=True, slots=True)
class Remedy:
    """The least risky steps of one policy on the way under a limit."""

    policy: str
    metric: str
    maximum: int
    """Bytes that the image may have."""
    before: int
    after: int
    """Bytes of the result, exact."""
    largest: tuple[RemedyStep, ...]
    """The largest LARGEST steps, in the order of the plan: least risk first."""
    steps: int
    """How many there are in all."""
    safety: str
    """The most that one of them risks; empty where there is none."""

    @classmethod
    def of(cls, plan: Plan, policy: str) -> Remedy:
        """What a plan with a budget comes to; `policy` is what names it on the command line."""
        if plan.budget is None:
            raise GateError("a remedy leads to a budget")
        order = sorted(plan.steps, key=lambda step: (-step.saves(plan.metric), step.id))[:LARGEST]
        kept = {step.id for step in order}
        return cls(
            policy,
            plan.metric,
            plan.budget.maximum,
            plan.before.by(plan.metric),
            plan.after.by(plan.metric),
            tuple(
                RemedyStep(
                    one_line(printable(step.target)),
                    step.rule,
                    str(step.safety),
                    step.saves(plan.metric),
                    one_line(printable(step.evidence)),
                )
                for step in plan.steps
                if step.id in kept
            ),
            len(plan.steps),
            str(max(step.safety for step in plan.steps)) if plan.steps else "",
        )

    @property
    def fits(self) -> bool:
        return self.after <= self.maximum

    def to_dict(self) -> dict[str, Any]:
        """The remedy as JSON has it."""
        return {
            "policy": self.policy,
            "metric": self.metric,
            "maximum": self.maximum,
            "before": self.before,
            "after": self.after,
            "fits": self.fits,
            "safety": self.safety or None,
            "steps": self.steps,
            "largest": [asdict(step) for step in self.largest],
        }

    def to_json(self) -> str:
        """The remedy as `read` takes it, to be kept between runs."""
        return json.dumps(asdict(self))

    @classmethod
    def read(cls, text: str) -> Remedy:
        """What `to_json` wrote; raises ValueError, TypeError or KeyError for anything else."""
        fields = json.loads(text)
        return cls(**{**fields, "largest": tuple(RemedyStep(**step) for step in fields["largest"])})


@dataclass(frozen=True, slots=True)
class Gate:
    """All that a release gate found out: what every output of it shows.

    >>> gate = session.budget(slimmer.BudgetOptions(maximum=3_900_000))
    >>> gate.fits, gate.records()[0]["over"]
    (False, 79071)
    """

    report: Report
    ruling: Ruling
    comparison: Comparison | None = None
    """With the baseline."""
    remedies: tuple[Remedy, ...] = ()
    """What the policies come to that were tried, boldest last; empty where the image fits."""
    command: str = ""
    """What to run to get under the limits."""
    notes: tuple[str, ...] = ()

    @property
    def fits(self) -> bool:
        return self.ruling.fits

    @property
    def verdict(self) -> str:
        """The whole in one line."""
        return self.ruling.verdict

    def __repr__(self) -> str:
        return f"Gate({self.report.reference!r}, {self.verdict!r})"

    def to_dict(self) -> dict[str, Any]:
        """The gate's word as `gate.schema.json` describes it."""
        report = self.report
        baseline = self.comparison.before if self.comparison else None
        return {
            "schema_version": SCHEMA_VERSION,
            "fits": self.fits,
            "verdict": self.verdict,
            "image": _named(report) | {"route": report.route},
            "sizes": _sizes(report),
            "hidden": {"overwritten": report.overwritten, "deleted": report.deleted},
            "limits": [judgement.to_dict() for judgement in self.ruling.judgements],
            "dive": [judgement.to_dict() for judgement in self.ruling.dive],
            "owners": [
                {
                    "kind": row.kind,
                    "name": row.name,
                    "version": row.version,
                    "size": row.size,
                    "retained": row.retained,
                }
                for row in report.owners[:OWNERS]
            ],
            "baseline": None
            if baseline is None or self.comparison is None
            else {
                "reference": baseline.reference,
                "digest": baseline.digest,
                "sizes": _sizes(baseline),
                "owners": [change.to_dict() for change in self.comparison.owners],
            },
            "ladders": [remedy.to_dict() for remedy in self.remedies],
            "command": self.command or None,
            "notes": list(self.notes),
            "problems": list(report.problems),
        }

    def records(self) -> list[dict[str, Any]]:
        """The judgements as plain records: what pandas, polars and csv take."""
        return [
            {name: value for name, value in judgement.to_dict().items() if name != "because"}
            for judgement in self.ruling.judgements
        ]

    @property
    def best(self) -> Remedy | None:
        """The least risky remedy that fits; where none does, the first that comes closest."""
        for remedy in self.remedies:
            if remedy.fits:
                return remedy
        return min(self.remedies, key=lambda remedy: remedy.after, default=None)


def _named(report: Report) -> dict[str, Any]:
    return {
        "reference": report.reference,
        "digest": report.digest,
        "platform": report.platform,
    }


def _sizes(report: Report) -> dict[str, Any]:
    return {"unpacked": report.unpacked, "rootfs": report.rootfs, "packed": report.packed}
