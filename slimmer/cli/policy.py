"""`slimmer policy`: which policies there are, what they say, and whether one is sound."""

from __future__ import annotations

from argparse import Namespace
from pathlib import PurePath
from typing import TYPE_CHECKING

from slimmer.cli import settings

if TYPE_CHECKING:
    from slimmer.cli.pipeline import Commands
    from slimmer.cli.terminal import Rim

SETTINGS = ("slimmer.toml", "pyproject.toml")
"""Files of a project's settings, of which its policy is a part."""

TEXT = """\
Lists the policies that come with slimmer, shows what one of them would let go and why, or checks
a policy file of your own.

  list           the shipped policies
  show NAME      every rule: its action, its safety, the reason and the evidence
  check FILE     read a policy; says file, table and key of what is wrong
"""
EPILOG = """\
examples:
  slimmer policy list
  slimmer policy show balanced
  slimmer policy check slimmer.toml
"""


def add(commands: Commands) -> None:
    parser = commands.add_parser(
        "policy",
        help="list, show or check policies",
        description=TEXT,
        epilog=EPILOG,
    )
    parser.add_argument("what", choices=("list", "show", "check"))
    parser.add_argument("name", nargs="?", metavar="NAME|FILE")
    parser.set_defaults(run=run)


def run(options: Namespace, rim: Rim) -> int:
    from slimmer.cli import output
    from slimmer.errors import SlimmerError
    from slimmer.formats import plan as ladder
    from slimmer.formats.console import Paper
    from slimmer.policy import find, shipped

    paper = Paper(rim.width, rim.colour, rim.unicode)
    if options.what == "list":
        names = sorted(path.stem for path in shipped().glob("*.toml") if path.stem != "platforms")
        policies = [find(name, "") for name in names]
        output.write(ladder.policies_text(policies, paper), None, rim)
        return 0
    if options.name is None:
        raise SlimmerError(
            f"slimmer policy {options.what} wants a policy", hint="slimmer policy list names them"
        )
    if PurePath(options.name).name in SETTINGS:
        policy = settings.load(Namespace(settings=options.name)).chosen("", find)
    else:
        policy = find(options.name, "./slimmer.toml")
    if options.what == "check":
        output.write(f"{options.name}: {len(policy.rules)} rules, sound\n", None, rim)
    else:
        output.write(ladder.policy_text(policy, paper), None, rim)
    return 0
