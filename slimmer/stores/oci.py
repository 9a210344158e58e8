"""OCI manifests, wherever they lie: from an index to the one image that is meant.

Specifications: OCI `image-index.md`, `manifest.md`, `image-layout.md`, `annotations.md`.
"""

from __future__ import annotations

import platform as host
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
from slimmer.stores.content import content

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from slimmer.image import LayerContent
    from slimmer.stores.content import Extent

REFERENCE = "org.opencontainers.image.ref.name"
CONTAINERD_NAME = "io.containerd.image.name"
ATTESTATION = "vnd.docker.reference.type"
DOCUMENT = 16 << 20
"""Bytes that an index, a manifest or a config may have; registries take 4 MiB."""
INDEXES = (
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
)


class Blobs(Protocol):
    """Where blobs lie by their digest."""

    def document(self, digest: Digest, what: str) -> bytes:
        """A small blob, checked against its digest; ImageError where it is missing or wrong."""
        ...

    def layer(self, descriptor: Descriptor, diff_id: Digest) -> LayerContent: ...


class Choice(NamedTuple):
    """One image that an index leads to."""

    descriptor: Descriptor
    platform: Platform | None
    """What the index says that it runs on, if it does."""
    names: tuple[str, ...]
    """Tags and full names that the index gives it."""


def select(
    blobs: Blobs,
    index: Mapping[str, Any],
    reference: str,
    tag: str = "",
    platform: Platform | None = None,
) -> Choice:
    """The one image of an index that the tag and the platform mean.

    Raises ImageError that lists what there is where they mean none, or more than one.
    """
    choices = _choices(blobs, index, reference)
    if not choices:
        raise ImageError(f"{reference} holds no image", hint="its index lists no manifest of one")
    if tag:
        named = [choice for choice in choices if _called(choice, tag)]
        if not named:
            raise ImageError(f"no image called {tag!r} in {reference}", hint=_names_hint(choices))
        choices = named
    elif len({names for _, _, names in choices}) > 1 and len({c[0].digest for c in choices}) > 1:
        raise ImageError(
            f"{reference} holds several images: choose one by its tag", hint=_names_hint(choices)
        )
    return _for_platform(choices, reference, platform)


def _for_platform(choices: Sequence[Choice], reference: str, platform: Platform | None) -> Choice:
    if len({choice.descriptor.digest for choice in choices}) == 1:
        only = choices[0]
        if platform is None or only.platform is None or platform.accepts(only.platform):
            return only
    wanted = platform or host_platform()
    for choice in choices:
        if choice.platform is not None and wanted.accepts(choice.platform):
            return choice
    there = sorted({str(choice.platform) for choice in choices if choice.platform})
    raise ImageError(
        f"{reference} holds no image for {wanted}",
        hint=f"choose with --platform one of: {', '.join(there) or 'none is named'}",
    )


def host_platform() -> Platform:
    """Linux on this machine's processor: what an engine here would run."""
    machine = host.machine().lower()
    known = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm", "i686": "386"}
    return Platform("linux", known.get(machine, machine))


def _choices(
    blobs: Blobs,
    index: Mapping[str, Any],
    where: str,
    above: Choice | None = None,
    depth: int = 0,
) -> list[Choice]:
    """Every image that an index leads to, attestations left out."""
    if depth > 4:
        raise ImageError(f"indexes are nested too deeply in {where}")
    result: list[Choice] = []
    entries = json_list(index.get("manifests"), f"{where}, manifests")
    for number, value in enumerate(entries):
        place = f"{where}, manifests[{number}]"
        entry = json_object(value, place)
        descriptor = Descriptor.parse(entry, place)
        notes = dict(descriptor.annotations)
        runs_on = _platform(entry.get("platform"), place)
        if ATTESTATION in notes or (runs_on and runs_on.os == "unknown"):
            continue
        names = tuple(sorted({notes[key] for key in (REFERENCE, CONTAINERD_NAME) if key in notes}))
        choice = Choice(descriptor, runs_on, names or (above.names if above else ()))
        if descriptor.media_type in INDEXES:
            raw = blobs.document(descriptor.digest, f"the index {descriptor.digest}")
            nested = json_object(json_value(raw, place), place)
            result += _choices(blobs, nested, place, choice, depth + 1)
        else:
            result.append(choice)
        if len(result) > 10_000:
            raise ImageError(f"more than 10,000 images in {where}")
    return result


def _platform(value: object, where: str) -> Platform | None:
    if value is None:
        return None
    fields = json_object(value, f"{where}.platform")
    parts = (str(fields.get(key) or "") for key in ("os", "architecture", "variant"))
    return Platform(*parts)


def _called(choice: Choice, tag: str) -> bool:
    if tag == choice.descriptor.digest:
        return True
    full = familiar(tag)
    return any(
        tag == name or full == familiar(name) or tag == name.rpartition(":")[2]
        for name in choice.names
    )


def familiar(name: str) -> str:
    """An image's name in full but for Docker Hub's own parts: `app` is `app:latest`."""
    name = name.removeprefix("docker.io/").removeprefix("library/")
    return name if ":" in name.rpartition("/")[2] or "@" in name else f"{name}:latest"


def _names_hint(choices: Sequence[Choice]) -> str:
    return names_hint({name for choice in choices for name in choice.names})


def names_hint(names: set[str]) -> str:
    """Tell which tags there are."""
    if not names:
        return "no image in it has a tag"
    shown = ", ".join(repr(name).strip("'") for name in sorted(names)[:20])
    return f"there are: {shown}" + (f" and {len(names) - 20} more" if len(names) > 20 else "")


def image(blobs: Blobs, choice: Choice, reference: str, route: str) -> Image:
    """The image that a manifest describes."""
    where = f"the manifest {choice.descriptor.digest}"
    raw = blobs.document(choice.descriptor.digest, where)
    fields = json_object(json_value(raw, where), where)
    if "layers" not in fields:
        raise ImageError(
            f"{where} has the type {choice.descriptor.media_type!r} and no layers",
            hint="only images of schema version 2 can be read; push or save it again",
        )
    described = Descriptor.parse(fields.get("config"), f"{where}, config")
    config = Config.parse(blobs.document(described.digest, f"the config {described.digest}"))
    layers = [
        Descriptor.parse(value, f"{where}, layers[{number}]")
        for number, value in enumerate(json_list(fields["layers"], f"{where}, layers"))
    ]
    if len(layers) != len(config.diff_ids):
        raise ImageError(
            f"the config of {reference} lists {len(config.diff_ids)} layers, "
            f"the manifest {len(layers)}",
            hint="it is no container image (an artifact, perhaps), or it is damaged",
        )
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
