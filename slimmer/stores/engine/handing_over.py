"""An image handed to an engine that does not have it, for as long as it is tried."""

from __future__ import annotations

import json
import tarfile
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Generator

    from slimmer.image import Image, Layer

CHUNK = 1 << 20


def archive(image: Image, tag: str) -> Generator[bytes]:
    """An image as `docker load` takes it, streamed; nothing is kept on the way."""
    config = f"{image.id.hex}.json"
    names = [f"{number}/layer.tar" for number in range(len(image.layers))]
    manifest = json.dumps([{"Config": config, "RepoTags": [tag], "Layers": names}]).encode()
    for name, content in ((config, image.config.raw), ("manifest.json", manifest)):
        yield _member(name, len(content)) + content + bytes(-len(content) % 512)
    for name, layer in zip(names, image.layers, strict=True):
        length = _length(layer)
        yield _member(name, length)
        with layer.content.open() as file:
            while chunk := file.read(CHUNK):
                yield chunk
        yield bytes(-length % 512)
    yield bytes(1024)


def _length(layer: Layer) -> int:
    """Bytes of a layer's tar: a tar's own header must tell before the first of them."""
    known = layer.content.tar_length()
    if known is not None:
        return known
    # Read twice rather than kept: a large layer would need its size in disk space.
    with layer.content.open() as file:
        return sum(map(len, iter(lambda: file.read(CHUNK), b"")))


def _member(name: str, size: int) -> bytes:
    member = tarfile.TarInfo(name)
    member.size = size
    return member.tobuf(tarfile.GNU_FORMAT)
