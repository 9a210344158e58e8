"""How one layer is written anew, member by member: what is dropped, renamed, linked, moved ahead.

A `LayerEdit` is a table of decisions; `edits/changes.py` makes it. The functions below it carry
it out on headers, on the raw blocks of a tar and on its length, so that all three agree.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from slimmer.placement import WHITEOUT
from slimmer.tar.headers import amended, composed
from slimmer.tar.reading import BLOCK, END, FILE, HARDLINK, Header, padded

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from contextlib import AbstractContextManager
    from typing import BinaryIO

    from slimmer.image import Layer
    from slimmer.splice import Splice


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
class Moved:
    """A file of a lower layer that leaves it, though a hard link of an upper layer stays."""

    layer: Layer
    """The layer that holds it."""
    number: int
    """That layer's number."""
    header: Header
    """Its member there."""


@dataclass(frozen=True, slots=True)
class LayerEdit:
    """How one layer is written anew; members are named by the offset of their first block."""

    drops: frozenset[int] = frozenset()
    """Members that are not written in their own place."""
    splices: Mapping[int, Splice] = field(default_factory=dict)
    """New content of regular files, and of links that become one."""
    links: Mapping[int, bytes] = field(default_factory=dict)
    """Regular files that become a hard link to a path, and links that point to a new one."""
    promotions: Mapping[int, bytes] = field(default_factory=dict)
    """Members that are written under another path: first names that leave, by the one that carries
    their content on; and those behind a symlink that is not written, by their real path."""
    ahead: Mapping[int, tuple[Header, ...]] = field(default_factory=dict)
    """Folders and whiteouts that are written right before a member, and not in their own place
    behind it: a member stands behind the folders on its way."""
    moved: Mapping[int, Moved] = field(default_factory=dict)
    """Links that become a regular file: the file of a lower layer whose content they take over."""
    markers: frozenset[int] = frozenset()
    """Hidden files that leave, and whose place a whiteout takes as they hide what lies below; and
    whiteouts that were hard links to one another, each made one of its own."""
    additions: tuple[Addition, ...] = ()

    def __repr__(self) -> str:
        return (
            f"LayerEdit({len(self.drops)} drops, {len(self.splices)} splices,"
            f" {len(self.links)} links, {len(self.additions)} additions)"
        )

    def __bool__(self) -> bool:
        return bool(
            self.drops or self.splices or self.links or self.promotions or self.moved
        ) or bool(self.markers or self.ahead or self.additions)


def is_whiteout(path: bytes) -> bool:
    return path.startswith(WHITEOUT, path.rfind(b"/") + 1)


def whiteout(path: bytes) -> Header:
    """A marker that hides a path of lower layers: an empty file without an owner or a time."""
    folder, slash, name = path.rpartition(b"/")
    marker = name if name.startswith(WHITEOUT) else WHITEOUT + name
    return Header(folder + slash + marker, FILE, 0, 0, 0, 0, 0, b"", (0, 0), (), 0, 0, 0, False)


def edited_headers(headers: Iterable[Header], edit: LayerEdit) -> list[Header]:
    """The headers of an edited layer, in its order; offsets are those of the old layer, below
    zero for what it did not have."""
    result: list[Header] = []
    for header in headers:
        start = header.start
        heir = edit.promotions.get(start)
        if start in edit.drops and heir is None:
            continue
        result += edit.ahead.get(start, ())
        if start in edit.markers:
            result.append(whiteout(header.path)._replace(start=start, data=header.data))
            continue
        moved = edit.moved.get(start)
        if moved is not None:
            header = moved.header._replace(path=header.path, start=start, data=header.data)
        splice = edit.splices.get(start)
        if splice is not None:
            header = header._replace(size=splice.size, stored=splice.size, sparse=False)
        if heir is not None:
            header = header._replace(path=heir)
        link = edit.links.get(start)
        if link is not None:
            header = header._replace(kind=HARDLINK, link=link, size=0, stored=0)
        result.append(header)
    result += [one.header._replace(start=-n) for n, one in enumerate(edit.additions, 1)]
    return result


def amended_header(
    header: Header, raw: bytes, edit: LayerEdit, lower: bytes | None = None
) -> bytes | None:
    """The raw blocks with which an edited layer writes a member; None where it leaves.

    `lower` are the raw blocks of the member whose content a link takes over.
    """
    start = header.start
    heir = edit.promotions.get(start)
    if start in edit.drops and heir is None:
        return None
    before = b"".join([composed(one) for one in edit.ahead.get(start, ())])
    if start in edit.markers:
        return before + composed(whiteout(header.path))
    splice = edit.splices.get(start)
    link = edit.links.get(start)
    if lower is not None:
        raw, heir = lower, header.path
    if heir is None and splice is None and link is None:
        return before + raw
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
    if edit.moved or edit.markers:
        return None
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
        total += sum(len(composed(one)) for one in edit.ahead.get(start, ()))
    for addition in edit.additions:
        total += len(composed(addition.header)) + padded(addition.header.stored)
    return total
