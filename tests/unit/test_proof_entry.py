"""What an image starts, looked at without starting it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from proofs import altered, image, kinds, looked
from tiny import layer

from slimmer.proof.entry import commands
from slimmer.proof.verify import static

if TYPE_CHECKING:
    import tarfile
    from collections.abc import Mapping

    from slimmer.image import Image

FILES: dict[str, bytes | None] = {
    "bin/sh": b"\x7fELF",
    "usr/bin/python3.11": b"\x7fELF",
    "usr/bin/make": b"\x7fELF",
    "usr/bin/tini": b"\x7fELF",
    "usr/bin/env": b"\x7fELF",
    "app/start.sh": b"#!/bin/sh\nexec make run\n",
    "app/by_env": b"#!/usr/bin/env python3\n",
    "app/main.py": b"",
}
LINKS = {"usr/bin/python3": "python3.11", "usr/bin/sh": "/bin/sh"}


def made(runtime: Mapping[str, Any], gone: str = "", plain: str = "") -> Image:
    """An image in which everything may be run but what is `plain`."""

    def change(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
        member.mode = 0o644 if member.name == plain else 0o755
        return None if member.name == gone else member

    return altered(image(layer(FILES, symlinks=LINKS), runtime=runtime), change)


def found(runtime: Mapping[str, Any], gone: str = "", plain: str = "") -> list[str]:
    before, after = looked(made(runtime)), looked(made(runtime, gone, plain))
    return [fault.lost for fault in static(before, after).faults if fault.kind == "entry"]


PATH = {"Env": ["PATH=/usr/bin"]}


@pytest.mark.parametrize(
    ("start", "gone", "lost"),
    [
        ({"Cmd": ["make", "run"]}, "usr/bin/make", "there is no make on PATH"),
        ({"Cmd": ["/usr/bin/make"]}, "usr/bin/make", "there is no /usr/bin/make"),
        ({"Entrypoint": ["python3"]}, "usr/bin/python3.11", "there is no python3 on PATH"),
        ({"Entrypoint": ["python3"]}, "usr/bin/python3", "there is no python3 on PATH"),
        ({"Cmd": ["/app/start.sh"]}, "bin/sh", "there is no /bin/sh"),
        ({"Cmd": ["/app/by_env"]}, "usr/bin/python3.11", "there is no python3 on PATH"),
        ({"Cmd": ["./start.sh"], "WorkingDir": "/app"}, "app/start.sh", "there is no ./start.sh"),
        ({"Cmd": ["/bin/sh", "-c", "cd /app && make run"]}, "usr/bin/make", "no make on PATH"),
        ({"Cmd": ["sh", "-c", "A=1 exec make"]}, "usr/bin/make", "there is no make on PATH"),
        ({"Cmd": ["tini", "--", "make"]}, "usr/bin/make", "there is no make on PATH"),
        ({"Cmd": ["env", "A=1", "make"]}, "usr/bin/make", "there is no make on PATH"),
        ({"Cmd": ["python3", "/app/main.py"]}, "app/main.py", "there is no /app/main.py"),
        ({"Healthcheck": {"Test": ["CMD", "make"]}}, "usr/bin/make", "there is no make on PATH"),
        ({"Healthcheck": {"Test": ["CMD-SHELL", "make"]}}, "usr/bin/make", "no make on PATH"),
    ],
)
def test_a_program_that_is_started_and_left_is_a_fault(start: dict[str, Any], gone: str, lost: str):
    assert any(lost in one for one in found(PATH | start, gone))
    assert [] == found(PATH | start)


def test_a_program_that_may_not_be_run_is_a_fault():
    assert ["make may not be run: its mode is 0644"] == [
        one.replace("/usr/bin/", "") for one in found(PATH | {"Cmd": ["make"]}, "", "usr/bin/make")
    ]


def test_what_did_not_start_before_is_no_fault():
    runtime = PATH | {"Cmd": ["nobody", "has", "this"]}
    verdict = static(looked(made(runtime)), looked(made(runtime)))

    assert [] == kinds(verdict)
    assert any("in the original neither" in note for note in verdict.notes)


def test_another_entrypoint_that_is_not_there_is_a_fault():
    before, after = looked(made(PATH | {"Cmd": ["make"]})), looked(made(PATH | {"Cmd": ["/nope"]}))

    assert [("config", "command"), ("entry", "/nope")] == kinds(static(before, after))


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("make run", [["make", "run"]]),
        ("a && b || c; d | e &", [["a"], ["b"], ["c"], ["d"], ["e"]]),
        ("A=1 B=2 a x", [["a", "x"]]),
        ("if a; then b; fi", [["b"]]),
        ("$CMD x; 'quoted name'", [["quoted name"]]),
        ("exec a", [["a"]]),
        ("unfinished 'quote", []),
        ("", []),
    ],
)
def test_the_commands_of_a_script(script: str, words: list[list[str]]):
    assert words == commands(script)
