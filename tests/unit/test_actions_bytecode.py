"""Bytecode leaves where its source stays."""

from __future__ import annotations

from dataclasses import replace

import pytest
from systems import facts, proposed

from slimmer.actions.bytecode import DropBytecode
from slimmer.plan.budget import PlanError
from slimmer.plan.protection import Protection
from slimmer.policy import ActionName, Rule, Safety

FILES = {
    "opt/m.py": b"1",
    "opt/__pycache__/m.cpython-311.pyc": b"p" * 5,
    "opt/__pycache__/m.cpython-311.opt-1.pyc": b"o" * 7,
    "opt/__pycache__/gone.cpython-311.pyc": b"q" * 3,
    "opt/alone.pyc": b"r" * 2,
}


def rule(**options: object) -> Rule:
    return Rule("b", ActionName.DROP_BYTECODE, Safety.CAUTION, "w", options=tuple(options.items()))


def test_bytecode_leaves_beside_its_source_and_what_has_none_is_the_program():
    [step], [refusal] = proposed(DropBytecode(), facts(FILES), rule())

    assert {
        b"opt/__pycache__/m.cpython-311.pyc",
        b"opt/__pycache__/m.cpython-311.opt-1.pyc",
    } == set(step.removes)
    assert 12 == step.unpacked
    assert ("source-stays", 5) == (refusal.guard, refusal.size)


def test_optimized_bytecode_may_leave_alone():
    [step], _ = proposed(DropBytecode(), facts(FILES), rule(only="optimized"))

    assert (b"opt/__pycache__/m.cpython-311.opt-1.pyc",) == step.removes


def test_a_plan_in_which_the_source_leaves_too_is_refused():
    image = facts(FILES)
    [step], _ = proposed(DropBytecode(), image, rule())

    with pytest.raises(PlanError, match="source would leave"):
        DropBytecode().restore(
            image, Protection(image), replace(step, removes=(*step.removes, b"opt/m.py"))
        )
