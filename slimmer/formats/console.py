"""Draws tables, bars and names on lines of text, by rich; the text outputs share it.

No string from anywhere is ever given to rich as markup: each becomes a `Text`.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.cells import cell_len, chop_cells
from rich.console import Console
from rich.measure import Measurement
from rich.padding import Padding
from rich.table import Table as Grid
from rich.text import Text

from slimmer.formats.tables import Bar, Name
from slimmer.names import in_ascii

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from rich.console import ConsoleOptions, RenderableType, RenderResult

    from slimmer.formats.tables import Cell, Column, Table

COLOURS = {
    "device code": "magenta",
    "native libraries": "blue",
    "programs": "bright_blue",
    "model weights": "bright_magenta",
    "source": "green",
    "bytecode": "yellow",
    "tests": "bright_yellow",
    "docs": "bright_cyan",
    "headers": "cyan",
    "static libraries": "bright_red",
    "caches": "red",
}
"""A category has one colour in every image, so that people learn to read it."""


@dataclass(frozen=True, slots=True)
class Display:
    """What the text is made for."""

    width: int = 80
    """Terminal cells in a line."""
    colour: bool = False
    unicode: bool = True
    """False where only ASCII can be shown: names are escaped then, and bars are drawn with it."""


def rendered(blocks: Iterable[RenderableType], display: Display) -> str:
    """What was drawn, as text with a line feed at its end."""
    console = Console(
        file=io.StringIO(),
        width=display.width,
        color_system="standard" if display.colour else None,
        force_terminal=display.colour,
        no_color=not display.colour,
        highlight=False,
        markup=False,
        emoji=False,
        legacy_windows=False,
        _environ={},
    )
    with console.capture() as captured:
        for block in blocks:
            console.print(block)
    lines = [line.rstrip() for line in captured.get().splitlines()]
    return "\n".join(lines).strip("\n") + "\n"


def glyphs(categories: Iterable[str], display: Display) -> dict[str, str]:
    """A character for each of the first categories, so that bars read without colour too."""
    return dict(zip(categories, "█▓▒░" if display.unicode else "#=+-", strict=False))


class Renderer:
    """Draws in the way that the display allows."""

    def __init__(self, display: Display, glyphs: Mapping[str, str] | None = None) -> None:
        self.display = display
        self.glyphs = glyphs or {}
        """Category → the character that bars draw it with."""

    def text(self, text: str, style: str = "") -> Text:
        """Text that can't be markup; on ASCII display every other character is escaped."""
        return Text(text if self.display.unicode else in_ascii(text), style=style)

    def indented(self, text: str, style: str = "") -> RenderableType:
        """A paragraph that belongs to what stands above it."""
        return Padding(self.text(text, style), (0, 0, 0, 2))

    def table(self, table: Table) -> Iterable[RenderableType]:
        title = Text(table.title, style="bold")
        yield title
        shown = [column.from_width <= self.display.width for column in table.columns]
        bars = [
            cell
            for row in table.rows
            for cell, show in zip(row, shown, strict=True)
            if show and isinstance(cell, Bar)
        ]
        grid = Grid(
            box=None,
            padding=(0, 2, 0, 0),
            pad_edge=False,
            header_style="dim",
            show_edge=False,
        )
        grid.add_column("", width=0, no_wrap=True)
        for column, show in zip(table.columns, shown, strict=True):
            if show:
                self._column(grid, column)
        for row in table.rows:
            cells = (
                self._cell(cell, column)
                for cell, column, show in zip(row, table.columns, shown, strict=True)
                if show
            )
            grid.add_row("", *cells)
        yield grid
        if table.rest:
            yield Text("  " + self._ascii(f"… {table.rest}"), style="dim")
        if any(len(bar.parts) > 1 for bar in bars):
            for line in self._legend(bars):
                yield Padding(line, (0, 0, 0, 2))
        if table.note:
            yield self.indented(table.note, "dim")

    def _column(self, grid: Grid, column: Column) -> None:
        match column.kind:
            case "number":
                grid.add_column(column.title, justify="right", no_wrap=True)
            case "bar":
                grid.add_column(column.title, no_wrap=True)
            case _:
                # What may wrap is what rich narrows, the widest column first; a name never wraps.
                grid.add_column(column.title)

    def _cell(self, cell: Cell, column: Column) -> RenderableType:
        match cell:
            case Name():
                return _ShortenedText(
                    self, "  " * cell.indent + cell.text, 1.0 if cell.prose else 1 / 3
                )
            case Bar():
                return _DrawnBar(self, cell)
            case str() if column.kind == "words":
                return _ShortenedText(self, cell, 1.0)
            case str():
                return Text(cell)

    def _ascii(self, text: str) -> str:
        return text if self.display.unicode else text.replace("…", "...")

    def _legend(self, bars: Iterable[Bar]) -> Iterable[Text]:
        """What the characters of the bars mean, on lines that part no sample from its name."""
        seen = {category for bar in bars for category in bar.parts}
        named = [(glyph, category) for category, glyph in self.glyphs.items() if category in seen]
        if seen - self.glyphs.keys():
            named.append((self.other, "other"))
        line = Text()
        for glyph, category in named:
            if line and line.cell_len + 6 + len(category) > self.display.width - 2:
                yield line
                line = Text()
            line.append("   " if line else "")
            line.append(glyph * 2, style=self.colour(category))
            line.append(f" {category}", style="dim")
        if line:
            yield line

    @property
    def other(self) -> str:
        return "·" if self.display.unicode else "."

    def colour(self, category: str) -> str:
        return COLOURS.get(category, "white")

    def bar(self, bar: Bar, width: int) -> Text:
        """A bar to scale, each part at least as wide as its bytes round to."""
        text = Text(no_wrap=True)
        if not bar.scale:
            return text
        done = drawn = 0
        order = sorted(
            bar.parts.items(), key=lambda item: (item[0] not in self.glyphs, -item[1], item[0])
        )
        for category, size in order:
            done += size
            cells = round(width * done / bar.scale) - drawn
            drawn += cells
            text.append(self.glyphs.get(category, self.other) * cells, style=self.colour(category))
        if done and not drawn:
            text.append(self.glyphs.get(order[0][0], self.other), style=self.colour(order[0][0]))
        return text


class _ShortenedText:
    """One line that gives up a part of itself where the column is too narrow."""

    def __init__(self, renderer: Renderer, text: str, front: float) -> None:
        self.text = renderer.text(text).plain
        self.front = front
        self.mark = "…" if renderer.display.unicode else "..."

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        width = min(cell_len(self.text), options.max_width)
        return Measurement(min(12, width), width)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield Text(shorten(self.text, options.max_width, self.front, self.mark), no_wrap=True)


class _DrawnBar:
    """A bar that takes the width it is given."""

    def __init__(self, renderer: Renderer, bar: Bar) -> None:
        self.renderer = renderer
        self.bar = bar

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        width = self.renderer.display.width
        return Measurement(8, min(options.max_width, 12 if width < 100 else width // 5))

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield self.renderer.bar(self.bar, options.max_width)


def shorten(text: str, width: int, front: float = 1 / 3, mark: str = "…") -> str:
    """At most `width` cells of a text, the mark where something is left out.

    `front` is how much of the room its beginning gets: a path's end tells most.
    """
    if cell_len(text) <= width:
        return text
    room = width - cell_len(mark)
    if room <= 0:
        return mark[:width]
    begin = int(room * front)
    head = chop_cells(text, begin)[0] if begin else ""
    room -= cell_len(head)
    tail = chop_cells(text[::-1], room)[0][::-1] if room > 0 and front < 1 else ""
    return head + mark + tail
