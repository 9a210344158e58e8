"""The tree that an image's layers make, unpacked in memory by the standard library alone.

It judges what slimmer reads and writes, and so shares no code with it.
"""

from __future__ import annotations

import io
import tarfile
from dataclasses import dataclass, field
from fractions import Fraction
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

XATTR = "SCHILY.xattr."


class Unsound(Exception):  # noqa: N818 - a layer that no tool writes
    """Layers that unpackers disagree about."""


@dataclass(eq=False)
class Node:
    """What stands at a path; two names of one file share it."""

    kind: str
    mode: int = 0o755
    owner: tuple[int, int] = (0, 0)
    mtime: Fraction = Fraction(0)
    content: bytes = b""
    """Of a regular file."""
    target: str = ""
    """Of a symlink."""
    device: tuple[int, int] = (0, 0)
    xattrs: tuple[tuple[str, str], ...] = ()
    named: bool = True
    """False for a folder that no layer names: unpackers give it what attributes they like."""
    children: dict[str, Node] = field(default_factory=dict)


class Tree:
    """Layers laid over one another, one after the other."""

    def __init__(self, tars: Iterable[bytes] = ()) -> None:
        self.root = Node("directory", named=False)
        self.through: set[str] = set()
        """Symlinks that a layer's names went through."""
        for tar in tars:
            self.add(tar)

    def add(self, tar: bytes) -> None:
        """Unpack one more layer; whiteouts act on the layers below it, wherever they stand."""
        with tarfile.open(fileobj=io.BytesIO(tar), mode="r:", errors="surrogateescape") as opened:
            members = opened.getmembers()
            for member in members:
                self._hide(member.name.strip("/"))
            for member in members:
                path = member.name.strip("/")
                if not path.rpartition("/")[2].startswith(".wh."):
                    self._put(opened, member, path)

    def _hide(self, path: str) -> None:
        directory, _, name = path.rpartition("/")
        if not name.startswith(".wh."):
            return
        found = self.folder(directory, make=False)
        if found is None:
            return
        if name == ".wh..wh..opq":
            found.children.clear()
        else:
            found.children.pop(name.removeprefix(".wh."), None)

    def _put(self, opened: tarfile.TarFile, member: tarfile.TarInfo, path: str) -> None:
        directory, _, name = path.rpartition("/")
        parent = self.folder(directory, make=True)
        assert parent is not None
        if member.islnk():
            first = self.at(member.linkname.strip("/"))
            if first is None or first.kind == "directory":
                raise Unsound(f"{path} links to nothing: {member.linkname}")
            if member.linkname.strip("/") == path:
                raise Unsound(f"{path} links to itself")
            parent.children[name] = first
            return
        node = _node(opened, member)
        old = parent.children.get(name)
        if node.kind == "directory" and old is not None and old.kind == "directory":
            node.children = old.children
        parent.children[name] = node

    def folder(self, path: str, *, make: bool) -> Node | None:
        """The folder of that path, symlinks followed."""
        stack = [self.root]
        way: list[str] = []
        todo = path.split("/")[::-1] if path else []
        hops = 0
        while todo:
            part = todo.pop()
            if part in ("", "."):
                continue
            if part == "..":
                stack = stack[:-1] or [self.root]
                del way[-1:]
                continue
            below = stack[-1].children.get(part)
            if below is None:
                if not make:
                    return None
                below = stack[-1].children[part] = Node("directory", named=False)
            if below.kind == "symlink":
                hops += 1
                if hops > 20:
                    raise Unsound("symlinks in a circle")
                self.through.add("/".join([*way, part]))
                if below.target.startswith("/"):
                    stack, way = [self.root], []
                todo += below.target.split("/")[::-1]
                continue
            if below.kind != "directory":
                if make:
                    raise Unsound("below a file")
                return None
            stack.append(below)
            way.append(part)
        return stack[-1]

    def at(self, path: str) -> Node | None:
        directory, _, name = path.rpartition("/")
        found = self.folder(directory, make=False)
        return found.children.get(name) if found is not None else None

    def nodes(self, top: Node | None = None, above: str = "") -> Iterator[tuple[str, Node]]:
        for name, node in (top or self.root).children.items():
            yield above + name, node
            yield from self.nodes(node, f"{above}{name}/") if node.children else ()

    def rows(self) -> dict[bytes, tuple[object, ...]]:
        """All that a user of the image sees, by path: of a file also its other names."""
        names: dict[int, list[str]] = {}
        for path, node in self.nodes():
            names.setdefault(id(node), []).append(path)
        return {
            path.encode("utf-8", "surrogateescape"): (
                *(node.kind, node.mode, node.owner, node.mtime, node.content),
                *(node.target, node.device, node.xattrs, tuple(sorted(names[id(node)]))),
            )
            for path, node in self.nodes()
            if node.named
        }

    @property
    def size(self) -> int:
        """Bytes of the files, each once."""
        return sum(len(node.content) for node in {id(one): one for _, one in self.nodes()}.values())


def _node(opened: tarfile.TarFile, member: tarfile.TarInfo) -> Node:
    kinds = {
        tarfile.DIRTYPE: "directory",
        tarfile.SYMTYPE: "symlink",
        tarfile.FIFOTYPE: "fifo",
        tarfile.CHRTYPE: "character",
    }
    kind = kinds.get(member.type, "file")
    content = opened.extractfile(member) if kind == "file" else None
    return Node(
        kind,
        member.mode & 0o7777,
        (member.uid, member.gid),
        Fraction(member.pax_headers.get("mtime", member.mtime)),
        content.read() if content else b"",
        member.linkname if kind == "symlink" else "",
        (member.devmajor, member.devminor) if kind == "character" else (0, 0),
        tuple(
            sorted(
                (key.removeprefix(XATTR), value)
                for key, value in member.pax_headers.items()
                if key.startswith(XATTR)
            )
        ),
    )


def faults(tar: bytes, below: Iterable[bytes] = ()) -> list[str]:
    """What engines hold against a written layer: a path named twice, a folder behind what lies
    in it, a link ahead of its target. A link to a file of the tars `below` may name a path that
    its own layer names later, and so may a name that goes through a symlink of theirs."""
    lower = Tree(below)
    with tarfile.open(fileobj=io.BytesIO(tar), mode="r:", errors="surrogateescape") as opened:
        members = [(member.name.strip("/"), member) for member in opened.getmembers()]
    folders = {path for path, member in members if member.isdir()}
    targets = {path for path, member in members if member.isreg()}
    found: list[str] = []
    seen: set[str] = set()
    for path, member in members:
        if path in seen:
            found.append(f"{path} is named twice")
        parts = path.split("/")
        above = {"/".join(parts[:depth]) for depth in range(1, len(parts))}
        found += [
            f"{one} stands behind {path}"
            for one in sorted((folders & above) - seen)
            if (node := lower.at(one)) is None or node.kind != "symlink"
        ]
        link = member.linkname.strip("/")
        if member.islnk() and link in targets - seen and lower.at(link) is None:
            found.append(f"{path} stands before {link}, which it links to")
        seen.add(path)
    return found


def stored(tar: bytes) -> int:
    """Σ sizes of a layer's regular files, as the headers say them."""
    with tarfile.open(fileobj=io.BytesIO(tar), mode="r:", errors="surrogateescape") as opened:
        return sum(member.size for member in opened.getmembers() if member.isreg())
