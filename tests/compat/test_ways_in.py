"""The action, the template, the hook and completion: the very commands that they run are run."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest
import yaml

pytestmark = pytest.mark.compat

ROOT = Path(__file__).parents[2]
IMAGE = ROOT / "sample_images/small.tar"
ACTION = yaml.safe_load((ROOT / "action.yml").read_text(encoding="utf-8"))
TEMPLATE = yaml.safe_load((ROOT / ".gitlab/slimmer.gitlab-ci.yml").read_text(encoding="utf-8"))
HOOKS = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text(encoding="utf-8"))
Ran = subprocess.CompletedProcess[str]


def run(*command: str | Path, folder: Path, **environment: str) -> Ran:
    """Run something with this environment besides the usual one, and nothing of CI in it."""
    usual = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("GITHUB_", "CI", "SLIMMER_", "PYTHONPATH", "VIRTUAL_ENV"))
    }
    return subprocess.run(
        command,
        cwd=folder,
        env={**usual, "SLIMMER_CACHE_DIR": str(folder / "cache"), **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def step(number: int) -> dict[str, Any]:
    """A step of the action that runs a script."""
    found: dict[str, Any] = [one for one in ACTION["runs"]["steps"] if "run" in one][number]
    return found


def script(made: dict[str, Any], folder: Path, temporary: Path, **inputs: str) -> Ran:
    """Run a step of the action as a runner does, with these inputs and the defaults of the rest."""
    given = {name: str(one.get("default", "")) for name, one in ACTION["inputs"].items()}
    assert inputs.keys() <= given.keys()
    given |= inputs

    def value(text: str) -> str:
        text = text.replace("${{ steps.python.outputs.python-path }}", sys.executable)
        return re.sub(r"\$\{\{ inputs\.([\w-]+) \}\}", lambda match: given[match[1]], text)

    assert "${{" not in made["run"], "a value would be read as a part of the script"
    assert "bash" == made["shell"]
    path = folder / "step.sh"
    path.write_text(made["run"], encoding="utf-8")
    return run(
        *("bash", "--noprofile", "--norc", "-e", "-o", "pipefail", path),
        folder=folder / value(made.get("working-directory", ".")),
        GITHUB_ACTIONS="true",
        GITHUB_ACTION_PATH=str(ROOT),
        GITHUB_STEP_SUMMARY=str(folder / "summary.md"),
        RUNNER_TEMP=str(temporary),
        **{name: value(text) for name, text in made["env"].items()},
    )


@pytest.fixture(scope="module")
def runner(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A runner's folder after the action's own installation."""
    temporary = tmp_path_factory.mktemp("runner")
    made = script(step(0), temporary, temporary)
    if made.returncode and re.search("Could not find a version|ConnectionError", made.stderr):
        pytest.skip(f"pip can't get what slimmer needs: {made.stderr.strip().splitlines()[-1]}")
    assert 0 == made.returncode, made.stderr
    return temporary


def test_the_action_passes_an_image_that_fits(runner: Path, tmp_path: Path) -> None:
    made = script(step(1), tmp_path, runner, image=str(IMAGE), max="4MB")

    assert 0 == made.returncode, made.stderr
    assert "::error" not in made.stdout
    assert "<!-- slimmer:budget -->" in (tmp_path / "summary.md").read_text(encoding="utf-8")


def test_the_action_fails_one_that_does_not_and_says_why(runner: Path, tmp_path: Path) -> None:
    made = script(
        step(1),
        tmp_path,
        runner,
        image=str(IMAGE),
        max="3300kB",
        policy="balanced",
        outputs="a.html\nb.md c.sarif",
        **{"platform-limit": "lambda railway"},
    )

    assert 1 == made.returncode, made.stderr
    assert "::error title=slimmer" in made.stdout
    assert {"a.html", "b.md", "c.sarif"} <= {path.name for path in tmp_path.iterdir()}
    page = (tmp_path / "a.html").read_text(encoding="utf-8")
    assert page.startswith("<!doctype html>")
    assert "Over budget" in page
    assert page.endswith("</html>\n")


def test_the_action_reads_the_projects_settings(runner: Path, tmp_path: Path) -> None:
    project = tmp_path / "project"
    project.mkdir()
    (project / "slimmer.toml").write_text(
        f'image = "{IMAGE}"\n[budget]\nmax = "1MB"\n', encoding="utf-8"
    )

    made = script(step(1), tmp_path, runner, **{"working-directory": "project"})

    assert 1 == made.returncode, made.stderr


@pytest.mark.parametrize(
    "value", ["$(touch x)", "`touch x`", '"; touch x; "', "--help", "; touch x"]
)
def test_no_input_of_the_action_is_read_as_script(runner: Path, tmp_path: Path, value: str) -> None:
    made = script(step(1), tmp_path, runner, image=value, max="4MB")

    assert 2 == made.returncode, made.stdout
    assert "slimmer: error:" in made.stderr
    assert not (tmp_path / "x").exists()


def test_every_input_of_the_action_is_used() -> None:
    text = str(ACTION["runs"])

    assert [] == [name for name in ACTION["inputs"] if f"inputs.{name} " not in text]


def gitlab(folder: Path, runner: Path, **variables: str) -> Ran:
    """Run the template's job as a runner does, in the shell of a slim image."""
    job = TEMPLATE[".slimmer"]
    folder.mkdir(exist_ok=True)
    known = {name: str(value) for name, value in job["variables"].items()}
    assert variables.keys() <= known.keys()
    known |= variables | {
        "SLIMMER_INSTALL": str(ROOT),
        "SLIMMER_VENV": str(runner / "slimmer"),
        "SLIMMER_CACHE_DIR": str(folder / ".slimmer-cache"),
    }
    lines = "\n".join(job["script"])
    return run("sh", "-e", "-c", lines, folder=folder, **known)


def test_the_template_says_yes_and_no_and_leaves_what_it_promises(
    runner: Path, tmp_path: Path
) -> None:
    fits = gitlab(tmp_path / "fits", runner, SLIMMER_IMAGE=str(IMAGE), SLIMMER_MAX="4MB")
    over = gitlab(
        tmp_path / "over",
        runner,
        SLIMMER_IMAGE=str(IMAGE),
        SLIMMER_MAX="3300kB",
        SLIMMER_PLATFORM_LIMIT="lambda railway",
        SLIMMER_POLICY="balanced",
    )

    assert (0, 1) == (fits.returncode, over.returncode), fits.stderr + over.stderr
    promised = TEMPLATE[".slimmer"]["artifacts"]
    for folder in (tmp_path / "fits", tmp_path / "over"):
        for name in (*promised["paths"], promised["reports"]["junit"]):
            assert (folder / name).stat().st_size > 0
    suites = ET.parse(tmp_path / "over/slimmer.xml").getroot()
    assert 1 <= len(suites.findall(".//failure"))


def test_no_variable_of_the_template_is_read_as_script(runner: Path, tmp_path: Path) -> None:
    made = gitlab(tmp_path / "job", runner, SLIMMER_IMAGE="$(touch x); touch x", SLIMMER_MAX="4MB")

    assert 2 == made.returncode
    assert not (tmp_path / "job/x").exists()


@pytest.mark.parametrize(("most", "code"), [("4MB", 0), ("3300kB", 1)])
def test_the_hook_judges_what_the_settings_name(
    runner: Path, tmp_path: Path, most: str, code: int
) -> None:
    (hook,) = HOOKS
    (tmp_path / "slimmer.toml").write_text(
        f'image = "{IMAGE}"\n[budget]\nmax = "{most}"\n', encoding="utf-8"
    )
    program, *arguments = shlex.split(hook["entry"])

    made = run(runner / "slimmer/bin" / program, *arguments, folder=tmp_path)

    assert code == made.returncode, made.stderr
    assert ("python", False) == (hook["language"], hook["pass_filenames"])


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (["slimmer", "insp"], ["inspect"]),
        (["slimmer", "inspect", "--form"], ["--format"]),
        (["slimmer", "budget", "--metric", ""], ["unpacked", "rootfs", "packed"]),
        (["slimmer", "inspect", "sam"], ["sample.tar"]),
        (["slimmer", "diff", "sam"], ["sample.tar"]),
    ],
)
def test_bash_completes(tmp_path: Path, words: list[str], offered: list[str]) -> None:
    (tmp_path / "sample.tar").touch()
    made = run(sys.executable, "-m", "slimmer", "completion", "bash", folder=ROOT)
    assert 0 == made.returncode, made.stderr
    line = 'COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _shtab_slimmer; echo "${COMPREPLY[@]}"'

    found = run("bash", "--norc", "-c", f"{made.stdout}\n{line}", "bash", *words, folder=tmp_path)

    assert offered == found.stdout.split(), found.stderr


def test_zsh_takes_its_script(tmp_path: Path) -> None:
    if shutil.which("zsh") is None:
        pytest.skip("needs zsh")
    made = run(sys.executable, "-m", "slimmer", "completion", "zsh", folder=ROOT)
    (tmp_path / "_slimmer").write_text(made.stdout, encoding="utf-8")

    assert 0 == run("zsh", "-n", tmp_path / "_slimmer", folder=tmp_path).returncode
