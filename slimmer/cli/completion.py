"""`slimmer completion`: a script by which a shell completes commands, options and files."""

from __future__ import annotations

from typing import TYPE_CHECKING

from slimmer.cli.help import Help

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace

    from slimmer.cli.arguments import Commands
    from slimmer.cli.terminal import Terminal

SHELLS = ("bash", "zsh")
FILES = ("FILE", "IMAGE", "OLD", "NEW")
"""What an argument is called that may be a file."""

TEXT = """\
Prints a script by which a shell completes slimmer's commands, options and files.

Bash reads it from its completions folder, or by this line in ~/.bashrc:
eval "$(slimmer completion bash)". Zsh reads a file called _slimmer from a folder of its fpath.
"""
EPILOG = """\
examples:
  slimmer completion bash -o ~/.local/share/bash-completion/completions/slimmer
  slimmer completion zsh -o ~/.zfunc/_slimmer
"""


def add(commands: Commands) -> None:
    parser = commands.add_parser(
        "completion",
        help="print what lets a shell complete slimmer's arguments",
        description=TEXT,
        epilog=EPILOG,
        formatter_class=Help,
    )
    parser.add_argument("shell", choices=SHELLS)
    parser.add_argument("-o", "--output", metavar="FILE", help="write the script to a file")
    parser.set_defaults(run=run)


def run(options: Namespace, terminal: Terminal) -> int:
    import shtab

    from slimmer import cli
    from slimmer.cli import output

    parser = cli.parser()
    _mark(parser, {**dict.fromkeys(FILES, shtab.FILE), "FOLDER": shtab.DIRECTORY})
    output.write(shtab.complete(parser, options.shell), options.output, terminal)
    return 0


def _mark(parser: ArgumentParser, kinds: dict[str, object]) -> None:
    """Say of every argument that names something on the disk what a shell is to offer."""
    for action in parser._actions:
        if isinstance(action.choices, dict):
            for command in action.choices.values():
                _mark(command, kinds)
        metavar = action.metavar if isinstance(action.metavar, str) else ""
        for word in metavar.split("|"):
            if word in kinds:
                action.complete = kinds[word]  # type: ignore[attr-defined]
