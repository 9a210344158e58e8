"""Settings are read at the edge: an error names file, table and key."""

from __future__ import annotations

from typing import Any

import pytest

from slimmer.app.settings import Settings
from slimmer.errors import SlimmerError
from slimmer.gate.limits import Limit
from slimmer.policy import Policy, Safety, find

WHOLE = """
image = "app:latest"
policy = "balanced"
accept = "safe"
keep = ["pip:scipy", "*/nltk_data/"]
gpu = "sm_90"
gpu-mode = "zero"
swap = ["torch=cpu"]
find-links = "wheels"
index-url = "https://example.org/simple"
dockerfile = "docker/Dockerfile"
requirements = ["a.txt", "b.txt"]

[budget]
max = "4GB"
metric = "rootfs"
platform = "fly"
baseline = "baseline.json"
dive-ci = ".dive-ci"
owners = { torch = "800MB" }

[rules.own]
action = "remove"
safety = "caution"
why = "Nobody reads them."
match.path = ["/opt/own/"]
"""


def test_every_key_is_read():
    settings = Settings.parse(WHOLE, "slimmer.toml")
    assert settings is not None

    assert (
        Settings(
            source="slimmer.toml",
            image="app:latest",
            policy="balanced",
            accept="safe",
            gpu="sm_90",
            gpu_mode="zero",
            index_url="https://example.org/simple",
            dockerfile="docker/Dockerfile",
            swap=("torch=cpu",),
            find_links=("wheels",),
            requirements=("a.txt", "b.txt"),
            rules=settings.rules,
            limits=(
                Limit("image", 4 * 10**9, "rootfs", source="slimmer.toml: budget.max"),
                Limit("owner", 8 * 10**8, "torch", source="slimmer.toml: budget.owners.torch"),
            ),
            metric="rootfs",
            platforms=("fly",),
            baseline="baseline.json",
            dive_ci=".dive-ci",
        )
        == settings
    )
    assert {"keep", "rules"} == settings.rules.keys()


def test_a_project_file_has_the_same_keys_in_its_table():
    text = (
        "[project]\nname = 'x'\n[tool.slimmer]\nimage = 'app'\n[tool.slimmer.budget]\nmax = '4GB'"
    )
    settings = Settings.parse(text, "pyproject.toml", "tool", "slimmer")
    assert settings is not None

    assert "app" == settings.image
    assert "pyproject.toml: tool.slimmer.budget.max" == settings.limits[0].source


@pytest.mark.parametrize("text", ["", "[tool]", "tool = 1", "[tool.other]"])
def test_a_project_file_without_the_table_says_nothing(text: str):
    assert None is Settings.parse(text, "pyproject.toml", "tool", "slimmer")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("imge = 'x'", "s.toml: there is no key 'imge'"),
        ("image = 5", "s.toml: image: expected a text, got 5"),
        ("image = ''", "s.toml: image: expected a text, got ''"),
        ("swap = [1]", "s.toml: swap: expected a list of texts, got [1]"),
        (
            "accept = 'never'",
            "expected 'safe', 'caution' or 'risky', got 'never' in s.toml: accept",
        ),
        ("gpu-mode = 'cut'", "s.toml: gpu-mode: expected 'shrink' or 'zero', got 'cut'"),
        ("budget = 4", "s.toml: budget: expected a table, got 4"),
        ("[budget]\nmax = 4", "got 4 in 's.toml: budget.max'"),
        ("[budget]\nmax = '4G'", "got '4G' in 's.toml: budget.max'"),
        ("[budget]\nmx = '4GB'", "s.toml: budget: there is no key 'mx'"),
        ("[budget]\nplatform = 5", "s.toml: budget.platform: expected a list of texts"),
        ("[budget]\nowners = { torch = 1 }", "in 's.toml: budget.owners.torch'"),
        ("image = ", "s.toml: "),
    ],
)
def test_what_settings_cannot_mean_names_the_place(text: str, message: str):
    with pytest.raises(SlimmerError) as caught:
        Settings.parse(text, "s.toml")
    assert message in caught.value.message


def test_errors_of_a_project_file_name_its_table():
    with pytest.raises(SlimmerError, match=r"pyproject\.toml: tool\.slimmer\.gpu: expected a text"):
        Settings.parse("[tool.slimmer]\ngpu = 5", "pyproject.toml", "tool", "slimmer")


def finding(asked: list[tuple[str, str]]) -> Any:
    def found(name: str, source: str) -> Policy:
        asked.append((name, source))
        return find(name if name != "mine.toml" else "safe", "")

    return found


def settings(text: str) -> Settings:
    made = Settings.parse(text, "dir/slimmer.toml")
    assert made is not None
    return made


@pytest.mark.parametrize(
    ("text", "name", "asked"),
    [
        ("", "", "safe"),
        ("", "balanced", "balanced"),
        ("policy = 'balanced'", "", "balanced"),
        ("policy = 'balanced'", "aggressive", "aggressive"),
        ("policy = 'mine.toml'", "", "mine.toml"),
        ("keep = ['x']", "", "safe"),
        ("keep = ['x']\npolicy = 'mine.toml'", "", "mine.toml"),
    ],
)
def test_the_command_lines_policy_wins_over_the_settings(text: str, name: str, asked: str):
    calls: list[tuple[str, str]] = []
    settings(text).chosen(name, finding(calls))

    assert [(asked, "dir/slimmer.toml")] == calls


def test_the_projects_own_rules_stand_on_top_of_the_policy():
    policy = settings(WHOLE).chosen("", find)

    assert "balanced" == policy.name
    assert "own" in {rule.name for rule in policy.rules}
    assert {rule.name for rule in find("balanced", "").rules} < {rule.name for rule in policy.rules}
    assert "*/nltk_data/" in policy.keep.patterns
    assert Safety.CAUTION == policy.safety


def test_settings_may_extend_policies_of_their_own_as_policy_files_do():
    calls: list[tuple[str, str]] = []
    settings("extends = ['balanced']\nkeep = ['x']").chosen("", finding(calls))

    assert [("balanced", "dir/slimmer.toml")] == calls
