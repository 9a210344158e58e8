"""`slimmer plan`: which steps would shrink an image, and how far."""

from __future__ import annotations

from pathlib import PurePath
from typing import TYPE_CHECKING

from slimmer.cli import arguments
from slimmer.formats import forms

if TYPE_CHECKING:
    from argparse import Namespace

    from slimmer.cli.arguments import Commands
    from slimmer.cli.terminal import Terminal

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
        choices=forms.PLAN,
        metavar="|".join(forms.PLAN),
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
    shown_in = options.output
    if options.output is not None and PurePath(options.output).suffix == ".json":
        output.write(plan.to_json(), options.output, terminal)
        shown_in = None
    display = output.display(terminal, shown_in)
    output.write(forms.plan_text(plan, options.format, display, options.top), shown_in, terminal)
    if plan.shortfall:
        terminal.notes([f"what may close the gap: {', '.join(bolder(wanted))}"])
    return 1 if plan.shortfall else 0
