"""The test folders of an image, and what is known of each by the names in it."""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from slimmer.analysis.roots import Roots
from slimmer.categories import TEST_FOLDERS
from slimmer.files import parent
from slimmer.tar.reading import DIRECTORY

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from slimmer.index import Index

_TEST_FILE = re.compile(
    rb"(?:tests?(?:[_.-].*)?|test[A-Z].*|.*[_.-]tests?|.*[a-z]Tests?|conftest)\.(?:py|pyc|so)\Z"
).match
"""Files that are named as tests are, by pytest, unittest, nose or people."""
MODULES = (b".py", b".pyc", b".pyi", b".so")


@dataclass(frozen=True, slots=True)
class Suite:
    """A folder that is called as tests are, the outermost one below what Python imports from."""

    folder: bytes
    root: bytes | None
    """The folder of installed modules around it; None where nobody installed it."""
    files: tuple[bytes, ...]
    has_tests: bool
    """Whether any file is named as tests are."""
    has_data: bool
    """Whether there is more than modules: what a program may open by its path."""

    @property
    def name(self) -> bytes:
        return self.folder[self.folder.rfind(b"/") + 1 :]


@dataclass(frozen=True)
class Suites:
    """All test folders of an image."""

    index: Index

    @cached_property
    def roots(self) -> Roots:
        return Roots(self.index)

    @cached_property
    def by_folder(self) -> Mapping[bytes, Suite]:
        files: defaultdict[bytes, list[bytes]] = defaultdict(list)
        for path, header in self.index.visible.items():
            if header.kind is not DIRECTORY:
                folder = self.folder(path)
                if folder is not None:
                    files[folder].append(path)
        return {
            folder: Suite(
                folder,
                self.roots.root(folder + b"/"),
                tuple(paths),
                any(_TEST_FILE(path[path.rfind(b"/") + 1 :]) for path in paths),
                any(not path.endswith(MODULES) for path in paths),
            )
            for folder, paths in files.items()
        }

    @cached_property
    def by_name(self) -> Mapping[bytes, Sequence[Suite]]:
        """Those of which it counts who names them, by what their folders are called. The others
        stay whoever does: what nobody installed, and what holds no test."""
        found: defaultdict[bytes, list[Suite]] = defaultdict(list)
        for suite in self.by_folder.values():
            if suite.has_tests and suite.root is not None:
                found[suite.name].append(suite)
        return found

    @cached_property
    def _folders(self) -> dict[bytes, bytes | None]:
        return {b"": None}

    def folder(self, path: bytes) -> bytes | None:
        """The suite that a path lies in: whole environments in a folder called `test` are none."""
        known = self._folders
        chain: list[bytes] = []
        here = parent(path)
        while here not in known:
            chain.append(here)
            here = parent(here)
        found = known[here]
        for here in reversed(chain):
            if here in self.roots.installed:
                found = None
            elif found is None and here[here.rfind(b"/") + 1 :] in TEST_FOLDERS:
                found = here
            known[here] = found
        return found
