"""The image that a plan is made for: its ledger, its graph, what must stay, and its contents."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from slimmer.names import printable
from slimmer.policy import Globs, Selector
from slimmer.tar.reading import DIRECTORY, FILE, SYMLINK

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from slimmer.analysis.dependencies import DependencyGraph
    from slimmer.analysis.imports import Importers
    from slimmer.analysis.linkage import Linkage
    from slimmer.analysis.starts import Starts
    from slimmer.analysis.texts import Texts
    from slimmer.attribution import Attribution
    from slimmer.image import Read
    from slimmer.index import Index
    from slimmer.policy import Policy
    from slimmer.tar.reading import Header

LICENCES = Globs(
    (
        "LICENSE*",
        "LICENCE*",
        "NOTICE*",
        "COPYING*",
        "/usr/share/doc/*/copyright",
        "*.dist-info/licenses/",
    )
)
"""Texts that must go wherever the files they are about go; no policy can drop them."""


@dataclass(frozen=True)
class Subject:
    """What actions and guards look at. What is dear to find out is found out once, when asked."""

    ledger: Attribution
    graph: DependencyGraph
    keep: Globs
    """Paths that no step may remove or change."""
    keep_owners: tuple[str, ...] = ()

    @classmethod
    def of(cls, ledger: Attribution, graph: DependencyGraph, policy: Policy) -> Subject:
        return cls(ledger, graph, policy.keep, policy.keep_owners)

    @property
    def index(self) -> Index:
        return self.ledger.index

    def keeps(self, path: bytes) -> bool:
        """Whether the path must stay as it is, whatever a rule says."""
        if path in LICENCES or path in self.keep:
            return True
        return bool(self.keep_owners) and Selector(owners=self.keep_owners).owner(
            self.ledger.owner(path)
        )

    @cached_property
    def pinned(self) -> Globs:
        """Paths that hold even a whole package in the image: those of `keep` that name one place.

        The others are about parts, such as the metadata of a distribution that stays.
        """
        return Globs(
            pattern
            for pattern in self.keep.patterns
            if pattern.startswith("/")
            or ("/" in pattern and not pattern.endswith("/") and not set(pattern) & set("*?["))
        )

    def stays(self, folder: bytes) -> bool:
        """Whether a folder is wanted even when it is empty: a system package made it, or the
        image starts in it."""
        if folder == self.index.image.config.working_directory.encode().strip(b"/"):
            return True
        claim = self.ledger.claim_of.get(folder)
        return claim is not None and claim.owner.kind in ("deb", "apk", "rpm", "system")

    def selected(self, selector: Selector) -> list[bytes]:
        """The visible files (no folders) that a rule is about and that may leave, in tree order."""
        ledger = self.ledger
        visible = self.index.visible
        owners = {
            claim.owner: selector.owner(claim.owner)
            for claim in {id(claim): claim for claim in ledger.claim_of.values()}.values()
        }
        found: list[bytes] = []
        for path, claim in ledger.claim_of.items():
            if not owners[claim.owner]:
                continue
            if selector.categories and ledger.category_of[path] not in selector.categories:
                continue
            header = visible[path]
            if header.kind is DIRECTORY:
                continue
            if selector.minimum and ledger.size_of.get(path, 0) < selector.minimum:
                continue
            if selector.layers and self.index.layer_of[path] not in selector.layers:
                continue
            if selector.paths and path not in selector.paths:
                continue
            if path in selector.exclude or self.keeps(path):
                continue
            found.append(path)
        return found

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
    def linked(self) -> Mapping[tuple[int, bytes], tuple[bytes, ...]]:
        """Visible names of each file that has hard links: (layer, path of what holds it) → names.

        `Index.file` leads from any of these names to the others.
        """
        return {
            (number, file.holder.path): file.names
            for number, files in self.index.files.held.items()
            for file in files
            if file.names
        }

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
    def texts(self) -> Texts:
        """What can name a file, a module, a program or a library."""
        from slimmer.analysis.texts import Texts

        return Texts(self.index, self.readers)

    @cached_property
    def importers(self) -> Importers:
        """Which Python source names which test package."""
        from slimmer.analysis.imports import Importers

        return Importers.of(self.index, self.readers)
