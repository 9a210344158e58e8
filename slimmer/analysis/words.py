"""Plain words of an image's texts that tell what a program is about to do, and where they stand."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from slimmer.analysis.spots import is_comment
from slimmer.analysis.texts import Kind, Search
from slimmer.names import printable

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from slimmer.analysis.texts import Hit, Text

MENTIONS = 200
"""Most places of one text that are looked at."""
SHORTEST = 4
"""Letters of the shortest library that counts in a build file by its bare name."""
LINE = 200
"""Bytes of a line that are kept."""

COMPILING = {
    b"ffi.verify(": "cffi compiles what it is given",
    b"ffi.compile(": "cffi compiles what it is given",
    b".set_source(": "cffi compiles what it is given",
    b"pyximport": "pyximport compiles Cython sources",
    b"torch.compile": "torch.compile calls a C++ compiler",
    b"load_inline": "load_inline calls a C++ compiler",
    b"cpp_extension": "cpp_extension calls a C++ compiler",
    b"numba.pycc": "numba.pycc links what it compiles",
    b"import cppyy": "cppyy includes the system's headers",
    b"pythran": "pythran calls a C++ compiler",
    b"scipy.weave": "weave calls a C++ compiler",
    b"setuptools.command.build_ext": "build_ext calls a compiler",
}
"""What code says that calls a compiler when it runs, and why."""
FINDING = b"find_library"
INSTALLERS = (b"apt-get", b"aptitude")
UPDATES = (b"apt-get update", b"apt update", b"apt-get -y update", b"apt-get -q update")
_SPEAKS_OF_LIBRARIES = re.compile(rb"libraries|extra_objects|link_args|LIBS\b|ldflags").search


class Word(NamedTuple):
    """A place where a text says a word."""

    text: str
    """The text's name, printable."""
    path: bytes
    line: int
    word: bytes
    kind: Kind
    rest: bytes
    """The line from the word on."""
    alone: bool
    """Whether the text is one that also runs by itself, under `__main__`, such as a build."""

    @property
    def place(self) -> str:
        return f"{self.text}:{self.line}"

    def __str__(self) -> str:
        return f"{self.place} names {printable(self.word)}"


def searches(words: Collection[bytes], found: list[Word]) -> list[Search]:
    """What to look for, so that every place outside of comments that says a word is found."""

    def look(text: Text, hits: Sequence[Hit]) -> None:
        said = (hit for hit in hits[:MENTIONS] if not is_comment(text, hit.start))
        found.extend(_word(text, hit) for hit in said)

    return [Search(tuple(words), look, whole_words=False)] if words else []


def linker_searches(stems: Collection[bytes], found: list[Word]) -> list[Search]:
    """The same for names of libraries as a linker takes them: `-lfoo`, `libfoo.a`, or a string of
    its own in a source that speaks of libraries."""
    # A stem alone would be met in every line: there are libraries called `c` and `m`.
    needles = {before + stem: stem for stem in stems for before in (b"-l", b"lib", b'"', b"'")}

    def look(text: Text, hits: Sequence[Hit]) -> None:
        said = (hit for hit in hits[:MENTIONS] if _for_linker(text.content, hit))
        found.extend(
            _word(text, hit, needles[hit.needle]) for hit in said if not is_comment(text, hit.start)
        )

    def look_in_builds(text: Text, hits: Sequence[Hit]) -> None:
        said = (hit for hit in hits[:MENTIONS] if not is_comment(text, hit.start))
        found.extend(_word(text, hit) for hit in said)

    if not stems:
        return []
    # What only builds read takes libraries by their bare names: `find_library(x NAMES foo)`.
    bare = tuple(stem for stem in stems if len(stem) >= SHORTEST)
    return [
        Search(tuple(needles), look, whole_words=False),
        Search(bare, look_in_builds, frozenset((Kind.BUILD,))),
    ]


def _word(text: Text, hit: Hit, word: bytes | None = None) -> Word:
    end = text.content.find(b"\n", hit.start, hit.start + LINE)
    rest = text.content[hit.start : end if end >= 0 else hit.start + LINE]
    alone = b"__main__" in text.content
    line = text.line(hit.start)
    return Word(text.name, text.path, line, word or hit.needle, text.kind, rest, alone)


def _for_linker(content: bytes, hit: Hit) -> bool:
    after = content[hit.end : hit.end + 3]
    if hit.needle.startswith(b"-l"):
        return not (after[:1].isalnum() or after[:1] in (b"_", b"-", b"."))
    quote = hit.needle[:1]
    if quote in (b'"', b"'"):
        return after[:1] == quote and _SPEAKS_OF_LIBRARIES(content) is not None
    return after.startswith(b".a") and not after[2:3].isalnum()
