"""The tables of a report before any format: what text and Markdown each draw in their way."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from slimmer.units import seconds_text, share_text, size_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from slimmer.report.reasons import Reasons
    from slimmer.report.report import Report
    from slimmer.report.rows import FileRow, LayerRow

By = Literal["owner", "category", "layer", "directory", "file"]
BY: tuple[By, ...] = ("owner", "category", "layer", "directory", "file")


@dataclass(frozen=True, slots=True)
class Name:
    """Text that comes from the image: printable already, but never to be read as markup."""

    text: str
    indent: int = 0
    """How deep it lies in a tree."""
    prose: bool = False
    """Whether its beginning tells most, as a command's does, and not its end, as a path's does."""


@dataclass(frozen=True, slots=True)
class Bar:
    """Bytes by category, to be drawn to the scale of the table's largest row."""

    parts: Mapping[str, int]
    scale: int
    """Bytes that the full width stands for."""


Cell = str | Name | Bar
"""A str is slimmer's own words and numbers."""


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a table."""

    title: str
    kind: Literal["name", "number", "bar", "words"]
    from_width: int = 0
    """Narrowest output, in terminal cells, that has room for it."""


@dataclass(frozen=True, slots=True)
class Table:
    """A titled table whose rows stop somewhere."""

    title: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]
    rest: str = ""
    """What the rows leave out, in words; empty where they are all there."""
    note: str = ""
    """One line that says how to read it."""

    def without_empty(self) -> Table:
        """Without the columns that say nothing about this image."""
        kept = [place for place in range(len(self.columns)) if any(row[place] for row in self.rows)]
        return replace(
            self,
            columns=tuple(self.columns[place] for place in kept),
            rows=tuple(tuple(row[place] for place in kept) for row in self.rows),
        )


def summary(report: Report) -> tuple[tuple[str, str, str], ...]:
    """Each size of the image: its name, the size, what it counts."""
    hidden = report.overwritten + report.deleted
    lines = [
        ("unpacked", size_text(report.unpacked), "all layers, what `docker images` shows"),
        ("rootfs", size_text(report.rootfs), "what a container of it sees"),
        (
            "packed",
            "not known" if report.packed is None else size_text(report.packed),
            "compressed, what is pushed and pulled",
        ),
    ]
    if hidden:
        parts = [
            f"{size_text(size)} {how}"
            for how, size in (("overwritten", report.overwritten), ("deleted", report.deleted))
            if size
        ]
        lines.append(
            (
                "hidden",
                size_text(hidden),
                f"{', '.join(parts)} ({share_text(hidden, report.unpacked)})",
            )
        )
    if report.filter is not None:
        files = f"{report.filter.files:,} files that fit the filter"
        lines.append(("matching", size_text(report.filter.size), files))
    return tuple(lines)


def tables(report: Report, by: By | None, top: int) -> Iterable[Table]:
    """The tables to show: the one asked for, or all that have something to say."""
    if by is not None:
        yield _BY[by](report, top).without_empty()
        return
    yield owners(report, top).without_empty()
    yield categories(report, top).without_empty()
    if report.filter is None:
        yield layers(report, max(top, 20)).without_empty()
    if report.hidden:
        yield hidden(report, min(top, 10)).without_empty()
    yield files(report, top).without_empty()


def owners(report: Report, top: int) -> Table:
    rows = report.owners[:top]
    scale = max((row.size for row in rows), default=0)
    return Table(
        "Owners",
        (
            Column("owner", "name"),
            Column("size", "number"),
            Column("share", "number", 100),
            Column("retained", "number", 40),
            Column("files", "number", 120),
            Column("layer", "number", 64),
            Column("categories", "bar", 64),
        ),
        tuple(
            (
                Name(row.label),
                size_text(row.size),
                share_text(row.size, report.rootfs),
                "" if row.retained is None else size_text(row.retained),
                f"{row.files:,}",
                _layer_words(row.layers),
                Bar(row.categories, scale),
            )
            for row in rows
        ),
        rest=_rest("owner", len(rows), [row.size for row in report.owners]),
        note="retained: what leaves when it leaves with all that only it needs"
        if any(row.retained is not None for row in rows)
        else "",
    )


def categories(report: Report, top: int) -> Table:
    rows = list(report.categories.items())
    shown = rows[:top]
    scale = shown[0][1] if shown else 0
    return Table(
        "Categories",
        (
            Column("category", "words"),
            Column("size", "number"),
            Column("share", "number"),
            Column("", "bar", 56),
        ),
        tuple(
            (name, size_text(size), share_text(size, _seen(report)), Bar({name: size}, scale))
            for name, size in shown
        ),
        rest=_rest("category", len(shown), [size for _, size in rows]),
    )


def layers(report: Report, top: int) -> Table:
    # In the order of the image, which is how people know them; the smallest ones make room.
    order = sorted(report.layers, key=lambda row: (-row.size, row.number))
    kept = order[:top]
    return Table(
        "Layers",
        (
            Column("layer", "number"),
            Column("size", "number"),
            Column("packed", "number", 100),
            Column("wasted", "number"),
            Column("time", "number", 64),
            Column("members", "number", 120),
            Column("command", "name"),
        ),
        tuple(_layer(row) for row in sorted(kept, key=lambda row: row.number)),
        rest=_rest("layer", len(kept), [row.size for row in order]),
        note="wasted: bytes that a later layer overwrites or deletes, shipped all the same",
    )


def hidden(report: Report, top: int) -> Table:
    rows = report.hidden[:top]
    return Table(
        "Hidden bytes",
        (
            Column("size", "number"),
            Column("files", "number", 100),
            Column("why", "words"),
            Column("largest", "name"),
        ),
        tuple(
            (
                size_text(row.size),
                f"{row.files:,}",
                _WHY[row.how].format(row=row),
                Name(row.largest[0][0] or "/"),
            )
            for row in rows
        ),
        rest=_rest("cause", len(rows), [row.size for row in report.hidden]),
    )


_WHY = {
    "deleted": "layer {row.by} deletes from layer {row.layer}",
    "overwritten": "layer {row.by} overwrites in layer {row.layer}",
}


def files(report: Report, top: int) -> Table:
    rows = report.files[:top]
    return Table(
        "Largest files",
        (
            Column("size", "number"),
            Column("path", "name"),
            Column("owner", "name", 120),
            Column("layer", "number", 100),
            Column("inside", "words", 56),
        ),
        tuple(
            (
                size_text(row.size),
                Name(row.path),
                Name(row.owner),
                str(row.layer),
                contents_words(row),
            )
            for row in rows
        ),
        note="" if _looked_into(rows) else "not read: what is inside these libraries; see --deep",
    )


def _looked_into(rows: Sequence[FileRow]) -> bool:
    """Whether the inside of libraries was read, as far as there are any."""
    libraries = [row for row in rows if row.category == "native libraries" and row.size >= 1 << 20]
    return not libraries or any(row.debug is not None for row in libraries)


def directories(report: Report, top: int) -> Table:
    rows = report.directories[:top]
    below: dict[str, list[str]] = {}
    by_path = {row.path: row for row in rows}
    for row in rows:
        if row.path:
            below.setdefault(row.path.rpartition("/")[0], []).append(row.path)
    cells: list[tuple[Cell, ...]] = []
    scale = _seen(report)
    # Depth first; with each directory stand all that it lies in, so that the rows form a tree.
    todo = [("", "/", 0)] if "" in by_path else []
    while todo:
        path, label, depth = todo.pop()
        row = by_path[path]
        children = below.get(path, ())
        if len(children) == 1 and by_path[children[0]].size == row.size:
            # It holds nothing else: `usr/local/lib/` on one line.
            name = children[0].rpartition("/")[2] + "/"
            todo.append((children[0], name if label == "/" else label + name, depth))
            continue
        cells.append(
            (
                Name(label, depth),
                size_text(row.size),
                share_text(row.size, scale),
                f"{row.files:,}",
            )
        )
        todo += [(child, child.rpartition("/")[2] + "/", depth + 1) for child in reversed(children)]
    return Table(
        "Directories",
        (
            Column("directory", "name"),
            Column("size", "number"),
            Column("share", "number"),
            Column("files", "number"),
        ),
        tuple(cells),
    )


_BY = {
    "owner": owners,
    "category": categories,
    "layer": layers,
    "directory": directories,
    "file": files,
}


def links(reasons: Reasons, top: int) -> Table:
    """What leaves with each owner that brings something in."""
    return Table(
        "What leaves with each",
        (
            Column("owner", "name"),
            Column("size", "number"),
            Column("retained", "number"),
            Column("takes it along", "words", 72),
            Column("who else leaves", "name", 48),
        ),
        tuple(
            (
                Name(link.owner),
                size_text(link.size),
                "" if link.retained is None else size_text(link.retained),
                "yes" if link.takes_it_along else "no, others need it",
                Name(
                    f"{len(link.leaves):,}: {', '.join(link.leaves)}" if link.leaves else "",
                    prose=True,
                ),
            )
            for link in reasons.links[:top]
        ),
        rest=_rest("owner", min(top, len(reasons.links)), [link.size for link in reasons.links]),
    )


def contents_words(row: FileRow) -> str:
    """What a file holds, for people: `sm_90 140 MB, sm_80 129 MB`, or its category."""
    parts = [f"{name} {size_text(size)}" for name, size in row.device_code.items()]
    if row.debug:
        parts.append(f"debug {size_text(row.debug)}")
    return ", ".join(parts) if parts else row.category


def _layer(row: LayerRow) -> tuple[Cell, ...]:
    wasted = row.overwritten + row.deleted
    return (
        str(row.number),
        size_text(row.size),
        "" if row.packed is None else size_text(row.packed),
        size_text(wasted) if wasted else "",
        "" if row.seconds is None else seconds_text(row.seconds),
        f"{row.members:,}",
        Name(row.command, prose=True),
    )


def _layer_words(layers: Mapping[int, int]) -> str:
    """The layer that holds most, and how many others hold some: `7`, `7 +2`."""
    if not layers:
        return ""
    most = max(layers, key=lambda number: (layers[number], -number))
    return f"{most} +{len(layers) - 1}" if len(layers) > 1 else str(most)


def _seen(report: Report) -> int:
    return report.filter.size if report.filter else report.rootfs


def _rest(word: str, shown: int, sizes: Sequence[int]) -> str:
    count = len(sizes) - shown
    if count <= 0:
        return ""
    plural = {"category": "categories"}.get(word, word + "s")
    return f"{count:,} more {word if count == 1 else plural}: {size_text(sum(sizes[shown:]))}"
