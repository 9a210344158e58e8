"""Who depends on whom decides which Debian packages leave together."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from systems import debian, facts, library, package, planned, proposed

from slimmer.actions.debian.remove import RemoveDebianPackage
from slimmer.policy import Rule, Safety, Selector

if TYPE_CHECKING:
    from slimmer.plan.plan import Plan

LIB = "usr/lib/x86_64-linux-gnu"


def rule(*owners: str) -> Rule:
    selector = Selector(owners=owners)
    return Rule("build", "remove-debian-package", Safety.CAUTION, "nothing builds here", selector)


def outcome(image, *owners: str) -> tuple[list[set[str]], dict[str, str]]:
    """Packages by step, and the evidence for those that stay."""
    steps, refusals = proposed(RemoveDebianPackage(), image, rule(*owners))
    return (
        [set(dict(step.options)["packages"]) for step in steps],
        {refusal.target: refusal.evidence for refusal in refusals},
    )


GCC = package("gcc", {"usr/bin/gcc": b"gcc"}, "cpp, libmpc3 (>= 1.1), libgomp1")


CPP = package("cpp", {"usr/bin/cpp": b"cpp"}, automatic=True)


MPC = package("libmpc3", {f"{LIB}/libmpc.so.3": library()}, "libgmp10", automatic=True)


GMP = package("libgmp10", {f"{LIB}/libgmp.so.10": library()}, automatic=True)


GOMP = package("libgomp1", {f"{LIB}/libgomp.so.1": library()}, automatic=True)


TOOLS = (GCC, CPP, MPC, GMP, GOMP)


def test_a_package_leaves_with_what_apt_brought_for_it():
    assert outcome(facts(debian(*TOOLS)), "deb:gcc") == (
        [{"gcc", "cpp", "libmpc3", "libgmp10", "libgomp1"}],
        {},
    )


def test_what_somebody_asked_for_stays():
    asked = package("libgmp10", {f"{LIB}/libgmp.so.10": library()})

    assert outcome(facts(debian(GCC, CPP, MPC, asked, GOMP)), "deb:gcc")[0] == [
        {"gcc", "cpp", "libmpc3", "libgomp1"}
    ]


@pytest.mark.parametrize(
    ("depends", "stays"),
    [
        ({"depends": "libgmp10"}, {"libgmp10"}),
        ({"depends": "no-such | libgmp10 (>= 2)"}, {"libgmp10"}),
        ({"recommends": "libmpc3"}, {"libmpc3", "libgmp10"}),
        ({"depends": "libc-compiler"}, {"cpp"}),
    ],
)
def test_what_a_package_that_stays_wants_stays(depends: dict[str, str], stays: set[str]):
    cpp = package("cpp", {"usr/bin/cpp": b"cpp"}, provides="libc-compiler (= 1)", automatic=True)
    other = package("other", {"usr/bin/other": b"x"}, **depends)
    image = facts(debian(GCC, cpp, MPC, GMP, GOMP, other))

    [left] = outcome(image, "deb:gcc")[0]
    assert left == {"gcc", "cpp", "libmpc3", "libgmp10", "libgomp1"} - stays


def test_a_selected_package_that_another_depends_on_is_refused_with_who_does():
    other = package("other", {"usr/bin/other": b"x"}, "gcc | clang")
    image = facts(debian(*TOOLS, other))

    assert outcome(image, "deb:gcc") == ([], {"deb:gcc": "other depends on it"})
    assert outcome(image, "deb:gcc", "deb:other") == (
        [{"gcc", "other"} | {"cpp", "libmpc3", "libgmp10", "libgomp1"}],
        {},
    )


def test_of_alternatives_only_one_has_to_stay():
    clang = package("clang", {"usr/bin/clang": b"c"})
    other = package("other", {"usr/bin/other": b"x"}, "gcc | clang")

    assert outcome(facts(debian(*TOOLS, clang, other)), "deb:gcc")[1] == {}


@pytest.mark.parametrize("field", ["Essential: yes", "Priority: required", "Priority: important"])
def test_what_dpkg_holds_dear_stays(field: str):
    image = facts(debian(package("cc", {"usr/bin/cc": b"x"}, fields=field + "\n")))
    steps, told = outcome(image, "deb:cc")

    assert steps == []
    assert told.keys() == {"deb:cc"}


def test_packages_that_nothing_connects_are_steps_of_their_own():
    make = package("make", {"usr/bin/make": b"make"})

    assert outcome(facts(debian(*TOOLS, make)), "deb:gcc", "deb:make")[0] == [
        {"gcc", "cpp", "libmpc3", "libgmp10", "libgomp1"},
        {"make"},
    ]


def after(image, *owners: str) -> tuple[Plan, dict[bytes, bytes]]:
    """The plan, and the books of dpkg and apt as they will be."""
    plan = planned(image, RemoveDebianPackage(), rule(*owners))
    books: dict[bytes, bytes] = {}
    for edit, layer in zip(plan.changes.edits, image.index.layers, strict=True):
        starts = {header.start: header.path for header in layer.headers}
        for start, splice in edit.splices.items():
            path = starts[start]
            [(_, old)] = image.contents([path])
            parts = [old[piece.offset : piece.offset + piece.length] for piece in splice.pieces]
            books[path] = b"".join(parts)
    return plan, books


def test_a_file_that_two_packages_list_stays_with_the_other():
    shared = {"usr/share/both": b"both"}
    files = debian(
        package("one", {"usr/bin/one": b"1", **shared}),
        package("two", {"usr/bin/two": b"2", **shared}),
    )
    plan, _ = after(facts(files), "deb:one")
    assert b"usr/share/both" not in plan.changes.removed

    plan, _ = after(facts(files), "deb:one", "deb:two")
    assert b"usr/share/both" in plan.changes.removed
    assert len(plan.steps) == 1  # neither leaves it behind without the other
