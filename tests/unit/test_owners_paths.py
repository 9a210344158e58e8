"""Paths as records write them, told as the index knows them."""

from __future__ import annotations

from systems import facts

from slimmer.owners.paths import RealPaths, folders, text


def test_a_path_is_shown_by_its_real_name():
    index = facts({"usr/lib/x": b"x"}, symlinks={"lib": "usr/lib", "opt/l": "/usr/lib/x"}).index
    paths = RealPaths(index)

    assert [b"usr/lib/x"] == paths.shown([b"lib/x"])
    assert [b"opt/l"] == paths.shown([b"opt/l"]), "a symlink is itself what was recorded"
    assert [] == paths.shown([b"lib", b"none"])


def test_folders_are_those_that_hold_something():
    assert {b"a", b"a/b", b"c"} == set(folders(facts({"a/b/x": b"", "c/y": b"", "z": b""}).index))


def test_a_name_is_text_on_one_line():
    assert "a b" == text(b" a\n b ")
    assert "\N{REPLACEMENT CHARACTER}" == text(b"\xff")
