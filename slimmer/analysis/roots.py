"""Where Python imports from, and which file a module's name leads to."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from slimmer.files import join, parent
from slimmer.tar.reading import DIRECTORY

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from slimmer.index import Index

_SITE = (b"site-packages", b"dist-packages")
_STANDARD = re.compile(rb"(?:.*/)?lib(?:32|64)?/(?:python|pypy)[23](?:\.\d+)?t?\Z", re.DOTALL).match


@dataclass(frozen=True)
class Roots:
    """The folders of one image that Python imports from."""

    index: Index

    @cached_property
    def installed(self) -> frozenset[bytes]:
        """Folders that installers fill: site-packages, dist-packages, the standard library, and
        wherever `pip install --target` put a distribution with its RECORD."""
        found: set[bytes] = set()
        for path in self.index.visible:
            if path.endswith((b".dist-info/RECORD", b".egg-info/installed-files.txt")):
                found.add(parent(parent(path)))
        for folder in self.folders:
            if folder[folder.rfind(b"/") + 1 :] in _SITE or _STANDARD(folder):
                found.add(folder)
        return frozenset(found)

    def is_standard(self, root: bytes | None) -> bool:
        """Whether a root is that of a standard library."""
        return root is not None and _STANDARD(root) is not None

    @cached_property
    def folders(self) -> frozenset[bytes]:
        """Every folder, named by the layers or not."""
        found: set[bytes] = set()
        for path, header in self.index.visible.items():
            folder = path if header.kind is DIRECTORY else parent(path)
            while folder and folder not in found:
                found.add(folder)
                folder = parent(folder)
        return frozenset(found)

    @cached_property
    def searched(self) -> Sequence[bytes]:
        """All of them: also PYTHONPATH, and the folder in which the image starts."""
        config = self.index.image.config
        told = [config.working_directory]
        for key, value in config.environment:
            if key == "PYTHONPATH":
                told += value.split(":")
        roots = dict.fromkeys(sorted(self.installed))
        for text in told:
            if text:
                roots[self.index.resolve(text.encode("utf-8", "surrogateescape"))] = None
        return tuple(roots)

    @cached_property
    def packages(self) -> frozenset[bytes]:
        """Folders with an `__init__` module."""
        return frozenset(
            parent(path)
            for path in self.index.visible
            if path.endswith((b"/__init__.py", b"/__init__.pyc"))
        )

    def exists(self, path: bytes) -> bool:
        return path in self.index.visible or path in self.folders

    def root(self, path: bytes) -> bytes | None:
        """The innermost folder that installers fill around a path."""
        folder = parent(path)
        while folder:
            if folder in self.installed:
                return folder
            folder = parent(folder)
        return b"" if b"" in self.installed else None

    def top(self, path: bytes) -> bytes:
        """What a file belongs to: the top-level package or module below its root; of a file that
        nobody installed, its own folder."""
        root = self.root(path)
        if root is None:
            return parent(path)
        rest = path[len(root) + 1 :] if root else path
        first = rest.partition(b"/")[0]
        return join(root, first)

    def starts(self, path: bytes, dots: int = 0) -> Iterable[bytes]:
        """The folders from which a source's imports are looked up; `dots` as an import has them."""
        here = parent(path)
        if dots:
            for _ in range(dots - 1):
                here = parent(here)
            return (here,)
        while here in self.packages:
            here = parent(here)
        return dict.fromkeys((*self.searched, here))

    def follow(self, start: bytes, parts: Iterable[bytes]) -> Iterator[bytes]:
        """The folders and modules that a dotted name leads through, as far as it leads."""
        folder = start
        for part in parts:
            folder = join(folder, part)
            if folder in self.folders:
                yield folder
                continue
            module = self.module(folder)
            if module is not None:
                yield module
            return

    def module(self, stem: bytes) -> bytes | None:
        """The file of a module, by its path without a suffix."""
        visible = self.index.visible
        for suffix in (b".py", b".pyc"):
            if stem + suffix in visible:
                return stem + suffix
        return self._extensions.get(stem)

    @cached_property
    def _extensions(self) -> dict[bytes, bytes]:
        found: dict[bytes, bytes] = {}
        for path in self.index.visible:
            if path.endswith(b".so"):
                folder, slash, name = path.rpartition(b"/")
                found.setdefault(folder + slash + name.partition(b".")[0], path)
        return found

    def located(self, name: str, source: bytes) -> bytes | None:
        """The file of a module, or of a package its folder, by its whole dotted name."""
        parts = name.encode("utf-8", "replace").split(b".")
        for start in self.starts(source):
            found = list(self.follow(start, parts))
            if len(found) == len(parts):
                return found[-1]
        return None
