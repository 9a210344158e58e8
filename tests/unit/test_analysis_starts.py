"""What the start of an image names: each way of naming a program, a file, a module, a library."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from thorough import examples
from tiny import Bytes, config, layer

from slimmer import owners
from slimmer.analysis.dependencies import DependencyGraph
from slimmer.analysis.facts import Facts
from slimmer.attribution import Attribution
from slimmer.image import Config, Image
from slimmer.index import Index

if TYPE_CHECKING:
    from collections.abc import Mapping

    from slimmer.analysis.starts import Starts

MAKE = "usr/bin/make"
PROGRAMS = dict.fromkeys((MAKE, "usr/bin/sh", "usr/bin/env", "usr/bin/tini", "usr/bin/xargs"), b"x")
PYTHON = {"usr/bin/python3": b"x"}


def starts(
    files: Mapping[str, bytes | None],
    runtime: Mapping[str, object] | None = None,
    symlinks: Mapping[str, str] | None = None,
) -> Starts:
    tar = layer({**PROGRAMS, **PYTHON, **files}, symlinks=symlinks)
    raw = config([tar], ["RUN x"], runtime)
    image = Image.of("tiny:latest", Config.parse(raw), [(Bytes(tar), None, None)])
    index = Index.scan(image, owners.evidence())
    ledger = Attribution.of(index, owners.default)

    return Facts(ledger, DependencyGraph.of(ledger)).starts


def script(text: str) -> dict[str, bytes | None]:
    return {"entry.sh": b"#!/bin/sh\n" + text.encode()}


ENTRY = {"Entrypoint": ["/entry.sh"]}

CONFIGS: list[tuple[str, Mapping[str, object], Mapping[str, bytes | None]]] = [
    ("command", {"Cmd": ["make", "serve"]}, {}),
    ("whole path", {"Cmd": ["/usr/bin/make"]}, {}),
    ("merged /usr", {"Cmd": ["/bin/make"]}, {}),
    ("entrypoint", {"Entrypoint": ["make"], "Cmd": ["all"]}, {}),
    ("command of an entrypoint", {"Entrypoint": ["/entry.sh"], "Cmd": ["make"]}, script('"$@"')),
    ("shell form", {"Cmd": ["/bin/sh", "-c", "cd /x && exec make run"]}, {}),
    ("shell with options", {"Cmd": ["sh", "-ec", "make"]}, {}),
    ("init", {"Entrypoint": ["tini", "-g", "--", "make"]}, {}),
    ("env", {"Cmd": ["env", "-i", "A=b", "make"]}, {}),
    ("health check", {"Healthcheck": {"Test": ["CMD", "make", "ok"]}}, {}),
    ("health check in a shell", {"Healthcheck": {"Test": ["CMD-SHELL", "make ok || exit 1"]}}, {}),
    ("next build", {"OnBuild": ["COPY . /app", "RUN make install"]}, {}),
    ("next build in words", {"OnBuild": ['RUN ["make", "install"]']}, {}),
    (
        "PATH of its own",
        {"Cmd": ["tool"], "Env": ["PATH=/opt/t"]},
        {"opt/t/tool": b"#!/bin/make\n"},
    ),
    ("variable", {"Env": ["MAKE=make -s"]}, {}),
    ("cron", {}, {"usr/sbin/cron": b"x", "etc/cron.d/j": b"* * * * * root make job\n"}),
    ("own crontab", {}, {"usr/sbin/cron": b"x", "var/spool/cron/crontabs/u": b"@daily make\n"}),
    ("daily", {}, {"usr/sbin/cron": b"x", "etc/cron.daily/j": b"#!/bin/sh\nmake\n"}),
    (
        "supervisor",
        {},
        {
            "usr/bin/supervisord": b"x",
            "etc/supervisor/conf.d/a.conf": b"[program:a]\ncommand=make\n",
        },
    ),
    ("unit", {}, {"etc/systemd/system/a.service": b"[Service]\nExecStart=-/usr/bin/make x\n"}),
    ("runit", {}, {"etc/service/a/run": b"#!/bin/sh\nexec make\n"}),
    ("s6", {}, {"etc/services.d/a/run": b"#!/usr/bin/with-contenv sh\nmake\n"}),
    (
        "npm",
        {"Cmd": ["npm", "start"], "WorkingDir": "/a"},
        {
            "usr/bin/npm": b"x",
            "a/package.json": json.dumps({"scripts": {"start": "make x"}}).encode(),
        },
    ),
    (
        "makefile of make",
        {"Cmd": ["gmake"], "WorkingDir": "/a"},
        {
            "usr/bin/gmake": b"x",
            "a/Makefile": b"all: b\n\t@make c\n",
        },
    ),
    (
        "makefile of another",
        {"Cmd": ["gmake"], "WorkingDir": "/a"},
        {
            "usr/bin/gmake": b"x",
            "a/Makefile": b"include rules.mk\n",
            "a/rules.mk": b"TOOL := make\nall:\n\t$(TOOL) x\n",
        },
    ),
    (
        "Procfile",
        {"Cmd": ["honcho", "start"], "WorkingDir": "/a"},
        {"usr/bin/honcho": b"x", "a/Procfile": b"web: make serve\n"},
    ),
    (
        "crontab of its own program",
        {"Cmd": ["supercronic", "/a/jobs"]},
        {"usr/bin/supercronic": b"x", "a/jobs": b"*/5 * * * * make job\n"},
    ),
    (
        "supervisor's own file",
        {"Cmd": ["supervisord", "-c", "/a/s.ini"]},
        {"usr/bin/supervisord": b"x", "a/s.ini": b"[program:a]\ncommand=make run\n"},
    ),
    ("command in a variable", {"Env": ["BUILD_CMD=make -C /a"]}, {}),
    ("script by its interpreter", {"Cmd": ["sh", "/a/b"]}, {"a/b": b"make\n"}),
    ("relative script", {"Cmd": ["./b"], "WorkingDir": "/a"}, {"a/b": b"#!/bin/sh\nmake\n"}),
]


@pytest.mark.parametrize(
    ("runtime", "files"), [c[1:] for c in CONFIGS], ids=[c[0] for c in CONFIGS]
)
def test_a_program_that_the_config_or_a_service_starts_is_found(
    runtime: Mapping[str, object], files: Mapping[str, bytes | None]
) -> None:
    found = starts(files, runtime, symlinks={"bin": "usr/bin"})

    assert MAKE.encode() in found.programs


CALLS = [
    "make migrate\nexec python app.py",
    "exec make",
    ". /lib.sh",
    "source lib.sh",
    "sh /lib.sh",
    '. "$(dirname "$0")/lib.sh"',
    "cd / && ./lib.sh",
    "true && make",
    "true || { make; }",
    "x=$(make -v)",
    "x=`make -v`",
    "ls | xargs -0 make",
    "nice -n 5 env A=b make",
    "find . -name x -exec make {} +",
    "TOOL=make\n$TOOL all",
    "${TOOL:-make} all",
    "for t in make cc; do $t -v; done",
    "eval 'make all'",
    "trap 'make clean' EXIT",
    "bash -lc 'make all'",
    "su app -c 'make all'",
    "if command -v make >/dev/null; then :; fi",
    "for f in /hooks/*.sh; do . $f; done",
    'case "$1" in run) make;; esac',
    "PATH=/opt/more:$PATH\nmore",
    "exec /usr/bin/make",
    "go() { make; }; go",
]


@pytest.mark.parametrize("text", CALLS)
def test_a_program_that_a_script_calls_is_found_with_the_place(text: str) -> None:
    files: dict[str, bytes | None] = {
        **script(text),
        "lib.sh": b"#!/bin/sh\nmake\n",
        "hooks/1.sh": b"make\n",
        "opt/more/more": b"#!/bin/sh\nmake\n",
        "usr/bin/bash": b"x",
        "usr/bin/su": b"x",
        "usr/bin/nice": b"x",
    }
    named = starts(files, ENTRY).programs[MAKE.encode()]

    assert named.name.endswith("make")
    assert "Entrypoint" in str(named)


DECOYS = [
    "# make all",
    "echo make",
    "echo 'run make'",
    "cat <<END\nmake all\nEND",
    "printf '%s' make",
    'case "$1" in make) true;; esac',
    "make=1",
    "test -f make",
    "make() { true; }; make",
    "a=(make)",
    "cmake x",
    "/opt/make",
    "cp make.conf /etc",
    "[ make = x ]",
]


@pytest.mark.parametrize("text", DECOYS)
def test_a_word_that_calls_nothing_is_no_program(text: str) -> None:
    assert MAKE.encode() not in starts(script(text), ENTRY).programs


def test_a_script_that_nothing_starts_says_nothing() -> None:
    assert MAKE.encode() not in starts({"app/build.sh": b"#!/bin/sh\nmake\n"}).programs


def test_scripts_that_start_one_another_come_to_an_end() -> None:
    files = {"a.sh": b"#!/bin/sh\n. /b.sh\n", "b.sh": b"#!/bin/sh\n. /a.sh; make\n"}

    assert MAKE.encode() in starts(files, {"Cmd": ["/a.sh"]}).programs


@pytest.mark.parametrize(
    ("runtime", "module"),
    [
        ({"Cmd": ["python3", "-m", "app.tests.serve"]}, "app.tests.serve"),
        ({"Cmd": ["python3", "-um", "serve"]}, "serve"),
        ({"Cmd": ["sh", "-c", "python3 -c 'import app.tests.x'"]}, "app.tests.x"),
        ({"Cmd": ["gunicorn", "--bind", ":80", "app.wsgi:application"]}, "app.wsgi"),
        ({"Cmd": ["celery", "-A", "proj", "worker"]}, "proj"),
        ({"Cmd": ["python3", "manage.py", "--settings=app.tests.settings"]}, "app.tests.settings"),
        ({"Env": ["DJANGO_SETTINGS_MODULE=app.tests.settings"]}, "app.tests.settings"),
        ({"Env": ["FACTORY=app.tests.settings:S"]}, "app.tests.settings"),
        ({"Cmd": ["/m.py"]}, "app.tests.fakes"),
    ],
)
def test_modules_that_the_start_names(runtime: Mapping[str, object], module: str) -> None:
    files = {"m.py": b"#!/usr/bin/python3\nfrom app.tests.fakes import Model\n"}

    assert module in starts(files, runtime).modules


@pytest.mark.parametrize(
    ("runtime", "files"),
    [
        ({"Env": ["LD_PRELOAD=/usr/lib/libfoo.so.1"]}, {}),
        ({"Env": ["LD_PRELOAD=libc.so libfoo.so.1"]}, {}),
        ({"Env": ["LD_PRELOAD=/opt/link.so"]}, {}),
        ({}, {"etc/ld.so.preload": b"/usr/lib/libfoo.so.1\n"}),
        ({}, {"etc/ld.so.preload": b"# a comment\n/x.so:/usr/lib/libfoo.so.1"}),
    ],
)
def test_preloaded_libraries(
    runtime: Mapping[str, object], files: Mapping[str, bytes | None]
) -> None:
    found = starts(
        {"usr/lib/libfoo.so.1": b"x", **files}, runtime, {"opt/link.so": "../usr/lib/libfoo.so.1"}
    )

    assert b"usr/lib/libfoo.so.1" in found.libraries


@pytest.mark.parametrize(
    ("runtime", "text"),
    [
        ({"Env": ["SCHEMA_PATH=/usr/share/doc/x/schema.sql"]}, ""),
        ({"Env": ["JAVA_TOOL_OPTIONS=-javaagent:/usr/share/doc/x/schema.sql"]}, ""),
        ({"Cmd": ["cat", "/usr/share/doc/x/schema.sql"]}, ""),
        ({"Cmd": ["cat", "doc/x/schema.sql"], "WorkingDir": "/usr/share"}, ""),
        (ENTRY, "zcat /usr/share/doc/x/schema.sql > /y"),
        (ENTRY, "D=/usr/share/doc\ncat $D/x/schema.sql"),
        (ENTRY, "cat </usr/share/doc/x/schema.sql"),
        (ENTRY, "cat --in=/usr/share/doc/x/schema.sql"),
        (ENTRY, "cd /usr/share/doc/x; cat schema.sql"),
        (ENTRY, "for f in /usr/share/doc/x/*.sql; do cat $f; done"),
    ],
)
def test_files_that_the_start_names(runtime: Mapping[str, object], text: str) -> None:
    found = starts({**script(text), "usr/share/doc/x/schema.sql": b"x"}, runtime)

    assert b"usr/share/doc/x/schema.sql" in found.files


@settings(max_examples=examples(200), deadline=None)
@given(
    st.lists(st.text(max_size=20), max_size=4),
    st.text(st.sampled_from("$(){}<>|&;\"'`\\ \n\t./ab=#*[-0\0é"), max_size=200),
    st.dictionaries(st.sampled_from(["PATH", "LD_PRELOAD", "ENV", "A"]), st.text(max_size=30)),
)
def test_odd_starts_are_looked_through_without_error(
    words: list[str], text: str, variables: dict[str, str]
) -> None:
    runtime = {
        "Entrypoint": words,
        "Cmd": ["/entry.sh"],
        "Env": [f"{name}={value}" for name, value in variables.items()],
        "Healthcheck": {"Test": ["CMD-SHELL", text]},
        "OnBuild": ["RUN " + text],
    }
    files = {
        **script(text),
        "etc/ld.so.preload": text.encode(),
        "etc/systemd/system/a.service": ("ExecStart=" + text).encode(),
    }
    starts(files, runtime)
