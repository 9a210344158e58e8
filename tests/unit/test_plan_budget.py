"""Sizes and budgets."""

from __future__ import annotations

import pytest
from systems import facts_of
from tiny import image, layer

from slimmer.plan.budget import Budget, PlanError, Sizes


def test_sizes_are_those_of_the_index_by_name():
    index = facts_of(image(layer({"a": b"x" * 10}), layer({"a": b"y" * 4}))).index
    sizes = Sizes.of(index, 7)

    assert Sizes(14, 4, 7) == sizes
    assert (14, 4) == (sizes.by("unpacked"), sizes.by("rootfs"))
    assert {"unpacked": 14, "rootfs": 4} == sizes.fields()


def test_a_plan_bounds_what_it_can_promise():
    assert Budget(5, "rootfs") == Budget.of(5, "rootfs")
    with pytest.raises(PlanError, match="not 'packed'"):
        Budget.of(5, "packed")
