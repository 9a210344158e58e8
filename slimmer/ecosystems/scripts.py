"""Scripts: which program their first line names."""

from __future__ import annotations

import re

_FIRST_LINE = re.compile(rb"#![ \t]*([^\r\n]*)").match
_ASSIGNMENT = re.compile(rb"[A-Za-z_]\w*=").match
_PYTHON = re.compile(rb"#!(/[^\s'\"]*python[^\s'\"]*)[ \t]*\r?\n").match
_PYTHON_BY_SHELL = re.compile(
    # pip and uv, where the path is too long for a kernel or holds a space.
    rb"#!/bin/sh\r?\n'''exec' ['\"]?(/[^'\"\n]*python[^\s'\"]*)"
).match


def interpreter(head: bytes) -> bytes | None:
    """The program that runs a script (execve(2)): a path from the root, or a name that env(1)
    looks for on PATH; None where the file does not begin as a script does.

    `head` is the file's beginning; 256 bytes are enough, for a kernel reads no more.
    """
    line = _FIRST_LINE(head)
    words = line[1].split() if line else []
    if not words:
        return None
    program, *others = words
    if program.rpartition(b"/")[2] != b"env":
        return program
    while others:
        word = others.pop(0)
        if word in (b"-u", b"--unset", b"-C", b"--chdir"):
            del others[:1]
        elif word.startswith(b"-S") and len(word) > 2:
            return word[2:]
        elif not word.startswith(b"-") and not _ASSIGNMENT(word):
            return word
    return program


def python(script: bytes) -> bytes | None:
    """The path of the Python that a script of an installer (pip, uv, `installer`) names."""
    match = _PYTHON(script) or _PYTHON_BY_SHELL(script)
    return match[1] if match else None
