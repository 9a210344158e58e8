"""What a container says, parsed as a stranger's text."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from thorough import examples

from slimmer.stores.engine.answers import LINE, answer, objects, probed

PYTHON = {"is": "python", "version": "3.11", "modules": {"a": "d"}, "several": ["a"]}


def lines(*values: object) -> bytes:
    return b"".join(json.dumps(value).encode() + b"\n" for value in values)


def test_a_driver_is_understood():
    module = {"is": "module", "name": "a", "error": "E", "message": "m\x1b", "seconds": 1}
    text = lines(PYTHON, module, {"is": "end"})

    found = probed(objects([text[:20], text[20:]]), lambda done: None)

    assert ("3.11", {"a": "d"}, "") == (found.version, found.distribution_of, found.problem)
    assert ("E", "m\\x1b", 1.0) == (
        found.modules["a"].error,
        found.modules["a"].message,
        found.modules["a"].seconds,
    )


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner),
    max_leaves=8,
)
keys = st.sampled_from(("is", "name", "version", "modules", "several", "seconds", "error"))
kinds = st.sampled_from(("python", "module", "library", "end"))


@given(st.lists(st.dictionaries(keys, values | kinds), max_size=5))
@settings(max_examples=examples(1000), deadline=None)
def test_no_object_breaks_it(told: list[dict[str, object]]):
    found = probed(objects([lines(*told)]), lambda done: None)

    for outcome in (*found.modules.values(), *found.libraries.values()):
        assert isinstance(outcome.name, str)
        assert math.isfinite(outcome.seconds)


@given(st.lists(st.binary(max_size=50), max_size=5))
@settings(max_examples=examples(500), deadline=None)
def test_no_bytes_break_it(parts: list[bytes]):
    probed(objects(parts), lambda done: None)
    answer(b"".join(parts))


def test_lines_without_an_end_are_not_kept():
    endless = (b"x" * (1 << 20) for _ in range(100))

    assert [] == list(objects(endless))


def test_a_long_line_is_passed_over():
    long = {"is": "module", "name": "x" * LINE}

    assert [{"is": "end"}] == list(objects([lines(long, {"is": "end"})]))


@pytest.mark.parametrize(
    "text", [b"", b"[]", b"[200]", b'["200", "", ""]', b"[1e9, 1, 2]", b"[" * 100_000]
)
def test_no_answer_is_no_answer(text: bytes):
    assert 0 == answer(text).status


def test_an_answer_is_read():
    found = answer(b'[200, "text/plain", "aGk="]')

    assert (200, "text/plain", b"hi") == (found.status, found.kind, found.body)
