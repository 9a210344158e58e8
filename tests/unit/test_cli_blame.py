"""The command `blame`, from a plan, from an image, and from an image and its base."""

from __future__ import annotations

import io
import json
import sys
from typing import TYPE_CHECKING

import pytest
from tiny import layer, oci

from slimmer.cli import main

if TYPE_CHECKING:
    from pathlib import Path

SITE = "usr/local/lib/python3.11/site-packages"
METADATA = b"Metadata-Version: 2.1\nName: pkg\nVersion: 1\n"
FILES: dict[str, bytes | None] = {
    "usr/local/bin/python3.11": b"",
    f"{SITE}/pkg/__init__.py": b"",
    f"{SITE}/pkg/tests/__init__.py": b"",
    f"{SITE}/pkg/tests/test_a.py": b"assert True\n" * 100,
    f"{SITE}/pkg-1.dist-info/METADATA": METADATA,
    f"{SITE}/pkg-1.dist-info/RECORD": (
        b"pkg/__init__.py,,\npkg/tests/__init__.py,,\npkg/tests/test_a.py,,\n"
        b"pkg-1.dist-info/METADATA,,\npkg-1.dist-info/RECORD,,\n"
    ),
}
LOG = "Traceback\nModuleNotFoundError: No module named 'pkg.tests.test_a'\n"


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with an image, its plan, its result, and a log."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SLIMMER_CACHE_DIR", str(tmp_path / "cache"))
    oci([layer(FILES)], str(tmp_path / "app"))
    (tmp_path / "log").write_text(LOG)
    assert 0 == main(["plan", "oci:app", "-o", "plan.json"])
    assert 0 == main(["slim", "oci:app", "--plan", "plan.json", "--static", "-o", "oci:slim"])
    return tmp_path


@pytest.mark.parametrize(
    "source",
    [
        ["--plan", "plan.json"],
        ["--image", "oci:slim"],
        ["--image", "oci:slim", "--base", "oci:app"],
    ],
    ids=["plan", "image", "both"],
)
def test_it_names_the_file_the_step_and_the_way_back(
    made: Path, capsys: pytest.CaptureFixture[str], source: list[str]
):
    capsys.readouterr()

    assert 0 == main(["blame", "log", *source])

    out = capsys.readouterr().out
    assert "line 2: ModuleNotFoundError: No module named 'pkg.tests.test_a'" in out
    assert "tests:pip:pkg 1" in out
    assert f"--keep '/{SITE}/pkg/tests/test_a.py'" in out.replace("\n  ", " ")


def test_it_reads_standard_input(
    made: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    capsys.readouterr()
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(LOG.encode() + b"\xff\x00")))

    assert 0 == main(["blame", "--plan", "plan.json", "--format", "json"])

    (cause,) = json.loads(capsys.readouterr().out)["causes"]
    assert ("tests:pip:pkg 1", "left") == (cause["step"], cause["how"])


def test_it_says_where_nothing_that_left_is_named(made: Path, capsys: pytest.CaptureFixture[str]):
    (made / "log").write_bytes(b"\x00\xffnothing of ours\x1b[31m")
    capsys.readouterr()

    assert 0 == main(["blame", "log", "--plan", "plan.json"])
    assert "nothing that left is named here\n" == capsys.readouterr().out


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ([], "what left is not said"),
        (["--image", "oci:app"], "does not say what left it"),
        (["--plan", "log"], "is no plan"),
        (["--plan", "nowhere.json"], "nowhere.json"),
    ],
)
def test_what_says_nothing_is_an_error(
    made: Path, capsys: pytest.CaptureFixture[str], source: list[str], said: str
):
    capsys.readouterr()

    assert 2 == main(["blame", "log", *source])
    assert said in capsys.readouterr().err
