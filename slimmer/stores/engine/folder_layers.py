"""Layers as Docker's engine keeps them: the tar without its contents, and the files laid out.

Docker takes a layer's tar apart when it arrives: `tar-split.json.gz` (github.com/vbatts/tar-split)
holds every byte that is no file's content, in order; the contents lie as files in a folder. Put
together they give back the same tar, byte for byte.
"""

from __future__ import annotations

import binascii
import errno
import json
import os
import re
import stat
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO

from slimmer.image import ImageError
from slimmer.placement import resolve
from slimmer.stores.content import Extent, MediumError, as_file, members
from slimmer.stores.decompression import PACKED, decompressed, verified
from slimmer.tar.reading import normalised

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator

    from slimmer.image import Digest, Read, Want
    from slimmer.tar.reading import Forward, Header

    Content = Callable[[bytes, int, int], bytes]
    """`content(path, offset, length)`: part of a file's content."""

SEGMENT = b'{"type":2,"payload":"'
SIZE = re.compile(rb'"size":(\d+)').search


def zeros(path: bytes, offset: int, length: int) -> bytes:
    """In place of a file's content, for whoever reads headers alone."""
    return bytes(length)


class Split:
    """A tar put together again: a `Forward` over raw segments and, between them, files."""

    __slots__ = ("_content", "_from", "_gap", "_held", "_length", "_lines", "_next", "name")

    def __init__(self, packed: Iterator[bytes], content: Content, name: str) -> None:
        self.name = name
        self._content = content
        self._lines = _lines(packed, name)
        self._held = b""
        self._gap: bytes | None = None
        """The line that tells of the file in the current gap; None within a raw segment."""
        self._from = 0
        self._length = 0
        self._next: tuple[bytes, int, bytes | None] | None = None

    def _element(self) -> tuple[bytes, int, bytes | None] | None:
        """What comes next: raw bytes, or the length of a file's content and the line about it."""
        if self._next is not None:
            element, self._next = self._next, None
            return element
        try:
            for line in self._lines:
                if line.startswith(SEGMENT):
                    raw = binascii.a2b_base64(line[21 : line.index(b'"', 21)])
                elif line.startswith(b'{"type":1,'):
                    # a quote within a name is escaped, so that this finds the field alone
                    size = SIZE(line)
                    if size is None:
                        continue
                    return b"", int(size[1]), line
                else:
                    fields = json.loads(line)
                    if fields["type"] == 1:
                        if not fields.get("size"):
                            continue
                        return b"", int(fields["size"]), line
                    raw = binascii.a2b_base64(fields["payload"] or "")
                if raw:
                    return raw, len(raw), None
        except (ValueError, KeyError, TypeError) as error:
            raise ImageError(
                f"the engine's record of {self.name} is damaged: {error}",
                hint="remove the image from the engine and pull it again",
            ) from None
        return None

    def _advance(self) -> bool:
        element = self._element()
        if element is None:
            return False
        self._from += self._length
        self._held, self._length, self._gap = element
        return True

    def at(self, offset: int, length: int) -> bytes:
        at = offset - self._from
        while at >= self._length:
            if not self._advance():
                return b""
            at = offset - self._from
        if self._gap is not None:
            return self._content(_path(self._gap), at, min(length, self._length - at))
        while at + length > self._length:
            element = self._element()
            if element is None:
                break
            if element[2] is not None:
                self._next = element
                break
            self._held += element[0]
            self._length = len(self._held)
        return self._held[at : at + length]

    def end(self) -> int:
        """Length of the whole tar; nothing can be read afterwards."""
        while self._advance():
            pass
        return self._from + self._length

    def chunks(self) -> Iterator[bytes]:
        """All of the tar in order."""
        parts: list[bytes] = []
        size = 0
        while self._advance():
            if self._gap is None:
                parts.append(self._held)
                size += self._length
            else:
                path = _path(self._gap)
                at = 0
                while at < self._length:
                    part = self._content(path, at, min(PACKED, self._length - at))
                    if not part:
                        raise ImageError(f"{path!r:.200} of {self.name} ends too soon")
                    at += len(part)
                    parts.append(part)
                    size += len(part)
                    if size >= PACKED:
                        yield b"".join(parts)
                        parts, size = [], 0
            if size >= PACKED:
                yield b"".join(parts)
                parts, size = [], 0
        if parts:
            yield b"".join(parts)


def _lines(packed: Iterator[bytes], name: str) -> Iterator[bytes]:
    rest = b""
    with closing(decompressed(packed, f"the engine's record of {name}")) as chunks:
        for chunk in chunks:
            lines = (rest + chunk).split(b"\n")
            rest = lines.pop()
            yield from lines
    if rest:
        yield rest


def _path(line: bytes) -> bytes:
    """The path of the file that a line tells of."""
    fields = json.loads(line)
    raw = fields.get("name_raw")
    name = binascii.a2b_base64(raw) if raw else fields["name"].encode("utf-8", "surrogateescape")
    return normalised(name)


class Tree:
    """Files of a folder that an image filled: no symlink in it leads anywhere.

    Each name on the way is opened by itself, so that the folder's owner, the image, cannot send
    us to a file of this machine.
    """

    __slots__ = ("_directory", "_file", "_root")

    def __init__(self, root: str) -> None:
        self._root = root
        self._directory: tuple[bytes, int] | None = None
        self._file: tuple[bytes, int] | None = None

    def close(self) -> None:
        for held in (self._directory, self._file):
            if held is not None:
                os.close(held[1])
        self._directory = self._file = None

    def _parent(self, directory: bytes) -> int:
        if self._directory is not None:
            if self._directory[0] == directory:
                return self._directory[1]
            os.close(self._directory[1])
            self._directory = None
        flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
        fd = os.open(self._root, flags)
        for part in directory.split(b"/") if directory else ():
            try:
                below = os.open(part, flags, dir_fd=fd)
            finally:
                os.close(fd)
            fd = below
        self._directory = directory, fd
        return fd

    def open(self, path: bytes) -> int:
        """A descriptor of a regular file, valid until the next call."""
        if self._file is not None:
            if self._file[0] == path:
                return self._file[1]
            os.close(self._file[1])
            self._file = None
        try:
            try:
                fd = self._open(path)
            except OSError as error:
                if error.errno not in (errno.ELOOP, errno.ENOTDIR):
                    raise
                # A layer may put a file behind a symlink of its own; what it unpacks to lies there.
                directory, _, name = path.rpartition(b"/")
                fd = self._open(resolve(directory, self._link) + b"/" + name)
        except OSError as error:
            raise MediumError(
                f"cannot read {path!r:.200} in the engine's folder: {error.strerror}",
                hint="run as root, or save the image to an archive and name that",
            ) from None
        self._file = path, fd
        if not stat.S_ISREG(os.fstat(fd).st_mode) or _elsewhere(fd):
            raise MediumError(
                f"the content of {path!r:.200} is not in the engine's folder of its layer",
                hint="save the image to an archive and name that",
            )
        return fd

    def _open(self, path: bytes) -> int:
        directory, _, name = path.rpartition(b"/")
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
        return os.open(name, flags, dir_fd=self._parent(directory))

    def _link(self, path: bytes) -> bytes | None:
        directory, _, name = path.rpartition(b"/")
        try:
            return os.readlink(name, dir_fd=self._parent(directory))
        except OSError as error:
            if error.errno == errno.EINVAL:  # no symlink
                return None
            raise

    def read(self, path: bytes, offset: int, length: int) -> bytes:
        return os.pread(self.open(path), length, offset)


def _elsewhere(fd: int) -> bool:
    """Whether overlayfs keeps only the attributes here and the content in a lower layer."""
    for name in ("trusted.overlay.metacopy", "user.overlay.metacopy"):
        try:
            os.getxattr(fd, name)
        except OSError as error:
            if error.errno not in (errno.ENODATA, errno.ENOTSUP, errno.EPERM):
                raise
        else:
            return True
    return False


def nothing(path: bytes, offset: int, length: int) -> bytes:
    """No content: for who asks a record for headers and lengths alone."""
    return b""


@dataclass(frozen=True, slots=True)
class FolderContent:
    """A layer in an engine's own folders, which this process may read."""

    split: str
    """Path of `tar-split.json.gz`."""
    folder: str
    """Path of the folder with the layer's files."""
    diff_id: Digest

    random_access = True

    @property
    def name(self) -> str:
        return f"layer {self.diff_id}"

    @property
    def cache_key(self) -> str:
        return self.diff_id  # the engine checked it when the layer came in

    @contextmanager
    def _split(self) -> Iterator[Split]:
        with (
            closing(Tree(self.folder)) as tree,
            closing(Extent.whole(self.split).chunks()) as packed,
        ):
            yield Split(packed, tree.read, self.name)

    def members(self, want: Want) -> Iterator[tuple[Header, bytes | None]]:
        with self._split() as split:
            yield from members(split, want, self.name)

    def files(self, headers: Iterable[Header]) -> Iterator[tuple[Header, Read]]:
        with closing(Tree(self.folder)) as tree:
            for header in sorted(headers, key=lambda header: header.data):
                fd = tree.open(header.path)

                def read(offset: int, length: int, fd: int = fd) -> bytes:
                    return os.pread(fd, length, offset)

                yield header, read

    @contextmanager
    def walkable(self) -> Iterator[Forward]:
        with closing(Extent.whole(self.split).chunks()) as packed:
            yield Split(packed, zeros, self.name)

    def _chunks(self) -> Generator[bytes]:
        with self._split() as split:
            yield from split.chunks()

    def open(self) -> AbstractContextManager[BinaryIO]:
        what = "is a tar with the digest"
        return as_file(verified(self._chunks(), self.name, what, self.diff_id))

    def tar_length(self) -> int:
        with closing(Extent.whole(self.split).chunks()) as packed:
            return Split(packed, nothing, self.name).end()

    def open_blob(self) -> AbstractContextManager[BinaryIO] | None:
        return None
