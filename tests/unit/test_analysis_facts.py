"""What is so about an image."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from systems import debian, facts, facts_of, package
from thorough import examples
from tiny import image, layer


def test_paths_below_a_folder_are_those_and_no_neighbour_s():
    found = facts({"a/b": b"", "a/c/d": b"", "ab": b"", "a.b": b""})

    assert {b"a/b", b"a/c", b"a/c/d"} >= set(found.below(b"a")) >= {b"a/b", b"a/c/d"}


def test_a_folder_that_leaves_whole_is_named_once():
    found = facts({"a": None, "a/b": b"", "a/c": b"", "d": b""})

    assert ["a/"] == found.folded([b"a", b"a/b", b"a/c"])
    assert ["a/b", "d"] == found.folded([b"a/b", b"d"])


@pytest.mark.parametrize(("folder", "stays"), [(b"srv/app", True), (b"data", False)])
def test_the_folder_that_an_image_starts_in_stays(folder: bytes, stays: bool):
    found = facts({"srv/app": None, "data": None}, runtime={"WorkingDir": "/srv/app/"})

    assert stays is found.stays(folder)


def test_a_folder_of_a_package_stays():
    found = facts({**debian(package("x", {"usr/share/x": None})), "usr/share/x/y": b""})  # type: ignore[dict-item]

    assert found.stays(b"usr/share/x")


def test_contents_are_read_by_every_name_of_a_file():
    found = facts_of(image(layer({"a": b"one"}, links={"b": "a"}), layer({"c": b"two"})))

    assert {b"a": b"one", b"b": b"one", b"c": b"two"} == dict(found.contents([b"a", b"b", b"c"]))


NAMES = "abcdef"


@given(
    st.dictionaries(st.sampled_from(NAMES[1:]), st.sampled_from("az")),
    st.sets(st.sampled_from(NAMES)),
)
@settings(max_examples=examples(200), deadline=None)
def test_what_is_freed_in_two_goes_is_never_more_than_at_once(
    links: dict[str, str], gone: set[str]
):
    """Bytes of a file with several names leave with the last one."""
    files = {"a": b"x" * 10, "z": b"y" * 7} | {
        name: name.encode() for name in NAMES[1:] if name not in links
    }
    found = facts(files, links=links)
    paths = {name.encode() for name in gone if name.encode() in found.index.visible}
    half = set(sorted(paths)[::2])

    assert found.freed(half) + found.freed(paths - half) <= found.freed(paths)
    left = {path: header for path, header in found.index.visible.items() if path not in paths}
    inodes = {links.get(path.decode(), path.decode()) for path in left}
    assert found.index.rootfs - found.freed(paths) == sum(len(files[name]) for name in inodes)
