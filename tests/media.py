"""The media that images come in, built in memory and small: archives and layouts of all kinds."""

from __future__ import annotations

import gzip
import io
import json
import tarfile
from typing import TYPE_CHECKING, Any

from tiny import config, layer

from slimmer.image import Digest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

try:
    from compression import zstd  # type: ignore[import-not-found, unused-ignore]
except ImportError:
    from backports import zstd

LAYERS = (
    layer({"etc/os-release": b"ID=debian\n", "opt/a": b"x" * 3000, "opt/b": b"y"}),
    layer({"opt/c": b"z" * 5000}, removed=["opt/a"], symlinks={"opt/l": "c"}),
    layer({"opt/c": b"zz", "opt/RECORD": b"a,,\n"}, links={"opt/d": "opt/c"}),
)
PACK: dict[str, Callable[[bytes], bytes]] = {
    "plain": bytes,
    "gzip": lambda tar: gzip.compress(tar, 6, mtime=0),
    "gzip in members": lambda tar: b"".join(
        gzip.compress(tar[at : at + 700], 6, mtime=0) for at in range(0, len(tar), 700)
    ),
    "zstd": lambda tar: zstd.compress(tar),
    "zstd in frames": lambda tar: (
        b"\x50\x2a\x4d\x18\x03\0\0\0abc"
        + b"".join(zstd.compress(tar[at : at + 700]) for at in range(0, len(tar), 700))
        + b"\x5e\x2a\x4d\x18\x08\0\0\0manifest"
    ),
}


def tar(files: Iterable[tuple[str, bytes]], links: Iterable[tuple[str, str]] = ()) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, content in files:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
        for name, target in links:
            member = tarfile.TarInfo(name)
            member.type = tarfile.SYMTYPE
            member.linkname = target
            archive.addfile(member)
    return buffer.getvalue()


def docker_archive(
    tars: Iterable[bytes] = LAYERS, tags: Iterable[str] = ("app:latest",), pack: str = "plain"
) -> bytes:
    """What `docker save` writes: layers first, lists last."""
    tars = list(tars)
    raw = config(tars)
    name = f"{Digest.of(raw).hex}.json"
    entry = {
        "Config": name,
        "RepoTags": list(tags) or None,
        "Layers": [f"{number}/layer.tar" for number in range(len(tars))],
    }
    return tar(
        [
            *((f"{number}/layer.tar", PACK[pack](one)) for number, one in enumerate(tars)),
            (name, raw),
            ("manifest.json", json.dumps([entry]).encode()),
        ]
    )


def folder(
    path: Path, pack: str = "plain", tars: Iterable[bytes] = LAYERS, tag: str = "latest"
) -> Path:
    """An OCI layout whose layers are packed that way."""
    blobs = path / "blobs" / "sha256"
    blobs.mkdir(parents=True, exist_ok=True)
    kind = {"g": "+gzip", "z": "+zstd"}.get(pack[0], "")

    def put(content: bytes, media_type: str) -> dict[str, Any]:
        digest = Digest.of(content)
        (blobs / digest.hex).write_bytes(content)
        return {"mediaType": media_type, "digest": digest, "size": len(content)}

    tars = list(tars)
    manifest = {
        "schemaVersion": 2,
        "config": put(config(tars), "application/vnd.oci.image.config.v1+json"),
        "layers": [
            put(PACK[pack](one), f"application/vnd.oci.image.layer.v1.tar{kind}") for one in tars
        ],
    }
    entry = put(json.dumps(manifest).encode(), "application/vnd.oci.image.manifest.v1+json")
    entry["annotations"] = {"org.opencontainers.image.ref.name": tag}
    index_of(path, *(entries_of(path) if (path / "index.json").exists() else ()), entry)
    (path / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    return path


def in_tar(path: Path) -> bytes:
    """A layout as an archive."""
    files = sorted(file for file in path.rglob("*") if file.is_file())
    return tar([(str(file.relative_to(path)), file.read_bytes()) for file in files])


def blob_of(path: Path, number: int = 0) -> Path:
    """The blob of a layout's layer."""
    [entry] = entries_of(path)
    blobs = path / "blobs" / "sha256"
    manifest = json.loads((blobs / entry["digest"][7:]).read_text())
    return blobs / str(manifest["layers"][number]["digest"])[7:]


def index_of(path: Path, *entries: dict[str, Any]) -> None:
    (path / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": entries}))


def entries_of(path: Path) -> list[dict[str, Any]]:
    entries: list[dict[str, Any]] = json.loads((path / "index.json").read_text())["manifests"]
    return entries
