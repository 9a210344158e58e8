"""Which texts of an image can name something, and what stands in them."""

from __future__ import annotations

import io
import zipfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from systems import SITE, facts
from thorough import examples

from slimmer.analysis.texts import Kind, Search, Text, Texts


def zipped(**members: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name.replace("__dot__", ".").replace("__slash__", "/"), content)
    return buffer.getvalue()


def naming(files: dict[str, bytes], *needles: bytes, **others: object) -> list[tuple[str, str]]:
    """Name and kind of every text with one of the needles in it."""
    found: list[tuple[str, str]] = []
    search = Search(needles, lambda text, hits: found.append((text.name, text.kind.value)))
    facts(files, **others).texts.scan([search])
    return found


@pytest.mark.parametrize(
    ("path", "content", "kind"),
    [
        (f"{SITE}/pkg/a.py", b"needle", Kind.PYTHON),
        (f"{SITE}/pkg/a.pyc", b"\xa7\r\r\n\0z\x06needle", Kind.BYTECODE),
        (f"{SITE}/x.pth", b"import needle", Kind.PATH_FILE),
        (f"{SITE}/pkg-1.dist-info/entry_points.txt", b"[x]\na = needle:main", Kind.ENTRY_POINTS),
        ("app/run.sh", b"needle", Kind.SHELL),
        ("app/run", b"#!/bin/sh\nexec needle", Kind.SHELL),
        ("app/run", b"#!/usr/bin/env -S bash -e\nexec needle", Kind.SHELL),
        ("app/run", b"#!/usr/bin/env python3\nimport needle", Kind.PYTHON),
        ("app/run", b"#!/bin/sh\n'''exec' /a/python \"$0\"\n' '''\nimport needle", Kind.PYTHON),
        ("app/run", b"#!/usr/bin/perl\nuse needle", Kind.SCRIPT),
        ("app/index.js", b"needle", Kind.SCRIPT),
        ("app/Makefile", b"run:\n\tneedle", Kind.BUILD),
        ("app/FindX.cmake", b"needle", Kind.BUILD),
        ("app/a.ipynb", b'{"cells": "needle"}', Kind.NOTEBOOK),
        ("app/conf.yaml", b"class: needle", Kind.CONFIG),
        ("app/.env", b"A=needle", Kind.CONFIG),
        ("app/.env.production", b"A=needle", Kind.CONFIG),
        ("app/plugins.txt", b"needle", Kind.CONFIG),
        ("app/Procfile", b"web: needle", Kind.CONFIG),
        ("var/spool/cron/crontabs/root", b"* * * * * needle", Kind.CONFIG),
        ("etc/cron.d/job", b"* * * * * root needle", Kind.CONFIG),
        ("etc/ld.so.preload", b"/usr/lib/needle", Kind.CONFIG),
        ("lib/systemd/system/x.service", b"ExecStart=needle", Kind.CONFIG),
    ],
)
def test_what_something_reads_in_order_to_act_is_looked_through(path: str, content: bytes, kind):
    assert naming({path: content}, b"needle") == [(path, kind.value)]


def test_configuration_that_may_be_run_is_configuration():
    path = "etc/cron.d/job"

    assert naming({path: b"needle"}, b"needle", executable=[path]) == [(path, "configuration")]


@pytest.mark.parametrize(
    ("path", "content"),
    [
        (f"{SITE}/pkg/a.pyi", b"needle"),
        (f"{SITE}/pkg-1.dist-info/METADATA", b"needle"),
        (f"{SITE}/pkg-1.dist-info/RECORD", b"needle"),
        (f"{SITE}/pkg-1.dist-info/a.json", b"needle"),
        (f"{SITE}/pkg/README.md", b"needle"),
        (f"{SITE}/pkg/list.txt", b"needle"),
        ("app/CHANGES.txt", b"needle"),
        ("app/requirements.txt", b"needle"),
        ("var/lib/dpkg/info/x.list", b"/usr/bin/needle"),
        ("usr/share/doc/x/example.sh", b"needle"),
        ("usr/bin/x", b"\x7fELF needle"),
        ("app/data.bin", b"needle"),
        ("app/notes", b"needle"),
        ("app/conf.json", b"\0\0needle"),
    ],
)
def test_what_lists_or_tells_is_not(path: str, content: bytes):
    assert naming({path: content}, b"needle") == []


def test_bytecode_counts_where_it_is_all_there_is():
    both = {
        f"{SITE}/a.py": b"",
        f"{SITE}/__pycache__/a.cpython-311.pyc": b"needle",
        f"{SITE}/__pycache__/b.cpython-311.pyc": b"needle",
    }

    assert naming(both, b"needle") == [
        (f"{SITE}/__pycache__/b.cpython-311.pyc", "Python bytecode"),
    ]


def test_zips_of_modules_are_opened():
    app = zipped(__main____dot__py=b"import needle", notes__dot__txt=b"needle")
    files = {"app/z.pyz": app, "app/tool": b"#!/usr/bin/python3\n" + app, "app/odd.zip": b"PK\3\4"}

    assert naming(files, b"needle") == [
        ("app/z.pyz!__main__.py", "Python source"),
        ("app/tool!__main__.py", "Python source"),
    ]


def test_the_config_of_the_image_is_a_text():
    runtime = {
        "Entrypoint": ["/bin/needle"],
        "Cmd": ["sh", "-c", "python -m needle"],
        "Healthcheck": {"Test": ["CMD", "needle"]},
        "Env": ["A=needle", "B=other", "needle=1"],
        "Labels": {"x": "needle"},
    }

    assert [name for name, _ in naming({}, b"needle", runtime=runtime)] == [
        *("Entrypoint", "Cmd", "Healthcheck", "Env A", "Label x"),
    ]


def test_each_search_is_told_of_its_own_in_one_reading():
    image = facts({f"{SITE}/a.py": b"one two twofold", "etc/x.conf": b"two"})
    read: list[bytes] = []

    def readers(paths):
        for path, content in image.readers(paths):
            read.append(path)
            yield path, content

    told: list[tuple[str, bytes, list[tuple[int, bytes]]]] = []

    def teller(who: str):
        return lambda text, hits: told.append(
            (who, text.path, [(hit.start, hit.needle) for hit in hits])
        )

    Texts(image.index, readers).scan(
        [
            Search((b"one", b"two"), teller("a"), frozenset({Kind.PYTHON})),
            Search((b"two",), teller("b")),
            Search((b"two",), teller("c"), frozenset({Kind.PYTHON}), whole_words=False),
        ]
    )

    source = f"{SITE}/a.py".encode()
    assert told == [
        ("a", source, [(0, b"one"), (4, b"two")]),
        ("b", source, [(4, b"two")]),
        ("c", source, [(4, b"two"), (8, b"two")]),
        ("b", b"etc/x.conf", [(0, b"two")]),
    ]
    assert len(read) == len(set(read))


def test_words_of_bytecode_end_where_their_length_says():
    assert naming({"app/a.pyc": b"\xda\x06needler\x03"}, b"needle")
    assert not naming({"app/a.py": b"needler"}, b"needle")


def test_a_pass_may_be_over_some_texts_only():
    image = facts({f"{SITE}/a.py": b"needle", f"{SITE}/b.py": b"needle"})
    found: list[bytes] = []
    search = Search((b"needle",), lambda text, hits: found.append(text.path))
    image.texts.scan([search], [f"{SITE}/b.py".encode(), b"no/such.py"])

    assert found == [f"{SITE}/b.py".encode()]


@settings(max_examples=examples(300), deadline=None)
@given(
    st.lists(st.text("ab._/", min_size=1, max_size=4), min_size=1, max_size=6, unique=True),
    st.text("ab._/ \n", max_size=40),
)
def test_every_whole_word_is_found_wherever_needles_overlap(needles: list[str], content: str):
    wanted = [needle.encode() for needle in needles]
    text = content.encode()
    found: set[tuple[int, bytes]] = set()
    search = Search(
        tuple(wanted), lambda _, hits: found.update((hit.start, hit.needle) for hit in hits)
    )
    facts({"app/a.py": text}).texts.scan([search])

    def is_word(place: int) -> bool:
        return 0 <= place < len(text) and (text[place : place + 1].isalnum() or text[place] == 95)

    assert found == {
        (start, needle)
        for needle in wanted
        for start in range(len(text))
        if text.startswith(needle, start)
        and not is_word(start - 1)
        and not is_word(start + len(needle))
    }


def test_a_hit_knows_its_line():
    assert Text(b"a.py", Kind.PYTHON, b"x\ny\nneedle").line(4) == 3
