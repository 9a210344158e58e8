"""Tars on their way into blobs: compressed on every core there is, the same on each run.

The input is cut into blocks of a fixed length, so what comes out depends on the bytes, the level
and the release of the compressor, and never on the number of cores or on who was faster. Another
release of a compressor may well make other bytes of the same tar, so the digest of a compressed
blob is only promised for one release; the digest of the tar (diff_id), and with it the image ID,
does not depend on any of this.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Literal, NamedTuple

from slimmer.stores.atomic import WriteError

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Iterator

Compression = Literal["gzip", "zstd", "none"]

BLOCK = 1 << 20
"""Bytes that one thread compresses at a time. Blocks of a gzip stream know nothing of each other:
with 1 MiB that costs 0.1 % of its length (m)."""
LEVELS: dict[Compression, tuple[int, int, int]] = {
    "gzip": (0, 3, 9),
    "zstd": (1, 3, 19),
    "none": (0, 0, 0),
}
"""Lowest level, default, highest. gzip up to 3 is ISA-L's (its 3 is 2 to 7 % larger than zlib's 6
on shared libraries and ten times as fast (m)), from 4 on zlib's."""
HEADER = b"\x1f\x8b\x08\0\0\0\0\0\0\xff"
"""RFC 1952, 2.3: no name, no time, no system."""


class Packing(NamedTuple):
    """How blobs are compressed."""

    format: Compression
    level: int
    workers: int

    @classmethod
    def of(cls, format: Compression, level: int | None = None) -> Packing:  # noqa: A002
        """Raises WriteError for a level that the format does not have."""
        lowest, default, highest = LEVELS[format]
        if level is None:
            level = default
        elif not lowest <= level <= highest:
            raise WriteError(
                f"{format} has no level {level}",
                hint=f"choose one from {lowest} to {highest}"
                if highest
                else "leave the level out, or compress",
            )
        return cls(format, level, max(2, os.cpu_count() or 2))

    def compressed(self, chunks: Iterable[bytes]) -> Iterator[bytes]:
        """The blob of a tar."""
        match self.format:
            case "gzip":
                return gzip(chunks, self.level, self.workers)
            case "zstd":
                return zstandard(chunks, self.level, self.workers)
            case "none":
                return iter(chunks)


def gzip(chunks: Iterable[bytes], level: int, workers: int) -> Generator[bytes]:
    """One gzip member (RFC 1952) of blocks that end on a byte, as `pigz -i` makes it."""
    from isal import isal_zlib

    crc = length = 0
    pending: deque[Future[bytes]] = deque()
    yield HEADER
    with ThreadPoolExecutor(workers, "gzip") as pool:
        try:
            for block in blocks(chunks, BLOCK):
                crc = isal_zlib.crc32(block, crc)
                length += len(block)
                pending.append(pool.submit(_deflated, block, level))
                if len(pending) > 2 * workers:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            for future in pending:
                future.cancel()
    yield b"\x03\0" + struct.pack("<II", crc, length & 0xFFFFFFFF)


def _deflated(block: bytes, level: int) -> bytes:
    if level <= 3:
        from isal import isal_zlib

        fast = isal_zlib.compressobj(level, isal_zlib.DEFLATED, -15)
        return bytes(fast.compress(block) + fast.flush(isal_zlib.Z_SYNC_FLUSH))
    slow = zlib.compressobj(level, zlib.DEFLATED, -15)
    return slow.compress(block) + slow.flush(zlib.Z_SYNC_FLUSH)


def zstandard(chunks: Iterable[bytes], level: int, workers: int) -> Generator[bytes]:
    """One Zstandard frame (RFC 8878); its jobs are cut by length, whatever the workers."""
    from slimmer.stores.zstandard import zstd

    parameter = zstd.CompressionParameter
    options = {
        parameter.compression_level: level,
        parameter.checksum_flag: 1,
        # Never 0, which is another way of working with another result.
        parameter.nb_workers: workers,
    }
    compressor = zstd.ZstdCompressor(options=options)
    for chunk in chunks:
        out = compressor.compress(chunk)
        if out:
            yield out
    yield compressor.flush()


def blocks(chunks: Iterable[bytes], size: int) -> Iterator[bytes]:
    """The same bytes in blocks of one size, the last one shorter."""
    held: list[bytes] = []
    missing = size
    for chunk in chunks:
        at = 0
        while len(chunk) - at >= missing:
            held.append(chunk[at : at + missing])
            yield b"".join(held)
            at += missing
            held, missing = [], size
        if at < len(chunk):
            held.append(chunk[at:])
            missing -= len(chunk) - at
    if held:
        yield b"".join(held)
