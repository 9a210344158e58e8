"""What a policy protects: paths, owners, licences."""

from __future__ import annotations

import pytest
from systems import SITE, distribution, facts, system

from slimmer.attribution import Owner
from slimmer.plan.protection import Protection
from slimmer.policy import Globs, Selector

FILES = {
    **distribution("one", {"one/a.py": b"1" * 100, "one/LICENSE.txt": b"MIT"}),
    **distribution("two", {"two/b.py": b"2"}),
    "opt/x": b"x",
}


def test_who_is_to_be_kept_is_nobody_where_nobody_is_named():
    everything = Protection(facts(FILES))
    one = system(FILES, keep_owners=["pip:one"])

    assert not everything.keeps_owner(Owner("pip", "one"))
    assert not everything.keeps(f"{SITE}/one/a.py".encode())
    assert (True, False) == tuple(
        one.keeps_owner(Owner("pip", name, "1.0")) for name in ("one", "two")
    )
    assert one.keeps(f"{SITE}/one/a.py".encode())


def test_licences_stay_whatever_anybody_says():
    assert Protection(facts(FILES)).keeps(f"{SITE}/one/LICENSE.txt".encode())


@pytest.mark.parametrize(
    ("selector", "expected"),
    [
        (Selector(Globs(["*.py"])), {"one/a.py", "two/b.py"}),
        (Selector(Globs(["*.py"]), exclude=Globs(["two/"])), {"one/a.py"}),
        (Selector(Globs(["*.py"]), owners=("pip:two",)), {"two/b.py"}),
        (Selector(Globs(["*.py"]), minimum=50), {"one/a.py"}),
        (Selector(Globs(["*.py"]), layers=(1,)), set()),
    ],
)
def test_a_selector_finds_what_meets_all_of_its_conditions(selector: Selector, expected: set[str]):
    found = Protection(facts(FILES)).selected(selector)

    assert {f"{SITE}/{name}".encode() for name in expected} == set(found)


def test_what_is_kept_is_never_selected():
    held = system(FILES, keep=["one/"])

    assert [f"{SITE}/two/b.py".encode()] == held.selected(Selector(Globs(["*.py"])))


def test_only_patterns_that_name_one_place_hold_a_whole_package():
    held = system({}, keep=["/etc/x", "testing/", "*.dist-info/", "torch/bin/tool", "name"])

    assert ("/etc/x", "torch/bin/tool") == held.pinned.patterns


def test_a_users_own_words_are_told_from_shipped_ones():
    held = Protection(facts({}), Globs(["a", "b"]), shipped=("a",))

    assert ("b",) == held.own.patterns
