"""Results that must prove themselves: written under another name, and put in place afterwards."""

from __future__ import annotations

import contextlib
import os
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from slimmer.stores.manifests import image_name
from slimmer.stores.whole import WriteError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from docker import APIClient

SUFFIX = "unverified"


@dataclass(slots=True)
class Provisional:
    """A destination, and the place beside it where the result waits for its verdict."""

    destination: str
    target: str
    """What to write to, and to open for the check."""
    _before: bytes | None = field(default=None, repr=False)
    """The index of an OCI layout that was there before."""

    @classmethod
    def of(cls, destination: str) -> Provisional:
        """Find a place beside any destination that `stores.write` takes."""
        transport, _, rest = destination.partition(":")
        if transport in ("docker", "docker-daemon", "podman"):
            name = image_name(rest)
            return cls(f"{transport}:{name}", f"{transport}:{name}-{SUFFIX}-{os.getpid()}")
        if transport in ("docker-archive", "oci-archive"):
            file, tag = _split(rest)
            return cls(destination, f"{transport}:{_beside(file)}{tag}")
        if transport == "oci":
            folder, tag = _split(rest)
            index = folder / "index.json"
            if index.is_file():  # other images live there too
                return cls(destination, destination, index.read_bytes())
            return cls(destination, f"oci:{_beside(folder)}{tag}")
        if destination.endswith(".tar"):
            return cls.of(f"docker-archive:{destination}")
        return cls(destination, destination)

    def accept(self, environment: Mapping[str, str]) -> None:
        """Put the result in its place."""
        transport, _, rest = self.target.partition(":")
        if transport in ("docker", "docker-daemon", "podman"):
            with _engine(transport, environment) as client:
                repository, _, tag = self.destination.partition(":")[2].rpartition(":")
                client.tag(rest, repository, tag)
                client.remove_image(rest, noprune=True)
        elif self.target != self.destination:
            here = _split(rest)[0]
            there = _split(self.destination.partition(":")[2])[0]
            try:
                here.replace(there)
            except OSError as error:
                raise WriteError(f"cannot put {there} in its place: {error.strerror}") from None

    def discard(self, environment: Mapping[str, str]) -> None:
        """Leave nothing of the result, and what was there before as it was."""
        transport, _, rest = self.target.partition(":")
        if transport in ("docker", "docker-daemon", "podman"):
            from docker.errors import APIError

            with _engine(transport, environment) as client, contextlib.suppress(APIError):
                client.remove_image(rest)
            return
        path = _split(rest)[0]
        if self._before is not None:
            index = path / "index.json"
            beside = index.with_name(f".index.json.{os.getpid()}")
            beside.write_bytes(self._before)
            beside.replace(index)
        elif path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def _split(text: str) -> tuple[Path, str]:
    """A path and its `:tag`, which may be missing; a path that exists is never split."""
    head, colon, tag = text.rpartition(":")
    if not colon or Path(text).exists() or "/" in tag:
        return Path(text), ""
    return Path(head), colon + tag


def _beside(path: Path) -> Path:
    return path.with_name(f".{path.name}.{SUFFIX}-{os.getpid()}")


@contextlib.contextmanager
def _engine(transport: str, environment: Mapping[str, str]):  # type: ignore[no-untyped-def]
    from slimmer.stores import daemon

    kind: daemon.Kind = "podman" if transport == "podman" else "docker"
    client: APIClient | None = None
    for endpoint in daemon.endpoints(kind, environment):
        client = daemon.connect(endpoint)
        break
    if client is None:
        raise WriteError("the engine is gone")
    with contextlib.closing(client):
        yield client
