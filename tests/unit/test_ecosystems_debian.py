"""dpkg's texts: paragraphs, dependency fields, alternatives, diversions."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from thorough import examples

from slimmer.ecosystems import debian
from slimmer.ecosystems.debian import Alternative, Diversion

STATUS = b"""Package: a
Status: install ok installed
Architecture: amd64
Depends: b (>= 1) | c:any, d
Description: one
 two
 .

Package: gone
Status: deinstall ok config-files
Architecture: amd64


Package: b
Status: install ok installed
Architecture: all
"""


def test_paragraphs_have_their_fields_with_the_lines_that_go_on():
    found = list(debian.paragraphs(STATUS))

    assert [b"a", b"gone", b"b"] == [fields[b"Package"] for fields in found]
    assert found[0][b"Description"] == b"one\n two\n ."
    assert [True, False, True] == [debian.is_installed(fields) for fields in found]


@pytest.mark.parametrize("package", [b"a", b"gone", b"b"])
def test_a_paragraph_leaves_with_the_line_that_ends_it(package: bytes):
    about = {(package, b"amd64"), (package, b"all")}
    [(start, end)] = debian.spans(STATUS, about)
    rest = STATUS[:start] + STATUS[end:]

    assert [one[b"Package"] for one in debian.paragraphs(STATUS) if one[b"Package"] != package] == [
        one[b"Package"] for one in debian.paragraphs(rest)
    ]


def test_a_dependency_field_is_groups_of_names():
    field = b"b (>= 1.0~) | c:any, d [amd64],\n e (= 1),"

    assert (("b", "c"), ("d",), ("e",)) == debian.groups(field)
    assert ("b (>= 1.0~) | c:any", "d [amd64]", "e (= 1)") == debian.dependencies(field)
    assert () == debian.groups(b"")


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({b"Essential": b"yes"}, "dpkg holds it to be essential"),
        ({b"Protected": b"yes"}, "dpkg holds it to be protected"),
        ({b"Priority": b"required"}, "its priority is required"),
        ({b"Priority": b"optional", b"Essential": b"no"}, ""),
    ],
)
def test_what_is_protected_says_why(fields: dict[bytes, bytes], why: str):
    assert why == debian.protected(fields)


def test_apt_tells_what_it_installed_on_its_own_account():
    states = (
        b"Package: a\nArchitecture: amd64\nAuto-Installed: 1\n\nPackage: b\nAuto-Installed: 0\n"
    )

    assert frozenset({(b"a", b"amd64")}) == debian.automatic(states)


@pytest.mark.parametrize("line", [b"/usr/lib libc-bin", b"libc-bin:amd64/noawait", b"libc-bin"])
def test_a_trigger_names_its_package(line: bytes):
    assert b"libc-bin" == debian.triggered(line)


def test_diversions_come_in_threes_and_what_is_cut_is_left_out():
    raw = b"/bin/sh\n/bin/sh.distrib\ndash\n/a\nodd\n:\n/b\n/c\n"

    assert [Diversion(b"bin/sh", b"bin/sh.distrib", b"dash")] == list(debian.diversions(raw))


WORDS = st.binary(min_size=1, max_size=6).filter(lambda word: b"\n" not in word)


@given(
    st.lists(st.tuples(WORDS, WORDS), max_size=3),
    st.lists(WORDS, min_size=1, max_size=4, unique=True),
    st.sets(st.integers(0, 3)),
)
@settings(max_examples=examples(300))
def test_a_record_of_alternatives_loses_just_the_choices_that_leave(
    slaves: list[tuple[bytes, bytes]], choices: list[bytes], numbers: set[int]
):
    lines = [b"auto", b"/usr/bin/master"]
    for name, path in slaves:
        lines += [name, path]
    lines.append(b"")
    for choice in choices:
        lines += [choice, b"50", *(b"/slave" for _ in slaves)]
    record = b"\n".join([*lines, b"", b""])
    away = [choice for number, choice in enumerate(choices) if number in numbers]
    parsed = Alternative.parse(record)

    assert ((b"", b"/usr/bin/master"), *slaves) == parsed.links
    assert tuple(choices) == parsed.choices
    left = record
    for start, end in reversed(Alternative.spans(record, away)):
        left = left[:start] + left[end:]
    assert Alternative.parse(left) == (
        parsed.links,
        tuple(choice for choice in choices if choice not in away),
    )
