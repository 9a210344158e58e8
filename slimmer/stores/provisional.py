"""Results that must prove themselves: written under another name, and put in place afterwards."""

from __future__ import annotations

import contextlib
import os
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from slimmer.stores.layout_writer import is_layout
from slimmer.stores.manifests import image_name
from slimmer.stores.whole import WriteError, expect_room
from slimmer.stores.writing import parsed

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
    _here: Path | None = field(default=None, repr=False)
    """Where the result waits; None in an engine."""
    _there: Path | None = field(default=None, repr=False)
    """Where it belongs."""
    _before: bytes | None = field(default=None, repr=False)
    """The index of an OCI layout that was there before."""

    @classmethod
    def of(cls, destination: str) -> Provisional:
        """Find a place beside any destination that `stores.write` takes.

        Raises WriteError where nothing could be put there.
        """
        transport, rest = parsed(destination)
        if transport in ("docker", "docker-daemon", "podman"):
            name = image_name(rest)
            return cls(f"{transport}:{name}", f"{transport}:{name}-{SUFFIX}-{os.getpid()}")
        destination = f"{transport}:{rest}"
        place, colon, tag = rest.partition(":")
        path = Path(place)
        expect_room(path, file=transport != "oci")
        if transport == "oci" and is_layout(path):  # other images live there too
            return cls(destination, destination, path, path, (path / "index.json").read_bytes())
        beside = path.with_name(f".{path.name}.{SUFFIX}-{os.getpid()}")
        return cls(destination, f"{transport}:{beside}{colon}{tag}", beside, path)

    def replaces(self, archive: Path) -> bool:
        """Whether a file would be lost to the result."""
        if self._there is None or not self._there.is_file():
            return False
        return archive.exists() and self._there.samefile(archive)

    def accept(self, environment: Mapping[str, str]) -> None:
        """Put the result in its place."""
        transport, _, rest = self.target.partition(":")
        if transport in ("docker", "docker-daemon", "podman"):
            with _engine(transport, environment) as client:
                repository, _, tag = self.destination.partition(":")[2].rpartition(":")
                client.tag(rest, repository, tag)
                client.remove_image(rest, noprune=True)
        elif self._here is not None and self._there is not None and self._here != self._there:
            try:
                self._here.replace(self._there)
            except OSError as error:
                self.discard(environment)
                raise WriteError(
                    f"cannot put {self._there} in its place: {error.strerror}"
                ) from None

    def discard(self, environment: Mapping[str, str]) -> None:
        """Leave nothing of the result, and what was there before as it was."""
        transport, _, rest = self.target.partition(":")
        if transport in ("docker", "docker-daemon", "podman"):
            from docker.errors import APIError

            with _engine(transport, environment) as client, contextlib.suppress(APIError):
                client.remove_image(rest)
            return
        path = self._here
        if path is None:
            return
        if self._before is not None:
            index = path / "index.json"
            beside = index.with_name(f".index.json.{os.getpid()}")
            beside.write_bytes(self._before)
            beside.replace(index)
        elif path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


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
