"""Manifests and indexes of images that are written (OCI `manifest.md`, `image-index.md`)."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from slimmer.image import Digest, json_object, json_value
from slimmer.stores.atomic import WriteError
from slimmer.stores.oci import CONTAINERD_NAME, REFERENCE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from slimmer.edits.drafts import Draft
    from slimmer.image import Config, Image
    from slimmer.stores.blobs import Poured

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar"
LAYOUT = b'{"imageLayoutVersion":"1.0.0"}'

_COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_NAME = re.compile(
    rf"(?:(?:localhost|[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)+|[A-Za-z0-9-]+:\d+)(?::\d+)?/)?"
    rf"{_COMPONENT}(?:/{_COMPONENT})*(?P<tag>:\w[\w.-]{{0,127}})?",
    re.ASCII,
)
_TAG = re.compile(
    r"[A-Za-z0-9]+(?:(?:[-._:@+]|--)[A-Za-z0-9]+)*(?:/[A-Za-z0-9]+(?:[-._:@+]+[A-Za-z0-9]+)*)*"
)


def image_name(text: str) -> str:
    """An image's name with its tag, as engines have it; raises WriteError where it is none."""
    match = _NAME.fullmatch(text)
    if not match:
        raise WriteError(
            f"{text[:200]!r} is no name for an image",
            hint="write it as app:slim or host.example/team/app:slim, in lower case",
        )
    return text if match["tag"] else f"{text}:latest"


def layout_tag(text: str) -> str:
    """A tag of a layout (OCI `annotations.md`, `org.opencontainers.image.ref.name`)."""
    if not text:
        return "latest"
    if not _TAG.fullmatch(text):
        raise WriteError(
            f"{text[:200]!r} is no tag for an OCI layout",
            hint="letters and digits, with one of - . _ : @ + / between them",
        )
    return text


def manifest_of(draft: Draft, config: Config, layers: Sequence[Poured]) -> tuple[bytes, str]:
    """The manifest's bytes and media type; those of the source where all is as it was."""
    source = _fields(draft.image)
    same = [layer.source for layer in layers] == [one.descriptor for one in draft.image.layers]
    if not draft.changed and draft.image.manifest is not None and same:
        return draft.image.manifest, str(source.get("mediaType") or MANIFEST)
    old = {entry.get("digest"): entry for entry in source.get("layers") or ()}
    manifest: dict[str, Any] = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": {"mediaType": CONFIG, "digest": config.id, "size": len(config.raw)},
        "layers": [_layer(layer, old) for layer in layers],
    }
    if source.get("annotations"):
        manifest["annotations"] = source["annotations"]
    return compact(manifest), MANIFEST


def _layer(layer: Poured, old: dict[Any, Any]) -> dict[str, Any]:
    entry: dict[str, Any] = {}
    if layer.source is not None:
        entry = dict(old.get(layer.digest, {}))
    suffix = "" if layer.format == "none" else f"+{layer.format}"
    entry["mediaType"] = LAYER + suffix
    return entry | {"digest": layer.digest, "size": layer.size}


def _fields(image: Image) -> Any:
    if image.manifest is None:
        return {}
    return json_object(json_value(image.manifest, "the manifest"), "the manifest")


def entry_of(raw: bytes, media_type: str, config: Config, names: dict[str, str]) -> dict[str, Any]:
    """A manifest's line in an index."""
    platform = {"architecture": config.platform.architecture, "os": config.platform.os}
    if config.platform.variant:
        platform["variant"] = config.platform.variant
    entry: dict[str, Any] = {
        "mediaType": media_type,
        "digest": Digest.of(raw),
        "size": len(raw),
        "platform": platform,
    }
    if names:
        entry["annotations"] = names
    return entry


def tagged(tag: str) -> dict[str, str]:
    return {REFERENCE: tag}


def named(name: str) -> dict[str, str]:
    """The annotations by which Docker tells an image's name in a layout."""
    if not name:
        return {}
    repository, _, tag = name.rpartition(":")
    host, slash, _ = repository.partition("/")
    if not slash:
        repository = f"docker.io/library/{repository}"
    elif "." not in host and ":" not in host and host != "localhost":
        repository = f"docker.io/{repository}"
    return {CONTAINERD_NAME: f"{repository}:{tag}", REFERENCE: tag}


def index_of(entries: Sequence[dict[str, Any]]) -> bytes:
    return compact({"schemaVersion": 2, "mediaType": INDEX, "manifests": list(entries)})


def compact(value: object) -> bytes:
    """JSON as Docker and Go write it: no spaces, the order kept."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode(
        "utf-8", "surrogatepass"
    )
