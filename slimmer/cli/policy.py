"""`slimmer policy`: which policies there are, what they say, and whether one is sound."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from argparse import Namespace

    from slimmer.cli.arguments import Commands
    from slimmer.cli.terminal import Terminal

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


def run(options: Namespace, terminal: Terminal) -> int:
    from slimmer.app.policies import named_policy, shipped_policies
    from slimmer.cli import output
    from slimmer.errors import SlimmerError
    from slimmer.formats.plan import policies_text, policy_text

    display = output.display(terminal)
    if options.what == "list":
        output.write(policies_text(shipped_policies(), display), None, terminal)
        return 0
    if options.name is None:
        raise SlimmerError(
            f"slimmer policy {options.what} wants a policy", hint="slimmer policy list names them"
        )
    policy = named_policy(options.name)
    if options.what == "check":
        output.write(f"{options.name}: {len(policy.rules)} rules, sound\n", None, terminal)
    else:
        output.write(policy_text(policy, display), None, terminal)
    return 0
