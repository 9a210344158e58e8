"""Which steps a budget takes."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from slimmer.plan.solver import choose
from slimmer.plan.steps import Step
from slimmer.policy import Safety

STEPS = st.lists(
    st.builds(
        lambda number, safety, saves, more: Step(
            "rule", "remove", str(number), safety, "why", unpacked=saves, disturbs=saves + more
        ),
        st.integers(),
        st.sampled_from(Safety),
        st.integers(1, 1000),
        st.integers(0, 1000),
    ),
    max_size=12,
)


@given(STEPS, st.integers(0, 6000))
def test_chosen_steps_suffice_and_risk_no_more_than_they_must(steps: list[Step], excess: int):
    chosen = choose(steps, excess, "unpacked")
    saved = sum(step.unpacked for step in chosen)
    possible = sum(step.unpacked for step in steps)

    assert saved >= min(excess, possible)
    if chosen and saved >= excess:
        worst = max(step.safety for step in chosen)
        assert excess > sum(step.unpacked for step in steps if step.safety < worst)
        for step in chosen:
            if step.safety == worst:
                assert saved - step.unpacked < excess, "each step of the last level is needed"
