"""A new file made of ranges of an old one.

Every change that slimmer makes to the content of a file is written down as a `Splice`. It is
computed when the plan is made, by random access to the old file, so that the new size is known
to the byte; it is carried out later, in one pass over a source that can only be read forwards.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import accumulate
from typing import Protocol

from slimmer.errors import SlimmerError

Read = Callable[[int, int], bytes]
"""`read(offset, length)` gives exactly those bytes of a file, or fewer where the file ends."""

CHUNK = 1 << 20
"""Most bytes that `stream` holds, or yields, at a time."""


class SpliceError(SlimmerError):
    """The old file is shorter than a splice of it says, or a splice cannot be streamed."""


class Source(Protocol):
    """What can be read forwards: an open file, a tar member, a pipe."""

    def read(self, length: int, /) -> bytes: ...


@dataclass(frozen=True, slots=True)
class Copy:
    """A range of the old file, taken over as it is."""

    offset: int
    """First byte, counted from the beginning of the old file."""
    length: int
    """Bytes."""


@dataclass(frozen=True, slots=True)
class Literal:
    """Bytes that the old file does not have at this place."""

    data: bytes

    @property
    def length(self) -> int:
        """Bytes."""
        return len(self.data)


@dataclass(frozen=True, slots=True)
class Zeros:
    """A range of zero bytes."""

    length: int
    """Bytes."""


Piece = Copy | Literal | Zeros


@dataclass(frozen=True, slots=True)
class Splice:
    """The pieces of a new file, in the order of the new file."""

    pieces: tuple[Piece, ...]

    @classmethod
    def of(cls, pieces: Iterable[Piece]) -> Splice:
        """The same bytes in the fewest pieces: empty ones dropped, neighbours joined."""
        joined: list[Piece] = []
        for piece in pieces:
            if not piece.length:
                continue
            match (joined[-1] if joined else None), piece:
                case Copy(offset, length), Copy(start, more) if offset + length == start:
                    joined[-1] = Copy(offset, length + more)
                case Zeros(length), Zeros(more):
                    joined[-1] = Zeros(length + more)
                case Literal(data), Literal(more_data):
                    joined[-1] = Literal(data + more_data)
                case _:
                    joined.append(piece)
        return cls(tuple(joined))

    @classmethod
    def without(cls, size: int, ranges: Iterable[tuple[int, int]]) -> Splice:
        """A file of `size` bytes less some ranges, given by start and end in ascending order."""
        pieces: list[Piece] = []
        at = 0
        for start, end in ranges:
            pieces.append(Copy(at, start - at))
            at = min(end, size)
        return cls.of([*pieces, Copy(at, size - at)])

    @classmethod
    def identity(cls, size: int) -> Splice:
        """A file of `size` bytes, as it is."""
        return cls.of((Copy(0, size),))

    @property
    def size(self) -> int:
        """Bytes of the new file."""
        return sum(piece.length for piece in self.pieces)

    @property
    def streamable(self) -> bool:
        """Whether one pass forwards over the old file is enough: no copy begins before the
        end of the copy before it."""
        reached = 0
        for piece in self.pieces:
            if isinstance(piece, Copy):
                if piece.offset < reached:
                    return False
                reached = piece.offset + piece.length
        return True

    def overwritten(self, offset: int, data: bytes) -> Splice:
        """The same new file with `data` in place of what it has at `offset`.

        Raises ValueError where that reaches past the end: an overwrite never changes the size.
        """
        rest = self.size - offset - len(data)
        if offset < 0 or rest < 0:
            raise ValueError(f"{len(data)} bytes at {offset} do not lie in {self.size} bytes")
        patch = (Copy(0, offset), Literal(data), Copy(offset + len(data), rest))
        return compose(self, Splice.of(patch))


class _Table:
    """Where the pieces of a splice begin: finds those that make up a range in log time."""

    __slots__ = ("pieces", "size", "starts")

    def __init__(self, splice: Splice) -> None:
        ends = list(accumulate((piece.length for piece in splice.pieces), initial=0))
        self.size = ends.pop()
        self.starts = ends
        self.pieces = splice.pieces

    def range(self, offset: int, length: int) -> Iterator[Piece]:
        """The pieces of `length` bytes at `offset`, the first and the last of them cut to fit."""
        end = min(offset + length, self.size)
        index = bisect_right(self.starts, offset) - 1
        while offset < end:
            piece, skipped = self.pieces[index], offset - self.starts[index]
            taken = min(piece.length - skipped, end - offset)
            match piece:
                case Copy(start, _):
                    yield Copy(start + skipped, taken)
                case Literal(data):
                    yield Literal(data[skipped : skipped + taken])
                case Zeros():
                    yield Zeros(taken)
            offset += taken
            index += 1


def compose(first: Splice, second: Splice) -> Splice:
    """The splice that does `first`, and then `second` to what `first` has made.

    Raises SpliceError where `second` copies from beyond the end of what `first` makes.
    """
    table = _Table(first)

    def pieces() -> Iterator[Piece]:
        for piece in second.pieces:
            if isinstance(piece, Copy):
                if piece.offset < 0 or piece.offset + piece.length > table.size:
                    raise SpliceError(
                        f"a splice copies {piece.length} bytes at {piece.offset} "
                        f"of a file of {table.size} bytes"
                    )
                yield from table.range(piece.offset, piece.length)
            else:
                yield piece

    return Splice.of(pieces())


def view(read: Read, splice: Splice) -> Read:
    """Random access to the new file without making it; `read` reads the old one."""
    table = _Table(splice)

    def read_new(offset: int, length: int) -> bytes:
        return b"".join(_bytes(read, piece) for piece in table.range(offset, length))

    return read_new


def _bytes(read: Read, piece: Piece) -> bytes:
    match piece:
        case Copy(offset, length):
            return read(offset, length)
        case Literal(data):
            return data
        case Zeros(length):
            return bytes(length)


def stream(source: Source, splice: Splice) -> Iterator[bytes]:
    """The new file in chunks of at most `CHUNK` bytes, in one pass over the old one.

    `source` stands at the old file's first byte and is only read forwards; it is left behind
    the last byte that the splice takes over, which need not be the file's end.

    Raises SpliceError where the splice is not `streamable` or the old file ends too early.
    """
    if not splice.streamable:
        raise SpliceError("a splice takes ranges out of order, so it cannot be streamed")
    reached = 0
    for piece in splice.pieces:
        match piece:
            case Copy(offset, length):
                for skipped in _forwards(source, offset - reached):
                    reached += len(skipped)
                for chunk in _forwards(source, length):
                    reached += len(chunk)
                    yield chunk
            case Literal(data):
                for start in range(0, len(data), CHUNK):
                    yield data[start : start + CHUNK]
            case Zeros(length):
                whole = bytes(min(length, CHUNK))
                for start in range(0, length, CHUNK):
                    yield whole[: length - start]


def _forwards(source: Source, length: int) -> Iterator[bytes]:
    while length > 0:
        # A pipe may give less than was asked for; only nothing at all means the end.
        chunk = source.read(min(length, CHUNK))
        if not chunk:
            raise SpliceError(f"a file ends {length} bytes before its splice does")
        length -= len(chunk)
        yield chunk
