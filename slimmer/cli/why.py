"""`slimmer why`: what brings an owner into an image, and what leaves with each of those."""

from __future__ import annotations

from typing import TYPE_CHECKING

from slimmer.cli import arguments

if TYPE_CHECKING:
    from argparse import Namespace

    from slimmer.cli.arguments import Commands
    from slimmer.cli.terminal import Terminal

TEXT = """\
Says why a distribution is in an image: the chains of requirements that bring it in, from what was
asked for to it, and for each distribution on the way what leaves when it leaves. For an owner that
nothing can require (a cache, the application) it says what tells that the bytes are its own.

examples:
  slimmer why app:latest nvidia-cudnn-cu12
  slimmer why app.tar deb:gcc-12
  slimmer why app.tar cache:pip
"""


def add(commands: Commands) -> None:
    parser = arguments.command(commands, "why", "say what brings an owner into an image", TEXT)
    parser.add_argument(
        "name", metavar="NAME", help="a distribution or another owner: torch, pip:torch, cache:pip"
    )
    parser.add_argument(
        "--top", type=arguments.count, default=15, metavar="N", help="rows of each table (15)"
    )
    parser.set_defaults(run=run)


def run(options: Namespace, terminal: Terminal) -> int:
    from slimmer.cli import output
    from slimmer.formats import text

    session = arguments.session(options, terminal, options.image)
    found = session.why(options.name)
    terminal.problems(session.problems)
    output.write(text.render_reasons(found, output.display(terminal), options.top), None, terminal)
    return 0
