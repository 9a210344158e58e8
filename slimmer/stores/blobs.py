"""One layer from its source to its blob: read, edited, hashed, compressed, hashed, written, once.

Reading (with its check) runs on a thread of its own, so does each digest, and compression on as
many as there are cores; no more than a few mebibytes wait between them.
"""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO, Protocol

from slimmer.image import Digest
from slimmer.stores.compression import Packing
from slimmer.stores.decompression import Hasher, ahead

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

    from slimmer.edits.drafts import AnyLayer, Draft
    from slimmer.image import Descriptor, Layer
    from slimmer.stores.compression import Compression

CHUNK = 1 << 20
"""Bytes of a blob that are read at a time."""


class Sink(Protocol):
    """Where blobs go."""

    def size_of(self, digest: Digest) -> int | None:
        """Length of a blob that is there already, or None."""
        ...

    def put(self, chunks: Iterator[bytes], digest: Callable[[], Digest]) -> tuple[Digest, int]:
        """Write a blob, whose digest is known once all of its chunks were taken; its length."""
        ...


@dataclass(frozen=True, slots=True)
class Poured:
    """A layer that was written."""

    diff_id: Digest
    digest: Digest
    """Of the blob."""
    size: int
    """Bytes of the blob."""
    format: Compression
    source: Descriptor | None
    """The blob that it is the same as; None for a new one."""
    reused: bool
    """Whether the layer is one of the source, unchanged."""


class Meter:
    """Tells how many bytes went by, of how many."""

    def __init__(self, total: int, tell: Callable[[int, int], None]) -> None:
        self._total = total
        self._tell = tell
        self._done = 0

    @classmethod
    def of(cls, draft: Draft, tell: Callable[[int, int], None]) -> Meter:
        return cls(sum(_expected(layer) for layer in draft.layers), tell)

    def count(self, chunks: Iterator[bytes]) -> Generator[bytes]:
        """The same chunks, told of as they go by."""
        for chunk in chunks:
            self._done += len(chunk)
            self._total = max(self._total, self._done)
            self._tell(self._done, self._total)
            yield chunk

    def skip(self, layer: AnyLayer) -> None:
        """Tell of a layer that need not be read."""
        self._done += _expected(layer)
        self._total = max(self._total, self._done)
        self._tell(self._done, self._total)


def _expected(layer: AnyLayer) -> int:
    """About how many bytes will be read of a layer."""
    kept = layer.kept
    if layer.length is not None:
        return layer.length
    if kept is not None and kept.descriptor is not None:
        return kept.descriptor.size
    if layer.size is None and kept is not None:
        return kept.content.tar_length() or 0
    return layer.size or 0


def format_of(descriptor: Descriptor) -> Compression:
    """How a blob is compressed by its media type."""
    match descriptor.media_type[-4:]:
        case "gzip":
            return "gzip"
        case "zstd":
            return "zstd"
    return "none"


def pour(
    layer: AnyLayer, sink: Sink, packing: Packing, meter: Meter, *, keep: Compression | None
) -> Poured:
    """Write one layer.

    A layer that keeps its bytes keeps its blob too, where the source has one of the format `keep`
    (of any format for None); every other is compressed anew.
    """
    kept = layer.kept
    blob = kept.descriptor if kept is not None else None
    if kept is not None and blob is not None and keep in (None, format_of(blob)):
        poured = _copied(layer, kept, blob, sink, meter)
        if poured is not None:
            return poured
    if kept is not None and packing.format == "none" and kept.diff_id.algorithm == "sha256":
        # The source checks the tar against its diff_id, so it need not be hashed once more.
        size = sink.size_of(kept.diff_id)
        if size is None:
            with closing(ahead(_chunks(layer))) as chunks:
                _, size = sink.put(meter.count(chunks), lambda: kept.diff_id)
        else:
            meter.skip(layer)
        return Poured(kept.diff_id, kept.diff_id, size, "none", None, reused=True)
    tar = Hasher("sha256")
    packed = Hasher("sha256") if packing.format != "none" else None
    try:
        with closing(ahead(_chunks(layer))) as chunks:
            stream = packing.compressed(tar.tee(meter.count(chunks)))
            digest, size = sink.put(
                packed.tee(stream) if packed else stream,
                lambda: Digest("sha256:" + (packed or tar).close()),
            )
    finally:
        diff_id = Digest("sha256:" + tar.close())
        if packed:
            packed.close()
    if kept is not None and kept.diff_id.algorithm != "sha256":
        diff_id = kept.diff_id
    return Poured(diff_id, digest, size, packing.format, None, reused=kept is not None)


def _copied(
    layer: AnyLayer, kept: Layer, blob: Descriptor, sink: Sink, meter: Meter
) -> Poured | None:
    """The very blob of the source; None where its medium cannot hand it out."""
    if sink.size_of(blob.digest) == blob.size:
        meter.skip(layer)
    else:
        opened = kept.content.open_blob()
        if opened is None:
            return None
        with opened as file, closing(ahead(_read(file))) as chunks:
            sink.put(meter.count(chunks), lambda: blob.digest)
    return Poured(kept.diff_id, blob.digest, blob.size, format_of(blob), blob, reused=True)


def _chunks(layer: AnyLayer) -> Generator[bytes]:
    yield from layer.chunks()


def _read(file: BinaryIO) -> Generator[bytes]:
    while chunk := file.read(CHUNK):
        yield chunk


__all__ = ["Meter", "Packing", "Poured", "Sink", "format_of", "pour"]
