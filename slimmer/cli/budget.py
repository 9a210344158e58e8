"""`slimmer budget`: the release gate; whether an image fits, and what would make it fit."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from slimmer.cli import arguments
from slimmer.formats import forms

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Callable

    from slimmer.app.options import BudgetOptions
    from slimmer.app.settings import Settings
    from slimmer.cli.arguments import Commands
    from slimmer.cli.terminal import Terminal

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
    parser = arguments.command(
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
    arguments.add_plan(parser, bounded=False)
    outputs = parser.add_argument_group("outputs")
    outputs.add_argument(
        "--format",
        choices=forms.GATE,
        metavar="|".join(forms.GATE),
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
        "--top", type=arguments.count, default=10, metavar="N", help="rows of each table (10)"
    )
    parser.set_defaults(run=run)


def run(options: Namespace, terminal: Terminal) -> int:
    from slimmer import __version__
    from slimmer.app.budget import limits_of, source_files
    from slimmer.app.settings import load_settings
    from slimmer.cli import output
    from slimmer.errors import SlimmerError

    settings = load_settings(options.settings)
    image = options.image or settings.image
    if not image:
        raise SlimmerError(
            "no image is named", hint="slimmer budget IMAGE --max 4GB, or image = … in slimmer.toml"
        )
    output.keep_inputs(options, image)
    wanted = _options(options, settings)
    limits_of(wanted)  # what is wrong about them is said before the image is read
    files = source_files(wanted)
    session = arguments.session(options, terminal, image)
    gate = session.budget(wanted)
    terminal.problems(gate.report.problems)

    def text(form: str, name: str | None) -> str:
        return forms.gate_text(
            gate,
            form,
            output.display(terminal, name),
            options.top,
            files,
            lambda: session.tree(report=gate.report),
            __version__,
        )

    _write(text, options, terminal)
    return 0 if gate.fits else 1


def _options(options: Namespace, settings: Settings) -> BudgetOptions:
    from slimmer.app.options import BudgetOptions
    from slimmer.units import parse_size

    return BudgetOptions(
        maximum=None if options.max is None else parse_size(options.max, "--max"),
        metric=options.metric or "",
        growth=options.growth or "",
        platform_limits=tuple(options.platform_limits),
        baseline=options.baseline or "",
        dive_ci=options.dive_ci or "",
        measure_packed=options.measure_packed,
        dockerfile=options.dockerfile or "",
        requirements=tuple(options.requirements),
        plan=arguments.plan_options(options, settings, bounded=False),
    ).with_settings(settings)


def _write(text: Callable[[str, str | None], str], options: Namespace, terminal: Terminal) -> None:
    """Each file in the format of its name, and stdout; inside GitHub Actions its summary too."""
    from slimmer.cli import output

    in_actions = terminal.environment.get("GITHUB_ACTIONS") == "true"
    form = options.format or ("github" if in_actions else "text")
    for name in options.outputs:
        chosen = forms.by_name(name, forms.GATE, options.format or "text")
        output.write(text(chosen, name), name, terminal)
    if "-" not in options.outputs:
        output.write(text(form, None), None, terminal)
    summary = terminal.environment.get("GITHUB_STEP_SUMMARY")
    if form == "github" and summary:
        with Path(summary).open("a", encoding="utf-8") as file:
            file.write(text("markdown", summary))
