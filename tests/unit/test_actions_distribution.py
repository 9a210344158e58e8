"""Python distributions that leave whole, and what holds them."""

from __future__ import annotations

from systems import SITE, distribution, facts, library, planned, proposed, system

from slimmer.actions import bookkeepers
from slimmer.actions.distribution import RemoveDistribution
from slimmer.policy import Rule, Safety, Selector


def rule(*owners: str, **options: object) -> Rule:
    return Rule(
        "unused",
        "remove-distribution",
        Safety.RISKY,
        "nobody needs it",
        Selector(owners=owners),
        options=tuple(sorted(options.items())),
    )


def outcome(image, *owners: str, **options: object) -> tuple[list[str], dict[str, str]]:
    steps, refusals = proposed(RemoveDistribution(), image, rule(*owners, **options))
    return (
        [step.target for step in steps],
        {refusal.target: refusal.evidence for refusal in refusals},
    )


BASE = distribution("base", {"base/__init__.py": b"1"})


def test_it_leaves_with_everything():
    info = f"{SITE}/base-1.0.dist-info"
    record = BASE[f"{info}/RECORD"] + b"../../../bin/base,,\nbase-1.0.dist-info/LICENSE,,\n"
    files = {
        **BASE,
        f"{info}/RECORD": record,
        f"{info}/LICENSE": b"MIT",
        f"{SITE}/base/__pycache__/__init__.cpython-311.pyc": b"code",
        "usr/bin/base": b"#!/usr/bin/python3\n",
        f"{SITE}/other.py": b"",
    }
    image = facts(files)
    plan = planned(image, RemoveDistribution(), rule("pip:base"), bookkeepers())

    left = {path.decode() for path, header in plan.changes.after.visible.items() if header.size}
    assert left == set()
    assert f"{SITE}/other.py".encode() in plan.changes.after.visible
    assert plan.after.unpacked == plan.before.unpacked - plan.steps[0].unpacked


def test_nothing_that_stays_may_require_it():
    top = distribution("top", {"top/x.py": b"2"}, requires=["base"])

    assert outcome(facts({**BASE, **top}), "pip:base") == (
        [],
        {"pip:base 1.0": "pip:top 1.0 requires it"},
    )
    assert outcome(facts({**BASE, **top}), "pip:base", "pip:top") == (
        ["pip:base 1.0, pip:top 1.0"],
        {},
    )
    assert outcome(facts({**BASE, **top}), "pip:top", closure=True)[0] == [
        "pip:base 1.0, pip:top 1.0"
    ]


def test_nothing_that_stays_may_import_it():
    user = {"app/main.py": b"import json\nfrom base import x\n"}
    image = facts({**BASE, **user})

    assert outcome(image, "pip:base") == ([], {"pip:base 1.0": "app/main.py:2 imports base.x"})
    assert outcome(image, "pip:base", ignore=["/app/"]) == (["pip:base 1.0"], {})


def test_a_part_of_a_shared_namespace_is_told_from_the_others():
    one = distribution("ns-one", {"ns/one/a.py": b"1"})
    two = distribution("ns-two", {"ns/two/a.py": b"2"})
    user = {"app/main.py": b"import ns.one.a\n"}
    image = facts({**one, **two, **user})

    assert outcome(image, "pip:ns-two") == (["pip:ns-two 1.0"], {})
    assert outcome(image, "pip:ns-one")[0] == []


def test_no_elf_file_may_lose_a_library_of_it():
    libs = distribution("base", {"base.libs/libx.so.1": library(soname="libx.so.1")})
    needing = {f"{SITE}/other.so": library("libx.so.1")}
    opening = {f"{SITE}/other.so": library(more=b"\0libx.so\0")}

    assert outcome(facts({**libs, **needing}), "pip:base")[1] == {
        "pip:base 1.0": f"{SITE}/other.so links libx.so.1"
    }
    assert outcome(facts({**libs, **opening}), "pip:base")[1] == {
        "pip:base 1.0": f"{SITE}/other.so names libx.so"
    }


def test_what_the_user_keeps_stays_but_names_of_parts_hold_no_whole():
    held = system(BASE, keep_owners=["pip:base"])
    file = system(BASE, keep=[f"/{SITE}/base/__init__.py"])
    parts = system(BASE, keep=["*.dist-info/", "testing/"])

    assert outcome(held, "pip:base")[1] == {"pip:base 1.0": "the policy keeps it"}
    assert outcome(file, "pip:base")[0] == []
    assert outcome(parts, "pip:base")[0] == ["pip:base 1.0"]


def test_a_file_that_another_distribution_claims_stays():
    shared = {"shared.py": b"both"}
    one = distribution("one", {"one/a.py": b"1", **shared})
    two = distribution("two", {"two/a.py": b"2", **shared})
    image = facts({**one, **two})

    def gone(*owners: str) -> bool:
        plan = planned(image, RemoveDistribution(), rule(*owners))
        return f"{SITE}/shared.py".encode() in plan.changes.removed

    assert [False, False, True] == [gone("one"), gone("two"), gone("one", "two")]


def test_a_rule_that_names_nobody_takes_nobody():
    assert outcome(facts(BASE)) == ([], {})
