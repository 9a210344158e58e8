"""Which format a file's name means."""

from __future__ import annotations

import pytest

from slimmer.formats import forms


@pytest.mark.parametrize(
    ("name", "known", "form"),
    [
        ("r.json", forms.REPORT, "json"),
        ("a/r.markdown", forms.REPORT, "markdown"),
        ("r.html", forms.COMPARISON, "html"),
        ("r.xml", forms.GATE, "junit"),
        ("r.sarif", forms.GATE, "sarif"),
        ("r.sarif", forms.REPORT, "text"),
        ("r.txt", forms.GATE, "text"),
        ("-", forms.GATE, "text"),
        (None, forms.REPORT, "text"),
    ],
)
def test_a_name_means_a_format_that_its_result_has(
    name: str | None, known: tuple[str, ...], form: str
):
    assert form == forms.by_name(name, known)


def test_a_name_that_means_none_leaves_the_one_that_was_asked_for():
    assert "markdown" == forms.by_name("summary", forms.GATE, "markdown")
