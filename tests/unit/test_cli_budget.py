"""`slimmer budget` and `slimmer diff`: exit codes, files, and what goes where."""

from __future__ import annotations

import io
import json
import shlex
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

import pytest
import tiny

from slimmer import cli

if TYPE_CHECKING:
    from collections.abc import Callable

POLICY = """
description = "what a test may drop"
safety = "caution"
[rules.old]
action = "remove"
safety = "caution"
why = "Nobody reads it."
match.path = ["/opt/old/"]
"""


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SLIMMER_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("COLUMNS", "100")
    for name in ("GITHUB_ACTIONS", "GITHUB_STEP_SUMMARY", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    Path("mine.toml").write_text(POLICY)


@pytest.fixture
def image(tmp_path: Path) -> str:
    return tiny.oci(
        [
            tiny.layer({"etc/old": b"o" * 400, "opt/old/x": b"x" * 3000, "opt/app": b"m" * 3000}),
            tiny.layer({"etc/old": b"n" * 300}),
        ],
        str(tmp_path / "image"),
        created_by=["COPY . /opt", "RUN make"],
    )


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    def command(*argv: str) -> tuple[int, str, str]:
        code = cli.main(argv)
        out, err = capfd.readouterr()
        return code, out, err

    return command


def told(out: str) -> Any:
    return json.loads(out)


@pytest.mark.parametrize(
    ("argv", "code"),
    [
        (["--max", "6700B"], 0),
        (["--max", "6699B"], 1),
        (["--max", "6300B", "--metric", "rootfs"], 0),
        (["--max", "6299B", "--metric", "rootfs"], 1),
        (["--max", "6.7kB"], 0),
        (["--max", "6.7KiB"], 0),
        (["--max", "6.5KiB"], 1),
        (["--platform-limit", "fly"], 0),
        (["--platform-limit", "fly", "--max", "1kB"], 1),
    ],
)
def test_the_exit_code_is_the_verdict(run, image, argv, code):
    assert code == run("budget", image, *argv, "--policy", "mine.toml")[0]


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--max", "4G"], "expected a size such as '4GB' or '2GiB', got '4G' in '--max'"),
        ([], "there is no limit to judge by"),
        (["--platform-limit", "heaven"], "no platform is called 'heaven'"),
        (["--growth", "+5%"], "--growth: growth is measured against a baseline"),
        (["--growth", "5"], "--growth: expected a growth such as"),
        (["--max", "1GB", "--baseline", "mine.toml"], "mine.toml"),
        (["--dive-ci", "none"], "none: No such file or directory"),
        (["--max", "1GB", "--dockerfile", "none"], "none: No such file or directory"),
        (["--max", "1GB", "--settings", "none.toml"], "none.toml: No such file or directory"),
    ],
)
def test_what_cannot_go_on_is_one_line_with_exit_code_2(run, image, argv, message):
    code, out, err = run("budget", image, *argv)

    assert (2, "") == (code, out)
    assert message in err.splitlines()[0]


def test_no_image_needs_a_name_where_one_is_configured(run, image):
    Path("slimmer.toml").write_text(f'image = "{image}"\n')

    assert 0 == run("budget", "--max", "4GB")[0]
    Path("slimmer.toml").unlink()
    code, _, err = run("budget", "--max", "4GB")
    assert 2 == code
    assert "no image is named" in err


def test_several_budgets_stand_in_the_settings_and_all_count(run, image):
    Path("pyproject.toml").write_text(
        f"""
[tool.slimmer]
image = {image!r}
policy = "mine.toml"
[tool.slimmer.budget]
max = "5kB"
metric = "rootfs"
unpacked = "1MB"
hidden = "1kB"
layer = "6kB"
categories = {{ caches = 0 }}
paths = {{ "/opt/old/" = "2kB" }}
forbid = ["nothing"]
"""
    )
    code, out, _ = run("budget", "--format", "json")
    fits = {limit["title"]: limit["fits"] for limit in told(out)["limits"]}

    assert 1 == code
    assert {
        "image (rootfs)": False,
        "image (unpacked)": True,
        "hidden bytes": True,
        "largest layer": False,
        "category caches": True,
        "path /opt/old/": False,
        "no nothing": True,
    } == fits
    sizes = {limit["title"]: limit["actual"] for limit in told(out)["limits"]}
    assert (400, 6400, 3000) == (
        sizes["hidden bytes"],
        sizes["largest layer"],
        sizes["path /opt/old/"],
    )


def test_max_on_the_command_line_wins_over_the_settings(run, image):
    Path("slimmer.toml").write_text(f'image = {image!r}\n[budget]\nmax = "1B"\nhidden = "1MB"\n')
    code, out, _ = run("budget", "--max", "1MB", "--format", "json")

    assert 0 == code
    assert [1_000_000, 1_000_000] == [limit["maximum"] for limit in told(out)["limits"]]


def test_what_is_over_gets_the_way_back_and_the_command(run, image):
    code, out, _ = run("budget", image, "--max", "4kB", "--policy", "mine.toml")

    assert 1 == code
    assert "over by 2.7 kB (2,700 bytes)" in out
    assert "mine.toml: 6.7 kB → 3.7 kB unpacked by 1 step, fits" in out
    assert f"slimmer slim {image} --max 4kB --policy mine.toml -o oci:slim:latest" in out


def test_the_command_that_is_offered_parses(run, image):
    argv = ["--max", "4kB", "--policy", "mine.toml", "--keep", "a b;rm", "--accept", "caution"]
    _, out, _ = run("budget", image, *argv, "--format", "json")
    words = shlex.split(told(out)["command"])
    options = cli.parser().parse_args(words[1:])
    assert (image, "4kB", ["a b;rm"]) == (options.image, options.max, options.keep)


def test_what_no_policy_reaches_is_said(run, image):
    code, out, _ = run("budget", image, "--max", "1B", "--policy", "mine.toml", "--format", "json")

    assert 1 == code
    assert None is told(out)["command"]
    assert "no policy gets there" in told(out)["notes"][0]


def test_growth_over_a_saved_report_and_over_an_image_are_the_same(run, image, tmp_path):
    old = tiny.oci([tiny.layer({"opt/app": b"m" * 3000})], str(tmp_path / "old"))
    run("inspect", old, "-o", "baseline.json")
    argv = ["--growth", "+1kB", "--policy", "mine.toml", "--format", "json"]
    code, by_report, _ = run("budget", image, "--baseline", "baseline.json", *argv)
    also, by_image, _ = run("budget", image, "--baseline", old, *argv)

    assert (1, 1) == (code, also)
    assert told(by_report) == told(by_image)
    assert 3700 == told(by_report)["limits"][0]["actual"]
    # What grew may come down again: the remedy leads to the baseline and what it may grow.
    assert (4000, 3700) == (
        told(by_report)["ladders"][0]["maximum"],
        told(by_report)["ladders"][0]["after"],
    )


def test_packed_is_measured_or_refused_and_never_guessed(run, tmp_path):
    config, tar = (
        tiny.config([tiny.layer({"a": b"a" * 100_000})]),
        tiny.layer({"a": b"a" * 100_000}),
    )
    with tarfile.open(tmp_path / "classic.tar", "w") as archive:
        for name, content in (
            ("c.json", config),
            ("l/layer.tar", tar),
            (
                "manifest.json",
                json.dumps([{"Config": "c.json", "Layers": ["l/layer.tar"]}]).encode(),
            ),
        ):
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    argv = ["budget", "classic.tar", "--max", "1kB", "--metric", "packed"]
    code, _, err = run(*argv)
    assert 2 == code
    assert "--measure-packed" in err
    code, out, _ = run(*argv, "--measure-packed", "--format", "json")
    assert 0 == code
    assert 100 < told(out)["limits"][0]["actual"] < 1000
    assert "measured by compressing" in told(out)["notes"][0]


def test_files_get_the_format_that_their_names_say(run, image):
    names = ["g.json", "g.md", "g.sarif", "g.xml", "g.txt"]
    code, out, err = run(
        *("budget", image, "--max", "1MB"), *(word for name in names for word in ("-o", name))
    )

    assert (0, "") == (code, err)
    assert f"oci:{image}" in out or image in out
    assert told(Path("g.json").read_text())["fits"]
    assert Path("g.md").read_text().startswith("<!-- slimmer:budget -->")
    assert "2.1.0" == json.loads(Path("g.sarif").read_text())["version"]
    assert "testsuites" == ElementTree.fromstring(Path("g.xml").read_text()).tag
    assert Path("g.txt").read_text() == out


def test_inside_actions_the_log_is_annotated_and_the_summary_written(run, image, monkeypatch):
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", "summary.md")
    Path("summary.md").write_text("before\n")
    Path("Dockerfile").write_text("FROM x\nCOPY . /opt\n")
    code, out, _ = run(
        *("budget", image, "--max", "4kB", "--policy", "mine.toml", "--dockerfile", "Dockerfile")
    )

    assert 1 == code
    assert out.startswith("::stop-commands::")
    assert "\n::error file=Dockerfile,line=2,title=slimmer%3A over budget" in out
    assert Path("summary.md").read_text().startswith("before\n<!-- slimmer:budget -->\n### ❌")


def test_inside_actions_another_format_may_be_asked_for(run, image, monkeypatch):
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", "summary.md")
    _, out, _ = run("budget", image, "--max", "1MB", "--format", "text")

    assert "::" not in out
    assert not Path("summary.md").exists()


def test_dives_rules_decide_by_dives_numbers(run, image):
    Path(".dive-ci").write_text(
        "rules:\n  highestWastedBytes: 699B\n  highestUserWastedPercent: off\n"
    )
    code, out, _ = run("budget", image, "--dive-ci", ".dive-ci", "--format", "json")
    rules = {rule["rule"]: rule for rule in told(out)["dive"]}

    assert 1 == code
    assert (700, 400) == (rules["highestWastedBytes"]["dive"], rules["highestWastedBytes"]["true"])
    assert (False, True) == (
        rules["highestWastedBytes"]["fits"],
        rules["highestWastedBytes"]["truly_fits"],
    )
    Path(".dive-ci").write_text(
        "rules:\n  highestWastedBytes: 700B\n  highestUserWastedPercent: off\n"
    )
    assert 0 == run("budget", image, "--dive-ci", ".dive-ci")[0]


def test_the_cache_gives_the_same_bytes_and_none_at_all_too(run, image):
    Path(".dive-ci").write_text("rules:\n  lowestEfficiency: 0.99\n")
    argv = ["budget", image, "--max", "4kB", "--policy", "mine.toml", "--dive-ci", ".dive-ci"]
    first = run(*argv, "--format", "json")

    assert first == run(*argv, "--format", "json")
    assert first == run(*argv, "--format", "json", "--no-cache")


def test_a_warm_gate_plans_nothing_again(run, image, monkeypatch):
    argv = ["budget", image, "--max", "4kB", "--policy", "mine.toml"]
    first = run(*argv)

    def planned(*_: object) -> None:
        raise AssertionError("planned again")

    monkeypatch.setattr("slimmer.app.planner.Planner.by_policy", planned)
    assert first == run(*argv)
    with pytest.raises(AssertionError):
        run("budget", image, "--max", "4.1kB", "--policy", "mine.toml")


def test_another_policy_is_another_question(run, image):
    argv = ["budget", image, "--max", "4kB", "--policy", "mine.toml", "--format", "json"]
    first = run(*argv)
    Path("mine.toml").write_text(POLICY.replace("/opt/old/", "/opt/none/"))

    assert told(first[1])["ladders"][0]["fits"]
    assert not told(run(*argv)[1])["ladders"][0]["fits"]


# inspect --compat dive


def test_inspect_writes_dives_json(run, image):
    code, out, _ = run("inspect", image, "--compat", "dive")

    assert 0 == code
    assert {"sizeBytes": 6700, "inefficientBytes": 700} == {
        key: told(out)["image"][key] for key in ("sizeBytes", "inefficientBytes")
    }
    assert [{"count": 2, "sizeBytes": 700, "file": "/etc/old"}] == told(out)["image"][
        "fileReference"
    ]


# diff


def test_diff_takes_images_and_saved_reports_alike(run, image, tmp_path):
    old = tiny.oci([tiny.layer({"opt/app": b"m" * 3000})], str(tmp_path / "old"))
    run("inspect", old, "-o", "old.json")
    run("inspect", image, "-o", "new.json")
    made = [
        told(run("diff", before, after, "--format", "json")[1])
        for before, after in ((old, image), ("old.json", image), (old, "new.json"))
    ]

    assert made[0] == made[1] == made[2]
    assert 3700 == made[0]["sizes"][0]["growth"]
    assert {"name": "opt/old/x", "before": None, "after": 3000} == {
        key: made[0]["files"]["largest"][0][key] for key in ("name", "before", "after")
    }


def test_diffs_exit_code_is_asked_for(run, image, tmp_path):
    old = tiny.oci([tiny.layer({"opt/app": b"m"})], str(tmp_path / "old"))

    assert 0 == run("diff", old, image)[0]
    assert 1 == run("diff", old, image, "--exit-code")[0]
    assert 0 == run("diff", image, image, "--exit-code")[0]
    assert "nothing changed" in run("diff", image, image)[1]


@pytest.mark.parametrize(("name", "begin"), [("d.json", "{"), ("d.md", "### "), ("d.txt", "")])
def test_a_diff_goes_into_a_file_in_the_format_of_its_name(run, image, name, begin):
    code, out, _ = run("diff", image, image, "-o", name)

    assert (0, "") == (code, out)
    assert Path(name).read_text().startswith(begin)


# settings elsewhere


def test_plan_takes_the_projects_policy(run, image):
    Path("slimmer.toml").write_text("policy = 'mine.toml'\n")
    code, out, _ = run("plan", image, "--format", "json")

    assert 0 == code
    assert ["old:app"] == [step["id"] for step in told(out)["steps"]]
    Path("slimmer.toml").write_text("policy = 'mine.toml'\nkeep = ['/opt/old/x']\n")
    assert [] == told(run("plan", image, "--format", "json")[1])["steps"]


def test_settings_elsewhere_name_files_beside_them(run, image, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "p.toml").write_text(POLICY)
    (elsewhere / "Dockerfile").write_text("FROM x\nCOPY . /opt\n")
    (elsewhere / "s.toml").write_text(
        f"image = {image!r}\npolicy = 'p.toml'\ndockerfile = 'Dockerfile'\n[budget]\nmax = '4kB'\n"
    )
    code, out, _ = run("budget", "--settings", "elsewhere/s.toml", "--format", "sarif")
    place = json.loads(out)["runs"][0]["results"][0]["locations"][0]["physicalLocation"]

    assert 1 == code
    assert "elsewhere/Dockerfile" == place["artifactLocation"]["uri"]
