"""ld.so's cache names no library that left, and ldconfig reads what is written."""

from __future__ import annotations

import shutil
import struct
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from systems import facts

from slimmer.actions.loader_cache import CACHE, MAGIC, LoaderCache, entries, without
from slimmer.splice import view

if TYPE_CHECKING:
    from collections.abc import Sequence

HOST = Path("/etc/ld.so.cache")


def cache(paths: Sequence[str]) -> bytes:
    """A cache as ldconfig writes it: entries, strings, an empty list of extensions."""
    strings = bytearray()
    start = 48 + 24 * len(paths)
    rows = []
    for path in sorted(paths, key=lambda path: path.rpartition("/")[2], reverse=True):
        name = path.rpartition("/")[2]
        rows.append((0x303, start + len(strings), start + len(strings) + len(name) + 1, 0, 0))
        strings += name.encode() + b"\0" + path.encode() + b"\0"
    header = MAGIC + struct.pack("<IIB3xI12x", len(paths), len(strings), 2, start + len(strings))
    return header + b"".join(struct.pack("<iIIIQ", *row) for row in rows) + bytes(strings)


def written(content: bytes, gone: set[int]) -> bytes:
    splice = without(content, gone)
    assert splice is not None
    return view(lambda offset, length: content[offset : offset + length], splice)(0, splice.size)


def led_to(content: bytes) -> list[str]:
    return [path.decode() for _, path in entries(content)]


FOO, BAR = "/lib/x86_64-linux-gnu/libfoo.so.1", "/usr/lib/libbar.so.2"


def test_entries_of_what_leaves_are_dropped_whatever_way_leads_there():
    files = {
        "usr/lib/x86_64-linux-gnu/libfoo.so.1.0": b"x",
        "usr/lib/libbar.so.2": b"x",
        CACHE.decode(): cache([FOO, BAR]),
    }
    known = facts(
        files,
        symlinks={"lib": "usr/lib", "usr/lib/x86_64-linux-gnu/libfoo.so.1": "libfoo.so.1.0"},
    )
    removed = frozenset((b"usr/lib/x86_64-linux-gnu/libfoo.so.1.0",))

    (rewrite,) = LoaderCache()(known, removed, {})

    content = files[CACHE.decode()]
    new = view(lambda offset, length: content[offset : offset + length], rewrite.splice)
    assert [BAR] == led_to(new(0, rewrite.splice.size))
    assert rewrite.before == rewrite.splice.size


def test_a_cache_that_tells_the_truth_stays_as_it_is():
    known = facts({"usr/lib/libbar.so.2": b"x", "a.so": b"x", CACHE.decode(): cache([BAR])})

    assert not list(LoaderCache()(known, frozenset((b"a.so",)), {}))


@given(st.binary(max_size=200), st.integers(0, 2**32 - 1))
def test_odd_caches_are_read_without_error(tail: bytes, count: int):
    list(entries(tail))
    list(entries(MAGIC + count.to_bytes(4, "little") + tail))


@given(st.sets(st.sampled_from([f"/usr/lib/lib{name}.so.1" for name in "abcdefgh"])), st.data())
def test_what_stays_keeps_its_order_and_its_paths(paths: set[str], data: st.DataObject):
    content = cache(sorted(paths))
    places = [place for place, _ in entries(content)]
    gone = data.draw(st.sets(st.sampled_from(places), min_size=1)) if places else set()
    if not gone:
        assert without(content, gone) is None
        return

    kept = [path.decode() for place, path in entries(content) if place not in gone]

    made = written(content, gone)
    assert kept == led_to(made)
    assert (len(kept), len(content)) == (int.from_bytes(made[20:24], "little"), len(made))


@pytest.mark.compat
@pytest.mark.skipif(
    shutil.which("ldconfig") is None or not HOST.is_file(), reason="there is no ldconfig here"
)
def test_ldconfig_prints_all_but_what_left(tmp_path: Path):
    content = HOST.read_bytes()
    places = [place for place, _ in entries(content)]
    if not places:
        pytest.skip("this system's cache has the older format")

    def printed(made: bytes) -> list[str]:
        file = tmp_path / "ld.so.cache"
        file.write_bytes(made)
        ran = subprocess.run(
            ["ldconfig", "-p", "-C", str(file)], capture_output=True, text=True, check=True
        )
        return [line.strip() for line in ran.stdout.splitlines() if "=>" in line]

    gone = set(places[1::3])
    before = printed(content)

    assert [line for number, line in enumerate(before) if number % 3 != 1] == printed(
        written(content, gone)
    )
