"""`slimmer budget`: the release gate; whether an image fits, and what would make it fit."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path, PurePath
from typing import TYPE_CHECKING

from slimmer.cli import advice, pipeline, settings
from slimmer.cli import plan as planning

if TYPE_CHECKING:
    from argparse import Namespace

    from slimmer.app.settings import Settings
    from slimmer.cli.pipeline import Commands
    from slimmer.cli.sight import Sight
    from slimmer.cli.terminal import Rim
    from slimmer.formats.console import Paper
    from slimmer.gate.judge import DiveJudgement, Gate, Ruling
    from slimmer.gate.limits import Limit
    from slimmer.gate.locations import Anchors, Source
    from slimmer.report.comparison import Comparison
    from slimmer.report.report import Report

FORMATS = ("text", "json", "markdown", "sarif", "junit", "github", "html")
SUFFIXES = {
    ".json": "json",
    ".md": "markdown",
    ".markdown": "markdown",
    ".sarif": "sarif",
    ".xml": "junit",
    ".html": "html",
}
TEXT = """\
Judges an image by its limits, for a release gate in CI. Where it is over, says which owners are
largest, what grew since the baseline, and which least risky steps would bring it back, with the
command to run. Numbers are exact: nothing is estimated.

  unpacked   file contents over all layers, what most platforms count (the default)
  rootfs     file contents that a container sees
  packed     compressed layers; refused where no blobs are at hand, unless --measure-packed

More limits at once stand in slimmer.toml, or in [tool.slimmer] of pyproject.toml:

  image = "app:latest"
  [budget]
  max = "4GB"                        also: metric, layer, hidden, growth, forbid, platform
  owners = { torch = "800MB" }       also: categories (tests = 0), paths
  baseline = "baseline.json"         made by: slimmer inspect app:1.0 -o baseline.json

Inside GitHub Actions the log gets annotations, and the job its summary, without being asked.

examples:
  slimmer budget --max 4GB
  slimmer budget app:latest --max 4GB --policy balanced --gpu sm_90
  slimmer budget app.tar --platform-limit fly --platform-limit lambda
  slimmer budget app:latest --baseline baseline.json --growth +5%
  slimmer budget app:latest --max 4GB -o gate.sarif -o gate.xml -o gate.md --dockerfile Dockerfile
  slimmer budget app:latest --dive-ci .dive-ci

exit codes:
  0  fits        1  over        2  cannot go on
"""


def add(commands: Commands) -> None:
    parser = pipeline.command(
        commands,
        "budget",
        "say whether an image fits, and what would make it",
        TEXT,
        configured=True,
    )
    limits = parser.add_argument_group("limits")
    limits.add_argument(
        "--max", metavar="SIZE", help="the most it may have: 4GB is 10⁹ bytes each, 4GiB 2³⁰"
    )
    limits.add_argument(
        "--metric",
        choices=("unpacked", "rootfs", "packed"),
        metavar="unpacked|rootfs|packed",
        help="what --max and --growth bound (unpacked)",
    )
    limits.add_argument(
        "--platform-limit",
        dest="platform_limits",
        action="append",
        default=[],
        metavar="NAME",
        help="what a platform says: railway, fly, lambda, …; may repeat",
    )
    limits.add_argument(
        "--baseline", metavar="FILE|IMAGE", help="what it grew from: a saved report, or an image"
    )
    limits.add_argument(
        "--growth", metavar="+5%|+50MB", help="the most that it may grow from the baseline"
    )
    limits.add_argument("--dive-ci", metavar="FILE", help="dive's rules, judged by dive's numbers")
    limits.add_argument(
        "--measure-packed",
        action="store_true",
        help="compress layers without a blob to learn their packed size (minutes for gigabytes)",
    )
    planning.add_choices(parser, bounded=False)
    outputs = parser.add_argument_group("outputs")
    outputs.add_argument(
        "--format",
        choices=FORMATS,
        metavar="|".join(FORMATS),
        help="of stdout; text, or inside GitHub Actions github",
    )
    outputs.add_argument(
        "-o",
        "--output",
        dest="outputs",
        action="append",
        default=[],
        metavar="FILE",
        help="write a file too, by its suffix: .json .md .sarif .xml (JUnit) .html; may repeat",
    )
    outputs.add_argument("--dockerfile", metavar="FILE", help="where findings point to")
    outputs.add_argument(
        "--requirements",
        action="append",
        default=[],
        metavar="FILE",
        help="where findings about distributions point to; may repeat",
    )
    outputs.add_argument(
        "--top", type=pipeline.count, default=10, metavar="N", help="rows of each table (10)"
    )
    parser.set_defaults(run=run)


def run(options: Namespace, rim: Rim) -> int:
    from slimmer.cli.sight import Sight
    from slimmer.errors import SlimmerError
    from slimmer.gate.judge import Gate

    project = settings.load(options)
    options = settings.filled(options, project)
    image = options.image or project.image
    if not image:
        raise SlimmerError(
            "no image is named", hint="slimmer budget IMAGE --max 4GB, or image = … in slimmer.toml"
        )
    limits = _limits(options, project)
    rules = options.dive_ci or settings.beside(project, project.dive_ci)
    if not limits and not rules:
        raise SlimmerError(
            "there is no limit to judge by",
            hint="--max 4GB, --platform-limit NAME, or a [budget] in slimmer.toml",
        )
    anchors = _anchors(options, project)
    sight = Sight(options, rim, image)
    report, notes = _measured(sight, limits, options)
    baseline = options.baseline or settings.beside(project, project.baseline)
    comparison = _comparison(report, baseline, options, rim) if baseline else None
    ruling = _ruling(limits, report, comparison, sight, rules)
    gate = advice.given(Gate(report, ruling, comparison, notes=notes), sight, options, rim, image)
    rim.problems(report.problems)
    _write(gate, anchors, sight, options, rim)
    return 0 if gate.fits else 1


def _limits(options: Namespace, project: Settings) -> tuple[Limit, ...]:
    """The limits of the command line and of the settings; --max and --growth win over theirs."""
    from slimmer.errors import SlimmerError
    from slimmer.gate.limits import Limit, growth, platforms
    from slimmer.policy import shipped
    from slimmer.units import parse_size

    metric = options.metric or project.metric or "unpacked"
    limits: list[Limit] = []
    if options.max is not None:
        limits.append(Limit("image", parse_size(options.max, "--max"), metric, source="--max"))
    if options.growth is not None:
        limits.append(growth(options.growth, metric, "--growth"))
    given = {(limit.bounds, limit.target) for limit in limits}
    limits += [limit for limit in project.limits if (limit.bounds, limit.target) not in given]
    names = [*options.platform_limits, *project.platforms]
    if names:
        path = shipped() / "platforms.toml"
        known = platforms(path.read_text(encoding="utf-8"), path.name)
        for name in dict.fromkeys(names):
            if name not in known:
                raise SlimmerError(
                    f"no platform is called {name!r:.60}", hint="one of: " + ", ".join(known)
                )
            limits.append(known[name].limit)
    return tuple(limits)


def _anchors(options: Namespace, project: Settings) -> Anchors:
    from slimmer.gate.locations import Anchors

    dockerfile = options.dockerfile or settings.beside(project, project.dockerfile)
    requirements = options.requirements or [
        settings.beside(project, name) for name in project.requirements
    ]
    return Anchors(_source(dockerfile) if dockerfile else None, tuple(map(_source, requirements)))


def _source(name: str) -> Source:
    from slimmer.gate.locations import Source

    return Source(name, Path(name).read_text(encoding="utf-8", errors="replace"))


def _measured(
    sight: Sight, limits: tuple[Limit, ...], options: Namespace
) -> tuple[Report, tuple[str, ...]]:
    """The report, with packed sizes measured where they are needed, not known and asked for."""
    report = sight.report
    wanted = any(limit.target == "packed" for limit in limits)
    if not wanted or report.packed is not None or not options.measure_packed:
        return report, ()
    sizes = sight.packed
    layers = tuple(
        replace(row, packed=size) for row, size in zip(report.layers, sizes, strict=True)
    )
    note = "packed was measured by compressing the layers with gzip, as slimmer writes them"
    return replace(report, packed=sum(sizes), layers=layers), (note,)


def _comparison(report: Report, baseline: str, options: Namespace, rim: Rim) -> Comparison:
    from slimmer.report.comparison import Comparison

    return Comparison.of(saved(baseline) or _seen(baseline, options, rim), report)


def _seen(name: str, options: Namespace, rim: Rim) -> Report:
    from slimmer.cli.sight import Sight

    return Sight(options, rim, name).report


def saved(name: str) -> Report | None:
    """The report that `slimmer inspect -o` saved in a file; None where the name means an image."""
    from slimmer.formats import json

    path = Path(name)
    if not path.is_file():
        return None
    with path.open("rb") as file:
        if not file.read(64).lstrip().startswith(b"{"):
            return None
    return json.parse(path.read_text(encoding="utf-8", errors="replace"), name)


def _ruling(
    limits: tuple[Limit, ...],
    report: Report,
    comparison: Comparison | None,
    sight: Sight,
    rules: str,
) -> Ruling:
    from slimmer.gate.judge import judge

    ruling = judge(limits, report, comparison, sight.size_of)
    return replace(ruling, dive=_dive(rules, report, sight)) if rules else ruling


def _dive(rules: str, report: Report, sight: Sight) -> tuple[DiveJudgement, ...]:
    from slimmer.gate import dive
    from slimmer.gate.judge import DiveJudgement

    text = Path(rules).read_text(encoding="utf-8", errors="replace")
    score, true = sight.score, dive.Score.true(report)
    return tuple(
        DiveJudgement(rule, rule.value(score), rule.value(true)) for rule in dive.rules(text, rules)
    )


def _write(gate: Gate, anchors: Anchors, sight: Sight, options: Namespace, rim: Rim) -> None:
    from slimmer.cli import output

    inside = rim.environment.get("GITHUB_ACTIONS") == "true"
    form = options.format or ("github" if inside else "text")
    for name in options.outputs:
        chosen = SUFFIXES.get(PurePath(name).suffix, options.format or "text")
        to_file = name != "-"
        text = _text(gate, chosen, anchors, sight, options, _paper(rim, to_file=to_file))
        output.write(text, name, rim)
    if "-" not in options.outputs:
        text = _text(gate, form, anchors, sight, options, _paper(rim, to_file=False))
        output.write(text, None, rim)
    summary = rim.environment.get("GITHUB_STEP_SUMMARY")
    if form == "github" and summary:
        from slimmer.formats import gate as gates

        with Path(summary).open("a", encoding="utf-8") as file:
            file.write(gates.markdown(gate, options.top))


def _paper(rim: Rim, *, to_file: bool) -> Paper:
    from slimmer.formats.console import Paper

    return Paper(rim.width, rim.colour and not to_file, rim.unicode or to_file)


def _text(
    gate: Gate, form: str, anchors: Anchors, sight: Sight, options: Namespace, paper: Paper
) -> str:
    from slimmer.formats import gate as gates

    match form:
        case "json":
            return gates.render(gate)
        case "markdown":
            return gates.markdown(gate, options.top)
        case "sarif":
            from slimmer import __version__
            from slimmer.formats import sarif

            return sarif.render(gate, anchors, __version__)
        case "junit":
            from slimmer.formats import junit

            return junit.render(gate)
        case "github":
            from slimmer.formats import github

            return github.log(gates.text(gate, paper, options.top), gate, anchors)
        case "html":
            from slimmer.formats import html
            from slimmer.report.tree import Tree

            return html.render_gate(gate, Tree.of(gate.report, sight.looked.ledger))
        case _:
            return gates.text(gate, paper, options.top)
