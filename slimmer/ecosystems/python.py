"""The texts of Python's packaging: requirements, markers, RECORD, folders, bytecode.

Sources: the dependency-specifiers, recording-installed-projects and binary-distribution-format
specifications of the PyPA; PEP 3147 and 488 for bytecode. Names are normalised by packaging's own
`canonicalize_name` (PEP 503), everywhere.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Self

from packaging.markers import InvalidMarker, Marker, UndefinedComparison
from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterator, Mapping

# Requirements

_REQUIREMENT = re.compile(
    r"\s*(?P<name>[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?)\s*(?:\[(?P<extras>[^\]]*)\])?"
    r"(?P<rest>.*)\Z",
    re.DOTALL,
).match
_EXTRA = re.compile(r"""extra\s*==\s*["']([^"']*)["']""").findall
_UNREADABLE = (
    InvalidMarker,
    UndefinedComparison,
    ArithmeticError,
    AttributeError,
    LookupError,
    RecursionError,
    TypeError,
    ValueError,
)
"""What `packaging` raises over markers that somebody's build tool made."""


@dataclass(frozen=True, slots=True)
class Requirement:
    """What a distribution requires (dependency-specifiers).

    Nine of ten requirements of an ML image are for extras that nobody asked for: versions and
    marker stay text until they matter.
    """

    text: str
    """As the metadata has it."""
    name: str
    """Normalised."""
    extras: tuple[str, ...]
    """The extras of `name` that are wanted, normalised."""
    versions: str
    """Version specifiers, comma-separated; empty for any version and for a URL."""
    marker: str

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """None where no name can be read; the rest is read when it is asked for."""
        match = _REQUIREMENT(text)
        if match is None:
            return None
        rest = match["rest"].lstrip()
        by_url = rest.startswith("@")
        # A URL may hold a semicolon: there a space must stand before the marker's.
        versions, _, marker = rest.partition(" ;" if by_url else ";")
        return cls(
            text,
            canonicalize_name(match["name"]),
            tuple(
                canonicalize_name(extra.strip())
                for extra in (match["extras"] or "").split(",")
                if extra
            ),
            "" if by_url else versions.strip().removeprefix("(").removesuffix(")"),
            marker.strip(),
        )

    @property
    def conditional(self) -> bool:
        """Whether it is one only where some extra of the distribution is asked for."""
        return "extra" in self.marker

    def concerns(self, extra: str) -> bool:
        """Whether it may hold because of that extra, or, for `""`, without any."""
        if not self.conditional:
            return not extra
        if " or " in self.marker:
            return True
        return any(canonicalize_name(named) == extra for named in _EXTRA(self.marker))

    def holds(self, environment: Mapping[str, str], extra: str = "") -> bool:
        """Whether its marker is true; an unreadable one is, unless it is about an extra: better
        one requirement too many."""
        if not self.marker:
            return True
        try:
            return Marker(self.marker).evaluate({**environment, "extra": extra})
        except _UNREADABLE:
            return not self.conditional

    def allows(self, version: str) -> bool | None:
        """Whether a version is one of those that it asks for; None where nobody can tell."""
        try:
            return SpecifierSet(self.versions).contains(Version(version), prereleases=True)
        except (InvalidSpecifier, InvalidVersion):
            return None


def environment(version: str, machine: str, *, pypy: bool = False) -> Mapping[str, str]:
    """The marker variables of an interpreter on Linux: its whole version, and `uname -m`."""
    return {
        "implementation_name": "pypy" if pypy else "cpython",
        "implementation_version": version,
        "os_name": "posix",
        "platform_machine": machine,
        "platform_python_implementation": "PyPy" if pypy else "CPython",
        "platform_release": "",
        "platform_system": "Linux",
        "platform_version": "",
        "python_full_version": version,
        "python_version": ".".join(version.split(".")[:2]),
        "sys_platform": "linux",
    }


# Folders

_SITE = re.compile(
    rb"(?P<prefix>.*?)/?lib(?:32|64)?/(?P<kind>python|pypy)(?P<version>[^/]*)/"
    rb"(?:site|dist)-packages\Z",
    re.DOTALL,
).match
_MINOR = re.compile(rb"(\d\.\d+)(t?)\Z").match


class Site(NamedTuple):
    """What the path of a folder of distributions says of its interpreter."""

    prefix: bytes
    """The prefix (PEP 405) that it belongs to."""
    pypy: bool
    minor: str
    """`3.11`; empty where one folder serves several, as Debian's `python3/dist-packages`."""
    threads: bool
    """Whether the interpreter is one without the global lock (`python3.13t`)."""

    @classmethod
    def parse(cls, site: bytes) -> Self | None:
        """None for `pip --target` and the like."""
        match = _SITE(site)
        if match is None:
            return None
        version = _MINOR(match["version"])
        return cls(
            match["prefix"],
            match["kind"] == b"pypy",
            version[1].decode() if version else "",
            bool(version and version[2]),
        )


# RECORD

_FIRST_CELL = re.compile(rb"^([^,\r\n]+)", re.MULTILINE).findall
_ROW = re.compile(
    # Possessive: what no quote closes is read once, and as it stands.
    rb'((?>"(?>[^"]|"")*+"|[^\r\n"]++|")++)(?:\r\n|\n|\r|\Z)|[\r\n]'
)
"""One line of a CSV file (RFC 4180): a quoted field may go over several."""
_CELL = re.compile(rb'"((?:[^"]|"")*)"|([^,]*)')


class Row(NamedTuple):
    """One line of a RECORD: a path, a hash and a size."""

    start: int
    raw: bytes
    """With its end of line."""
    cells: tuple[bytes, ...]
    """Without quotes; a line that is empty has one empty cell."""


def record_rows(record: bytes) -> Iterator[Row]:
    """Every line of a RECORD, with the place where it stands; together they are all of it."""
    for match in _ROW.finditer(record):
        yield Row(match.start(), match[0], tuple(_cells(match[1] or b"")))


def _cells(row: bytes) -> Iterator[bytes]:
    at = 0
    while at <= len(row):
        match = _CELL.match(row, at)
        if match is None:
            break
        quoted, plain = match.groups()
        yield plain if quoted is None else quoted.replace(b'""', b'"')
        at = match.end() + 1


def record_names(record: bytes) -> list[bytes]:
    """The paths that a RECORD names, as it writes them: 50,000 in an ML image, so that one
    regular expression reads them where none is quoted."""
    if b'"' not in record:
        return _FIRST_CELL(record)
    return [row.cells[0] for row in record_rows(record) if row.cells[0]]


def recorded_path(
    folder: bytes, name: bytes, visible: Container[bytes], resolve: Callable[[bytes], bytes]
) -> bytes:
    """Where in the image a file lies that a record calls `name`, relative to `folder`.

    `resolve` gives the real path of a folder. A symlink of that name is itself what was recorded.
    """
    within = folder + b"/" if folder else b""
    path = name if name.startswith(b"/") else within + name
    if path in visible and b"/../" not in path and not path.startswith((b"../", b"/")):
        return path
    around, _, last = path.rpartition(b"/")
    real = resolve(around)
    found = real + b"/" + last if real else last
    # `pip --target` moves scripts into the target and leaves RECORD as it was.
    return found if found in visible else within + name.replace(b"../", b"")


# Bytecode

_CACHED = re.compile(
    # A tag begins with the interpreter's name: pytest's goes on behind it, `-pytest-8.3.4`.
    rb"(?P<folder>(?:.*/)?)__pycache__/(?P<stem>[^/]+?)"
    rb"(?:\.(?:cpython|pypy|graalpy)[^/]*?|\.[^/.]+)(?P<optimized>\.opt-\w+)?\.py[co]\Z",
    re.DOTALL,
).match


def source_of(bytecode: bytes) -> bytes | None:
    """The source of a bytecode file, there or not; None for a path that is no bytecode's.

    `__pycache__/name.tag.pyc` beside `name.py` (PEP 3147), or `name.pyc` in its place.
    """
    match = _CACHED(bytecode)
    if match:
        return match["folder"] + match["stem"] + b".py"
    if b"/__pycache__/" in b"/" + bytecode or not bytecode.endswith((b".pyc", b".pyo")):
        return None
    return bytecode[:-1]


def is_cached(bytecode: bytes) -> bool:
    """Whether bytecode is beside its source in `__pycache__`, and so of no use without it."""
    return _CACHED(bytecode) is not None


def is_optimized(bytecode: bytes) -> bool:
    """Whether only `python -O` or `-OO` reads it, which fall back on the source (PEP 488)."""
    match = _CACHED(bytecode)
    return match is not None and match["optimized"] is not None
