"""What the README shows is what happens: each command's output, and each example in Python."""

from __future__ import annotations

import contextlib
import io
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import golden
import pytest

from slimmer import cli

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(language: str) -> list[str]:
    return [
        match[2]
        for match in BLOCK.finditer(README.read_text(encoding="utf-8"))
        if match[1] == language
    ]


def shows(new: str, language: str, old: str) -> None:
    """Hold a block against what it should be; write it where golden files are written."""
    if golden.WRITE:
        text = README.read_text(encoding="utf-8")
        place = f"\n```{language}\n{{}}```\n"
        README.write_text(text.replace(place.format(old), place.format(new)), encoding="utf-8")
    else:
        assert old == new


SESSIONS = [block for block in blocks("console") if ".venv" not in block]
SET_UP, TESTS = (block.strip().removeprefix("$ ") for block in blocks("console")[:2])


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in which the commands can be run as they are printed."""
    (tmp_path / "sample_images").symlink_to(ROOT / "sample_images")
    monkeypatch.setenv("SLIMMER_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(command: str) -> str:
    """What a command of the README prints."""
    program, *argv = shlex.split(command)
    assert program in ("slimmer", ".venv/bin/slimmer")
    made = subprocess.run(
        [sys.executable, "-m", "slimmer", *argv],
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
        env=os.environ | {"PYTHONUTF8": "1"},
    )
    assert (0, "") == (made.returncode, made.stderr)
    return made.stdout


@pytest.mark.parametrize("session", SESSIONS)
def test_a_session_prints_what_the_readme_shows(session: str, folder: Path):
    commands = re.findall(r"^\$ (.*)$", session, re.MULTILINE)

    made = "".join(f"$ {command}\n{run(command)}" for command in commands)

    shows(made, "console", session)


def test_an_example_in_python_prints_what_the_readme_shows(folder: Path):
    (example,) = blocks("python")
    (shown,) = blocks("text")
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(example, str(README), "exec"), {})

    shows(printed.getvalue(), "text", shown)


def test_the_first_command_sets_up_and_runs_the_main_job(folder: Path):
    venv, install, job = SET_UP.split(" && ")

    assert "python3 -m venv .venv" == venv
    assert ".venv/bin/pip install -q -e ." == install
    assert run(job).startswith("sample_images/small.tar\n")


def test_the_second_command_runs_the_tests():
    assert (
        "python3 -m venv .venv && .venv/bin/pip install -q -e '.[dev]' && .venv/bin/pytest" == TESTS
    )


def test_what_the_readme_says_of_options_is_in_the_help():
    said = set(re.findall(r"`(--[a-z-]+)[ `]", README.read_text(encoding="utf-8")))
    known = "".join(
        command.format_help()
        for action in cli.parser()._actions
        if isinstance(action.choices, dict)
        for command in action.choices.values()
    )

    assert set() == {option for option in said if option not in known}


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md", "CHANGELOG.md"])
def test_links_to_files_lead_somewhere(name: str):
    text = (ROOT / name).read_text(encoding="utf-8")
    links = re.findall(r"\]\(([^)#:]+)\)", text)

    assert [] == [link for link in links if not (ROOT / link).exists()]
