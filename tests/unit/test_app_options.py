"""The project's settings are merged into the options once, and read once."""

from __future__ import annotations

from pathlib import Path

import pytest
import tiny

from slimmer import cli
from slimmer.app.options import BudgetOptions, PlanOptions
from slimmer.app.settings import Settings
from slimmer.policy import Safety

SETTINGS = Settings(
    "slimmer.toml",
    accept="caution",
    gpu="sm_90",
    swap=("torch=cpu",),
    find_links=("wheels",),
    platforms=("fly",),
    requirements=("requirements.txt",),
)


def test_what_the_options_say_wins_and_lists_add_up():
    options = PlanOptions(gpu="none", swap=("xgboost=cpu",)).with_settings(SETTINGS)

    assert ("none", Safety.CAUTION) == (options.gpu, options.accept)
    assert ("torch=cpu", "xgboost=cpu") == options.swap
    assert ("wheels",) == options.find_links


@pytest.mark.parametrize("options", [PlanOptions(swap=("torch=cpu",)), BudgetOptions(maximum=1)])
def test_settings_that_are_merged_again_change_nothing(options: PlanOptions | BudgetOptions):
    once = options.with_settings(SETTINGS)

    assert once == once.with_settings(SETTINGS)


def test_a_file_that_settings_name_lies_beside_them():
    elsewhere = Settings("ci/slimmer.toml", baseline="baseline.json", requirements=("r.txt",))
    options = BudgetOptions().with_settings(elsewhere)

    assert ("ci/baseline.json", ("ci/r.txt",)) == (options.baseline, options.requirements)
    assert "own.json" == BudgetOptions(baseline="own.json").with_settings(elsewhere).baseline


@pytest.fixture
def image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("SLIMMER_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.delenv("GITHUB_ACTIONS", raising=False)
    monkeypatch.chdir(tmp_path)
    return tiny.oci([tiny.layer({"root/.cache/pip/x": b"x" * 3000})], str(tmp_path / "image"))


def test_a_command_reads_its_settings_once(image: str, monkeypatch: pytest.MonkeyPatch):
    Path("slimmer.toml").write_text("policy = 'safe'\n[budget]\nmax = '1kB'\n")
    read = Settings.parse
    times: list[str] = []

    def counted(text: str, source: str, *tables: str) -> Settings | None:
        times.append(source)
        return read(text, source, *tables)

    monkeypatch.setattr(Settings, "parse", counted)
    for argv in (["budget", image], ["plan", image], ["slim", image, "-o", "slim.tar"]):
        times.clear()
        assert 0 <= cli.main([*argv, *(["--static"] if argv[0] == "slim" else [])]) <= 1
        assert ["slimmer.toml"] == times, argv
