"""The HTML page in a real browser: from a file, by keyboard, on a phone, with hostile names."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pages
import pytest
from chromium import Page, chromium

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from slimmer.report.report import Report
    from slimmer.report.tree import Tree

pytestmark = pytest.mark.compat


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the pages lie, as files."""
    folder = tmp_path_factory.mktemp("pages")
    for name, made in (("small", pages.small()), ("hostile", pages.hostile())):
        (folder / f"{name}.html").write_text(pages.page(made), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def browser() -> Iterator[Page]:
    with chromium() as page:
        yield page


@pytest.fixture
def page(browser: Page) -> Iterator[Page]:
    """The one tab, with nothing held against it yet; in the end there still is nothing."""
    for told in (browser.complaints, browser.dialogs, browser.requests):
        told.clear()
    yield browser
    assert [] == browser.complaints
    assert [] == browser.dialogs


def tiles(page: Page) -> list[str]:
    """The words of the tiles that are drawn, as they are seen."""
    found: list[str] = page.ask(
        "Array.from(document.querySelectorAll('#tiles .slice text'), (one) => one.textContent)"
    )
    return found


def here(page: Page) -> str:
    """What the page says of the place where the map stands."""
    told: str = page.ask("document.getElementById('here').textContent")
    return told


def trail(page: Page) -> list[str]:
    found: list[str] = page.ask(
        "Array.from(document.querySelectorAll('#trail button'), (one) => one.textContent)"
    )
    return found


def rows(page: Page) -> list[str]:
    """The owners that the table shows."""
    found: list[str] = page.ask(
        "Array.from(document.querySelectorAll('#owners-table tbody tr:not([hidden])'),"
        " (row) => row.cells[0].dataset.value)"
    )
    return found


def largest(made: tuple[Report, Tree], parent: int) -> int:
    """Place of the largest part of a node."""
    nodes = made[1].nodes
    places = [place for place, node in enumerate(nodes) if node.parent == parent]
    return min(places, key=lambda place: (-nodes[place].size, place))


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", ["small", "hostile"])
def test_it_opens_from_a_file_and_asks_for_nothing_more(
    page: Page, folder: Path, name: str, scheme: str
) -> None:
    path = folder / f"{name}.html"
    page.open(path, scheme=scheme)

    fetched = [url for url in page.requests if not url.startswith("data:")]
    assert [path.as_uri()] == fetched
    for chart in ("#timeline .bars .point", "[data-change='0'] .bars .point"):
        assert page.ask(f"document.querySelectorAll({chart!r}).length") > 0, chart


def test_what_its_policy_forbids_does_not_happen(browser: Page, folder: Path) -> None:
    browser.open(folder / "small.html")
    browser.complaints.clear()
    browser.requests.clear()

    browser.ask(
        "document.body.append(Object.assign(document.createElement('script'),"
        " {textContent: 'window.ran = true'}));"
        "document.body.append(Object.assign(new Image(), {src: 'http://127.0.0.1:9/x.png'}));"
        "fetch('http://127.0.0.1:9/').catch(() => 'no')"
    )

    assert browser.ask("window.ran") is None
    told = [words for words in browser.complaints if "Content Security Policy" in words]
    assert [1, 1, 1] == [
        sum(f"{kind} '" in words or f"{kind} " in words for words in told)
        for kind in ("inline script", "the image", "Connecting to")
    ]


def test_no_name_acts_and_every_name_is_seen(page: Page, folder: Path) -> None:
    page.open(folder / "hostile.html")
    report, _ = pages.hostile()

    text: str = page.ask("document.body.innerText")
    for mark in pages.MARKS:
        assert mark in text, mark
    drawn = " ".join(tiles(page))
    for mark in ("<b>", "&lt;b&gt;", "<script>", "\\x1b"):
        assert mark in drawn, mark
    injected = (
        "document.querySelectorAll('#values ~ script').length + '/' +"
        " document.querySelectorAll('img, iframe, object, embed, form, [onerror], [onload],"
        " [onclick], [onmouseover], body svg a, a').length"
    )
    assert "2/0" == page.ask(injected)
    assert report.reference == page.ask("document.querySelector('h1').textContent")
    # Into every node, so that each name has been a tile's, a crumb's and the status line's.
    assert "done" == page.ask(
        "(async () => { for (const button of document.querySelectorAll('[data-node]'))"
        " { button.click(); await new Promise(requestAnimationFrame); } return 'done'; })()"
    )
    assert "2/0" == page.ask(injected)
    assert page.ask("window.polluted ?? ({}).size ?? null") is None


def test_a_tip_shows_exact_bytes_and_markup_as_it_is(page: Page, folder: Path) -> None:
    page.open(folder / "hostile.html")
    spot: dict[str, float] = page.ask(
        "(() => { const text = Array.from(document.querySelectorAll('#tiles .slice'))"
        ".find((one) => one.textContent.includes('<b>bold'));"
        " text.scrollIntoView({block: 'center'});"
        " const box = text.querySelector('.slicetext').getBoundingClientRect();"
        " return {x: box.x + 4, y: box.y + 4}; })()"
    )
    page.move(spot["x"], spot["y"])
    page.move(spot["x"] + 2, spot["y"] + 2)
    page.wait("document.querySelector('#tiles .hovertext')")

    told: str = page.ask("document.querySelector('#tiles .hovertext').textContent")
    assert "<b>bold</b>" in told
    assert " bytes · " in told


@pytest.mark.parametrize("name", ["small", "hostile"])
def test_the_keyboard_walks_in_and_out(page: Page, folder: Path, name: str) -> None:
    made = getattr(pages, name)()
    nodes = made[1].nodes
    page.open(folder / f"{name}.html")
    page.ask("document.getElementById('map').focus()")

    first = largest(made, 0)
    page.press("ArrowRight")
    assert here(page).startswith(nodes[first].name)
    assert f"{nodes[first].size:,} bytes" in here(page)
    page.press("ArrowDown")
    inner = largest(made, first)
    assert f"{nodes[inner].size:,} bytes" in here(page)
    page.press("ArrowUp")
    assert here(page).startswith(nodes[first].name)
    page.press("Enter")
    assert [nodes[0].name, nodes[first].name] == trail(page)
    page.press("ArrowDown")
    page.press("ArrowUp")
    assert [nodes[0].name] == trail(page)
    page.press("Enter")
    page.press("Escape")
    assert [nodes[0].name] == trail(page)
    assert here(page).startswith(nodes[first].name)
    page.press("End")
    page.press("ArrowRight")
    assert here(page).startswith(nodes[first].name)
    page.press("ArrowLeft")
    page.press("Home")
    assert here(page).startswith(nodes[first].name)


def test_the_keyboard_reaches_every_node(page: Page, folder: Path) -> None:
    made = pages.small()
    nodes = made[1].nodes
    page.open(folder / "small.html")

    # Depth first by the keys alone: into the first part, along its siblings, back up.
    seen: int = page.ask(
        """(async () => {
          const map = document.getElementById('map');
          const told = () => document.getElementById('here').textContent;
          const press = (key) => map.dispatchEvent(new KeyboardEvent('keydown', {key}));
          let steps = 0;
          const below = () => {
            const first = told();
            do {
              if (++steps > 9999) return;
              const at = told();
              press('ArrowDown');
              if (told() !== at) {
                below();
                press('ArrowUp');
              }
              if (told() !== at) throw new Error(at + ' is not ' + told());
              press('ArrowRight');
            } while (told() !== first);
          };
          press('ArrowRight');
          below();
          return steps;
        })()"""
    )

    assert len(nodes) - 1 == seen


def test_tab_stops_at_the_map_and_its_focus_is_seen(page: Page, folder: Path) -> None:
    page.open(folder / "small.html")
    stops = []
    for _ in range(6):
        page.press("Tab")
        stops.append(page.ask("document.activeElement.id || document.activeElement.tagName"))
        width = page.ask("parseFloat(getComputedStyle(document.activeElement).outlineWidth)")
        assert width >= 2, stops

    assert "map" in stops


def test_a_click_goes_in_and_a_crumb_leads_back(page: Page, folder: Path) -> None:
    made = pages.small()
    page.open(folder / "small.html")
    owner = made[1].nodes[largest(made, 0)].name
    spot: dict[str, float] = page.ask(
        "(() => { document.getElementById('map').scrollIntoView({block: 'center'});"
        f" const slice = Array.from(document.querySelectorAll('#tiles .slice'))"
        f".find((one) => one.textContent.startsWith({owner.split()[0]!r}));"
        " const box = slice.getBoundingClientRect(); return {x: box.x + 30, y: box.y + 10}; })()"
    )
    page.click(spot["x"], spot["y"])
    page.wait("document.querySelectorAll('#trail button').length === 2")

    assert owner == trail(page)[1]
    page.ask("document.querySelector('#trail button').click()")
    assert 1 == len(trail(page))


def test_the_table_sorts_and_filters_and_leads_to_the_map(page: Page, folder: Path) -> None:
    report, _ = pages.small()
    page.open(folder / "small.html")

    assert [row.label for row in report.owners][: len(rows(page))] == rows(page)
    page.ask("document.querySelector('#owners-table thead button').click()")
    assert "ascending" == page.ask(
        "document.querySelector('#owners-table th').getAttribute('aria-sort')"
    )
    assert sorted(rows(page)) == rows(page)
    page.ask("document.getElementById('filter').focus()")
    for letter in "IDNA":
        page.press(letter, ord(letter), letter)
    assert ["pip:idna 3.4"] == rows(page)
    assert "1 owner" == page.ask("document.getElementById('count').textContent")
    page.ask("document.querySelector('#owners-table tr:not([hidden]) [data-node]').click()")
    assert "pip:idna 3.4" == trail(page)[-1]
    assert "map" == page.ask("document.activeElement.id")


def contrasts(page: Page) -> list[dict[str, Any]]:
    """Texts with less contrast to what is behind them than WCAG 2.2 AA asks of small ones."""
    found: list[dict[str, Any]] = page.ask(
        """(() => {
          const parse = (text) => (text.match(/[\\d.]+/g) || []).map(Number);
          const light = ([r, g, b]) => {
            const [x, y, z] = [r, g, b].map((v) => (v /= 255) <= 0.03928 ? v / 12.92
              : ((v + 0.055) / 1.055) ** 2.4);
            return 0.2126 * x + 0.7152 * y + 0.0722 * z;
          };
          const contrast = (one, two) => {
            const [a, b] = [light(one), light(two)].sort((x, y) => y - x);
            return (a + 0.05) / (b + 0.05);
          };
          const behind = (node) => {
            for (; node; node = node.parentElement) {
              const colour = parse(getComputedStyle(node).backgroundColor);
              if (colour.length === 3 || colour[3] > 0.5) return colour;
            }
            return [255, 255, 255];
          };
          const bad = [];
          const texts = 'h1,h2,h3,p,li,dt,dd,th,td,button,span,code,summary';
          for (const node of document.querySelectorAll(texts)) {
            if (!node.textContent.trim() || !node.getClientRects().length) continue;
            const ratio = contrast(parse(getComputedStyle(node).color), behind(node));
            if (ratio < 4.5) bad.push({text: node.textContent.slice(0, 40), ratio});
          }
          for (const slice of document.querySelectorAll('#tiles .slice')) {
            const text = slice.querySelector('text');
            const surface = slice.querySelector('path.surface');
            if (!text || !text.textContent.trim() || !surface) continue;
            const ratio = contrast(parse(getComputedStyle(text).fill),
              parse(getComputedStyle(surface).fill));
            if (ratio < 4.5) bad.push({text: text.textContent, ratio});
          }
          return bad;
        })()"""
    )
    return found


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_texts_have_contrast_in_light_and_dark(page: Page, folder: Path, scheme: str) -> None:
    page.open(folder / "small.html", scheme=scheme)

    assert [] == contrasts(page)


def test_a_change_of_the_scheme_is_followed(page: Page, folder: Path) -> None:
    page.open(folder / "small.html")
    fill = "getComputedStyle(document.querySelector('#tiles text')).fill"
    light = page.ask(fill)
    page.prefer("dark")
    page.wait(f"{fill} !== {light!r}")

    assert [] == contrasts(page)


@pytest.mark.parametrize("name", ["small", "hostile"])
def test_on_a_phone_nothing_is_cut_off_at_the_side(page: Page, folder: Path, name: str) -> None:
    page.open(folder / f"{name}.html", width=390, height=844)

    assert 390 == page.ask("document.documentElement.scrollWidth")
    assert page.ask("document.getElementById('tiles').getBoundingClientRect().width") > 340
    assert 10 <= len(tiles(page))
