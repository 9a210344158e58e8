"""Plan files: what they say comes back, and what no plan can say is refused in one line."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from systems import facts, planned
from thorough import examples

from slimmer import actions
from slimmer.errors import SlimmerError
from slimmer.plan import plan_file
from slimmer.plan.budget import Budget
from slimmer.plan.plan import Plan
from slimmer.policy import ActionName, Rule, Safety, Selector

FILES = {"opt/a/b": b"b" * 10, "opt/a/c": b"c" * 20, "opt/twin": b"b" * 10}
IMAGE = facts(FILES)
PLAN = planned(
    IMAGE,
    actions.default()[ActionName.REMOVE],
    Rule("r", ActionName.REMOVE, Safety.SAFE, "w", Selector(owners=("unowned",))),
)


def read(fields: dict[str, Any]) -> Plan:
    return Plan.read(json.dumps(fields), IMAGE, actions.default(), (), "p.json")


def test_a_file_gives_the_steps_back():
    content = plan_file.read(PLAN.to_json(), IMAGE, "p.json")

    assert [("p.json: steps[0]", PLAN.steps[0].removes)] == [
        (where, step.removes) for where, step in content.steps
    ]
    assert ("test", None) == (content.policy, content.budget)


def test_a_budget_goes_through_a_file():
    fields = json.loads(PLAN.to_json()) | {"budget": {"max": 17, "metric": "rootfs"}}

    assert Budget(17, "rootfs") == read(fields).budget


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"budget": 4}, "p.json: budget: expected an object"),
        ({"budget": {"max": "4GB", "metric": "rootfs"}}, "p.json: budget.max: expected bytes"),
        ({"budget": {"max": True, "metric": "rootfs"}}, "p.json: budget.max: expected bytes"),
        ({"budget": {"max": 4, "metric": "packed"}}, "a plan can bound unpacked or rootfs"),
        ({"steps": {}}, "p.json: steps: expected a list"),
        ({"steps": [4]}, "p.json: steps[0]: expected an object"),
        ({"steps": [{"x": 4}]}, "p.json: steps[0]: there is no key 'x'"),
        ({"image": None}, "p.json is a plan for the image None"),
    ],
)
def test_what_no_plan_can_say_names_its_place(change: dict[str, Any], message: str):
    with pytest.raises(SlimmerError) as caught:
        read(json.loads(PLAN.to_json()) | change)

    assert message in caught.value.message


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=5,
)
STEP = json.loads(PLAN.to_json())["steps"][0]


@given(st.dictionaries(st.sampled_from([*STEP, "drops", "twins", "rewrites", "options"]), JSON))
@settings(max_examples=examples(500), deadline=None)
def test_nothing_but_an_error_for_people_comes_of_a_damaged_step(change: dict[str, Any]):
    step = {key: value for key, value in (STEP | change).items() if key != "digest"}
    step["digest"] = plan_file._digest(step)
    try:
        read(json.loads(PLAN.to_json()) | {"steps": [step]})
    except SlimmerError:
        pass
