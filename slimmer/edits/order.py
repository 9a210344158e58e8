"""The order in which a layer that is written anew names its paths.

Each path once, its last member's; a folder before what lies in it. Engines refuse a layer that
names a path twice, and make up the attributes of a folder that comes after its content.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from slimmer.placement import OPAQUE, WHITEOUT, replaced
from slimmer.tar.reading import DIRECTORY, FILE

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from slimmer.tar.reading import Header


def repeated(headers: Sequence[Header]) -> set[int]:
    """Offsets of the members whose place a later member of the same layer takes."""
    last: dict[bytes, int] = {}
    earlier = {headers[number].start for number in replaced(headers)}
    for header in headers:
        start = last.get(header.path)
        if start is not None:
            earlier.add(start)
        last[header.path] = header.start
    return earlier


def ahead(
    headers: Sequence[Header], drops: Collection[int], promotions: Mapping[int, bytes]
) -> dict[int, tuple[Header, ...]]:
    """What has to be written right before a member, by that member's offset.

    The folders on its way that stand behind it; and for a file that takes another one's place the
    whiteouts that clear its way, for some unpackers carry them out when they meet them.
    """
    places = _Places(headers, drops)
    result: dict[int, tuple[Header, ...]] = {}
    early: set[int] = set()
    ready: set[bytes] = {b""}
    """Folders of which nothing stands behind any more."""
    for header in headers:
        start = header.start
        heir = promotions.get(start)
        if (start in drops and heir is None) or start in early:
            continue
        path = header.path if heir is None else heir
        parent = path[: max(path.rfind(b"/"), 0)]
        if parent not in ready or heir is not None:
            way: list[bytes] = []
            while parent and (heir is not None or parent not in ready):
                way.append(parent)
                parent = parent[: max(parent.rfind(b"/"), 0)]
            found: list[Header] = []
            for folder in reversed(way):
                found += places.before(folder, start, early, markers=heir is not None)
                ready.add(folder)
            if heir is not None:
                found += places.hiding(heir, start, early)
            if found:
                result[start] = tuple(found)
        if header.kind is DIRECTORY:
            ready.add(path)
    return result


class _Places:
    """Where the folders and the whiteouts of a layer stand."""

    def __init__(self, headers: Sequence[Header], drops: Collection[int]) -> None:
        self._folders: dict[bytes, Header] = {}
        self._whiteouts: dict[bytes, Header] = {}
        self._opaque: dict[bytes, Header] = {}
        for header in headers:
            if header.start in drops:
                continue
            if header.kind is DIRECTORY:
                self._folders[header.path] = header
                continue
            directory, _, name = header.path.rpartition(b"/")
            if name == OPAQUE:
                self._opaque[directory] = header
            elif name.startswith(WHITEOUT):
                hidden = directory + b"/" if directory else b""
                self._whiteouts[hidden + name[len(WHITEOUT) :]] = header

    def before(self, folder: bytes, start: int, early: set[int], *, markers: bool) -> list[Header]:
        """What of a folder stands behind an offset; it is noted in `early`."""
        own = _later(self._folders.get(folder), start, early)
        found = self.hiding(folder, start, early) if own or markers else []
        found += own
        if own or markers:
            found += _later(self._opaque.get(folder), start, early)
        return found

    def hiding(self, path: bytes, start: int, early: set[int]) -> list[Header]:
        """The whiteout of a path, if it stands behind an offset."""
        return _later(self._whiteouts.get(path), start, early)


def _later(header: Header | None, start: int, early: set[int]) -> list[Header]:
    if header is None or header.start <= start or header.start in early:
        return []
    early.add(header.start)
    if header.kind is not DIRECTORY:  # a whiteout says all it has to say with its name
        header = header._replace(kind=FILE, link=b"", size=0, stored=0)
    return [header]
