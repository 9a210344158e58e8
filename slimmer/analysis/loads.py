"""Which texts of an image name a library that they, or what reads them, may open at run time.

No header tells of `dlopen`. A library's file name counts wherever it stands; its name without
`lib` and `.so` only as a whole string in a source that opens libraries: `find_library(n)` with the
names in a tuple above it, LuaJIT's `ffi.load("foo")`.

`libfoo.so` itself is a link that most systems have from a package for developers alone. Who writes
it needs it, and so does what puts `.so` behind a name by itself, as LuaJIT, Julia, JNA, Ruby's ffi
and node-ffi do; Python's `find_library` asks for the library's own name.
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
_ENDS = re.compile(
    rb"\bffi\.load\b|\bffi\.Library\b|\bffi_lib\b|\bNative\.(?:load|register)\b"
    rb"|System\.loadLibrary|\b@?ccall\b|\bdlopen\s+|Libdl\.dlopen|sharedlibextension"
    rb"|FFI::(?:Platypus|CheckLib)|\brequire\s*\(?\s*[\"']ffi[\"']"
).search
"""Calls that put `.so` behind a name: LuaJIT, node-ffi, Ruby's ffi, JNA, Julia, Tcl, Perl."""
_IMPORTED = re.compile(rb"\b(?:require|import|from|using)\b[\s(]*\Z").search
"""What stands before a module's name, which may be a library's as well: `require("ffi")`."""
_PUTS_TOGETHER = re.compile(rb"\.so[\"'`]").search
"""An ending that a source may put behind a name itself."""
_LOADS = re.compile(rb"^[ \t]*load[ \t]|dyn\.load|\bFFI::(?:cdef|load)", re.MULTILINE).search
"""Calls of Tcl, R and PHP, which take a file."""
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


class Form(NamedTuple):
    """One of the names of a library."""

    exact: bool
    """Whether it is all of its name."""
    unended: bool = False
    """Whether it means the library only to who puts `.so` behind it."""


def link_forms(name: str) -> Iterator[tuple[str, Form]]:
    """What a source may call the link `libfoo.so`, which carries no version."""
    yield name, Form(True)
    core = name.removesuffix(".so").removeprefix("lib")
    if len(core) >= SHORTEST:
        yield core, Form(True, unended=True)
        yield f"lib{core}", Form(True, unended=True)


def forms(name: str) -> Iterator[tuple[str, Form]]:
    """What a source may call a library of this file name."""
    yield name, Form(True)
    match = _NAME(name)
    if match is None:
        return
    core = match[1]
    yield f"lib{core}.so", Form(True)
    yield f"{core}.so", Form(True)
    if len(core) >= SHORTEST:
        yield core, Form(True)
        yield f"lib{core}", Form(True)
    version = _VERSION(core)
    base = core[: version.start()] if version is not None else core
    if base != core and len(base) >= SHORTEST:
        # `find_library("MagickWand" + suffix)`; libpng16 is no `png-16`, and `png` is a word.
        hyphen = core[len(base) : len(base) + 1] == "-"
        yield base, Form(hyphen)
        yield f"lib{base}", Form(True)


def searches(names: Mapping[bytes, Mapping[str, Form]], found: list[Opening]) -> list[Search]:
    """What to look for in a pass, so that every place that names one of the libraries is added to
    `found`. Library → what it may be called."""
    return _Looking(names, found).searches()


class _Looking:
    """Looks through texts for the names of some libraries."""

    def __init__(self, names: Mapping[bytes, Mapping[str, Form]], found: list[Opening]) -> None:
        self._found = found
        self._written: dict[bytes, dict[bytes, Form]] = {}
        """Name with the quote before it → library → what the name is to it."""
        self._files: dict[bytes, dict[bytes, Form]] = {}
        self._stems: dict[bytes, dict[bytes, Form]] = {}
        self._unended: dict[bytes, dict[bytes, Form]] = {}
        for library, called in names.items():
            for name, form in called.items():
                raw = name.encode("utf-8", "surrogateescape")
                for quote in (b'"', b"'"):
                    self._written.setdefault(quote + raw, {}).setdefault(library, form)
                if ".so" in name:
                    self._files.setdefault(raw, {}).setdefault(library, form)
                elif not form.unended:
                    self._stems.setdefault(raw, {}).setdefault(library, form)
                elif name.startswith("lib"):
                    self._unended.setdefault(raw, {}).setdefault(library, form)

    def searches(self) -> list[Search]:
        script = frozenset((Kind.SCRIPT,))
        made = [
            Search(tuple(self._stems), self._look_in_environment, frozenset((Kind.IMAGE,))),
            Search(tuple(self._written), self._look, _SOURCES, whole_words=False),
            Search(tuple(self._files), self._look_anywhere, _OTHERS),
            Search(tuple(self._files), self._look_in_sources, _SOURCES),
            Search(tuple(self._unended), self._look_for_words, script),
        ]
        return [search for search in made if search.needles]

    def _told(
        self,
        text: Text,
        hit: Hit,
        name: bytes,
        libraries: Mapping[bytes, Form],
        *,
        apart: bool = False,
    ) -> None:
        if is_comment(text, hit.start):
            return
        line = text.line(hit.start)
        shown = name.decode("utf-8", "replace")
        for library, form in libraries.items():
            self._found.append(
                Opening(text.name, text.path, line, shown, library, form.exact, apart)
            )

    def _look(self, text: Text, hits: Sequence[Hit]) -> None:
        opens, ends = bool(_OPENS(text.content)), bool(_ENDS(text.content))
        opens_files = opens or ends or bool(_LOADS(text.content))
        if not opens_files and text.kind is not Kind.PYTHON:
            return
        ends = ends or (opens and bool(_PUTS_TOGETHER(text.content)))
        for hit in hits[:MENTIONS]:
            after = text.content[hit.end : hit.end + 2]
            # A notebook is JSON, in which a quote has a backslash before it.
            if after.removeprefix(b"\\")[:1] != hit.needle[:1]:
                continue
            apart = not (opens_files if b".so" in hit.needle else opens)
            before = text.content[max(hit.start - 20, 0) : hit.start]
            links = ends and _IMPORTED(before) is None
            plain: dict[bytes, Form] = {}
            linked: dict[bytes, Form] = {}
            for library, form in self._written[hit.needle].items():
                (linked if form.unended else plain)[library] = form
            if links:
                self._told(text, hit, hit.needle[1:], linked)
            if not apart or text.kind is Kind.PYTHON:
                self._told(text, hit, hit.needle[1:], plain, apart=apart)

    def _look_anywhere(self, text: Text, hits: Sequence[Hit]) -> None:
        if text.member.startswith("Label"):
            return
        for hit in hits[:MENTIONS]:
            if text.content[hit.end : hit.end + 1] != b".":
                self._told(text, hit, hit.needle, self._files[hit.needle])

    def _look_in_sources(self, text: Text, hits: Sequence[Hit]) -> None:
        """Paths, and words of languages whose words need no quotes."""
        if not _OPENS(text.content) and not _LOADS(text.content):
            return
        ahead = b"/ \t" if text.kind is Kind.SCRIPT else b"/"
        for hit in hits[:MENTIONS]:
            before = text.content[hit.start - 1 : hit.start]
            if before and before in ahead and text.content[hit.end : hit.end + 1] != b".":
                self._told(text, hit, hit.needle, self._files[hit.needle])

    def _look_for_words(self, text: Text, hits: Sequence[Hit]) -> None:
        """`load libfoo[info sharedlibextension]`."""
        if _ENDS(text.content):
            for hit in hits[:MENTIONS]:
                if text.content[hit.end : hit.end + 1] in b"[":
                    self._told(text, hit, hit.needle, self._unended[hit.needle])

    def _look_in_environment(self, text: Text, hits: Sequence[Hit]) -> None:
        if not text.member.startswith("Env "):
            return
        for hit in hits[:MENTIONS]:
            start = text.content[max(hit.start - 1, 0) : hit.start]
            end = text.content[hit.end : hit.end + 1]
            if start in _LISTED and end in _LISTED:
                self._told(text, hit, hit.needle, self._stems[hit.needle], apart=True)
