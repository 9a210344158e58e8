"""Images written to one tar: an OCI layout, and for Docker its `manifest.json` beside it.

As `docker save` writes them since version 25: engines from 1.10 on read `manifest.json`, all other
tools the layout. No time and no owner is written, so the same image gives the same bytes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, BinaryIO

from slimmer.image import Digest
from slimmer.stores.atomic import WriteError, whole_file, writing_to
from slimmer.stores.manifests import LAYER, LAYOUT, compact, entry_of, index_of, manifest_of
from slimmer.tar.reading import BLOCK, END, padded

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from slimmer.edits.drafts import Draft
    from slimmer.image import Config
    from slimmer.stores.blobs import Poured, Sink


def tar_header(name: str, size: int, folder: bool = False) -> bytes:
    """One ustar header block, whatever the size: from 8 GiB on in base 256, as GNU tar does."""
    block = bytearray(BLOCK)
    raw = name.encode()
    block[: len(raw)] = raw
    block[100:124] = (b"0000755\0" if folder else b"0000644\0") + b"0000000\0" * 2
    if size < 8**11:
        block[124:136] = b"%011o\0" % size
    else:
        block[124:136] = b"\x80" + size.to_bytes(11, "big")
    block[136:148] = b"00000000000\0"
    block[148:156] = b" " * 8
    block[156:157] = b"5" if folder else b"0"
    block[257:265] = b"ustar\x0000"
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


class Tar:
    """A tar that is written to a file; a `Sink` whose blobs are named once they are there."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._sizes: dict[Digest, int] = {}
        for folder in ("blobs/", "blobs/sha256/"):
            file.write(tar_header(folder, 0, folder=True))

    def size_of(self, digest: Digest) -> int | None:
        return self._sizes.get(digest)

    def put(self, chunks: Iterator[bytes], digest: Callable[[], Digest]) -> tuple[Digest, int]:
        file = self._file
        start = file.tell()
        file.write(bytes(BLOCK))
        size = 0
        for chunk in chunks:
            file.write(chunk)
            size += len(chunk)
        found = digest()
        if found in self._sizes:
            file.seek(start)
            file.truncate()
            return found, size
        file.write(bytes(padded(size) - size))
        end = file.tell()
        file.seek(start)
        file.write(tar_header(f"blobs/{found.algorithm}/{found.hex}", size))
        file.seek(end)
        self._sizes[found] = size
        return found, size

    def document(self, name: str, raw: bytes) -> None:
        self._file.write(tar_header(name, len(raw)) + raw + bytes(padded(len(raw)) - len(raw)))

    def end(self) -> None:
        self._file.write(END)


def write_archive(
    path: Path,
    draft: Draft,
    names: dict[str, str],
    fill: Callable[[Sink], tuple[Config, Sequence[Poured]]],
    repository_tags: Sequence[str] | None,
) -> tuple[Config, Sequence[Poured], Digest]:
    """Write an archive; with `repository_tags`, even none of them, it is one for Docker too."""
    origin = draft.image.origin
    if origin is not None and any(_same(path, source) for source in origin.files):
        raise WriteError(
            f"{path} is the image that is being read", hint="write to another file, then move it"
        )
    with writing_to(str(path)), whole_file(path) as file:
        tar = Tar(file)
        config, layers = fill(tar)
        tar.put(iter([config.raw]), lambda: config.id)
        raw, media_type = manifest_of(draft, config, layers)
        digest = Digest.of(raw)
        tar.put(iter([raw]), lambda: digest)
        tar.document("index.json", index_of([entry_of(raw, media_type, config, names)]))
        if repository_tags is not None:
            tar.document("manifest.json", docker_manifest(config, layers, repository_tags))
        tar.document("oci-layout", LAYOUT)
        tar.end()
    return config, layers, digest


def docker_manifest(config: Config, layers: Sequence[Poured], tags: Sequence[str]) -> bytes:
    """`manifest.json` (Docker image specification v1.2)."""
    entry: dict[str, Any] = {
        "Config": _blob(config.id),
        "RepoTags": list(tags) or None,
        "Layers": [_blob(layer.digest) for layer in layers],
        "LayerSources": {
            layer.diff_id: {
                "mediaType": LAYER + ("" if layer.format == "none" else f"+{layer.format}"),
                "size": layer.size,
                "digest": layer.digest,
            }
            for layer in layers
        },
    }
    return compact([entry])


def _blob(digest: Digest) -> str:
    return f"blobs/{digest.algorithm}/{digest.hex}"


def _same(path: Path, other: str) -> bool:
    try:
        return path.samefile(other)
    except OSError:
        return False
