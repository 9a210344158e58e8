"""Guards are asked in one place: what they hold stays, what they doubt has a step of its own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from systems import (
    SITE,
    debian,
    distribution,
    facts,
    library,
    package,
    planned,
    proposed,
    system,
)
from thorough import examples

from slimmer import actions
from slimmer.plan.budget import PlanError
from slimmer.plan.guards import GUARDS, Finding
from slimmer.plan.proposals import Ask, Proposals
from slimmer.plan.protection import Protection
from slimmer.plan.steps import Step
from slimmer.policy import Globs, Rule, Safety, Selector

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from slimmer.analysis.facts import Facts


def rule(*guards: str, action: str = "remove", safety: Safety = Safety.SAFE, **match: Any) -> Rule:
    return Rule("r", action, safety, "nobody reads it", Selector(**match), guards, "a figure")


@pytest.fixture
def guard(monkeypatch: pytest.MonkeyPatch):
    """Adds a guard that tells the given findings: path → (path that it is needed by, doubt)."""

    def add(name: str, needs: Mapping[str, tuple[str, bool]]) -> list[tuple[bytes, ...]]:
        asked: list[tuple[bytes, ...]] = []

        def told(facts: Facts, rule: Rule, paths: Sequence[bytes]) -> Iterator[Finding]:
            asked.append(tuple(paths))
            for path, (by, doubt) in needs.items():
                if path.encode() in paths and by.encode() not in paths:
                    yield Finding(path, f"{by} names it", (path.encode(),), doubt)

        monkeypatch.setitem(GUARDS, name, told)
        return asked

    return add


FILES = {"opt/a": b"a" * 10, "opt/b": b"b" * 20, "opt/c": b"c" * 40}


def test_what_a_guard_holds_stays_and_is_refused_with_the_evidence(guard: Any):
    guard("g", {"opt/a": ("etc/conf", False)})
    [step], [refusal] = proposed(actions.default()["remove"], facts(FILES), rule("g"))

    assert (b"opt/b", b"opt/c") == step.removes
    assert ("opt/a", "g", "etc/conf names it", 10) == (
        *(refusal.target, refusal.guard, refusal.evidence, refusal.size),
    )


def test_what_a_guard_doubts_leaves_in_a_step_of_its_own_with_caution_and_the_evidence(guard: Any):
    guard("g", {"opt/a": ("etc/conf", True)})
    steps, refusals = proposed(actions.default()["remove"], facts(FILES), rule("g"))

    assert [] == refusals
    assert {
        "unowned": (Safety.SAFE, (b"opt/b", b"opt/c"), "a figure"),
        "unowned (in doubt)": (
            *(Safety.CAUTION, (b"opt/a",), "opt/a: etc/conf names it; a figure"),
        ),
    } == {step.target: (step.safety, step.removes, step.evidence) for step in steps}


def test_doubt_makes_no_step_safer_than_its_rule(guard: Any):
    guard("g", dict.fromkeys(FILES, ("etc/conf", True)))
    [step], _ = proposed(actions.default()["remove"], facts(FILES), rule("g", safety=Safety.RISKY))

    assert Safety.RISKY is step.safety


def test_what_only_the_doubted_need_is_in_doubt_with_them(guard: Any):
    guard("g", {"opt/a": ("etc/conf", True), "opt/b": ("opt/a", False)})
    steps, _ = proposed(actions.default()["remove"], facts(FILES), rule("g"))

    # Without the doubted step opt/a stays and needs opt/b.
    assert {(b"opt/a", b"opt/b"), (b"opt/c",)} == {step.removes for step in steps}


def test_what_one_guard_holds_another_one_hears_of(guard: Any):
    guard("one", {"opt/b": ("opt/a", False)})
    guard("two", {"opt/a": ("etc/conf", False)})
    [step], refusals = proposed(actions.default()["remove"], facts(FILES), rule("one", "two"))

    assert (b"opt/c",) == step.removes
    assert {"opt/a", "opt/b"} == {refusal.target for refusal in refusals}


def test_a_rule_without_guards_asks_nobody(guard: Any):
    asked = guard("g", {})
    proposed(actions.default()["remove"], facts(FILES), rule())

    assert [] == asked


def test_a_set_of_paths_stays_whole_and_is_refused_once(guard: Any):
    guard("g", {"opt/a": ("etc/conf", False), "opt/b": ("etc/conf", False)})
    image = facts(FILES)
    ask = Ask(image, rule("g"))
    asked = ask([b"opt/a", b"opt/b", b"opt/c"], {"ab": (b"opt/a", b"opt/b")})

    assert (b"opt/c",) == asked.free
    assert [("ab", "opt/a: etc/conf names it", 30)] == [
        (refusal.target, refusal.evidence, refusal.size) for refusal in ask.refusals
    ]


@dataclass(frozen=True)
class Deaf:
    """An action that asks no guard."""

    name: str = "remove"

    def propose(self, facts, protection, rule, ask):  # type: ignore[no-untyped-def]
        yield Step(rule.name, self.name, "x", rule.safety, rule.why, unpacked=1, rootfs=1)

    def restore(self, facts, protection, step):  # type: ignore[no-untyped-def]
        return step


def test_an_action_that_would_ignore_the_guards_of_a_rule_is_an_error():
    held = Protection(facts(FILES))
    deaf = Proposals(held.facts, {"remove": Deaf()})

    assert deaf.of(rule(), held)
    with pytest.raises(PlanError, match="asks no guard"):
        deaf.of(rule("nothing-imports"), held)


def test_a_question_is_answered_once_for_several_policies(guard: Any):
    asked = guard("g", {})
    held = system(FILES)
    known = Proposals(held.facts, actions.default())

    assert known.of(rule("g"), held) is known.of(rule("g"), Protection(held.facts))
    assert 1 == len(asked)
    assert known.of(rule("g"), Protection(held.facts, Globs(["/opt/a"]))) != ()
    assert 2 == len(asked), "what another policy keeps is another question"


PAIR = {
    **distribution("one", {"one/a.py": b"1" * 100}),
    **distribution("two", {"two/b.py": b"2" * 200}, requires=["one"]),
}
TWINS = {"opt/x": b"t" * 20000, "opt/y": b"t" * 20000, "opt/z": b"t" * 20000}
CODE = {"opt/m.py": b"1", "opt/__pycache__/m.cpython-311.pyc": b"p" * 500}
MAKE = debian(package("make", {"usr/bin/make": b"m" * 300}, "libmake1"),
              package("libmake1", {"usr/lib/libmake.so.1": library()}, automatic=True))  # fmt: skip

ASKING = [
    ("remove", FILES, {"paths": Globs(["/opt/"])}, "opt/a"),
    ("remove-distribution", PAIR, {"owners": ("pip:*",)}, f"{SITE}/one/a.py"),
    ("remove-debian-package", MAKE, {"owners": ("deb:make",)}, "usr/bin/make"),
    ("link-duplicates", TWINS, {}, "opt/x"),
    ("drop-bytecode", CODE, {}, "opt/__pycache__/m.cpython-311.pyc"),
]


@pytest.mark.parametrize(("action", "files", "match", "path"), ASKING)
@pytest.mark.parametrize("doubt", [False, True])
def test_every_action_heeds_a_finding(
    guard: Any, action: str, files: dict[str, bytes], match: Any, path: str, doubt: bool
):
    guard("g", {path: ("etc/conf", doubt)})
    image = facts(files)
    steps, refusals = proposed(actions.default()[action], image, rule("g", action=action, **match))
    plain, none = proposed(actions.default()[action], image, rule(action=action, **match))

    def touched(steps: list[Step]) -> set[bytes]:
        return {
            path
            for step in steps
            for path in (*step.removes, *(name for twin in step.twins for name in twin))
        }

    assert path.encode() in touched(plain)
    assert [] == none
    safe = [step for step in steps if step.safety is Safety.SAFE]
    assert path.encode() not in touched(safe)
    if doubt:
        assert [] == refusals
        doubtful = [step for step in steps if step.safety is Safety.CAUTION]
        assert all("etc/conf names it" in step.evidence for step in doubtful)
        assert action == "link-duplicates" or path.encode() in touched(doubtful)
    else:
        assert path.encode() not in touched(steps)
        assert ["etc/conf names it" in refusal.evidence for refusal in refusals] == [True]


def test_a_held_package_keeps_what_it_needs(guard: Any):
    guard("g", {"usr/bin/make": ("the command", False)})
    selected = rule("g", action="remove-debian-package", owners=("deb:make", "deb:libmake1"))
    steps, refusals = proposed(actions.default()["remove-debian-package"], facts(MAKE), selected)

    assert [] == steps
    assert {
        "deb:make": "usr/bin/make: the command names it",
        "deb:libmake1": "make depends on it",
    } == {refusal.target: refusal.evidence for refusal in refusals}


NAMES = st.sampled_from("abcdef")


@given(
    st.dictionaries(NAMES, st.tuples(st.sampled_from("abcdefxy"), st.booleans())),
    st.dictionaries(NAMES, st.tuples(st.sampled_from("abcdefxy"), st.booleans())),
)
@settings(max_examples=examples(200), deadline=None)
def test_what_leaves_safely_is_needed_by_nothing_that_may_stay(
    first: dict[str, tuple[str, bool]], second: dict[str, tuple[str, bool]]
):
    guards = {"one": first, "two": second}
    image = facts(dict.fromkeys("abcdef", b"1"))

    def told(needs: dict[str, tuple[str, bool]]):
        def found(facts: Facts, rule: Rule, paths: Sequence[bytes]) -> list[Finding]:
            gone = set(paths)
            findings: list[Finding] = []
            while True:  # a guard is a fixpoint of its own
                new = [
                    Finding(path, by, (path.encode(),), doubt)
                    for path, (by, doubt) in needs.items()
                    if path.encode() in gone and by.encode() not in gone
                ]
                findings += new
                gone -= {path for one in new if not one.doubt for path in one.paths}
                if not any(not one.doubt for one in new):
                    return findings

        return found

    with pytest.MonkeyPatch.context() as patch:
        for name, needs in guards.items():
            patch.setitem(GUARDS, name, told(needs))
        asked = Ask(image, rule(*guards))(path.encode() for path in "abcdef")
    free = {path.decode() for path in asked.free}
    doubted = {path.decode() for path in asked.doubted}
    held = {path.decode() for path in asked.held}

    assert sorted("abcdef") == sorted([*free, *doubted, *held])
    for needs in guards.values():
        for path, (by, doubt) in needs.items():
            assert not (path in free and by not in free)
            assert not (path in doubted and not doubt and by not in free | doubted)


def test_a_doubted_step_goes_through_a_plan_file(guard: Any):
    guard("g", {"opt/a": ("etc/conf", True)})
    image = facts(FILES)
    plan = planned(image, actions.default()["remove"], rule("g"))
    again = type(plan).read(plan.to_json(), image, actions.default(), ())

    assert plan.to_json() == again.to_json()
    assert {"r:unowned", "r:unowned (in doubt)"} == {step.id for step in again.steps}
