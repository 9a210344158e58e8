"""The gate's findings one by one: what SARIF, JUnit and annotations each write in their way."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from slimmer.units import exact_text, size_text

if TYPE_CHECKING:
    from collections.abc import Iterator

    from slimmer.gate.gate import Gate
    from slimmer.gate.judge import DiveJudgement, Judgement
    from slimmer.gate.locations import Location, SourceFiles


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing to say about an image: a broken limit, or an owner that is much of it."""

    rule: str
    """`budget/image`, `budget/owner` …, `dive/lowestEfficiency`, `largest-owner`."""
    subject: str
    """What it is about; with the rule it names the finding, the same on every run."""
    level: Literal["error", "warning"]
    title: str
    message: str
    """A line or more; numbers to the byte where they are over."""
    location: Location | None


RULES = {
    "budget/image": "The image is larger than it may be.",
    "budget/owner": "One owner has more bytes than it may have.",
    "budget/category": "One kind of bytes takes more than it may.",
    "budget/layer": "One layer is larger than a layer may be.",
    "budget/hidden": "Later layers hide more bytes of earlier ones than they may.",
    "budget/growth": "The image grew more since its baseline than it may.",
    "budget/forbidden": "The image holds what it may not hold.",
    "budget/path": "What lies at some paths is larger than it may be.",
    "dive/lowestEfficiency": "dive's efficiency score is below the rule.",
    "dive/highestWastedBytes": "dive counts more wasted bytes than the rule allows.",
    "dive/highestUserWastedPercent": "dive counts a larger wasted part than the rule allows.",
    "largest-owner": "One of the largest owners of an image that is over its budget.",
}
"""What each rule says, by its ID."""


def findings(gate: Gate, files: SourceFiles) -> Iterator[Finding]:
    """Everything that is wrong: one finding for each broken limit, and one for each of the largest
    owners where the whole image is too large. Never one for each file."""
    report = gate.report
    for judgement in gate.ruling.broken:
        yield Finding(
            f"budget/{judgement.limit.bounds}",
            judgement.limit.title,
            "error",
            f"over budget: {judgement.limit.title}",
            judgement_text(judgement),
            files.judgement(judgement, report),
        )
    for rule in gate.ruling.dive:
        if not rule.fits:
            yield Finding(
                f"dive/{rule.rule.name}",
                rule.rule.name,
                "error",
                f"dive's rule {rule.rule.name}",
                dive_text(rule),
                files.layer(len(report.layers) - 1, report),
            )
    too_large = [one for one in gate.ruling.broken if one.limit.bounds == "image" and one.because]
    if too_large:
        named = dict(too_large[0].because)
        for row in report.owners:
            if row.label in named:
                yield Finding(
                    "largest-owner",
                    f"{row.kind}:{row.name}".rstrip(":"),
                    "warning",
                    f"large: {row.label}",
                    f"{row.label} has {size_text(row.size)} ({exact_text(row.size)}) of the"
                    f" {size_text(report.rootfs)} that the image shows",
                    files.owner(row, report),
                )


def judgement_text(judgement: Judgement) -> str:
    """A judgement with what makes up its bytes, a line each."""
    lines = [judgement.summary, *(f"{name}: {size_text(size)}" for name, size in judgement.because)]
    return "\n".join(lines)


def dive_text(judgement: DiveJudgement) -> str:
    """One of dive's rules, with dive's number and the true one."""
    rule = judgement.rule
    verdict = "passes" if judgement.fits else "fails"
    return (
        f"{rule.name} {rule.threshold}: dive says {judgement.score}, {verdict}; "
        f"the true number is {judgement.true}"
    )
