"""Tables of TOML files: what is wrong is named by file, table and key."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from slimmer.errors import SlimmerError
from slimmer.toml import Table

if TYPE_CHECKING:
    from collections.abc import Callable


class OddError(SlimmerError):
    """As a caller has its own."""


def table(text: str, where: str = "s.toml") -> Table:
    return Table.parse(text, where, OddError)


def test_what_is_there_is_read_and_what_is_missing_is_empty():
    read = table("a = 'x'\nb = ['y', 'z']\nc = 'one'\n[d]\ne = 'deep'")

    assert ("x", ("y", "z"), ("one",)) == (read.text("a"), read.texts("b"), read.texts("c"))
    assert ("", (), {}) == (read.text("no"), read.texts("no"), read.table("no").fields)
    assert "deep" == read.table("d").text("e")
    assert "one" == read.choice("c", ("one", "two"), "two")
    assert "two" == read.choice("no", ("one", "two"), "two")


@pytest.mark.parametrize(
    ("text", "ask", "message"),
    [
        ("a = ", lambda read: read, "s.toml: Invalid value"),
        ("a = 1", lambda read: read.text("a"), "s.toml: a: expected a text, got 1"),
        ("a = ' '", lambda read: read.text("a"), "s.toml: a: expected a text, got ' '"),
        ("a = ['']", lambda read: read.texts("a"), "s.toml: a: expected a list of texts, got ['']"),
        ("a = 1", lambda read: read.table("a"), "s.toml: a: expected a table, got 1"),
        ("a = 1", lambda read: list(read.tables()), "s.toml: a: expected a table, got 1"),
        ("[t]\nb = 1", lambda read: read.table("t").text("b"), "s.toml: t.b: expected a text"),
        ("a = 1", lambda read: read.only(("b",)), "s.toml: there is no key 'a'"),
        ("[t]\nb = 1", lambda read: read.table("t").only(()), "s.toml: t: there is no key 'b'"),
        ("a = 1", lambda read: read.having("a", "b"), "s.toml: the key 'b' is missing"),
        ("a = 'x'", lambda read: read.choice("a", "yz", "y"), "expected one of y, z, got 'x'"),
    ],
)
def test_what_is_wrong_names_its_place(text: str, ask: Callable[[Table], Any], message: str):
    with pytest.raises(OddError) as caught:
        ask(table(text))

    assert message in caught.value.message


def test_a_table_of_tables_is_read_by_name():
    read = table("[a]\nx = '1'\n[b]\nx = '2'")

    assert [("a", "1"), ("b", "2")] == [(name, one.text("x")) for name, one in read.tables()]
