"""Which Python source imports which module: the proof that nothing needs a distribution.

Counted is what a program would do: import statements wherever they stand, and the names given to
importlib. Not counted is what only a test runner loads: tests, and `conftest.py`.
"""

from __future__ import annotations

import ast
import re
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from slimmer.analysis.texts import Kind, Search
from slimmer.names import printable

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from slimmer.analysis.suites import Suites
    from slimmer.analysis.texts import Hit, Text, Texts

_LINE = re.compile(
    rb"^[ \t]*(?:from[ \t]+(\.*[\w.]*)[ \t]+import[ \t]+\(?([^#\n]*)|import[ \t]+([^#\n]+))",
    re.MULTILINE,
).finditer


class Import(NamedTuple):
    """A place that imports a module."""

    place: str
    """Text and line, as people read it."""
    module: str
    doubt: bool
    """Whether it is a text that may be a name, and no import statement."""

    def __str__(self) -> str:
        return f"{self.place} {'names' if self.doubt else 'imports'} {printable(self.module)}"


@dataclass(frozen=True, slots=True)
class Importers:
    """Who imports top-level modules."""

    texts: Texts
    suites: Suites

    def importing(
        self, modules: Collection[str], leaving: Collection[bytes] = ()
    ) -> Mapping[str, Import]:
        """Those of the top-level modules that a source outside of test folders imports, other
        than the `leaving` ones."""
        found: dict[str, Import] = {}
        if not modules:
            return found
        wanted = "|".join(re.escape(name) for name in sorted(modules, key=len, reverse=True))
        search = re.compile(
            rf"^[^\n#]*\b(?:from|import)[ \t][^\n]*\b(?:{wanted})\b"
            rf"|import_module\(\s*[\"'](?:{wanted})\b".encode(),
            re.MULTILINE,
        ).search
        parts = {name: (*name.split("."),) for name in modules}

        def look(text: Text, hits: Sequence[Hit]) -> None:
            if text.kind is Kind.PYTHON and not search(text.content):
                return
            for line, module, doubt in _imported(text.content):
                whole = (*module.split("."),)
                for name, first in parts.items():
                    if name not in found and whole[: len(first)] == first:
                        found[name] = Import(f"{text.name}:{line}", module, doubt)

        needles = tuple(name.encode() for name in modules)
        kinds = frozenset((Kind.PYTHON, Kind.PATH_FILE))
        paths = [
            path
            for path in self.texts.kinds
            if path not in leaving
            and self.suites.folder(path) is None
            and not path.endswith(b"/conftest.py")
        ]
        self.texts.scan([Search(needles, look, kinds)], paths)
        return found


def _imported(source: bytes) -> Iterator[tuple[int, str, bool]]:
    """Every module that a source imports by its whole name: line, name, doubt."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        for match in _LINE(source):
            line = source.count(b"\n", 0, match.start()) + 1
            base, _, plain = match.groups()
            for part in [base] if base is not None else plain.split(b","):
                yield line, part.split()[0].decode("utf-8", "replace") if part.split() else "", True
        return
    for node in ast.walk(tree):
        match node:
            case ast.Import(names):
                for alias in names:
                    yield node.lineno, alias.name, False
            case ast.ImportFrom(str(module), names, 0):
                for alias in names:
                    yield node.lineno, f"{module}.{alias.name}", False
            case ast.Call(function, [ast.Constant(str(text)), *_]):
                called = getattr(function, "attr", getattr(function, "id", ""))
                if called in ("import_module", "__import__", "importorskip"):
                    yield node.lineno, text, True
