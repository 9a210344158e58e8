"""Plans are made and read in one place, for every command that takes one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import tiny
from wheelhouse import BASE, installed, pip_finding, tar, wheel

from slimmer import cli
from slimmer.app.options import PlanOptions
from slimmer.app.session import Session

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Sequence

CUDA = installed(
    "torch",
    "2.13.0",
    {"torch/__init__.py": b"# cuda build", "torch/lib/libtorch_cuda.so": b"c" * 9000},
    ["nvidia-cublas==13.1"],
    requested=True,
) | installed("nvidia-cublas", "13.1", {"nvidia/cublas/lib/libcublas.so.13": b"b" * 5000})


@pytest.fixture
def image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """An image with a CUDA build; its CPU wheel lies in the folder `wheels` and nowhere else."""
    monkeypatch.setenv("SLIMMER_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "wheels"
    folder.mkdir()
    wheel(folder, "torch", "2.13.0+cpu", {"torch/__init__.py": b"# cpu build"})

    def pip(arguments: Sequence[str]) -> subprocess.CompletedProcess[str]:
        named = "--find-links=wheels" in arguments
        return pip_finding(folder if named else tmp_path)(arguments)

    monkeypatch.setattr("slimmer.actions.swap.wheels._pip", pip)
    return tiny.oci([tar(BASE), tar(CUDA)], str(tmp_path / "image"))


@pytest.mark.parametrize("settings", [False, True])
def test_slim_and_verify_find_the_wheels_of_a_plan_alike(image: str, settings: bool):
    if settings:
        Path("slimmer.toml").write_text("find-links = ['wheels']\n")
    links = [] if settings else ["--find-links", "wheels"]
    plan = ["--plan", "plan.json", *links]

    assert 0 == cli.main(["plan", image, "--swap", "torch=cpu", *links, "-o", "plan.json"])
    assert '"swap"' in Path("plan.json").read_text()
    assert 0 == cli.main(["slim", image, "-o", "slim.tar", "--static", *plan])
    assert 0 == cli.main(["verify", image, "slim.tar", "--static", *plan])


def test_lists_of_the_settings_reach_a_plan_once(image: str):
    Path("slimmer.toml").write_text(
        "swap = ['torch=cpu']\nfind-links = ['wheels']\n[budget]\nmax = '1kB'\n"
    )
    assert 1 == cli.main(["budget", image])
    asked = Path("wheels/asked.txt").read_text().splitlines()

    assert asked
    assert all(1 == line.split().count("--find-links=wheels") for line in asked)


def test_a_session_answers_the_same_question_alike_whatever_was_asked_between(image: str):
    session = Session.open(image)
    first = session.plan(PlanOptions(policy="balanced"))
    session.plan(PlanOptions(policy="balanced", keep=("/etc/keep",)))

    assert first.to_json() == session.plan(PlanOptions(policy="balanced")).to_json()
    assert first.to_json() == Session.open(image).plan(PlanOptions(policy="balanced")).to_json()
