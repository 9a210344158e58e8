"""`slimmer plan`: which steps would shrink an image, and how far."""

from __future__ import annotations

from pathlib import PurePath
from typing import TYPE_CHECKING

from slimmer.cli import arguments

if TYPE_CHECKING:
    from argparse import Namespace

    from slimmer.cli.arguments import Commands
    from slimmer.cli.terminal import Terminal
    from slimmer.formats.console import Display
    from slimmer.plan.plan import Plan

FORMATS = ("text", "json", "markdown")

TEXT = """\
Proposes steps that shrink an image, each with its bytes, its risk and its reason, and picks the
least risky ones that fit the budget. Nothing is written but the plan.

  safe      cannot change what any program in the image does
  caution   changes something measurable, such as start-up time or native tracebacks, no result
  risky     can break a program that uses what is gone

The plan file that -o writes is bound to this very image. Read it, drop steps from it, have it
reviewed, and carry it out with: slimmer slim IMAGE --plan plan.json

Exits with 1 where the budget cannot be met.

examples:
  slimmer plan app:latest
  slimmer plan app:latest --max 4GB --policy balanced
  slimmer plan app:latest --max 4GB --policy balanced --gpu sm_90
  slimmer plan app:latest --max 4GB --keep 'pip:scipy' --keep '*/nltk_data/' -o plan.json
"""


def add(commands: Commands) -> None:
    parser = arguments.command(
        commands, "plan", "say what would shrink an image, and how far", TEXT
    )
    arguments.add_plan(parser)
    parser.add_argument(
        "--top", type=arguments.count, default=25, metavar="N", help="rows of each table (25)"
    )
    parser.add_argument(
        "--format",
        choices=FORMATS,
        metavar="|".join(FORMATS),
        default="text",
        help="text for people (the default), json for programs, markdown for a merge request",
    )
    parser.add_argument("-o", "--output", metavar="FILE", help="write the plan to a file")
    parser.set_defaults(run=run)


def run(options: Namespace, terminal: Terminal) -> int:
    from slimmer.app.policies import bolder
    from slimmer.app.settings import load_settings
    from slimmer.cli import output

    wanted = arguments.plan_options(options, load_settings(options.settings))
    plan = arguments.session(options, terminal, options.image).plan(wanted)
    if options.output is not None and PurePath(options.output).suffix == ".json":
        output.write(plan.to_json(), options.output, terminal)
        output.write(_text(plan, options, output.display(terminal)), None, terminal)
    else:
        text = _text(plan, options, output.display(terminal, options.output))
        output.write(text, options.output, terminal)
    if plan.shortfall:
        terminal.notes([f"what may close the gap: {', '.join(bolder(wanted))}"])
    return 1 if plan.shortfall else 0


def _text(plan: Plan, options: Namespace, display: Display) -> str:
    from slimmer.formats.plan import markdown, render, text

    match options.format:
        case "json":
            return render(plan)
        case "markdown":
            return markdown(plan, options.top)
        case _:
            return text(plan, display, options.top)
