"""Images from archives and layouts: each medium reads the same, and bad ones say what is wrong."""

from __future__ import annotations

import bz2
import gzip
import hashlib
import json
import lzma
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from media import LAYERS, PACK, docker_archive, entries_of, folder, in_tar, index_of, tar, zstd
from tiny import config, image

from slimmer import stores
from slimmer.errors import SlimmerError
from slimmer.evidence import Evidence
from slimmer.image import Digest, Platform
from slimmer.index import Index
from slimmer.stores import decompression as compression
from slimmer.stores.archive import streamed

if TYPE_CHECKING:
    from collections.abc import Callable


FIXTURES = Path(__file__).parents[2].parent / "shared" / "fixtures" / "dive"
EVIDENCE = Evidence([("**/RECORD", 1000), ("etc/os-release", 4)])


def assert_same(expected: Index, found: Index) -> None:
    for ours, theirs in zip(expected.layers, found.layers, strict=True):
        assert list(ours.headers) == list(theirs.headers)
    assert dict(expected.evidence) == dict(found.evidence)


def scanned(reference: object, **options: Any) -> Index:
    return Index.scan(stores.open(str(reference), **options), EVIDENCE)


@pytest.fixture(scope="module")
def expected() -> Index:
    index = Index.scan(image(*LAYERS), EVIDENCE)
    assert dict(index.evidence) == {b"opt/RECORD": b"a,,\n", b"etc/os-release": b"ID=d"}
    return index


@pytest.mark.parametrize("pack", PACK)
def test_a_layout_reads_the_same_however_its_layers_are_packed(
    tmp_path: Path, pack: str, expected: Index
):
    folder(tmp_path, pack)

    assert_same(expected, scanned(tmp_path))
    packed = stores.open(str(tmp_path)).packed
    assert (packed is None) == (pack == "plain")


@pytest.mark.parametrize("outer", ["none", "gzip", "zstd", "xz", "bzip2"])
@pytest.mark.parametrize("pack", PACK)
@pytest.mark.parametrize("form", ["docker", "oci"])
def test_an_archive_reads_the_same_however_it_is_packed(
    tmp_path: Path, form: str, pack: str, outer: str, expected: Index
):
    around: dict[str, Callable[[bytes], bytes]] = {
        "none": bytes,
        "gzip": gzip.compress,
        "zstd": zstd.compress,
        "xz": lzma.compress,
        "bzip2": bz2.compress,
    }
    archive = (
        docker_archive(pack=pack) if form == "docker" else in_tar(folder(tmp_path / "l", pack))
    )
    file = tmp_path / "image"
    file.write_bytes(around[outer](archive))

    assert_same(expected, scanned(file))
    assert_same(expected, scanned(f"{form}-archive:{file}:latest", evidence=EVIDENCE))
    assert outer == "none" or outer in stores.open(str(file)).route


@pytest.mark.parametrize("pack", PACK)
@pytest.mark.parametrize("outer", ["none", "gzip"])
def test_layers_give_back_their_tar_their_blob_and_their_files(
    tmp_path: Path, pack: str, outer: str
):
    archive = in_tar(folder(tmp_path / "l", pack))
    (tmp_path / "image").write_bytes(gzip.compress(archive) if outer == "gzip" else archive)
    for reference in (tmp_path / "l", tmp_path / "image"):
        opened = stores.open(str(reference))
        for one, original in zip(opened.layers, LAYERS, strict=True):
            with one.content.open() as file:
                assert original == file.read()
            blob = one.content.open_blob()
            assert blob is not None
            with blob as file:
                assert PACK[pack](original) == file.read()
        top = opened.layers[0].content
        headers = [header for header, _ in top.members(lambda _: 0) if header.size]
        files = {header.path: read(1, 3) for header, read in top.files(headers)}
        assert files == {b"etc/os-release": b"D=d", b"opt/a": b"xxx", b"opt/b": b""}


def test_a_compressed_archive_is_read_once_when_the_evidence_is_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, expected: Index
):
    file = tmp_path / "image.tar.gz"
    file.write_bytes(gzip.compress(docker_archive()))
    passes: list[str] = []
    parts = streamed.Streamed.parts

    def counted(self: streamed.Streamed) -> Any:
        passes.append(self.name)
        return parts(self)

    monkeypatch.setattr(streamed.Streamed, "parts", counted)

    assert_same(expected, scanned(file, evidence=EVIDENCE))
    assert len(passes) == 1
    assert_same(expected, scanned(file))
    assert len(passes) == 3


def test_a_layer_may_be_a_link_to_another(tmp_path: Path):
    raw = config([LAYERS[0], LAYERS[0]])
    entry = {"Config": "c.json", "RepoTags": None, "Layers": ["a/layer.tar", "b/layer.tar"]}
    file = tmp_path / "f.tar"
    file.write_bytes(
        tar(
            [
                ("a/layer.tar", LAYERS[0]),
                ("c.json", raw),
                ("manifest.json", json.dumps([entry]).encode()),
            ],
            links=[("b/layer.tar", "../a/layer.tar")],
        )
    )

    assert scanned(file).unpacked == 2 * 3011


def test_several_images_need_a_tag_and_the_error_lists_them(tmp_path: Path):
    folder(tmp_path, tag="one")
    folder(tmp_path, tars=LAYERS[:1], tag="two")

    with pytest.raises(SlimmerError, match="several images") as error:
        stores.open(str(tmp_path))
    assert error.value.hint == "there are: one, two"
    assert len(stores.open(f"{tmp_path}:two").layers) == 1
    with pytest.raises(SlimmerError, match="no image called 'three'") as error:
        stores.open(f"oci:{tmp_path}:three")
    assert error.value.hint == "there are: one, two"


def test_several_images_of_a_docker_archive_need_a_tag(tmp_path: Path):
    files: list[tuple[str, bytes]] = []
    entries = []
    for name, tars in (("one:1", LAYERS[:1]), ("registry.example/two:2", LAYERS[:2])):
        raw = config(tars)
        files += [(f"{name}.json", raw), *((f"{name}{n}", one) for n, one in enumerate(tars))]
        layers = [f"{name}{n}" for n in range(len(tars))]
        entries.append({"Config": f"{name}.json", "RepoTags": [name], "Layers": layers})
    file = tmp_path / "f.tar"
    file.write_bytes(tar([*files, ("manifest.json", json.dumps(entries).encode())]))

    with pytest.raises(SlimmerError, match="several images") as error:
        stores.open(str(file))
    assert error.value.hint == "there are: one:1, registry.example/two:2"
    assert len(stores.open(f"{file}:one:1").layers) == 1
    assert len(stores.open(f"{file}:registry.example/two:2").layers) == 2
    assert len(stores.open(f"docker-archive:{file}:2").layers) == 2


def test_an_index_is_followed_to_the_platform_and_past_attestations(tmp_path: Path):
    folder(tmp_path, tag="a")
    folder(tmp_path, tars=LAYERS[:1], tag="b")
    folder(tmp_path, tars=LAYERS[:2], tag="c")
    amd, arm, proof = ({**entry, "annotations": {}} for entry in entries_of(tmp_path))
    nested = json.dumps(
        {
            "manifests": [
                {**amd, "platform": {"os": "linux", "architecture": "amd64"}},
                {**arm, "platform": {"os": "linux", "architecture": "arm", "variant": "v7"}},
                {
                    **proof,
                    "platform": {"os": "unknown", "architecture": "unknown"},
                    "annotations": {"vnd.docker.reference.type": "attestation-manifest"},
                },
            ]
        }
    ).encode()
    digest = Digest.of(nested)
    (tmp_path / "blobs" / "sha256" / digest.hex).write_bytes(nested)
    kind = "application/vnd.oci.image.index.v1+json"
    index_of(tmp_path, {"mediaType": kind, "digest": digest, "size": len(nested)})

    assert len(stores.open(str(tmp_path), Platform.parse("linux/x86_64")).layers) == 3
    assert len(stores.open(str(tmp_path), Platform.parse("linux/arm")).layers) == 1
    with pytest.raises(SlimmerError, match="no image for linux/s390x") as error:
        stores.open(str(tmp_path), Platform.parse("linux/s390x"))
    assert error.value.hint.endswith("linux/amd64, linux/arm/v7")


def test_one_image_opens_whatever_it_runs_on(tmp_path: Path):
    folder(tmp_path)
    [entry] = entries_of(tmp_path)
    index_of(tmp_path, {**entry, "platform": {"os": "linux", "architecture": "riscv64"}})

    assert len(stores.open(str(tmp_path)).layers) == 3
    with pytest.raises(SlimmerError, match="no image for linux/amd64"):
        stores.open(str(tmp_path), Platform("linux", "amd64"))


def test_a_file_that_exists_wins_over_a_tag(tmp_path: Path):
    file = tmp_path / "a:b.tar"
    file.write_bytes(docker_archive())

    assert len(stores.open(str(file)).layers) == 3
    assert len(stores.open(f"{file}:app").layers) == 3


def test_importing_the_stores_imports_no_engine_client():
    code = "import sys, slimmer.stores; print({'docker', 'requests', 'isal'} & {*sys.modules})"
    out = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)

    assert out.stdout == "set()\n"


KNOWN = {
    "test-docker-image.tar": (14, 1_220_598, 1_188_573),
    "test-kaniko-image.tar": (14, 1_326_410, 1_280_165),
    "test-oci-gzip-image.tar": (1, 11_189, 11_189),
    "test-oci-zstd-image.tar": (1, 11_189, 11_189),
    "test-oci-estargz-image.tar": (1, 11_189, 11_189),
    "test-oci-uncompressed-image.tar": (1, 11_189, 11_189),
}


@pytest.fixture
def fixtures() -> Path:
    if not FIXTURES.is_dir():
        pytest.skip("images made by others are not here (../shared/fixtures)")
    return FIXTURES


@pytest.mark.parametrize("name", KNOWN)
def test_images_made_by_others_have_their_known_sizes(fixtures: Path, name: str):
    index = scanned(fixtures / name)

    sizes = (len(index.layers), index.unpacked, index.rootfs)
    assert KNOWN[name] == sizes


def test_a_digest_ends_even_where_a_signal_cost_its_thread_the_news():
    """What `Condition.notify` leaves behind when a signal's handler raises inside it."""
    hasher = compression.Hasher("sha256")
    news = hasher._chunks.not_empty
    while not news._waiters:  # type: ignore[attr-defined]
        time.sleep(0.001)
    stale = threading.Lock()
    stale.acquire()
    with news:
        news._waiters.appendleft(stale)  # type: ignore[attr-defined]
    told: list[str] = []

    closing = threading.Thread(target=lambda: told.append(hasher.close()), daemon=True)
    closing.start()
    closing.join(10)

    assert [hashlib.sha256().hexdigest()] == told
