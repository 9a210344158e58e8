"""Hidden bytes are dropped layer by layer."""

from __future__ import annotations

from systems import facts_of, proposed
from tiny import image, layer

from slimmer.actions.hidden import DropHidden
from slimmer.policy import ActionName, Rule, Safety, Selector


def rule(*layers: int) -> Rule:
    return Rule("h", ActionName.DROP_HIDDEN, Safety.SAFE, "nobody sees it", Selector(layers=layers))


def test_each_layer_loses_what_later_ones_hide():
    below = facts_of(
        image(
            layer({"a": b"x" * 10, "b": b"y" * 20}),
            layer({"a": b"z" * 5, "c": b"c" * 7}),
            layer({}, removed=["b", "c"]),
        )
    )
    steps, _ = proposed(DropHidden(), below, rule())

    assert {"layer 0": (30, 0), "layer 1": (7, 0)} == {
        step.target: (step.unpacked, step.rootfs) for step in steps
    }
    assert "1 files overwritten and 1 deleted by layers 1, 2" == steps[0].evidence
    assert ["layer 1"] == [step.target for step in proposed(DropHidden(), below, rule(1))[0]]


def test_nothing_hidden_is_nothing_to_drop():
    assert ([], []) == proposed(DropHidden(), facts_of(image(layer({"a": b"x"}))), rule())
