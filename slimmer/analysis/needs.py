"""Which files of test folders something needs that is no test, with the place that says so.

A test needs nothing unless it is itself needed, or stays for another reason. What is needed is held
file by file where that can be known: a module with the packages around it and what it imports; a
folder of data. A module that finds files or modules by listing or by computing holds its folder.
"""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

from slimmer.analysis.mentions import Finder, Mention
from slimmer.analysis.suites import MODULES
from slimmer.analysis.texts import Search
from slimmer.files import join, parent, parents
from slimmer.names import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence

    from slimmer.analysis.suites import Suites
    from slimmer.analysis.texts import Hit, Text, Texts
    from slimmer.image import Read

    Readers = Callable[[Iterable[bytes]], Iterator[tuple[bytes, Read]]]

_STARTED = re.compile(rb"-m[\"']?[\s,]+[\"']?([\w.]+)").match
_LISTS = re.compile(
    rb"\b(?:__path__|listdir|scandir|iterdir|glob|rglob|iglob|os\.walk|iter_modules|walk_packages"
    rb"|import_module|__import__|discover|exec|run_module|run_path|getsourcefile)\b"
).search
"""Calls of a module that finds files or modules which it does not name."""


class Need(NamedTuple):
    """Files of one suite that something needs, or may need."""

    suite: bytes
    evidence: str
    paths: tuple[bytes, ...]
    doubt: bool


@dataclass(frozen=True)
class Mentions:
    """What the texts of an image name in its test folders; each text is looked at once."""

    suites: Suites
    texts: Texts
    readers: Readers
    _inside: dict[bytes, list[Mention]] = field(default_factory=dict, repr=False)
    """Suite → what its texts name in other suites."""
    _modules: dict[bytes, tuple[list[Mention], bool]] = field(default_factory=dict, repr=False)
    """Module in a suite → all that it names in suites, and whether it finds files by itself."""

    @cached_property
    def outside(self) -> Sequence[Mention]:
        """What is named by texts that lie in no suite: 0.7 s of CPU for 253 MB, and 15 ms for
        each of the sources that are parsed."""
        if not self.suites.by_folder:
            return ()
        finder = Finder(self.suites)
        started: set[str] = set()

        def start(text: Text, hits: Sequence[Hit]) -> None:
            for hit in hits:
                if match := _STARTED(text.content, hit.start):
                    started.add(match[1].decode())

        live = [path for path in self.texts.kinds if self.suites.folder(path) is None]
        searches = [finder.search, finder.listings, Search((b"-m",), start)]
        self.texts.scan(searches, live, image=True)
        return [
            mention
            for mention in finder.mentions
            if not mention.module or _is_started(mention.module, started)
        ]

    def inside(self, suite: bytes) -> Sequence[Mention]:
        """What the texts of a suite name in other suites."""
        found = self._inside.get(suite)
        if found is None:
            finder = Finder(self.suites)
            texts = [
                path for path in self.suites.by_folder[suite].files if path in self.texts.kinds
            ]
            self.texts.scan([finder.search], texts)
            found = [one for one in finder.mentions if one.suite != suite and not one.module]
            self._inside[suite] = found
        return found

    def named_by(self, modules: Iterable[bytes]) -> Iterator[tuple[bytes, list[Mention], bool]]:
        """All that some modules in suites name in suites, and whether each finds files or modules
        that it does not name."""
        modules = list(modules)
        for path, read in self.readers([path for path in modules if path not in self._modules]):
            finder = Finder(self.suites)
            file = self.suites.index.file(path)
            content = read(0, file.size if file is not None else 0)
            opens = finder.all_of(path, content)
            self._modules[path] = (finder.mentions, bool(_LISTS(content)) or opens)
        for path in modules:
            yield path, *self._modules.get(path, ([], False))


def _is_started(module: str, started: Collection[str]) -> bool:
    return module in started or (
        module.endswith(".__main__") and module.removesuffix(".__main__") in started
    )


def needs(mentions: Mentions, paths: Collection[bytes]) -> list[Need]:
    """Those of the paths that must stay, or may have to, when all of them were to leave."""
    return _Holding(mentions, paths).needs()


class _Holding:
    """What stays of the paths that were to leave, and why."""

    def __init__(self, mentions: Mentions, paths: Collection[bytes]) -> None:
        self._mentions = mentions
        self._suites = suites = mentions.suites
        self._leaving = frozenset(paths)
        self._asked: defaultdict[bytes, list[bytes]] = defaultdict(list)
        self._nowhere: defaultdict[bytes, list[bytes]] = defaultdict(list)
        for path in paths:
            folder = suites.folder(path)
            if folder is None:
                self._nowhere[parent(path)].append(path)
            else:
                self._asked[folder].append(path)
        self._held: dict[bytes, str] = {}
        self._doubted: dict[bytes, str] = {}
        self._whole: set[bytes] = set()
        self._todo: list[Mention] = []
        self._new: list[bytes] = []

    def needs(self) -> list[Need]:
        self._refuse()
        live = [
            folder
            for folder, suite in self._suites.by_folder.items()
            if not self._leaving.issuperset(suite.files)
        ]
        for folder in live:
            if folder not in self._asked or folder in self._whole:
                self._todo += self._mentions.inside(folder)
            else:
                files = self._suites.by_folder[folder].files
                self._new += [path for path in files if path not in self._leaving]
        self._todo += self._mentions.outside
        doubts = [mention for mention in self._todo if mention.doubt]
        self._settle()
        for mention in doubts:
            for path in self._meant(mention):
                self._doubted.setdefault(path, str(mention))
        return [*self._told(self._held, doubt=False), *self._told(self._doubted, doubt=True)]

    def _refuse(self) -> None:
        """What is no installed distribution's test by its place or by what it holds."""
        for folder, paths in self._nowhere.items():
            for path in paths:
                self._held[path] = f"{printable(folder)} is no folder of tests"
        for folder in self._asked:
            suite = self._suites.by_folder[folder]
            if suite.root is None:
                why = "nothing installed it where Python imports from: the application's own"
            elif not suite.has_tests:
                why = "no file in it is named as tests are: plug-ins or data"
            else:
                continue
            self._whole.add(folder)
            self._hold(suite.files, why)

    def _hold(self, paths: Iterable[bytes], why: str) -> None:
        for path in paths:
            if path in self._leaving and path not in self._held:
                self._held[path] = why
                self._new.append(path)

    def _settle(self) -> None:
        """Hold what is named, and what that names in its turn."""
        while self._todo or self._new:
            for mention in self._todo:
                if not mention.doubt:
                    self._hold(self._meant(mention), str(mention))
                    if mention.whole and mention.suite not in self._whole:
                        self._whole.add(mention.suite)
            self._todo = []
            fresh, self._new = self._new, []
            by_suite: defaultdict[bytes, list[bytes]] = defaultdict(list)
            for path in fresh:
                folder = self._suites.folder(path)
                if folder is not None:
                    by_suite[folder].append(path)
            for folder, paths in by_suite.items():
                if folder in self._whole:
                    self._todo += self._mentions.inside(folder)
                    continue
                sources = [path for path in paths if path.endswith(b".py")]
                for path, mentions, finds in self._mentions.named_by(sources):
                    self._todo += mentions
                    if finds:
                        told = self._held.get(path, f"{printable(path)} stays")
                        why = f"{told}, which finds what is beside it by itself"
                        self._whole.add(folder)
                        self._hold(self._suites.by_folder[folder].files, why)

    def _meant(self, mention: Mention) -> Iterable[bytes]:
        """The files that a mention needs."""
        suite = self._suites.by_folder[mention.suite]
        if mention.whole:
            return suite.files
        target, visible = mention.target, self._suites.index.visible
        around = [target] if target not in visible or target in self._suites.roots.folders else []
        for folder in parents(target):
            if len(folder) < len(suite.folder):
                break
            around.append(folder)
        found = [path for folder in around for path in self._package(folder)]
        if target in self._suites.roots.folders:
            below = [path for path in suite.files if path.startswith(target + b"/")]
            if mention.how != "imports":
                found += below
            elif target != suite.folder:
                # A package that is imported gives its data: `files(package)`, `package.__file__`.
                found += [path for path in below if not path.endswith(MODULES)]
        else:
            found += [target, *self._compiled(target)]
        return found

    def _package(self, folder: bytes) -> list[bytes]:
        init = self._suites.roots.module(folder + b"/__init__")
        return [init, *self._compiled(init)] if init else []

    def _compiled(self, path: bytes) -> list[bytes]:
        """The bytecode of a source (PEP 3147)."""
        if not path.endswith(b".py"):
            return []
        folder, _, name = path.rpartition(b"/")
        prefix = join(folder, b"__pycache__/" + name[:-2])
        suite = self._suites.by_folder[self._suites.folder(path) or b""]
        return [one for one in suite.files if one.startswith(prefix) and one.endswith(b".pyc")]

    def _told(self, found: Mapping[bytes, str], *, doubt: bool) -> Iterator[Need]:
        groups: defaultdict[tuple[bytes, str], list[bytes]] = defaultdict(list)
        for path, why in found.items():
            if path in self._leaving and not (doubt and path in self._held):
                groups[self._suites.folder(path) or parent(path), why].append(path)
        for (folder, why), paths in sorted(groups.items()):
            yield Need(folder, why, tuple(sorted(paths)), doubt)
