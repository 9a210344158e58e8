"""Blobs and what is in them: decompressed as a stream, checked on the way, on every core there is.

Formats: gzip (RFC 1952) with any number of members, as eStargz makes them; Zstandard (RFC 8878)
with any number of frames, skippable ones included, as zstd:chunked makes them; xz and bzip2 for
whole archives; and none at all. The first bytes tell which, whatever a media type claims.
"""

from __future__ import annotations

import hashlib
import io
import queue
import threading
from contextlib import closing, suppress
from itertools import chain
from typing import TYPE_CHECKING, Any, Literal, Protocol, cast

from slimmer.image import ImageError

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

    from slimmer.image import Digest

Format = Literal["gzip", "zstd", "xz", "bzip2", "none"]

PACKED = 512 << 10
"""Bytes of a blob that are read at a time."""
UNPACKED = 512 << 10
"""Bytes of decompressed output in one chunk at most.

Measured with all threads at work: 1.6 s for 1.5 GiB of output, where igzip alone takes 1.6 s.
Chunks of 1 MiB cost up to 0.6 s more, since malloc gives them back to the system and has them
faulted in again; chunks of 128 KiB cost 0.2 s more, for the hand-overs between threads.
"""
DEPTH = 8
"""Chunks that wait between two threads at most."""
EXPANSION_FLOOR = 16 << 30
"""Bytes that any layer may expand to, however small its blob is."""
EXPANSION_RATIO = 200
"""How many times its own size a blob may expand to above that floor.

gzip gets to 1032, Zstandard to many thousands; but only with bytes that say nothing. A real layer
compresses 2 to 5 times, one of sparse text or zero-filled tables perhaps 50 times.
"""


def format_of(start: bytes) -> Format:
    """How a blob that starts with these bytes (six are enough) is compressed."""
    if start.startswith(b"\x1f\x8b"):
        return "gzip"
    if start.startswith(b"\x28\xb5\x2f\xfd") or _skippable(start):
        return "zstd"
    if start.startswith(b"\xfd7zXZ\0"):
        return "xz"
    if start.startswith(b"BZh") and start[3:4].isdigit():
        return "bzip2"
    return "none"


def _skippable(start: bytes) -> bool:
    """Whether a skippable Zstandard frame begins here (RFC 8878, 3.1.2)."""
    return start[1:4] == b"\x2a\x4d\x18" and start[0] & 0xF0 == 0x50


class _Decoder(Protocol):
    """What the decompressors of `isal`, `zstd`, `lzma` and `bz2` have in common."""

    @property
    def eof(self) -> bool: ...
    @property
    def needs_input(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: Any, max_length: int, /) -> bytes: ...


def _decoder(kind: Format) -> tuple[Callable[[], _Decoder], tuple[type[Exception], ...]]:
    """How to begin a member or frame of this format, and what errors it may raise."""
    if kind == "gzip":
        from isal import igzip_lib

        gzip = igzip_lib.DECOMP_GZIP
        damaged = cast("type[Exception]", igzip_lib.IsalError)  # their stub says an instance
        return lambda: igzip_lib.IgzipDecompressor(gzip), (damaged, EOFError)
    if kind == "zstd":
        from slimmer.stores.zstandard import zstd

        # 128 MiB of history is what `zstd --ultra` and containers/image make at most
        options = {zstd.DecompressionParameter.window_log_max: 27}
        return lambda: zstd.ZstdDecompressor(options=options), (zstd.ZstdError, EOFError)
    if kind == "xz":
        import lzma

        return lambda: lzma.LZMADecompressor(memlimit=256 << 20), (lzma.LZMAError, EOFError)
    import bz2

    return bz2.BZ2Decompressor, (OSError, ValueError, EOFError)


def decompressed(chunks: Iterator[bytes], name: str) -> Generator[bytes]:
    """The content of a compressed stream, in chunks of `UNPACKED` bytes at most.

    Raises ImageError with the blob's `name` where the compression is damaged or ends too soon.
    """
    buffer, at = _at_least(6, b"", chunks), 0
    kind = format_of(buffer)
    if kind == "none":
        if buffer:
            yield buffer
        yield from chunks
        return
    begin, errors = _decoder(kind)
    # What one call gets. Where members are small (eStargz makes one for each file) a small piece
    # leaves little over that must be copied.
    piece = PACKED
    try:
        while True:
            decoder = begin()
            while not decoder.eof:
                part: bytes | memoryview = b""
                if decoder.needs_input:
                    if at == len(buffer):
                        buffer, at = next(chunks, b""), 0
                        if not buffer:
                            raise ImageError(
                                f"the {kind} data of {name} ends too soon",
                                hint="the blob is truncated; pull or save the image again",
                            )
                    part = memoryview(buffer)[at : at + piece]
                    at += len(part)
                    piece = min(2 * piece, PACKED)
                out = decoder.decompress(part, UNPACKED)
                if out:
                    yield out
            rest = decoder.unused_data
            if len(rest) <= at:
                at -= len(rest)
            else:  # the decoder looked ahead from the chunk before into this one
                buffer, at = rest + buffer[at:], 0
            if rest:
                piece = 8 << 10
            if len(buffer) - at < 6:
                buffer, at = _at_least(6, buffer[at:], chunks), 0
            if at == len(buffer):
                return
            if format_of(buffer[at : at + 6]) != kind:
                # tar pads what it writes to a tape, and gzip itself lets zeros follow
                if any(any(more) for more in chain((buffer[at:],), chunks)):
                    raise ImageError(
                        f"something that is not {kind} follows the {kind} data in {name}",
                        hint="the blob is damaged; pull or save the image again",
                    )
                return
    except errors as error:
        raise ImageError(
            f"damaged {kind} data in {name}: {error}",
            hint="the blob is corrupt; pull or save the image again",
        ) from None


def _at_least(length: int, start: bytes, chunks: Iterator[bytes]) -> bytes:
    """`start` with chunks behind it until it is as long as that, or all there is."""
    while len(start) < length:
        chunk = next(chunks, b"")
        if not chunk:
            break
        start += chunk
    return start


PATIENCE = 0.1
"""Seconds until a thread that should stop is asked again."""


class Hasher:
    """A digest that is taken on a thread of its own; hashlib lets others run meanwhile."""

    __slots__ = ("_chunks", "_hash", "_thread")

    def __init__(self, algorithm: str) -> None:
        self._hash = hashlib.new(algorithm)
        self._chunks: queue.Queue[bytes | None] = queue.Queue(DEPTH)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        update, get = self._hash.update, self._chunks.get
        while (chunk := get()) is not None:
            update(chunk)

    def tee(self, chunks: Iterator[bytes]) -> Generator[bytes]:
        """The same chunks, each on its way into the digest too."""
        put = self._chunks.put
        for chunk in chunks:
            put(chunk)
            yield chunk

    def close(self) -> str:
        """Stop, and tell the digest of all that went by in hexadecimal digits."""
        # A signal that raises inside a queue's `put` may cost the thread the news of it, once and
        # for all later ones: asked again, it hears.
        while self._thread.is_alive():
            with suppress(queue.Full):
                self._chunks.put(None, timeout=PATIENCE)
            with self._chunks.not_empty:
                self._chunks.not_empty.notify_all()
            self._thread.join(PATIENCE)
        return self._hash.hexdigest()


def ahead(chunks: Generator[bytes]) -> Generator[bytes]:
    """The same chunks, made on a thread of their own a few ahead of who takes them."""
    waiting: queue.Queue[bytes | BaseException | None] = queue.Queue(DEPTH)
    stopped = False

    def run() -> None:
        last: BaseException | None = None
        try:
            for chunk in chunks:
                waiting.put(chunk)
                if stopped:
                    break
        except BaseException as error:  # noqa: BLE001 - handed to the thread that takes the chunks
            last = error
        finally:
            chunks.close()
            waiting.put(last)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        while (chunk := waiting.get()) is not None:
            if isinstance(chunk, BaseException):
                raise chunk
            yield chunk
    finally:
        stopped = True
        while thread.is_alive():
            try:
                waiting.get(timeout=0.05)
            except queue.Empty:
                pass
        thread.join()


def verified(
    chunks: Iterator[bytes], name: str, what: str, digest: Digest | None, size: int | None = None
) -> Generator[bytes]:
    """The same chunks; ImageError at their end unless they are `digest` and `size` bytes long."""
    length = 0
    hasher = Hasher(digest.algorithm) if digest else None
    try:
        for chunk in hasher.tee(chunks) if hasher else chunks:
            length += len(chunk)
            yield chunk
    finally:
        found = hasher.close() if hasher else ""
    if digest and found != digest.hex:
        raise ImageError(
            f"{name} {what} {digest.algorithm}:{found}, not {digest}",
            hint="the bytes are not the ones that the image names; pull or save it again",
        )
    if size is not None and length != size:
        raise ImageError(
            f"{name} has {length} bytes, its manifest says {size}",
            hint="the bytes are not the ones that the image names; pull or save it again",
        )


def checked(
    blob: Iterator[bytes],
    name: str,
    length: int,
    digest: Digest | None,
    size: int | None,
    diff_id: Digest | None,
    limit: int | None = None,
) -> Generator[bytes]:
    """The tar in a blob of `length` bytes, its chunks made and checked on threads of their own.

    Raises ImageError at the end where the blob is not `digest`, or its content not `diff_id`; and
    as soon as the content passes `limit` bytes, for which there is a generous default.
    """
    tar = ahead(decompressed(verified(blob, name, "has the digest", digest, size), name))
    if limit is None:
        limit = max(EXPANSION_FLOOR, EXPANSION_RATIO * length)
    made = 0
    if diff_id != digest:
        tar = verified(tar, name, "holds a tar with the digest", diff_id)
    with closing(tar):
        for chunk in tar:
            made += len(chunk)
            if made > limit:
                raise ImageError(
                    f"{name} expands from {length} to more than {limit} bytes: stopped",
                    hint="such a blob is made to fill disks; if it is real, raise the limit",
                )
            yield chunk


class Reader(io.RawIOBase):
    """Chunks that come one after another, as a file that is read from front to back."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._held = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not len(self._held):
            chunk = next(self._chunks, None)
            if chunk is None:
                return 0
            self._held = memoryview(chunk)
        length = min(len(buffer), len(self._held))
        buffer[:length] = self._held[:length]
        self._held = self._held[length:]
        return length
