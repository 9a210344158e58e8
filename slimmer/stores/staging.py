"""Results that must prove themselves: written under another name, and put in place afterwards."""

from __future__ import annotations

import contextlib
import os
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from slimmer.stores.atomic import WriteError, expect_room
from slimmer.stores.destination import parsed
from slimmer.stores.layout.writer import is_layout, merge
from slimmer.stores.manifests import image_name

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
        if transport == "oci":
            is_layout(path)  # other images may live there; anything else is refused
        beside = path.with_name(f".{path.name}.{SUFFIX}-{os.getpid()}")
        return cls(destination, f"{transport}:{beside}{colon}{tag}", beside, path)

    def replaces(self, source: Path, tag: str) -> bool:
        """Whether the result would take the place of its source: an archive, or a layout's tag."""
        if self._there is None or not self._there.exists() or not source.exists():
            return False
        if not self._there.samefile(source):
            return False
        asked = self.destination.partition(":")[2].partition(":")[2] or "latest"
        return self._there.is_file() or tag in ("", asked)

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
                if transport == "oci" and is_layout(self._there):
                    merge(self._here, self._there)
                else:
                    self._here.replace(self._there)
            except OSError as error:
                self.discard(environment)
                raise WriteError(
                    f"cannot put {self._there} in its place: {error.strerror}"
                ) from None
            except BaseException:
                self.discard(environment)
                raise

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
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def _engine(
    transport: str, environment: Mapping[str, str]
) -> contextlib.AbstractContextManager[APIClient]:
    from slimmer.stores.engine.reader import answering

    client, _ = answering("podman" if transport == "podman" else "docker", environment)
    return contextlib.closing(client)
