"""Completion scripts name every command and every option."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from slimmer import cli
from slimmer.cli.completion import SHELLS

if TYPE_CHECKING:
    import argparse


def commands() -> dict[str, argparse.ArgumentParser]:
    (action,) = (one for one in cli.parser()._actions if isinstance(one.choices, dict))
    return dict(action.choices)


@pytest.mark.parametrize("shell", SHELLS)
def test_every_command_and_option_is_in_it(shell: str, capfd: pytest.CaptureFixture[str]):
    assert 0 == cli.main(["completion", shell])
    script, told = capfd.readouterr()

    assert "" == told
    for name, parser in commands().items():
        assert name in script
        for option in (word for action in parser._actions for word in action.option_strings):
            if option.startswith("--"):
                assert option in script, f"{name} {option}"


def test_the_same_parser_gives_the_same_script(capfd: pytest.CaptureFixture[str]):
    made = set()
    for _ in range(2):
        cli.main(["completion", "bash"])
        made.add(capfd.readouterr().out)

    assert 1 == len(made)


def test_an_unknown_shell_is_an_error_with_the_choices(capfd: pytest.CaptureFixture[str]):
    assert 2 == cli.main(["completion", "cmd"])
    assert "bash" in capfd.readouterr().err
