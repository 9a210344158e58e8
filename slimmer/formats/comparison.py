"""What changed between two images: text for people, Markdown for a review, JSON for programs.

`changes.schema.json` beside this module is the published schema. Within one `schema_version`
fields are only ever added. Sizes are bytes.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from slimmer.formats.tables import BY, Column, Name, Table
from slimmer.units import size_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from rich.console import RenderableType

    from slimmer.formats.console import Display
    from slimmer.formats.tables import By
    from slimmer.report.comparison import Change, Comparison

LIMIT = 60_000
"""Bytes of Markdown at most: a comment of GitHub holds 65,536 characters."""
_TITLES: Mapping[By, str] = {
    "owner": "Owners",
    "category": "Categories",
    "layer": "Layers",
    "directory": "Directories",
    "file": "Files",
}


def rows(comparison: Comparison, by: By) -> tuple[Change, ...]:
    """The changes of one kind, the largest first."""
    match by:
        case "owner":
            return comparison.owners
        case "category":
            return comparison.categories
        case "layer":
            return comparison.layers
        case "directory":
            return _deepest(comparison.directories)
        case "file":
            return comparison.files


def _deepest(changes: Sequence[Change]) -> tuple[Change, ...]:
    """Without the folders in which nothing but one folder in them changed."""
    explained = {
        (change.name.rpartition("/")[0], change.growth) for change in changes if change.name
    }
    return tuple(change for change in changes if (change.name, change.growth) not in explained)


def table(comparison: Comparison, by: By, top: int, title: str = "") -> Table:
    """The changes of one kind."""
    changes = rows(comparison, by)
    shown = changes[:top]
    left = changes[top:]
    versions = by == "owner"
    note = ""
    if by in ("directory", "file") and comparison.partial:
        note = "a saved report lists the largest ones only; name the images themselves to see all"
    made = Table(
        title or _TITLES[by],
        (
            Column("" if by == "layer" else by, "name"),
            Column("before", "number"),
            Column("after", "number"),
            Column("change", "number"),
            *((Column("version", "name", 64),) if versions else ()),
        ),
        tuple(
            (
                Name(change.name or "/", prose=by == "layer"),
                *size_cells(change),
                *((Name(change.version, prose=True),) if versions else ()),
            )
            for change in shown
        ),
        _rest(left, by),
        note,
    )
    return made.without_empty() if shown else made


def _rest(left: Sequence[Change], by: By) -> str:
    if not left:
        return ""
    if by == "directory":  # they lie in one another: a sum would count their bytes again and again
        return f"{len(left):,} more"
    return f"{len(left):,} more: {signed(sum(change.growth for change in left))}"


def size_cells(change: Change) -> tuple[str, str, str]:
    """Before, after, and the growth between them."""
    absent = f"< {size_text(change.unlisted)}" if change.unlisted else ""
    return (
        absent if change.before is None else size_text(change.before),
        absent if change.after is None else size_text(change.after),
        signed(change.growth),
    )


def signed(size: int) -> str:
    """A difference for people: `+1.2 GB`, `-3 B`."""
    return f"+{size_text(size)}" if size > 0 else size_text(size)


def summary(comparison: Comparison) -> Table:
    """The sizes of both images."""
    return Table(
        "Sizes",
        (
            Column("", "words"),
            Column("before", "number"),
            Column("after", "number"),
            Column("change", "number"),
        ),
        tuple((change.name, *size_cells(change)) for change in comparison.sizes),
    )


def _tables(comparison: Comparison, by: By | None, top: int) -> Iterable[Table]:
    yield summary(comparison)
    for kind in BY if by is None else (by,):
        made = table(comparison, kind, top)
        if made.rows:
            yield made


def text(comparison: Comparison, display: Display, by: By | None = None, top: int = 15) -> str:
    """The changes for people, on lines of text."""
    from slimmer.formats.console import Renderer, rendered

    renderer = Renderer(display)
    arrow = " → " if display.unicode else " -> "
    names = f"{comparison.before.reference}{arrow}{comparison.after.reference}"
    blocks: list[RenderableType] = [renderer.text(names, "bold")]
    for drawn in _tables(comparison, by, top):
        blocks += ["", *renderer.table(drawn)]
    if comparison.same:
        blocks += ["", renderer.text("nothing changed")]
    return rendered(blocks, display)


def markdown(comparison: Comparison, by: By | None = None, top: int = 15) -> str:
    """The changes for a review, at most LIMIT bytes."""
    from slimmer.formats.markdown import code
    from slimmer.formats.markdown import table as markdown_table

    def lines() -> Iterable[str]:
        before, after = (code(report.reference) for report in (comparison.before, comparison.after))
        yield f"### {before} → {after}"
        for drawn in _tables(comparison, by, top):
            yield from markdown_table(drawn)
        if comparison.same:
            yield ""
            yield "Nothing changed."

    while True:
        made = "\n".join(lines()) + "\n"
        if len(made.encode()) <= LIMIT or top <= 1:
            return made
        top //= 2


def render(comparison: Comparison) -> str:
    """The changes as JSON."""
    return json.dumps(comparison.to_dict(), indent=1, ensure_ascii=False) + "\n"
