"""Images in a tar: what `docker save`, `podman save`, `skopeo copy`, `buildx` and kaniko write.

Two forms, sometimes both in one file: `manifest.json` with a list of images (Docker image
specification v1.2, "Combined Image JSON + Filesystem Changeset Format"), and an OCI layout
(`image-layout.md`), which Docker writes since version 25.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

from slimmer.image import (
    Config,
    Descriptor,
    Digest,
    Image,
    ImageError,
    json_list,
    json_object,
    json_value,
)
from slimmer.placement import resolve
from slimmer.stores import oci
from slimmer.stores.choice import Candidate, choose
from slimmer.stores.content import Extent, content, tar_errors
from slimmer.stores.decompression import format_of
from slimmer.stores.layout.reader import matching
from slimmer.stores.oci import DOCUMENT
from slimmer.tar.fields import TarError
from slimmer.tar.reading import FILE, HARDLINK, SYMLINK, Window, normalised, walk

if TYPE_CHECKING:
    from collections.abc import Mapping

    from slimmer.evidence import Evidence
    from slimmer.image import LayerContent, Platform
    from slimmer.stores.cache import Cache
    from slimmer.tar.reading import Header

PARTS = 100_000
"""Members that an archive of images may have; real ones have a few dozen."""


class Members(Protocol):
    """The files of an archive, by their name."""

    @property
    def headers(self) -> Mapping[bytes, Header]: ...

    def read(self, header: Header, what: str) -> bytes:
        """The content of a small file."""
        ...

    def layer(
        self, header: Header, name: str, diff_id: Digest, descriptor: Descriptor | None
    ) -> LayerContent: ...

    def compressed(self, header: Header) -> bool:
        """Whether that file is a compressed blob."""
        ...


@dataclass(frozen=True, slots=True, repr=False)
class Archive:
    """The archive that an image was read from."""

    path: str
    members: Members

    @property
    def files(self) -> tuple[str, ...]:
        return (self.path,)

    def document(self, path: str) -> bytes | None:
        header = self.members.headers.get(path.encode())
        return None if header is None else self.members.read(header, path)


@dataclass(frozen=True, slots=True)
class Walked:
    """An uncompressed archive: only headers are read, contents are reached by their offset."""

    extent: Extent
    headers: Mapping[bytes, Header]
    limit: int | None = None

    @classmethod
    def of(cls, extent: Extent, limit: int | None = None) -> Walked:
        headers: dict[bytes, Header] = {}
        with extent.opened() as fd, tar_errors(extent.path):
            if not extent.length:
                raise TarError("the file is empty")
            for header, _ in walk(Window(fd, 0, extent.length)):
                headers[header.path] = header
                if len(headers) > PARTS:
                    break
        return cls(extent, headers, limit)

    def _extent(self, header: Header, what: str) -> Extent:
        if header.data + header.stored > self.extent.length:
            raise ImageError(
                f"{what} ends too soon",
                hint=f"{self.extent.path} is truncated; save the image again",
            )
        return self.extent.part(header.data, header.stored)

    def read(self, header: Header, what: str) -> bytes:
        return self._extent(header, what).read(DOCUMENT, what)

    def layer(
        self, header: Header, name: str, diff_id: Digest, descriptor: Descriptor | None
    ) -> LayerContent:
        extent = self._extent(header, name)
        if descriptor is not None:
            return oci.layer_content(extent, descriptor, diff_id, self.limit)
        return content(extent, name, diff_id, limit=self.limit)

    def compressed(self, header: Header) -> bool:
        extent = self._extent(header, "a layer")
        start = extent.part(0, min(6, extent.length)).read(6, "a layer")
        return format_of(start) != "none"


def open_archive(
    path: str,
    tag: str = "",
    platform: Platform | None = None,
    prefer: str = "",
    evidence: Evidence | None = None,
    expansion_limit: int | None = None,
    cache: Cache | None = None,
) -> Image:
    """The image that the tag and the platform mean, in an archive that may be compressed.

    `prefer` is `docker` to go by `manifest.json` where an archive has both forms. `evidence` saves
    a compressed archive one more pass where the coming scan wants just that.
    """
    extent = Extent.whole(path)
    packed = format_of(extent.part(0, min(6, extent.length)).read(6, path))
    reference = path + (f":{tag}" if tag else "")
    members: Members
    if packed == "none":
        try:
            members = Walked.of(extent, expansion_limit)
        except ImageError as error:
            cause = error.__cause__
            raise ImageError(
                f"{path} is no image: {error.message.removeprefix(path + ': ')}",
                hint="name an archive as `docker save` or `skopeo copy` write it",
            ) from cause
        route = "archive, walked from header to header"
    else:
        from slimmer.stores.archive.streamed import Streamed, file_source

        members = Streamed.of(
            file_source(extent, expansion_limit),
            path,
            evidence,
            expansion_limit,
            cache,
            ",".join(map(str, extent.identity)),
        )
        route = f"archive, decompressed ({packed})"
    what = "a plain tar" if packed == "none" else f"a plain tar in {packed}"
    return image_of(members, path, reference, what, route, tag, platform, prefer)


def image_of(
    members: Members,
    path: str,
    reference: str,
    what: str,
    route: str,
    tag: str = "",
    platform: Platform | None = None,
    prefer: str = "",
) -> Image:
    """The image that an archive's own lists, the tag and the platform lead to.

    Docker ≥ 25 writes two lists, and each of them may lack what the other has: an `index.json`
    without manifests (`save ID`, moby #47210), with one of two images (#51389), a manifest without
    layers (#47065). So both are read.
    """
    docker = b"manifest.json" in members.headers
    layout = b"index.json" in members.headers
    if not docker and not layout:
        raise ImageError(
            f"{path} is no image: {what} without manifest.json or index.json",
            hint="name an archive as `docker save` or `skopeo copy` write it",
        )
    listed = _docker_candidates(members, path, reference, route) if docker else []
    if layout and not (docker and prefer == "docker"):
        where = f"index.json in {path}"
        blobs = _Blobs(members, path)
        # Go writes an index that it never filled as null.
        index = json_object(_json(members, "index.json", where) or {}, where)
        try:
            found = oci.candidates(blobs, index, where, reference, f"OCI {route}")
        except ImageError:
            if not listed:
                raise
            found = []
        listed = _joined(found, listed)
    return replace(choose(listed, path, tag, platform), origin=Archive(path, members))


def _json(members: Members, name: str, where: str) -> Any:
    return json_value(members.read(find(members.headers, name, where), where), where)


def _joined(found: list[Candidate], listed: list[Candidate]) -> list[Candidate]:
    """The images of both lists, each once: by its manifest where that leads to all of it."""
    by_config = {one.digests[-1]: one for one in listed}
    result: list[Candidate] = []
    for one in found:
        twin = by_config.get(one.digests[-1]) if len(one.digests) > 1 else None
        if twin is not None:
            names = tuple(sorted({*one.names, *twin.names}))
            one = one._replace(names=names, platform=one.platform or twin.platform)
            if one.missing is not None and twin.missing is None:
                one = one._replace(open=twin.open, missing=None)
        result.append(one)
    known = {one.digests[-1] for one in found}
    return result + [one for one in listed if one.digests[-1] not in known]


def _docker_candidates(members: Members, path: str, reference: str, route: str) -> list[Candidate]:
    """Every image that `manifest.json` lists."""
    where = f"manifest.json in {path}"
    found = []
    for number, value in enumerate(json_list(_json(members, "manifest.json", where), where)):
        entry = json_object(value, f"{where}, [{number}]")
        names = json_list(_field(entry, "RepoTags") or [], f"{where}, [{number}].RepoTags")
        config_path = _field(entry, "Config")
        if not isinstance(config_path, str):
            raise ImageError(f"expected a path, got {config_path!r:.60} for Config in {where}")
        try:
            config = _config(members, config_path, reference)
        except ImageError as error:
            named = Digest.of(config_path.encode("utf-8", "surrogateescape"))
            found.append(Candidate((named,), tuple(map(str, names)), None, oci.never, error))
            continue

        def opened(entry: Mapping[str, Any] = entry, config: Config = config) -> Image:
            return _docker_image(members, entry, config, path, reference, route)

        found.append(Candidate((config.id,), tuple(map(str, names)), config.platform, opened))
    return found


def _field(entry: Mapping[str, Any], name: str) -> Any:
    """A field of `manifest.json` by its name in any case: Docker reads it so, and old versions of
    jib wrote `config`, `repoTags` and `layers`."""
    if name in entry:
        return entry[name]
    return next((value for key, value in entry.items() if key.lower() == name.lower()), None)


def _config(members: Members, path: str, reference: str) -> Config:
    what = f"the config {path!r:.120}"
    raw = members.read(find(members.headers, path, what), what)
    named = re.search(r"[0-9a-f]{64}", path)
    if named:
        matching(raw, Digest("sha256:" + named[0]), f"the config of {reference}")
    return Config.parse(raw)


def _docker_image(
    members: Members,
    entry: Mapping[str, Any],
    config: Config,
    path: str,
    reference: str,
    route: str,
) -> Image:
    where = f"manifest.json in {path}"
    paths = json_list(_field(entry, "Layers") or [], f"{where}, Layers")
    if len(paths) != len(config.diff_ids):
        raise ImageError(
            f"the config of {reference} lists {len(config.diff_ids)} layers, "
            f"manifest.json {len(paths)}",
            hint="the image is damaged; save it again",
        )
    parts: list[tuple[LayerContent, Descriptor | None, int | None]] = []
    for value, diff_id in zip(paths, config.diff_ids, strict=True):
        name = f"layer {value!r:.120}"
        header = find(members.headers, str(value), name)
        packed = header.stored if members.compressed(header) else None
        parts.append((members.layer(header, name, diff_id, None), None, packed))
    return oci.usable(Image.of(reference, config, parts, None, f"docker {route}"))


def find(headers: Mapping[bytes, Header], path: str, what: str) -> Header:
    """The regular file that a name in an archive means, links followed.

    Old engines write a layer that two images share as a symlink to the other's `layer.tar`.
    """

    def link(path: bytes) -> bytes | None:
        header = headers.get(path)
        return header.link if header is not None and header.kind == SYMLINK else None

    name = normalised(path.encode("utf-8", "surrogateescape"))
    for _ in range(8):
        header = headers.get(resolve(name, link))
        if header is None:
            raise ImageError(
                f"{what} is missing in the archive",
                hint="the archive is incomplete; save the image again",
            )
        if header.kind == FILE:
            return header
        if header.kind != HARDLINK:
            break
        name = header.link
    else:
        header = headers[name]
    kind = "a circle of links" if header.kind in (SYMLINK, HARDLINK) else f"a {header.kind}"
    raise ImageError(
        f"{what} is {kind} in the archive", hint="the archive is damaged; save the image again"
    )


class _Blobs:
    """The blobs of a layout that lies in an archive."""

    def __init__(self, members: Members, path: str) -> None:
        self._members = members
        self._path = path

    def _find(self, digest: Digest, what: str) -> Header:
        path = f"blobs/{digest.algorithm}/{digest.hex}"
        return find(self._members.headers, path, what)

    def has(self, digest: Digest) -> bool:
        return f"blobs/{digest.algorithm}/{digest.hex}".encode() in self._members.headers

    def document(self, digest: Digest, what: str) -> bytes:
        return matching(self._members.read(self._find(digest, what), what), digest, what)

    def layer(self, descriptor: Descriptor, diff_id: Digest) -> LayerContent:
        name = f"layer {descriptor.digest}"
        return self._members.layer(self._find(descriptor.digest, name), name, diff_id, descriptor)


__all__ = ["Members", "Walked", "find", "image_of", "open_archive"]
