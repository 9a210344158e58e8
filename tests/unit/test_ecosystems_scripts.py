"""The first line of a script names the program that runs it."""

from __future__ import annotations

import pytest

from slimmer.ecosystems import scripts


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        (b"#!/bin/sh\n", b"/bin/sh"),
        (b"#! /usr/bin/make -f\n", b"/usr/bin/make"),
        (b"#!/usr/bin/env python3\nimport x", b"python3"),
        (b"#!/usr/bin/env -S python3 -u\n", b"python3"),
        (b"#!/usr/bin/env -Sperl -w\n", b"perl"),
        (b"#!/usr/bin/env -i -u HOME A=1 ruby\n", b"ruby"),
        (b"#!/usr/bin/env\n", b"/usr/bin/env"),
        (b"#!/bin/dash", b"/bin/dash"),
        (b"#!\n/bin/sh", None),
        (b"\x7fELF", None),
        (b"", None),
    ],
)
def test_a_script_names_its_interpreter(head: bytes, expected: bytes | None):
    assert expected == scripts.interpreter(head)


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        (b"#!/opt/venv/bin/python3.11\nimport sys", b"/opt/venv/bin/python3.11"),
        (b"#!/bin/sh\n'''exec' \"/a b/bin/python\" \"$0\" \"$@\"\n' '''\n", b"/a b/bin/python"),
        (b"#!/bin/sh\necho python\n", None),
        (b"#!/usr/bin/env python3\n", None),
    ],
)
def test_an_installers_script_names_its_python(script: bytes, expected: bytes | None):
    assert expected == scripts.python(script)
