"""The texts of dpkg's database: paragraphs, dependency fields, records of alternatives.

Formats: deb-control(5), update-alternatives(1), and dpkg's own `triggers/File` and `Unincorp`.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from slimmer.splice import Copy, Splice

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping

_FIELD = re.compile(rb"^([A-Za-z-]+):[ \t]*(.*(?:\n[ \t].*)*)", re.MULTILINE).findall
_NAME = re.compile(r"\s*([a-z0-9][a-z0-9+.-]*)").match


def alternative(record: bytes) -> tuple[list[tuple[bytes, bytes]], list[bytes]]:
    """Links (name and path; the first is the master's, without a name) and choices of a record."""
    lines = record.split(b"\n")
    if len(lines) < 3:
        return [(b"", b"")], []
    links = [(b"", lines[1])]
    at = 2
    while at + 1 < len(lines) and lines[at]:
        links.append((lines[at], lines[at + 1]))
        at += 2
    at += 1
    choices: list[bytes] = []
    while at + 1 < len(lines) and lines[at]:
        choices.append(lines[at])
        at += 1 + len(links)
    return links, choices


def choices(record: bytes, away: Collection[bytes]) -> list[tuple[int, int]]:
    """Where the given choices stand in a record."""
    links, choices = alternative(record)
    lines = record.split(b"\n")
    starts = [0]
    for line in lines:
        starts.append(starts[-1] + len(line) + 1)
    first = 2 + 2 * (len(links) - 1) + 1
    step = 1 + len(links)
    return [
        (starts[first + step * place], starts[first + step * (place + 1)])
        for place, choice in enumerate(choices)
        if choice in away
    ]


def without(text: bytes, ranges: Iterable[tuple[int, int]]) -> Splice:
    """A text less some ranges of it, given by start and end in ascending order."""
    pieces: list[Copy] = []
    at = 0
    for start, end in ranges:
        pieces.append(Copy(at, start - at))
        at = min(end, len(text))
    pieces.append(Copy(at, len(text) - at))
    return Splice.of(pieces)


def text(raw: bytes) -> str:
    """A field's value as text."""
    return raw.decode("utf-8", "replace").strip()


def paragraphs(text: bytes) -> Iterator[dict[bytes, bytes]]:
    """The fields of each paragraph that is about a package."""
    for paragraph in text.split(b"\n\n"):
        fields = {key: value.strip() for key, value in _FIELD(paragraph)}
        if b"Package" in fields:
            yield fields


def identity(paragraph: bytes) -> tuple[bytes, bytes]:
    """Name and architecture of the package that a paragraph is about."""
    fields = dict(_FIELD(paragraph))
    return fields.get(b"Package", b"").strip(), fields.get(b"Architecture", b"").strip()


def package_of(line: bytes) -> bytes:
    """The package of a line of dpkg's triggers: `[/path ]package[:architecture][/noawait]`."""
    words = line.split()
    return words[-1].partition(b"/")[0].partition(b":")[0] if words else b""


def groups_of(field: bytes) -> tuple[tuple[str, ...], ...]:
    """A dependency field: groups of alternatives, by name."""
    groups: list[tuple[str, ...]] = []
    for part in text(field).split(","):
        names = tuple(match[1] for one in part.split("|") if (match := _NAME(one)))
        if names:
            groups.append(names)
    return tuple(groups)


def protected(fields: Mapping[bytes, bytes]) -> str:
    """Why a package can never leave, or nothing."""
    for key in (b"Essential", b"Protected", b"Important"):
        if fields.get(key, b"").lower() == b"yes":
            return f"dpkg holds it to be {text(key).lower()}"
    priority = text(fields.get(b"Priority", b""))
    return f"its priority is {priority}" if priority in ("required", "important") else ""
