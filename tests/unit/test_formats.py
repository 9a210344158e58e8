"""Text, JSON and Markdown show the same report, and no name in it acts."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from importlib.resources import files
from itertools import product
from typing import Any

import golden
import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from rich.cells import cell_len
from thorough import examples

from slimmer.formats import json as json_format
from slimmer.formats import markdown, text
from slimmer.formats.console import Display, shorten
from slimmer.formats.tables import BY
from slimmer.names import printable
from slimmer.report.report import Report
from slimmer.report.rows import (
    DirectoryRow,
    DisputeRow,
    FileRow,
    Filter,
    HiddenRow,
    LayerRow,
    OwnerRow,
)

GB, MB, KB = 10**9, 10**6, 10**3
ID = "sha256:" + "0123456789abcdef" * 4
HOSTILE = [
    b"\x1b[31m\x1b]0;title\x07red",
    b"[bold red]markup[/] :smile: [link=file:///etc]x[/link]",
    b"two\nlines\r\tand more",
    b"a|b | c \\| d ||",
    b"`code` ``more`` `",
    b"<script>alert(1)</script><!-- -->&lt;b&amp;",
    b"@someone #1 https://example.org www.example.org a@example.org",
    b"![x](http://example.org/x.png) [x](y) **b** _i_ ~s~ # h",
    "abc\u202etxt.exe\u2066\u200b\u2028x".encode(),
    b"\xff\xfe\x80 invalid",
    "文件" * 20 + "é",
    b"trailing backslash\\",
    b"-rf",
    b"x" * 4000,
]
SAMPLE = Report(
    reference="registry/app:1.0",
    digest=ID,
    platform="linux/amd64",
    route="docker archive, walked from header to header",
    unpacked=8_812_345_678,
    rootfs=8_612_345_677,
    packed=None,
    overwritten=120_000_000,
    deleted=80_000_001,
    hidden=(
        HiddenRow(2, 5, "deleted", 80_000_001, 3100, (("var/lib/apt/lists", 80_000_001),)),
        HiddenRow(3, 4, "overwritten", 120_000_000, 12, (("app/model.bin", 120_000_000),)),
    ),
    owners=(
        OwnerRow(
            "pip",
            "torch",
            "2.9.0",
            1_750 * MB,
            7_100 * MB,
            12_345,
            {
                "device code": 1_000 * MB,
                "native libraries": 600 * MB,
                "headers": 80 * MB,
                "source": 70 * MB,
            },
            {3: 1_750 * MB},
        ),
        OwnerRow(
            "pip",
            "nvidia-cudnn-cu12",
            "9.10.2.21",
            1_017 * MB,
            1_017 * MB,
            25,
            {"device code": 800 * MB, "native libraries": 217 * MB},
            {3: 1_017 * MB},
        ),
        OwnerRow(
            "deb",
            "gcc-12",
            "12.2.0-14+deb12u1",
            60 * MB,
            None,
            310,
            {"programs": 58 * MB, "docs": 2 * MB},
            {1: 59 * MB, 3: 1 * MB},
        ),
        OwnerRow("unowned", "", "", 12_345, None, 3, {"data": 12_345}, {0: 12_345}),
    ),
    categories={
        "device code": 1_800 * MB,
        "native libraries": 817 * MB,
        "headers": 80 * MB,
        "source": 70 * MB,
        "programs": 58 * MB,
        "docs": 2 * MB,
        "data": 12_345,
    },
    layers=(
        LayerRow(0, ID, ID, "ADD ... /", 74_800_000, 28_200_000, 0, 0, None, 3_241),
        LayerRow(1, ID, None, "RUN apt-get update && make", 400 * MB, None, 0, 5, 61.5, 9),
    ),
    files=(
        FileRow(
            "usr/local/lib/python3.11/site-packages/torch/lib/libtorch_cuda.so",
            1_023 * MB,
            "pip:torch 2.9.0",
            "native libraries",
            3,
            {"sm_90": 140 * MB, "sm_80": 129 * MB},
            3 * MB,
        ),
        FileRow("etc/passwd", 920, "unowned", "data", 0, {}, None),
    ),
    directories=(
        DirectoryRow("", 8_612_345_677, 66_000),
        DirectoryRow("usr", 8_000 * MB, 60_000),
        DirectoryRow("usr/local", 8_000 * MB, 60_000),
        DirectoryRow("usr/local/lib", 7_000 * MB, 50_000),
        DirectoryRow("usr/local/bin", 1_000 * MB, 10_000),
        DirectoryRow("etc", 5 * KB, 10),
    ),
    disputes=(DisputeRow("usr/bin/x", "deb:a 1", ("pip:b 2",)),),
    disputed=1,
    problems=("layer 3: 2 members lie behind a symlink of the image",),
)


def hostile(name: bytes | str) -> Report:
    """A report in which everything that comes from an image is this name."""
    shown = printable(name)
    return replace(
        SAMPLE,
        reference=shown,
        platform=shown,
        route=shown,
        hidden=(HiddenRow(0, 1, "deleted", 9, 1, ((shown, 9),)),),
        owners=(OwnerRow(shown, shown, shown, 9, 9, 1, {"data": 9}, {0: 9}),),
        layers=(replace(SAMPLE.layers[0], command=shown),),
        files=(replace(SAMPLE.files[0], path=shown, owner=shown),),
        directories=(DirectoryRow("", 9, 1), DirectoryRow(shown.replace("/", ""), 8, 1)),
        disputes=(DisputeRow(shown, shown, (shown,)),),
        problems=(shown,),
        filter=Filter(shown, 9, 1),
    )


@pytest.mark.parametrize("width", [40, 80, 200])
def test_text_looks_as_it_was_approved(width: int):
    golden.check(f"report-{width}.txt", text.render(SAMPLE, Display(width)))


@pytest.mark.parametrize("by", BY)
def test_one_table_of_text_looks_as_it_was_approved(by: Any):
    golden.check(f"report-by-{by}.txt", text.render(SAMPLE, Display(80), by, top=40))


def test_text_says_where_the_inside_of_libraries_was_not_read():
    unread = replace(SAMPLE, files=(replace(SAMPLE.files[0], device_code={}, debug=None),))

    assert "see --deep" not in text.render(SAMPLE, Display())
    assert "see --deep" in text.render(unread, Display())


def test_colour_only_adds_colour():
    plain = text.render(SAMPLE, Display(100))
    coloured = text.render(SAMPLE, Display(100, colour=True))

    assert "\x1b[" in coloured
    bare = re.sub(r"\x1b\[[0-9;]*m", "", coloured)
    assert plain == "".join(f"{line.rstrip()}\n" for line in bare.splitlines())


def test_text_can_be_pure_ascii():
    made = text.render(replace(SAMPLE, reference="größe"), Display(80, unicode=False))

    assert made.isascii()
    assert r"gr\u00f6\u00dfe" in made
    assert "##" in made


@pytest.mark.parametrize(("name", "width"), list(product(HOSTILE, [20, 80, 200])))
def test_no_name_acts_in_text(name: bytes | str, width: int):
    made = text.render(hostile(name), Display(width))

    assert all(line.isprintable() for line in made.split("\n"))
    tables_only = text.render(replace(hostile(name), problems=()), Display(80), "file")
    assert len(text.render(SAMPLE, Display(80), "file").splitlines()) >= 5
    assert all(cell_len(line) <= 80 for line in tables_only.splitlines())


def test_a_name_that_looks_like_markup_is_shown_as_it_is():
    made = text.render(hostile("[bold]:smile:[/bold] [red]x"), Display(200))

    assert "[bold]:smile:[/bold] [red]x" in made


def test_names_with_wide_characters_stay_in_their_column():
    assert all(
        cell_len(line) <= 60
        for line in text.render(hostile("文件" * 30), Display(60), "file").splitlines()
    )


@given(st.text(max_size=60), st.integers(1, 40))
def test_a_shortened_text_is_no_wider_than_asked(name: str, width: int):
    name = printable(name)

    assert cell_len(shorten(name, width)) <= width
    assert shorten(name, cell_len(name)) == name


def test_a_shortened_path_keeps_its_end():
    assert "usr/…libm.so.6" == shorten("usr/lib/x86_64-linux-gnu/libm.so.6", 14)


def schema(strict: bool = False) -> Any:
    published = json.loads(files("slimmer.formats").joinpath("report.schema.json").read_text())
    todo: list[Any] = [published] if strict else []
    while todo:
        part = todo.pop()
        if isinstance(part, dict):
            if "properties" in part:
                part["additionalProperties"] = False
            todo += part.values()
        elif isinstance(part, list):
            todo += part
    return published


def test_the_schema_is_a_schema():
    jsonschema.Draft202012Validator.check_schema(schema())


@pytest.mark.parametrize("report", [SAMPLE, *map(hostile, HOSTILE)])
def test_json_is_what_its_schema_says_and_nothing_else(report: Report):
    jsonschema.Draft202012Validator(schema(strict=True)).validate(
        json.loads(json_format.render(report))
    )


def test_json_has_the_promised_top_level():
    made = json.loads(json_format.render(SAMPLE))

    assert 1 == made["schema_version"]
    assert {"reference", "digest", "platform"} <= made["image"].keys()
    assert {"unpacked": 8_812_345_678, "rootfs": 8_612_345_677, "packed": None} == made["sizes"]
    assert {"overwritten": 120_000_000, "deleted": 80_000_001} == made["hidden"]
    assert {"kind", "name", "version", "size", "retained", "categories"} <= made["owners"][0].keys()
    assert {
        *("diff_id", "digest", "command", "size", "packed", "overwritten", "deleted", "seconds")
    } <= made["layers"][0].keys()
    assert {"owners", "categories", "layers", "problems"} <= made.keys()


@pytest.mark.parametrize("report", [SAMPLE, *map(hostile, HOSTILE)])
def test_json_is_complete_and_can_be_read_back(report: Report):
    assert report == json_format.parse(json_format.render(report), "report.json")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "report.json is not a report of slimmer"),
        ("[]", "report.json is not a report of slimmer"),
        ('{"schema_version": 2}', "report.json has schema_version 2, this slimmer reads 1"),
        ('{"schema_version": 1}', "report.json does not follow the schema"),
        ('{"schema_version": 1, "filter": 3}', "report.json does not follow the schema"),
    ],
)
def test_what_is_no_report_is_refused(content: str, message: str):
    with pytest.raises(json_format.ReportError, match=message):
        json_format.parse(content, "report.json")


def test_markdown_looks_as_it_was_approved():
    golden.check("report.md", markdown.render(SAMPLE))


def rendered(made: str) -> tuple[list[str], list[str], list[int]]:
    """Types of the tokens, contents of the code spans, and cells of each row of a Markdown text."""
    tokens = MarkdownIt("commonmark").enable("table").enable("strikethrough").parse(made)
    types: list[str] = []
    spans: list[str] = []
    cells: list[int] = []
    for token in tokens:
        types.append(token.type)
        if token.type == "tr_open":
            cells.append(0)
        elif token.type in ("td_open", "th_open"):
            cells[-1] += 1
        for child in token.children or ():
            types.append(child.type)
            if child.type == "code_inline":
                spans.append(child.content)
    return types, spans, cells


ORDINARY, _, SHAPE = rendered(markdown.render(hostile("plain")))


@pytest.mark.parametrize("name", HOSTILE)
def test_no_name_acts_in_markdown(name: bytes | str):
    types, spans, cells = rendered(markdown.render(hostile(name)))

    assert ORDINARY == types
    assert SHAPE == cells
    assert {"code_inline"} <= set(types)
    assert not {"html_inline", "html_block", "link_open", "image"} & set(types)
    assert all("\n" not in span for span in spans)


@settings(max_examples=examples(60))
@given(st.text("|\\`<>ab \n*_[]()!@#&;", min_size=1, max_size=12).filter(str.strip))
def test_no_name_acts_in_markdown_whatever_it_is(name: str):
    types, _, cells = rendered(markdown.render(hostile(name)))

    assert (ORDINARY, SHAPE) == (types, cells)


def test_a_pipe_in_a_command_reads_as_one():
    _, spans, _ = rendered(markdown.render(hostile("curl x | sh")))

    assert "curl x | sh" in spans


def test_markdown_fits_a_job_summary_whatever_the_image():
    row = replace(SAMPLE.files[0], path="x" * 4000, owner="y" * 4000)
    made = markdown.render(
        replace(SAMPLE, files=(row,) * 20_000, problems=("p" * 4000,) * 20_000), top=20_000
    )

    assert len(made.encode()) <= markdown.LIMIT
    assert "19,950 more" in made


def test_the_same_report_gives_the_same_bytes():
    for render in (json_format.render, markdown.render):
        assert render(SAMPLE) == render(SAMPLE)
    assert text.render(SAMPLE, Display()) == text.render(SAMPLE, Display())
