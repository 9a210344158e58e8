"""`slimmer blame`: which file that left a program's message speaks of."""

from __future__ import annotations

from typing import TYPE_CHECKING

from slimmer.cli import arguments

if TYPE_CHECKING:
    from argparse import Namespace

    from slimmer.cli.arguments import Commands
    from slimmer.cli.terminal import Terminal

TEXT = """\
Reads what a program said when it broke: a traceback, a loader's or a shell's message, a template, a
module, a program or a file that is not found. Names the file that left, the step and the rule that
took it, what was known of it, and the --keep that brings it back with the next plan. What left is
told by the plan that was carried out, or by the written image itself.
"""
EXAMPLES = """\
examples:
  docker logs app 2>&1 | slimmer blame --image app:slim
  slimmer blame traceback.txt --plan plan.json
  slimmer blame traceback.txt --image app:slim --base app:latest

exit codes:
  0  the log was read, whatever it names        2  cannot tell
"""
LOG = 16 << 20
"""Bytes of a log that are read, from its end: what broke a program stands there."""


def add(commands: Commands) -> None:
    parser = commands.add_parser(
        "blame",
        help="say which file that left a message speaks of",
        description=TEXT,
        epilog=EXAMPLES,
    )
    parser.add_argument(
        "log", metavar="LOG", nargs="?", default="-", help="a file, or - for standard input"
    )
    parser.add_argument("--plan", metavar="FILE", help="the plan that was carried out")
    parser.add_argument("--image", metavar="IMAGE", help="the image that was written")
    parser.add_argument("--base", metavar="IMAGE", help="what it was written from: tells all names")
    arguments.add_pair(parser)
    parser.add_argument(
        "--format",
        choices=("text", "json"),
        default="text",
        metavar="text|json",
        help="text for people (the default), or json for programs",
    )
    parser.add_argument("-o", "--output", metavar="FILE", help="write a file instead of stdout")
    parser.set_defaults(run=run)


def run(options: Namespace, terminal: Terminal) -> int:
    from slimmer.app.blame import blame
    from slimmer.cli import output
    from slimmer.formats.blame import render, text

    image, base = (
        arguments.session(options, terminal, name) if name else None
        for name in (options.image, options.base)
    )
    found = blame(_log(options.log), options.plan or "", image, base)
    told = (
        render(found)
        if options.format == "json"
        else text(found, output.display(terminal, options.output))
    )
    output.write(told, options.output, terminal)
    return 0


def _log(name: str) -> str:
    """The end of a log, as text: what it says is a stranger's, and any bytes."""
    import sys
    from collections import deque
    from pathlib import Path

    if name == "-":
        kept: deque[bytes] = deque()
        held = 0
        while chunk := sys.stdin.buffer.read(1 << 16):
            kept.append(chunk)
            held += len(chunk)
            while held - len(kept[0]) >= LOG:
                held -= len(kept.popleft())
        return b"".join(kept)[-LOG:].decode("utf-8", "surrogateescape")
    with Path(name).open("rb") as file:
        size = file.seek(0, 2)
        file.seek(max(0, size - LOG))
        return file.read(LOG).decode("utf-8", "surrogateescape")
