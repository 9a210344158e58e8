"""Images on their way out: where a destination leads, and what was written there."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from slimmer.edits.drafts import Draft
from slimmer.signals import unwinding
from slimmer.stores.atomic import WriteError
from slimmer.stores.blobs import Meter, Poured, Sink, pour
from slimmer.stores.compression import Packing

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from slimmer.image import Config, Digest, Image
    from slimmer.stores.compression import Compression

DESTINATIONS = ("docker", "docker-daemon", "podman", "docker-archive", "oci", "oci-archive")


@dataclass(frozen=True, slots=True)
class Written:
    """An image as it was written."""

    reference: str
    """The destination, as `stores.open` takes it."""
    id: Digest
    """The image ID: the digest of the config."""
    manifest: Digest | None
    """Digest of the manifest; None in an engine, which makes its own when it pushes."""
    diff_ids: tuple[Digest, ...]
    unpacked: int | None
    """Σ `size` over all layers; None where nobody has looked at the source."""
    packed: int | None
    """Σ compressed blob sizes as they were written; None where a layer is not compressed."""
    stored: int
    """Bytes of all layers as they lie in the medium; in an engine, bytes that were sent to it."""
    reused: int
    """Layers that are the same as the source's."""
    written: int
    """Layers that are new."""
    notices: tuple[str, ...] = ()
    """What the user should know, one sentence each."""

    def __repr__(self) -> str:
        return (
            f"Written({self.reference!r}, {self.id[:19]!r}, unpacked={self.unpacked},"
            f" packed={self.packed})"
        )


def write(
    source: Draft | Image,
    destination: str,
    *,
    compression: Compression | None = None,
    level: int | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
    environment: Mapping[str, str] | None = None,
) -> Written:
    """Write an image, whole or not at all; nothing is left of it where that cannot be.

    A destination is `oci:folder[:tag]`, `oci-archive:file[:tag]`, `docker-archive:file[:name]`,
    `docker:name` or `podman:name`. By default (`compression` None) a layer that nothing touched
    keeps its very blob in an OCI layout, and all others become gzip there; an archive for Docker
    holds plain tars, as `docker save` writes them. With a compression, every layer is of it; the
    blobs that are so already are kept. `progress` is told how many bytes were read, of how many.

    Raises SlimmerError where the source has changed, or the destination cannot be written.
    """
    draft = source if isinstance(source, Draft) else Draft.unchanged(source)
    transport, rest = parsed(destination)
    meter = Meter.of(draft, progress)
    with unwinding():
        if transport in ("docker", "docker-daemon", "podman"):
            return _to_engine(rest, transport, draft, compression, meter, environment or {})
        return _to_file(rest, transport, draft, compression, level, meter)


def parsed(destination: str) -> tuple[str, str]:
    """What a destination means: its transport, and the name or the path with its `:tag`.

    Raises WriteError where it does not say what to write.
    """
    transport, _, rest = destination.partition(":")
    if transport not in DESTINATIONS:
        if destination.endswith(".tar"):
            return "docker-archive", destination
        raise WriteError(
            f"the destination {destination!r} does not say what to write",
            hint="write docker:NAME, docker-archive:FILE, oci:FOLDER:TAG or oci-archive:FILE",
        )
    if not rest.partition(":")[0]:
        raise WriteError(
            f"the destination {destination!r} names nothing",
            hint=f"write what comes after the transport, such as {transport}:app:slim",
        )
    return transport, rest


def _to_engine(
    name: str,
    transport: str,
    draft: Draft,
    compression: Compression | None,
    meter: Meter,
    environment: Mapping[str, str],
) -> Written:
    if compression not in (None, "none"):
        raise WriteError(
            "an engine keeps layers unpacked, whatever compression they come with",
            hint="leave the compression out, or write an OCI layout",
        )
    from slimmer.stores.engine.writer import write_engine
    from slimmer.stores.referrers import notices

    kind = "podman" if transport == "podman" else "docker"
    config, _, sent = write_engine(name, kind, draft, meter, environment)  # type: ignore[arg-type]
    kept = sum(layer.kept is not None for layer in draft.layers)
    return Written(
        f"{transport}:{name}",
        config.id,
        None,
        config.diff_ids,
        draft.unpacked,
        None,
        sent,
        kept,
        len(draft.layers) - kept,
        (*draft.notices, *notices(draft)),
    )


def _to_file(
    rest: str,
    transport: str,
    draft: Draft,
    compression: Compression | None,
    level: int | None,
    meter: Meter,
) -> Written:
    from slimmer.stores import manifests
    from slimmer.stores.archive.writer import write_archive
    from slimmer.stores.layout.writer import write_layout
    from slimmer.stores.referrers import notices

    docker = transport == "docker-archive"
    keep = compression or ("none" if docker else None)
    packing = Packing.of(compression or ("none" if docker else "gzip"), level)
    told = notices(draft)  # before the source's index can change, if it is the destination too

    def fill(sink: Sink) -> tuple[Config, Sequence[Poured]]:
        layers = [pour(layer, sink, packing, meter, keep=keep) for layer in draft.layers]
        return draft.finish([layer.diff_id for layer in layers]), layers

    place, _, tag = rest.partition(":")
    if docker:
        name = manifests.image_name(tag) if tag else ""
        config, layers, digest = write_archive(
            Path(place), draft, manifests.named(name), fill, [name] if name else []
        )
    else:
        tag = manifests.layout_tag(tag)
        names = manifests.tagged(tag)
        if transport == "oci-archive":
            config, layers, digest = write_archive(Path(place), draft, names, fill, None)
        else:
            config, layers, digest = write_layout(Path(place), tag, draft, names, fill)
    if docker and packing.format == "zstd":
        told = (*told, "layers in zstd are for Docker 23 and newer, Podman and skopeo")
    stored = sum(layer.size for layer in layers)
    reused = sum(layer.reused for layer in layers)
    return Written(
        f"{transport}:{rest}",
        config.id,
        digest,
        config.diff_ids,
        draft.unpacked,
        stored if all(layer.format != "none" for layer in layers) else None,
        stored,
        reused,
        len(layers) - reused,
        (*draft.notices, *told),
    )


__all__ = ["DESTINATIONS", "WriteError", "Written", "write"]
