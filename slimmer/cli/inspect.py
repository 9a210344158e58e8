"""`slimmer inspect`: where the bytes of an image went."""

from __future__ import annotations

from typing import TYPE_CHECKING, get_args

from slimmer.cli import arguments
from slimmer.formats import forms
from slimmer.formats.tables import By

if TYPE_CHECKING:
    from argparse import Namespace

    from slimmer.cli.arguments import Commands
    from slimmer.cli.terminal import Terminal

TEXT = """\
Says where the bytes of an image went: its sizes, the largest owners, the categories, the layers
with what each wastes, what hides bytes and how many, the largest files, and what is odd about it.

  unpacked   file contents over all layers, what `docker images` shows
  rootfs     file contents that a container sees
  packed     compressed layers, what is pushed and pulled, where known
  retained   what leaves when an owner leaves with all that only it needs

examples:
  slimmer inspect app:latest
  slimmer inspect app.tar --by file --top 50
  slimmer inspect app.tar --filter '*/tests/*' --by owner
  slimmer inspect oci:build/layout:1.2 --platform linux/arm64
  slimmer inspect app.tar --format json | jq '.owners[0]'
  slimmer inspect app.tar -o report.md
  slimmer inspect app.tar -o report.html     pictures, in one file that needs no network
"""


def add(commands: Commands) -> None:
    parser = arguments.command(commands, "inspect", "say where the bytes of an image went", TEXT)
    parser.add_argument(
        "--by", choices=get_args(By), metavar="|".join(get_args(By)), help="show one table only"
    )
    parser.add_argument(
        "--top", type=arguments.count, metavar="N", help="rows of each table (15; with --by, 40)"
    )
    parser.add_argument(
        "--filter",
        metavar="PATTERN",
        help="count only files whose path or owner has this text in it, or fits this glob",
    )
    parser.add_argument(
        "--deep",
        action="store_true",
        help="look into large libraries even where a layer must be decompressed once more for it",
    )
    parser.add_argument(
        "--format",
        choices=forms.REPORT,
        metavar="|".join(forms.REPORT),
        help="text for people (the default), json for programs, markdown for a job's summary,"
        " html for a page with pictures",
    )
    parser.add_argument(
        "--compat",
        choices=("dive",),
        help="write what dive --json writes instead, with dive's numbers",
    )
    parser.add_argument(
        "-o",
        "--output",
        metavar="FILE",
        help="write a file, whole or not at all; .json, .md and .html choose their format",
    )
    parser.set_defaults(run=run)


def run(options: Namespace, terminal: Terminal) -> int:
    from slimmer.cli import output

    session = arguments.session(options, terminal, options.image)
    if options.compat:
        from slimmer.formats import dive

        text = dive.render(session.index, session.wasted())
        terminal.problems(session.problems)
        output.write(text, options.output, terminal)
        return 0
    form = options.format or forms.by_name(options.output, forms.REPORT)
    report = session.report(options.filter)
    watched = form == "text" and options.output is None and terminal.stdout.isatty()
    if not watched:  # there, the report itself shows them
        terminal.problems(report.problems)
    display = output.display(terminal, options.output)
    top = options.top or (40 if options.by else 15)
    text = forms.report_text(
        report, form, display, options.by, top, lambda: session.tree(options.filter)
    )
    output.write(text, options.output, terminal)
    return 0
