"""Names of an image are made printable without losing what they are."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slimmer.names import matcher, one_line, printable, raw


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (b"usr/lib/libm.so", "usr/lib/libm.so"),
        ("größe/文件".encode(), "größe/文件"),
        (b"a\x1b[31mred", r"a\x1b[31mred"),
        (b"two\nlines\ttab\rback", r"two\x0alines\x09tab\x0dback"),
        (b"\xff\xfe", r"\xff\xfe"),
        ("abc\u202etxt.exe".encode(), r"abc\u202etxt.exe"),
        ("c1\u009b31m".encode(), r"c1\u009b31m"),
        ("zero\u200bwidth\U000e0041tag".encode(), r"zero\u200bwidth\U000e0041tag"),
        ("line\u2028separator".encode(), r"line\u2028separator"),
        (b"back\\slash", r"back\\slash"),
        (b"\xed\xa0\x80", r"\xed\xa0\x80"),
        ("pep383-\udcff", r"pep383-\xff"),
        ("lone-\ud800", r"lone-\ud800"),
    ],
)
def test_what_does_not_print_is_escaped(name: bytes | str, text: str):
    assert text == printable(name)


@given(st.binary())
def test_every_name_prints_and_can_be_had_back(name: bytes):
    text = printable(name)

    assert text.isprintable()
    assert name == raw(text)


@given(st.text(st.characters(exclude_categories=())))
def test_free_text_becomes_one_line_that_prints(text: str):
    assert one_line(text).isprintable()


def test_free_text_keeps_its_backslashes():
    assert r"RUN sed 's/\./_/' a && make" == one_line("RUN sed 's/\\./_/' a \n\t && make")


@pytest.mark.parametrize(
    ("pattern", "text", "fits"),
    [
        ("Torch", "pip:torch 2.9.0", True),
        ("torch", "usr/lib/python3/torchvision/x.py", True),
        ("torch", "usr/bin/true", False),
        ("*/tests/*", "usr/lib/numpy/tests/data/x.npy", True),
        ("tests/*", "usr/lib/numpy/tests/x", False),
        ("*.so", "usr/lib/libm.so", True),
        ("*.so", "usr/lib/libm.so.6", False),
        ("a.c", "usr/abc", False),
    ],
)
def test_a_filter_is_a_part_of_the_text_or_a_glob(pattern: str, text: str, fits: bool):
    assert fits == matcher(pattern)(text)
