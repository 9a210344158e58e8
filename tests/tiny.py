"""Tiny real images for tests: layers are real tars, built in memory by the standard library."""

from __future__ import annotations

import io
import json
import tarfile
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from slimmer.image import Config, Descriptor, Digest, Image
from slimmer.tar.reading import Forward, Stream, walk

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from slimmer.image import Read, Want
    from slimmer.tar.reading import Header


class Bytes:
    """Layer content that is held in memory."""

    random_access = True
    cache_key = None

    def __init__(self, tar: bytes) -> None:
        self.tar = tar

    def _source(self) -> Forward:
        return Stream(iter([self.tar]))

    def members(self, want: Want) -> Iterator[tuple[Header, bytes | None]]:
        source = self._source()
        for header, _ in walk(source):
            wanted = want(header)
            yield header, source.at(header.data, min(wanted, header.stored)) if wanted else None

    def files(self, headers: Iterable[Header]) -> Iterator[tuple[Header, Read]]:
        for header in sorted(headers, key=lambda header: header.data):
            content = self.tar[header.data : header.data + header.stored]
            yield header, lambda offset, length, content=content: content[offset : offset + length]

    @contextmanager
    def walkable(self) -> Iterator[Forward]:
        yield self._source()

    @contextmanager
    def open(self) -> Iterator[BinaryIO]:
        yield io.BytesIO(self.tar)

    def tar_length(self) -> int:
        return len(self.tar)

    def open_blob(self) -> None:
        return None


def layer(
    files: Mapping[str, bytes | None],
    removed: Iterable[str] = (),
    opaque: Iterable[str] = (),
    links: Mapping[str, str] | None = None,
    symlinks: Mapping[str, str] | None = None,
) -> bytes:
    """A layer's tar: content by path (None makes a directory), whiteouts, hard links, symlinks."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as tar:

        def add(name: str, kind: bytes, content: bytes = b"", link: str = "") -> None:
            member = tarfile.TarInfo(name)
            member.type = kind
            member.size = len(content)
            member.linkname = link
            member.mode = 0o755 if kind == tarfile.DIRTYPE else 0o644
            member.mtime = 1_700_000_000
            tar.addfile(member, io.BytesIO(content))

        for name in opaque:
            add(f"{name}/.wh..wh..opq" if name else ".wh..wh..opq", tarfile.REGTYPE)
        for name in removed:
            directory, _, last = name.rpartition("/")
            add(f"{directory}/.wh.{last}" if directory else f".wh.{last}", tarfile.REGTYPE)
        for name, content in files.items():
            if content is None:
                add(name, tarfile.DIRTYPE)
            else:
                add(name, tarfile.REGTYPE, content)
        for name, target in (symlinks or {}).items():
            add(name, tarfile.SYMTYPE, link=target)
        for name, target in (links or {}).items():
            add(name, tarfile.LNKTYPE, link=target)
    return buffer.getvalue()


KINDS = {
    "file": tarfile.REGTYPE,
    "folder": tarfile.DIRTYPE,
    "symlink": tarfile.SYMTYPE,
    "link": tarfile.LNKTYPE,
    "fifo": tarfile.FIFOTYPE,
}


def tar(*members: tuple[str, str, bytes | str]) -> bytes:
    """A layer's tar in exactly this order: kind, path, and the content or what it links to."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as out:
        for kind, name, more in members:
            member = tarfile.TarInfo(name)
            member.type = KINDS[kind]
            member.mode = 0o755 if kind == "folder" else 0o644
            member.mtime = 1_700_000_000
            content = b""
            if isinstance(more, bytes):
                content = more
                member.size = len(content)
            else:
                member.linkname = more
            out.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def config(
    tars: Iterable[bytes],
    created_by: Iterable[str] = (),
    runtime: Mapping[str, object] | None = None,
) -> bytes:
    """A config blob for these layers."""
    told = list(created_by)
    return json.dumps(
        {
            "architecture": "amd64",
            "os": "linux",
            "config": dict(runtime or {}),
            "rootfs": {"type": "layers", "diff_ids": [Digest.of(tar) for tar in tars]},
            "history": [{"created_by": text} for text in told],
        }
    ).encode()


def image(
    *tars: bytes,
    created_by: Iterable[str] = (),
    runtime: Mapping[str, object] | None = None,
) -> Image:
    """An image held in memory."""
    return Image.of(
        "tiny:latest",
        Config.parse(config(tars, created_by, runtime)),
        [(Bytes(tar), None, None) for tar in tars],
    )


def oci(
    tars: Iterable[bytes],
    folder: str | None = None,
    created_by: Iterable[str] = (),
    runtime: Mapping[str, object] | None = None,
) -> str:
    """Write an OCI layout with uncompressed layers, tagged `latest`, and return its folder."""
    root = Path(folder or tempfile.mkdtemp(prefix="tiny-oci-"))
    blobs = root / "blobs" / "sha256"
    blobs.mkdir(parents=True, exist_ok=True)

    def put(content: bytes, media_type: str) -> dict[str, object]:
        digest = Digest.of(content)
        (blobs / digest.hex).write_bytes(content)
        return {"mediaType": media_type, "digest": digest, "size": len(content)}

    tars = list(tars)
    manifest = {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": put(
            config(tars, created_by, runtime), "application/vnd.oci.image.config.v1+json"
        ),
        "layers": [put(tar, "application/vnd.oci.image.layer.v1.tar") for tar in tars],
    }
    entry = put(json.dumps(manifest).encode(), "application/vnd.oci.image.manifest.v1+json")
    entry["annotations"] = {"org.opencontainers.image.ref.name": "latest"}
    (root / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [entry]}))
    (root / "oci-layout").write_text(json.dumps({"imageLayoutVersion": "1.0.0"}))
    return str(root)


__all__ = ["Bytes", "Descriptor", "config", "image", "layer", "oci"]
