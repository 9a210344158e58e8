"""Pages to hold the HTML format by: the sample image's, and one of which every name is hostile."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

from tiny import image, layer

import slimmer
from slimmer.attribution import Attribution, Claim, Owner
from slimmer.elf.contents import look
from slimmer.evidence import Evidence
from slimmer.formats import html
from slimmer.gate.gate import Remedy, RemedyStep
from slimmer.gate.judge import Ruling, judge
from slimmer.gate.limits import Limit
from slimmer.index import Index
from slimmer.names import one_line
from slimmer.report.comparison import Comparison
from slimmer.report.report import Report
from slimmer.report.tree import Tree

SMALL = Path(__file__).parents[1] / "sample_images/small.tar"

HOSTILE = (
    b"<script>alert(1)</script>",
    b"</script><script>alert(2)</script><!--",
    b"<img src=x onerror=alert(3)>\"'><svg onload=alert(4)>",
    b"<b>bold</b><br><i>x</i><sup>2</sup>",
    b'<a href="javascript:alert(5)">link</a><a href="https://example.org/">x</a>',
    b"&lt;b&gt; &amp;amp; &#60;script&#62; &times;",
    b"$\\alpha$ %{label} %{text} {{x}} ${alert(6)} `x`",
    b"__proto__",
    b"constructor",
    b"toString",
    b"\x1b[31m\x1b]0;title\x07red",
    b"two\nlines\r\tand\x00more".replace(b"\x00", b""),
    "abc\u202etxt.exe\u2066\u200b\u2028x".encode(),
    b"\xff\xfe\x80 invalid",
    "文件".encode() * 20,
    b"n17",
    b"y" * 180,
)
MARKS = (
    "<script>",
    "<b>bold",
    "&lt;b&gt;",
    "__proto__",
    "%{label}",
    "\\u202e",
    "\\xff",
    "\\x1b[31m",
)
"""What a person must see of them."""


@dataclass(frozen=True)
class Says:
    """A rule that claims what the test tells it to."""

    claimed: tuple[Claim, ...]
    globs: tuple[tuple[str, int], ...] = ()

    def claims(self, index: Index) -> tuple[Claim, ...]:
        return self.claimed


@cache
def small() -> tuple[Report, Tree]:
    """The sample image."""
    index = Index.scan(slimmer.open(str(SMALL)), slimmer.owners.evidence())
    ledger = Attribution.of(index, slimmer.owners.default, look(index, False))
    report = Report.of(ledger, slimmer.DependencyGraph.of(ledger))
    report = replace(report, reference="sample_images/small.tar")
    return report, Tree.of(report, ledger)


@cache
def hostile() -> tuple[Report, Tree]:
    """An image of which every name is hostile: owners, folders, files, commands, problems."""
    names = [name.decode("utf-8", "surrogateescape") for name in HOSTILE]
    flat = [name.replace("/", "") for name in names]
    files: dict[str, bytes | None] = {}
    for number, name in enumerate(flat):
        files[f"{number}/{name}/{name}"] = b"x" * (4000 - 100 * number)
        files[f"{number}/{name}/{name}.py"] = b"y" * (900 + number)
        files[f"{number}/more/{name}.so"] = b"z" * 800
    commands = [f"RUN {' '.join(names[:9])}", *names[9:12]]
    tars = [layer(files), layer({"0/more/x": b"new"}, removed=["1/more"]), layer({}), layer({})]
    claims = tuple(
        Claim(Owner("pip", name, flat[number]), "RECORD", trees=(str(number).encode(),))
        for number, name in enumerate(names)
    )
    index = Index.scan(image(*tars, created_by=commands), Evidence([]))
    ledger = Attribution.of(index, [Says(claims)])
    report = Report.of(ledger)
    told = one_line(" ".join(names))
    report = replace(report, reference=told, route=told, problems=(told,))
    return report, Tree.of(report, ledger)


def grown(report: Report) -> Comparison:
    """A report beside the one of a smaller image before it."""
    owners = tuple(replace(row, size=row.size * 3 // 4) for row in report.owners[2:])
    rootfs = sum(row.size for row in owners)
    before = replace(
        report, owners=owners, rootfs=rootfs, digest="sha256:" + "0" * 64, layers=report.layers[:-1]
    )
    return Comparison.of(before, report)


def ruled(report: Report) -> Ruling:
    """Limits on a report, some of them broken."""
    limits = (
        Limit("image", report.unpacked * 4 // 5, "unpacked", source="--max", note="a <b>note</b>"),
        Limit("image", report.rootfs * 2, "rootfs", source="--max"),
        Limit("category", 0, "source", source="slimmer.toml"),
        Limit("hidden", 10**9, source="slimmer.toml"),
    )
    return judge(limits, report, grown(report))


def remedy(report: Report) -> Remedy:
    """Steps that name the largest owners."""
    largest = tuple(
        RemedyStep(row.label, f"rule-{number}", "safe", row.size // 2, "two files <b>")
        for number, row in enumerate(report.owners[:4])
    )
    saved = sum(step.saves for step in largest)
    unpacked = report.unpacked
    return Remedy(
        *("balanced", "unpacked", unpacked * 4 // 5, unpacked, unpacked - saved, largest),
        steps=len(largest),
        safety="safe",
    )


def page(made: tuple[Report, Tree], *, gate: bool = True) -> str:
    """A page with all that it can have."""
    report, tree = made
    if not gate:
        return html.render(report, tree)
    return html.render(
        report,
        tree,
        comparison=grown(report),
        ruling=ruled(report),
        remedies=(remedy(report),),
        command=f"slimmer slim '{report.reference}' --max 4GB",
        notes=(report.reference, "a note"),
    )
