"""Which policy applies, and what could be asked beyond it."""

from __future__ import annotations

from pathlib import Path

import pytest

from slimmer.app.options import PlanOptions
from slimmer.app.policies import bolder, policy_for
from slimmer.app.settings import Settings, load_settings
from slimmer.policy import Safety

POLICY = """
[rules.old]
action = "remove"
safety = "safe"
why = "Nobody reads what is old."
match.path = ["/opt/old/"]
"""


def test_a_policy_of_the_settings_lies_beside_them_and_one_that_is_asked_for_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    Path("ci").mkdir()
    Path("ci/own.toml").write_text(POLICY)
    Path("ci/slimmer.toml").write_text("policy = 'own.toml'\n")
    Path("here.toml").write_text(POLICY.replace("old", "here"))
    settings = load_settings("ci/slimmer.toml")

    beside = policy_for(PlanOptions().with_settings(settings))
    here = policy_for(PlanOptions(policy="here.toml").with_settings(settings))

    assert (["old"], ["here"]) == (
        [rule.name for rule in beside.rules],
        [rule.name for rule in here.rules],
    )


@pytest.mark.parametrize("options", [PlanOptions(swap=("torch=cpu",)), PlanOptions(gpu="none")])
def test_asking_for_a_swap_is_accepting_it(options: PlanOptions):
    policy = policy_for(options)

    assert "swap" in {rule.action for rule in policy.rules}
    assert Safety.CAUTION == policy.safety


@pytest.mark.parametrize(
    ("options", "first"),
    [
        (PlanOptions(), "--policy balanced"),
        (PlanOptions(policy="balanced"), "--policy aggressive"),
        (PlanOptions().with_settings(Settings(policy="balanced")), "--policy aggressive"),
        (PlanOptions(policy="mine.toml"), "--gpu NAMES (device code of other GPUs leaves)"),
    ],
)
def test_what_is_bolder_starts_from_the_policy_that_applies(options: PlanOptions, first: str):
    assert first == bolder(options)[0]


def test_who_has_asked_for_everything_may_accept_more():
    options = PlanOptions(policy="aggressive", gpu="none", swap=("torch=cpu",))

    assert ["--accept risky"] == bolder(options)
