"""The texts of dpkg's database: paragraphs, dependency fields, states, alternatives.

Formats: deb-control(5), update-alternatives(1), dpkg-divert(1), apt's `extended_states`, and
dpkg's own `triggers/File` and `Unincorp`.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple, Self

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

DATABASE = b"var/lib/dpkg/"
STATUS = DATABASE + b"status"
INFO = DATABASE + b"info/"
ALTERNATIVES = DATABASE + b"alternatives/"
DIVERSIONS = DATABASE + b"diversions"
TRIGGERS = DATABASE + b"triggers/"
SWITCHES = b"etc/alternatives/"
"""Where update-alternatives keeps the symlinks that it switches."""
STATES = b"var/lib/apt/extended_states"

_FIELD = re.compile(rb"^([A-Za-z-]+):[ \t]*(.*(?:\n[ \t].*)*)", re.MULTILINE).findall
_PARAGRAPH = re.compile(rb"(?:[^\n]+(?:\n|\Z))+\n*").finditer
_NAME = re.compile(r"\s*([a-z0-9][a-z0-9+.-]*)").match

Fields = dict[bytes, bytes]
"""The fields of one paragraph: name → value, with the lines that go on below it."""


def text(raw: bytes) -> str:
    """A field's value as text."""
    return raw.decode("utf-8", "replace").strip()


def paragraph(raw: bytes) -> Fields:
    """The fields of one paragraph; of two that are called the same the last one."""
    return {key: value.strip() for key, value in _FIELD(raw)}


def paragraphs(raw: bytes) -> Iterator[Fields]:
    """The fields of each paragraph that is about a package."""
    for part in raw.split(b"\n\n"):
        fields = paragraph(part)
        if fields.get(b"Package"):
            yield fields


def spans(raw: bytes, about: Collection[tuple[bytes, bytes]]) -> list[tuple[int, int]]:
    """Where the paragraphs about these packages (name and architecture) begin and end."""
    return [match.span() for match in _PARAGRAPH(raw) if identity(paragraph(match[0])) in about]


def identity(fields: Mapping[bytes, bytes]) -> tuple[bytes, bytes]:
    """Name and architecture of the package that a paragraph is about."""
    return fields.get(b"Package", b""), fields.get(b"Architecture", b"")


def is_installed(fields: Mapping[bytes, bytes]) -> bool:
    """Whether a package is there whole: not only its configuration, not half of it."""
    return fields.get(b"Status", b"").split()[2:] == [b"installed"]


def dependencies(field: bytes) -> tuple[str, ...]:
    """What a dependency field asks for, each part as it is written: `a (>= 1) | b`."""
    return tuple(part for part in map(str.strip, text(field).split(",")) if part)


def alternatives(dependency: str) -> tuple[str, ...]:
    """The names of which any one meets a part of a dependency field; versions and architectures
    are left out."""
    return tuple(match[1] for part in dependency.split("|") if (match := _NAME(part)))


def groups(field: bytes) -> tuple[tuple[str, ...], ...]:
    """A dependency field: of each group of names one must be there."""
    return tuple(names for part in dependencies(field) if (names := alternatives(part)))


def automatic(states: bytes) -> frozenset[tuple[bytes, bytes]]:
    """Name and architecture of the packages that apt installed on its own account."""
    return frozenset(
        identity(fields) for fields in paragraphs(states) if fields.get(b"Auto-Installed") == b"1"
    )


def protected(fields: Mapping[bytes, bytes]) -> str:
    """Why a package can never leave, or nothing."""
    for key in (b"Essential", b"Protected", b"Important"):
        if fields.get(key, b"").lower() == b"yes":
            return f"dpkg holds it to be {text(key).lower()}"
    priority = text(fields.get(b"Priority", b""))
    return f"its priority is {priority}" if priority in ("required", "important") else ""


def triggered(line: bytes) -> bytes:
    """The package of a line of dpkg's triggers: `[/path ]package[:architecture][/noawait]`."""
    words = line.split()
    return words[-1].partition(b"/")[0].partition(b":")[0] if words else b""


class Diversion(NamedTuple):
    """Where dpkg-divert(1) put a file of all packages but one."""

    path: bytes
    moved: bytes
    by: bytes
    """The package whose own file stays at `path`; `:` for the administrator's."""


def diversions(raw: bytes) -> Iterator[Diversion]:
    """Paths without the root's slash, as an index has them."""
    lines = raw.split(b"\n")
    for original, moved, by in zip(lines[::3], lines[1::3], lines[2::3], strict=False):
        if original.startswith(b"/") and moved.startswith(b"/") and by:
            yield Diversion(original[1:], moved[1:], by)


class Alternative(NamedTuple):
    """A record of update-alternatives: one name, and the files that it may stand for."""

    links: tuple[tuple[bytes, bytes], ...]
    """Name and path of each link; the first is the master's, without a name."""
    choices: tuple[bytes, ...]

    @classmethod
    def parse(cls, record: bytes) -> Self:
        lines = record.split(b"\n")
        if len(lines) < 3:
            return cls(((b"", b""),), ())
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
        return cls(tuple(links), tuple(choices))

    @classmethod
    def spans(cls, record: bytes, away: Collection[bytes]) -> list[tuple[int, int]]:
        """Where in a record the given choices begin and end."""
        links, choices = cls.parse(record)
        starts = [0]
        for line in record.split(b"\n"):
            starts.append(starts[-1] + len(line) + 1)
        first = 2 + 2 * (len(links) - 1) + 1
        step = 1 + len(links)
        return [
            (starts[first + step * place], starts[first + step * (place + 1)])
            for place, choice in enumerate(choices)
            if choice in away
        ]
