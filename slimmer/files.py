"""Paths taken apart and put together, and files by their names: which member holds the bytes.

A hard link in a tar (POSIX.1-2001 `pax`, typeflag 1) names a path, and means what stands there
when an unpacker comes to the link: the nearest member before it in its own tar, else what the
layers below show. So `a`, `b → a` and `a` again leave two files, and a link whose first name
another layer overwrites later still holds the old bytes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from slimmer.tar.reading import DIRECTORY, HARDLINK

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from slimmer.tar.reading import Header

    Key = tuple[int, int]
    """A member: the number of its layer, and its own number in that layer."""


class HiddenMember(Protocol):
    """A member that is hidden, and the number of the layer that hides it."""

    @property
    def header(self) -> Header: ...

    @property
    def layer(self) -> int: ...


class Members(Protocol):
    """What is to be known of a layer's members; `index.LayerIndex` is made of these."""

    @property
    def number(self) -> int: ...

    @property
    def headers(self) -> Sequence[Header]:
        """All of them in the tar's order."""
        ...

    @property
    def visible(self) -> Sequence[Header]: ...

    @property
    def hidden(self) -> Sequence[HiddenMember]:
        """Those that a later member hides."""
        ...


def parent(path: bytes) -> bytes:
    """The folder that a path lies in; `b""`, the root, for a name at the top and for the root."""
    return path[: max(path.rfind(b"/"), 0)]


def parents(path: bytes) -> Iterator[bytes]:
    """Every folder around a path, the nearest first, the root left out."""
    while path := path[: max(path.rfind(b"/"), 0)]:
        yield path


def join(folder: bytes, name: bytes) -> bytes:
    """The path of a name in a folder; `b""` is the root."""
    return folder + b"/" + name if folder else name


@dataclass(frozen=True, slots=True, eq=False)
class File:
    """What one or several names stand for; compared by identity."""

    layer: int
    """Number of the layer that holds it."""
    holder: Header
    """The member that holds the bytes. A regular file, but for links to symlinks and devices."""
    links: tuple[tuple[int, Header], ...] = ()
    """All hard links to it with the numbers of their layers, hidden ones too, lowest first."""
    names: tuple[bytes, ...] = ()
    """Its visible paths: the holder's if that is visible, then the links' in the same order."""

    @property
    def size(self) -> int:
        """Content bytes, once, however many names there are."""
        return self.holder.size


@dataclass(frozen=True, slots=True)
class Files:
    """The files of an image that have several names; `Index.file` answers for all the others."""

    by_path: Mapping[bytes, File]
    """Visible path → file, for each name of a file with hard links."""
    by_member: Mapping[Key, File]
    """Layer and number of a hard link, or of a member that hard links mean → file."""
    held: Mapping[int, tuple[File, ...]]
    """Layer → the files with hard links whose bytes it holds, in the tar's order."""
    lost: Mapping[int, tuple[Header, ...]]
    """Layer → its hard links to nothing: unpackers stumble over them."""

    def __repr__(self) -> str:
        return f"Files({len(self.by_path)} names of files with several)"

    @classmethod
    def of(cls, layers: Sequence[Members]) -> Files:
        """Lead every hard link back to the member that it means; linear in members."""
        wanted = _meant_elsewhere(layers)
        if wanted is None:
            return cls({}, {}, {}, {})
        meant: dict[Key, list[Key]] = {}
        lost: dict[int, tuple[Header, ...]] = {}
        below: dict[bytes, tuple[Key, int | None]] = {}
        for layer in layers:
            here, nothing = _led_back(layer, below, meant)
            if nothing:
                lost[layer.number] = nothing
            if wanted:
                _note(layer, wanted, here, below)
        return cls._with_names(layers, meant, lost)

    @classmethod
    def _with_names(
        cls,
        layers: Sequence[Members],
        meant: Mapping[Key, Sequence[Key]],
        lost: Mapping[int, tuple[Header, ...]],
    ) -> Files:
        """Files out of holders and their links, each with the names that are visible."""
        numbers = {layer for layer, _ in meant} | {
            layer for links in meant.values() for layer, _ in links
        }
        shown = {
            number: {header.path: header for header in layers[number].visible} for number in numbers
        }
        by_path: dict[bytes, File] = {}
        by_member: dict[Key, File] = {}
        held: dict[int, list[File]] = {}
        for key in sorted(meant):
            keys = (key, *meant[key])
            members = [(number, layers[number].headers[place]) for number, place in keys]
            names = tuple(
                header.path
                for number, header in members
                if shown[number].get(header.path) is header
            )
            file = File(key[0], members[0][1], tuple(members[1:]), names)
            by_path.update(dict.fromkeys(names, file))
            by_member.update(dict.fromkeys(keys, file))
            held.setdefault(key[0], []).append(file)
        return cls(by_path, by_member, {layer: tuple(files) for layer, files in held.items()}, lost)


def _meant_elsewhere(layers: Sequence[Members]) -> set[bytes] | None:
    """Paths that hard links mean and that stand in no member before them in their own tar.

    None where the image has no hard links at all.
    """
    wanted: set[bytes] = set()
    linked = False
    for layer in layers:
        if not any(header.kind is HARDLINK for header in layer.headers):
            continue
        linked = True
        before: set[bytes] = set()
        for header in layer.headers:
            if header.kind is HARDLINK and header.link not in before:
                wanted.add(header.link)
            before.add(header.path)
    return wanted if linked else None


def _led_back(
    layer: Members,
    below: Mapping[bytes, tuple[Key, int | None]],
    meant: dict[Key, list[Key]],
) -> tuple[dict[bytes, Key], tuple[Header, ...]]:
    """Add a layer's hard links to `meant`; its paths that matter, and its links to nothing."""
    number = layer.number
    here: dict[bytes, Key] = {}
    targets = {header.link for header in layer.headers if header.kind is HARDLINK}
    if not targets:
        return here, ()
    waiting: list[int] = []
    for place, header in enumerate(layer.headers):
        path = header.path
        if header.kind is DIRECTORY:
            here.pop(path, None)  # a folder has one name only (link(2))
            continue
        if header.kind is not HARDLINK:
            if path in targets or path in here:
                here[path] = number, place
            continue
        key = here.get(header.link) if header.link != path else None
        if key is None and header.link != path:
            lower = below.get(header.link)
            # What this very layer hides was still there when the link was made.
            if lower is not None and (lower[1] is None or lower[1] >= number):
                key = lower[0]
        if key is None:
            here.pop(path, None)
            waiting.append(place)
        else:
            here[path] = key
            meant.setdefault(key, []).append((number, place))
    nothing: list[Header] = []
    for place in waiting:
        # No unpacker takes a link ahead of its file; but nothing else can be meant.
        header = layer.headers[place]
        key = here.get(header.link) if header.link != header.path else None
        if key is None:
            nothing.append(header)
        else:
            here.setdefault(header.path, key)
            meant.setdefault(key, []).append((number, place))
    return here, tuple(nothing)


def _note(
    layer: Members,
    wanted: set[bytes],
    here: Mapping[bytes, Key],
    below: dict[bytes, tuple[Key, int | None]],
) -> None:
    """Tell the layers above what a layer has at the paths that their links mean, and until which
    layer it is to be seen there."""
    until = {
        hidden.header.path: hidden.layer
        for hidden in layer.hidden
        if hidden.layer != layer.number and hidden.header.path in wanted
    }
    for place, header in enumerate(layer.headers):
        path = header.path
        if path not in wanted:
            continue
        key = here.get(path) if header.kind is HARDLINK else (layer.number, place)
        if key is None or header.kind is DIRECTORY:
            below.pop(path, None)
        else:
            below[path] = key, until.get(path)
