"""What earlier runs found out, kept in a folder of the user's: scans of layers, and other bytes.

Everything here can be lost or thrown away at any time; nothing is ever only here.
"""

from __future__ import annotations

import contextlib
import gc
import hashlib
import marshal
import os
import re
import sys
import tempfile
from itertools import repeat
from typing import TYPE_CHECKING

from slimmer.index import LayerScan
from slimmer.tar.reading import Header

if TYPE_CHECKING:
    from pathlib import Path

    from slimmer.evidence import Evidence
    from slimmer.image import LayerContent

LIMIT = 512 << 20
"""Bytes that the folder may hold."""
FORMAT = f"1.{marshal.version}.{sys.version_info[0]}.{sys.version_info[1]}"
"""Changes with whatever changes the meaning of what is kept: this module, `Header`, marshal."""
MAGIC = b"slimmer cache 1\n"
ABANDONED = 3600
"""Seconds after which a file that is being written belongs to a process that was killed."""
PART = ".slimmer-"
"""How the name of a file begins that is being written."""
CHECK = 32
"""Bytes of the checksum that stands before the content."""


_OWN = re.compile(r"[0-9a-f]{40}\.bin").fullmatch
"""Names of entries. Others may keep files in the folder that the user named: they stay."""


class Cache:
    """Bytes by key, bounded in size; what was not used for longest goes first.

    Safe for any number of processes: an entry is written beside and renamed, so that it appears
    whole; each is checked against its checksum before anyone looks into it, and one that is
    damaged, cut short or of another key counts as not there.
    """

    __slots__ = ("_folder", "_limit")

    def __init__(self, folder: Path, limit: int = LIMIT) -> None:
        self._folder = folder
        self._limit = limit

    def _path(self, key: str) -> Path:
        return self._folder / (hashlib.sha256(key.encode()).hexdigest()[:40] + ".bin")

    def get(self, key: str) -> bytes | None:
        """What was put there by that key, or None."""
        path = self._path(key)
        try:
            with path.open("rb") as file:
                if file.read(len(MAGIC)) != MAGIC:
                    return None
                check = file.read(CHECK)
                packed = file.read()
            if check != _check(key, packed):
                return None
            os.utime(path)
        except OSError:
            return None
        return _decompress(packed)

    def put(self, key: str, content: bytes) -> None:
        """Keep these bytes by that key; without complaint not, where there is no room or right."""
        packed = _compress(content)
        if len(packed) > self._limit // 2:
            return
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            fd, beside = tempfile.mkstemp(prefix=PART, suffix=".part", dir=self._folder)
            try:
                with os.fdopen(fd, "wb") as file:
                    file.write(MAGIC)
                    file.write(_check(key, packed))
                    file.write(packed)
                os.replace(beside, self._path(key))  # noqa: PTH105 - mkstemp gives a string
            except BaseException:
                with contextlib.suppress(OSError):
                    os.unlink(beside)  # noqa: PTH108
                raise
            self._trim()
        except OSError:
            return  # a full or read-only disk only means that the next run reads the image again

    def _trim(self) -> None:
        """Remove what was not used for longest until the rest fits."""
        entries: list[tuple[float, int, str]] = []
        parts: list[tuple[float, str]] = []
        with os.scandir(self._folder) as found:
            for entry in found:
                with contextlib.suppress(OSError):
                    status = entry.stat(follow_symlinks=False)
                    if _OWN(entry.name):
                        entries.append((status.st_mtime, status.st_size, entry.path))
                    elif entry.name.startswith(PART) and entry.name.endswith(".part"):
                        parts.append((status.st_mtime, entry.path))
        # An entry was just put there, so the newest one tells the time.
        newest = max(entries, default=(0.0, 0, ""))[0]
        for changed, path in parts:
            if changed < newest - ABANDONED:
                with contextlib.suppress(OSError):
                    os.unlink(path)  # noqa: PTH108 - left by a process that was killed
        total = sum(size for _, size, _ in entries)
        for _, size, path in sorted(entries):
            if total <= self._limit:
                return
            with contextlib.suppress(OSError):
                os.unlink(path)  # noqa: PTH108
            total -= size


def _check(key: str, packed: bytes) -> bytes:
    return hashlib.sha256(key.encode() + b"\n" + packed).digest()


def _compress(content: bytes) -> bytes:
    from slimmer.stores.zstandard import zstd

    packed: bytes = zstd.compress(content, 1)
    return packed


def _decompress(packed: bytes) -> bytes:
    from slimmer.stores.zstandard import zstd

    content: bytes = zstd.decompress(packed)
    return content


class Scans:
    """Scans of layers in a cache; the `ScanCache` that `Index.scan` takes.

    Headers are kept as columns in `marshal`, the one format of the standard library that is fast
    enough: its loader is not made for hostile input, but reads only what passed a checksum, from
    a folder where whoever could forge that could as well change slimmer itself. Its version and
    Python's are part of the key.
    """

    __slots__ = ("_cache",)

    def __init__(self, cache: Cache) -> None:
        self._cache = cache

    def load(self, content: LayerContent, evidence: Evidence) -> LayerScan | None:
        key = content.cache_key
        kept = self._cache.get(_key(key, evidence)) if key else None
        if kept is None:
            return None
        # The collector would look through all of the new tuples again and again, and find
        # nothing: 65,895 headers load in 60 ms without it, in 120 ms with it.
        collecting = gc.isenabled()
        gc.disable()
        try:
            columns, numbers, contents = marshal.loads(kept)
            headers = [*map(tuple.__new__, repeat(Header), zip(*columns, strict=True))]
            return LayerScan(headers, dict(zip(numbers, contents, strict=True)))
        except (ValueError, TypeError, EOFError):
            return None
        finally:
            if collecting:
                gc.enable()

    def save(self, content: LayerContent, evidence: Evidence, scan: LayerScan) -> None:
        key = content.cache_key
        if key:
            columns = tuple(zip(*scan.headers, strict=True))
            self._cache.put(
                _key(key, evidence),
                marshal.dumps((columns, tuple(scan.contents), tuple(scan.contents.values()))),
            )


def _key(key: str, evidence: Evidence) -> str:
    return f"scan {FORMAT} {key} {evidence.key}"
