"""Which image of several is meant: both lists of an archive, names, digests, numbers, platforms."""

from __future__ import annotations

import json
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from media import LAYERS, entries_of, folder, index_of, tar
from thorough import examples
from tiny import layer

from slimmer import stores
from slimmer.errors import SlimmerError
from slimmer.image import Digest, Platform
from slimmer.stores.choice import host_platform

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OTHER = "arm64" if host_platform().architecture != "arm64" else "amd64"
HERE = host_platform().architecture


@dataclass(frozen=True)
class Saved:
    """An image as an archive has it."""

    number: int
    name: str | None = None
    architecture: str = HERE
    in_index: bool = True
    in_docker: bool = True
    tells_platform: bool = True
    has_layers: bool = True
    """Whether its OCI manifest lists its layer."""
    is_there: bool = True
    """Whether its blobs lie in the archive."""

    @property
    def tar(self) -> bytes:
        return layer({"size": b"x" * (100 + self.number)})

    @property
    def config(self) -> bytes:
        return json.dumps(
            {
                "os": "linux",
                "architecture": self.architecture,
                "rootfs": {"type": "layers", "diff_ids": [Digest.of(self.tar)]},
            }
        ).encode()

    @property
    def manifest(self) -> bytes:
        layers = [described(self.tar, "application/vnd.oci.image.layer.v1.tar")]
        return json.dumps(
            {
                "schemaVersion": 2,
                "config": described(self.config, "application/vnd.oci.image.config.v1+json"),
                "layers": layers if self.has_layers else None,
            }
        ).encode()

    @property
    def opens(self) -> bool:
        return self.is_there and ((self.in_index and self.has_layers) or self.in_docker)


def described(content: bytes, media_type: str) -> dict[str, Any]:
    return {"mediaType": media_type, "digest": Digest.of(content), "size": len(content)}


def blob(content: bytes) -> str:
    return f"blobs/sha256/{Digest.of(content).hex}"


def archive(images: list[Saved]) -> bytes:
    """What Docker ≥ 25 saves: blobs by digest, `index.json` and `manifest.json`."""
    files: dict[str, bytes] = {}
    manifests = []
    docker = []
    for one in images:
        if one.is_there:
            files |= {blob(one.tar): one.tar, blob(one.config): one.config}
            if one.in_index:
                files[blob(one.manifest)] = one.manifest
        if one.in_index:
            entry = described(one.manifest, MANIFEST)
            if one.tells_platform:
                entry["platform"] = {"os": "linux", "architecture": one.architecture}
            if one.name:
                entry["annotations"] = {"io.containerd.image.name": f"docker.io/library/{one.name}"}
            manifests.append(entry)
        if one.in_docker:
            docker.append(
                {
                    "Config": blob(one.config),
                    "RepoTags": [one.name] if one.name else None,
                    "Layers": [blob(one.tar)],
                }
            )
    files["index.json"] = json.dumps({"schemaVersion": 2, "manifests": manifests or None}).encode()
    if docker:
        files["manifest.json"] = json.dumps(docker).encode()
    return tar(files.items())


@st.composite
def saved(draw: st.DrawFn) -> list[Saved]:
    count = draw(st.integers(1, 4))
    images = []
    for number in range(count):
        in_index = draw(st.booleans())
        one = Saved(
            number,
            draw(st.sampled_from([None, "app:1", "app:2", "web:1"])),
            draw(st.sampled_from([HERE, HERE, OTHER])),
            in_index,
            draw(st.booleans()) or not in_index,
            draw(st.booleans()),
            draw(st.booleans()),
            draw(st.booleans() | st.just(True)),
        )
        images.append(one)
    return images


def meant(images: list[Saved]) -> Saved | None:
    """The image that nothing else could be meant instead of, by the rules as told to users."""
    there = [one for one in images if one.opens]
    if len({one.name for one in there}) > 1:
        return None
    left = [one for one in there if one.architecture == HERE]
    if not left:
        left = there if len({one.architecture for one in there}) == 1 else []
    return left[0] if len(left) == 1 else None


@settings(max_examples=examples(300), deadline=None)
@given(saved())
def test_no_image_is_taken_because_it_comes_first(images: list[Saved]):
    with tempfile.TemporaryDirectory() as name:
        path = Path(name, "saved.tar")
        path.write_bytes(archive(images))
        for one in images:
            if one.opens:
                opened = stores.open(f"{path}@{Digest.of(one.config)}")
                assert one.config == opened.config.raw
                assert [Digest.of(one.tar)] == [layer.diff_id for layer in opened.layers]
            else:
                with pytest.raises(SlimmerError):
                    stores.open(f"{path}@{Digest.of(one.config)}")
        only = meant(images)
        if only is not None:
            assert only.config == stores.open(str(path)).config.raw
        else:
            with pytest.raises(SlimmerError) as error:
                stores.open(str(path))
            assert error.value.hint


def test_images_without_a_name_are_chosen_by_number_or_digest(tmp_path: Path):
    images = [Saved(0, in_index=False), Saved(1)]
    path = tmp_path / "f.tar"
    path.write_bytes(archive(images))

    with pytest.raises(SlimmerError, match="several images: choose one by its digest or") as error:
        stores.open(str(path))
    for one in images:
        assert f"sha256:{Digest.of(one.config).short}" in error.value.hint
    assert images[1].config == stores.open(f"{path}:@0").config.raw
    assert images[0].config == stores.open(f"docker-archive:{path}:@0").config.raw
    assert images[0].config == stores.open(f"{path}@{Digest.of(images[0].config).short}").config.raw
    with pytest.raises(SlimmerError, match="no image called '@2'"):
        stores.open(f"{path}@2")


def test_the_one_platform_that_is_there_is_read_and_the_others_are_told(tmp_path: Path):
    path = tmp_path / "f.tar"
    gone = Saved(0, architecture=HERE, is_there=False, in_docker=False)
    path.write_bytes(archive([gone, Saved(1, architecture=OTHER)]))

    image = stores.open(str(path))

    assert f"linux/{OTHER}" == str(image.platform)
    assert [f"{path} lists linux/{HERE} too, but does not hold it"] == list(image.problems)
    with pytest.raises(SlimmerError, match=f"no image for linux/{HERE}"):
        stores.open(str(path), host_platform())


def test_old_archives_write_their_fields_in_lower_case(tmp_path: Path):
    one = Saved(0)
    entry = {"config": "config.json", "repoTags": ["jib:1"], "layers": ["layer.tar"]}
    path = tmp_path / "jib.tar"
    path.write_bytes(
        tar(
            [
                ("config.json", one.config),
                ("layer.tar", one.tar),
                ("manifest.json", json.dumps([entry]).encode()),
            ]
        )
    )

    assert one.config == stores.open(f"{path}:jib:1").config.raw


@pytest.mark.parametrize(
    ("asked", "built", "fits"),
    [
        ("linux/arm64/v8", "linux/arm64", True),
        ("linux/arm64", "linux/arm64/v8", True),
        ("linux/aarch64", "linux/arm64/v8", True),
        ("linux/arm64/v8", "linux/arm64/v9", False),
        ("linux/arm/v7", "linux/arm", True),
        ("linux/arm/v7", "linux/arm/v6", True),
        ("linux/arm/v6", "linux/arm/v7", False),
        ("linux/arm/v6", "linux/arm", False),
        ("linux/armhf", "linux/arm/v7", True),
        ("linux/amd64/v3", "linux/amd64", True),
        ("linux/amd64", "linux/amd64/v3", True),
        ("linux/amd64/v2", "linux/amd64/v3", False),
        ("linux/amd64", "linux/386", False),
        ("linux/amd64", "windows/amd64", False),
        ("linux/mips/softfloat", "linux/mips/softfloat", True),
        ("linux/mips/softfloat", "linux/mips/hardfloat", False),
    ],
)
def test_a_platform_accepts_what_runs_on_it(asked: str, built: str, fits: bool):
    parts = built.split("/")

    assert fits == Platform.parse(asked).accepts(Platform(*parts))


def test_the_nearest_variant_is_taken(tmp_path: Path):
    entries = []
    for number, variant in enumerate(("v5", "v7", "v6")):
        folder(tmp_path, tars=LAYERS[: number + 1], tag="a")
        entry = entries_of(tmp_path)[-1]
        platform = {"os": "linux", "architecture": "arm", "variant": variant}
        entries.append({**entry, "annotations": {}, "platform": platform})
    index_of(tmp_path, *entries)

    for asked, layers in (("arm", 2), ("arm/v7", 2), ("arm/v8", 2), ("arm/v6", 3), ("arm/v5", 1)):
        opened = stores.open(str(tmp_path), Platform.parse(f"linux/{asked}"))
        assert layers == len(opened.layers)


@pytest.mark.parametrize(
    ("config_type", "layer_type", "what"),
    [
        ("application/vnd.cncf.helm.config.v1+json", "application/x", "a Helm chart"),
        ("application/vnd.wasm.config.v0+json", "application/wasm", "a WebAssembly module"),
        (
            "application/vnd.oci.image.config.v1+json",
            "application/vnd.dev.cosign.simplesigning.v1+json",
            "a signature",
        ),
        ("application/vnd.oci.image.config.v1+json", "application/vnd.in-toto+json", "attestation"),
        (
            "application/vnd.oci.image.config.v1+json",
            "application/vnd.oci.image.layer.v1.squashfs",
            "squashfs",
        ),
        ("application/vnd.oci.empty.v1+json", "text/plain", "an artifact"),
    ],
)
def test_what_is_no_container_image_is_told_by_its_kind(
    tmp_path: Path, config_type: str, layer_type: str, what: str
):
    manifest = json.dumps(
        {
            "schemaVersion": 2,
            "config": described(b"{}", config_type),
            "layers": [described(b"content", layer_type)],
        }
    ).encode()
    entry = {**described(manifest, MANIFEST), "annotations": {}}
    folder(tmp_path, tag="image")
    for content in (manifest, b"{}", b"content"):
        (tmp_path / blob(content)).write_bytes(content)
    [image] = entries_of(tmp_path)
    index_of(tmp_path, entry)

    with pytest.raises(SlimmerError, match=what):
        stores.open(str(tmp_path))
    index_of(tmp_path, entry, image)
    assert 3 == len(stores.open(str(tmp_path)).layers)


def test_what_cosign_saves_beside_an_image_is_not_the_image(tmp_path: Path):
    folder(tmp_path, tag="a")
    folder(tmp_path, tars=LAYERS[:1], tag="b")
    image, other = ({**entry, "annotations": {}} for entry in entries_of(tmp_path))
    image["annotations"] = {"kind": "dev.cosignproject.cosign/image"}
    other["annotations"] = {"kind": "dev.cosignproject.cosign/sigs"}
    index_of(tmp_path, other, image)

    assert 3 == len(stores.open(str(tmp_path)).layers)


def test_an_index_without_anything_leaves_the_other_list(tmp_path: Path):
    one = Saved(0, in_index=False)
    path = tmp_path / "f.tar"
    listed = [{"Config": blob(one.config), "RepoTags": None, "Layers": [blob(one.tar)]}]
    path.write_bytes(
        tar(
            [
                (blob(one.tar), one.tar),
                (blob(one.config), one.config),
                ("index.json", b"null"),
                ("manifest.json", json.dumps(listed).encode()),
            ]
        )
    )

    assert one.config == stores.open(str(path)).config.raw


def test_two_names_of_one_index_are_no_choice_to_make(tmp_path: Path):
    folder(tmp_path, tag="a")
    folder(tmp_path, tars=LAYERS[:1], tag="b")
    platforms = [{"os": "linux", "architecture": each} for each in (HERE, OTHER)]
    nested = json.dumps(
        {
            "manifests": [
                {**entry, "annotations": {}, "platform": platform}
                for entry, platform in zip(entries_of(tmp_path), platforms, strict=True)
            ]
        }
    ).encode()
    (tmp_path / blob(nested)).write_bytes(nested)
    entry = described(nested, "application/vnd.oci.image.index.v1+json")
    names = [{"org.opencontainers.image.ref.name": name} for name in ("1.0", "latest")]
    index_of(tmp_path, *({**entry, "annotations": name} for name in names))

    assert 3 == len(stores.open(str(tmp_path)).layers)
    assert 3 == len(stores.open(f"{tmp_path}:1.0").layers)
