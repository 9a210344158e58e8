"""Python's packaging texts: requirements, RECORD, folders of distributions, bytecode."""

from __future__ import annotations

import csv
import importlib.util
import io

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from packaging.requirements import Requirement as Theirs
from packaging.utils import canonicalize_name
from thorough import examples

from slimmer.ecosystems.python import (
    Requirement,
    Site,
    environment,
    is_cached,
    is_optimized,
    record_names,
    record_rows,
    recorded_path,
    source_of,
)

NAMES = st.from_regex(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,6}[A-Za-z0-9])?", fullmatch=True)
EXTRAS = st.lists(NAMES, max_size=2).map(lambda names: f"[{','.join(names)}]" if names else "")
VERSIONS = st.sampled_from(["", ">=1", " (>=1.0,<2)", " ==1.*", "~= 1.1 , != 1.2", "<1.dev0"])
MARKERS = st.sampled_from(
    [
        "",
        "; python_version < '3.9'",
        ' ; sys_platform == "linux" and extra == "Some.Thing"',
        '; extra=="a" or extra == "b"',
        "; platform_machine != 'x86_64'",
    ]
)
LINUX = environment("3.11.2", "x86_64")


@given(NAMES, EXTRAS, VERSIONS, MARKERS, st.sampled_from(["", "a", "b", "some-thing"]))
@settings(max_examples=examples(500), deadline=None)
def test_requirements_are_read_as_packaging_reads_them(
    name: str, extras: str, versions: str, marker: str, extra: str
):
    text = name + extras + versions + marker
    ours, theirs = Requirement.parse(text), Theirs(text)

    assert ours is not None
    assert (canonicalize_name(theirs.name), {canonicalize_name(one) for one in theirs.extras}) == (
        *(ours.name, set(ours.extras)),
    )
    for version in ("0.9", "1.0", "1.2", "2"):
        assert theirs.specifier.contains(version, prereleases=True) is ours.allows(version)
    holds = theirs.marker is None or theirs.marker.evaluate({**LINUX, "extra": extra})
    assert holds is ours.holds(LINUX, extra)
    if holds and theirs.marker is not None and "extra" in marker:
        assert ours.concerns(extra)


@pytest.mark.parametrize(
    ("text", "versions", "marker"),
    [
        ("a @ https://x/y;z ; python_version > '3'", "", "python_version > '3'"),
        ("a @ file:///x;y", "", ""),
        ("a[b]>=1", ">=1", ""),
    ],
)
def test_a_url_may_hold_a_semicolon(text: str, versions: str, marker: str):
    found = Requirement.parse(text)

    assert found is not None
    assert (versions, marker) == (found.versions, found.marker)


@pytest.mark.parametrize("marker", ["python_version >", "nonsense == '1'", "('" * 500])
def test_an_unreadable_marker_holds_unless_it_is_about_an_extra(marker: str):
    plain, extra = (Requirement.parse(f"a ; {marker}{more}") for more in ("", " extra"))

    assert plain is not None
    assert extra is not None
    assert plain.holds(LINUX)
    assert not extra.holds(LINUX)


def test_nobody_can_tell_what_unreadable_versions_allow():
    odd, fine = Requirement.parse("a >=>1"), Requirement.parse("a>1")

    assert odd is not None
    assert fine is not None
    assert (None, None) == (odd.allows("1"), fine.allows("one"))
    assert Requirement.parse("-r other.txt") is None


@pytest.mark.parametrize(
    ("site", "expected"),
    [
        (b"usr/local/lib/python3.11/site-packages", Site(b"usr/local", False, "3.11", False)),
        (b"opt/x/lib64/python3.13t/site-packages", Site(b"opt/x", False, "3.13", True)),
        (b"usr/lib/python3/dist-packages", Site(b"usr", False, "", False)),
        (b"lib/pypy3.10/site-packages", Site(b"", True, "3.10", False)),
        (b"opt/target", None),
    ],
)
def test_a_folder_of_distributions_says_whose_it_is(site: bytes, expected: Site | None):
    assert expected == Site.parse(site)


CELLS = st.text(
    st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"], include_characters='",'),
    min_size=1,
    max_size=8,
)


@given(st.lists(st.tuples(CELLS, CELLS, CELLS), max_size=6), st.sampled_from(["\n", "\r\n"]))
@settings(max_examples=examples(500))
def test_rows_are_those_that_csv_wrote(rows: list[tuple[str, str, str]], end: str):
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator=end).writerows(rows)
    record = text.getvalue().encode()
    found = list(record_rows(record))

    assert rows == [tuple(cell.decode() for cell in row.cells) for row in found]
    assert record == b"".join(row.raw for row in found)
    assert [record[: row.start] for row in found] == [
        b"".join(row.raw for row in found[:number]) for number in range(len(found))
    ]
    assert [row[0].encode() for row in rows] == record_names(record)


@given(st.binary(max_size=40) | st.text('",a\n\r ', max_size=20).map(str.encode))
@settings(max_examples=examples(1000))
def test_no_byte_of_an_odd_record_is_lost(record: bytes):
    found = list(record_rows(record))

    assert record == b"".join(row.raw for row in found)
    assert all(row.cells for row in found)


LINKS = {b"usr/link": b"opt/real"}


def resolved(path: bytes) -> bytes:
    parts: list[bytes] = []
    for part in path.split(b"/"):
        if part == b"..":
            del parts[-1:]
        elif part not in (b"", b"."):
            parts.append(part)
        parts = LINKS.get(b"/".join(parts), b"/".join(parts)).split(b"/") if parts else parts
    return b"/".join(parts)


@pytest.mark.parametrize(
    ("folder", "name", "expected"),
    [
        (b"usr/lib/s", b"a/b.py", b"usr/lib/s/a/b.py"),
        (b"usr/lib/s", b"../../bin/tool", b"usr/bin/tool"),
        (b"usr/link", b"c.py", b"opt/real/c.py"),
        (b"usr/lib/s", b"/etc/x", b"etc/x"),
        (b"opt/target", b"../../bin/moved", b"opt/target/bin/moved"),
        (b"", b"top.py", b"top.py"),
    ],
)
def test_a_recorded_name_is_found_where_it_lies(folder: bytes, name: bytes, expected: bytes):
    visible = {
        *(b"usr/lib/s/a/b.py", b"usr/bin/tool", b"opt/real/c.py", b"etc/x"),
        *(b"opt/target/bin/moved", b"top.py"),
    }

    assert expected == recorded_path(folder, name, visible, resolved)


STEMS = st.from_regex(r"[A-Za-z_][A-Za-z0-9_.]{0,10}[A-Za-z0-9_]", fullmatch=True)


@given(STEMS, st.sampled_from(["", "1", "2"]), st.sampled_from(["", "a/", "a/b/"]))
@settings(max_examples=examples(500))
def test_bytecode_leads_to_the_source_that_python_compiled(
    stem: str, optimization: str, folder: str
):
    source = f"{folder}{stem}.py"
    cached = importlib.util.cache_from_source(source, optimization=optimization).encode()

    assert source.encode() == source_of(cached)
    assert is_cached(cached)
    assert bool(optimization) is is_optimized(cached)


@pytest.mark.parametrize(
    ("path", "source"),
    [
        (b"p/__pycache__/test_a.cpython-311-pytest-8.3.4.pyc", b"p/test_a.py"),
        (b"__pycache__/m.pypy310.pyc", b"m.py"),
        (b"p/__pycache__/m.graalpy240-311.pyc", b"p/m.py"),
        (b"p/alone.pyc", b"p/alone.py"),
        (b"p/alone.pyo", b"p/alone.py"),
        (b"p/__pycache__/odd.pyc", None),
        (b"p/m.py", None),
    ],
)
def test_bytecode_of_other_makers_leads_to_its_source_too(path: bytes, source: bytes | None):
    assert source == source_of(path)
