"""`slimmer verify`: proof that a smaller image still does what the original did."""

from __future__ import annotations

from argparse import BooleanOptionalAction
from typing import TYPE_CHECKING

from slimmer.cli import arguments
from slimmer.formats import forms

if TYPE_CHECKING:
    from argparse import Namespace

    from slimmer.cli.arguments import Commands
    from slimmer.cli.terminal import Terminal

TEXT = """\
Compares a smaller image with the original. Without running anything: with --plan it differs by
exactly the plan, else nothing is lost or changed that --allow does not name; its config is what it
was and what it starts is there; what resolved before still resolves (libraries of ELF files,
symlinks, requirements of distributions and packages, records). With an engine, in containers that
reach no network, may do little and are removed again: its own command starts and goes on, or ends,
as in the original; every top-level module of every Python distribution still imports, libraries
still load, and what you name below still works. What failed in the original already is no fault.
"""
EXAMPLES = """\
examples:
  slimmer verify app:latest app:slim --plan plan.json
  slimmer verify app:latest app:small --allow '/usr/share/doc/' --allow '*.pyc' --allow user
  slimmer verify app:latest app:slim --plan plan.json --run 'python -m app' --http 8000/health
  slimmer verify app.tar slim.tar --static --contents --plan plan.json
  slimmer verify app:latest app:slim --plan plan.json --libraries all --deep-imports --format json

exit codes:
  0  nothing is worse        1  something is        2  cannot tell
"""


def add(commands: Commands) -> None:
    parser = commands.add_parser(
        "verify",
        help="prove that a smaller image still works",
        description=TEXT,
        epilog=EXAMPLES,
    )
    parser.add_argument("before", metavar="BEFORE", help="the original: archive, folder or name")
    parser.add_argument("after", metavar="AFTER", help="the result")
    parser.add_argument(
        "--contents",
        action=BooleanOptionalAction,
        help="compare the sha256 of every kept file too, and of every layer (by default where the"
        " images have at most 1 GiB)",
    )
    parser.add_argument(
        "--static", action="store_true", help="run nothing, even where an engine could"
    )
    parser.add_argument(
        "--plan", metavar="FILE", help="the plan that was carried out: nothing else may differ"
    )
    parser.add_argument(
        "--allow",
        action="append",
        default=[],
        metavar="PATTERN|FIELD",
        help="what may differ: paths (as for --keep), or a field of the config: entrypoint, user,"
        " environment, labels … (may repeat)",
    )
    parser.add_argument(
        "--mode",
        choices=("rewrite", "flatten", "overlay"),
        default="rewrite",
        help="how it was carried out (rewrite)",
    )
    arguments.add_wheels(parser)
    arguments.add_settings(parser)
    arguments.add_trials(parser)
    arguments.add_pair(parser)
    parser.add_argument(
        "--format",
        choices=forms.VERDICT,
        default="text",
        metavar="|".join(forms.VERDICT),
        help="text for people (the default), or json for programs",
    )
    parser.add_argument("-o", "--output", metavar="FILE", help="write a file instead of stdout")
    parser.set_defaults(run=run)


def run(options: Namespace, terminal: Terminal) -> int:
    from slimmer.app.options import VerifyOptions
    from slimmer.app.settings import load_settings
    from slimmer.cli import output

    wanted = VerifyOptions(
        trials=arguments.trials(options),
        static=options.static,
        contents=options.contents,
        allow=tuple(options.allow),
        plan_file=options.plan or "",
        mode=options.mode,
        plan=arguments.plan_options(options, load_settings(options.settings)),
    )
    before = arguments.session(options, terminal, options.before)
    verdict = before.verify(options.after, wanted)
    told = forms.verdict_text(
        verdict, options.format, output.display(terminal), options.before, options.after
    )
    output.write(told, options.output, terminal)
    return 0 if verdict.holds else 1
