"""What changed between two images, each of which may be known by a saved report only."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from slimmer.app.opened import OpenedImage

if TYPE_CHECKING:
    from slimmer.report.comparison import Comparison
    from slimmer.report.report import Report
    from slimmer.report.tree import Tree

    Side = OpenedImage | Report
    """An image, or what a saved report tells of one."""


def compare(before: Side, after: Side, *, every_file: bool = True) -> Comparison:
    """The comparison; `every_file` costs laying the layers of both images once more.

    A saved report knows every owner but only the largest folders and files.
    """
    from slimmer.report.comparison import Comparison

    files = None
    if every_file and isinstance(before, OpenedImage) and isinstance(after, OpenedImage):
        files = before.files, after.files
    return Comparison.of(_report(before), _report(after), files)


def _report(side: Side) -> Report:
    return side.report() if isinstance(side, OpenedImage) else side


def saved_report(name: str) -> Report | None:
    """The report that `slimmer inspect -o` saved in a file; None where the name means an image.

    >>> saved_report("app.tar") is None
    True
    """
    from slimmer.formats import json

    path = Path(name)
    if not path.is_file():
        return None
    with path.open("rb") as file:
        if not file.read(64).lstrip().startswith(b"{"):
            return None
    return json.parse(path.read_text(encoding="utf-8", errors="replace"), name)


def tree_of(side: Side) -> Tree:
    """The bytes of one side as a tree; of a saved report only what it lists."""
    from slimmer.report.tree import Tree

    return side.tree() if isinstance(side, OpenedImage) else Tree.of(side, None)
