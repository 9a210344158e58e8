"""Layers as they lie in files: a part of a file that holds a tar, plain or compressed."""

from __future__ import annotations

import os
import stat
import tempfile
from contextlib import closing, contextmanager
from dataclasses import dataclass
from io import BufferedReader
from typing import TYPE_CHECKING, BinaryIO, cast

from slimmer.errors import SlimmerError
from slimmer.image import Digest, ImageError
from slimmer.stores.decompression import PACKED, Reader, checked, format_of, verified
from slimmer.tar.fields import TarError
from slimmer.tar.reading import Stream, Window, walk

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Iterator
    from contextlib import AbstractContextManager

    from slimmer.image import Read, Want
    from slimmer.tar.reading import Forward, Header

ENTRIES = 8_000_000
"""Members that one layer may have: eight times more than any image should need to hold."""


class MediumError(SlimmerError):
    """A file, folder or engine that cannot be read."""


@dataclass(frozen=True, slots=True)
class Extent:
    """A part of a file that must stay as it was when it was first looked at."""

    path: str
    start: int
    length: int
    identity: tuple[int, int, int]
    """The file's size in bytes, modification time in nanoseconds, and inode number."""

    @classmethod
    def whole(cls, path: str) -> Extent:
        """All of a regular file; raises MediumError where there is none to read."""
        with _opened(path) as fd:
            status = os.fstat(fd)
            if not stat.S_ISREG(status.st_mode):
                raise MediumError(f"{path} is no regular file")
            return cls(path, 0, status.st_size, _identity(status))

    def part(self, start: int, length: int) -> Extent:
        return Extent(self.path, self.start + start, length, self.identity)

    @contextmanager
    def opened(self) -> Iterator[int]:
        """A descriptor of the file, for `pread`."""
        with _opened(self.path) as fd:
            if _identity(os.fstat(fd)) != self.identity:
                raise MediumError(
                    f"{self.path} has changed while it was being read", hint="run the command again"
                )
            yield fd

    def read(self, limit: int, what: str) -> bytes:
        """All of it, which must not be more than `limit` bytes."""
        if self.length > limit:
            raise ImageError(f"{what} has {self.length} bytes, at most {limit} are expected")
        with self.opened() as fd:
            content = os.pread(fd, self.length, self.start)
        if len(content) < self.length:
            raise ImageError(
                f"{what} ends too soon", hint=f"{self.path} is truncated; save the image again"
            )
        return content

    def chunks(self, size: int = PACKED) -> Generator[bytes]:
        """All of it in order."""
        with self.opened() as fd:
            at, end = self.start, self.start + self.length
            while at < end:
                chunk = os.pread(fd, min(size, end - at), at)
                if not chunk:
                    return
                at += len(chunk)
                yield chunk


@contextmanager
def _opened(path: str) -> Iterator[int]:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        raise MediumError(f"there is no file {path}") from None
    except OSError as error:
        raise MediumError(f"cannot read {path}: {error.strerror}") from None
    try:
        yield fd
    except OSError as error:
        raise MediumError(f"cannot read {path}: {error.strerror}") from None
    finally:
        os.close(fd)


def _identity(status: os.stat_result) -> tuple[int, int, int]:
    return status.st_size, status.st_mtime_ns, status.st_ino


@contextmanager
def tar_errors(name: str) -> Iterator[None]:
    """Say in which layer a tar is damaged."""
    try:
        yield
    except TarError as error:
        raise ImageError(f"{name}: {error.message}", hint=error.hint) from None


def too_short(name: str, header: Header, length: int) -> ImageError:
    return ImageError(
        f"{name} ends too soon: its last member needs {header.data + header.stored} bytes, "
        f"there are {length}",
        hint="the layer is truncated; save or pull the image again",
    )


def too_many(name: str) -> ImageError:
    return ImageError(
        f"{name} has more than {ENTRIES} members: stopped",
        hint="such a layer is made to fill the memory of who reads it",
    )


def members(source: Forward, want: Want, name: str) -> Iterator[tuple[Header, bytes | None]]:
    """Every member of a tar with as much content as is wanted; the loop that all media share."""
    at = source.at
    count = 0
    with tar_errors(name):
        for header, _ in walk(source):
            wanted = want(header)
            yield header, at(header.data, min(wanted, header.stored)) if wanted else None
            count += 1
            if count > ENTRIES:
                raise too_many(name)


@dataclass(frozen=True, slots=True)
class PlainContent:
    """A tar that lies in a file as it is: walked from header to header, contents left alone."""

    extent: Extent
    name: str
    diff_id: Digest
    digest: Digest | None = None
    """Digest by which the medium names these bytes, where it names them."""

    random_access = True

    @property
    def cache_key(self) -> str:
        # The bytes are not checked against diff_id, so another file that only claims to hold
        # this layer must not be taken for it.
        extent = self.extent
        file = ",".join(map(str, (*extent.identity, extent.start, extent.length)))
        return f"{self.diff_id}@{file}"

    def members(self, want: Want) -> Iterator[tuple[Header, bytes | None]]:
        extent = self.extent
        last = None
        with extent.opened() as fd:
            for last, content in members(Window(fd, extent.start, extent.length), want, self.name):
                yield last, content
        if last is not None and last.data + last.stored > extent.length:
            raise too_short(self.name, last, extent.length)

    def files(self, headers: Iterable[Header]) -> Iterator[tuple[Header, Read]]:
        with self.extent.opened() as fd:
            for header in sorted(headers, key=lambda header: header.data):
                yield header, _reader(fd, self.extent.start + header.data, header.stored)

    @contextmanager
    def walkable(self) -> Iterator[Forward]:
        with self.extent.opened() as fd:
            yield Window(fd, self.extent.start, self.extent.length)

    def open(self) -> AbstractContextManager[BinaryIO]:
        what = "is a tar with the digest"
        return as_file(verified(self.extent.chunks(), self.name, what, self.diff_id))

    def tar_length(self) -> int:
        return self.extent.length

    def open_blob(self) -> AbstractContextManager[BinaryIO] | None:
        if self.digest is None:
            return None
        return as_file(verified(self.extent.chunks(), self.name, "has the digest", self.digest))


@dataclass(frozen=True, slots=True)
class PackedContent:
    """A compressed tar in a file: decompressed once, from front to back, and checked."""

    extent: Extent
    name: str
    diff_id: Digest
    digest: Digest | None = None
    size: int | None = None
    """Length of the blob in bytes as its manifest says it."""
    limit: int | None = None
    """Bytes that it may expand to; None for a generous rule."""

    random_access = False

    @property
    def cache_key(self) -> str:
        return self.diff_id

    def _chunks(self) -> Generator[bytes]:
        return checked(
            self.extent.chunks(),
            self.name,
            self.extent.length,
            self.digest,
            self.size,
            self.diff_id,
            self.limit,
        )

    def members(self, want: Want) -> Iterator[tuple[Header, bytes | None]]:
        with closing(self._chunks()) as chunks:
            source = Stream(chunks)
            last = None
            for last, content in members(source, want, self.name):
                yield last, content
            length = source.drain()
        if last is not None and last.data + last.stored > length:
            raise too_short(self.name, last, length)

    def files(self, headers: Iterable[Header]) -> Iterator[tuple[Header, Read]]:
        with closing(self._chunks()) as chunks:
            yield from copied(Stream(chunks), headers, self.name)

    @contextmanager
    def walkable(self) -> Iterator[Forward]:
        with closing(self._chunks()) as chunks:
            yield Stream(chunks)

    def open(self) -> AbstractContextManager[BinaryIO]:
        return as_file(self._chunks())

    def tar_length(self) -> None:
        return None

    def open_blob(self) -> AbstractContextManager[BinaryIO]:
        return as_file(
            verified(self.extent.chunks(), self.name, "has the digest", self.digest, self.size)
        )


@contextmanager
def as_file(chunks: Generator[bytes]) -> Iterator[BinaryIO]:
    with closing(chunks):
        yield cast("BinaryIO", BufferedReader(Reader(chunks), PACKED))


def copied(source: Stream, headers: Iterable[Header], name: str) -> Iterator[tuple[Header, Read]]:
    """Random access where there is none: one file at a time lies in an unlinked temporary file."""
    for header in sorted(headers, key=lambda header: header.data):
        with tempfile.TemporaryFile(prefix="slimmer-") as file:
            at, end = header.data, header.data + header.stored
            while at < end:
                part = source.at(at, min(PACKED, end - at))
                if not part:
                    raise too_short(name, header, at)
                file.write(part)
                at += len(part)
            file.flush()
            yield header, _reader(file.fileno(), 0, header.stored)


def _reader(fd: int, start: int, stored: int) -> Read:
    def read(offset: int, length: int) -> bytes:
        return os.pread(fd, max(0, min(length, stored - offset)), start + offset)

    return read


def content(
    extent: Extent,
    name: str,
    diff_id: Digest,
    digest: Digest | None = None,
    size: int | None = None,
    limit: int | None = None,
) -> PlainContent | PackedContent:
    """A layer in a file, whichever way its first bytes say that it is stored."""
    if not extent.length and diff_id != Digest.of(b"", diff_id.algorithm):
        raise ImageError(f"{name} is empty", hint="it is truncated; save or pull the image again")
    start = extent.part(0, min(6, extent.length)).read(6, name)
    if format_of(start) == "none":
        if size is not None and size != extent.length:
            raise ImageError(
                f"{name} has {extent.length} bytes, its manifest says {size}",
                hint="the bytes are not the ones that the image names; pull or save it again",
            )
        if digest is not None and digest != diff_id and digest.algorithm == diff_id.algorithm:
            raise ImageError(
                f"{name} is a plain tar, so that is its digest; the config names {diff_id}",
                hint="manifest and config are not of the same image; pull or save it again",
            )
        return PlainContent(extent, name, diff_id, digest)
    return PackedContent(extent, name, diff_id, digest, size, limit)
