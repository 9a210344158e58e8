"""Bad input: one line that says what is wrong and a hint, never a traceback, never a hang."""

from __future__ import annotations

import gzip
import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from media import (
    LAYERS,
    PACK,
    blob_of,
    docker_archive,
    entries_of,
    folder,
    in_tar,
    index_of,
    tar,
)
from thorough import examples
from tiny import config, layer

from slimmer import stores
from slimmer.errors import SlimmerError
from slimmer.evidence import Evidence
from slimmer.image import Digest
from slimmer.index import Index

if TYPE_CHECKING:
    from collections.abc import Callable

FIXTURES = Path(__file__).parents[2].parent / "shared" / "fixtures" / "dive"
EVIDENCE = Evidence([("**/RECORD", 1000), ("etc/os-release", 4)])


def scanned(reference: object, **options: Any) -> Index:
    return Index.scan(stores.open(str(reference), **options), EVIDENCE)


def test_links_in_a_circle_are_an_error(tmp_path: Path):
    entry = {"Config": "c.json", "Layers": ["a/layer.tar"]}
    file = tmp_path / "f.tar"
    file.write_bytes(
        tar(
            [("c.json", config([LAYERS[0]])), ("manifest.json", json.dumps([entry]).encode())],
            links=[("a/layer.tar", "../b/layer.tar"), ("b/layer.tar", "../a/layer.tar")],
        )
    )

    with pytest.raises(SlimmerError, match="circle of links"):
        scanned(file)


@pytest.mark.parametrize("pack", PACK)
def test_a_layer_of_no_bytes_is_an_empty_layer(tmp_path: Path, pack: str):
    file = tmp_path / "f.tar"
    file.write_bytes(docker_archive([LAYERS[0], b""], pack=pack))
    folder(tmp_path / "oci", pack, [LAYERS[0], b""])

    for reference in (file, tmp_path / "oci"):
        index = scanned(reference)

        assert [False, True] == [not layer.headers for layer in index.layers]
        with index.layers[1].layer.content.open() as tar_of_it:
            assert b"" == tar_of_it.read()


def test_a_layer_cut_down_to_nothing_is_told(tmp_path: Path):
    entry = {"Config": "c.json", "Layers": ["layer.tar"]}
    file = tmp_path / "f.tar"
    file.write_bytes(
        tar(
            [
                ("c.json", config([LAYERS[0]])),
                ("manifest.json", json.dumps([entry]).encode()),
                ("layer.tar", b""),
            ]
        )
    )

    with pytest.raises(SlimmerError, match="is empty"):
        scanned(file)


def test_an_image_for_windows_is_refused(tmp_path: Path):
    raw = config([LAYERS[0]]).replace(b'"linux"', b'"windows"')
    entry = {"Config": "c.json", "Layers": ["l.tar"]}
    files = [("l.tar", LAYERS[0]), ("c.json", raw), ("manifest.json", json.dumps([entry]).encode())]
    (tmp_path / "f.tar").write_bytes(tar(files))

    with pytest.raises(SlimmerError, match="an image for windows/amd64"):
        stores.open(str(tmp_path / "f.tar"))


@pytest.mark.parametrize("pack", [pack for pack in PACK if pack != "plain"])
def test_a_flipped_bit_is_an_error_that_names_the_blob(tmp_path: Path, pack: str):
    blob = blob_of(folder(tmp_path, pack))
    content = bytearray(blob.read_bytes())
    content[len(content) // 2] ^= 1
    blob.write_bytes(content)

    with pytest.raises(SlimmerError, match=blob.name):
        scanned(tmp_path)


def test_a_blob_of_other_content_is_told_by_its_digest(tmp_path: Path):
    blob = blob_of(folder(tmp_path, "gzip"))
    other = gzip.compress(LAYERS[1], mtime=0)
    blob.write_bytes(other)

    with pytest.raises(SlimmerError, match=f"{blob.name} has the digest {Digest.of(other)}"):
        scanned(tmp_path)


def test_a_tar_that_is_not_the_configs_is_told_by_its_diff_id(tmp_path: Path):
    folder(tmp_path, "gzip")
    [entry] = entries_of(tmp_path)
    blobs = tmp_path / "blobs" / "sha256"
    manifest = json.loads((blobs / entry["digest"][7:]).read_text())
    layers = manifest["layers"]
    layers[0], layers[1] = layers[1], layers[0]
    raw = json.dumps(manifest).encode()
    (blobs / Digest.of(raw).hex).write_bytes(raw)
    index_of(tmp_path, {**entry, "digest": Digest.of(raw), "size": len(raw)})

    with pytest.raises(SlimmerError, match="holds a tar with the digest"):
        scanned(tmp_path)


def test_a_missing_blob_is_named(tmp_path: Path):
    blob = blob_of(folder(tmp_path))
    blob.unlink()

    with pytest.raises(SlimmerError, match=f"{blob.name} is missing"):
        stores.open(str(tmp_path))


def test_a_config_that_is_not_the_one_named_is_an_error(tmp_path: Path):
    (tmp_path / "f.tar").write_bytes(docker_archive().replace(b'"amd64"', b'"arm64"'))

    with pytest.raises(SlimmerError, match=r"the config of .* has the digest"):
        stores.open(str(tmp_path / "f.tar"))


@pytest.mark.parametrize("outer", [bytes, gzip.compress])
def test_an_archive_cut_off_within_a_layer_is_an_error(
    tmp_path: Path, outer: Callable[[bytes], bytes]
):
    archive = docker_archive()
    for cut in range(0, len(archive.rstrip(b"\0")), 1000):
        (tmp_path / "f.tar").write_bytes(outer(archive[:cut]))
        with pytest.raises(SlimmerError):
            scanned(tmp_path / "f.tar")


def test_a_layer_whose_last_member_is_cut_off_is_an_error(tmp_path: Path):
    cut = layer({"a": b"x" * 5000})[:2048]
    (tmp_path / "f.tar").write_bytes(docker_archive([cut]))

    with pytest.raises(SlimmerError, match="ends too soon"):
        scanned(tmp_path / "f.tar")


@pytest.mark.parametrize("pack", ["gzip", "zstd"])
def test_a_bomb_is_stopped(tmp_path: Path, pack: str):
    folder(tmp_path, pack, [layer({"zeros": bytes(8 << 20)})])

    assert scanned(tmp_path).unpacked == 8 << 20
    with pytest.raises(SlimmerError, match=r"expands from .* stopped"):
        scanned(tmp_path, expansion_limit=1 << 20)


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (tar([("README.md", b"hello")]), "a plain tar without manifest.json or index.json"),
        (gzip.compress(tar([("a", b"")])), "a plain tar in gzip without"),
        (b"PK\3\4" + b"zip" * 999, "is no image"),
        (b"", "is no image"),
        (gzip.compress(b"text"), "is no image"),
        (b"\x7fELF" * 400, "is no image"),
    ],
)
def test_what_is_no_image_is_told(tmp_path: Path, content: bytes, what: str):
    file = tmp_path / "f.tar"
    file.write_bytes(content)

    with pytest.raises(SlimmerError, match=what) as error:
        scanned(file)
    assert error.value.hint


@pytest.mark.parametrize(
    "reference",
    ["registry:app", "docker://app", "oci:", "no/such.tar", "./missing", "oci:/", "a\0b.tar", "/"],
)
def test_a_reference_that_leads_nowhere_has_a_hint(reference: str):
    with pytest.raises(SlimmerError) as error:
        stores.open(reference)
    assert error.value.hint
    assert "\n" not in error.value.message


def test_a_file_that_changes_meanwhile_is_not_mixed_up(tmp_path: Path):
    file = tmp_path / "f.tar"
    file.write_bytes(docker_archive())
    opened = stores.open(str(file))
    file.write_bytes(docker_archive(LAYERS[:1]))

    with pytest.raises(SlimmerError, match="has changed"):
        Index.scan(opened, EVIDENCE)


@pytest.mark.parametrize("form", ["gzip", "zstd", "uncompressed"])
def test_files_that_only_look_like_images_are_told(form: str):
    if not FIXTURES.is_dir():
        pytest.skip("images made by others are not here (../shared/fixtures)")
    with pytest.raises(SlimmerError, match=r"without manifest.json or index.json"):
        stores.open(str(FIXTURES / f"test-{form}-image.tar"))


MEDIA = ["docker", "oci", "gzip", "zstd", "docker.gz"]


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    place = tmp_path_factory.mktemp("sound")
    return {
        "docker": docker_archive(),
        "oci": in_tar(folder(place / "p")),
        "gzip": in_tar(folder(place / "g", "gzip")),
        "zstd": in_tar(folder(place / "z", "zstd in frames")),
        "docker.gz": gzip.compress(docker_archive(), mtime=0),
    }


@settings(
    max_examples=examples(400),
    deadline=5000,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    medium=st.sampled_from(MEDIA),
    changes=st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)), min_size=1, max_size=12),
    cut=st.floats(0, 1) | st.just(1.0),
)
def test_a_damaged_archive_gives_an_image_or_our_own_error(
    tmp_path: Path,
    sound: dict[str, bytes],
    medium: str,
    changes: list[tuple[float, int]],
    cut: float,
):
    damaged = bytearray(sound[medium])
    for place, value in changes:
        damaged[int(place * (len(damaged) - 1))] = value
    file = tmp_path / "f.tar"
    file.write_bytes(damaged[: int(cut * len(damaged))])
    try:
        index = scanned(file)
        for one in index.image.layers:
            with one.content.open() as tar:
                hashlib.file_digest(tar, "sha256")
    except SlimmerError as error:
        told = error.message
    else:
        told = ""
    assert "\n" not in told


KEYS = (
    *("manifests", "layers", "config", "digest", "size", "mediaType", "platform", "annotations"),
    *("Config", "Layers", "RepoTags", "rootfs", "diff_ids", "history", "os"),
)
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-5, 5)
    | st.text(max_size=5)
    | st.just("sha256:" + "0" * 64),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(KEYS),
            inner,
            max_size=5,
        )
    ),
    max_leaves=12,
)


@settings(max_examples=examples(300), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(name=st.sampled_from(["index.json", "manifest.json"]), value=JSON, raw=JSON)
def test_whatever_json_the_lists_hold_only_our_own_error_comes(
    tmp_path: Path, name: str, value: object, raw: object
):
    blob = json.dumps(raw).encode()
    file = tmp_path / "f.tar"
    file.write_bytes(
        tar([(name, json.dumps(value).encode()), ("c", blob), (f"blobs/sha256/{'0' * 64}", blob)])
    )
    with pytest.raises(SlimmerError):
        scanned(file)
