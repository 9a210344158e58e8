"""What is so about one image, whatever anybody wants to do with it; found out once."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from slimmer.analysis.folders import WantedFolders
from slimmer.names import printable
from slimmer.placement import resolve
from slimmer.tar.reading import DIRECTORY, FILE, SYMLINK

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from slimmer.analysis.dependencies import DependencyGraph
    from slimmer.analysis.imports import Importers
    from slimmer.analysis.linkage import Linkage
    from slimmer.analysis.naming import Naming
    from slimmer.analysis.needs import Mentions
    from slimmer.analysis.starts import Starts
    from slimmer.analysis.suites import Suites
    from slimmer.analysis.texts import Texts
    from slimmer.attribution import Attribution
    from slimmer.files import File
    from slimmer.image import Read
    from slimmer.index import Index
    from slimmer.tar.reading import Header


@dataclass(frozen=True, eq=False)
class Facts:
    """What actions, guards and proofs look at. What is expensive to find out is found out when it
    is first asked for, and kept."""

    ledger: Attribution
    graph: DependencyGraph

    def __repr__(self) -> str:
        return f"Facts({self.index.image.reference!r})"

    @property
    def index(self) -> Index:
        return self.ledger.index

    @cached_property
    def stays(self) -> WantedFolders:
        """Whether a folder is wanted even when it is empty."""
        return WantedFolders(self.ledger)

    @cached_property
    def _sorted(self) -> Sequence[bytes]:
        return sorted(self.index.visible)

    def below(self, folder: bytes) -> Iterator[bytes]:
        """Every visible path below a folder."""
        prefix = folder + b"/"
        for place in range(bisect_left(self._sorted, prefix), len(self._sorted)):
            path = self._sorted[place]
            if not path.startswith(prefix):
                return
            yield path

    def folded(self, paths: Iterable[bytes]) -> list[str]:
        """Paths as a plan file names them: `folder/` for a folder with all that lies below."""
        wanted = set(paths)
        whole = {
            path
            for path in wanted
            if self.index.visible[path].kind is DIRECTORY
            and all(below in wanted for below in self.below(path))
        }
        names: list[str] = []
        for path in sorted(wanted):
            parent = path[: max(path.rfind(b"/"), 0)]
            while parent and parent not in whole:
                parent = parent[: max(parent.rfind(b"/"), 0)]
            if not parent:
                names.append(printable(path) + ("/" if path in whole else ""))
        return names

    def readers(self, paths: Iterable[bytes]) -> Iterator[tuple[bytes, Read]]:
        """Random access to visible regular files, layer by layer in the tar's order; each reader
        is valid until the next one is asked for."""
        by_layer: dict[int, dict[int, list[bytes]]] = {}
        headers: dict[int, dict[int, Header]] = {}
        for path in paths:
            file = self.index.file(path)
            if file is not None and file.holder.kind is FILE and not file.holder.sparse:
                start = file.holder.start
                by_layer.setdefault(file.layer, {}).setdefault(start, []).append(path)
                headers.setdefault(file.layer, {})[start] = file.holder
        for number, wanted in sorted(headers.items()):
            content = self.index.layers[number].layer.content
            for header, read in content.files(wanted.values()):
                for path in by_layer[number][header.start]:
                    yield path, read

    @cached_property
    def symlinks(self) -> Sequence[tuple[bytes, bytes]]:
        """Every visible symlink that leads to something visible, and the real path of that."""
        index = self.index
        found = [
            (path, index.resolve(path))
            for path, header in index.visible.items()
            if header.kind is SYMLINK
        ]
        return [
            (path, target)
            for path, target in found
            # A layer need not name the folders around its files.
            if target in index.visible or next(self.below(target), None) is not None
        ]

    @cached_property
    def ways(self) -> Mapping[bytes, Sequence[bytes]]:
        """Symlink → the other symlinks on the way to its target, for those that go over any."""
        found = ((link, ways(self.index, link)) for link, _ in self.symlinks)
        return {link: met for link, met in found if met}

    def freed(self, paths: Iterable[bytes]) -> int:
        """Bytes that leave with these visible paths: a hard link's when its last name leaves."""
        visible = self.index.visible
        file_of = self.index.files.by_path
        wanted = paths if isinstance(paths, (set, frozenset)) else set(paths)
        total = 0
        seen: set[File] = set()
        for path in wanted:
            if path not in visible:
                continue
            file = file_of.get(path)
            if file is None:
                total += visible[path].size
            elif file not in seen and wanted.issuperset(file.names):
                seen.add(file)
                total += max(visible[name].size for name in file.names)
        return total

    def contents(self, paths: Iterable[bytes]) -> Iterator[tuple[bytes, bytes]]:
        """Whole small files."""
        for path, read in self.readers(paths):
            file = self.index.file(path)
            yield path, read(0, file.size if file is not None else 0)

    @cached_property
    def linkage(self) -> Linkage:
        """Which ELF file needs which library, and where it finds it."""
        from slimmer.analysis.linkage import Linkage

        return Linkage.of(self.index, self.readers)

    @cached_property
    def starts(self) -> Starts:
        """What the image starts, and what its start names."""
        from slimmer.analysis.starts import Starts

        return Starts.of(self.index, self.readers)

    @cached_property
    def naming(self) -> Naming:
        """Which text names which path, program, library or word."""
        from slimmer.analysis.naming import Naming

        return Naming(self.index, self.ledger, self.texts)

    @cached_property
    def texts(self) -> Texts:
        """What can name a file, a module, a program or a library."""
        from slimmer.analysis.texts import Texts

        return Texts(self.index, self.readers)

    @cached_property
    def suites(self) -> Suites:
        """Which test folders there are."""
        from slimmer.analysis.suites import Suites

        return Suites(self.index)

    @cached_property
    def mentions(self) -> Mentions:
        """Which texts name what lies in test folders."""
        from slimmer.analysis.needs import Mentions

        return Mentions(self.suites, self.texts, self.readers)

    @cached_property
    def importers(self) -> Importers:
        """Which Python source imports which module."""
        from slimmer.analysis.imports import Importers

        return Importers(self.texts, self.suites)


def ways(index: Index, link: bytes) -> list[bytes]:
    """Every other symlink that is followed on the way from a symlink to its target."""
    met: list[bytes] = []

    def follow(path: bytes) -> bytes | None:
        target = index.link(path)
        if target is not None and path != link:
            met.append(path)
        return target

    resolve(link, follow)
    return met
