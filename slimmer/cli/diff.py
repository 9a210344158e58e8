"""`slimmer diff`: what changed between two images."""

from __future__ import annotations

from argparse import Namespace, RawDescriptionHelpFormatter
from pathlib import PurePath
from typing import TYPE_CHECKING, get_args

from slimmer.cli import budget, pipeline
from slimmer.formats.tables import By

if TYPE_CHECKING:
    from slimmer.cli.pipeline import Commands
    from slimmer.cli.sight import Sight
    from slimmer.cli.terminal import Rim
    from slimmer.report.comparison import Comparison
    from slimmer.report.report import Report

FORMATS = ("text", "json", "markdown", "html")
SUFFIXES = {".json": "json", ".md": "markdown", ".markdown": "markdown", ".html": "html"}

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
        "--top", type=pipeline.count, metavar="N", help="rows of each table (15; with --by, 40)"
    )
    parser.add_argument(
        "--exit-code", action="store_true", help="exit with 1 where something changed"
    )
    parser.add_argument("--platform", metavar="OS/ARCH", help="as for slimmer inspect")
    parser.add_argument(
        "--no-cache", action="store_true", help="neither use nor keep scans of layers"
    )
    parser.add_argument(
        "--format",
        choices=FORMATS,
        metavar="|".join(FORMATS),
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


def run(options: Namespace, rim: Rim) -> int:
    from slimmer.cli import output
    from slimmer.report.comparison import Comparison

    before, old = _side(options.old, options, rim)
    after, new = _side(options.new, options, rim)
    wanted = options.by in (None, "directory", "file") or _format(options) == "json"
    # Every file is known where both sides are images; it costs laying their layers once more.
    files = (old.files, new.files) if old and new and wanted else None
    comparison = Comparison.of(before, after, files)
    output.write(_text(comparison, new, options, rim), options.output, rim)
    return 1 if options.exit_code and not comparison.same else 0


def _side(name: str, options: Namespace, rim: Rim) -> tuple[Report, Sight | None]:
    report = budget.saved(name)
    if report is not None:
        return report, None
    from slimmer.cli.sight import Sight

    sight = Sight(options, rim, name)
    rim.problems(sight.report.problems)
    return sight.report, sight


def _format(options: Namespace) -> str:
    form: str = options.format or SUFFIXES.get(PurePath(options.output or "").suffix, "text")
    return form


def _text(comparison: Comparison, new: Sight | None, options: Namespace, rim: Rim) -> str:
    from slimmer.formats import comparison as changes
    from slimmer.formats.console import Paper

    top = options.top or (40 if options.by else 15)
    match _format(options):
        case "json":
            return changes.render(comparison)
        case "markdown":
            return changes.markdown(comparison, options.by, top)
        case "html":
            from slimmer.formats import html
            from slimmer.report.tree import Tree

            tree = Tree.of(comparison.after, new.looked.ledger if new else None)
            return html.render(comparison.after, tree, comparison=comparison)
        case _:
            to_file = options.output not in (None, "-")
            paper = Paper(rim.width, rim.colour and not to_file, rim.unicode or to_file)
            return changes.text(comparison, paper, options.by, top)
