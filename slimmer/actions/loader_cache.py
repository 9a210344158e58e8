"""Keeps ld.so's cache true: no library that left stands in `/etc/ld.so.cache`.

The loader gets over a stale entry, but `ctypes.util.find_library` and `ldconfig -p` believe it: a
program that would go without the library is told that it is there.

The format is glibc's `dl-cache.h`, `struct cache_file_new`: 20 bytes of magic and version, u32
entries, u32 bytes of strings, u8 flags, 3 unused, u32 offset of extensions, 12 unused; then entries
of 24 bytes (i32 flags, u32 name, u32 path, u32 OS version, u64 hardware), sorted by name. Offsets
count from the file's beginning, so entries can close ranks while the strings stay where they are.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

from slimmer.plan.steps import Rewrite
from slimmer.splice import Copy, Literal, Piece, Splice, Zeros
from slimmer.tar.reading import FILE

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from slimmer.analysis.facts import Facts

CACHE = b"etc/ld.so.cache"
MAGIC = b"glibc-ld.so.cache1.1"
"""What ldconfig writes since glibc 2.32; before, the older format stood in front of it."""
LIMIT = 16 << 20
"""Bytes of the longest cache that is read."""
_HEADER = 48
_ENTRY = struct.Struct("<iIIIQ")
_COUNT = 20


@dataclass(frozen=True, slots=True)
class LoaderCache:
    """Drops the entries of libraries that leave."""

    def __call__(
        self, facts: Facts, removed: frozenset[bytes], splices: Mapping[bytes, Splice]
    ) -> Iterator[Rewrite]:
        header = facts.index.visible.get(CACHE)
        if header is None or header.kind is not FILE or CACHE in removed or CACHE in splices:
            return
        if header.size > LIMIT or not any(b".so" in path for path in removed):
            return
        for _, content in facts.contents([CACHE]):
            splice = without(content, _gone(facts, content, removed))
            if splice is not None:
                yield Rewrite(CACHE, splice, len(content))


def entries(content: bytes) -> Iterator[tuple[int, bytes]]:
    """The place of each entry, and the path that it leads to; none of what is not understood."""
    if not content.startswith(MAGIC) or len(content) < _HEADER:
        return
    count = int.from_bytes(content[_COUNT : _COUNT + 4], "little")
    if _HEADER + count * _ENTRY.size > len(content):
        return
    for number in range(count):
        place = _HEADER + number * _ENTRY.size
        path = _ENTRY.unpack_from(content, place)[2]
        end = content.find(b"\0", path)
        if path < _HEADER or end < 0:
            return
        yield place, content[path:end]


def _gone(facts: Facts, content: bytes, removed: Collection[bytes]) -> set[int]:
    """The places of the entries that lead to what leaves."""
    index = facts.index
    gone: set[int] = set()
    for place, path in entries(content):
        folder, _, name = path.rpartition(b"/")
        real = index.resolve(folder)
        if real + b"/" + name in removed or index.resolve(path) in removed:
            gone.add(place)
    return gone


def without(content: bytes, gone: Collection[int]) -> Splice | None:
    """The cache without the entries at these places, as long as before; None where none leaves."""
    if not gone:
        return None
    places = [place for place, _ in entries(content)]
    kept = [place for place in places if place not in gone]
    end = _HEADER + len(places) * _ENTRY.size
    pieces: list[Piece] = [
        Copy(0, _COUNT),
        Literal(len(kept).to_bytes(4, "little")),
        Copy(_COUNT + 4, _HEADER - _COUNT - 4),
        *(Copy(place, _ENTRY.size) for place in kept),
        Zeros((len(places) - len(kept)) * _ENTRY.size),
        Copy(end, len(content) - end),
    ]
    return Splice.of(pieces)
