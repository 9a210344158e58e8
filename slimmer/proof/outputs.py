"""What two runs of a program said, compared without what differs on every run."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from slimmer.names import one_line

if TYPE_CHECKING:
    from slimmer.proof.trials import Answer, Finished


def answered(was: Answer, now: Answer) -> str:
    """How an answer differs, or nothing."""
    if now.status == 0:
        return f"status {was.status} before, no answer after"
    if was.status != now.status:
        last = last_line(now.body)
        return f"status {was.status} before, {now.status} after" + (f": {last}" if last else "")
    if was.kind != now.kind:
        return f"a body of type {was.kind} before, of type {now.kind} after"
    if normal(was.body) != normal(now.body):
        return first_difference("the body", normal(was.body), normal(now.body))
    return ""


def difference(was: Finished, now: Finished, again: Finished | None = None) -> str:
    """How a program's end differs, or nothing; `again` is a second run of what `was` the first."""
    if was.code != now.code:
        ended = "ran out of time" if now.code is None else f"exit code {now.code}"
        last = last_line(now.stderr) or last_line(now.stdout)
        return f"exit code {was.code} before, {ended} after" + (f": {last}" if last else "")
    for name in ("stdout", "stderr"):
        one, two = normal(getattr(was, name)), normal(getattr(now, name))
        if again is not None:
            one, two = _without(normal(getattr(again, name)), one, two)
        if one != two:
            return first_difference(name, one, two)
    return ""


def _without(again: bytes, was: bytes, now: bytes) -> tuple[bytes, bytes]:
    """Two outputs less the lines in which a third one differs from the first.

    Where it has more lines or fewer, nobody can tell which ones, and nothing is left.
    """
    first, second, third = again.splitlines(), was.splitlines(), now.splitlines()
    if len(first) != len(second):
        return b"", b""
    for number, (one, two) in enumerate(zip(first, second, strict=True)):
        if one != two:
            second[number] = b"(varies)"
            if number < len(third):
                third[number] = b"(varies)"
    return b"\n".join(second), b"\n".join(third)


def first_difference(what: str, was: bytes, now: bytes) -> str:
    one, two = was.splitlines(), now.splitlines()
    for number in range(max(len(one), len(two))):
        old = one[number] if number < len(one) else b"(nothing)"
        new = two[number] if number < len(two) else b"(nothing)"
        if old != new:
            return f"{what} differs in line {number + 1}: {line(old)!r} before, {line(new)!r} after"
    return f"{what} differs"


def line(line: bytes) -> str:
    return one_line(line.decode("utf-8", "replace"))[:200]


def last_line(text: bytes) -> str:
    lines = [line for line in text.splitlines() if line.strip()]
    return line(lines[-1]) if lines else ""


_NORMAL = (
    (rb"\b0x[0-9a-fA-F]{4,}\b", b"0x(address)"),
    (rb"\b\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:[.,]\d+)?(?:Z|[+-]\d\d:?\d\d)?", b"(time)"),
    (rb"\b\d\d:\d\d:\d\d(?:[.,]\d+)?\b", b"(time)"),
    (rb"\b\d+(?:\.\d+)?(?:e-?\d+)? ?(?:ns|us|\xc2\xb5s|ms|s|sec|secs|seconds?)\b", b"(duration)"),
    (rb"/tmp/[\w.-]*[\w]{6,}", b"/tmp/(name)"),
    (rb"(?i)\b(?:pid|process)[ =:]+\[?\d+\]?", b"(pid)"),
)
_NORMALISERS = tuple((re.compile(pattern).sub, new) for pattern, new in _NORMAL)


def normal(text: bytes) -> bytes:
    """A program's output without what differs on every run: addresses, times, temporary names."""
    for substitute, new in _NORMALISERS:
        text = substitute(new, text)
    return text


def normal_text(text: str) -> str:
    return normal(text.encode("utf-8", "surrogateescape")).decode("utf-8", "replace")
