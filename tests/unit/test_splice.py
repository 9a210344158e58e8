from __future__ import annotations

import io
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slimmer.splice import (
    CHUNK,
    Copy,
    Literal,
    Splice,
    SpliceError,
    Zeros,
    compose,
    stream,
    view,
)

OLD = bytes(range(1, 101))


def reader(raw: bytes):
    return lambda offset, length: raw[offset : offset + length]


def made(raw: bytes, splice: Splice) -> bytes:
    return view(reader(raw), splice)(0, splice.size)


def splices(size: int) -> st.SearchStrategy[Splice]:
    copies = st.integers(0, size).flatmap(
        lambda offset: st.builds(Copy, st.just(offset), st.integers(0, size - offset))
    )
    pieces = (
        copies | st.builds(Literal, st.binary(max_size=5)) | st.builds(Zeros, st.integers(0, 5))
    )
    return st.lists(pieces, max_size=8).map(Splice.of)


def test_a_splice_takes_ranges_puts_in_bytes_and_counts_them():
    splice = Splice.of([Copy(10, 3), Literal(b"new"), Zeros(2), Copy(50, 1)])

    assert (9, OLD[10:13] + b"new\0\0" + OLD[50:51]) == (splice.size, made(OLD, splice))


def test_neighbours_are_joined_and_empty_pieces_dropped():
    pieces = [Copy(0, 4), Copy(4, 4), Zeros(0), Zeros(1), Zeros(1), Literal(b"a"), Literal(b"b")]

    assert (Copy(0, 8), Zeros(2), Literal(b"ab")) == Splice.of(pieces).pieces


def test_the_identity_changes_nothing():
    assert made(OLD, Splice.identity(100)) == OLD


@given(splices(100).flatmap(lambda first: st.tuples(st.just(first), splices(first.size))))
def test_composing_is_doing_one_after_the_other(both: tuple[Splice, Splice]):
    first, second = both

    assert made(made(OLD, first), second) == made(OLD, compose(first, second))


@given(splices(100), st.integers(0, 200), st.integers(0, 200))
def test_a_view_reads_any_range_of_what_would_be_made(splice: Splice, offset: int, length: int):
    expected = made(OLD, splice)[offset : offset + length]

    assert expected == view(reader(OLD), splice)(offset, length)


@given(splices(100))
def test_streaming_gives_the_same_bytes_or_refuses(splice: Splice):
    if splice.streamable:
        assert made(OLD, splice) == b"".join(stream(io.BytesIO(OLD), splice))
    else:
        with pytest.raises(SpliceError):
            next(stream(io.BytesIO(OLD), splice))


def test_overlapping_or_descending_copies_cannot_be_streamed():
    assert not Splice.of([Copy(5, 5), Copy(9, 2)]).streamable
    assert not Splice.of([Copy(5, 5), Copy(0, 2)]).streamable
    assert Splice.of([Copy(5, 5), Literal(b"x"), Copy(10, 2)]).streamable


def test_overwriting_keeps_the_size_and_stays_inside():
    assert OLD[:98] + b"zz" == made(OLD, Splice.identity(100).overwritten(98, b"zz"))
    with pytest.raises(ValueError, match="do not lie in 100 bytes"):
        Splice.identity(100).overwritten(99, b"zz")


def test_a_second_splice_that_reaches_too_far_is_an_error():
    with pytest.raises(SpliceError, match="copies 2 bytes at 99 of a file of 100 bytes"):
        compose(Splice.identity(100), Splice.of([Copy(99, 2)]))


class Pipe(io.BytesIO):
    """Reads forwards only, and never gives all that it was asked for."""

    def read(self, length: int | None = -1, /) -> bytes:
        assert length is not None
        assert 0 < length <= CHUNK
        return super().read(min(length, 70_000))

    def seek(self, *_: int) -> int:
        raise AssertionError("a pipe cannot seek")


def test_a_pipe_that_gives_little_at_a_time_is_enough():
    splice = Splice.of([Copy(200_000, 300_000), Literal(b"x" * 3), Copy(900_000, 10)])
    raw = bytes(range(250)) * 4000

    assert made(raw, splice) == b"".join(stream(Pipe(raw), splice))


def test_a_file_that_ends_too_soon_is_an_error():
    with pytest.raises(SpliceError, match="ends 20 bytes before"):
        list(stream(io.BytesIO(OLD), Splice.of([Copy(90, 30)])))


class Endless:
    def read(self, length: int, /) -> bytes:
        return bytes(length)


def test_streaming_holds_a_few_chunks_whatever_the_size():
    splice = Splice.of([Copy(1 << 30, 1 << 27), Zeros(1 << 28), Literal(b"x" * (1 << 21))])
    tracemalloc.start()
    try:
        sizes = [len(chunk) for chunk in stream(Endless(), splice)]
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

    assert sum(sizes) == splice.size
    assert max(sizes) <= CHUNK
    assert peak < 8 * CHUNK
