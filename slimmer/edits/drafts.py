"""An image that is about to be written: its layers as streams, and everything but their digests.

A layer of a draft is one of three kinds: a layer of the source, as it is or with an edit carried
out on its way; several of them merged into one; or one that lies over the others and hides what
leaves. Nothing is read before its `chunks` are taken, and then once, from front to back.
"""

from __future__ import annotations

import json
import tempfile
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from slimmer.edits.layer_edit import amended_header
from slimmer.errors import SlimmerError
from slimmer.image import Config
from slimmer.splice import Splice, view
from slimmer.splice import stream as spliced
from slimmer.tar.headers import amended, composed
from slimmer.tar.reading import BLOCK, DIRECTORY, END, Stream, padded, walk

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from typing import BinaryIO

    from slimmer.edits.layer_edit import Addition, LayerEdit, Moved
    from slimmer.image import Digest, Image, Layer
    from slimmer.tar.reading import Header

    Content = bool | Splice | Iterator[bytes]
    """What follows a header: the member's content (True), nothing (False), new content made of
    the old, or whole blocks from elsewhere."""
    Anew = Callable[[Header, bytes], tuple[bytes, Content]]
    """The blocks with which a member is written, and what follows them."""

CHUNK = 1 << 20
"""Bytes of a file that are held at a time."""


class RewriteError(SlimmerError):
    """A source that is not what the plan was made for, or a mode that cannot carry it out."""


@dataclass(frozen=True, slots=True)
class DraftLayer:
    """One layer of the source, as it is or edited."""

    source: Layer
    edit: LayerEdit | None
    """How it is changed; None for a layer that keeps its bytes."""
    length: int | None
    """Bytes of its tar, known before it is written; None where only the medium knows."""
    size: int | None
    """Σ `size` of its members; None where nobody has looked."""

    @property
    def kept(self) -> Layer | None:
        """The layer that keeps its bytes, if this is one."""
        return self.source if self.edit is None else None

    def chunks(self) -> Iterator[bytes]:
        """The uncompressed tar."""
        with self.source.content.open() as file:
            if self.edit is None:
                yield from _chunks(file)
            else:
                with set_aside(self.edit.moved) if self.edit.moved else nullcontext() as lower:
                    yield from edited(file, self.edit, lower)


@dataclass(frozen=True, slots=True)
class Part:
    """What one layer of the source gives to a merged one."""

    layer: DraftLayer
    names: Mapping[int, tuple[bytes, bytes]]
    """The members taken over, by their number in the (edited) tar: the path under which each is
    written, and the path that it links to where it becomes a hard link."""
    late: frozenset[int]
    """Links whose first name is in a lower layer, and so is written later."""


@dataclass(frozen=True, slots=True)
class MergedLayer:
    """Several layers as one: what they show of themselves, and what they hide of those below."""

    parts: tuple[Part, ...]
    """Newest first, so that a folder mostly stands before what lies in it."""
    markers: tuple[Header, ...]
    """Whiteouts, each behind the folders on its way."""
    folders: Mapping[bytes, Header]
    """Every folder that the merged layers show."""
    size: int

    length = None
    kept = None

    def chunks(self) -> Iterator[bytes]:
        """The uncompressed tar."""
        yield b"".join([composed(header) for header in self.markers])
        written = {header.path for header in self.markers if header.kind is DIRECTORY}
        links: list[bytes] = []
        for part in self.parts:
            yield from _part(part, self.folders, written, links)
        yield b"".join(links)
        yield END


@dataclass(frozen=True, slots=True)
class NewContent:
    """A file that an overlay writes anew."""

    old: Header
    """The member of its layer that holds the old content."""
    splice: Splice
    names: tuple[Header, ...]
    """The first carries the content, the others are hard links to it."""


@dataclass(frozen=True, slots=True)
class OverlayLayer:
    """A layer that lies over all others: whiteouts of what leaves, and what has new content."""

    markers: tuple[Header, ...]
    """Whiteouts and new files stand behind the folders on their way."""
    contents: tuple[tuple[Layer, tuple[NewContent, ...]], ...]
    additions: tuple[Addition, ...]

    kept = None

    @property
    def size(self) -> int:
        return sum(new.splice.size for _, news in self.contents for new in news) + sum(
            addition.header.size for addition in self.additions
        )

    @property
    def length(self) -> int:
        new = [new for _, news in self.contents for new in news]
        headers = [*self.markers, *(addition.header for addition in self.additions)]
        headers += [header for one in new for header in one.names]
        return sum(len(composed(header)) + padded(header.stored) for header in headers) + len(END)

    def chunks(self) -> Iterator[bytes]:
        """The uncompressed tar."""
        yield b"".join([composed(header) for header in self.markers])
        for layer, contents in self.contents:
            wanted = {new.old.data: new for new in contents}
            for header, read in layer.content.files([new.old for new in contents]):
                new = wanted[header.data]
                first, *others = new.names
                yield composed(first)
                content = view(read, new.splice)
                for offset in range(0, new.splice.size, CHUNK):
                    yield content(offset, CHUNK)
                yield bytes(padded(new.splice.size) - new.splice.size)
                yield b"".join([composed(name) for name in others])
        yield from added(self.additions)
        yield END


AnyLayer = DraftLayer | MergedLayer | OverlayLayer


@dataclass(frozen=True, slots=True)
class Draft:
    """An image that is about to be written: everything but the digests of its new layers."""

    image: Image
    layers: tuple[AnyLayer, ...]
    config: dict[str, Any]
    """The new config but for `rootfs.diff_ids`; unused where nothing changed."""
    changed: bool
    notices: tuple[str, ...] = ()
    """What the user should know about the result, one sentence each."""

    @classmethod
    def unchanged(cls, image: Image, sizes: Sequence[int] = ()) -> Draft:
        """An image as it is, ready to be written to another medium."""
        known: Sequence[int | None] = sizes or [None] * len(image.layers)
        return cls(
            image,
            tuple(
                DraftLayer(layer, None, None, size)
                for layer, size in zip(image.layers, known, strict=True)
            ),
            {},
            changed=False,
        )

    @property
    def unpacked(self) -> int | None:
        """Σ `size` over all layers of the result; None where nobody has looked at the source."""
        total = 0
        for layer in self.layers:
            if layer.size is None:
                return None
            total += layer.size
        return total

    def finish(self, diff_ids: Sequence[Digest]) -> Config:
        """The config of the written image, once the digests of its layers are known."""
        if not self.changed:
            return self.image.config
        fields = self.config | {"rootfs": {"type": "layers", "diff_ids": list(diff_ids)}}
        return Config.parse(
            json.dumps(fields, separators=(",", ":"), ensure_ascii=False).encode(
                "utf-8", "surrogatepass"
            )
        )


def _chunks(file: BinaryIO) -> Iterator[bytes]:
    while chunk := file.read(CHUNK):
        yield chunk


def edited(
    file: BinaryIO, edit: LayerEdit, lower: Mapping[int, Lower] | None = None
) -> Iterator[bytes]:
    """A layer's tar with the edit carried out, as chunks of at most 1 MiB or one header.

    `lower` are the files of lower layers that links of this one become, by the link's offset.
    """
    splices, links = edit.splices, edit.links
    lower = lower or {}

    def anew(header: Header, raw: bytes) -> tuple[bytes, Content]:
        start = header.start
        taken = lower.get(start)
        if taken is not None:
            new = amended_header(header, raw, edit, taken.raw)
            return _globals(raw) + (new or b""), taken.content(splices.get(start))
        new = amended_header(header, raw, edit)
        if new is None:
            return _globals(raw), False
        if start in links or start in edit.markers:
            return new, False
        return new, splices.get(start, True)

    yield from _carried(Stream(_chunks(file)), anew)
    yield from added(edit.additions)
    yield END


@dataclass(frozen=True, slots=True)
class Lower:
    """A file of a lower layer, set aside until the link that becomes it is written."""

    raw: bytes
    """The blocks of its header, without global ones."""
    file: BinaryIO
    offset: int
    stored: int
    """Where its content lies in `file`, and how many bytes of it there are."""

    def content(self, splice: Splice | None) -> Iterator[bytes]:
        """The content with its padding."""
        self.file.seek(self.offset)
        size = self.stored if splice is None else splice.size
        if splice is not None:
            yield from spliced(self.file, splice)
        left = 0 if splice is not None else size
        while left:
            chunk = self.file.read(min(left, CHUNK))
            left -= len(chunk)
            yield chunk
        yield bytes(padded(size) - size)


@contextmanager
def set_aside(moved: Mapping[int, Moved]) -> Iterator[dict[int, Lower]]:
    """The files that leave lower layers for this one, read from each such layer in one pass."""
    wanted: dict[Digest, tuple[Layer, dict[int, int]]] = {}
    for start, one in moved.items():
        wanted.setdefault(one.layer.diff_id, (one.layer, {}))[1][one.header.start] = start
    found: dict[int, Lower] = {}
    with tempfile.TemporaryFile() as file:
        for layer, starts in wanted.values():
            with layer.content.open() as tar:
                source = Stream(_chunks(tar))
                for header, raw in walk(source):
                    start = starts.get(header.start, -1)
                    if start < 0:
                        continue
                    bare = raw[len(_globals(raw)) :]
                    found[start] = Lower(bare, file, file.tell(), header.stored)
                    content = _Content(source, header)
                    while chunk := content.read(CHUNK):
                        file.write(chunk)
                source.drain()
        yield found


def _part(
    part: Part, folders: Mapping[bytes, Header], written: set[bytes], links: list[bytes]
) -> Iterator[bytes]:
    """One layer's share of a merged one, as far as its two zero blocks at the end."""
    names, late = part.names, part.late
    number = -1

    def anew(header: Header, raw: bytes) -> tuple[bytes, bool]:
        nonlocal number
        number += 1
        name = names.get(number)
        if name is None:
            return _globals(raw), False
        path, link = name
        new = raw
        if path != header.path or (link and link != header.link):
            renamed = path if path != header.path else None
            new = amended(raw, path=renamed, link=link if link else None)
        if number in late:
            links.append(new)
            return b"", False
        before = [composed(folders[parent]) for parent in _missing(path, folders, written)]
        if header.kind is DIRECTORY:
            if path in written:
                return b"".join(before), False
            written.add(path)
        return b"".join((*before, new)), True

    chunks = part.layer.chunks()
    yield from _carried(Stream(chunks), anew)


def _missing(path: bytes, folders: Mapping[bytes, Header], written: set[bytes]) -> list[bytes]:
    """The folders on the way to a path that are to be written before it."""
    missing: list[bytes] = []
    while path:
        path = path[: max(path.rfind(b"/"), 0)]
        if path in written:
            break
        if path in folders:
            written.add(path)
            missing.append(path)
    return missing[::-1]


def _carried(source: Stream, anew: Anew) -> Iterator[bytes]:
    """The members of a tar as `anew` has them, in chunks of about 1 MiB."""
    at = source.at
    pending: list[bytes] = []
    held = 0
    for header, raw in walk(source):
        new, content = anew(header, raw)
        pending.append(new)
        held += len(new)
        if content is True:
            offset = header.data
            left = padded(header.stored)
            while left:
                chunk = at(offset, min(left, CHUNK))
                if not chunk:
                    raise RewriteError(f"the layer ends within the member at byte {header.start}")
                pending.append(chunk)
                held += len(chunk)
                offset += len(chunk)
                left -= len(chunk)
                if held >= CHUNK:
                    yield b"".join(pending)
                    pending.clear()
                    held = 0
        elif content is not False:
            yield b"".join(pending)
            pending.clear()
            held = 0
            if isinstance(content, Splice):
                yield from spliced(_Content(source, header), content)
                yield bytes(padded(content.size) - content.size)
            else:
                yield from content
        elif held >= CHUNK:
            yield b"".join(pending)
            pending.clear()
            held = 0
    source.drain()
    yield b"".join(pending)


def _globals(raw: bytes) -> bytes:
    """Global headers stand before a member but are not its own."""
    at = 0
    while raw[at + 156 : at + 157] == b"g":
        at += BLOCK + padded(int(raw[at + 124 : at + 135], 8))
    return raw[:at]


class _Content:
    """One member's content as a file that is read forwards."""

    __slots__ = ("_left", "_offset", "_source")

    def __init__(self, source: Stream, header: Header) -> None:
        self._source = source
        self._offset = header.data
        self._left = header.stored

    def read(self, length: int, /) -> bytes:
        chunk = self._source.at(self._offset, min(length, self._left, CHUNK))
        self._offset += len(chunk)
        self._left -= len(chunk)
        return chunk


def added(additions: Iterable[Addition]) -> Iterator[bytes]:
    """Members that the image did not have."""
    for addition in additions:
        header = addition.header
        yield composed(header)
        if addition.open is None:
            continue
        left = header.size
        with addition.open() as file:
            while left:
                chunk = file.read(min(left, CHUNK))
                if not chunk:
                    raise RewriteError(f"the new content of {header.path!r} ends too soon")
                yield chunk
                left -= len(chunk)
        yield bytes(padded(header.size) - header.size)
