"""The HTML page: one file that fetches nothing, in which no name acts, with JSON's numbers."""

from __future__ import annotations

import json
import re
from base64 import b64encode
from dataclasses import replace
from hashlib import sha256
from html.parser import HTMLParser
from typing import TYPE_CHECKING, Any

import pages
import pytest

from slimmer import cli
from slimmer.formats import html, markup
from slimmer.formats import json as json_format
from slimmer.gate.gate import Gate
from slimmer.units import share_text, size_text

if TYPE_CHECKING:
    from pathlib import Path

VOID = {"meta", "link", "input", "br"}


class Seen(HTMLParser):
    """What a page is made of."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.scripts: list[tuple[dict[str, str | None], str]] = []
        self.open: list[str] = []
        self.feed(text)
        self.close()
        assert [] == self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag == "script":
            self.scripts.append((dict(attrs), ""))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert tag == self.open.pop()

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] == "script":
            attributes, code = self.scripts[-1]
            self.scripts[-1] = (attributes, code + data)
        elif not self.open or self.open[-1] != "style":
            self.words.append(data)

    @property
    def values(self) -> Any:
        (text,) = (code for attributes, code in self.scripts if attributes.get("id") == "values")
        return json.loads(text)


@pytest.fixture(scope="module")
def small() -> str:
    return pages.page(pages.small())


@pytest.fixture(scope="module")
def hostile() -> str:
    return pages.page(pages.hostile())


def test_it_names_nothing_to_fetch(small: str):
    seen = Seen(small)

    assert ["data:,"] == [
        value
        for _, attributes in seen.tags
        for name, value in attributes.items()
        if name in ("src", "href", "action", "poster", "srcset")
    ]
    css = re.findall(r"<style>(.*?)</style>", small, re.DOTALL)
    assert not re.search(r"url\(|@import", "".join(css))


def test_its_policy_lets_its_own_scripts_run_and_nothing_else(small: str):
    seen = Seen(small)
    (policy,) = (
        attributes["content"] or ""
        for tag, attributes in seen.tags
        if attributes.get("http-equiv") == "Content-Security-Policy"
    )
    rules = {rule.split()[0]: rule.split()[1:] for rule in policy.split("; ")}

    assert ["'none'"] == rules["default-src"]
    assert ["data:"] == rules["img-src"]
    code = [text for attributes, text in seen.scripts if "type" not in attributes]
    hashed = [b64encode(sha256(text.encode()).digest()).decode() for text in code]
    assert [f"'sha256-{value}'" for value in hashed] == rules["script-src"]


def test_the_numbers_are_those_of_json():
    report, tree = pages.small()
    fields = json.loads(json_format.render(report))
    page = html.render(report, tree)
    data = [int(value) for value in re.findall(r'<data value="(\d+)"', page)]
    seen = Seen(page)

    sizes = fields["sizes"]
    hidden = fields["hidden"]["overwritten"] + fields["hidden"]["deleted"]
    rows = [[sizes["unpacked"], sizes["rootfs"], hidden]]
    rows += [[*fields["categories"].values(), hidden]]
    rows += [
        [size for size in (owner["size"], owner["retained"]) if size is not None]
        for owner in fields["owners"]
    ]
    for row in fields["layers"]:
        wasted = row["overwritten"] + row["deleted"]
        rows.append([row["size"], *([wasted] if wasted else [])])
    assert [size for row in rows for size in row] == data
    owners = {
        (name, size)
        for name, size, kind in zip(
            *(seen.values["tree"][column] for column in ("name", "size", "kind")), strict=True
        )
        if kind == "o"
    }
    assert {(row.label, row.size) for row in report.owners if row.size} == owners
    assert [row["size"] for row in fields["layers"]] == [
        row["size"] for row in seen.values["layers"]
    ]


def test_sizes_and_shares_read_as_in_every_other_format():
    report, tree = pages.small()
    words = Seen(html.render(report, tree)).words

    for row in report.owners:
        assert row.label in words
        assert size_text(row.size) in words
        assert share_text(row.size, report.rootfs) in words


def test_every_name_stays_text(hostile: str):
    seen = Seen(hostile)
    report, _ = pages.hostile()

    allowed = {
        *("html", "head", "meta", "link", "title", "style", "script", "body", "header", "main"),
        *("section", "nav", "ol", "ul", "li", "dl", "dt", "dd", "div", "p", "span", "i", "b"),
        *("h1", "h2", "h3", "table", "thead", "tbody", "tr", "th", "td", "code", "data", "button"),
        *("label", "input", "noscript", "details", "summary"),
    }
    assert {tag for tag, _ in seen.tags} <= allowed
    assert not {name for _, attributes in seen.tags for name in attributes if name.startswith("on")}
    assert 3 == len(seen.scripts)
    assert report.reference in seen.words
    for row in report.owners:
        assert row.label in seen.words
    for row in report.layers:
        assert row.command in seen.words
    assert {row.label for row in report.owners if row.size} <= set(seen.values["tree"]["name"])


def test_no_control_character_and_no_bidi_override_is_in_it(hostile: str):
    own = hostile.replace(pages_library(hostile), "")

    assert not re.findall(
        "[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2066-\u2069]", own
    )


def pages_library(page: str) -> str:
    """The longest script: plotly's."""
    return max((code for _, code in Seen(page).scripts), key=len)


def test_the_same_report_gives_the_same_bytes(small: str):
    assert small == pages.page(pages.small())


def test_a_report_without_a_ledger_has_a_page_too():
    report, _ = pages.small()
    seen = Seen(html.render(report))

    assert {"i", "o", "k", "h"} == set(seen.values["tree"]["kind"])


def test_a_gates_page_says_what_it_says(small: str):
    report, tree = pages.small()
    gate = Gate(
        report,
        pages.ruled(report),
        pages.grown(report),
        (pages.remedy(report),),
        f"slimmer slim '{report.reference}' --max 4GB",
        (report.reference, "a note"),
    )

    assert small == html.render_gate(gate, tree)
    words = " ".join(Seen(small).words)
    for told in ("Over budget: 2 limits are broken", "over by", "slimmer slim", "a <b>note</b>"):
        assert told in words


def test_a_picture_of_a_change_adds_up():
    for made in (pages.small(), pages.hostile()):
        for change in Seen(pages.page(made)).values["changes"]:
            steps = [size for _, size, _ in change["steps"]]
            assert change["before"][0] + sum(steps) == change["after"][0]
            assert [size_text(change[side][0]) for side in ("before", "after")] == [
                change[side][1] for side in ("before", "after")
            ]


def test_an_image_of_nothing_has_a_page():
    report, _ = pages.small()
    empty = replace(
        report,
        **dict.fromkeys(("unpacked", "rootfs", "overwritten", "deleted"), 0),
        **dict.fromkeys(("hidden", "owners", "layers", "files", "directories"), ()),
        categories={},
    )

    assert ["i"] == list(Seen(html.render(empty)).values["tree"]["kind"])


@pytest.mark.parametrize("code", ["x = '</script>'", "x = '</SCRIPT >'", "<!-- x"])
def test_a_script_that_would_end_inside_itself_is_refused(code: str):
    with pytest.raises(ValueError, match="end inside itself"):
        markup.script(code)


def test_markup_escapes_what_is_not_markup():
    assert '<p title="&quot;&lt;">a &amp; b<br></p>' == markup.tag(
        "p", "a & b", markup.tag("br"), title='"<', hidden=False
    )
    assert '"\\u003c/script\\u003e\\u0026"' in markup.embedded("</script>&", "x")


@pytest.mark.parametrize(
    "words",
    [
        ("inspect", "{image}", "-o"),
        ("inspect", "{image}", "--filter", "*.py", "-o"),
        ("budget", "{image}", "--max", "1MB", "-o"),
        ("diff", "{image}", "{image}", "-o"),
        ("diff", "{report}", "{report}", "-o"),
    ],
)
def test_commands_write_the_page(
    words: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("SLIMMER_CACHE_DIR", str(tmp_path / "cache"))
    saved = tmp_path / "report.json"
    cli.main(["inspect", str(pages.SMALL), "-o", str(saved)])
    given = [word.format(image=pages.SMALL, report=saved) for word in words]

    made = []
    for name in ("one.html", "two.html"):
        assert cli.main([*given, str(tmp_path / name)]) in (0, 1)
        made.append((tmp_path / name).read_text(encoding="utf-8"))

    assert made[0] == made[1]
    tree = Seen(made[0]).values["tree"]
    assert tree["size"][0] == sum(
        size for size, parent in zip(tree["size"], tree["parent"], strict=True) if parent == 0
    )


def test_a_page_is_small_beside_what_draws_it():
    text = html.render(*pages.small())

    assert len(text.encode()) - len(pages_library(text).encode()) < 150_000
