"""Sizes are read and written without mixing up 10⁹ and 2³⁰."""

from __future__ import annotations

import pytest

from slimmer.units import (
    SizeError,
    exact_text,
    parse_size,
    seconds_text,
    share_text,
    size_text,
)


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("4GB", 4_000_000_000),
        ("4GiB", 4 * 2**30),
        ("4gb", 4_000_000_000),
        ("4gib", 4 * 2**30),
        ("4 GB", 4_000_000_000),
        ("1.5MB", 1_500_000),
        ("1.5MiB", 1_572_864),
        ("0.1GB", 100_000_000),
        ("1kB", 1000),
        ("1KB", 1000),
        ("1KiB", 1024),
        ("2TB", 2 * 10**12),
        ("2TiB", 2 * 2**40),
        ("1PB", 10**15),
        ("512", 512),
        ("512B", 512),
        ("0", 0),
        (" 7 MB ", 7_000_000),
    ],
)
def test_a_size_is_decimal_or_binary_as_its_unit_says(text: str, size: int):
    assert size == parse_size(text, "budget.max")


@pytest.mark.parametrize(
    "text",
    [
        *["", "GB", "4G", "4M", "4k", "4Gi", "-4GB", "4,5GB", "1e9", "4 G B", "4GBs", "٤GB"],
        *["4.GB", "4GB\n5", None, True, 4, 4.5],
    ],
)
def test_what_is_no_size_is_refused_with_its_place(text: object):
    with pytest.raises(SizeError, match=r"expected a size such as .* in 'budget\.max'"):
        parse_size(text, "budget.max")


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 B"),
        (1, "1 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (1024, "1.0 kB"),
        (999_999, "1.0 MB"),
        (4_000_000_000, "4.0 GB"),
        (4 * 2**30, "4.3 GB"),
        (8_812_345_678, "8.8 GB"),
    ],
)
def test_a_size_is_shown_decimal_like_dockers(size: int, text: str):
    assert text == size_text(size)


def test_a_size_can_be_shown_to_the_byte():
    assert ("8,812,345,678 bytes", "1 byte") == (exact_text(8_812_345_678), exact_text(1))


@pytest.mark.parametrize(
    ("part", "whole", "text"),
    [
        (0, 0, "0 %"),
        (0, 5, "0 %"),
        (1, 10_000, "< 0.1 %"),
        (1, 3, "33.3 %"),
        (999_999, 1_000_000, "99.9 %"),
        (5, 5, "100 %"),
    ],
)
def test_a_share_is_never_rounded_to_all_or_nothing(part: int, whole: int, text: str):
    assert text == share_text(part, whole)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0625, "< 0.1 s"),
        (0.125, "0.1 s"),
        (9.94, "9.9 s"),
        (9.96, "10 s"),
        (59.4, "59 s"),
        (59.6, "1 min 0 s"),
        (183.25, "3 min 3 s"),
        (3720, "1 h 2 min"),
        (200_000, "2 days"),
    ],
)
def test_a_time_is_shown_in_few_characters(seconds: float, text: str):
    assert text == seconds_text(seconds)
