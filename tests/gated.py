"""A gate that says everything it can say, and the same with any name in every place."""

from __future__ import annotations

import json
from dataclasses import replace
from importlib.resources import files
from typing import Any

from markdown_it import MarkdownIt

from slimmer.gate import dive
from slimmer.gate.gate import Gate, Remedy, RemedyStep
from slimmer.gate.judge import DiveJudgement, judge
from slimmer.gate.limits import Limit, growth
from slimmer.gate.locations import SourceFile, SourceFiles
from slimmer.names import one_line, printable
from slimmer.report.comparison import Comparison
from slimmer.report.report import Report
from slimmer.report.rows import DirectoryRow, FileRow, HiddenRow, LayerRow, OwnerRow

MB, GB = 10**6, 10**9
ID = "sha256:" + "0123456789abcdef" * 4
OTHER = "sha256:" + "fedcba9876543210" * 4

REPORT = Report(
    reference="app:1.1",
    digest=ID,
    platform="linux/amd64",
    route="engine's folders",
    unpacked=8_486_573_307,
    rootfs=8_470_000_000,
    packed=3_000_000_000,
    overwritten=16_000_000,
    deleted=573_307,
    hidden=(HiddenRow(0, 1, "overwritten", 16_000_000, 3, (("var/cache/x", 16_000_000),)),),
    owners=(
        OwnerRow(
            "pip", "torch", "2.9.0", 1_773 * MB, 7_100 * MB, 9,
            {"device code": 1_000 * MB, "native libraries": 773 * MB}, {1: 1_773 * MB},
        ),
        OwnerRow("pip", "scipy", "1.16", 98 * MB, 98 * MB, 5, {"tests": 98 * MB}, {1: 98 * MB}),
        OwnerRow("deb", "gcc-12", "12.2", 60 * MB, None, 3, {"programs": 60 * MB}, {0: 60 * MB}),
    ),
    categories={"device code": 1_000 * MB, "native libraries": 773 * MB, "tests": 98 * MB},
    layers=(
        LayerRow(0, ID, ID, "RUN apt-get install gcc", 500 * MB, 200 * MB, 0, 0, None, 9),
        LayerRow(1, OTHER, OTHER, "RUN pip install -r requirements.txt", 7_986_573_307,
                 2_800 * MB, 0, 0, 61.5, 9),
    ),
    files=(FileRow("a/libtorch.so", 1_000 * MB, "pip:torch 2.9.0", "device code", 1, {}, None),),
    directories=(DirectoryRow("", 8_470_000_000, 9), DirectoryRow("a", 1_000 * MB, 1)),
    disputes=(),
    disputed=0,
    problems=("something odd",),
)  # fmt: skip
BEFORE = replace(
    REPORT,
    reference="app:1.0",
    digest=OTHER,
    unpacked=6_000_000_000,
    rootfs=5_990_000_000,
    owners=(
        replace(REPORT.owners[0], version="2.8.0", size=1_500 * MB),
        replace(REPORT.owners[2]),
        OwnerRow("pip", "six", "1.17", 33_000, None, 1, {"source": 33_000}, {1: 33_000}),
    ),
    directories=(DirectoryRow("", 5_990_000_000, 9),),
)
LIMITS = (
    Limit("image", 4 * GB, "unpacked", source="--max"),
    Limit("image", 9 * GB, "rootfs", source="Fly.io machines, 2026-11-01"),
    Limit("owner", 800 * MB, "torch", source="slimmer.toml: budget.owners.torch"),
    Limit("category", 0, "tests", source="slimmer.toml: budget.categories.tests"),
    Limit("layer", 1 * GB, source="slimmer.toml: budget.layer"),
    Limit("hidden", 0, source="slimmer.toml: budget.hidden", note="an odd note"),
    Limit("forbidden", 0, "gcc-*", source="slimmer.toml: budget.forbid"),
    growth("+5%", "unpacked", "--growth"),
)
SOURCE_FILES = SourceFiles(
    SourceFile(
        "docker/Dockerfile",
        "FROM python:3.11 AS base\n\nRUN apt-get \\\n  # comment\n  install gcc\n"
        "FROM base\nCOPY . .\nRUN pip install -r requirements.txt\n",
    ),
    (
        SourceFile(
            "requirements.txt", "# pins\nscipy==1.16\nTorch[x]>=2.9 ; python_version > '3'\n"
        ),
    ),
)
COMPARISON = Comparison.of(BEFORE, REPORT)
CACHES = RemedyStep("cache:pip", "package-manager-caches", "safe", 586_573_307, "nothing reads it")
DEVICE_CODE = RemedyStep("pip:torch 2.9.0", "device-code", "caution", 3_800_000_000, "keeps sm_90")
REMEDIES = (
    Remedy("safe", "unpacked", 4 * GB, REPORT.unpacked, 7_900 * MB, (CACHES,), 1, "safe"),
    Remedy("balanced", "unpacked", 4 * GB, REPORT.unpacked, 3_999_999_999,
             (CACHES, DEVICE_CODE), 289, "caution"),
)  # fmt: skip
SCORE = dive.Score(REPORT.unpacked, 0.9844212134184309, 32_025, 0.4834911001404049)
DIVE = tuple(
    DiveJudgement(rule, rule.value(SCORE), rule.value(dive.Score.true(REPORT)))
    for rule in dive.rules("rules:\n  highestWastedBytes: 1B\n  highestUserWastedPercent: 0.5", "x")
)
GATE = Gate(
    REPORT,
    replace(judge(LIMITS, REPORT, COMPARISON), dive=DIVE),
    COMPARISON,
    REMEDIES,
    "slimmer slim app:1.1 --max 4GB --policy balanced -t app:1.1-slim",
    ("a note",),
)
FITTING = Gate(REPORT, judge([Limit("image", 9 * GB, "unpacked", source="--max")], REPORT))

HOSTILE = [
    b"\x1b[31m\x1b]0;title\x07red",
    b"[bold red]markup[/] :smile: [link=file:///etc]x[/link]",
    b"two\nlines\r\tand more",
    b"a|b | c \\| d ||",
    b"`code` ``more`` `",
    b"<script>alert(1)</script><!-- -->&lt;b&amp; ]]>",
    b"@someone #1 https://example.org [x](1) {0} ![x](http://example.org/x.png)",
    "abc\u202etxt.exe\u2066\u200b\u2028x".encode(),
    b"\xff\xfe\x80 invalid",
    b"::error file=x,line=1::boo ##[error]boo",
    b"%0A::stop-commands::x,title=y",
    "文件" * 20 + "é",
    b"trailing backslash\\",
    b"-rf",
    b"x" * 4000,
]


def hostile(name: bytes | str) -> Gate:
    """A gate in which everything that comes from an image is this name."""
    shown = printable(name)
    row = replace(REPORT.owners[0], kind="pip", name=shown, version=shown, layers={0: 9})
    report = replace(
        REPORT,
        reference=shown,
        platform=shown,
        owners=(row, replace(row, size=1), replace(row, kind="deb", size=2)),
        layers=tuple(replace(layer, command=shown) for layer in REPORT.layers),
        problems=(shown,),
    )
    before = replace(report, reference=shown, owners=(replace(row, version="1", size=9),))
    comparison = Comparison.of(before, report)
    limits = [
        *LIMITS[:2],
        Limit("owner", 1, "*", source=shown),
        Limit("category", 1, one_line(shown), source=shown),
        Limit("layer", 1, source=shown, note=shown),
        Limit("forbidden", 0, "*", source=shown),
    ]
    step = RemedyStep(shown, shown, "safe", 5, shown)
    return Gate(
        report,
        replace(judge(limits, report, comparison), dive=DIVE),
        comparison,
        tuple(replace(remedy, policy=shown, largest=(step,)) for remedy in REMEDIES),
        f"slimmer slim {shown}",
        (shown,),
    )


def rendered(made: str) -> tuple[list[str], list[int]]:
    """Types of the tokens, and cells of each row, of a Markdown text."""
    types: list[str] = []
    cells: list[int] = []
    for token in MarkdownIt("commonmark").enable("table").enable("strikethrough").parse(made):
        types.append(token.type)
        if token.type == "tr_open":
            cells.append(0)
        elif token.type in ("td_open", "th_open"):
            cells[-1] += 1
        types += [child.type for child in token.children or ()]
    return types, cells


def schema(name: str, strict: bool = False) -> Any:
    published = json.loads(files("slimmer.formats").joinpath(name).read_text())
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
