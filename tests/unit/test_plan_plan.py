"""Choosing steps, and plans as files."""

from __future__ import annotations

import json

import pytest
from systems import facts_of
from tiny import image, layer

from slimmer.actions.bytecode import DropBytecode
from slimmer.actions.duplicates import LinkDuplicates
from slimmer.actions.hidden import DropHidden
from slimmer.image import Digest
from slimmer.plan.budget import Budget, PlanError, Sizes
from slimmer.plan.plan import Plan
from slimmer.policy import Policy, Safety
from slimmer.rewrite import RewriteError, apply

ACTIONS = {action.name: action for action in (DropHidden(), LinkDuplicates(), DropBytecode())}
POLICY = """
[rules.hidden]
action = "drop-hidden"
safety = "safe"
why = "nobody sees it"
[rules.twins]
action = "link-duplicates"
safety = "safe"
why = "one copy is enough"
[rules.bytecode]
action = "drop-bytecode"
safety = "caution"
why = "it is made again"
"""


def _find(name: str, source: str) -> Policy:
    raise AssertionError(name)


POLICY_PARSED = Policy.parse(POLICY, "test.toml", _find)

TARS = (
    layer({"opt/old": b"x" * 1000, "opt/same1": b"s" * 20000, "opt/same2": b"s" * 20000}),
    layer(
        {
            "opt/m.py": b"1",
            "opt/__pycache__/m.cpython-311.pyc": b"p" * 500,
            "opt/__pycache__/alone.cpython-311.pyc": b"q" * 300,
        },
        removed=["opt/old"],
    ),
)


def plan_of(budget: int | None = None, accept: Safety | None = None) -> Plan:
    return Plan.of(
        facts_of(image(*TARS)),
        POLICY_PARSED,
        ACTIONS,
        (),
        None if budget is None else Budget(budget),
        accept,
    )


def test_without_a_budget_every_step_of_the_accepted_level_is_taken():
    plan = plan_of()

    assert ["twins:layer 0", "hidden:layer 0"] == [step.id for step in plan.steps]
    assert Sizes(41801 - 21000, 41801 - 20000 - 1000) == plan.after
    assert ["bytecode:unowned"] == [step.id for step in plan.riskier]


def test_a_budget_takes_the_least_risky_steps_that_fit():
    assert ["hidden:layer 0"] == [step.id for step in plan_of(41000).steps]
    assert [] == list(plan_of(50000).steps)


def test_a_budget_that_cannot_be_met_tells_by_how_much():
    plan = plan_of(10)

    assert plan.after.unpacked - 10 == plan.shortfall


def test_bytecode_without_its_source_is_refused():
    plan = plan_of(accept=Safety.CAUTION)

    assert b"opt/__pycache__/m.cpython-311.pyc" in plan.changes.removed
    assert b"opt/__pycache__/alone.cpython-311.pyc" in plan.changes.after.visible
    assert [("source-stays", 300)] == [(one.guard, one.size) for one in plan.refusals]


def test_a_plan_file_makes_the_same_plan_again():
    plan = plan_of(accept=Safety.CAUTION)
    facts = facts_of(image(*TARS))

    again = Plan.read(plan.to_json(), facts, ACTIONS, ())

    assert plan.to_json() == again.to_json()
    assert plan.changes.edits == again.changes.edits
    assert plan.digest == again.digest


def test_a_plan_file_may_lose_steps_and_promises_what_is_left():
    fields = json.loads(plan_of().to_json())
    del fields["steps"][0]

    again = Plan.read(json.dumps(fields), facts_of(image(*TARS)), ACTIONS, ())

    assert 41801 - 1000 == again.after.unpacked


def _edited(**change: object) -> str:
    """A plan file in which somebody wrote, and made the step's digest fit."""
    fields = json.loads(plan_of(accept=Safety.CAUTION).to_json())
    step = next(step for step in fields["steps"] if step["action"] == "drop-bytecode")
    step.update(change)
    del step["digest"]
    step["digest"] = Digest.of(json.dumps(step, sort_keys=True).encode())
    return json.dumps(fields)


def test_a_step_that_was_changed_is_refused():
    fields = json.loads(plan_of().to_json())
    fields["steps"][0]["twins"] = [["opt/same1", "opt/m.py"]]

    with pytest.raises(PlanError, match="changed since the plan was made"):
        Plan.read(json.dumps(fields), facts_of(image(*TARS)), ACTIONS, ())


@pytest.mark.parametrize(
    "text",
    [
        "no json",
        "[]",
        "{}",
        '{"schema_version": 99}',
        _edited(removes=["../../etc/passwd"]),
        _edited(removes=["etc/none/"]),
        _edited(drops=[[0, 17]]),
        _edited(drops=[[-1, 0]]),
        _edited(action="burn"),
        _edited(colour=1),
        _edited(removes=["opt/__pycache__/m.cpython-311.pyc", "opt/m.py"]),
        _edited(action="link-duplicates", twins=[["opt/same1", "opt/m.py"]]),
    ],
)
def test_a_plan_file_that_says_what_no_plan_can_is_refused(text: str):
    with pytest.raises(PlanError):
        Plan.read(text, facts_of(image(*TARS)), ACTIONS, ())


def test_a_plan_fits_no_other_image():
    other = image(layer({"a": b"1"}))
    plan = plan_of()

    with pytest.raises(PlanError, match="not for"):
        Plan.read(plan.to_json(), facts_of(other), ACTIONS, ())
    with pytest.raises(RewriteError, match="not for"):
        apply(other, plan)
