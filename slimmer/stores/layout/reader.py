"""OCI image layouts in a folder (OCI `image-layout.md`)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from slimmer.image import Descriptor, Digest, Image, ImageError, json_object, json_value
from slimmer.stores import oci
from slimmer.stores.choice import choose
from slimmer.stores.content import Extent, MediumError
from slimmer.stores.oci import DOCUMENT

if TYPE_CHECKING:
    from pathlib import Path

    from slimmer.image import LayerContent, Platform


@dataclass(frozen=True, slots=True)
class Layout:
    """The folder that an image was read from."""

    path: Path
    files: tuple[str, ...]

    def document(self, path: str) -> bytes | None:
        try:
            return Extent.whole(str(self.path / path)).read(DOCUMENT, path)
        except MediumError:
            return None


class Folder:
    """The blobs of a layout."""

    def __init__(self, path: Path, limit: int | None) -> None:
        self._path = path
        self._limit = limit
        self.opened: list[str] = []
        """Paths of the layers that were asked for."""

    def _blob(self, digest: Digest, what: str) -> Extent:
        try:
            return Extent.whole(str(self._path / "blobs" / digest.algorithm / digest.hex))
        except MediumError:
            raise ImageError(
                f"{what} is missing in {self._path}",
                hint="the layout is incomplete; copy the image again",
            ) from None

    def has(self, digest: Digest) -> bool:
        return (self._path / "blobs" / digest.algorithm / digest.hex).exists()

    def document(self, digest: Digest, what: str) -> bytes:
        return matching(self._blob(digest, what).read(DOCUMENT, what), digest, what)

    def layer(self, descriptor: Descriptor, diff_id: Digest) -> LayerContent:
        extent = self._blob(descriptor.digest, f"layer {descriptor.digest}")
        self.opened.append(extent.path)
        return oci.layer_content(extent, descriptor, diff_id, self._limit)


def matching(raw: bytes, digest: Digest, what: str) -> bytes:
    """These bytes, unless they are not the ones that the digest names."""
    found = Digest.of(raw, digest.algorithm)
    if found != digest:
        raise ImageError(
            f"{what} has the digest {found}, not {digest}",
            hint="the bytes are not the ones that the image names; pull or save it again",
        )
    return raw


def open_folder(
    path: Path,
    tag: str = "",
    platform: Platform | None = None,
    expansion_limit: int | None = None,
) -> Image:
    """The image that a layout's index, the tag and the platform lead to.

    Raises ImageError where the layout is damaged, or means no image or more than one.
    """
    if not (path / "index.json").is_file():
        raise MediumError(
            f"{path} is a folder without index.json, so no OCI layout",
            hint="name the folder that holds oci-layout and index.json",
        )
    raw = Extent.whole(str(path / "index.json")).read(DOCUMENT, f"{path}/index.json")
    where = f"{path}/index.json"
    blobs = Folder(path, expansion_limit)
    reference = f"oci:{path}" + (f":{tag}" if tag else "")
    index = json_object(json_value(raw, where), where)
    listed = oci.candidates(blobs, index, where, reference, "OCI layout")
    image = choose(listed, where, tag, platform)
    return replace(image, origin=Layout(path, tuple(blobs.opened)))
