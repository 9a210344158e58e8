"""Who names a path, a program, a library or a word, over every text of an image.

Guards ask again and again, each for its own names and with fewer paths each time. What was looked
for once is remembered, and a first pass looks for all that can be known beforehand: a pass over
the texts of an image of 8 GB costs 2 s of CPU, whatever it looks for.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Generic, TypeVar

from slimmer.analysis import calls, loads, paths_named, words

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from slimmer.analysis.texts import Search, Texts
    from slimmer.attribution import Attribution
    from slimmer.index import Index

_PLACES = (
    *(b"usr/share/doc", b"usr/share/man", b"usr/share/info", b"usr/share/locale"),
    *(b"usr/share/doc-base", b"usr/share/gtk-doc", b"usr/share/lintian", b"usr/local/share/man"),
    *(b"usr/local/share/doc", b"usr/local/share/info"),
)
"""Where rules take from in most images."""
_ELSEWHERE = ("tmp", "logs", "other", "man", "fontconfig")
"""Caches in whose folders every program writes."""

T = TypeVar("T")
K = TypeVar("K")


@dataclass(slots=True)
class _Memory(Generic[T]):
    """What was looked for, and all that was found."""

    known: set[object] = field(default_factory=set)
    found: list[T] = field(default_factory=list)


@dataclass
class Naming:
    """Answers which text names what. Texts that leave are for the asker to leave out."""

    index: Index
    ledger: Attribution
    texts: Texts
    _paths: _Memory[paths_named.Mention] = field(default_factory=_Memory)
    _programs: _Memory[calls.Call] = field(default_factory=_Memory)
    _libraries: _Memory[loads.Opening] = field(default_factory=_Memory)
    _words: _Memory[words.Word] = field(default_factory=_Memory)
    _stems: _Memory[words.Word] = field(default_factory=_Memory)
    _begun: bool = False

    def paths(self, folders: Collection[bytes]) -> list[paths_named.Mention]:
        """Who names one of these folders or what lies in it."""
        self._look(paths=folders)
        wanted = set(folders)
        return [one for one in self._paths.found if one.folder in wanted]

    def programs(self, names: Collection[str]) -> list[calls.Call]:
        """Who calls one of these programs."""
        self._look(programs=names)
        wanted = set(names)
        return [one for one in self._programs.found if one.program in wanted]

    def libraries(self, names: Mapping[bytes, Mapping[str, loads.Form]]) -> list[loads.Opening]:
        """Who opens one of these libraries by a name; see `loads.forms`."""
        self._look(libraries=names)
        return [one for one in self._libraries.found if one.library in names]

    def said(self, wanted: Collection[bytes]) -> list[words.Word]:
        """Who says one of these words, outside of comments."""
        self._look(said=wanted)
        return [one for one in self._words.found if one.word in wanted]

    def stems(self, wanted: Collection[bytes]) -> list[words.Word]:
        """Who gives one of these libraries, named without `lib` and `.a`, to a linker."""
        self._look(stems=wanted)
        return [one for one in self._stems.found if one.word in wanted]

    def _look(
        self,
        paths: Collection[bytes] = (),
        programs: Collection[str] = (),
        libraries: Mapping[bytes, Mapping[str, loads.Form]] | None = None,
        said: Collection[bytes] = (),
        stems: Collection[bytes] = (),
    ) -> None:
        """One pass for what of this was not looked for before."""
        if not self._begun:
            self._begun = True
            paths = {*paths, *self._places()}
            said = {*said, *self._said()}
            stems = {*stems, *self._static()}
        forms = libraries or {}

        fresh_paths = _fresh(self._paths, paths)
        fresh_programs = _fresh(self._programs, programs)
        fresh_libraries = {one: forms[one] for one in _fresh(self._libraries, forms)}
        fresh_words = _fresh(self._words, said)
        fresh_stems = _fresh(self._stems, stems)
        made: list[Search] = []
        if fresh_paths:
            made += paths_named.searches(self.index, fresh_paths, self._paths.found)
        if fresh_programs:
            made += calls.searches(fresh_programs, self._programs.found)
        if fresh_libraries:
            made += loads.searches(fresh_libraries, self._libraries.found)
        made += words.searches(fresh_words, self._words.found)
        made += words.linker_searches(fresh_stems, self._stems.found)
        if made:
            self.texts.scan(made)

    def _places(self) -> set[bytes]:
        caches = {
            tree
            for claim in self.ledger.claims
            if claim.owner.kind == "cache" and claim.owner.name not in _ELSEWHERE
            for tree in claim.trees
            if tree
        }
        return {*_PLACES, *caches}

    def _said(self) -> set[bytes]:
        programs = {
            path[path.rfind(b"/") + 1 :] for path in self.index.visible if path.endswith(b".exe")
        }
        return {*words.COMPILING, words.FINDING, *words.INSTALLERS, *words.UPDATES, *programs}

    def _static(self) -> set[bytes]:
        owner = self.ledger.owner
        return {
            static_stem(path)
            for path in self.index.visible
            if path.endswith(b".a") and owner(path).kind not in ("deb", "apk", "rpm")
        }


def _fresh(memory: _Memory[T], keys: Iterable[K]) -> list[K]:
    """Those of the keys that are asked for the first time."""
    fresh = [key for key in dict.fromkeys(keys) if key not in memory.known]
    memory.known.update(fresh)
    return fresh


def static_stem(path: bytes) -> bytes:
    """What a linker calls a static library: `foo` of `libfoo.a`."""
    return path[path.rfind(b"/") + 1 : -2].removeprefix(b"lib")
