"""Every member of every layer: what is visible, what is overwritten, what is deleted, and by what.

The rules are those of OCI `layer.md`: a whiteout `.wh.name` removes `name` of the layers below,
an opaque whiteout `.wh..wh..opq` all that lies below its directory in them, whatever their place
in the tar; a directory over a directory replaces its attributes; any other clash removes what
was there with all that lay below it.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, NamedTuple, Protocol

from slimmer.files import File, Files, join
from slimmer.image import ImageError
from slimmer.placement import OPAQUE, WHITEOUT, behind_symlinks, differs, mounted, replaced, resolve
from slimmer.tar.reading import DIRECTORY, FILE, HARDLINK, SYMLINK, Header

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from slimmer.evidence import Evidence
    from slimmer.image import Image, Layer, LayerContent

ESTARGZ = "containerd.io/snapshot/stargz/toc.digest"
ESTARGZ_MEMBERS = {b"stargz.index.json", b".prefetch.landmark", b".no.prefetch.landmark"}
"""Members of an eStargz layer that its specification adds for itself; no files of the image."""


class LayerScan(NamedTuple):
    """One layer's headers in order, and the contents that were asked for, by member number."""

    headers: Sequence[Header]
    contents: Mapping[int, bytes]


class ScanCache(Protocol):
    """Where scans are kept between runs; a store hands one in."""

    def load(self, content: LayerContent, evidence: Evidence) -> LayerScan | None: ...

    def save(self, content: LayerContent, evidence: Evidence, scan: LayerScan) -> None: ...


class Hidden(NamedTuple):
    """A member that the merged tree does not show."""

    header: Header
    how: Literal["overwritten", "deleted"]
    layer: int
    """Number of the layer that hides it."""
    by: bytes
    """What hides it there: a file in its place, a whiteout's target, an opaque directory."""
    size: int
    """Bytes that nobody can see; 0 where another name of the same file carries them on."""


@dataclass(frozen=True, slots=True)
class LayerIndex:
    """One layer's members, told apart by what became of them."""

    number: int
    layer: Layer
    headers: Sequence[Header]
    """All members in the tar's order, whiteouts included, paths through symlinks resolved."""
    visible: Sequence[Header]
    hidden: Sequence[Hidden]
    whiteouts: Sequence[Header]
    size: int
    """Σ `size` of the members in bytes."""

    def __repr__(self) -> str:
        return f"LayerIndex({self.number}, {len(self.headers)} members, size={self.size})"

    @property
    def overwritten(self) -> int:
        return sum(hidden.size for hidden in self.hidden if hidden.how == "overwritten")

    @property
    def deleted(self) -> int:
        return sum(hidden.size for hidden in self.hidden if hidden.how == "deleted")


@dataclass(frozen=True, slots=True)
class Index:
    """The layers of an image laid over one another.

    >>> session.index
    Index('app.tar', 9 layers, 553 visible paths)
    """

    image: Image
    layers: tuple[LayerIndex, ...]
    visible: Mapping[bytes, Header]
    """The merged tree: path → header. A hard link that outlives its first name carries `size`."""
    layer_of: Mapping[bytes, int]
    """Path → number of the layer that shows it."""
    evidence: Mapping[bytes, bytes]
    """Path → content (or its beginning) of the visible files that were asked for."""
    files: Files
    """The files that have several names."""
    mount_shows: Mapping[tuple[int, int], bytes]
    """Hidden members, by layer and offset, that an overlay mount of the layers shows all the same,
    with the paths at which it does; whoever runs the image so may need them."""
    through: Mapping[bytes, frozenset[bytes]]
    """Symlink that members of layers are named through → the real paths of those members."""
    problems: tuple[str, ...]

    def __repr__(self) -> str:
        return (
            f"Index({self.image.reference!r}, {len(self.layers)} layers,"
            f" {len(self.visible)} visible paths)"
        )

    @classmethod
    def scan(
        cls,
        image: Image,
        evidence: Evidence,
        cache: ScanCache | None = None,
        done: Callable[[int, int], None] = lambda number, count: None,
    ) -> Index:
        """Read every layer's headers, and of the contents only the evidence.

        The only stage that reads layer bytes. Layers whose cost is decompression are read in
        parallel. `done(number, count)` is told of each layer that is finished.
        """

        def read(layer: Layer) -> LayerScan:
            content = layer.content
            scan = cache.load(content, evidence) if cache else None
            if scan is None:
                headers: list[Header] = []
                contents: dict[int, bytes] = {}
                add = headers.append
                for header, wanted in content.members(evidence.want):
                    if wanted is not None:
                        contents[len(headers)] = wanted
                    add(header)
                scan = LayerScan(headers, contents)
                if cache:
                    cache.save(content, evidence, scan)
            return LayerScan(_of_the_image(layer, scan.headers), scan.contents)

        count = len(image.layers)
        scans: list[LayerScan] = []
        if all(layer.content.random_access for layer in image.layers):
            for layer in image.layers:
                scans.append(read(layer))
                done(len(scans), count)
        else:
            with ThreadPoolExecutor(max_workers=max(2, os.cpu_count() or 2)) as pool:
                for scan in pool.map(read, image.layers):
                    scans.append(scan)
                    done(len(scans), count)
        return cls.of(image, scans)

    @classmethod
    def of(cls, image: Image, scans: Sequence[LayerScan]) -> Index:
        """Lay scanned layers over one another."""
        problems = list(image.problems)
        members = [scan.headers for scan in scans]
        placed, moved, through = behind_symlinks(members)
        problems += [
            f"layer {number}: {count} members lie behind a symlink of the image"
            for number, count in moved
        ]
        layers = _lay(image.layers, placed)
        files = Files.of(layers)
        layers = _promote(layers, files)
        mount_shows: Mapping[tuple[int, int], bytes] = {}
        if differs(members, bool(moved)):
            mount_shows, size = _shown_by_mounts(layers, members)
            if mount_shows:
                problems.append(_both_views(layers, mount_shows, size))
        problems += [
            f"layer {number}: {len(lost)} hard links to nothing, such as {lost[0].path!r}"
            for number, lost in files.lost.items()
        ]
        visible: dict[bytes, Header] = {}
        layer_of: dict[bytes, int] = {}
        for layer in layers:
            paths = [header.path for header in layer.visible]
            visible.update(zip(paths, layer.visible, strict=True))
            layer_of.update(dict.fromkeys(paths, layer.number))
        evidence: dict[bytes, bytes] = {}
        for layer, scan in zip(layers, scans, strict=True):
            for place, text in scan.contents.items():
                header = layer.headers[place]
                if visible.get(header.path) is header:
                    evidence[header.path] = text
                # uv links site-packages to its cache, so the first name of a RECORD may lie there
                file = files.by_member.get((layer.number, place))
                if file is not None:
                    evidence.update(dict.fromkeys(file.names, text))
        return cls(
            image,
            layers,
            visible,
            layer_of,
            evidence,
            files,
            mount_shows,
            through,
            tuple(problems),
        )

    @property
    def unpacked(self) -> int:
        """Σ `size` over all layers."""
        return sum(layer.size for layer in self.layers)

    @property
    def rootfs(self) -> int:
        """Σ `size` of what is visible once the layers are merged."""
        return self.unpacked - self.overwritten - self.deleted

    @property
    def overwritten(self) -> int:
        return sum(layer.overwritten for layer in self.layers)

    @property
    def deleted(self) -> int:
        return sum(layer.deleted for layer in self.layers)

    @property
    def lazy_layers(self) -> frozenset[str]:
        """diff_ids of the layers proved to be eStargz: their table of contents is no file."""
        table = WHITEOUT + WHITEOUT + b"stargz.index.json"
        return frozenset(
            layer.layer.diff_id
            for layer in self.layers
            if any(header.path == table for header in layer.whiteouts)
        )

    def file(self, path: bytes) -> File | None:
        """What a visible path stands for; None for a hard link to nothing.

        Raises KeyError for a path that is not visible.
        """
        file = self.files.by_path.get(path)
        if file is not None:
            return file
        header = self.visible[path]
        if header.kind is HARDLINK:
            return None
        return File(self.layer_of[path], header, (), (path,))

    def droppable(self) -> Iterator[tuple[int, Hidden]]:
        """Hidden files that can leave their layer without anything else coming to light.

        Not those whose bytes another name still shows, and not what an engine shows though the
        specification hides it. Where one in its turn hides what lay below a folder of its name,
        an edit leaves a whiteout in its place.
        """
        shown = set(self.mount_shows)
        shown |= {
            (file.layer, file.holder.start)
            for files in (self.files.held.values() if shown else ())
            for file in files
            if any((number, link.start) in shown for number, link in file.links)
        }
        for layer in self.layers:
            for hidden in layer.hidden:
                header = hidden.header
                if (
                    header.kind in (FILE, HARDLINK)
                    and hidden.size == header.size
                    and (layer.number, header.start) not in shown
                ):
                    yield layer.number, hidden

    def seen_in_mounts(self) -> Iterator[bytes]:
        """Paths of the members that only a mount shows; see `mount_shows`."""
        if self.mount_shows:
            for layer in self.layers:
                for hidden in layer.hidden:
                    if (layer.number, hidden.header.start) in self.mount_shows:
                        yield hidden.header.path

    def resolve(self, path: bytes) -> bytes:
        """The real path of a path of the image: every symlink on the way followed.

        Returns the path as far as it could be followed where something is missing, and the path
        unchanged where symlinks run in a circle.
        """
        return resolve(path, self.link)

    def link(self, path: bytes) -> bytes | None:
        """Where a symlink leads, as it is written; None where the path is none."""
        header = self.visible.get(path)
        if header is not None and header.kind == HARDLINK:
            file = self.files.by_path.get(path)  # a symlink may have several names too
            header = file.holder if file else None
        return header.link if header is not None and header.kind == SYMLINK else None


def _of_the_image(layer: Layer, headers: Sequence[Header]) -> Sequence[Header]:
    """The layer's members without what the eStargz format adds for itself.

    Its specification proves a layer to be one by an annotation and by the blob's last bytes; a file
    that only bears the name is a file like any other.
    """
    if (
        not headers
        or headers[-1].path != b"stargz.index.json"
        or layer.descriptor is None
        or all(key != ESTARGZ for key, _ in layer.descriptor.annotations)
        or not _ends_as_estargz(layer)
    ):
        return headers
    # Their bytes are no file's: they keep their place with nothing to count or to show.
    return [
        header._replace(path=WHITEOUT + WHITEOUT + header.path, size=0)
        if header.path in ESTARGZ_MEMBERS
        else header
        for header in headers
    ]


def _ends_as_estargz(layer: Layer) -> bool:
    """Whether the blob ends with the footer: an empty gzip member of 51 (once 47) bytes whose
    header says where the table of contents is (stargz-snapshotter, `docs/estargz.md`)."""
    blob = layer.content.open_blob()
    if blob is None:
        return False
    end = b""
    with blob as file:
        while chunk := file.read(1 << 20):
            end = (end + chunk)[-51:]
    return b"STARGZ" in end


def _shown_by_mounts(
    layers: Sequence[LayerIndex], members: Sequence[Sequence[Header]]
) -> tuple[dict[tuple[int, int], bytes], int]:
    """Hidden members that a mount of the layers shows, by layer and offset, with their paths in
    it; and their size in bytes."""
    paths = {
        (number, members[number][place].start): path
        for (number, place), path in mounted(members).items()
    }
    hidden = {
        (layer.number, one.header.start): one.size for layer in layers for one in layer.hidden
    }
    shown = {member: paths[member] for member in hidden if member in paths}
    return shown, sum(hidden[member] for member in shown)


def _both_views(
    layers: Sequence[LayerIndex], shown: Mapping[tuple[int, int], bytes], size: int
) -> str:
    first = next(
        one.header.path
        for layer in layers
        for one in layer.hidden
        if (layer.number, one.header.start) in shown
    )
    visible = sum(header.size for layer in layers for header in layer.visible)
    return (
        f"engines that mount layers over one another show {len(shown)} members that the "
        f"specification hides, such as {first!r}: {visible + size} bytes instead "
        f"of {visible}; none of them is dropped as hidden"
    )


_Event = tuple[int, Literal["overwritten", "deleted"], bytes]


def _lay(layers: Sequence[Layer], members: Sequence[Sequence[Header]]) -> tuple[LayerIndex, ...]:
    """Tell each layer's visible members from the hidden ones.

    Newest layer first, so that a marker is met before what it hides. `exact` and `below` keep the
    nearest event above each path: one that takes the place of the path itself, one that takes
    everything below it away.
    """
    exact: dict[bytes, _Event] = {}
    below: dict[bytes, _Event] = {}
    opaque: dict[bytes, _Event] = {}
    result: list[LayerIndex] = []
    for number in range(len(layers) - 1, -1, -1):
        headers = members[number]
        whiteouts: list[Header] = []
        shown: dict[bytes, Header] = {}
        hidden: list[Hidden] = []
        covers: dict[bytes, _Event | None] = {b"": opaque.get(b"")}

        def cover(directory: bytes, covers: dict[bytes, _Event | None] = covers) -> _Event | None:
            """What hides everything in this directory, if anything does."""
            chain: list[bytes] = []
            while directory not in covers:
                chain.append(directory)
                directory = directory[: max(directory.rfind(b"/"), 0)]
            event = covers[directory]
            for directory in reversed(chain):
                for found in (below.get(directory), opaque.get(directory)):
                    if found is not None and (event is None or found[0] < event[0]):
                        event = found
                covers[directory] = event
            return event

        mine: list[Header] = []
        taken = replaced(headers)
        for place, path in taken.items():
            hidden.append(Hidden(headers[place], "overwritten", number, path, headers[place].size))
        for header in (
            [header for place, header in enumerate(headers) if place not in taken]
            if taken
            else headers
        ):
            path = header.path
            slash = path.rfind(b"/") + 1
            if path.startswith(WHITEOUT, slash):
                whiteouts.append(header)
                if header.size:
                    hidden.append(Hidden(header, "deleted", number, path, header.size))
                continue
            earlier = shown.get(path)
            if earlier is not None:
                # A tar may name a path twice: the last one stays.
                hidden.append(Hidden(earlier, "overwritten", number, path, earlier.size))
                del shown[path]
            mine.append(header)
            if exact or below or opaque:
                event = exact.get(path)
                covering = cover(path[: max(slash - 1, 0)])
                if covering is not None and (event is None or covering[0] < event[0]):
                    event = covering
                if event is not None:
                    hidden.append(Hidden(header, event[1], event[0], event[2], header.size))
                    continue
            shown[path] = header
        result.append(
            LayerIndex(
                number,
                layers[number],
                headers,
                tuple(shown.values()),
                tuple(hidden),
                tuple(whiteouts),
                sum([header.size for header in headers]),
            )
        )
        for header in whiteouts:
            directory, _, name = header.path.rpartition(b"/")
            if name == OPAQUE:
                opaque[directory] = (number, "deleted", directory)
            elif name in (WHITEOUT, WHITEOUT + b".", WHITEOUT + b".."):
                raise ImageError(
                    f"the whiteout {header.path!r} in layer {number} names nothing to remove",
                    hint="the layer is damaged; rebuild it",
                )
            elif not name.startswith(WHITEOUT + WHITEOUT):  # aufs's own bookkeeping removes nothing
                gone = join(directory, name[len(WHITEOUT) :])
                exact[gone] = below[gone] = (number, "deleted", gone)
        for header in mine:
            path = header.path
            event = exact[path] = (number, "overwritten", path)
            if header.kind is not DIRECTORY:
                below[path] = event
    return tuple(reversed(result))


def _promote(layers: tuple[LayerIndex, ...], files: Files) -> tuple[LayerIndex, ...]:
    """Let a visible hard link carry the bytes whose first name is hidden.

    A hard link has no content of its own in the tar; as long as one name of a file is visible, so
    is its content, once.
    """
    hidden = {
        id(one.header): (layer.number, place)
        for layer in layers
        if layer.number in files.held
        for place, one in enumerate(layer.hidden)
        if one.size
    }
    carried: dict[int, dict[int, int]] = {}
    """Layer → number of a hidden member whose bytes are to be seen → 0, its size from now on."""
    sizes: dict[int, dict[bytes, int]] = {}
    for number, linked in files.held.items():
        for file in linked:
            found = hidden.get(id(file.holder))
            if found is not None and file.names:
                carried.setdefault(number, {})[found[1]] = 0
                heir = file.names[0]
                # Of several links of that path the newest is the one to be seen.
                shown_in = next(n for n, one in reversed(file.links) if one.path == heir)
                sizes.setdefault(shown_in, {})[heir] = file.size
    if not carried:
        return layers
    result: list[LayerIndex] = []
    for layer in layers:
        gone, grown = carried.get(layer.number, {}), sizes.get(layer.number, {})
        if gone or grown:
            layer = replace(
                layer,
                hidden=tuple(
                    one._replace(size=0) if place in gone else one
                    for place, one in enumerate(layer.hidden)
                ),
                visible=tuple(
                    header._replace(size=grown[header.path]) if header.path in grown else header
                    for header in layer.visible
                ),
            )
        result.append(layer)
    return tuple(result)
