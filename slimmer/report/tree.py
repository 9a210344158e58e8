"""An image's bytes as a tree to look at: image, owner, folder, file.

What is too small to be seen is put together by its kind, folder by folder, so that a tree of
66,000 files stays one of a few thousand nodes and still adds up to the byte.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, NamedTuple

from slimmer.names import printable
from slimmer.report.report import fitting

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from slimmer.attribution import Attribution, Owner
    from slimmer.report.report import Report

Kind = Literal["image", "owner", "folder", "file", "kind", "hidden"]
"""What a node is; `kind` is bytes of one category: small files, or a part of one file."""

NODES = 6000
"""How many nodes a tree may have before it tells less."""
OF_OWNER = 300
"""A file or folder with this part of its owner's bytes has a node of its own …"""
OF_IMAGE = 40_000
"""… where it is this part of the image's, too."""
NEARLY_ALL = 0.9
"""A folder with this part of an owner's bytes, and no file in it, is not worth a level."""


class Node(NamedTuple):
    """One part of an image."""

    name: str
    """Printable; a file's or folder's path from the folder it lies in."""
    parent: int
    """Place of what it lies in, which stands before it; -1 for the image."""
    kind: Kind
    size: int
    files: int
    category: str
    """What most of its bytes are; empty for hidden bytes, of which nobody can tell."""


@dataclass(frozen=True, slots=True)
class Tree:
    """The image as the first node, and every other one behind what it lies in."""

    nodes: tuple[Node, ...]

    def __repr__(self) -> str:
        return f"Tree({len(self.nodes)} nodes)"

    @classmethod
    def of(
        cls, report: Report, ledger: Attribution | None = None, pattern: str | None = None
    ) -> Tree:
        """The tree of a report, down to owners and categories; with its ledger, down to files.

        `pattern` is the one that narrowed the report.
        """
        owners = _owners(ledger, pattern) if ledger else {}
        coarser = 1
        while True:
            nodes = _nodes(report, owners, coarser)
            if len(nodes) <= NODES or coarser >= OF_IMAGE:
                return cls(tuple(nodes))
            coarser *= 2


@dataclass(slots=True)
class _Folder:
    """A folder of one owner while it is added up."""

    own: dict[str, list[int]] = field(default_factory=dict)
    """Category → bytes and files, of the files right in it."""
    parts: dict[str, list[int]] = field(default_factory=dict)
    """The same of all that lies below, once it is summed."""
    folders: dict[str, _Folder] = field(default_factory=dict)
    files: list[_File] = field(default_factory=list)
    """The larger files right in it."""

    @property
    def size(self) -> int:
        return sum(size for size, _ in self.parts.values())

    @property
    def count(self) -> int:
        return sum(count for _, count in self.parts.values())


class _File(NamedTuple):
    name: str
    size: int
    parts: Mapping[str, int]
    """Bytes by category."""
    category: str
    """What it counts as."""


def _add(parts: dict[str, list[int]], more: Mapping[str, Sequence[int]], sign: int = 1) -> None:
    for category, (size, count) in more.items():
        part = parts.setdefault(category, [0, 0])
        part[0] += sign * size
        part[1] += sign * count


def _most(parts: Mapping[str, int]) -> str:
    """The category of most bytes."""
    return max(parts, key=lambda category: (parts[category], category), default="")


def _owners(ledger: Attribution, pattern: str | None) -> dict[str, _Folder]:
    """Each owner's files in their folders, by the owner's label."""
    sizes = ledger.size_of if pattern is None else fitting(ledger, pattern)
    least = max(1, sum(sizes.values()) // OF_IMAGE)
    roots: dict[str, _Folder] = {}
    labels: dict[Owner, str] = {}
    known: dict[tuple[str, bytes], _Folder] = {}
    order: list[tuple[_Folder, _Folder]] = []
    for path, size in sizes.items():
        owner = ledger.owner(path)
        label = labels.get(owner)
        if label is None:
            label = labels[owner] = printable(str(owner))
        directory, _, name = path.rpartition(b"/")
        folder = known.get((label, directory))
        if folder is None:
            folder = roots.setdefault(label, _Folder())
            place = b""
            for step in directory.split(b"/") if directory else ():
                place = place + b"/" + step if place else step
                below = known.get((label, place))
                if below is None:
                    below = known[label, place] = _Folder()
                    folder.folders[printable(step)] = below
                    order.append((folder, below))
                folder = below
            known[label, directory] = folder
        category = ledger.category_of[path].value
        own = folder.own.setdefault(category, [0, 0])
        own[1] += 1
        if path in ledger.binaries:
            parts: dict[str, int] = {}
            for kind, part in ledger.categories(path):
                if part:
                    parts[kind.value] = parts.get(kind.value, 0) + part
                    folder.own.setdefault(kind.value, [0, 0])[0] += part
        else:
            own[0] += size
            parts = {category: size}
        if size >= least:
            folder.files.append(_File(printable(name), size, parts, category))
    for folder in (*roots.values(), *known.values()):
        if not folder.parts:  # the root is known by two names
            _add(folder.parts, folder.own)
    # A folder is made after the one it lies in: from the last to the first, each is complete.
    for above, below in reversed(order):
        _add(above.parts, below.parts)
    return roots


def _nodes(report: Report, owners: Mapping[str, _Folder], coarser: int) -> list[Node]:
    """The nodes; `coarser` is how many times fewer files and folders get one."""
    hidden = sum(row.size for row in report.hidden)
    total = hidden + sum(row.size for row in report.owners)
    files = sum(row.files for row in report.owners)
    nodes = [Node(report.reference, -1, "image", total, files, _most(report.categories))]
    for row in report.owners:
        if not row.size:
            continue
        place = len(nodes)
        nodes.append(Node(row.label, 0, "owner", row.size, row.files, _most(row.categories)))
        root = owners.get(row.label)
        if root is not None:
            least = coarser * max(row.size // OF_OWNER, total // OF_IMAGE, 1)
            _fill(nodes, place, _opened(root, row.size), least)
        elif len(row.categories) > 1:
            nodes += (
                Node(category, place, "kind", size, 0, category)
                for category, size in row.categories.items()
            )
    if hidden:
        place = len(nodes)
        nodes.append(Node("hidden bytes", 0, "hidden", hidden, 0, ""))
        nodes += (
            Node(
                f"layer {row.by}: {row.how} in layer {row.layer}",
                place,
                "hidden",
                row.size,
                row.files,
                "",
            )
            for row in report.hidden
        )
    return nodes


def _opened(root: _Folder, total: int) -> _Folder:
    """A folder of the folders to begin with: those on the way to nearly all are passed over."""
    if root.own:
        return root
    opened = _Folder(parts=root.parts)
    todo = list(root.folders.items())
    while todo:
        name, folder = todo.pop()
        if not folder.own and (len(folder.folders) == 1 or folder.size > NEARLY_ALL * total):
            todo += ((f"{name}/{step}", below) for step, below in folder.folders.items())
        else:
            opened.folders[name] = folder
    return opened


def _fill(nodes: list[Node], place: int, folder: _Folder, least: int) -> None:
    """Put all that lies in a folder below the node at `place`."""
    todo = [(place, folder)]
    while todo:
        place, folder = todo.pop()
        rest: dict[str, list[int]] = {}
        _add(rest, folder.own)
        kept: list[tuple[str, _Folder]] = []
        for name, below in folder.folders.items():
            while not below.own and len(below.folders) == 1:
                # It holds nothing else: `lib/python3.11` on one line.
                ((step, below),) = below.folders.items()
                name = f"{name}/{step}"
            if below.size >= least:
                kept.append((name, below))
            else:
                _add(rest, below.parts)
        large = [file for file in folder.files if file.size >= least]
        for file in large:
            _add(rest, {category: (size, 0) for category, size in file.parts.items()}, -1)
            rest[file.category][1] -= 1
        if kept or large or sum(1 for size, _ in rest.values() if size) > 1:
            nodes += (
                Node(category, place, "kind", size, count, category)
                for category, (size, count) in sorted(rest.items())
                if size
            )
        for file in sorted(large, key=lambda file: (-file.size, file.name)):
            here = len(nodes)
            nodes.append(Node(file.name, place, "file", file.size, 1, _most(file.parts)))
            if len(file.parts) > 1:
                nodes += (
                    Node(category, here, "kind", size, 0, category)
                    for category, size in sorted(file.parts.items())
                )
        for name, below in sorted(kept, key=lambda item: item[0]):
            todo.append((len(nodes), below))
            sizes = {category: size for category, (size, _) in below.parts.items()}
            nodes.append(Node(name, place, "folder", below.size, below.count, _most(sizes)))
