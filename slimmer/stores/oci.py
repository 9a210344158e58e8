"""OCI manifests, wherever they lie: the images that an index leads to, and what each of them is.

Specifications: OCI `image-index.md`, `manifest.md`, `image-layout.md`, `annotations.md`; Docker's
image manifest version 2, schema 2.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from slimmer.image import (
    Config,
    Descriptor,
    Digest,
    Image,
    ImageError,
    Platform,
    json_list,
    json_object,
    json_value,
)
from slimmer.stores.choice import Candidate
from slimmer.stores.content import content

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from slimmer.image import LayerContent
    from slimmer.stores.content import Extent

REFERENCE = "org.opencontainers.image.ref.name"
CONTAINERD_NAME = "io.containerd.image.name"
ATTESTATION = "vnd.docker.reference.type"
COSIGN_KIND = "kind"
"""Annotation by which `cosign save` tells the image in its layout from what speaks of it."""
COSIGN = "dev.cosignproject.cosign/"
DOCUMENT = 16 << 20
"""Bytes that an index, a manifest or a config may have; registries take 4 MiB."""
INDEXES = (
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
)
MANY = 10_000
"""Images and nested indexes that one index may lead to."""

_OTHERS = (
    ("application/vnd.cncf.helm.", "a Helm chart", "pull charts with helm"),
    ("application/vnd.wasm.", "a WebAssembly module", ""),
    ("application/wasm", "a WebAssembly module", ""),
    ("application/vnd.docker.plugin.", "a plugin of Docker's engine", ""),
    ("application/vnd.dev.cosign.", "a signature", "name the image that it signs"),
    ("application/vnd.dev.sigstore.", "a signature", "name the image that it signs"),
    ("application/vnd.cncf.notary.", "a signature", "name the image that it signs"),
    ("application/vnd.in-toto", "an attestation", "name the image that it is about"),
    ("application/vnd.dsse.", "an attestation", "name the image that it is about"),
    ("application/spdx", "an SBOM", "name the image that it is about"),
    ("text/spdx", "an SBOM", "name the image that it is about"),
    ("application/vnd.cyclonedx", "an SBOM", "name the image that it is about"),
    ("application/vnd.sylabs.sif.", "a Singularity image in squashfs", "slimmer reads layers"),
    ("application/vnd.oci.image.layer.v1.squashfs", "an image in squashfs", ""),
    ("application/vnd.oci.image.layer.v1.erofs", "an image in EROFS", ""),
    ("application/vnd.docker.ai.", "an AI model", ""),
    ("application/vnd.ollama.", "an AI model", ""),
    ("application/vnd.cncf.model.", "an AI model", ""),
    ("application/vnd.oci.empty.v1+json", "an artifact", ""),
    ("application/vnd.unknown.", "an artifact", ""),
    ("application/vnd.docker.distribution.manifest.v1", "an image of schema version 1", ""),
)
"""Beginnings of media types that no container image of layers has, and what has them."""


class Blobs(Protocol):
    """Where blobs lie by their digest."""

    def has(self, digest: Digest) -> bool: ...

    def document(self, digest: Digest, what: str) -> bytes:
        """A small blob, checked against its digest; ImageError where it is missing or wrong."""
        ...

    def layer(self, descriptor: Descriptor, diff_id: Digest) -> LayerContent: ...


class _Entry(NamedTuple):
    """A manifest that an index lists."""

    descriptor: Descriptor
    platform: Platform | None
    names: tuple[str, ...]
    artifact: str
    """The type of artifact that the index says it is."""


def candidates(
    blobs: Blobs, index: Mapping[str, Any], where: str, reference: str, route: str
) -> list[Candidate]:
    """Every image that an index leads to, without what is about an image (attestations,
    signatures) or none (charts, models).

    Raises ImageError where the index leads to such other things only, and says what they are.
    """
    found: list[Candidate] = []
    others: list[ImageError] = []
    for entry in _entries(blobs, index, where, None, [0]):
        try:
            fields = _manifest(blobs, entry)
            other = _other(fields, entry)
            if other is not None:
                others.append(other)
                continue
            found.append(_candidate(blobs, entry, fields, reference, route))
        except ImageError as error:
            digests = (entry.descriptor.digest,)
            found.append(Candidate(digests, entry.names, entry.platform, never, error))
    if others and not found:
        raise others[0]
    return found


def never() -> Image:
    raise AssertionError("what is missing is never opened")


def _entries(
    blobs: Blobs, index: Mapping[str, Any], where: str, above: _Entry | None, count: list[int]
) -> Iterator[_Entry]:
    entries = json_list(index.get("manifests") or [], f"{where}, manifests")
    for number, value in enumerate(entries):
        count[0] += 1
        if count[0] > MANY:
            raise ImageError(f"more than {MANY:,} images in {where}")
        place = f"{where}, manifests[{number}]"
        fields = json_object(value, place)
        descriptor = Descriptor.parse(fields, place)
        notes = dict(descriptor.annotations)
        runs_on = _platform(fields.get("platform"), place)
        kind = notes.get(COSIGN_KIND, "")
        if (
            ATTESTATION in notes
            or (runs_on and runs_on.os == "unknown")
            or (kind.startswith(COSIGN) and not kind.startswith(f"{COSIGN}image"))
        ):
            continue
        names = tuple(sorted({notes[key] for key in (REFERENCE, CONTAINERD_NAME) if key in notes}))
        artifact = fields.get("artifactType")
        entry = _Entry(
            descriptor,
            runs_on,
            names or (above.names if above else ()),
            artifact if isinstance(artifact, str) else "",
        )
        if descriptor.media_type not in INDEXES:
            yield entry
        elif blobs.has(descriptor.digest):
            if place.count("manifests[") > 4:
                raise ImageError(f"indexes are nested too deeply in {where}")
            raw = blobs.document(descriptor.digest, f"the index {descriptor.digest}")
            nested = json_object(json_value(raw, place), place)
            yield from _entries(blobs, nested, place, entry, count)


def _platform(value: object, where: str) -> Platform | None:
    if value is None:
        return None
    fields = json_object(value, f"{where}.platform")
    parts = [str(fields.get(key) or "") for key in ("os", "architecture", "variant")]
    return Platform(*parts) if parts[0] or parts[1] else None


def _manifest(blobs: Blobs, entry: _Entry) -> Mapping[str, Any]:
    where = f"the manifest {entry.descriptor.digest}"
    raw = blobs.document(entry.descriptor.digest, where)
    return json_object(json_value(raw, where), where)


def _other(fields: Mapping[str, Any], entry: _Entry) -> ImageError | None:
    """What a manifest is that describes no container image, as an error; None for an image."""
    layers = fields.get("layers")
    described = (fields.get("config"), *(layers if isinstance(layers, list) else ()))
    for media_type in (
        entry.artifact,
        fields.get("artifactType"),
        entry.descriptor.media_type,
        *(one.get("mediaType") for one in described if isinstance(one, dict)),
    ):
        if not isinstance(media_type, str):
            continue
        for start, what, hint in _OTHERS:
            if media_type.startswith(start):
                return ImageError(
                    f"the manifest {entry.descriptor.digest} is {what}, no container image"
                    f" ({media_type})",
                    hint=hint or "slimmer reads container images made of tar layers",
                )
    return None


def _candidate(
    blobs: Blobs, entry: _Entry, fields: Mapping[str, Any], reference: str, route: str
) -> Candidate:
    """An image with what identifies it; what it runs on is told by its config where the index
    does not."""
    where = f"the manifest {entry.descriptor.digest}"
    described, layers = _described(fields, where, entry.descriptor.media_type)
    missing = _missing(blobs, where, described, layers)
    config = None
    if blobs.has(described.digest):
        what = f"the config {described.digest}"
        config = Config.parse(blobs.document(described.digest, what))
    if missing is None and config is not None and len(layers) != len(config.diff_ids):
        missing = ImageError(
            f"the config of {reference} lists {len(config.diff_ids)} layers, "
            f"the manifest {len(layers)}",
            hint="it is no container image (an artifact, perhaps), or it is damaged",
        )
    runs_on = entry.platform
    if runs_on is None and config is not None and config.platform.architecture:
        runs_on = config.platform
    return Candidate(
        (entry.descriptor.digest, described.digest),
        entry.names,
        runs_on,
        lambda: image(blobs, entry.descriptor.digest, described, layers, reference, route),
        missing,
    )


def _missing(
    blobs: Blobs, where: str, described: Descriptor, layers: Sequence[Descriptor]
) -> ImageError | None:
    """The first blob of an image that is not there, as an error."""
    for what, descriptor in [("config", described), *(("layer", layer) for layer in layers)]:
        if not blobs.has(descriptor.digest):
            try:
                blobs.document(descriptor.digest, f"{what} {descriptor.digest}")
            except ImageError as error:
                return error
    return None


def _described(
    fields: Mapping[str, Any], where: str, media_type: str
) -> tuple[Descriptor, list[Descriptor]]:
    """Config and layers of a manifest."""
    if "layers" not in fields and "config" not in fields:
        raise ImageError(
            f"{where} has the type {media_type!r} and no layers",
            hint="only images of schema version 2 can be read; push or save it again",
        )
    layers = json_list(fields.get("layers") or [], f"{where}, layers")
    return Descriptor.parse(fields.get("config"), f"{where}, config"), [
        Descriptor.parse(value, f"{where}, layers[{number}]") for number, value in enumerate(layers)
    ]


def image(
    blobs: Blobs,
    manifest: Digest,
    described: Descriptor,
    layers: Sequence[Descriptor],
    reference: str,
    route: str,
) -> Image:
    """The image that a manifest describes."""
    raw = blobs.document(manifest, f"the manifest {manifest}")
    config = Config.parse(blobs.document(described.digest, f"the config {described.digest}"))
    return usable(
        Image.of(
            reference,
            config,
            [
                (
                    blobs.layer(descriptor, diff_id),
                    descriptor,
                    descriptor.size if descriptor.compressed else None,
                )
                for descriptor, diff_id in zip(layers, config.diff_ids, strict=True)
            ],
            raw,
            route,
        )
    )


def usable(image: Image) -> Image:
    """The image, unless it is of a system whose layers are no plain trees of files."""
    if image.platform.os not in ("linux", ""):
        raise ImageError(
            f"{image.reference} is an image for {image.platform}",
            hint="slimmer reads Linux images; choose another with --platform, if there is one",
        )
    return image


def layer_content(
    extent: Extent, descriptor: Descriptor, diff_id: Digest, limit: int | None
) -> LayerContent:
    """A layer that a manifest describes and a file holds."""
    name = f"layer {descriptor.digest}"
    if descriptor.digest.algorithm == "sha256" and descriptor.media_type.endswith("encrypted"):
        raise ImageError(f"{name} is encrypted", hint="decrypt the image first (skopeo copy)")
    return content(extent, name, diff_id, descriptor.digest, descriptor.size, limit)
