"""Files that leave by rule, and the guards that hold some of them."""

from __future__ import annotations

import json

import pytest
from systems import SITE, distribution, facts, library, planned, proposed, system

from slimmer.actions import bookkeepers
from slimmer.actions.remove import Remove
from slimmer.plan.proposals import Ask
from slimmer.plan.protection import Protection
from slimmer.policy import Globs, Rule, Safety, Selector

LIB = "usr/lib/x86_64-linux-gnu"


def rule(*paths: str, guards: tuple[str, ...] = (), owners: tuple[str, ...] = ()) -> Rule:
    selector = Selector(paths=Globs(paths), owners=owners)
    return Rule("some", "remove", Safety.SAFE, "nobody reads it", selector, guards)


def test_there_is_a_step_for_each_owner():
    files = {
        **distribution("one", {"one/tests/a.py": b"1" * 10, "one/b.py": b""}),
        **distribution("two", {"two/tests/a.py": b"2" * 20, "two/b.py": b""}),
    }
    steps, refusals = proposed(Remove(), facts(files), rule("tests/"))

    assert {(step.target, step.unpacked, len(step.removes)) for step in steps} == {
        ("pip:one 1.0", 10, 1),
        ("pip:two 1.0", 20, 1),
    }
    assert refusals == []


def test_tests_that_something_imports_stay_with_the_evidence():
    package = {"pkg/tests/__init__.py": b"#", "pkg/__init__.py": b"from .tests import x"}
    package["pkg/tests/test_b.py"] = b""
    other = {"other/tests/test_a.py": b"# tests", "other/__init__.py": b""}
    image = facts({**distribution("pkg", package), **distribution("other", other)})
    steps, refusals = proposed(Remove(), image, rule("tests/", guards=("nothing-imports",)))

    assert [step.removes for step in steps] == [(f"{SITE}/other/tests/test_a.py".encode(),)]
    [refusal] = refusals
    assert refusal.target == f"{SITE}/pkg/tests"
    assert refusal.evidence == f"{SITE}/pkg/__init__.py:1 imports .tests"
    assert (refusal.guard, refusal.size) == ("nothing-imports", 1)


def test_a_library_that_is_needed_stays_and_what_it_needs_too():
    files = {
        "program.so": library("liba.so"),
        f"{LIB}/liba.so": library("libb.so"),
        f"{LIB}/libb.so": library(),
        f"{LIB}/libc.so": library("libd.so"),
        f"{LIB}/libd.so": library(),
    }
    steps, refusals = proposed(
        Remove(), facts(files), rule("/usr/lib/**/*.so", guards=("nothing-links",))
    )

    assert {path for step in steps for path in step.removes} == {
        f"{LIB}/libc.so".encode(),
        f"{LIB}/libd.so".encode(),
    }
    assert {(refusal.target, refusal.evidence) for refusal in refusals} == {
        (f"{LIB}/liba.so", "program.so links liba.so"),
        (f"{LIB}/libb.so", f"{LIB}/liba.so links libb.so"),
    }


def test_a_static_library_stays_where_a_linker_would_take_it():
    static = {f"{LIB}/libx.a": b"x" * 9, f"{LIB}/libx.so": b"", f"{LIB}/libonly.a": b"y" * 5}
    guard = ("nothing-links",)
    without, none = proposed(Remove(), facts(static), rule("*.a", guards=guard))
    linker = facts({**static, "usr/bin/x86_64-linux-gnu-ld.bfd": b"ld"})
    steps, [refusal] = proposed(Remove(), linker, rule("*.a", guards=guard))

    assert (14, []) == (sum(step.unpacked for step in without), none)
    assert 9 == sum(step.unpacked for step in steps)
    assert refusal.target == f"{LIB}/libonly.a"
    assert "x86_64-linux-gnu-ld.bfd links" in refusal.evidence


def test_files_of_what_is_required_stay():
    files = {
        **distribution("base", {"base/x.py": b"1"}),
        **distribution("top", {"top/x.py": b"2"}, requires=["base"]),
    }
    image = facts(files)
    steps, refusals = proposed(Remove(), image, rule("*.py", guards=("nothing-requires",)))
    assert {refusal.evidence for refusal in refusals} == set()  # both leave

    only = rule("*.py", guards=("nothing-requires",), owners=("pip:base",))
    steps, [refusal] = proposed(Remove(), image, only)
    assert ([], "pip:top 1.0 requires it") == (steps, refusal.evidence)


@pytest.mark.parametrize(
    ("path", "leaves"),
    [
        ("pkg/__pycache__/with.cpython-311.pyc", True),
        ("pkg/__pycache__/without.cpython-311.pyc", False),
        ("pkg/__pycache__/without.cpython-311.opt-2.pyc", True),
        ("pkg/alone.pyc", False),
        ("pkg/with.pyc", True),
    ],
)
def test_bytecode_leaves_only_if_its_source_stays(path: str, leaves: bool):
    image = facts({"pkg/with.py": b"1", path: b"code"})
    wanted = rule("*.pyc", guards=("source-stays",))
    ask = Ask(image, wanted)
    asked = ask([path.encode()])

    assert leaves == (asked.free == (path.encode(),))
    assert leaves == (not ask.refusals)


def test_source_and_bytecode_together_are_not_bytecode_whose_source_stays():
    image = facts({"pkg/with.py": b"1", "pkg/__pycache__/with.cpython-311.pyc": b"code"})
    wanted = rule("pkg/", guards=("source-stays",))
    asked = Ask(image, wanted)(Protection(image).selected(wanted.selector))

    assert asked.free == (b"pkg/with.py",)


def test_licences_and_what_the_policy_keeps_stay():
    files = {"opt/x/LICENSE.txt": b"l", "opt/x/NOTICE": b"n", "opt/x/a": b"a", "opt/x/b": b"b"}
    steps, _ = proposed(Remove(), system(files, keep=["opt/x/b"]), rule("/opt/"))

    assert [step.removes for step in steps] == [(b"opt/x/a",)]


def test_no_symlink_loses_its_target():
    files = {"opt/doc/a": b"a", "opt/doc/b": b"b", "opt/doc/c": b"c", "usr/man/d": b"d"}
    links = {
        "etc/a": "/opt/doc/a",
        "etc/alternatives/b": "/opt/doc/b",
        "opt/doc/inside": "c",
        "srv/docs": "/usr/man",
    }
    image = facts(files, symlinks=links)
    steps, refusals = proposed(Remove(), image, rule("/opt/doc/", "/usr/man/"))

    gone = {path for step in steps for path in step.removes}
    assert gone == {b"opt/doc/b", b"opt/doc/c", b"opt/doc/inside", b"etc/alternatives/b"}
    assert {(refusal.target, refusal.evidence) for refusal in refusals} == {
        ("opt/doc/a", "etc/a leads to it"),
        ("usr/man", "srv/docs leads to it"),
    }


def test_a_symlink_on_the_way_of_one_that_stays_stays():
    links = {"etc/a": "/opt/doc/way", "opt/doc/way": "/srv/a"}
    steps, _ = proposed(
        Remove(), facts({"srv/a": b"a", "opt/doc/b": b"b"}, symlinks=links), rule("/opt/doc/")
    )

    assert [step.removes for step in steps] == [(b"opt/doc/b",)]


def test_a_symlink_is_part_of_the_step_that_takes_its_target():
    files = distribution("one", {"one/man/a.1": b"a" * 10})
    links = {
        "usr/man/a.1": "/etc/alternatives/a",
        "etc/alternatives/a": f"/{SITE}/one/man/a.1",
        "opt/man": f"/{SITE}/one/man",
    }
    [step], _ = proposed(Remove(), facts(files, symlinks=links), rule("man/"))

    assert (step.target, step.unpacked) == ("pip:one 1.0", 10)
    assert {path.decode() for path in step.removes} == {f"{SITE}/one/man/a.1", *links}


def test_bytes_of_a_linked_file_leave_with_its_last_name():
    image = facts({"a": b"x" * 10}, links={"b": "a", "c": "a"})

    assert [0, 0, 10] == [
        image.freed(names) for names in ([b"a"], [b"a", b"b"], [b"a", b"b", b"c"])
    ]


def test_steps_promise_what_the_settled_plan_holds():
    files = distribution("one", {"one/tests/a.py": b"1" * 1000, "one/b.py": b""})
    image = facts(files)
    plan = planned(image, Remove(), rule("tests/"), bookkeepers())

    record = f"{SITE}/one-1.0.dist-info/RECORD".encode()
    row = len(f"one/tests/a.py,{'s' * 50},1000\n")
    assert plan.changes.after.visible[record].size == image.index.visible[record].size - row
    assert plan.after.unpacked == plan.before.unpacked - 1000 - row
    assert not any(b"/tests" in path for path in plan.changes.after.visible)


def test_a_plan_file_brings_the_same_step_back():
    image = facts({"opt/a": b"1", "opt/b": b"2"})
    plan = planned(image, Remove(), rule("/opt/"))
    again = type(plan).read(plan.to_json(), image, {"remove": Remove()}, ())

    assert again.changes.removed == plan.changes.removed
    assert json.loads(plan.to_json())["steps"] == json.loads(again.to_json())["steps"]


def test_links_of_alternatives_hold_nothing_that_they_lead_to():
    image = facts(
        {f"{LIB}/openblas/libopenblas.a": b"x" * 10},
        symlinks={
            f"{LIB}/libopenblas.a": "/etc/alternatives/libopenblas.a",
            "etc/alternatives/libopenblas.a": f"/{LIB}/openblas/libopenblas.a",
        },
    )
    steps, refusals = proposed(Remove(), image, rule(f"/{LIB}/openblas/*.a"))

    assert not refusals
    assert {path for step in steps for path in step.removes} == {
        f"{LIB}/openblas/libopenblas.a".encode(),
        f"{LIB}/libopenblas.a".encode(),
        b"etc/alternatives/libopenblas.a",
    }
