"""A report as one HTML page that needs nothing else: pictures by plotly, every number in tables.

Text reaches the page in two ways: `markup.tag` escapes it, and `markup.embedded` carries it as JSON
from which `page.js` makes text, never markup. The page's own policy lets no other script run and
nothing be fetched.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.resources import files
from itertools import chain
from typing import TYPE_CHECKING, Any

from slimmer.categories import Category
from slimmer.formats import tables
from slimmer.formats.comparison import signed
from slimmer.formats.comparison import summary as compared_sizes
from slimmer.formats.comparison import table as changes_table
from slimmer.formats.gate import dive as dive_table
from slimmer.formats.gate import outcome, steps_table
from slimmer.formats.markup import Html, embedded, html, script, style, tag
from slimmer.formats.plan import tables as plan_tables
from slimmer.formats.tables import Bar, Name
from slimmer.report.tree import Tree
from slimmer.units import exact_text, seconds_text, share_text, size_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from slimmer.formats.tables import Cell, Column, Table
    from slimmer.gate.gate import Gate, Remedy
    from slimmer.gate.judge import Ruling
    from slimmer.plan.plan import Plan
    from slimmer.report.comparison import Comparison
    from slimmer.report.report import Report
    from slimmer.report.rows import LayerRow, OwnerRow

COLOURS = {category.value: f"k{number}" for number, category in enumerate(Category)}
"""Category → the name of its colour in `page.css`; it has the same one in every image."""
FILES = 50
STEPS = 40
CHANGES = 12
"""How many changes the picture from before to after tells one by one."""
PROBLEMS = 50
NOTES = 3
LINE = 160
"""Characters of a command that are shown before someone asks for all of them."""


def render(
    report: Report,
    tree: Tree | None = None,
    *,
    plan: Plan | None = None,
    comparison: Comparison | None = None,
    ruling: Ruling | None = None,
    remedies: Sequence[Remedy] = (),
    command: str = "",
    notes: Sequence[str] = (),
) -> str:
    """The page of a report; the same values give the same bytes.

    Without a tree (a saved report has none) the map ends at owners and categories. `plan`,
    `comparison` (its `after` is the report's image) and `ruling` each add what they have to say;
    `remedies`, `command` and `notes` are a gate's.
    """
    tree = Tree.of(report) if tree is None else tree
    pictures = [
        *(_of_remedy(tried) for tried in remedies),
        *([_of_plan(plan)] if plan else ()),
        *([_of_comparison(comparison)] if comparison else ()),
    ]
    sections = [
        _gate(ruling, command, notes) if ruling else html(),
        _map(report, tree),
        *(_change(change, number) for number, change in enumerate(pictures)),
        _owners(report, tree),
        _layers(report),
        _section("hidden", tables.hidden(report, FILES)) if report.hidden else html(),
        _section("files", tables.files(report, FILES)) if report.files else html(),
        _problems(report.problems) if report.problems else html(),
    ]
    values = {
        "tree": _tree_value(tree),
        "layers": [_layer_value(row) for row in report.layers],
        "changes": [change.value for change in pictures],
        "categories": list(COLOURS),
    }
    return _page(
        f"{report.reference} · slimmer",
        html(_header(report), tag("main", *sections)),
        embedded(values, "values"),
    )


def render_gate(gate: Gate, tree: Tree | None = None) -> str:
    """The page of all that a release gate found out."""
    return render(
        gate.report,
        tree,
        comparison=gate.comparison,
        ruling=gate.ruling,
        remedies=gate.remedies,
        command=gate.command,
        notes=gate.notes,
    )


def _page(title: str, body: Html, values: Html) -> str:
    from plotly.offline import get_plotlyjs

    folder = files("slimmer.formats")
    library, library_source = script(get_plotlyjs())
    own, own_source = script((folder / "page.js").read_text(encoding="utf-8"))
    policy = (
        f"default-src 'none'; script-src {library_source} {own_source}; "
        "style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'"
    )
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        Html("\n"),
        tag("meta", http_equiv="Content-Security-Policy", content=policy),
        Html("\n"),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"),
        tag("meta", name="referrer", content="no-referrer"),
        tag("link", rel="icon", href="data:,"),
        Html("\n"),
        tag("title", title),
        Html("\n"),
        style((folder / "page.css").read_text(encoding="utf-8")),
    )
    scripts = html(values, Html("\n"), library, Html("\n"), own)
    document = tag("html", head, Html("\n"), tag("body", body, Html("\n"), scripts), lang="en")
    return f"<!doctype html>\n{document}\n"


def _header(report: Report) -> Html:
    facts = [report.platform, report.digest[:19], report.route]
    tiles = [
        tag(
            "div",
            tag("dt", name),
            tag("dd", _size_of(report, name, size), class_="size"),
            tag("dd", *_marked(words), class_="words"),
            class_=f"tile {name}",
        )
        for name, size, words in tables.summary(report)
    ]
    return tag(
        "header",
        tag("p", "slimmer", class_="brand"),
        tag("h1", report.reference),
        tag("p", " · ".join(fact for fact in facts if fact), class_="facts"),
        tag("dl", *tiles, class_="tiles"),
    )


def _size_of(report: Report, name: str, text: str) -> str:
    """A size of the summary that carries its bytes, where they are known."""
    sizes = {
        "unpacked": report.unpacked,
        "rootfs": report.rootfs,
        "packed": report.packed,
        "hidden": report.overwritten + report.deleted,
        "matching": report.filter.size if report.filter else None,
    }
    size = sizes.get(name)
    return text if size is None else _bytes(size)


def _bytes(size: int, text: str | None = None) -> Html:
    """A size for people that carries its bytes."""
    return tag(
        "data", size_text(size) if text is None else text, value=size, title=exact_text(size)
    )


def _marked(words: str) -> Iterable[str]:
    """Our own words, with what stands in backticks as code."""
    for place, part in enumerate(words.split("`")):
        yield tag("code", part) if place % 2 else part


def _map(report: Report, tree: Tree) -> Html:
    hidden = sum(node.size for node in tree.nodes if node.kind == "hidden" and node.parent == 0)
    total = tree.nodes[0].size
    rows = [*report.categories.items(), *([("hidden bytes", hidden)] if hidden else [])]
    legend = [
        tag(
            "li",
            tag("i", class_=f"swatch {COLOURS.get(name, 'gone')}"),
            tag("span", name, class_="name"),
            _bytes(size),
            tag("span", share_text(size, total), class_="share"),
        )
        for name, size in rows
    ]
    return tag(
        "section",
        tag("h2", "Where the bytes are"),
        tag("nav", tag("ol", id="trail"), aria_label="Where the map stands"),
        tag(
            "div",
            tag("div", id="tiles", aria_hidden="true"),
            id="map",
            tabindex=0,
            role="application",
            aria_roledescription="treemap",
            aria_label="Map of the image by owner and folder; the table of owners has its figures",
            aria_describedby="keys",
        ),
        tag("p", id="here", role="status"),
        tag(
            "p",
            "A click or Enter goes in, Escape goes out, the arrow keys walk.",
            id="keys",
            class_="note",
        ),
        tag("noscript", tag("p", "The pictures need JavaScript; the tables do without.")),
        tag("ul", *legend, class_="legend", aria_label="Categories"),
        id="where",
    )


def _owners(report: Report, tree: Tree) -> Html:
    places = {node.name: place for place, node in enumerate(tree.nodes) if node.kind == "owner"}
    columns = (
        ("owner", "", "text"),
        ("size", "num", "number"),
        ("share", "num wide", "number"),
        ("retained", "num", "number"),
        ("files", "num wide", "number"),
        ("layers", "num wide", "number"),
        ("categories", "wide", ""),
    )
    scale = max((row.size for row in report.owners), default=0)
    rows = [_owner(row, report, places.get(row.label), scale) for row in report.owners]
    heads = [
        tag(
            "th",
            tag("button", title, type="button", data_sort=how) if how else title,
            class_=class_ or None,
            scope="col",
            aria_sort="descending" if title == "size" else None,
        )
        for title, class_, how in columns
    ]
    note = "Retained is what leaves when an owner leaves with all that only it needs."
    told = any(row.retained is not None for row in report.owners)
    return tag(
        "section",
        tag("h2", "Owners"),
        tag(
            "div",
            tag(
                "label",
                tag("span", "Filter", class_="off"),
                tag("input", type="search", id="filter", placeholder="Filter owners", size=24),
            ),
            tag("span", f"{len(rows):,} owners", id="count", role="status"),
            class_="tools",
        ),
        _scrolled(
            "Owners",
            tag(
                "table",
                tag("thead", tag("tr", *heads)),
                tag("tbody", *rows),
                id="owners-table",
                class_="rows",
            ),
        ),
        tag("button", "Show all", type="button", id="all", hidden=True),
        tag("p", note, class_="note") if told else html(),
        id="owners",
    )


def _owner(row: OwnerRow, report: Report, place: int | None, scale: int) -> Html:
    label = (
        row.label
        if place is None
        else tag("button", row.label, type="button", class_="link", data_node=place)
    )
    return tag(
        "tr",
        tag("th", label, scope="row", data_value=row.label),
        tag("td", _bytes(row.size), class_="num", data_value=row.size),
        tag("td", share_text(row.size, report.rootfs), class_="num wide", data_value=row.size),
        tag(
            "td",
            "" if row.retained is None else _bytes(row.retained),
            class_="num",
            data_value=-1 if row.retained is None else row.retained,
        ),
        tag("td", f"{row.files:,}", class_="num wide", data_value=row.files),
        tag(
            "td",
            ", ".join(map(str, row.layers)),
            class_="num wide",
            data_value=max(row.layers, key=lambda number: row.layers[number], default=-1),
        ),
        tag("td", _bar(row.categories, scale), class_="wide"),
    )


def _bar(parts: Mapping[str, int], scale: int) -> Html:
    """Bytes by category to scale; their words are its label."""
    told = ", ".join(f"{name} {size_text(size)}" for name, size in parts.items())
    drawn = [
        tag("i", class_=COLOURS.get(name, "gone"), style=f"width:{100 * size / scale:.2f}%")
        for name, size in parts.items()
        if scale and size
    ]
    return tag("span", *drawn, class_="bar", role="img", aria_label=told, title=told)


def _layers(report: Report) -> Html:
    packed = any(row.packed is not None for row in report.layers)
    titles = (
        *(("layer", "num"), ("size", "num"), ("wasted", "num"), ("time", "num")),
        *((("packed", "num wide"),) if packed else ()),
        ("command", None),
    )
    heads = [tag("th", title, class_=class_, scope="col") for title, class_ in titles]
    rows = [_layer(row, packed) for row in report.layers]
    return tag(
        "section",
        tag("h2", "Layers"),
        tag(
            "p",
            tag("i", class_="swatch kept"),
            tag("span", "what a container sees"),
            tag("i", class_="swatch wasted"),
            tag("span", "wasted: overwritten or deleted by a later layer, shipped all the same"),
            class_="note",
        ),
        tag("div", id="timeline", class_="chart", aria_hidden="true"),
        _scrolled(
            "Layers",
            tag("table", tag("thead", tag("tr", *heads)), tag("tbody", *rows), class_="rows"),
        ),
        id="layers",
    )


def _layer(row: LayerRow, packed: bool) -> Html:
    wasted = row.overwritten + row.deleted
    command: Html = tag("code", row.command)
    if len(row.command) > LINE:
        summary = tag("summary", tag("code", row.command[:LINE] + "…"))
        command = tag("details", summary, command)
    return tag(
        "tr",
        tag("td", str(row.number), class_="num"),
        tag("td", _bytes(row.size), class_="num"),
        tag("td", _bytes(wasted) if wasted else "", class_="num"),
        tag("td", "" if row.seconds is None else seconds_text(row.seconds), class_="num"),
        tag("td", "" if row.packed is None else _bytes(row.packed), class_="num wide")
        if packed
        else html(),
        tag("td", command, class_="command"),
    )


def _section(name: str, table: Table) -> Html:
    return tag("section", *_table(table.without_empty(), "h2"), id=name)


def _table(table: Table, heading: str) -> Iterable[Html]:
    """A table of any kind, as the other formats have it too."""
    yield tag(heading, table.title)
    classes = [_class(column) for column in table.columns]
    heads = [
        tag("th", column.title, class_=class_, scope="col")
        for column, class_ in zip(table.columns, classes, strict=True)
    ]
    rows = [
        tag(
            "tr",
            *(
                tag("td", _cell(cell), class_=class_)
                for cell, class_ in zip(row, classes, strict=True)
            ),
        )
        for row in table.rows
    ]
    yield _scrolled(
        table.title,
        tag("table", tag("thead", tag("tr", *heads)), tag("tbody", *rows), class_="rows"),
    )
    if table.rest:
        yield tag("p", f"… {table.rest}", class_="note")
    if table.note:
        yield tag("p", table.note, class_="note")


def _class(column: Column) -> str | None:
    kinds = {"number": "num", "name": "path", "words": "said", "bar": None}[column.kind]
    wide = "wide" if column.from_width > 60 else ""
    return " ".join(filter(None, (kinds, wide))) or None


def _cell(cell: Cell) -> str:
    match cell:
        case Name():
            return tag("code", "\u2003" * cell.indent + cell.text) if cell.text else ""
        case Bar():
            return _bar(cell.parts, cell.scale)
        case str():
            return cell


def _scrolled(title: str, table: Html) -> Html:
    """A table that may be wider than a phone."""
    return tag("div", table, class_="scroll", tabindex=0, role="region", aria_label=title)


def _problems(problems: Sequence[str]) -> Html:
    left = len(problems) - PROBLEMS
    return tag(
        "section",
        tag("h2", f"Problems ({len(problems):,})"),
        tag("ul", *(tag("li", problem) for problem in problems[:PROBLEMS]), class_="problems"),
        tag("p", f"… {left:,} more", class_="note") if left > 0 else html(),
        id="problems",
    )


def _gate(ruling: Ruling, command: str, notes: Sequence[str]) -> Html:
    broken = len(ruling.broken) + sum(not rule.fits for rule in ruling.dive)
    told = "Within budget" if ruling.fits else "Over budget"
    if broken > 1:
        told += f": {broken} limits are broken"
    limits = []
    for judgement in sorted(ruling.judgements, key=lambda judgement: judgement.fits):
        limit = judgement.limit
        because = ", ".join(f"{name} {size_text(size)}" for name, size in judgement.because)
        limits.append(
            _limit(
                judgement.summary,
                judgement.actual,
                judgement.maximum,
                [limit.note, "" if judgement.fits else because and f"largest: {because}"],
            )
        )
    dive = _table(dive_table(ruling.dive), "h3") if ruling.dive else ()
    return tag(
        "section",
        tag("h2", told),
        tag("ul", *limits, class_="limits"),
        *dive,
        tag("p", "To get under: ", tag("code", command)) if command else html(),
        _notes(notes),
        id="gate",
        class_="fits" if ruling.fits else "over",
    )


def _notes(notes: Sequence[str]) -> Html:
    """What there is to say besides; much of it only when it is asked for."""
    if len(notes) <= NOTES:
        return html(*(tag("p", note, class_="note") for note in notes))
    told = tag("ul", *(tag("li", note) for note in notes))
    return tag("details", tag("summary", f"{len(notes):,} notes"), told, class_="note")


def _limit(told: str, actual: int, maximum: int, more: Iterable[str] = ()) -> Html:
    """A budget as a bar; its right end is the larger of what is there and what may be."""
    scale = max(actual, maximum, 1)
    fits = actual <= maximum
    shown = max(actual, 0)
    within = 100 * min(shown, maximum) / scale
    over = 100 * max(shown - maximum, 0) / scale
    return tag(
        "li",
        tag("p", told),
        tag(
            "span",
            tag("i", class_="within", style=f"width:{within:.2f}%"),
            tag("i", class_="beyond", style=f"width:{over:.2f}%"),
            tag("b", style=f"left:{100 * maximum / scale:.2f}%"),
            class_="budget",
            role="img",
            aria_label=f"{exact_text(actual)} of {exact_text(maximum)}",
            title=f"{exact_text(actual)} of {exact_text(maximum)}",
        ),
        *(tag("p", words, class_="note") for words in more if words),
        class_="fits" if fits else "over",
    )


@dataclass(frozen=True, slots=True)
class _Change:
    """A way from one image to another, or to itself made smaller."""

    title: str
    told: tuple[str, ...]
    metric: str
    before: int
    after: int
    steps: tuple[tuple[str, int], ...]
    """What makes the difference: name and bytes grown."""
    tables: tuple[Table, ...]
    maximum: int | None = None

    @property
    def value(self) -> dict[str, Any]:
        """The picture of it, for the page's script: the largest steps, and all others as one."""
        order = sorted((step for step in self.steps if step[1]), key=lambda step: -abs(step[1]))
        shown = sorted(order[:CHANGES], key=lambda step: (step[1] > 0, -abs(step[1]), step[0]))
        rest = self.after - self.before - sum(size for _, size in shown)
        if rest:
            shown.append(("all else", rest))
        return {
            "metric": self.metric,
            "before": [self.before, size_text(self.before)],
            "after": [self.after, size_text(self.after)],
            "steps": [[name, size, signed(size)] for name, size in shown],
            "maximum": self.maximum,
        }


def _change(change: _Change, number: int) -> Html:
    budget = html()
    if change.maximum is not None:
        told = f"{size_text(change.after)} of {size_text(change.maximum)} {change.metric}"
        budget = tag("ul", _limit(told, change.after, change.maximum), class_="limits")
    drawn = chain.from_iterable(_table(table, "h3") for table in change.tables if table.rows)
    return tag(
        "section",
        tag("h2", change.title),
        tag(
            "p",
            _bytes(change.before),
            " → ",
            _bytes(change.after),
            f" {change.metric}, {signed(change.after - change.before)}",
        ),
        _notes(change.told),
        budget,
        tag("div", class_="chart", data_change=number, aria_hidden="true"),
        *drawn,
        class_="change",
    )


def _of_plan(plan: Plan) -> _Change:
    saved: dict[str, int] = {}
    for step in plan.steps:
        saved[step.rule] = saved.get(step.rule, 0) - step.saves(plan.metric)
    return _Change(
        "Before and after the plan",
        tuple(plan.notes),
        plan.metric,
        plan.before.by(plan.metric),
        plan.after.by(plan.metric),
        (*saved.items(), ("records", -plan.bookkeeping)),
        tuple(plan_tables(plan, STEPS)),
        plan.budget.maximum if plan.budget else None,
    )


def _of_remedy(remedy: Remedy) -> _Change:
    saved: dict[str, int] = {}
    for step in remedy.largest:
        saved[step.rule] = saved.get(step.rule, 0) - step.saves
    return _Change(
        f"Before and after the policy {remedy.policy}",
        (outcome(remedy),),
        remedy.metric,
        remedy.before,
        remedy.after,
        tuple(saved.items()),
        (steps_table(remedy, STEPS),),
        remedy.maximum,
    )


def _of_comparison(comparison: Comparison) -> _Change:
    before, after = comparison.before, comparison.after
    drawn = (compared_sizes(comparison), *_changed(comparison))
    return _Change(
        "Before and after",
        (f"{before.reference} → {after.reference}",),
        "rootfs",
        before.rootfs,
        after.rootfs,
        tuple(
            (f"{change.name} {change.version}".strip(), change.growth)
            for change in comparison.owners
        ),
        drawn,
    )


def _changed(comparison: Comparison) -> Iterable[Table]:
    kinds: tuple[tables.By, ...] = ("owner", "category", "layer", "directory")
    for kind in kinds:
        yield changes_table(comparison, kind, STEPS)


def _tree_value(tree: Tree) -> dict[str, Any]:
    """The tree by columns, which is the shortest way to write it."""
    kinds = {"image": "i", "owner": "o", "folder": "d", "file": "f", "kind": "k", "hidden": "h"}
    place = {name: number for number, name in enumerate(COLOURS)}
    return {
        "name": [node.name for node in tree.nodes],
        "parent": [node.parent for node in tree.nodes],
        "kind": "".join(kinds[node.kind] for node in tree.nodes),
        "size": [node.size for node in tree.nodes],
        "told": [size_text(node.size) for node in tree.nodes],
        "files": [node.files for node in tree.nodes],
        "category": [place.get(node.category, -1) for node in tree.nodes],
    }


def _layer_value(row: LayerRow) -> dict[str, Any]:
    return {
        "number": row.number,
        "command": row.command,
        "size": row.size,
        "wasted": row.overwritten + row.deleted,
        "told": size_text(row.size),
        "wasted_told": size_text(row.overwritten + row.deleted),
        "time": "" if row.seconds is None else seconds_text(row.seconds),
    }
