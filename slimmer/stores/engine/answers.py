"""What a container says, parsed as a stranger's text: bounded, and typed before it is used.

The driver that runs in a container shares it with the image's own code, which may write whatever
it likes to wherever the driver writes.
"""

from __future__ import annotations

import base64
import json
import math
from typing import TYPE_CHECKING, Any

from slimmer.names import one_line
from slimmer.proof.trials import Answer, Outcome, Probed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

LINE = 64 << 10
"""Bytes of one line of the driver at most; the list of modules takes many lines' worth."""
FIRST = 16 << 20
"""Bytes of the line that lists all modules."""
WHOLE = 256 << 20
"""Bytes that a driver may write."""
NAME = 1000
"""Characters of a name, a path or a message that are kept."""
NAMES = 500_000
"""Modules or libraries of one interpreter at most."""


def objects(parts: Iterable[bytes]) -> Iterator[Mapping[str, Any]]:
    """The JSON objects of a text, one a line; what is no such line is passed over."""
    held = b""
    total = 0
    dropping = False
    for part in parts:
        total += len(part)
        if total > WHOLE:
            return
        *lines, held = (held + part).split(b"\n")
        for line in lines:
            if dropping:
                dropping = False
                continue
            value = _value(line)
            if isinstance(value, dict):
                yield value
        if len(held) > FIRST:
            held, dropping = b"", True


def _value(text: bytes) -> object:
    if len(text) > LINE and not text.startswith(b'{"is": "python"'):
        return None
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def probed(lines: Iterable[Mapping[str, Any]], done: Callable[[int], None]) -> Probed:
    """What an interpreter could load, by the lines of its driver."""
    version = ""
    distribution_of: Mapping[str, str] = {}
    together: frozenset[str] = frozenset()
    modules: dict[str, Outcome] = {}
    libraries: dict[str, Outcome] = {}
    problem = "it did not come to its end"
    for line in lines:
        match line:
            case {
                "is": "python",
                "version": str(text),
                "modules": dict(told),
                "several": list(some),
            }:
                version = one_line(text[:NAME])
                distribution_of = {
                    _text(name): _text(owner) for name, owner in list(told.items())[:NAMES]
                }
                together = frozenset(_text(name) for name in some[:NAMES])
            case {"is": "module" | "library" as kind}:
                found = modules if kind == "module" else libraries
                one = _outcome(line)
                if one.name and len(found) < NAMES:
                    found[one.name] = one
                    done(len(modules) + len(libraries))
            case {"is": "stopped" | "end"}:
                problem = ""
            case _:
                pass
    return Probed(version, modules, libraries, distribution_of, together, problem)


def _outcome(line: Mapping[str, Any]) -> Outcome:
    seconds = line.get("seconds")
    known = isinstance(seconds, (int, float)) and math.isfinite(seconds)
    return Outcome(
        _text(line.get("name")),
        _text(line.get("error")),
        one_line(_text(line.get("message"))),
        _text(line.get("module")),
        _text(line.get("file")),
        _text(line.get("origin")),
        min(max(float(seconds), 0.0), 1e6) if known and seconds is not None else 0.0,
    )


def _text(value: object) -> str:
    return value[:NAME] if isinstance(value, str) else ""


def answer(text: bytes) -> Answer:
    """What a service said, by the file that was left in its container; status 0 for nothing."""
    try:
        match json.loads(text):
            case [int(status), str(kind), str(body)] if 0 <= status < 1000:
                return Answer(status, base64.b64decode(body), kind[:NAME])
            case _:
                return Answer(0)
    except (ValueError, RecursionError):
        return Answer(0)
