"""`slimmer policy`: what there is, what it says, and whether it is sound."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from slimmer.cli import main

if TYPE_CHECKING:
    from pathlib import Path


def test_the_shipped_policies_are_listed(capsys: pytest.CaptureFixture[str]):
    assert 0 == main(["policy", "list"])
    printed = capsys.readouterr().out
    assert all(name in printed for name in ("safe", "balanced", "aggressive"))


def test_every_rule_is_shown_with_its_reason(capsys: pytest.CaptureFixture[str]):
    from slimmer.policy import find

    assert 0 == main(["policy", "show", "balanced"])
    printed = capsys.readouterr().out
    for rule in find("balanced", "").rules:
        assert f"{rule.name}  ({rule.safety}, {rule.action}" in printed
        assert " ".join(rule.why.split()[:4]) in " ".join(printed.split())


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (
            "slimmer.toml",
            'image = "app:1"\npolicy = "safe"\nkeep = ["*.x"]\n[budget]\nmax = "4GB"\n',
        ),
        ("pyproject.toml", '[tool.slimmer]\nextends = ["balanced"]\n'),
        ("mine.toml", 'extends = ["safe"]\n'),
    ],
)
def test_a_policy_or_the_settings_that_hold_one_can_be_checked(
    name: str, text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    (tmp_path / name).write_text(text)

    assert 0 == main(["policy", "check", str(tmp_path / name)])
    assert "sound" in capsys.readouterr().out


@pytest.mark.parametrize("text", ['polcy = "safe"\n', "[rules.x]\nwhy = 3\n", "= 3"])
def test_what_is_wrong_names_the_file(
    text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    (tmp_path / "slimmer.toml").write_text(text)

    assert 2 == main(["policy", "check", str(tmp_path / "slimmer.toml")])
    assert "slimmer.toml" in capsys.readouterr().err
