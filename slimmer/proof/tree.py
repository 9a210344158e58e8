"""What an image shows, as `reading` finds it in its layers.

A proof may not rest on the reader, the index or the edits that made what it judges: this module
shares no code with them. It lays the layers over one another by the rules of OCI `layer.md`, and
takes every name as it is written: what lies behind a symlink of a lower layer is kept apart from
what lies below that symlink's target, so that nothing an engine may show is lost from sight.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence


WHITEOUT = b".wh."
OPAQUE = b".wh..wh..opq"
RESERVED = b".wh..wh."
"""What begins so is a file system's own business (OCI `layer.md`); no engine shows it."""


class Member(NamedTuple):
    """One member of a layer as tarfile reads it."""

    path: bytes
    """From the root of the image, without a leading or trailing slash; not resolved."""
    kind: str
    size: int
    """Bytes of the file; of a hard link, those of the file that it leads to."""
    mode: int
    uid: int
    gid: int
    mtime: int
    """Nanoseconds since the epoch."""
    link: bytes
    """Target of a symlink as written, path of a hard link's first name."""
    device: tuple[int, int]
    xattrs: tuple[tuple[bytes, bytes], ...]
    held: tuple[int, int]
    """Layer and number of the member that holds the bytes: one for all names of a file."""


FIELDS = ("kind", "size", "mode", "uid", "gid", "mtime", "link", "device", "xattrs")
"""What an engine shows of a member beside its content; a hard link shows as the file it is."""


def shown(member: Member) -> tuple[object, ...]:
    """A member as whoever opens it sees it, in the order of FIELDS."""
    if member.kind == "hardlink":
        return ("file", *member[2:7], b"", *member[8:10])
    return member[1:10]


@dataclass(frozen=True, slots=True)
class LayerTree:
    """One layer's members in order, and what is odd about its tar."""

    members: Sequence[Member]
    size: int
    """Σ content bytes of its regular files."""
    odd: tuple[str, ...] = ()
    """What an engine refuses or does not show, each a sentence's end about the layer."""
    digests: Mapping[int, bytes] | None = None
    """Number of a member → sha256 of its content, of all regular files; None where not read."""


@dataclass(frozen=True, slots=True)
class Tree:
    """The layers of an image laid over one another."""

    layers: tuple[LayerTree, ...]
    members: Mapping[bytes, Member]
    """Path → what is there; folders that no layer names are not among them."""

    @classmethod
    def of(cls, layers: Iterable[LayerTree]) -> Tree:
        layers = tuple(layers)
        return cls(layers, _merged(layers))

    @property
    def unpacked(self) -> int:
        """Σ `size` over all layers, as tarfile counts it."""
        return sum(layer.size for layer in self.layers)

    def digest(self, member: Member) -> bytes | None:
        """sha256 of a file's content, where its layer's contents were read."""
        number, place = member.held
        digests = self.layers[number].digests
        return None if digests is None else digests.get(place)

    def real(self, path: bytes) -> bytes | None:
        """The path with every symlink followed; None where they run in a circle."""
        todo = path.split(b"/")[::-1]
        done: list[bytes] = []
        hops = 0
        while todo:
            part = todo.pop()
            if part in (b"", b"."):
                continue
            if part == b"..":
                del done[-1:]
                continue
            done.append(part)
            member = self.members.get(b"/".join(done))
            if member is None or member.kind != "symlink":
                continue
            hops += 1
            if hops > 40:  # path_resolution(7)
                return None
            del done[-1]
            if member.link.startswith(b"/"):
                done.clear()
            todo += member.link.split(b"/")[::-1]
        return b"/".join(done)


def _merged(layers: Sequence[LayerTree]) -> dict[bytes, Member]:
    """Every layer over those below it; whiteouts act on lower layers only."""
    tree: dict[bytes, Member] = {}
    below: dict[bytes, set[bytes]] = {}

    def drop(path: bytes, *, itself: bool = True) -> None:
        todo = list(below.pop(path, ()))
        while todo:
            one = todo.pop()
            tree.pop(one, None)
            todo += below.pop(one, ())
        if itself:
            tree.pop(path, None)

    for layer in layers:
        plain: list[Member] = []
        for member in layer.members:
            folder, _, name = member.path.rpartition(b"/")
            if not name.startswith(WHITEOUT):
                plain.append(member)
            elif name == OPAQUE:
                drop(folder, itself=False)
            elif not name.startswith(RESERVED):
                drop(_join(folder, name[len(WHITEOUT) :]))
        for member in plain:
            path = member.path
            if member.kind != "directory" and path in below:
                drop(path)
            if member.kind == "hardlink" and member.held[1] < 0:
                holder = tree.get(member.link)
                if holder is not None:
                    member = member._replace(size=holder.size, held=holder.held)
            tree[path] = member
            while path:
                folder = path[: max(path.rfind(b"/"), 0)]
                known = below.get(folder)
                if known is not None:
                    known.add(path)
                    break
                below[folder] = {path}
                path = folder
    return tree


def _join(folder: bytes, name: bytes) -> bytes:
    return folder + b"/" + name if folder else name
