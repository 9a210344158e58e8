"""The release gate: limits from all that set them, and an image held against them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from slimmer.errors import SlimmerError

if TYPE_CHECKING:
    from slimmer.app.opened import OpenedImage
    from slimmer.app.options import BudgetOptions
    from slimmer.app.planner import Planner
    from slimmer.gate.gate import Gate
    from slimmer.gate.judge import DiveJudgement
    from slimmer.gate.limits import Limit
    from slimmer.gate.locations import SourceFile, SourceFiles
    from slimmer.report.comparison import Comparison
    from slimmer.report.report import Report


def judged(planner: Planner, options: BudgetOptions) -> Gate:
    """The image held against its limits, with the way back where it is over.

    Raises SlimmerError where no limit is set, or where what one bounds is not known.
    """
    from slimmer.app.advice import with_advice
    from slimmer.gate.gate import Gate
    from slimmer.gate.judge import judge

    opened = planner.opened
    limits = limits_of(options)
    report, notes = _measured(opened, limits, options)
    comparison = _comparison(opened, report, options.baseline) if options.baseline else None
    ruling = judge(limits, report, comparison, opened.size_of)
    if options.dive_ci:
        ruling = replace(ruling, dive=_dive(opened, report, options.dive_ci))
    return with_advice(Gate(report, ruling, comparison, notes=notes), planner, options)


def limits_of(options: BudgetOptions) -> tuple[Limit, ...]:
    """The limits of the options and of their settings; those of the options win."""
    from slimmer.gate.limits import Limit, growth, platforms
    from slimmer.policy import shipped

    settings = options.plan.settings
    metric = options.metric or "unpacked"
    limits: list[Limit] = []
    if options.maximum is not None:
        limits.append(Limit("image", options.maximum, metric, source="--max"))
    if options.growth:
        limits.append(growth(options.growth, metric, "--growth"))
    given = {(limit.bounds, limit.target) for limit in limits}
    limits += [limit for limit in settings.limits if (limit.bounds, limit.target) not in given]
    if options.platform_limits:
        path = shipped() / "platforms.toml"
        known = platforms(path.read_text(encoding="utf-8"), path.name)
        for name in dict.fromkeys(options.platform_limits):
            if name not in known:
                raise SlimmerError(
                    f"no platform is called {name!r:.60}", hint="one of: " + ", ".join(known)
                )
            limits.append(known[name].limit)
    if not limits and not options.dive_ci:
        raise SlimmerError(
            "there is no limit to judge by",
            hint="--max 4GB, --platform-limit NAME, or a [budget] in slimmer.toml",
        )
    return tuple(limits)


def source_files(options: BudgetOptions) -> SourceFiles:
    """The files that findings point to, read."""
    from slimmer.gate.locations import SourceFiles

    return SourceFiles(
        _source(options.dockerfile) if options.dockerfile else None,
        tuple(map(_source, options.requirements)),
    )


def _source(name: str) -> SourceFile:
    from slimmer.gate.locations import SourceFile

    return SourceFile(name, Path(name).read_text(encoding="utf-8", errors="replace"))


def _measured(
    opened: OpenedImage, limits: tuple[Limit, ...], options: BudgetOptions
) -> tuple[Report, tuple[str, ...]]:
    """The report, with packed sizes measured where they are needed, not known and asked for."""
    report = opened.report()
    wanted = any(limit.target == "packed" for limit in limits)
    if not wanted or report.packed is not None or not options.measure_packed:
        return report, ()
    sizes = opened.packed
    layers = tuple(
        replace(row, packed=size) for row, size in zip(report.layers, sizes, strict=True)
    )
    note = "packed was measured by compressing the layers with gzip, as slimmer writes them"
    return replace(report, packed=sum(sizes), layers=layers), (note,)


def _comparison(opened: OpenedImage, report: Report, baseline: str) -> Comparison:
    from slimmer.app.diff import saved_report
    from slimmer.report.comparison import Comparison

    return Comparison.of(saved_report(baseline) or opened.another(baseline).report(), report)


def _dive(opened: OpenedImage, report: Report, rules: str) -> tuple[DiveJudgement, ...]:
    from slimmer.gate import dive
    from slimmer.gate.judge import DiveJudgement

    text = Path(rules).read_text(encoding="utf-8", errors="replace")
    score, true = opened.score, dive.Score.true(report)
    return tuple(
        DiveJudgement(rule, rule.value(score), rule.value(true)) for rule in dive.rules(text, rules)
    )
