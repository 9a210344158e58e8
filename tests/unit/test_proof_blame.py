"""Messages of real programs, and the files that left which they name."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from thorough import examples

from slimmer.policy import Safety
from slimmer.proof.blame import Blame
from slimmer.proof.losses import Losses, Reason

if TYPE_CHECKING:
    from pathlib import Path

SITE = "usr/lib/python3.11/site-packages"
REASON = Reason("tests:pip:pkg 1", "tests", "remove", Safety.CAUTION, "why it may", "what is known")
LEFT = (
    f"{SITE}/pkg/tests/__init__.py",
    f"{SITE}/pkg/tests/helper.py",
    f"{SITE}/pkg/native.cpython-311-x86_64-linux-gnu.so",
    f"{SITE}/pkg/data/table.csv",
    f"{SITE}/pkg/templates/pkg/page.html",
    f"{SITE}/en_core_web_sm/__init__.py",
    f"{SITE}/babel/locale-data/de_AT.dat",
    f"{SITE}/gone-1.0.dist-info/METADATA",
    "usr/lib/x86_64-linux-gnu/libfoo.so.1",
    "usr/lib/x86_64-linux-gnu/libcairo.so",
    "usr/bin/make",
    "usr/bin/perl5",
    "usr/share/perl5/Foo/Bar.pm",
    "usr/share/zoneinfo/Europe/Vienna",
    "usr/share/locale/de/LC_MESSAGES/app.mo",
    "usr/share/nltk_data/tokenizers/punkt",
    "usr/share/doc/app/schema.sql",
    "app/node_modules/left-pad",
    "app/entry.sh",
    "etc/nginx/missing.html",
)
LOSSES = Losses({path.encode(): REASON for path in LEFT}, reasons=(REASON,))


def named(text: str, losses: Losses = LOSSES) -> list[str]:
    return [cause.path.decode() for cause in Blame.of(text, losses).causes]


MESSAGES = [
    ("ModuleNotFoundError: No module named 'pkg.tests'", LEFT[0]),
    ("/usr/bin/python3: No module named pkg.tests.helper", LEFT[1]),
    ("ImportError: cannot import name 'helper' from 'pkg.tests' (/x/__init__.py)", LEFT[1]),
    ("AttributeError: module 'pkg' has no attribute 'tests'", LEFT[0]),
    ("ModuleNotFoundError: No module named 'pkg.native'", LEFT[2]),
    (f"FileNotFoundError: [Errno 2] No such file or directory: '/{LEFT[3]}'", LEFT[3]),
    ("FileNotFoundError: [Errno 2] No such file or directory: 'make'", "usr/bin/make"),
    ("django.template.exceptions.TemplateDoesNotExist: pkg/page.html", LEFT[4]),
    ("jinja2.exceptions.TemplateNotFound: pkg/page.html", LEFT[4]),
    ("TemplateDoesNotExist at /\npkg/page.html\n", LEFT[4]),
    ("OSError: [E050] Can't find model 'en_core_web_sm'. It doesn't seem to be", LEFT[5]),
    ("babel.core.UnknownLocaleError: unknown locale 'de_AT'", LEFT[6]),
    ("importlib.metadata.PackageNotFoundError: No package metadata was found for gone", LEFT[7]),
    ("pkg_resources.DistributionNotFound: The 'gone' distribution was not found and", LEFT[7]),
    ("ImportError: libfoo.so.1: cannot open shared object file: No such file", LEFT[8]),
    ("a.out: error while loading shared libraries: libfoo.so.1: cannot open shared", LEFT[8]),
    ("Error loading shared library libfoo.so.1: No such file (needed by /bin/x)", LEFT[8]),
    ('OSError: no library called "cairo" was found', LEFT[9]),
    ("OSError: cannot load library 'libcairo.so': not found", LEFT[9]),
    ("sh: 1: make: not found", "usr/bin/make"),
    ("/bin/bash: line 1: make: command not found", "usr/bin/make"),
    ("zsh: command not found: make", "usr/bin/make"),
    ('exec: "make": executable file not found in $PATH: unknown', "usr/bin/make"),
    ("crun: executable file `make` not found in $PATH: No such file", "usr/bin/make"),
    ("env: ‘make’: No such file or directory", "usr/bin/make"),  # noqa: RUF001 - coreutils
    ("exec /app/entry.sh: no such file or directory", "app/entry.sh"),
    ("bash: /app/entry.sh: No such file or directory", "app/entry.sh"),
    ("bash: /x.pl: /usr/bin/perl5: bad interpreter: No such file or directory", "usr/bin/perl5"),
    ("Can't locate Foo/Bar.pm in @INC (you may need to install", "usr/share/perl5/Foo/Bar.pm"),
    ("ZoneInfoNotFoundError: 'No time zone found with key Europe/Vienna'", LEFT[13]),
    ("[Errno 2] No translation file found for domain: 'app'", LEFT[14]),
    ("  Attempted to load \x1b[93mtokenizers/punkt/\x1b[0m\n\n  Searched in:", LEFT[15]),
    ("psql: error: /usr/share/doc/app/schema.sql: No such file or directory", LEFT[16]),
    ("Error: Cannot find module 'left-pad'\nRequire stack:", "app/node_modules/left-pad"),
    ('open() "/etc/nginx/missing.html" failed (2: No such file or directory)', LEFT[19]),
    ("something odd about /app/entry.sh, says nobody we know", "app/entry.sh"),
]


@pytest.mark.parametrize(("message", "path"), MESSAGES)
def test_a_message_names_the_file_that_left(message: str, path: str):
    assert [path] == named(f"some line\n{message}\nanother\n")


@pytest.mark.parametrize(
    "message",
    [
        "ModuleNotFoundError: No module named 'other.tests'",
        "sh: 1: cmake: not found",
        "FileNotFoundError: [Errno 2] No such file or directory: '/srv/table.csv'",
        "ImportError: libfoobar.so.1: cannot open shared object file",
        "make: Nothing to be done for 'all'.",
        "",
    ],
)
def test_what_did_not_leave_is_not_blamed(message: str):
    assert [] == named(message)


def test_a_cause_says_all_that_was_known():
    (cause,) = Blame.of("a\nb\nsh: 1: make: not found\n", LOSSES).causes

    assert (3, "sh: 1: make: not found", "/usr/bin/make") == (cause.line, cause.message, cause.keep)
    assert ("tests:pip:pkg 1", "tests", "caution") == tuple(
        cause.to_dict()[key] for key in ("step", "rule", "safety")
    )
    assert ("why it may", "what is known") == (cause.to_dict()["why"], cause.to_dict()["evidence"])


def test_a_folder_that_left_whole_stands_for_what_lay_in_it():
    folder = f"{SITE}/pkg/tests".encode()
    losses = Losses({folder: REASON}, whole=frozenset([folder]))

    assert [f"{SITE}/pkg/tests/deep/x.py"] == named("No module named 'pkg.tests.deep.x'", losses)
    assert [f"{SITE}/pkg/tests/a.csv"] == named(f"open: /{SITE}/pkg/tests/a.csv", losses)
    assert [] == named("No module named 'pkg.testing'", losses)


def test_code_for_another_gpu_names_what_was_cut():
    cut = Reason("gpu:libtorch", "gpu", "device-code", Safety.SAFE, "why")
    losses = Losses({}, {b"usr/lib/libtorch_cuda.so": cut})

    assert ["usr/lib/libtorch_cuda.so"] == named(
        "RuntimeError: CUDA error: no kernel image is available for execution", losses
    )


def test_output_is_bounded_and_printable():
    text = "\n".join(f"\x1b[31m\x07 FileNotFoundError: '/{path}'" for path in LEFT) * 100

    blame = Blame.of(text + "x" * 10_000, LOSSES)

    assert len(blame.causes) <= 50
    assert all(cause.message.isprintable() and len(cause.message) <= 200 for cause in blame.causes)


@given(st.text(max_size=400) | st.binary(max_size=400).map(lambda b: b.decode("latin-1")))
@settings(max_examples=examples(2000), deadline=None)
def test_no_text_breaks_it(text: str):
    Blame.of(text, LOSSES)


WORDS = [message for message, _ in MESSAGES]


@given(st.lists(st.sampled_from(WORDS) | st.text(max_size=20), max_size=20).map("".join))
@settings(max_examples=examples(500), deadline=None)
def test_no_mixture_of_messages_breaks_it(text: str):
    for cause in Blame.of(text, LOSSES).causes:
        assert cause.path.decode() in LEFT


@pytest.mark.parametrize(
    "piece",
    [
        *("a", "/", "'", ": not found", "x: No such file or directory", "/a/b ", " \n"),
        *("No module named '", "TemplateDoesNotExist at ", "a" * 700 + ": command not found\n"),
    ],
)
def test_the_time_is_linear(piece: str):
    def seconds(size: int) -> float:
        text = piece * (size // len(piece))
        begun = time.process_time()
        Blame.of(text, LOSSES)
        return time.process_time() - begun

    seconds(1000)
    small = max(seconds(100_000), 0.02)

    assert seconds(800_000) < 8 * 4 * small


# --- programs of this machine -----------------------------------------------------------------


def says(*argv: str, folder: Path | None = None, **environment: str) -> str:
    if shutil.which(argv[0]) is None:
        pytest.skip(f"no program {argv[0]}")
    kept = {key: os.environ[key] for key in ("PATH", "HOME") if key in os.environ}
    ran = subprocess.run(
        argv, capture_output=True, text=True, check=False, cwd=folder, env=kept | environment
    )
    return ran.stdout + ran.stderr


PYTHON = sys.executable
REAL = [
    ((PYTHON, "-c", "import pkg_that_left.tests"), f"{SITE}/pkg_that_left/__init__.py"),
    ((PYTHON, "-m", "pkg_that_left"), f"{SITE}/pkg_that_left/__init__.py"),
    ((PYTHON, "-c", "open('/nowhere/data.csv')"), "nowhere/data.csv"),
    ((PYTHON, "-c", "import subprocess; subprocess.run(['leftmake'])"), "usr/bin/leftmake"),
    ((PYTHON, "-c", "import ctypes; ctypes.CDLL('libleft.so.3')"), "usr/lib/libleft.so.3"),
    ((PYTHON, "/nowhere/main.py"), "nowhere/main.py"),
    ((PYTHON, "-c", "import zoneinfo; zoneinfo.ZoneInfo('Left/Town')"),
     "usr/share/zoneinfo/Left/Town"),
    ((PYTHON, "-c", "import gettext; gettext.translation('leftapp')"),
     "usr/share/locale/de/LC_MESSAGES/leftapp.mo"),
    ((PYTHON, "-c", "import importlib.metadata as m; m.version('left-dist')"),
     f"{SITE}/left_dist-1.dist-info/METADATA"),
    (("sh", "-c", "leftmake all"), "usr/bin/leftmake"),
    (("sh", "-c", ". /nowhere/functions"), "nowhere/functions"),
    (("bash", "-c", "leftmake all"), "usr/bin/leftmake"),
    (("env", "leftmake"), "usr/bin/leftmake"),
    (("cat", "/nowhere/data.csv"), "nowhere/data.csv"),
    (("perl", "-e", "use Left::Module;"), "usr/share/perl5/Left/Module.pm"),
    (("node", "-e", "require('left-module')"), "app/node_modules/left-module"),
    (("make", "-f", "/nowhere/Makefile"), "nowhere/Makefile"),
]  # fmt: skip


@pytest.mark.parametrize(("argv", "path"), REAL)
def test_what_real_programs_say_names_the_file(argv: tuple[str, ...], path: str):
    text = says(*argv, LC_ALL="C.UTF-8")

    losses = Losses({one.encode(): REASON for _, one in REAL})
    assert path in named(text, losses), text


def test_what_the_loader_says_names_the_library(tmp_path: Path):
    if shutil.which("cc") is None:
        pytest.skip("no program cc")
    (tmp_path / "a.c").write_text("int left(void) { return 0; }")
    (tmp_path / "b.c").write_text("int left(void); int main(void) { return left(); }")
    subprocess.run(["cc", "-shared", "-o", "libleft.so", "a.c"], cwd=tmp_path, check=True)
    subprocess.run(["cc", "-o", "b", "b.c", "-L.", "-lleft"], cwd=tmp_path, check=True)

    text = says(str(tmp_path / "b"))

    losses = Losses({b"usr/lib/libleft.so": REASON})
    assert ["usr/lib/libleft.so"] == named(text, losses), text
