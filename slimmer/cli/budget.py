"""`slimmer budget`: the release gate; whether an image fits, and what would make it fit."""

from __future__ import annotations

import shlex
from argparse import Namespace
from dataclasses import replace
from pathlib import Path, PurePath
from typing import TYPE_CHECKING

from slimmer.cli import pipeline, settings
from slimmer.cli import plan as planning

if TYPE_CHECKING:
    from slimmer.anchors import Anchors, Source
    from slimmer.cli.pipeline import Commands
    from slimmer.cli.rim import Rim
    from slimmer.cli.sight import Sight
    from slimmer.comparison import Comparison
    from slimmer.gate import DiveJudgement, Gate, Ladder, Ruling
    from slimmer.limits import Limit
    from slimmer.plan import Metric
    from slimmer.policy import Safety
    from slimmer.report import Report
    from slimmer.settings import Settings

FORMATS = ("text", "json", "markdown", "sarif", "junit", "github", "html")
SUFFIXES = {
    ".json": "json",
    ".md": "markdown",
    ".markdown": "markdown",
    ".sarif": "sarif",
    ".xml": "junit",
    ".html": "html",
}
LADDER = ("safe", "balanced", "aggressive")
"""Shipped policies that are tried one after the other, until one fits."""

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
    gate = _gate(report, ruling, comparison, notes, sight, options, rim, image)
    rim.problems(report.problems)
    _write(gate, anchors, options, rim)
    return 0 if gate.fits else 1


def _limits(options: Namespace, project: Settings) -> tuple[Limit, ...]:
    """The limits of the command line and of the settings; --max and --growth win over theirs."""
    from slimmer.errors import SlimmerError
    from slimmer.limits import Limit, growth, platforms
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
    from slimmer.anchors import Anchors

    dockerfile = options.dockerfile or settings.beside(project, project.dockerfile)
    requirements = options.requirements or [
        settings.beside(project, name) for name in project.requirements
    ]
    return Anchors(_source(dockerfile) if dockerfile else None, tuple(map(_source, requirements)))


def _source(name: str) -> Source:
    from slimmer.anchors import Source

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
    from slimmer.comparison import Comparison

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
    from slimmer.gate import judge

    ruling = judge(limits, report, comparison, sight.size_of)
    return replace(ruling, dive=_dive(rules, report, sight)) if rules else ruling


def _dive(rules: str, report: Report, sight: Sight) -> tuple[DiveJudgement, ...]:
    from slimmer import dive
    from slimmer.gate import DiveJudgement

    text = Path(rules).read_text(encoding="utf-8", errors="replace")
    score, true = sight.score, dive.Score.true(report)
    return tuple(
        DiveJudgement(rule, rule.value(score), rule.value(true)) for rule in dive.rules(text, rules)
    )


def _gate(
    report: Report,
    ruling: Ruling,
    comparison: Comparison | None,
    notes: tuple[str, ...],
    sight: Sight,
    options: Namespace,
    rim: Rim,
    image: str,
) -> Gate:
    """The ruling, and where something is over what would help."""
    from slimmer.gate import Gate
    from slimmer.limits import size_argument

    told = [*notes]
    aim = _aim(ruling, comparison)
    ladders: tuple[Ladder, ...] = ()
    command = ""
    if aim is not None:
        metric, maximum = aim
        ladders = _ladders(metric, maximum, sight, options, rim)
        if ladders and ladders[-1].fits:
            wanted = ["--max", size_argument(maximum)]
            if metric != "unpacked":
                wanted += ["--metric", metric]
            command = _command(image, wanted, ladders[-1].policy, options)
        elif ladders:
            told.append(f"no shipped policy gets there; {ladders[-1].policy} comes closest")
            told += _levers(report, options)
    elif any(judgement.limit.bounds == "hidden" for judgement in ruling.broken):
        command = _command(image, [], "safe", options)
    if any(judgement.limit.target == "packed" for judgement in ruling.broken):
        told.append(
            "what a plan saves is known unpacked; of packed bytes only once the image is written:"
            " slimmer slim IMAGE -o oci:FOLDER:TAG, then slimmer budget oci:FOLDER:TAG"
        )
    return Gate(report, ruling, comparison, ladders, command, tuple(told))


def _aim(ruling: Ruling, comparison: Comparison | None) -> tuple[Metric, int] | None:
    """What a plan has to reach: the metric that is most over, and the least that it may be."""
    aims: dict[Metric, tuple[int, int]] = {}
    for judgement in ruling.broken:
        limit = judgement.limit
        metric = limit.target
        if limit.bounds not in ("image", "growth") or metric not in ("unpacked", "rootfs"):
            continue
        known: Metric = "unpacked" if metric == "unpacked" else "rootfs"
        maximum = judgement.maximum
        if limit.bounds == "growth" and comparison is not None:
            before: int = getattr(comparison.before, known)
            maximum += before
        lowest, over = aims.get(known, (maximum, 0))
        aims[known] = (min(lowest, maximum), max(over, judgement.over))
    if not aims:
        return None
    metric = max(aims, key=lambda metric: (aims[metric][1], metric))
    return metric, aims[metric][0]


def _ladders(
    metric: Metric, maximum: int, sight: Sight, options: Namespace, rim: Rim
) -> tuple[Ladder, ...]:
    """What the policies come to, least risky first, until one fits; kept for the next run."""
    from slimmer.gate import Ladder
    from slimmer.plan import Budget
    from slimmer.policy import Safety, find, shipped

    project = settings.load(options)
    named = options.policy or project.policy
    names = [name for name in LADDER if (shipped() / f"{name}.toml").is_file()]
    if named in names:
        names = names[names.index(named) :]
    elif named:
        own = planning.chosen(options).safety
        names = [named, *(name for name in names if find(name, "").safety > own)]
    accept: Safety | None = Safety.parse(options.accept, "--accept") if options.accept else None
    ladders: list[Ladder] = []
    planners: list[planning.Planner] = []  # made only where the cache does not know
    for name in names:
        # What the settings name is found beside them, what the command line names here.
        asked = options.policy if name == named else name
        policy = planning.chosen(Namespace(**{**vars(options), "policy": asked}))

        def make(policy=policy, name=name) -> str:  # type: ignore[no-untyped-def]
            planner = planners[0] if planners else planning.Planner(sight.looked, rim)
            planners[:] = [planner]
            plan = planner.plan(policy, Budget(maximum, metric), accept)
            return Ladder.of(plan, name).to_json()

        # Which wheel a swap finds depends on more than the image.
        asks = any(rule.action == "swap" for rule in policy.rules)
        question = ("ladder", repr(policy), accept, metric, maximum, name)
        text = make() if asks and options.swap else sight.kept(question, make)
        ladders.append(Ladder.read(text))
        if ladders[-1].fits:
            break
    return tuple(ladders)


def _levers(report: Report, options: Namespace) -> list[str]:
    """What the user could say that no policy knows."""
    from slimmer.units import size_text

    told = []
    device_code = report.categories.get("device code", 0)
    if device_code and not options.gpu:
        told.append(
            f"{size_text(device_code)} are device code: --gpu sm_90 lets go what other GPUs need,"
            " --gpu none all of it"
        )
    if device_code and not options.swap and options.gpu in (None, "none"):
        told.append("where no GPU is used, --swap torch=cpu replaces the CUDA build as a whole")
    return told


def _command(image: str, wanted: list[str], policy: str, options: Namespace) -> str:
    """What to type to get an image that fits."""
    from slimmer.names import one_line

    words = ["slimmer", "slim", image, *wanted, "--policy", policy]
    for option in ("accept", "gpu", "gpu_mode", "index_url", "settings", "platform"):
        value = getattr(options, option)
        if value:
            words += ["--" + option.replace("_", "-"), value]
    for option in ("keep", "swap", "find_links"):
        for value in getattr(options, option):
            words += ["--" + option.replace("_", "-"), value]
    return one_line(shlex.join([*words, *_target(image)]))


def _target(image: str) -> list[str]:
    """Where the slim image goes: beside the one it is made of."""
    path = Path(image)
    if path.is_file():
        return ["-o", str(path.with_name(f"{path.stem}-slim.tar"))]
    if path.is_dir() or image.startswith(("oci:", "oci-archive:", "docker-archive:")):
        return ["-o", "oci:slim:latest"]
    name = image.partition(":")[2] if image.startswith(("docker:", "podman:")) else image
    name = name.partition("@")[0]
    repository, colon, tag = name.rpartition(":")
    if colon and "/" not in tag:
        return ["-t", f"{repository}:{tag}-slim"]
    return ["-t", f"{name}:slim"]


def _write(gate: Gate, anchors: Anchors, options: Namespace, rim: Rim) -> None:
    from slimmer.cli import output

    inside = rim.environment.get("GITHUB_ACTIONS") == "true"
    form = options.format or ("github" if inside else "text")
    for name in options.outputs:
        chosen = SUFFIXES.get(PurePath(name).suffix, options.format or "text")
        output.write(_text(gate, chosen, anchors, options, rim, to_file=name != "-"), name, rim)
    if "-" not in options.outputs:
        output.write(_text(gate, form, anchors, options, rim, to_file=False), None, rim)
    summary = rim.environment.get("GITHUB_STEP_SUMMARY")
    if form == "github" and summary:
        from slimmer.formats import gate as gates

        with Path(summary).open("a", encoding="utf-8") as file:
            file.write(gates.markdown(gate, options.top))


def _text(
    gate: Gate, form: str, anchors: Anchors, options: Namespace, rim: Rim, *, to_file: bool
) -> str:
    from slimmer.formats import gate as gates
    from slimmer.formats import github, junit, sarif
    from slimmer.formats.pen import Paper

    paper = Paper(rim.width, rim.colour and not to_file, rim.unicode or to_file)
    match form:
        case "json":
            return gates.render(gate)
        case "markdown":
            return gates.markdown(gate, options.top)
        case "sarif":
            from slimmer import __version__

            return sarif.render(gate, anchors, __version__)
        case "junit":
            return junit.render(gate)
        case "github":
            text = gates.text(gate, paper, options.top)
            return github.log(text, gate, anchors)
        case "html":
            return _html(gate)
        case _:
            return gates.text(gate, paper, options.top)


def _html(gate: Gate) -> str:
    raise NotImplementedError
