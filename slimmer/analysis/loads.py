"""Which texts of an image name a library that they, or what reads them, may open at run time.

No header tells of `dlopen`. A library's file name counts wherever it stands; its name without
`lib` and `.so` only as a whole string in a source that opens libraries: `find_library(n)` with the
names in a tuple above it, LuaJIT's `ffi.load("foo")`.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from slimmer.analysis.spots import is_comment
from slimmer.analysis.texts import Kind, Search
from slimmer.names import printable

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from slimmer.analysis.texts import Hit, Text

MENTIONS = 200
"""Most places of one text that are looked at."""
SHORTEST = 3
"""Letters of the shortest name that counts without `lib`: `z`, `m` and `dl` are words."""

_OPENS = re.compile(
    rb"(?:find_library|[A-Z]DLL|LoadLibrary|dlopen|load_library|ffi\.load|Native\.load"
    rb"|(?:System|NativeLibrary|koffi|Fiddle|DynaLoader)[.:]+\w+|ffi\.Library)\s*\("
    rb"|\bkoffi\b|\bFFI::|\bfind_lib\b|\bc?dll\.[a-zA-Z]|\bffi_lib\b|import_library"
).search
"""Calls that open libraries; a module that only speaks of ctypes opens none."""
_NAME = re.compile(r"(?:lib)?(.+?)\.so(?:\.|\Z)").match
_VERSION = re.compile(r"[-_.]?\d").search
_LISTED = (b"", b" ", b",", b";", b":")
"""What stands between the names of a list in a variable."""
OPENING = (b"find_library", b"CDLL", b"dlopen", b"LoadLibrary", b"load_library")
"""Words of sources that open libraries by names."""
_SOURCES = frozenset((Kind.PYTHON, Kind.NOTEBOOK, Kind.SCRIPT))
_OTHERS = frozenset((Kind.SHELL, Kind.CONFIG, Kind.IMAGE, Kind.BYTECODE))


class Opening(NamedTuple):
    """A place that names a library."""

    text: str
    """The text's name, printable."""
    path: bytes
    line: int
    name: str
    """As it is written."""
    library: bytes
    exact: bool
    """Whether it is the library's own name; else one that needs a version behind it."""
    apart: bool = False
    """Whether it stands in a text that opens none, which may hand it on to one that does."""

    def __str__(self) -> str:
        return f"{self.text}:{self.line} names {printable(self.name)}"


def forms(name: str) -> Iterator[tuple[str, bool]]:
    """What a source may call a library of this file name, and whether that is all of its name."""
    yield name, True
    match = _NAME(name)
    if match is None:
        return
    core = match[1]
    yield f"lib{core}.so", True
    yield f"{core}.so", True
    if len(core) >= SHORTEST:
        yield core, True
        yield f"lib{core}", True
    version = _VERSION(core)
    base = core[: version.start()] if version is not None else core
    if base != core and len(base) >= SHORTEST:
        # `find_library("MagickWand" + suffix)`; libpng16 is no `png-16`, and `png` is a word.
        hyphen = core[len(base) : len(base) + 1] == "-"
        yield base, hyphen
        yield f"lib{base}", True


def searches(names: Mapping[bytes, Mapping[str, bool]], found: list[Opening]) -> list[Search]:
    """What to look for in a pass, so that every place that names one of the libraries is added to
    `found`. Library → what it may be called, and whether that is all of its name; see `forms`."""
    written: dict[bytes, dict[bytes, bool]] = {}
    whole: dict[bytes, dict[bytes, bool]] = {}
    for library, called in names.items():
        for form, exact in called.items():
            raw = form.encode("utf-8", "surrogateescape")
            for quote in (b'"', b"'"):
                written.setdefault(quote + raw, {}).setdefault(library, exact)
            if ".so" in form:
                whole.setdefault(raw, {}).setdefault(library, exact)

    def told(
        text: Text, hit: Hit, name: bytes, libraries: Mapping[bytes, bool], apart: bool = False
    ) -> None:
        line = text.line(hit.start)
        shown = name.decode("utf-8", "replace")
        for library, exact in libraries.items():
            found.append(Opening(text.name, text.path, line, shown, library, exact, apart))

    def look(text: Text, hits: Sequence[Hit]) -> None:
        apart = not _OPENS(text.content)
        if apart and text.kind is not Kind.PYTHON:
            return
        for hit in hits[:MENTIONS]:
            after = text.content[hit.end : hit.end + 2]
            # A notebook is JSON, in which a quote has a backslash before it.
            closed = after.removeprefix(b"\\")[:1] == hit.needle[:1]
            if closed and not is_comment(text, hit.start):
                told(text, hit, hit.needle[1:], written[hit.needle], apart)

    def look_anywhere(text: Text, hits: Sequence[Hit]) -> None:
        if text.member.startswith("Label"):
            return
        for hit in hits[:MENTIONS]:
            if text.content[hit.end : hit.end + 1] != b"." and not is_comment(text, hit.start):
                told(text, hit, hit.needle, whole[hit.needle])

    stems = {
        quoted[1:]: libraries
        for quoted, libraries in written.items()
        if quoted.startswith(b'"') and b".so" not in quoted
    }

    def look_in_environment(text: Text, hits: Sequence[Hit]) -> None:
        if not text.member.startswith("Env "):
            return
        for hit in hits[:MENTIONS]:
            start, end = text.content[: hit.start][-1:], text.content[hit.end :][:1]
            if start in _LISTED and end in _LISTED:
                told(text, hit, hit.needle, stems[hit.needle], True)

    return [
        Search(tuple(stems), look_in_environment, frozenset((Kind.IMAGE,))),
        Search(tuple(written), look, _SOURCES, whole_words=False),
        Search(tuple(whole), look_anywhere, _OTHERS),
    ]
