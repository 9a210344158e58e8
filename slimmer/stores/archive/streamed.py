"""Archives that can only be read from front to back: compressed ones, and an engine's export.

The lists and configs that say what the layers are mostly come last. So the first pass scans
everything that could be a layer as it goes by; the contents that are wanted are kept at once
where it is known what that will be, and otherwise take a second pass. Nothing is written to disk.
"""

from __future__ import annotations

import marshal
import threading
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, BinaryIO

from slimmer.errors import SlimmerError
from slimmer.image import Descriptor, Digest, ImageError
from slimmer.stores.cache import FORMAT
from slimmer.stores.content import MediumError, as_file, copied, members, too_short
from slimmer.stores.decompression import (
    PACKED,
    Hasher,
    checked,
    format_of,
    verified,
)
from slimmer.stores.oci import DOCUMENT
from slimmer.tar.fields import TarError
from slimmer.tar.reading import FILE, Forward, Header, Stream, walk

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator

    from slimmer.evidence import Evidence
    from slimmer.image import Read, Want
    from slimmer.stores.cache import Cache
    from slimmer.stores.content import Extent

    Source = Callable[[], Generator[bytes]]
    """Begins the archive, uncompressed, from its first byte anew."""
    Scan = list[tuple[Header, bytes | None]]

PARTS = 100_000
"""Members that an archive of images may have; real ones have a few dozen."""
DOCUMENTS = 256 << 20
"""Bytes that all small files of an archive may have together."""


@dataclass(frozen=True, slots=True)
class Sums:
    """What a file of the archive was found to be."""

    blob: str
    """sha256 of the file as it lies in the archive, in hexadecimal digits."""
    tar: str
    """sha256 of the tar in it, decompressed; empty where it is no tar."""
    compressed: bool
    problem: str
    """Why it cannot be read as a tar, or empty."""


@dataclass(slots=True)
class Streamed:
    """The files of an archive that was read once."""

    source: Source
    name: str
    limit: int | None
    headers: dict[bytes, Header]
    documents: dict[bytes, bytes]
    sums: dict[bytes, Sums]
    _scans: dict[bytes, Scan] = field(default_factory=dict)
    _want: Want | None = None
    """What the contents in `_scans` were kept for; None where only headers are there."""
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @classmethod
    def of(
        cls,
        source: Source,
        name: str,
        evidence: Evidence | None = None,
        limit: int | None = None,
        cache: Cache | None = None,
        key: str = "",
    ) -> Streamed:
        """Read an archive once; `key` identifies it for the cache, where it can be."""
        archive = cls(source, name, limit, {}, {}, {})
        if cache is not None and key:
            kept = cache.get(f"streamed {FORMAT} {key}")
            if kept is not None:
                headers, documents, sums = marshal.loads(kept)
                archive.headers = {row[0]: Header._make(row) for row in headers}
                archive.documents = documents
                archive.sums = {path: Sums(*row) for path, row in sums.items()}
                return archive
        archive._scan(evidence.want if evidence else None)
        if cache is not None and key:
            sums = {
                path: (found.blob, found.tar, found.compressed, found.problem)
                for path, found in archive.sums.items()
            }
            rows = [tuple(header) for header in archive.headers.values()]
            cache.put(f"streamed {FORMAT} {key}", marshal.dumps((rows, archive.documents, sums)))
        return archive

    def read(self, header: Header, what: str) -> bytes:
        if header.path not in self.documents:
            raise ImageError(f"{what} is no JSON document of at most {DOCUMENT} bytes")
        return self.documents[header.path]

    def layer(
        self, header: Header, name: str, diff_id: Digest, descriptor: Descriptor | None
    ) -> StreamedContent:
        sums = self.sums.get(header.path)
        if sums is None:
            raise ImageError(f"{name} is no tar", hint="the archive is damaged; save it again")
        if sums.problem:
            raise ImageError(sums.problem, hint="the layer is damaged; save the image again")
        hint = "the bytes are not the ones that the image names; pull or save it again"
        named = descriptor.digest if descriptor else None
        if named is not None and named.algorithm == "sha256" and named.hex != sums.blob:
            raise ImageError(f"{name} has the digest sha256:{sums.blob}, not {named}", hint=hint)
        if descriptor is not None and descriptor.size != header.stored:
            raise ImageError(
                f"{name} has {header.stored} bytes, its manifest says {descriptor.size}", hint=hint
            )
        if diff_id.algorithm == "sha256" and sums.tar != diff_id.hex:
            raise ImageError(
                f"{name} holds a tar with the digest sha256:{sums.tar}, not {diff_id}", hint=hint
            )
        return StreamedContent(self, header, name, diff_id, named)

    def compressed(self, header: Header) -> bool:
        sums = self.sums.get(header.path)
        return sums is not None and sums.compressed

    def scan(self, path: bytes, want: Want) -> Scan:
        """A layer's members with what is wanted of their contents."""
        with self._lock:
            kept = self._scans.get(path)
            if kept is not None and self._want != want:
                if not any(want(header) for header, _ in kept):
                    return [(header, None) for header, _ in kept]
                kept = None
            if kept is None:
                self._scan(want)
            return self._scans[path]

    def _scan(self, want: Want | None) -> None:
        """One pass over all of the archive."""
        self._scans.clear()
        total = 0
        for header, chunks in self.parts():
            self.headers[header.path] = header
            if len(self.headers) > PARTS:
                raise ImageError(f"{self.name} has more than {PARTS} members: no archive of images")
            if header.kind != FILE:
                continue
            start = next(chunks, b"")
            if start.lstrip()[:1] in (b"{", b"[") and b"\0" not in start[:512]:
                if header.stored <= DOCUMENT:
                    self.documents[header.path] = b"".join((start, *chunks))
                    total += header.stored
                if total > DOCUMENTS:
                    raise ImageError(f"{self.name} has more documents than any archive of images")
            elif header.stored >= 18:  # an empty gzip file; a tar is never shorter than 512 bytes
                sums, scan = self._part(header, _with(start, chunks), want)
                self.sums[header.path] = sums
                self._scans[header.path] = scan
        self._want = want

    def _part(
        self, header: Header, chunks: Iterator[bytes], want: Want | None
    ) -> tuple[Sums, Scan]:
        """Scan a file that may be a layer."""
        name = f"layer {header.path.decode('utf-8', 'backslashreplace')[:120]}"
        first = next(chunks, b"")
        compressed = format_of(first) != "none"
        blob = Hasher("sha256")
        tar = Hasher("sha256") if compressed else None
        scan: Scan = []
        problem = ""
        try:
            content: Generator[bytes] = blob.tee(_with(first, chunks))
            if compressed:
                content = checked(content, name, header.stored, None, None, None, self.limit)
            with closing(content):
                source = Stream(tar.tee(content) if tar else content)
                scan += members(source, want or _nothing, name)
                length = source.drain()
            if scan and scan[-1][0].data + scan[-1][0].stored > length:
                problem = too_short(name, scan[-1][0], length).message
        except MediumError:
            raise
        except SlimmerError as error:
            problem = error.message
        finally:
            found = blob.close()
            of_tar = tar.close() if tar else found
        return Sums(found, of_tar, compressed, problem), scan

    def parts(self) -> Generator[tuple[Header, Iterator[bytes]]]:
        """Every member of the archive with its content, to be read before the next."""
        with closing(self.source()) as chunks:
            stream = Stream(chunks)
            try:
                for header, _ in walk(stream):
                    yield header, _content(stream, header, self.name)
            except TarError as error:
                raise ImageError(
                    f"{self.name} is no image: {error.message}",
                    hint="name an archive as `docker save` or `skopeo copy` write it",
                ) from None
            stream.drain()


def _content(stream: Stream, header: Header, name: str) -> Iterator[bytes]:
    at, end = header.data, header.data + header.stored
    while at < end:
        chunk = stream.at(at, min(PACKED, end - at))
        if not chunk:
            raise MediumError(
                f"{name} ends too soon, at byte {at}", hint="it is truncated; save the image again"
            )
        at += len(chunk)
        yield chunk


def _with(first: bytes, chunks: Iterator[bytes]) -> Iterator[bytes]:
    if first:
        yield first
    yield from chunks


def _nothing(header: Header) -> int:
    return 0


@dataclass(frozen=True, slots=True)
class StreamedContent:
    """A layer of an archive that can only be read from front to back; its digest was checked."""

    archive: Streamed
    header: Header
    name: str
    diff_id: Digest
    digest: Digest | None

    random_access = False

    @property
    def cache_key(self) -> str:
        return self.diff_id

    def members(self, want: Want) -> Iterator[tuple[Header, bytes | None]]:
        yield from self.archive.scan(self.header.path, want)

    def _blob(self) -> Generator[bytes]:
        """The file in the archive: another pass, up to its end."""
        with closing(self.archive.parts()) as parts:
            for header, chunks in parts:
                if header.start == self.header.start:
                    yield from chunks
                    return
        raise MediumError(f"{self.name} is no longer there", hint="run the command again")

    def _tar(self) -> Generator[bytes]:
        return checked(
            self._blob(),
            self.name,
            self.header.stored,
            None,
            None,
            self.diff_id,
            self.archive.limit,
        )

    def files(self, headers: Iterable[Header]) -> Iterator[tuple[Header, Read]]:
        with closing(self._tar()) as chunks:
            yield from copied(Stream(chunks), headers, self.name)

    @contextmanager
    def walkable(self) -> Iterator[Forward]:
        with closing(self._tar()) as chunks:
            yield Stream(chunks)

    def open(self) -> AbstractContextManager[BinaryIO]:
        return as_file(self._tar())

    def tar_length(self) -> int | None:
        sums = self.archive.sums[self.header.path]
        return None if sums.compressed else self.header.stored

    def open_blob(self) -> AbstractContextManager[BinaryIO] | None:
        if self.digest is None:
            return None
        return as_file(verified(self._blob(), self.name, "has the digest", self.digest))


def file_source(extent: Extent, limit: int | None) -> Source:
    """A compressed archive in a file."""

    def begin() -> Generator[bytes]:
        return checked(extent.chunks(), extent.path, extent.length, None, None, None, limit)

    return begin
