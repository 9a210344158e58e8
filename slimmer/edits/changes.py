"""What becomes of each member of each layer: the removals and new contents of a plan, settled.

This is where a plan's words about visible paths turn into edits of layers: what lies hidden below
a removed path goes with it, a hard link is promoted when its first name leaves, a whiteout that
has nothing left to hide goes from the layers that are written anyway.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from slimmer.edits.layer_edit import Addition, LayerEdit, edited_headers, whiteout
from slimmer.edits.links import Relinks, linked, relinked
from slimmer.edits.order import ahead, repeated
from slimmer.index import Index, LayerScan
from slimmer.placement import OPAQUE, WHITEOUT
from slimmer.tar.reading import DIRECTORY, HARDLINK, SYMLINK

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from slimmer.edits.links import Member
    from slimmer.index import LayerIndex
    from slimmer.splice import Splice


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
        asked = _Asked(index, gone, dropped)
        asked.splice(splices or {})
        asked.link(twins, splices or {})
        asked.add(additions)
        edits = asked.edits()
        after = Index.of(
            index.image,
            [
                LayerScan(edited_headers(layer.headers, edit) if edit else layer.headers, {})
                for layer, edit in zip(index.layers, edits, strict=True)
            ],
        )
        return cls(index, edits, frozenset(gone), after)

    def __bool__(self) -> bool:
        return any(self.edits)


def _settled(index: Index, removed: set[bytes], stays: Callable[[bytes], bool]) -> set[bytes]:
    """The paths that leave: a folder leaves when nothing is left in it, and only then."""
    gone = {path for path in removed if path in index.visible}
    # A layer's names that go through a symlink would lead elsewhere without it.
    gone -= {link for link, paths in index.through.items() if not paths <= gone}
    if not gone:
        return gone

    def around(path: bytes) -> bytes:
        """The nearest folder around a path that some layer names; none needs to."""
        path = path[: max(path.rfind(b"/"), 0)]
        while path and path not in index.visible:
            path = path[: max(path.rfind(b"/"), 0)]
        return path

    left: dict[bytes, int] = {}
    for path in index.visible:
        if path not in gone:
            folder = around(path)
            left[folder] = left.get(folder, 0) + 1
    for path in index.seen_in_mounts():
        if path not in gone:
            folder = around(path)
            left[folder] = left.get(folder, 0) + 1
    # A folder that was to leave but still holds something stays, and so do those around it.
    for path in sorted(gone, key=len, reverse=True):
        if left.get(path):
            gone.discard(path)
            folder = around(path)
            left[folder] = left.get(folder, 0) + 1
    # A folder that these removals emptied goes with them.
    emptied = {around(path) for path in gone}
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
        outer = around(folder)
        left[outer] = left.get(outer, 1) - 1
        emptied.add(outer)
    return gone


class _Asked:
    """What a set of steps asks of each layer, collected, and worked out to edits of them all."""

    def __init__(
        self,
        index: Index,
        gone: set[bytes],
        dropped: Iterable[Member],
    ) -> None:
        self._index = index
        self._gone = gone
        self._drops = {layer.number: _below(layer, gone) for layer in index.layers}
        for number, start in dropped:
            self._drops[number].add(start)
        self._last_names()
        self._splices: dict[int, dict[int, Splice]] = {number: {} for number in self._drops}
        self._twins: dict[int, dict[int, bytes]] = {number: {} for number in self._drops}
        self._additions: dict[int, list[Addition]] = {number: [] for number in self._drops}

    def _last_names(self) -> None:
        """The bytes of a file leave with the last of its names that anybody sees: those that
        later layers hide keep nothing."""
        index, drops = self._index, self._drops
        for names in linked(index):
            staying = [name for name in names if name[1].start not in drops[name[0]]]
            if 0 < len(staying) < len(names) and not any(
                (number, header.start) in index.mount_shows
                or (
                    index.layer_of.get(header.path) == number
                    and index.visible[header.path].start == header.start
                )
                for number, header in staying
            ):
                for number, header in staying:
                    drops[number].add(header.start)

    def splice(self, splices: Mapping[bytes, Splice]) -> None:
        """New contents, by path: they are made where the bytes of the file are."""
        for path, splice in splices.items():
            file = self._index.file(path)
            if path not in self._gone and file is not None:
                self._splices[file.layer][file.holder.start] = splice

    def link(self, twins: Iterable[Sequence[bytes]], splices: Mapping[bytes, Splice]) -> None:
        """Groups of files of one layer that become one file with several names."""
        visible = self._index.visible
        for group in twins:
            # Content that is alike stays so where the same is made of it.
            alike: dict[Splice | None, list[bytes]] = {}
            for path in group:
                if path not in self._gone:
                    alike.setdefault(splices.get(path), []).append(path)
            for first, *others in alike.values():
                number = self._index.layer_of[first]
                for path in others:
                    self._twins[number][visible[path].start] = first
                    self._splices[number].pop(visible[path].start, None)

    def add(self, additions: Iterable[Addition]) -> None:
        """Members that the image did not have; they take the place of what has their name."""
        for addition in additions:
            self._additions[addition.layer].append(addition)
        for number, found in self._additions.items():
            names = {one.header.path for one in found if one.header.kind is not DIRECTORY}
            if names:
                headers = self._index.layers[number].headers
                self._drops[number].update([one.start for one in headers if one.path in names])

    def edits(self) -> tuple[LayerEdit, ...]:
        """One edit for each layer, lowest first."""
        relinks = self._relinked()
        shields = {
            (hidden.layer, hidden.by)
            for layer in self._index.layers
            for hidden in layer.hidden
            if hidden.by != hidden.header.path
        }
        below: set[bytes] = set()
        """Every path that the edited layers so far hold, with every folder on the way."""
        edits: list[LayerEdit] = []
        for layer in self._index.layers:
            edit = self._edit(layer, relinks.get(layer.number, Relinks()), shields, below)
            edits.append(edit)
            kept = edited_headers(layer.headers, edit) if edit else layer.headers
            paths = [header.path for header in kept]
            # An edit may call these what a mount calls them: whiteouts hide their real paths.
            paths += [
                header.path
                for header in (layer.headers if edit and self._index.mount_shows else ())
                if (layer.number, header.start) in self._index.mount_shows
            ]
            for path in paths:
                while path not in below:
                    below.add(path)
                    path = path[: max(path.rfind(b"/"), 0)]
        return tuple(edits)

    def _relinked(self) -> dict[int, Relinks]:
        """What becomes of hard links; a layer that is written anew names each path once."""
        tidied: set[int] = set()
        asked = self._drops, self._splices, self._twins, self._additions
        touched = {number for number in self._drops if any(one[number] for one in asked)}
        while True:
            for number in touched - tidied:
                shown = {start for layer, start in self._index.mount_shows if layer == number}
                self._drops[number] |= repeated(self._index.layers[number].headers) - shown
            tidied |= touched
            relinks = relinked(self._index, self._drops, tidied)
            touched = set(relinks) - tidied
            spent = {number: one.spent for number, one in relinks.items() if one.spent}
            for number, starts in spent.items():
                self._drops[number] |= starts
            if not touched and not spent:
                return relinks

    def _edit(
        self,
        layer: LayerIndex,
        relinks: Relinks,
        shields: set[tuple[int, bytes]],
        below: set[bytes],
    ) -> LayerEdit:
        """One layer's edit; `below` holds every path that the edited layers under it show."""
        number, headers = layer.number, layer.headers
        drops = self._drops[number] | relinks.leaving
        moved = relinks.sources.items()
        splices = {
            start: splice
            for start, splice in self._splices[number].items()
            if start not in drops or start in relinks.promotions
        } | {
            start: self._splices[lower][holder]
            for start, (lower, holder) in moved
            if holder in self._splices[lower]
        }
        added = self._additions[number] + [Addition(number, one) for one in relinks.late]
        additions = tuple(sorted(added, key=lambda one: one.header.path))
        links = relinks.links | self._twins[number]
        if not (drops or splices or links or relinks or additions):
            return LayerEdit()
        drops.update([one.start for one in layer.whiteouts if not _needed(one.path, below)])
        markers = _markers(layer, drops, shields, below)
        drops -= markers
        promotions = relinks.promotions | self._behind_replaced(layer, drops)
        order = ahead(headers, drops, promotions)
        drops.update([one.start for found in order.values() for one in found])
        return LayerEdit(
            frozenset(drops),
            splices,
            links,
            promotions | relinks.own,
            order,
            relinks.moved,
            frozenset(markers),
            additions,
        )

    def _behind_replaced(self, layer: LayerIndex, drops: set[int]) -> dict[int, bytes]:
        """Members whose names go through a symlink that the same layer names again: by real
        path, for the symlink is not written."""
        through = self._index.through
        links = (
            [
                header.path
                for header in layer.headers
                if header.path in through and header.kind is SYMLINK and header.start in drops
            ]
            if through
            else []
        )
        behind = frozenset[bytes]().union(*(through[link] for link in links))
        return (
            {
                header.start: header.path
                for header in layer.headers
                if header.path in behind and header.start not in drops
            }
            if behind
            else {}
        )


def _markers(
    layer: LayerIndex, drops: set[int], shields: set[tuple[int, bytes]], below: set[bytes]
) -> set[int]:
    """Offsets of the members that are written as whiteouts; see `LayerEdit.markers`."""
    found = {
        one.start for one in layer.whiteouts if one.kind is HARDLINK and one.start not in drops
    }
    marked = {one.path for one in layer.whiteouts if one.start not in drops}
    for hidden in layer.hidden if drops else ():
        start, path = hidden.header.start, hidden.header.path
        if (
            start in drops
            and hidden.layer != layer.number
            and path in below
            and (layer.number, path) in shields
            and whiteout(path).path not in marked
        ):
            found.add(start)
    return found


def _below(layer: LayerIndex, gone: set[bytes]) -> set[int]:
    """Offsets of the members at and below the paths that leave."""
    if not gone:
        return set()
    leaves: dict[bytes, bool] = {b"": False}

    def left(folder: bytes) -> bool:
        known = leaves.get(folder)
        if known is None:
            known = folder in gone or left(folder[: max(folder.rfind(b"/"), 0)])
            leaves[folder] = known
        return known

    return {
        header.start
        for header in layer.headers
        if header.path in gone or left(header.path[: max(header.path.rfind(b"/"), 0)])
    }


def _needed(whiteout: bytes, below: set[bytes]) -> bool:
    """Whether a whiteout still hides something of the layers below."""
    directory, _, name = whiteout.rpartition(b"/")
    if name == OPAQUE:
        return directory in below
    target = name[len(WHITEOUT) :]
    return (directory + b"/" + target if directory else target) in below
