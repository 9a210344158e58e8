"""Where an unpacker puts the members of layers, and what a mount of the layers shows of them.

Two views of the same layers. An unpacker (OCI `layer.md`: "applying changesets") writes one layer
over the tree of those below it, and follows that tree's symlinks. An engine with overlay mounts
unpacks each layer into a folder of its own and leaves the merging to the kernel (overlayfs), which
knows nothing of what a path meant to who made the layer. They differ where a layer was made
without looking at those below it; see `mounted`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from slimmer.files import join, parent, parents
from slimmer.tar.reading import DIRECTORY, HARDLINK, SYMLINK, normalised

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

    from slimmer.tar.reading import Header

WHITEOUT = b".wh."
OPAQUE = b".wh..wh..opq"


def resolve(path: bytes, link: Callable[[bytes], bytes | None]) -> bytes:
    """The real path of a path: every symlink on the way followed, each looked up by `link`.

    Returns the path as far as it could be followed where something is missing, and the path
    unchanged where symlinks run in a circle.
    """
    todo = normalised(path).split(b"/")[::-1]
    real: list[bytes] = []
    hops = 0
    while todo:
        part = todo.pop()
        if part in (b"", b"."):
            continue
        if part == b"..":
            del real[-1:]
            continue
        real.append(part)
        target = link(b"/".join(real))
        if target is None:
            continue
        hops += 1
        if hops > 40:  # the kernel's own limit (path_resolution(7))
            return normalised(path)
        del real[-1]
        if target.startswith(b"/"):
            real.clear()
        todo += target.split(b"/")[::-1]
    return b"/".join(real)


def folders_of(headers: Iterable[Header]) -> set[bytes]:
    """Every folder that stands in the path of a member."""
    return _with_those_above(
        {path[: path.rfind(b"/")] for header in headers if b"/" in (path := header.path)}
    )


def _with_those_above(found: set[bytes]) -> set[bytes]:
    for folder in list(found):
        for above in parents(folder):
            if above in found:
                break
            found.add(above)
    found.discard(b"")
    return found


class _Links:
    """The symlinks of a tree that is being unpacked."""

    __slots__ = ("_below", "_taken", "_targets", "get", "through")

    def __init__(self) -> None:
        self._targets: dict[bytes, bytes] = {}
        self._below: dict[bytes, set[bytes]] = {}
        self.get = self._targets.get
        self._taken: list[bytes] = []
        self.through: dict[bytes, set[bytes]] = {}
        """Each symlink that members were named through, and their real paths."""

    def follow(self, path: bytes) -> bytes | None:
        """Where a symlink leads, as `get` says it; it is noted for the next `arrived`."""
        target = self._targets.get(path)
        if target is not None:
            self._taken.append(path)
        return target

    def arrived(self, path: bytes) -> None:
        """The real path of the member whose way was followed."""
        while self._taken:
            self.through.setdefault(self._taken.pop(), set()).add(path)

    def put(self, path: bytes, target: bytes) -> None:
        self._targets[path] = target
        for folder in parents(path):
            self._below.setdefault(folder, set()).add(path)

    def remove(self, path: bytes, *, below: bool) -> None:
        """Forget a symlink, and those below its path where a whole tree leaves."""
        self._targets.pop(path, None)
        if below:
            for link in self._below.pop(path, ()):
                self._targets.pop(link, None)

    def empty(self, folder: bytes) -> None:
        if folder:
            for link in self._below.pop(folder, ()):
                self._targets.pop(link, None)
        else:
            self._targets.clear()
            self._below.clear()


def behind_symlinks(
    layers: Sequence[Sequence[Header]],
) -> tuple[Sequence[Sequence[Header]], list[tuple[int, int]], Mapping[bytes, frozenset[bytes]]]:
    """Members whose parent is a symlink, put where an unpacker puts them: behind it.

    Also the layers in which that moved any, with the number of members; and each symlink that
    members or their hard links are named through, with the members' real paths. Needed where a
    layer was
    made without looking at those below it (`lib/x` over a base whose `lib` is a symlink to
    `usr/lib`): rare, so the common case costs one look at each name.
    """
    links = {header.path for headers in layers for header in headers if header.kind is SYMLINK}
    if not links:
        return layers, [], {}
    folders: set[bytes] = set()
    for headers in layers:
        folders.update([parent(header.path) for header in headers])
        folders.update([parent(header.link) for header in headers if header.kind is HARDLINK])
    if links.isdisjoint(_with_those_above(folders)):
        return layers, [], {}
    now = _Links()
    result: list[Sequence[Header]] = []
    moved: list[tuple[int, int]] = []
    for number, headers in enumerate(layers):
        for header in headers:
            directory, _, name = header.path.rpartition(b"/")
            if name == OPAQUE:
                now.empty(resolve(directory, now.get))
            elif name.startswith(WHITEOUT):
                now.remove(join(resolve(directory, now.get), name[4:]), below=True)
        placed = [_placed(header, now, folders) for header in headers]
        count = sum(old.path != new.path for old, new in zip(headers, placed, strict=True))
        if count:
            moved.append((number, count))
        result.append(placed)
    through = {link: frozenset(paths) for link, paths in now.through.items()}
    return result, moved, through


def _placed(header: Header, now: _Links, folders: Collection[bytes]) -> Header:
    """A member as an unpacker places it, which may add a symlink to the tree or take some away."""
    directory, _, name = header.path.rpartition(b"/")
    real = resolve(directory, now.follow) if directory else directory
    if real != directory:
        header = header._replace(path=join(real, name))
    if header.kind is HARDLINK:
        target, _, last = header.link.rpartition(b"/")
        header = header._replace(link=join(resolve(target, now.follow), last))
    path = header.path
    now.arrived(path)
    now.remove(path, below=header.kind is not DIRECTORY and path in folders)
    if header.kind is SYMLINK:
        now.put(path, header.link)
    return header


def replaced(headers: Sequence[Header]) -> dict[int, bytes]:
    """Members that a later one of the same tar takes away with the folder in which they lie.

    By number; the value is the path of what took the folder's place: anything but a folder, for
    which unpackers remove all that was there.
    """
    folders = folders_of(headers)
    takers = {
        header.path for header in headers if header.kind is not DIRECTORY and header.path in folders
    }
    if not takers:
        return {}
    inside: dict[bytes, list[int]] = {}
    gone: dict[int, bytes] = {}
    for number, header in enumerate(headers):
        path = header.path
        if path in takers and header.kind is not DIRECTORY:
            for below in inside.pop(path, ()):
                gone.setdefault(below, path)
        for folder in parents(path):
            if folder in takers:
                inside.setdefault(folder, []).append(number)
    return gone


# --- the other view -------------------------------------------------------------------------------


def differs(layers: Sequence[Sequence[Header]], moved: bool) -> bool:
    """Whether a mount may show something else than an unpacked tree; cheap, and rarely true.

    `moved` says that members lie behind symlinks.
    """
    if moved:
        return True
    for headers in layers[1:]:
        marks = [header.path for header in headers if WHITEOUT in header.path]
        if OPAQUE in marks:
            return True
        hides = {
            join(directory, name[4:])
            for directory, _, name in (path.rpartition(b"/") for path in marks)
            if name.startswith(WHITEOUT)
        }
        if hides and any(header.path in hides for header in headers):
            return True
        # A folder needs no member of its own: what lies in it makes it.
        if hides and not hides.isdisjoint(folders_of(headers)):
            return True
    return False


def mounted(layers: Sequence[Sequence[Header]]) -> dict[tuple[int, int], bytes]:
    """The members, by layer and number, that an overlay mount of the layers shows, and where.

    Each layer is unpacked into a folder of its own, where a whiteout becomes a device that the
    kernel takes for a hole, and a marker of opacity an attribute of its folder. So

    - a symlink of a lower layer leads nowhere yet: `lib/x` makes a folder `lib`, which then hides
      a symlink `lib` of a lower layer, while what that led to is still seen under its own name;
    - `.wh.d` beside `d/` leaves a folder that is merged with a lower one: the hole is gone;
    - the root has no attribute of opacity that the kernel would look at.
    """
    shown: dict[tuple[int, int], bytes] = {}
    exact: set[bytes] = set()
    covers: set[bytes] = set()
    for number in range(len(layers) - 1, -1, -1):
        [headers], _, _ = behind_symlinks([layers[number]])
        gone = replaced(headers)
        last = {header.path: place for place, header in enumerate(headers) if place not in gone}
        covered: dict[bytes, bool] = {b"": False}
        holes: set[bytes] = set()
        opaque: set[bytes] = set()
        for path, place in last.items():
            directory, _, name = path.rpartition(b"/")
            if name == OPAQUE:
                opaque.add(directory)
            elif name.startswith(WHITEOUT):
                holes.add(join(directory, name[4:]))
            elif path not in exact and not _covered(path, covers, covered):
                shown[number, place] = path
        entries = {path for path in last if not path[path.rfind(b"/") + 1 :].startswith(WHITEOUT)}
        implied = folders_of([headers[place] for place in last.values()])
        exact |= entries | implied | holes
        # What stands there itself took the hole's place.
        covers |= holes - entries - implied
        covers |= {path for path in entries if headers[last[path]].kind is not DIRECTORY}
        covers |= opaque - {b""}
    return shown


def _covered(path: bytes, covers: Collection[bytes], known: dict[bytes, bool]) -> bool:
    """Whether something covers a path or a folder on its way; `known` keeps what was found."""
    chain: list[bytes] = []
    while path not in known:
        chain.append(path)
        path = parent(path)
    answer = known[path]
    for path in reversed(chain):
        answer = answer or path in covers
        known[path] = answer
    return answer
