"""The image around its layers, as `docker save` of Docker >= 25 writes it."""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from layers import Layer, Member, directory, tar, walk_order

REPOSITORY, TAG = "slimmer/small", "1"
PATH_VARIABLE = "PATH=/usr/local/bin:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin"
BASE_INSTRUCTIONS = (
    "ADD rootfs.tar / # buildkit",
    f"ENV {PATH_VARIABLE}",
    "ENV PYTHON_VERSION=3.11.13",
    "RUN /bin/sh -c ./configure --enable-shared && make && make install # buildkit",
    'CMD ["python3"]',
)
"""The history that the Dockerfile's `FROM` brings with it."""
CONTAINER = {
    "User": "app",
    "ExposedPorts": {"8000/tcp": {}},
    "Env": [PATH_VARIABLE, "PYTHON_VERSION=3.11.13", "PIP_DISABLE_PIP_VERSION_CHECK=1"],
    "Cmd": ["uvicorn", "main:app", "--host", "0.0.0.0"],
    "WorkingDir": "/app",
}
OCI = "application/vnd.oci.image"


@dataclass(frozen=True, slots=True)
class Archive:
    """An image with one name in one tar: an OCI layout, and manifest.json for older readers."""

    content: bytes
    config: str
    """Digest of the configuration: the classic image ID."""
    manifest: str
    """Digest of the OCI manifest."""
    layers: tuple[bytes, ...]
    """The uncompressed tars, lowest first."""


def pack(stack: tuple[Layer, ...], dockerfile: str) -> Archive:
    blobs = tuple(tar(layer.members, int(layer.created.timestamp())) for layer in stack)
    config = encoded(
        {
            "architecture": "amd64",
            "config": CONTAINER,
            "created": timestamp(stack[-1].created),
            "history": history(stack, dockerfile),
            "os": "linux",
            "rootfs": {"type": "layers", "diff_ids": [digest(blob) for blob in blobs]},
        }
    )
    described = [descriptor(f"{OCI}.layer.v1.tar", blob) for blob in blobs]
    manifest = encoded(
        {
            "schemaVersion": 2,
            "mediaType": f"{OCI}.manifest.v1+json",
            "config": descriptor(f"{OCI}.config.v1+json", config),
            "layers": described,
        }
    )
    # The name in full, as containerd's image store writes and wants it.
    names = {
        "io.containerd.image.name": f"docker.io/{REPOSITORY}:{TAG}",
        "org.opencontainers.image.ref.name": TAG,
    }
    entry = descriptor(f"{OCI}.manifest.v1+json", manifest) | {"annotations": names}
    index = {"schemaVersion": 2, "mediaType": f"{OCI}.index.v1+json", "manifests": [entry]}
    docker = {
        "Config": place(config),
        "RepoTags": [f"{REPOSITORY}:{TAG}"],
        "Layers": [place(blob) for blob in blobs],
        "LayerSources": {source["digest"]: source for source in described},
    }
    files = {place(blob): blob for blob in (*blobs, config, manifest)}
    files["index.json"] = encoded(index)
    files["manifest.json"] = encoded([docker])
    files["oci-layout"] = encoded({"imageLayoutVersion": "1.0.0"})
    members = [Member(name, content=content) for name, content in files.items()]
    members += [directory("blobs"), directory("blobs/sha256")]
    content = tar(sorted(members, key=walk_order), int(stack[-1].created.timestamp()))
    return Archive(content, digest(config), digest(manifest), blobs)


def digest(blob: bytes) -> str:
    return "sha256:" + hashlib.sha256(blob).hexdigest()


def place(blob: bytes) -> str:
    return "blobs/" + digest(blob).replace(":", "/")


def descriptor(media_type: str, blob: bytes) -> dict[str, Any]:
    return {"mediaType": media_type, "digest": digest(blob), "size": len(blob)}


def encoded(document: object) -> bytes:
    return json.dumps(document, separators=(",", ":")).encode()


def timestamp(moment: datetime) -> str:
    """RFC 3339 as Go writes it: no zeros at the fraction's end."""
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%f").rstrip("0").rstrip(".") + "Z"


def history(stack: Iterable[Layer], dockerfile: str) -> list[dict[str, Any]]:
    """What made the layers, and the instructions between them that left none."""
    told: list[dict[str, Any]] = []
    created = ""
    layers = iter(stack)
    for instruction in BASE_INSTRUCTIONS + instructions(dockerfile):
        leaves_a_layer = instruction.startswith(("ADD", "COPY", "RUN", "WORKDIR"))
        if leaves_a_layer:
            created = timestamp(next(layers).created)
        told.append(
            {
                "created": created,
                "created_by": instruction,
                "comment": "buildkit.dockerfile.v0",
                **({} if leaves_a_layer else {"empty_layer": True}),
            }
        )
    assert next(layers, None) is None, "more layers than instructions that leave one"
    return told


def instructions(dockerfile: str) -> tuple[str, ...]:
    """How BuildKit's history tells the Dockerfile's lines, without `FROM`."""
    told = []
    for line in dockerfile.replace("\\\n", "").splitlines():
        word, _, rest = line.partition(" ")
        match word:
            case "RUN":
                told.append(f"RUN /bin/sh -c {rest} # buildkit")
            case "COPY":
                told.append(f"{line} # buildkit")
            case "EXPOSE":
                told.append(f"EXPOSE [{rest}/tcp]")
            case "CMD":
                arguments = " ".join(json.dumps(argument) for argument in json.loads(rest))
                told.append(f"CMD [{arguments}]")
            case "ENV" | "USER" | "WORKDIR":
                told.append(line)
    return tuple(told)
