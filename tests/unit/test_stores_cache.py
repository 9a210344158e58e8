"""What is kept between runs: found again, bounded, and never believed when damaged."""

from __future__ import annotations

import multiprocessing
import os
import sys
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from media import docker_archive, folder
from tiny import image, layer

from slimmer import stores
from slimmer.evidence import Evidence
from slimmer.index import Index, LayerScan
from slimmer.stores.cache import Cache, Scans
from slimmer.tar.reading import Header

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

EVIDENCE = Evidence([("**/RECORD", 1000), ("etc/os-release", 4)])


class Content:
    """A layer that fails the test when it is read."""

    random_access = True

    def __init__(self, key: str | None) -> None:
        self.cache_key = key


def header(path: bytes, size: int = 1) -> Header:
    xattrs = ((b"user.a", b"\xff"),)
    return Header(path, "file", size, 0o644, 0, 0, -5, b"", (1, 2), xattrs, 0, 512, size, False)


def test_bytes_are_found_again_by_their_key(tmp_path: Path):
    Cache(tmp_path / "deep" / "er").put("key", b"content")

    assert Cache(tmp_path / "deep" / "er").get("key") == b"content"
    assert Cache(tmp_path / "deep" / "er").get("other") is None
    assert Cache(tmp_path / "nowhere").get("key") is None


@given(place=st.integers(0, 10_000), value=st.integers(1, 255), cut=st.booleans())
def test_a_damaged_entry_counts_as_not_there(
    tmp_path_factory: pytest.TempPathFactory, place: int, value: int, cut: bool
):
    folder = tmp_path_factory.mktemp("cache")
    cache = Cache(folder)
    cache.put("key", os.urandom(100))
    [entry] = folder.iterdir()
    content = bytearray(entry.read_bytes())
    content[place % len(content)] ^= value
    entry.write_bytes(content[: place % len(content)] if cut else content)

    assert cache.get("key") is None
    cache.put("key", b"new")
    assert cache.get("key") == b"new"


def test_what_was_not_used_for_longest_goes_first(tmp_path: Path):
    cache = Cache(tmp_path, limit=100_000)
    for number in range(8):
        cache.put(str(number), os.urandom(20_000))
        for age, path in enumerate(sorted(tmp_path.iterdir(), key=lambda p: p.stat().st_mtime_ns)):
            os.utime(path, ns=(0, age * 10**9))
        cache.get("0")

    assert cache.get("0") is not None
    assert cache.get("1") is None
    assert cache.get("7") is not None
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= 100_000


def test_something_too_large_is_not_kept(tmp_path: Path):
    Cache(tmp_path, limit=1000).put("key", os.urandom(2000))

    assert Cache(tmp_path).get("key") is None


def test_a_folder_that_cannot_be_written_is_no_error(tmp_path: Path):
    (tmp_path / "file").write_bytes(b"")

    Cache(tmp_path / "file").put("key", b"content")

    assert Cache(tmp_path / "file").get("key") is None


def test_leftovers_of_a_killed_process_go(tmp_path: Path):
    left = tmp_path / ".slimmer-old.part"
    left.write_bytes(b"half")
    os.utime(left, (0, 0))
    Cache(tmp_path).put("key", b"content")

    assert not left.exists()


def test_what_others_keep_in_the_folder_stays(tmp_path: Path):
    others = [tmp_path / name for name in ("model.bin", "notes.part", ".other.part", "x" * 40)]
    for other in others:
        other.write_bytes(b"x" * 5000)
        os.utime(other, (0, 0))
    cache = Cache(tmp_path, limit=1000)
    for number in range(20):
        cache.put(f"key {number}", os.urandom(400))

    assert all(other.read_bytes() == b"x" * 5000 for other in others)
    assert sum(path.stat().st_size for path in tmp_path.glob("*.bin") if path != others[0]) <= 1000


def test_nobody_else_may_look_into_it(tmp_path: Path):
    Cache(tmp_path / "cache").put("key", b"content")

    assert [0o700, 0o600] == [
        path.stat().st_mode & 0o777
        for path in (tmp_path / "cache", *(tmp_path / "cache").iterdir())
    ]


def _hammer(folder: Path, seed: int) -> None:
    cache = Cache(folder, limit=50_000)
    for number in range(150):
        key = str(number % 7)
        cache.put(key, (key * 5000).encode() + os.urandom(1000))
        found = cache.get(key)
        if found is not None and not found.startswith(key.encode() * 5000):
            sys.exit(1)


@pytest.mark.skipif(sys.platform == "win32", reason="forks")
def test_two_processes_do_not_disturb_one_another(tmp_path: Path):
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=_hammer, args=(tmp_path, seed)) for seed in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)

    assert [0, 0] == [process.exitcode for process in processes]


def test_a_scan_is_found_again_for_the_same_content_and_evidence_only(tmp_path: Path):
    scans = Scans(Cache(tmp_path))
    scan = LayerScan([header(b"a"), header(b"\xff\n", 1 << 60)], {1: b"content"})
    scans.save(Content("one"), EVIDENCE, scan)

    found = scans.load(Content("one"), EVIDENCE)
    assert found is not None
    assert (scan.headers, scan.contents) == (found.headers, found.contents)
    assert all(type(header) is Header for header in found.headers)
    assert scans.load(Content("two"), EVIDENCE) is None
    assert scans.load(Content("one"), Evidence([("a", 1)])) is None


def test_content_without_a_key_is_never_kept(tmp_path: Path):
    scans = Scans(Cache(tmp_path))
    scans.save(Content(None), EVIDENCE, LayerScan([header(b"a")], {}))

    assert scans.load(Content(None), EVIDENCE) is None
    assert not list(tmp_path.iterdir())


def test_an_empty_layer_is_kept_too(tmp_path: Path):
    scans = Scans(Cache(tmp_path))
    scans.save(Content("empty"), EVIDENCE, LayerScan([], {}))

    assert scans.load(Content("empty"), EVIDENCE) is not None


@pytest.mark.parametrize("pack", ["plain", "gzip"])
def test_a_second_run_reads_no_layer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pack: str):
    scans = Scans(Cache(tmp_path / "cache"))
    layout = str(folder(tmp_path / "layout", pack))
    first = Index.scan(stores.open(layout), EVIDENCE, scans)

    def read(*_: object) -> Iterator[object]:
        raise AssertionError("a layer is read")

    monkeypatch.setattr("slimmer.stores.content.PlainContent.members", read)
    monkeypatch.setattr("slimmer.stores.content.PackedContent.members", read)
    second = Index.scan(stores.open(layout), EVIDENCE, scans)

    assert dict(first.visible) == dict(second.visible)
    assert dict(first.evidence) == dict(second.evidence)


def test_an_archive_that_only_claims_to_hold_a_layer_is_read_anew(tmp_path: Path):
    scans = Scans(Cache(tmp_path / "cache"))
    file = tmp_path / "f.tar"
    file.write_bytes(docker_archive())
    Index.scan(stores.open(str(file)), EVIDENCE, scans)
    # The same config and so the same diff_ids, but other bytes: nobody has checked them.
    other = tmp_path / "other.tar"
    other.write_bytes(docker_archive().replace(b"opt/a", b"opt/!"))
    keys = {layer.content.cache_key for layer in stores.open(str(file)).layers}

    assert not keys & {layer.content.cache_key for layer in stores.open(str(other)).layers}


def test_a_compressed_archive_is_not_even_opened_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    import gzip

    cache = Cache(tmp_path / "cache")
    file = tmp_path / "f.tar.gz"
    file.write_bytes(gzip.compress(docker_archive()))
    first = stores.open(str(file), cache=cache, evidence=EVIDENCE)
    index = Index.scan(first, EVIDENCE, Scans(cache))

    def parts(*_: object) -> Iterator[object]:
        raise AssertionError("the archive is read")

    monkeypatch.setattr("slimmer.stores.archive.streamed.Streamed.parts", parts)
    again = Index.scan(stores.open(str(file), cache=cache), EVIDENCE, Scans(cache))

    assert dict(index.visible) == dict(again.visible)
    assert index.image.id == again.image.id


def test_layers_in_memory_are_scanned_each_time(tmp_path: Path):
    tiny = image(layer({"a": b"1"}))
    Index.scan(tiny, EVIDENCE, Scans(Cache(tmp_path / "cache")))

    assert not (tmp_path / "cache").exists()
