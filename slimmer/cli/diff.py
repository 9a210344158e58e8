"""`slimmer diff`: what changed between two images."""

from __future__ import annotations

from argparse import RawDescriptionHelpFormatter
from typing import TYPE_CHECKING, get_args

from slimmer.cli import arguments
from slimmer.formats import forms
from slimmer.formats.tables import By

if TYPE_CHECKING:
    from argparse import Namespace

    from slimmer.app.diff import Side
    from slimmer.cli.arguments import Commands
    from slimmer.cli.terminal import Terminal

TEXT = """\
Says what changed between two images: their sizes, owners with their versions, categories, layers,
folders and files. Each side is an image, an archive, or a report that slimmer inspect saved; a
report knows every owner but only the largest folders and files.
"""
EPILOG = """\
examples:
  slimmer diff app:1.0 app:1.1
  slimmer diff baseline.json app:latest --by owner
  slimmer diff old.tar new.tar --by file --top 50
  slimmer diff baseline.json app:latest --exit-code --format json

exit codes:
  0  done        1  with --exit-code: something changed        2  cannot go on
"""


def add(commands: Commands) -> None:
    parser = commands.add_parser(
        "diff",
        help="say what changed between two images",
        description=TEXT,
        epilog=EPILOG,
        formatter_class=RawDescriptionHelpFormatter,
    )
    parser.add_argument("old", metavar="OLD", help="an image, or a report saved by inspect -o")
    parser.add_argument("new", metavar="NEW", help="the same, of later")
    parser.add_argument(
        "--by", choices=get_args(By), metavar="|".join(get_args(By)), help="show one table only"
    )
    parser.add_argument(
        "--top", type=arguments.count, metavar="N", help="rows of each table (15; with --by, 40)"
    )
    parser.add_argument(
        "--exit-code", action="store_true", help="exit with 1 where something changed"
    )
    arguments.add_pair(parser)
    parser.add_argument(
        "--format",
        choices=forms.COMPARISON,
        metavar="|".join(forms.COMPARISON),
        help="text for people (the default), json for programs, markdown for a review,"
        " html for a page with pictures",
    )
    parser.add_argument(
        "-o",
        "--output",
        metavar="FILE",
        help="write a file, whole or not at all; .json, .md and .html choose their format",
    )
    parser.set_defaults(run=run)


def run(options: Namespace, terminal: Terminal) -> int:
    from slimmer.app.diff import compare, tree_of
    from slimmer.cli import output

    before = _side(options.old, options, terminal)
    after = _side(options.new, options, terminal)
    form = options.format or forms.by_name(options.output, forms.COMPARISON)
    # Every file is known where both sides are images; it costs laying their layers once more.
    every_file = options.by in (None, "directory", "file") or form == "json"
    comparison = compare(before, after, every_file=every_file)
    display = output.display(terminal, options.output)
    top = options.top or (40 if options.by else 15)
    text = forms.comparison_text(comparison, form, display, options.by, top, lambda: tree_of(after))
    output.write(text, options.output, terminal)
    return 1 if options.exit_code and not comparison.same else 0


def _side(name: str, options: Namespace, terminal: Terminal) -> Side:
    from slimmer.app.diff import saved_report

    report = saved_report(name)
    if report is not None:
        return report
    session = arguments.session(options, terminal, name)
    terminal.problems(session.report().problems)
    return session
