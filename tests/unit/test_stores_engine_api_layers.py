"""Which files of a layer's folder an engine may be asked for by their path on its host."""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from thorough import examples
from tiny import tar

from slimmer.stores.engine.api_layers import straight
from slimmer.tar.reading import Stream, walk

Member = tuple[str, str, bytes | str]

NAMES = st.lists(st.sampled_from("abc"), min_size=1, max_size=3).map("/".join)
MEMBERS = st.lists(
    st.one_of(
        st.tuples(st.just("file"), NAMES, st.just(b"x")),
        st.tuples(st.just("folder"), NAMES, st.just("")),
        st.tuples(st.just("symlink"), NAMES, st.sampled_from(["a", "b", "../a", "b/c", "nowhere"])),
        st.tuples(st.just("link"), NAMES, NAMES),
    ),
    max_size=8,
)


def unpacked(root: Path, members: list[Member]) -> None:
    """What an engine makes of a layer: parents made where they are missing, and symlinks on the
    way followed; a member takes the place of what is there."""
    for kind, name, more in members:
        target = root / name
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            if target.is_symlink() or target.is_file():
                target.unlink()
            elif target.is_dir() and kind != "folder":
                shutil.rmtree(target)
            if kind == "file":
                target.write_bytes(bytes(more, "ascii") if isinstance(more, str) else more)
            elif kind == "folder":
                target.mkdir(exist_ok=True)
            elif kind == "symlink":
                target.symlink_to(str(more))
            else:
                os.link(root / str(more), target, follow_symlinks=False)
        except OSError:
            continue  # the engine would refuse the layer here; what came before may still be there


def lies_there(root: Path, path: bytes) -> bool:
    """Whether a regular file lies at the path, with nothing but folders on the way."""
    place = root
    *folders, _ = parts = os.fsdecode(path).split("/")
    for number, part in enumerate(parts):
        place = place / part
        mode = place.lstat().st_mode
        if not (stat.S_ISDIR(mode) if number < len(folders) else stat.S_ISREG(mode)):
            return False
    return True


@settings(max_examples=examples(2000), deadline=None)
@given(MEMBERS)
def test_what_may_be_named_lies_just_where_the_tar_says(members: list[Member]):
    headers = [header for header, _ in walk(Stream(iter([tar(*members)])))]

    named = straight(headers)

    with tempfile.TemporaryDirectory() as folder:
        unpacked(Path(folder), members)
        for path in named:
            assert lies_there(Path(folder), path)


def test_an_ordinary_layer_is_named_whole():
    members: list[Member] = [
        ("folder", "usr", ""),
        ("folder", "usr/lib", ""),
        ("symlink", "lib", "usr/lib"),
        ("file", "usr/lib/x", b"x"),
        ("file", "opt/without/its/folders", b"x"),
        ("link", "usr/lib/y", "usr/lib/x"),
        ("folder", "usr", ""),
    ]
    headers = [header for header, _ in walk(Stream(iter([tar(*members)])))]

    assert {b"usr/lib/x", b"opt/without/its/folders"} == straight(headers)


@pytest.mark.parametrize(
    "trap",
    [
        # a symlink takes a file's place through a symlink to its folder
        [("file", "x/f", b"x"), ("symlink", "d", "x"), ("symlink", "d/f", "/etc/passwd")],
        # a folder that is a hard link to a symlink
        [("symlink", "s", "/etc"), ("link", "a", "s"), ("file", "a/passwd", b"x")],
        # a symlink takes a folder's place afterwards
        [("folder", "a", ""), ("file", "a/passwd", b"x"), ("symlink", "a", "/etc")],
        [("file", "f", b"x"), ("symlink", "f", "/etc/passwd")],
    ],
)
def test_a_layer_that_may_lead_to_the_host_has_no_file_to_be_named(trap: list[Member]):
    headers = [header for header, _ in walk(Stream(iter([tar(*trap)])))]

    assert not straight(headers)
