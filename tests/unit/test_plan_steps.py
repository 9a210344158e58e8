"""Steps and refusals as values."""

from __future__ import annotations

from slimmer.plan.steps import Refusal, Step
from slimmer.policy import Safety


def test_a_step_is_named_by_its_rule_and_its_target():
    step = Step("r", "remove", "pip:x 1", Safety.SAFE, "w", unpacked=5, rootfs=3)

    assert "r:pip:x 1" == step.id
    assert (5, 3) == (step.saves("unpacked"), step.saves("rootfs"))
    assert {"unpacked": 5, "rootfs": 3} == step.summary()["saves"]


def test_a_refusal_shows_no_control_characters():
    refusal = Refusal("r", "a\x1b[31m", "g", "e\n", 4)

    assert all(str(value).isprintable() for value in refusal.to_dict().values())
