"""What stands around a name in a text: code that can run, or words for people."""

from __future__ import annotations

import re

from slimmer.analysis.texts import Kind, Text

WINDOW = 400
"""Bytes before a name within which the beginning of its line is looked for."""
_COMMENTS = {
    Kind.PYTHON: (b"#",),
    Kind.SHELL: (b"#",),
    Kind.SCRIPT: (b"#", b"//", b"*", b"/*", b"--"),
    Kind.BUILD: (b"#",),
    Kind.CONFIG: (b"#", b";", b"//", b"<!--"),
    Kind.ENTRY_POINTS: (b"#",),
    Kind.PATH_FILE: (b"#",),
}
_BEHIND = re.compile(rb"\s(?:#|//)\s").search
_TRIPLE = re.compile(rb"\"\"\"|'''").finditer
_STATEMENT = re.compile(rb"(?:\A|\n)[ \t]*[rRuUbB]{0,2}\Z").search
_FOR_PEOPLE = re.compile(
    rb"\b(?:echo|print|printf|warn|die|usage|help|puts|log(?:ger)?\.\w+|console\.\w+|raise|error)\b",
    re.IGNORECASE,
).search
_HANDLING = re.compile(
    rb"\b(?:rm|rmdir|mkdir|chown|chmod|touch|unlink|rmtree|makedirs|remove|clean|prune)\b"
).search


def line_before(text: Text, start: int) -> bytes:
    """What stands in the line before an offset, at most WINDOW bytes of it."""
    begin = text.content.rfind(b"\n", max(0, start - WINDOW), start) + 1
    return text.content[begin or max(0, start - WINDOW) : start]


def is_comment(text: Text, start: int) -> bool:
    """Whether a name stands in a comment, or in the docstring of Python source."""
    marks = _COMMENTS.get(text.kind, ())
    before = line_before(text, start)
    if before.lstrip().startswith(marks):
        return True
    if marks and b"#" in marks and (behind := _BEHIND(before)) is not None:
        quotes = before[: behind.start()]
        if quotes.count(b'"') % 2 == 0 and quotes.count(b"'") % 2 == 0:
            return True
    return text.kind is Kind.PYTHON and in_docstring(text.content, start)


def in_docstring(content: bytes, start: int) -> bool:
    """Whether an offset lies in a string that is a statement of its own, as docstrings are."""
    inside: bytes = b""
    begin = 0
    for match in _TRIPLE(content, 0, start):
        if not inside:
            inside, begin = match[0], match.start()
        elif match[0] == inside:
            inside = b""
    return bool(inside) and _STATEMENT(content[max(0, begin - 100) : begin]) is not None


def tells_people(text: Text, start: int) -> bool:
    """Whether the line of a name is about to show it to somebody, as far as that can be told."""
    return _FOR_PEOPLE(line_before(text, start)) is not None


def only_handles(text: Text, start: int) -> bool:
    """Whether the line of a name makes, owns or deletes what it names."""
    return _HANDLING(line_before(text, start)) is not None
