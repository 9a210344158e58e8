"""Where members come to lie, and what a mount shows; `compat/test_mounts.py` asks a real engine."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from thorough import examples
from tiny import image, layer, tar

from slimmer.edits.changes import Changes
from slimmer.evidence import Evidence
from slimmer.index import Index
from slimmer.placement import differs, mounted, replaced

NOTHING = Evidence([])


def scan(*tars: bytes) -> Index:
    return Index.scan(image(*tars), NOTHING)


def test_anything_but_a_folder_takes_away_what_its_own_layer_put_into_one():
    index = scan(
        tar(
            ("folder", "d", ""),
            ("file", "d/x", b"1"),
            ("file", "d/e/y", b"22"),
            ("symlink", "d", "/tmp"),
            ("file", "f/z", b"333"),
            ("file", "f", b"4444"),
        )
    )

    assert {b"d", b"f"} == set(index.visible)
    assert {(b"d/x", b"d"), (b"d/e/y", b"d"), (b"d", b"d"), (b"f/z", b"f")} == {
        (one.header.path, one.by) for one in index.layers[0].hidden
    }
    assert (10, 4, 6) == (index.unpacked, index.rootfs, index.overwritten)


def test_what_comes_after_a_symlink_lies_behind_it_and_before_it_is_gone():
    index = scan(
        tar(
            ("file", "d/x", b"1"),
            ("symlink", "d", "e"),
            ("file", "d/y", b"22"),
            ("file", "e/z", b""),
        )
    )

    assert {b"d", b"e/y", b"e/z"} == set(index.visible)


def test_a_link_keeps_the_bytes_of_a_file_whose_folder_was_replaced():
    index = scan(tar(("file", "d/x", b"1"), ("link", "y", "d/x"), ("symlink", "d", "/tmp")))

    assert {b"d", b"y"} == set(index.visible)
    assert (1, 1, 0) == (index.unpacked, index.rootfs, index.overwritten)


def test_symlinks_below_a_folder_that_something_replaced_lead_nowhere_any_more():
    index = scan(
        layer({"real/x": b"1"}, symlinks={"d/lib": "/real"}),
        layer({"d": b"22"}),
        layer({"d": None, "d/lib/y": b"333"}),
    )

    assert b"d/lib/y" in index.visible


def test_a_whiteout_behind_a_symlink_takes_a_symlink_away():
    index = scan(
        layer({"usr/x": b""}, symlinks={"lib": "usr", "usr/deep": "/elsewhere"}),
        layer({}, removed=["lib/deep"]),
        layer({"usr/deep/y": b"1"}),
    )

    assert b"usr/deep/y" in index.visible


BEHIND = (
    layer({"usr/lib/x": b"old", "usr/lib/y": b""}, symlinks={"lib": "usr/lib"}),
    layer({"lib/x": b"newer"}),
)
OPAQUE_ROOT = (layer({"a": b"1", "d/b": b"22"}), layer({"c": b"3"}, opaque=[""]))
NO_HOLE = (
    layer({"d/a": b"1"}),
    tar(("file", ".wh.d", b""), ("folder", "d", ""), ("file", "d/b", b"22")),
)


@pytest.mark.parametrize(
    ("tars", "both"),
    [(BEHIND, {b"usr/lib/x"}), (OPAQUE_ROOT, {b"a", b"d/b"}), (NO_HOLE, {b"d/a"})],
)
def test_what_mounts_show_though_the_specification_hides_it_stays_and_is_told(
    tars: tuple[bytes, ...], both: set[bytes]
):
    index = scan(*tars)

    assert both == {
        one.header.path
        for layer in index.layers
        for one in layer.hidden
        if (layer.number, one.header.start) in index.mount_shows
    }
    assert not list(index.droppable())
    more = index.rootfs + index.deleted + index.overwritten
    assert any(f"{more} bytes instead of {index.rootfs}" in problem for problem in index.problems)


def test_a_folder_in_which_a_mount_shows_something_is_not_emptied():
    index = scan(
        layer({"d": None, "d/low": b"1"}), layer({"d": None, "d/high": b"22"}, opaque=[""])
    )

    changes = Changes.of(index, [b"d/high", b"d"])

    assert {b"d/high"} == changes.removed
    assert not changes.edits[0]


def test_images_of_which_both_views_are_one_are_not_asked_twice():
    tars = (
        layer({"d/a": b"1", "b": b"2"}, symlinks={"l": "d"}),
        layer({"d": None, "d/c": b"3"}, removed=["b"], opaque=["d"]),
    )
    members = [layer.headers for layer in scan(*tars).layers]

    assert not differs(members, moved=False)
    assert not scan(*tars).mount_shows


# --- where nothing is odd, both views are one -----------------------------------------------------

PATHS = st.lists(st.sampled_from("abc"), min_size=1, max_size=3).map("/".join)
MEMBER = st.one_of(
    st.tuples(st.just("file"), PATHS, st.binary(max_size=3)),
    st.tuples(st.just("folder"), PATHS, st.just("")),
    st.tuples(st.just("gone"), PATHS, st.just(b"")),
    st.tuples(st.just("opaque"), PATHS, st.just(b"")),
)


def written(members: list[tuple[str, str, bytes | str]]) -> bytes:
    """A layer as a tool writes it: no path twice, folders before what lies in them."""
    made: dict[str, tuple[str, str, bytes | str]] = {}
    for kind, path, more in members:
        folders = [path.rsplit("/", depth)[0] for depth in range(path.count("/"), 0, -1)]
        if any(made.get(folder, ("folder",))[0] != "folder" for folder in folders):
            continue
        if path in made or any(other.startswith(f"{path}/") for other in made):
            continue
        for folder in folders:
            made.setdefault(folder, ("folder", folder, ""))
        directory, _, name = path.rpartition("/")
        inside = f"{directory}/" if directory else ""
        if kind == "gone":
            made[path] = ("file", f"{inside}.wh.{name}", b"")
        elif kind == "opaque":
            made[path] = ("folder", path, "")
            made[f"{path}/.wh..wh..opq"] = ("file", f"{path}/.wh..wh..opq", b"")
        else:
            made[path] = (kind, path, more)
    return tar(*made.values())


@settings(max_examples=examples(1000), deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.lists(MEMBER, max_size=6), min_size=1, max_size=4))
def test_both_views_are_one_where_no_layer_is_odd(
    layers: list[list[tuple[str, str, bytes | str]]],
):
    index = scan(*map(written, layers))
    members = [layer.headers for layer in index.layers]

    shown = {members[number][place].path: number for number, place in mounted(members)}

    assert not differs(members, moved=False)
    assert shown == dict(index.layer_of)


def test_replacing_is_linear_in_members():
    members = [("file", f"d/{number % 50}/{number}", b"") for number in range(3000)]
    index = scan(tar(*members, ("symlink", "d", "e")))

    assert 3000 == len(replaced(index.layers[0].headers))
