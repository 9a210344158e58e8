"""The command line: what goes where, and with which exit code."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import tiny

from slimmer import cli
from slimmer.cli import output
from slimmer.cli.terminal import Terminal

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SLIMMER_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    for name in ("NO_COLOR", "TERM", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def image(tmp_path: Path) -> str:
    return tiny.oci(
        [
            tiny.layer({"etc/old": b"o" * 4, "opt/app/main.py": b"m" * 30}),
            tiny.layer({"etc/old": b"new"}, removed=["opt/app"]),
        ],
        str(tmp_path / "image"),
        created_by=["COPY . /opt/app", "RUN rm -r /opt/app"],
    )


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Run a command in this process: exit code, stdout, stderr."""

    def command(*argv: str) -> tuple[int, str, str]:
        try:
            code = cli.main(argv)
        except SystemExit as stop:
            code = stop.code if isinstance(stop.code, int) else 1
        out, err = capfd.readouterr()
        return code, out, err

    return command


def test_inspect_prints_the_three_sizes_with_their_names(run, image):
    code, out, err = run("inspect", image)

    assert (0, "") == (code, err)
    assert re.search(r"unpacked +37 B", out)
    assert re.search(r"rootfs +3 B", out)
    assert re.search(r"packed", out)
    assert re.search(r"hidden +34 B +4 B overwritten, 30 B deleted", out)


def test_inspect_prints_json_with_the_same_numbers(run, image):
    code, out, _ = run("inspect", image, "--format", "json")

    report = json.loads(out)
    assert 0 == code
    assert (37, 3) == (report["sizes"]["unpacked"], report["sizes"]["rootfs"])
    assert {"overwritten": 4, "deleted": 30} == report["hidden"]


def test_the_same_image_gives_the_same_bytes_from_the_cache_too(run, image):
    first = run("inspect", image, "--format", "json")

    assert first == run("inspect", image, "--format", "json")
    assert first == run("inspect", image, "--format", "json", "--no-cache")


def test_a_cached_report_is_of_this_question_and_of_this_image(run, image, tmp_path):
    whole = run("inspect", image, "--format", "json")
    narrowed = run("inspect", image, "--format", "json", "--filter", "nothing")
    tiny.oci([tiny.layer({"a": b"another"})], image)
    another = run("inspect", image, "--format", "json")

    assert None is json.loads(whole[1])["filter"]
    assert [] == json.loads(narrowed[1])["owners"]
    assert 7 == json.loads(another[1])["sizes"]["unpacked"]


def test_a_damaged_cache_is_no_cache(run, image, tmp_path):
    first = run("inspect", image, "--format", "json")
    for path in (tmp_path / "cache").rglob("*.*"):
        path.write_bytes(path.read_bytes()[:-9] + b"damaged!!")

    assert first == run("inspect", image, "--format", "json")


def test_no_cache_keeps_nothing(run, image, tmp_path):
    run("inspect", image, "--no-cache")

    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize("by", ["owner", "category", "layer", "directory", "file"])
def test_by_shows_one_table(run, image, by):
    code, out, _ = run("inspect", image, "--by", by)

    headings = re.findall(r"^(Owners|Categories|Layers|Directories|Largest files)$", out, re.M)
    assert (0, 1) == (code, len(headings))


def test_top_bounds_the_rows(run, image):
    _, out, _ = run("inspect", image, "--by", "layer", "--top", "1")

    assert "… 1 more layer: 3 B" in out


def test_filter_narrows_what_is_counted(run, image):
    _, out, _ = run("inspect", image, "--filter", "*/old", "--format", "json")

    assert {"pattern": "*/old", "size": 3, "files": 1} == json.loads(out)["filter"]


@pytest.mark.parametrize(
    ("name", "begin"),
    [("r.json", "{"), ("r.md", "### Image"), ("r.txt", "oci:"), ("r", "oci:")],
)
def test_a_file_gets_the_format_that_its_name_says(run, image, tmp_path, name, begin):
    code, out, err = run("inspect", image, "-o", str(tmp_path / name))

    assert (0, "", "") == (code, out, err)
    assert (tmp_path / name).read_text().startswith(begin)


def test_format_wins_over_the_files_name(run, image, tmp_path):
    run("inspect", image, "-o", str(tmp_path / "r.md"), "--format", "json")

    assert 1 == json.loads((tmp_path / "r.md").read_text())["schema_version"]


def test_a_dash_is_stdout(run, image):
    _, out, _ = run("inspect", image, "-o", "-", "--format", "json")

    assert out.startswith("{")


def test_why_says_what_brings_an_owner_in(run, image):
    code, out, _ = run("why", image, "unowned")

    assert 0 == code
    assert "nothing in the image requires it" in out


def test_why_helps_with_a_name_that_is_not_there(run, image):
    code, out, err = run("why", image, "unownd")

    assert (2, "") == (code, out)
    assert "nothing in the image is called 'unownd'\nhint: did you mean unowned?" in err


@pytest.mark.parametrize("form", ["text", "json", "markdown"])
def test_no_name_of_an_image_reaches_the_terminal_as_it_is(run, tmp_path, form):
    evil = "opt/\x1b]0;x\x07\x1b[31m\n\u202e\u200b<script>|`@a/\udcff.py"
    image = tiny.oci(
        [tiny.layer({evil: b"x" * 9}), tiny.layer({}, removed=[evil])],
        str(tmp_path / "evil"),
        created_by=["RUN \x1b[2J|`<b>\u202e", "\x9b31m"],
    )
    code, out, err = run("inspect", image, "--format", form)

    assert 0 == code
    assert all(line.isprintable() for line in (out + err).split("\n"))
    assert r"\u202e" in out.replace("\\\\", "\\")


def test_problems_of_the_image_go_to_stderr_and_into_the_report(run, tmp_path):
    image = tiny.oci(
        [tiny.layer({}, symlinks={"lib": "usr/lib"}), tiny.layer({"lib/x": b"x"})],
        str(tmp_path / "odd"),
    )
    code, out, err = run("inspect", image)

    assert 0 == code
    assert "slimmer: problem: layer 1: 1 members lie behind a symlink of the image" in err
    assert "Problems (1)" in out


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["inspect"], "the following arguments are required: IMAGE"),
        (["inspect", "x", "--by", "colour"], "argument --by: invalid choice: 'colour'"),
        (["inspect", "x", "--top", "0"], "argument --top: expected a number from 1 on, got '0'"),
        (["inspect", "x", "--top", "-3"], "argument --top"),
        (["inspect", "./no/such.tar"], "there is no file or folder ./no/such.tar"),
        (["inspect", "x.tar", "--platform", "linux"], "expected a platform such as"),
        (["explode"], "invalid choice: 'explode'"),
        ([], "the following arguments are required: COMMAND"),
        (["inspect", "./\x1b[31m.tar"], r"there is no file or folder ./\x1b[31m.tar"),
    ],
)
def test_what_cannot_go_on_is_one_line_and_a_hint_with_exit_code_2(run, argv, message):
    code, out, err = run(*argv)

    assert (2, "") == (code, out)
    error, hint = err.splitlines()
    assert error.startswith("slimmer: error: ")
    assert message in error
    assert hint.startswith("hint: ")


def test_a_folder_that_cannot_be_written_to_is_one_line(run, image, tmp_path):
    code, _, err = run("inspect", image, "-o", str(tmp_path / "no" / "such" / "report.json"))

    assert 2 == code
    assert re.fullmatch(r"slimmer: error: there is no folder /\S*/no/such\nhint: .*\n", err)


def test_closed_streams_are_no_reason_for_a_traceback(image):
    closed = ["sh", "-c", f'exec "{sys.executable}" -m slimmer inspect "$0" >&- 2>&-', image]

    assert 0 == subprocess.run(closed, check=False, cwd=ROOT).returncode


def test_an_image_of_another_platform_is_not_the_one_that_was_asked_for(run, image):
    code, _, err = run("inspect", image, "--platform", "linux/s390x")

    assert 2 == code
    assert "holds no image for linux/s390x\nhint: choose with --platform one of: linux/amd64" in err


def commands() -> list[str]:
    return ["", *cli.COMMANDS]


@pytest.mark.parametrize("command", commands())
def test_every_command_explains_itself_with_examples_that_parse(run, command):
    code, out, err = run(*command.split(), "--help")

    assert (0, "") == (code, err)
    prose = [line for line in out.splitlines() if not line.startswith("  slimmer ")]
    assert all(len(line) <= 80 for line in prose)
    examples = re.findall(r"^  slimmer (\w+ .*?)(?:   +.*)?(?: \| .*)?$", out, re.M)
    assert len(examples) >= 2
    for example in examples:
        assert callable(cli.parser().parse_args(shlex.split(example)).run)


def test_version_is_the_projects(run):
    written = re.search(r'^version = "(.*)"$', (ROOT / "pyproject.toml").read_text(), re.M)

    assert (0, f"slimmer {written and written[1]}\n", "") == run("--version")


def test_an_interruption_is_quiet(run, image, monkeypatch):
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("slimmer.app.session.Session.report", interrupted)

    assert (130, "", "") == run("inspect", image)


def test_running_out_of_memory_is_one_line(run, image, monkeypatch):
    def full(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr("slimmer.app.session.Session.report", full)

    code, out, err = run("inspect", image)

    assert (2, "") == (code, out)
    assert err.startswith("slimmer: error: out of memory\nhint: ")


def test_a_reader_that_had_enough_is_no_error(image):
    process = subprocess.Popen(
        [sys.executable, "-m", "slimmer", "inspect", image, "--format", "json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    process.stdout.close()
    assert process.stderr is not None
    errors = process.stderr.read()
    process.stderr.close()

    assert (b"", 141) == (errors, process.wait())


def on_a_terminal(argv: list[str], seconds: float = 60, **environment: str) -> tuple[int, bytes]:
    """Run a command with a terminal on all three streams: exit code, and what was shown."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.environ.update(environment)
        os.execv(sys.executable, [sys.executable, *argv])
    shown = b""
    end = time.monotonic() + seconds
    with contextlib.suppress(OSError), os.fdopen(terminal, "rb", 0) as stream:
        while time.monotonic() < end and (chunk := stream.read(65536)):
            shown += chunk
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), shown


INSPECT = """
import sys
from slimmer.cli import main, progress
progress.PATIENCE = 3600  # what is looked at here is the report, however slow the machine
sys.exit(main(["inspect", sys.argv[1]]))
"""


def test_colour_is_for_terminals(image, run):
    _, out, _ = run("inspect", image)
    code, shown = on_a_terminal(["-c", INSPECT, image], TERM="xterm")

    assert "\x1b" not in out
    assert 0 == code
    assert b"\x1b[1m" in shown


@pytest.mark.parametrize("environment", [{"NO_COLOR": "1"}, {"TERM": "dumb"}])
def test_colour_can_be_had_off(image, environment):
    settings = {"TERM": "xterm", **environment}
    code, shown = on_a_terminal(["-c", INSPECT, image], **settings)

    assert 0 == code
    assert b"\x1b" not in shown


SLOW = """
import sys, time
from slimmer.app.session import Session
from slimmer.cli import main
def report(session, pattern):
    with session.reporter.working():
        tell = session.reporter.stage("reading layers")
        for number in range({steps}):
            tell(number, 20)
            time.sleep(0.1)
    raise KeyboardInterrupt
Session.report = report
sys.exit(main(["inspect", "x"]))
"""


def test_progress_is_shown_after_a_while_and_cleared_away():
    code, seen = on_a_terminal(["-c", SLOW.format(steps=30)], TERM="xterm", COLUMNS="80")

    assert 130 == code
    assert b"reading layers" in seen
    assert seen.endswith(b"\x1b[2K")


def test_progress_is_not_shown_for_what_is_done_at_once():
    code, seen = on_a_terminal(["-c", SLOW.format(steps=0)], TERM="xterm", COLUMNS="80")

    assert (130, b"") == (code, seen)


def test_progress_is_silent_without_a_terminal():
    made = subprocess.run(
        [sys.executable, "-c", SLOW.format(steps=14)], capture_output=True, check=False
    )

    assert (130, b"", b"") == (made.returncode, made.stdout, made.stderr)


def test_ctrl_c_ends_a_running_command_quietly():
    slow = SLOW.format(steps=600).replace("with ses", "print(flush=True)\n    with ses")
    process = subprocess.Popen(
        [sys.executable, "-c", slow], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout is not None
    process.stdout.readline()
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)

    assert (130, b"", b"") == (process.returncode, out, err)


def test_output_without_unicode_is_ascii(image):
    made = subprocess.run(
        [sys.executable, "-m", "slimmer", "inspect", image],
        capture_output=True,
        check=True,
        env={**os.environ, "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"},
    )

    assert made.stdout.isascii()
    assert b"#" in made.stdout


def test_the_width_is_columns_or_the_terminals():
    def width(**environment: str) -> int:
        return Terminal.of(environment, sys.stdout, sys.stderr).width

    assert 123 == width(COLUMNS="123")
    assert width() == width(COLUMNS="0") == width(COLUMNS="wide")


def test_a_file_appears_whole_or_not_at_all(tmp_path, monkeypatch):
    target = tmp_path / "report.json"
    target.write_bytes(b"old")
    target.chmod(0o640)

    def failing(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", failing)
        with pytest.raises(OSError, match="No space left"):
            output.replace(target, b"new")
    assert ([target], b"old") == (list(tmp_path.iterdir()), target.read_bytes())

    output.replace(target, b"new")

    assert ([target], b"new") == (list(tmp_path.iterdir()), target.read_bytes())
    assert 0o640 == target.stat().st_mode & 0o777


def test_a_file_is_written_through_a_symlink(tmp_path):
    target = tmp_path / "report.json"
    target.write_bytes(b"old")
    link = tmp_path / "latest.json"
    link.symlink_to("report.json")

    output.replace(link, b"new")

    assert link.is_symlink()
    assert b"new" == target.read_bytes()


def test_what_is_no_file_is_written_to_and_not_replaced():
    output.replace(Path("/dev/null"), b"x")

    assert Path("/dev/null").is_char_device()
