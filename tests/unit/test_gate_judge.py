"""Limits are read without confusion, and judged by numbers that are known."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import gated
import pytest
import tiny
from gated import BEFORE, GB, MB, REPORT

from slimmer import owners
from slimmer.analysis.dependencies import DependencyGraph
from slimmer.analysis.facts import Facts
from slimmer.attribution import Attribution
from slimmer.categories import Category
from slimmer.errors import SlimmerError
from slimmer.evidence import Evidence
from slimmer.gate.gate import Gate, Remedy
from slimmer.gate.judge import Ruling, judge
from slimmer.gate.limits import (
    GateError,
    Limit,
    growth,
    limits_of,
    platforms,
    size_argument,
)
from slimmer.gate.locations import Location, SourceFile, SourceFiles
from slimmer.index import Index
from slimmer.plan.budget import Budget
from slimmer.plan.plan import Plan
from slimmer.plan.steps import Step
from slimmer.policy import Globs, Policy, Rule, Safety, shipped
from slimmer.report.comparison import Comparison

if TYPE_CHECKING:
    from slimmer.plan.remedies import Ask

    from slimmer.plan.protection import Protection


def judged(limit: Limit, **known: Any) -> Any:
    return judge([limit], REPORT, **known).judgements[0]


@pytest.mark.parametrize(
    ("text", "size"),
    [
        *[("4GB", 4_000_000_000), ("4GiB", 4_294_967_296), ("4 GB", 4_000_000_000)],
        *[("4gb", 4_000_000_000), ("4gib", 4_294_967_296), ("1MB", 10**6), ("1MiB", 1 << 20)],
        *[("512kB", 512_000), ("512KiB", 524_288), ("1.5GB", 1_500_000_000), ("7B", 7)],
    ],
)
def test_decimal_and_binary_sizes_are_never_confused(text: str, size: int):
    (limit,) = limits_of({"max": text}, "s.toml: x")
    exactly = replace(REPORT, unpacked=size)
    over = replace(REPORT, unpacked=size + 1)

    assert size == limit.maximum
    assert judge([limit], exactly).fits
    assert not judge([limit], over).fits
    assert limit == limits_of({"max": size_argument(size)}, "s.toml: x")[0]


@pytest.mark.parametrize("text", ["4G", 4, 4.0, True, "4 GBB", "-4GB", "", "4,000MB"])
def test_sizes_that_could_mean_two_things_are_refused(text: object):
    with pytest.raises(SlimmerError, match=r"expected a size such as .* in 's\.toml: x\.max'"):
        limits_of({"max": text}, "s.toml: x")


@pytest.mark.parametrize(
    ("size", "text"),
    [
        *[(4 * GB, "4GB"), (4 << 30, "4GiB"), (10**12, "1TB"), (1_234_567, "1234567B")],
        *[(1024, "1KiB"), (1000, "1kB"), (1, "1B"), (0, "0B"), (4 * GB + 1, "4000000001B")],
    ],
)
def test_a_size_as_an_argument_is_exact_and_short(size: int, text: str):
    assert text == size_argument(size)


def test_a_limit_is_the_most_that_fits():
    assert judged(Limit("image", REPORT.unpacked, "unpacked")).fits
    assert not judged(Limit("image", REPORT.unpacked - 1, "unpacked")).fits


@pytest.mark.parametrize(
    ("limit", "actual"),
    [
        (Limit("image", 0, "unpacked"), REPORT.unpacked),
        (Limit("image", 0, "rootfs"), REPORT.rootfs),
        (Limit("image", 0, "packed"), 3 * GB),
        (Limit("owner", 0, "torch"), 1_773 * MB),
        (Limit("owner", 0, "pip:*"), 1_871 * MB),
        (Limit("owner", 0, "deb:torch"), 0),
        (Limit("category", 0, "tests"), 98 * MB),
        (Limit("category", 0, "docs"), 0),
        (Limit("layer", 0), 7_986_573_307),
        (Limit("layer", 0, "packed"), 2_800 * MB),
        (Limit("hidden", 0), 16_573_307),
        (Limit("forbidden", 0, "gcc-*"), 60 * MB),
        (Limit("forbidden", 0, "cmake"), 0),
    ],
)
def test_each_kind_of_limit_bounds_its_own_number(limit: Limit, actual: int):
    assert actual == judged(limit).actual


def test_a_forbidden_owner_without_bytes_is_there_all_the_same():
    empty = replace(REPORT, owners=(replace(REPORT.owners[0], size=0),))

    assert not judge([Limit("forbidden", 0, "torch")], empty).fits


def test_a_judgement_says_whose_the_bytes_are():
    assert ("pip:torch 2.9.0", 1_773 * MB) == judged(Limit("image", 0, "unpacked")).because[0]
    assert (("pip:scipy 1.16", 98 * MB),) == judged(Limit("category", 0, "tests")).because
    assert () == judged(Limit("image", 0, "packed")).because


@pytest.mark.parametrize("limit", [Limit("image", 9 * GB, "packed"), Limit("layer", 9, "packed")])
def test_a_packed_size_that_is_not_known_is_never_estimated(limit: Limit):
    layers = tuple(replace(row, packed=None) for row in REPORT.layers)
    unknown = replace(REPORT, packed=None, layers=layers)

    with pytest.raises(GateError, match=r"packed size of app:1\.1 is not known") as caught:
        judge([limit], unknown)
    assert "--measure-packed" in caught.value.hint


def test_paths_are_asked_for_and_refused_where_nobody_knows():
    limit = Limit("path", 5, "*.md", source="x.paths")
    asked: list[tuple[str, ...]] = []

    def size_of(globs: Globs) -> int:
        asked.append(globs.patterns)
        return 6

    assert 1 == judged(limit, size_of=size_of).over
    assert [("*.md",)] == asked
    with pytest.raises(GateError, match=r"x\.paths: a saved report tells no size of '\*\.md'"):
        judged(limit)


@pytest.mark.parametrize(
    ("text", "maximum", "fits"),
    [
        ("+5%", 300 * MB, False),
        ("+41.5%", 2_490 * MB, True),
        ("41%", 2_460 * MB, False),
        ("+50MB", 50 * MB, False),
        ("+3GB", 3 * GB, True),
        ("+ 3 GB", 3 * GB, True),
        ("+0%", 0, False),
    ],
)
def test_growth_is_measured_against_the_baseline(text: str, maximum: int, fits: bool):
    found = judged(growth(text, "unpacked", "x"), comparison=Comparison.of(BEFORE, REPORT))

    assert (2_486_573_307, maximum, fits) == (found.actual, found.maximum, found.fits)
    assert ("pip:torch 2.8.0 → 2.9.0", 273 * MB) == found.because[0]


def test_what_shrank_fits():
    assert judge([growth("+0%", "unpacked", "x")], BEFORE, Comparison.of(REPORT, BEFORE)).fits


def test_growth_without_a_baseline_cannot_go_on():
    with pytest.raises(GateError, match="growth is measured against a baseline"):
        judged(growth("+5%", "unpacked", "x"))


@pytest.mark.parametrize("text", ["5", "5MB", "-5%", "+5", 5, "+5GBB", None])
def test_growth_that_is_none_is_refused(text: object):
    with pytest.raises(SlimmerError, match="x"):
        growth(text, "unpacked", "x")


def test_a_whole_budget_is_read_in_its_order():
    limits = limits_of(
        {
            "max": "4GB",
            "metric": "rootfs",
            "unpacked": "5GiB",
            "layer": "1GB",
            "hidden": 0,
            "growth": ["+5%", "+50MB"],
            "forbid": ["gcc-*"],
            "owners": {"torch": "800MB"},
            "categories": {"tests": 0, "caches": "0"},
            "paths": {"/opt/models/": "1GB"},
        },
        "slimmer.toml: budget",
    )

    assert [
        ("image", "rootfs", 4 * GB, "max"),
        ("image", "unpacked", 5 << 30, "unpacked"),
        ("layer", "", GB, "layer"),
        ("hidden", "", 0, "hidden"),
        ("growth", "rootfs", 0, "growth"),
        ("growth", "rootfs", 50 * MB, "growth"),
        ("forbidden", "gcc-*", 0, "forbid"),
        ("owner", "torch", 800 * MB, "owners.torch"),
        ("category", "tests", 0, "categories.tests"),
        ("category", "caches", 0, "categories.caches"),
        ("path", "/opt/models/", GB, "paths./opt/models/"),
    ] == [
        (
            limit.bounds,
            limit.target,
            limit.maximum,
            limit.source.removeprefix("slimmer.toml: budget."),
        )
        for limit in limits
    ]


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"maximum": "4GB"}, "s.toml: b: there is no key 'maximum'"),
        ({"max": "4GB", "metric": "size"}, "b.metric: expected one of unpacked, rootfs, packed"),
        ({"owners": ["torch"]}, "b.owners: expected a table, got"),
        ({"owners": {"torch": 5}}, "in 's.toml: b.owners.torch'"),
        ({"categories": {"test": 0}}, "b.categories: there is no category 'test'"),
        ({"categories": {"tests": False}}, "in 's.toml: b.categories.tests'"),
        ({"forbid": "gcc"}, "b.forbid: expected a list of owners, got 'gcc'"),
        ({"growth": "5"}, "b.growth: expected a growth such as"),
    ],
)
def test_what_a_budget_cannot_mean_names_its_key(table: dict[str, Any], message: str):
    with pytest.raises(SlimmerError) as caught:
        limits_of(table, "s.toml: b")
    assert message in caught.value.message


# Platforms


def test_the_shipped_platforms_are_sound():
    path = shipped() / "platforms.toml"
    known = platforms(path.read_text(encoding="utf-8"), path.name)

    assert {"railway", "fly", "lambda", "heroku", "vercel", "ecr", "ghcr"} <= known.keys()
    for platform in known.values():
        assert platform.limit.maximum > 0
        assert platform.title in platform.limit.source
        assert platform.date == "2026-11-01"
        assert platform.source
    assert ("rootfs", 8 * GB) == (known["fly"].limit.target, known["fly"].limit.maximum)
    assert 52_000 << 20 == known["ecr"].limit.maximum
    assert ("layer", "packed") == (known["ecr"].limit.bounds, known["ecr"].limit.target)


def test_a_metric_that_nobody_documents_is_the_larger_one_and_says_so():
    text = 'x = {title="X", limit="4 GB", metric="unclear", date=2026-11-01, source="page"}'
    limit = platforms(text, "p.toml")["x"].limit

    assert "unpacked" == limit.target
    assert "judged by the larger size" in limit.note


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x = {}", "p.toml: x: the key 'title' is missing"),
        (
            'x = {title="X", limit="4G", metric="rootfs", date=2026-11-01, source="p"}',
            "in 'p.toml: x.limit'",
        ),
        (
            'x = {title="X", limit="4GB", metric="size", date=2026-11-01, source="p"}',
            "p.toml: x.metric: expected a metric, layer or unclear, got 'size'",
        ),
        ("x = ", "p.toml: "),
    ],
)
def test_platforms_that_say_nothing_sound_name_the_key(text: str, message: str):
    with pytest.raises(SlimmerError) as caught:
        platforms(text, "p.toml")
    assert message in caught.value.message


# Ladders


class Dropping:
    """Proposes to drop what lies at the selected paths."""

    name = "remove"

    def propose(self, facts: Facts, protection: Protection, rule: Rule, ask: Ask):  # type: ignore[no-untyped-def]
        for path in protection.selected(rule.selector):
            size = facts.ledger.size_of[path]
            yield Step(
                rule.name, self.name, path.decode(), rule.safety, rule.why, "found",
                removes=(path,), unpacked=size, rootfs=size, disturbs=size,
            )  # fmt: skip

    def restore(self, facts: Facts, protection: Protection, step: Step) -> Step:
        return step


class Hiding(Dropping):
    """Proposes to drop what is hidden, which is in no merged tree."""

    name = "drop-hidden"

    def propose(self, facts: Facts, protection: Protection, rule: Rule, ask: Ask):  # type: ignore[no-untyped-def]
        yield Step(rule.name, self.name, "x", rule.safety, rule.why, unpacked=10, rootfs=0)


def planned(maximum: int, metric: Any = "unpacked") -> Plan:
    image = tiny.image(
        tiny.layer({"a": b"a" * 500, "b": b"b" * 300, "c": b"c" * 200}), tiny.layer({"d": b"d"})
    )
    index = Index.scan(image, Evidence([]))
    ledger = Attribution.of(index, owners.default)
    rules = (
        Rule("safe-ones", "remove", Safety.SAFE, "nobody reads it", _selecting("c")),
        Rule("bold-ones", "remove", Safety.RISKY, "few read it", _selecting("a", "b")),
        Rule("hidden", "drop-hidden", Safety.SAFE, "nobody sees it"),
    )
    policy = Policy("mine", rules, Globs(()), safety=Safety.RISKY)
    facts = Facts(ledger, DependencyGraph.of(ledger))
    actions = {"remove": Dropping(), "drop-hidden": Hiding()}
    return Plan.of(facts, policy, actions, (), Budget(maximum, metric))


def _selecting(*paths: str) -> Any:
    from slimmer.policy import Selector

    return Selector(paths=Globs(paths))


def test_a_ladder_tells_the_least_risky_steps_and_survives_the_cache():
    remedy = Remedy.of(planned(600), "mine")

    assert [("c", "safe", 200), ("b", "risky", 300)] == [
        (step.target, step.safety, step.saves) for step in remedy.largest if step.rule != "hidden"
    ]
    assert ("risky", True) == (remedy.safety, remedy.fits)
    assert remedy == Remedy.read(remedy.to_json())


def test_a_plan_for_rootfs_that_cannot_fit_ends():
    # Steps that save nothing of rootfs once kept the solver asking for ever.
    remedy = Remedy.of(planned(0, "rootfs"), "mine")

    assert not remedy.fits
    assert 1 == remedy.after


def test_the_best_ladder_is_the_first_that_fits_or_comes_closest():
    first, second = gated.REMEDIES
    ruling = Ruling(())

    assert second == Gate(REPORT, ruling, remedies=(first, second)).best
    assert first == Gate(REPORT, ruling, remedies=(first, replace(first, policy="x"))).best
    assert None is Gate(REPORT, ruling).best


# SourceFiles

DOCKERFILE = SourceFile(
    "Dockerfile",
    """\
# syntax=docker/dockerfile:1
FROM python:3.11 AS build
RUN pip wheel .
FROM debian
ARG X=1
RUN apt-get update && \\
    # why
    apt-get install x
COPY --from=build /wheels /wheels
run pip wheel .
""",
)


@pytest.mark.parametrize(
    ("command", "line"),
    [
        ("RUN apt-get update && apt-get install x", 6),
        ("RUN apt-get update &&     apt-get install x", 6),
        ("COPY ... /wheels", 9),
        ("COPY --from=build /wheels /wheels", 9),
        ("RUN pip wheel .", 10),  # the last stage wins, however it spells RUN
        ("ADD rootfs.tar.xz /", 4),
        ("", 4),
    ],
)
def test_a_layer_points_to_what_made_it_or_to_the_last_base(command: str, line: int):
    layers = (replace(REPORT.layers[0], command=command),)

    found = SourceFiles(DOCKERFILE).layer(0, replace(REPORT, layers=layers))
    assert Location("Dockerfile", line) == found


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("torch", 1),
        ("# torch\n\nTorch==2.9", 3),
        ("torchvision\ntorch-scatter\ntorch ; x", 3),
        ("torch[opt]>=2 # why\n", 1),
        ("-r base.txt\ntorch @ https://x", 2),
        ("torchvision", None),
    ],
)
def test_a_distribution_points_to_its_requirement(text: str, line: int | None):
    found = SourceFiles(None, (SourceFile("r.txt", text),)).owner(REPORT.owners[0], REPORT)

    assert (None if line is None else Location("r.txt", line)) == found


def test_every_category_can_be_bounded():
    limits_of({"categories": {category.value: 0 for category in Category}}, "s.toml: x")
