"""What becomes of members when layers are laid over one another."""

from __future__ import annotations

import io
from contextlib import contextmanager
from typing import TYPE_CHECKING, BinaryIO

import pytest
from tiny import Bytes, config, image, layer, tar

from slimmer.evidence import Evidence
from slimmer.image import Config, Descriptor, Digest, Image, ImageError
from slimmer.index import ESTARGZ, Index

if TYPE_CHECKING:
    from collections.abc import Iterator

NOTHING = Evidence([])


def scan(*tars: bytes) -> Index:
    return Index.scan(image(*tars), NOTHING)


def test_a_whiteout_hides_a_file_but_keeps_its_bytes():
    index = scan(layer({"opt/a": b"x" * 10}), layer({}, removed=["opt/a"]))

    assert (10, 10, 0) == (index.unpacked, index.deleted, index.rootfs)


def test_a_whiteout_of_a_directory_deletes_all_that_lies_below():
    index = scan(
        layer({"opt/a": b"x", "opt/b/c": b"yy", "optical": b"zzz"}), layer({}, removed=["opt"])
    )

    assert {b"optical"} == set(index.visible)
    assert [(1, b"opt"), (1, b"opt")] == [(h.layer, h.by) for h in index.layers[0].hidden]


def test_a_whiteout_never_hits_its_own_layer_whatever_their_order():
    index = scan(layer({"a": b"old"}), layer({"a": b"new!"}, removed=["a"]))

    assert (4, 0, 3) == (index.visible[b"a"].size, index.deleted, index.overwritten)


def test_an_opaque_directory_hides_lower_children_only():
    index = scan(
        layer({"d": None, "d/low": b"1", "d/sub/low": b"22"}),
        layer({"d": None, "d/high": b"333"}, opaque=["d"]),
    )

    assert {b"d", b"d/high"} == set(index.visible)
    assert 3 == index.deleted


def test_a_file_in_place_of_a_directory_hides_its_children_even_when_it_goes_again():
    index = scan(layer({"a/x": b"1"}), layer({"a": b"22"}), layer({"a": None, "a/y": b"333"}))

    assert {b"a", b"a/y"} == set(index.visible)
    assert [("overwritten", 1, b"a")] == [(h.how, h.layer, h.by) for h in index.layers[0].hidden]


def test_what_hides_a_member_is_the_nearest_layer_above():
    index = scan(layer({"a": b"1"}), layer({}, removed=["a"]), layer({"a": b"22"}))

    assert [("deleted", 1)] == [(h.how, h.layer) for h in index.layers[0].hidden]


def test_a_directory_named_like_a_whiteout_is_an_ordinary_one():
    index = scan(layer({"etc/somefile": b"1"}), layer({".wh.etc/somefile": b"22"}))

    assert {b"etc/somefile", b".wh.etc/somefile"} == set(index.visible)


@pytest.mark.parametrize("name", ["", ".", ".."])
def test_a_whiteout_of_nothing_is_an_error(name: str):
    with pytest.raises(ImageError, match="names nothing"):
        scan(layer({"a": b""}), layer({f"d/.wh.{name}": b""}))


def test_a_whiteout_of_nothing_is_an_error_in_the_lowest_layer_too():
    with pytest.raises(ImageError, match="names nothing"):
        scan(layer({"d/.wh.": b""}))


def test_a_hard_link_carries_the_bytes_when_its_first_name_is_deleted():
    index = scan(layer({"a": b"12345"}, links={"b": "a"}), layer({}, removed=["a"]))

    assert (5, 5, 0) == (index.visible[b"b"].size, index.rootfs, index.deleted)


def test_a_hard_link_to_nothing_is_a_problem_that_is_told():
    index = scan(
        layer({"a": b"1"}, links={"b": "a", "gone": "none", "self": "self"}),
        layer({}, links={"c": "a"}),
    )

    assert ("layer 0: 2 hard links to nothing, such as b'gone'",) == index.problems


def test_bytes_are_deleted_once_no_name_is_left():
    index = scan(layer({"a": b"12345"}, links={"b": "a"}), layer({}, removed=["a", "b"]))

    assert (0, 5) == (index.rootfs, index.deleted)


def test_a_member_below_a_symlink_of_a_lower_layer_lies_behind_it():
    index = scan(
        layer({"usr/lib/old": b"1"}, symlinks={"lib": "usr/lib"}), layer({"lib/new": b"22"})
    )

    assert b"usr/lib/new" in index.visible
    assert b"lib" in index.visible
    assert ("layer 1: 1 members lie behind a symlink of the image",) == index.problems


def test_evidence_is_read_by_glob_and_only_where_visible():
    tars = layer({"x/METADATA": b"old"}), layer({"x/METADATA": b"new", "x/OTHER": b"no"})
    index = Index.scan(image(*tars), Evidence([("**/METADATA", 2)]))

    assert {b"x/METADATA": b"ne"} == index.evidence


def test_a_symlink_resolves_within_the_image():
    index = scan(layer({"usr/bin/x": b""}, symlinks={"bin": "/usr/bin", "up": "../../bin/x"}))

    assert b"usr/bin/x" == index.resolve(b"bin/x") == index.resolve(b"up")


FOOTER = (
    b"\x1f\x8b\x08\x04\0\0\0\0\0\xff\x1a\0SG\x16\0"
    + b"%016x" % 4711
    + b"STARGZ\x01\0\0\xff\xff"
    + bytes(8)
)
"""An empty gzip member that says where the table of contents is (stargz-snapshotter)."""


class Blob(Bytes):
    """A layer in memory whose medium keeps a blob that ends like this."""

    def __init__(self, tar: bytes, end: bytes) -> None:
        super().__init__(tar)
        self._end = end

    @contextmanager
    def open_blob(self) -> Iterator[BinaryIO]:  # type: ignore[override]
        yield io.BytesIO(bytes(3000) + self._end)


@pytest.mark.parametrize(
    ("annotated", "end", "last", "hidden"),
    [
        (True, FOOTER, True, True),
        (True, b"", True, False),
        (False, FOOTER, True, False),
        (True, FOOTER, False, False),
    ],
)
def test_only_what_is_proved_to_be_estargz_has_members_that_are_no_files(
    annotated: bool, end: bytes, last: bool, hidden: bool
):
    members = [("file", ".prefetch.landmark", b"\x0f"), ("file", "stargz.index.json", b"{}")]
    made = tar(("file", "a", b"x"), *members[:: 1 if last else -1])
    annotations = ((ESTARGZ, "sha256:" + "0" * 64),) if annotated else ()
    descriptor = Descriptor(
        "application/vnd.oci.image.layer.v1.tar", Digest.of(made), 1, annotations
    )
    blob = Blob(made, end)

    index = Index.scan(
        Image.of("tiny", Config.parse(config([made])), [(blob, descriptor, None)]), NOTHING
    )

    if hidden:
        assert ({b"a"}, 1) == (set(index.visible), index.unpacked)
    else:
        assert {b"a", b".prefetch.landmark", b"stargz.index.json"} == set(index.visible)
        assert 4 == index.unpacked
