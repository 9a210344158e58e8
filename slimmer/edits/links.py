"""Hard links through an edit: which name carries a file's bytes once some of its names leave.

A layer's tar holds the bytes of a file once, with the first of its names; the others say which
name to link to. When the first name leaves, another one is written in its place, where the bytes
are. A link may also lead to a file of a lower layer: when that one leaves, the link becomes the
file.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from slimmer.edits.layer_edit import Moved
from slimmer.tar.reading import DIRECTORY

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from slimmer.index import Index
    from slimmer.tar.reading import Header

Member = tuple[int, int]
"""A member of an image: number of its layer, offset of its first block."""
Name = tuple[int, "Header"]
"""One name of a file: number of the layer, and the member."""


def linked(index: Index) -> Iterator[list[Name]]:
    """The files with several names: the member that holds the bytes, and all its hard links."""
    for files in index.files.held.values():
        for file in files:
            yield [(file.layer, file.holder), *file.links]


@dataclass(slots=True)
class Relinks:
    """What becomes of the hard links of one layer; members by their offsets."""

    links: dict[int, bytes] = field(default_factory=dict)
    promotions: dict[int, bytes] = field(default_factory=dict)
    own: dict[int, bytes] = field(default_factory=dict)
    """What those promoted are called in a mount of the layers, and so written as."""
    moved: dict[int, Moved] = field(default_factory=dict)
    sources: dict[int, Member] = field(default_factory=dict)
    """Where the content of each moved file was."""
    leaving: set[int] = field(default_factory=set)
    """Links that are written elsewhere than in their own place."""
    spent: set[int] = field(default_factory=set)
    """Names of a file that moved on to another layer before this one's are seen."""
    late: list[Header] = field(default_factory=list)
    """Links that stood before what they link to, and are written behind everything else."""

    def __bool__(self) -> bool:
        return bool(self.links or self.promotions or self.moved or self.late or self.spent)


def relinked(
    index: Index, drops: Mapping[int, set[int]], touched: Collection[int]
) -> dict[int, Relinks]:
    """Where each link leads, and where each file's bytes are, once `drops` (offsets by layer)
    have left; nothing for a layer whose links stay as they are. `touched` are the layers that
    are written anew whatever becomes of their links."""
    result: dict[int, Relinks] = {}
    until = _Until(index)
    folders = _Folders(index)
    for names in linked(index):
        if all(
            header.start not in drops[number]
            and (number not in touched or _is_plain(names[0], number, header))
            for number, header in names
        ):
            continue
        carriers: list[tuple[int, Header, int]] = []
        """Names that stay in the layers so far, and the layer that hides each."""
        for number, members in _by_layer(names):
            staying = [header for header in members if header.start not in drops[number]]
            if not staying:
                continue
            relinks = result.setdefault(number, Relinks())
            if number == names[0][0]:
                own = {
                    header.start: index.mount_shows.get((number, header.start), header.path)
                    for header in staying
                }
                _within(relinks, names[0][1], staying, folders.of(number), own, number in touched)
            else:
                shown = {header.path for _, header, hidden in carriers if hidden > number}
                _from_below(relinks, names[0], staying, shown, index)
                if relinks.moved.keys() & {header.start for header in staying}:
                    for lower, header, _ in carriers:
                        result[lower].spent.add(header.start)
                    carriers.clear()
            carriers += [(number, header, until(number, header)) for header in staying]
    return {number: relinks for number, relinks in result.items() if relinks}


def _is_plain(holder: Name, number: int, header: Header) -> bool:
    """Whether a name is the holder, or a link that names it and stands behind it."""
    if header is holder[1]:
        return True
    return header.link == holder[1].path and (number != holder[0] or header.start > holder[1].start)


def _by_layer(names: Sequence[Name]) -> Iterator[tuple[int, list[Header]]]:
    members: dict[int, list[Header]] = {}
    for number, header in names:
        members.setdefault(number, []).append(header)
    yield from sorted(members.items())


def _within(
    relinks: Relinks,
    holder: Header,
    staying: list[Header],
    folders: Mapping[bytes, int],
    own: Mapping[int, bytes],
    touched: bool,
) -> None:
    """The names of a file in the layer that holds it; `own` says how the layer itself calls each.

    That is where a mount shows it: under its real path, behind a symlink of a lower layer, what
    only a mount shows would be shown nowhere.
    """
    start = holder.start
    first = holder
    if staying[0] is not holder:
        # One whose folders are there already, or else they have to be written ahead.
        first = next((one for one in staying if not _behind(folders, one.path, start)), staying[0])
        relinks.promotions[start] = first.path
        relinks.own[start] = own[first.start]
        relinks.leaving.add(first.start)
    for header in staying:
        if header is first:
            continue
        if header.start < start:
            if touched or first is not holder:
                relinks.late.append(header._replace(path=own[header.start], link=own[first.start]))
                relinks.leaving.add(header.start)
        elif first is not holder or (touched and header.link != first.path):
            # A link to a link is made one to the file.
            relinks.links[header.start] = own[first.start]


def _from_below(
    relinks: Relinks, holder: Name, staying: list[Header], shown: set[bytes], index: Index
) -> None:
    """The names of a file in a layer above the one that holds it; `shown` are its names there."""
    if not shown:
        first, *staying = staying
        relinks.moved[first.start] = Moved(index.layers[holder[0]].layer, *holder)
        relinks.sources[first.start] = holder[0], holder[1].start
        shown = {first.path}
    target = min(shown)
    for header in staying:
        if header.link not in shown:
            relinks.links[header.start] = target
        shown.add(header.path)


def _behind(folders: Mapping[bytes, int], path: bytes, start: int) -> bool:
    """Whether a folder on the way to a path stands behind an offset of the tar."""
    while path := path[: max(path.rfind(b"/"), 0)]:
        if folders.get(path, -1) > start:
            return True
    return False


class _Folders:
    """Offset of each folder's own member, layer by layer, found when asked."""

    def __init__(self, index: Index) -> None:
        self._layers = index.layers
        self._found: dict[int, Mapping[bytes, int]] = {}

    def of(self, number: int) -> Mapping[bytes, int]:
        found = self._found.get(number)
        if found is None:
            found = self._found[number] = {
                header.path: header.start
                for header in self._layers[number].headers
                if header.kind is DIRECTORY
            }
        return found


class _Until:
    """The layer from which on a member is hidden; beyond all layers where none hides it."""

    def __init__(self, index: Index) -> None:
        self._layers = index.layers
        self._found: dict[int, Mapping[int, int]] = {}

    def __call__(self, number: int, header: Header) -> int:
        found = self._found.get(number)
        if found is None:
            hidden = self._layers[number].hidden
            found = self._found[number] = {one.header.start: one.layer for one in hidden}
        return found.get(header.start, len(self._layers))
