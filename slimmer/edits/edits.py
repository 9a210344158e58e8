"""What becomes of each member of each layer: the removals and new contents of a plan, settled.

This is where a plan's words about visible paths turn into edits of layers: what lies hidden below
a removed path goes with it, a hard link is promoted when its first name leaves, a whiteout that
has nothing left to hide goes from the layers that are written anyway.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from slimmer.index import OPAQUE, WHITEOUT, Index, LayerScan
from slimmer.tar.headers import amended, composed
from slimmer.tar.reading import BLOCK, DIRECTORY, END, FILE, HARDLINK, padded

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from contextlib import AbstractContextManager
    from typing import BinaryIO

    from slimmer.index import LayerIndex
    from slimmer.splice import Splice
    from slimmer.tar.reading import Header


@dataclass(frozen=True, slots=True)
class Addition:
    """A member that the image did not have."""

    layer: int
    """Number of the layer that it goes into."""
    header: Header
    """Its fields; `start` and `data` mean nothing yet."""
    open: Callable[[], AbstractContextManager[BinaryIO]] | None = None
    """Its content, `header.size` bytes of it, for a regular file."""


@dataclass(frozen=True, slots=True)
class LayerEdit:
    """How one layer is written anew; members are named by the offset of their first block."""

    drops: frozenset[int] = frozenset()
    splices: Mapping[int, Splice] = field(default_factory=dict)
    """New content of regular files."""
    links: Mapping[int, bytes] = field(default_factory=dict)
    """Regular files that become a hard link to a path, and links that point to a new one."""
    promotions: Mapping[int, bytes] = field(default_factory=dict)
    """First names that leave, and the path that carries their content on."""
    folders: Mapping[int, tuple[Header, ...]] = field(default_factory=dict)
    """Folders to be written before a promoted member, ahead of their own place: below them it
    would fall through a symlink of a lower layer whose place they take."""
    additions: tuple[Addition, ...] = ()

    def __repr__(self) -> str:
        return (
            f"LayerEdit({len(self.drops)} drops, {len(self.splices)} splices,"
            f" {len(self.links)} links, {len(self.additions)} additions)"
        )

    def __bool__(self) -> bool:
        return bool(self.drops or self.splices or self.links or self.promotions or self.additions)


@dataclass(frozen=True, slots=True)
class Changes:
    """The edits that carry out a set of steps, and the image that they promise."""

    before: Index
    edits: tuple[LayerEdit, ...]
    """One for each layer; an empty one for a layer that keeps its bytes."""
    removed: frozenset[bytes]
    """Every visible path that leaves, the folders that were emptied included."""
    after: Index
    """What a scan of the written image will show."""

    def __repr__(self) -> str:
        return f"Changes({len(self.removed)} paths leave, unpacked={self.after.unpacked})"

    @classmethod
    def of(
        cls,
        index: Index,
        removed: Iterable[bytes] = (),
        dropped: Iterable[tuple[int, int]] = (),
        splices: Mapping[bytes, Splice] | None = None,
        twins: Iterable[Sequence[bytes]] = (),
        additions: Iterable[Addition] = (),
        stays: Callable[[bytes], bool] = lambda folder: False,
    ) -> Changes:
        """Settle what a set of steps asks for.

        `removed` are visible paths; `dropped` hidden members (layer, offset); `splices` new
        contents by path; `twins` groups of paths with the same content in one layer; `stays` says
        of a folder that it is wanted even when it is empty.
        """
        gone = _settled(index, set(removed), stays)
        splices = splices or {}
        by_layer: dict[int, list[Addition]] = {}
        for addition in additions:
            by_layer.setdefault(addition.layer, []).append(addition)
        hidden: dict[int, set[int]] = {}
        for number, start in dropped:
            hidden.setdefault(number, set()).add(start)
        contents: dict[int, dict[bytes, Splice]] = {}
        for path, splice in splices.items():
            if path not in gone:
                contents.setdefault(index.layer_of[path], {})[path] = splice
        groups: dict[int, list[list[bytes]]] = {}
        for group in twins:
            # Content that is alike stays so where the same is made of it.
            alike: dict[Splice | None, list[bytes]] = {}
            for path in group:
                if path not in gone:
                    alike.setdefault(splices.get(path), []).append(path)
            for rest in alike.values():
                if len(rest) > 1:
                    groups.setdefault(index.layer_of[rest[0]], []).append(rest)
        edits: list[LayerEdit] = []
        below: set[bytes] = set()
        for layer in index.layers:
            number = layer.number
            edit = _edit(
                layer,
                gone,
                hidden.get(number, set()),
                contents.get(number, {}),
                groups.get(number, []),
                tuple(sorted(by_layer.get(number, []), key=lambda one: one.header.path)),
                below,
            )
            edits.append(edit)
            _note(layer, edit, below)
        after = Index.of(
            index.image,
            [
                LayerScan(
                    edited_headers(layer.headers, edit) if edit else layer.headers,
                    {},
                )
                for layer, edit in zip(index.layers, edits, strict=True)
            ],
        )
        return cls(index, tuple(edits), frozenset(gone), after)

    def __bool__(self) -> bool:
        return any(self.edits)


def _settled(index: Index, removed: set[bytes], stays: Callable[[bytes], bool]) -> set[bytes]:
    """The paths that leave: a folder leaves when nothing is left in it, and only then."""
    gone = {path for path in removed if path in index.visible}
    if not gone:
        return gone
    left: dict[bytes, int] = {}
    for path in index.visible:
        if path not in gone:
            parent = path[: max(path.rfind(b"/"), 0)]
            left[parent] = left.get(parent, 0) + 1
    # A folder that was to leave but still holds something stays, and so do those around it.
    for path in sorted(gone, key=len, reverse=True):
        if left.get(path):
            gone.discard(path)
            parent = path[: max(path.rfind(b"/"), 0)]
            left[parent] = left.get(parent, 0) + 1
    # A folder that these removals emptied goes with them.
    emptied = {path[: max(path.rfind(b"/"), 0)] for path in gone}
    while emptied:
        folder = emptied.pop()
        header = index.visible.get(folder)
        if (
            not folder
            or folder in gone
            or left.get(folder)
            or header is None
            or header.kind is not DIRECTORY
            or stays(folder)
        ):
            continue
        gone.add(folder)
        parent = folder[: max(folder.rfind(b"/"), 0)]
        left[parent] = left.get(parent, 1) - 1
        emptied.add(parent)
    return gone


def _edit(
    layer: LayerIndex,
    gone: set[bytes],
    hidden: set[int],
    contents: Mapping[bytes, Splice],
    groups: Iterable[Sequence[bytes]],
    additions: tuple[Addition, ...],
    below: set[bytes],
) -> LayerEdit:
    """One layer's edit; `below` holds every path that the edited layers under it show."""
    drops = set(hidden)
    if gone:
        leaves: dict[bytes, bool] = {b"": False}

        def left(folder: bytes) -> bool:
            known = leaves.get(folder)
            if known is None:
                known = folder in gone or left(folder[: max(folder.rfind(b"/"), 0)])
                leaves[folder] = known
            return known

        drops.update(
            [
                header.start
                for header in layer.headers
                if header.path in gone or left(header.path[: max(header.path.rfind(b"/"), 0)])
            ]
        )
    splices: dict[int, Splice] = {}
    links: dict[int, bytes] = {}
    promotions: dict[int, bytes] = {}
    folders: dict[int, tuple[Header, ...]] = {}
    if contents or groups:
        shown = {header.path: header for header in layer.visible}
        held = {header.path: header for header in layer.headers if header.kind is FILE}
        for path, splice in contents.items():
            header = shown[path]
            holder = held.get(header.link) if header.kind is HARDLINK else header
            if holder is not None:
                splices[holder.start] = splice
        for group in groups:
            for path in group[1:]:
                links[shown[path].start] = group[0]
                splices.pop(shown[path].start, None)
    if drops:
        _promote(layer, drops, links, promotions, folders)
    if (drops or splices or links or additions) and layer.whiteouts:
        drops.update(header.start for header in layer.whiteouts if not _needed(header.path, below))
    return LayerEdit(frozenset(drops), splices, links, promotions, folders, additions)


def _promote(
    layer: LayerIndex,
    drops: set[int],
    links: dict[int, bytes],
    promotions: dict[int, bytes],
    folders: dict[int, tuple[Header, ...]],
) -> None:
    """Find a new first name for each file whose first name leaves while others stay."""
    names: dict[bytes, list[Header]] = {}
    files: dict[bytes, Header] = {}
    linked: dict[bytes, bytes] = {}
    shelves = {header.path: header for header in layer.headers if header.kind is DIRECTORY}
    for header in layer.headers:
        if header.kind is HARDLINK:
            # A link to a link is one to the file that holds the content.
            first = linked.get(header.link, header.link)
            linked[header.path] = first
            names.setdefault(first, []).append(header)
        else:
            files[header.path] = header
            linked.pop(header.path, None)
    for first, others in names.items():
        holder = files.get(first)
        if holder is None:
            continue
        if holder.start not in drops:
            for header in others:
                if header.link != first and header.start not in drops:
                    links.setdefault(header.start, first)
            continue
        staying = [header for header in others if header.start not in drops]
        if not staying:
            continue
        start = holder.start
        before = {one.path: _folders_behind(shelves, one.path, start) for one in staying}
        heir = next((one for one in staying if not before[one.path]), staying[0])
        promotions[start] = heir.path
        if before[heir.path]:
            folders[start] = before[heir.path]
        drops.add(heir.start)  # it is written in the first name's place, where the content is
        for header in staying:
            if header is not heir:
                links[header.start] = heir.path


def _folders_behind(shelves: Mapping[bytes, Header], path: bytes, start: int) -> tuple[Header, ...]:
    """The folders on the way to a path that stand behind an offset in the layer."""
    behind: list[Header] = []
    while path := path[: max(path.rfind(b"/"), 0)]:
        shelf = shelves.get(path)
        if shelf is not None and shelf.start > start:
            behind.append(shelf)
    return tuple(reversed(behind))


def _needed(whiteout: bytes, below: set[bytes]) -> bool:
    directory, _, name = whiteout.rpartition(b"/")
    if name == OPAQUE:
        return directory in below
    target = name[len(WHITEOUT) :]
    return (directory + b"/" + target if directory else target) in below


def _note(layer: LayerIndex, edit: LayerEdit, below: set[bytes]) -> None:
    """Add what the edited layer holds to `below`, with every folder on the way."""
    for header in layer.headers:
        if header.start in edit.drops and header.start not in edit.promotions:
            continue
        path = header.path
        while path not in below:
            below.add(path)
            path = path[: max(path.rfind(b"/"), 0)]
    for path in (*edit.promotions.values(), *(one.header.path for one in edit.additions)):
        while path not in below:
            below.add(path)
            path = path[: max(path.rfind(b"/"), 0)]


def edited_headers(headers: Iterable[Header], edit: LayerEdit) -> list[Header]:
    """The headers of an edited layer, in its order; offsets are those of the old layer."""
    result: list[Header] = []
    for header in headers:
        start = header.start
        heir = edit.promotions.get(start)
        if start in edit.drops and heir is None:
            continue
        splice = edit.splices.get(start)
        if splice is not None:
            header = header._replace(size=splice.size, stored=splice.size)
        if heir is not None:
            header = header._replace(path=heir)
            result += edit.folders.get(start, ())
        link = edit.links.get(start)
        if link is not None:
            header = header._replace(kind=HARDLINK, link=link, size=0, stored=0)
        result.append(header)
    result += [addition.header for addition in edit.additions]
    return result


def amended_header(header: Header, raw: bytes, edit: LayerEdit) -> bytes | None:
    """The raw blocks with which an edited layer writes a member; None where it leaves."""
    start = header.start
    heir = edit.promotions.get(start)
    if start in edit.drops and heir is None:
        return None
    splice = edit.splices.get(start)
    link = edit.links.get(start)
    if heir is None and splice is None and link is None:
        return raw
    before = b"".join([composed(folder) for folder in edit.folders.get(start, ())])
    return before + amended(
        raw,
        path=heir,
        size=None if splice is None else splice.size,
        link=link,
        kind=None if link is None else HARDLINK,
    )


def edited_length(headers: Iterable[Header], edit: LayerEdit) -> int | None:
    """Bytes of an edited layer's tar, or None where only writing it tells.

    New content never changes the length of a header (`amended` sees to it); a new name may, where
    it is long or the old header had extensions.
    """
    total = len(END)
    for header in headers:
        start = header.start
        heir = edit.promotions.get(start)
        if start in edit.drops and heir is None:
            continue
        link = edit.links.get(start)
        name = heir if link is None else link
        if name is not None and (len(name) > 100 or header.data - start != BLOCK):
            return None
        splice = edit.splices.get(start)
        stored = header.stored if splice is None else splice.size
        total += header.data - start + (padded(stored) if link is None else 0)
        total += sum(len(composed(folder)) for folder in edit.folders.get(start, ()))
    for addition in edit.additions:
        total += len(composed(addition.header)) + padded(addition.header.stored)
    return total
