"""Images of a local container engine, Docker or Podman, through its API.

Three routes, the cheapest that works first; `Image.route` says which it was:

1. the engine's folders, where this process may read them (root, mostly);
2. its API: records and files mounted into a container that never runs (`container.py`);
3. its export, as `docker save` has it, parsed as it streams by. Docker's containerd image store
   and Podman keep no such records of layers, so this is the only route for them.
"""

from __future__ import annotations

import hashlib
import socket
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from slimmer.image import Config, Digest, Image, ImageError
from slimmer.stores import oci
from slimmer.stores.archive.reader import image_of
from slimmer.stores.archive.streamed import Streamed
from slimmer.stores.choice import names_hint
from slimmer.stores.content import MediumError
from slimmer.stores.engine.api_layers import Place, Shown, ShownContent, broken_off, chunks, request
from slimmer.stores.engine.folder_layers import FolderContent
from slimmer.stores.oci import DOCUMENT

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Mapping, Sequence

    from docker import APIClient

    from slimmer.evidence import Evidence
    from slimmer.image import LayerContent, Platform
    from slimmer.stores.cache import Cache

Kind = Literal["docker", "podman", "any"]

LAYERED = ("overlay2", "fuse-overlayfs")
"""Storage drivers that keep each layer's files in a folder of its own."""
START = "start one (`systemctl start docker`), set DOCKER_HOST, or name an archive or an OCI layout"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An address where an engine may listen."""

    engine: Literal["Docker", "Podman"]
    url: str
    named: bool = False
    """Whether the user named it, by environment or context, so that it alone counts."""
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def socket(self) -> str:
        """Path of its socket, or an empty string."""
        return self.url.removeprefix("unix://") if self.url.startswith("unix://") else ""


def endpoints(kind: Kind, environment: Mapping[str, str]) -> Iterator[Endpoint]:
    """Where engines may listen, likeliest first."""
    runtime = environment.get("XDG_RUNTIME_DIR", "")
    if kind in ("docker", "any"):
        named = _named_docker(environment)
        if named:
            yield named
        else:
            yield Endpoint("Docker", "unix:///var/run/docker.sock")
            if runtime:
                yield Endpoint("Docker", f"unix://{runtime}/docker.sock")
            home = environment.get("HOME", "")
            if home:  # Docker Desktop
                yield Endpoint("Docker", f"unix://{home}/.docker/run/docker.sock")
                yield Endpoint("Docker", f"unix://{home}/.docker/desktop/docker.sock")
    if kind in ("podman", "any"):
        url = environment.get("CONTAINER_HOST", "")
        if url and kind == "podman":
            yield Endpoint("Podman", url, named=True, options=_ssh(url))
        else:
            if runtime:
                yield Endpoint("Podman", f"unix://{runtime}/podman/podman.sock")
            yield Endpoint("Podman", "unix:///run/podman/podman.sock")


def _named_docker(environment: Mapping[str, str]) -> Endpoint | None:
    """The engine that DOCKER_HOST or Docker's current context names, if one does."""
    if environment.get("DOCKER_HOST"):
        from docker.errors import DockerException
        from docker.utils import kwargs_from_env

        try:
            options = kwargs_from_env(environment=dict(environment))
        except DockerException as error:
            raise MediumError(f"DOCKER_HOST cannot be used: {error}"[:300]) from None
        url = options.pop("base_url")
        return Endpoint("Docker", url, named=True, options=options | _ssh(url))
    if not environment:
        return None
    from docker.context import ContextAPI
    from docker.context.config import get_current_context_name
    from docker.errors import DockerException

    name = environment.get("DOCKER_CONTEXT") or get_current_context_name()
    if name == "default":
        return None
    try:
        context = ContextAPI.get_context(name)
    except DockerException as error:
        raise MediumError(f"the Docker context {name!r} cannot be used: {error}"[:300]) from None
    if context is None or not context.Host:
        raise MediumError(
            f"there is no Docker context called {name!r}", hint="see `docker context ls`"
        )
    url = str(context.Host).removeprefix("http+")
    options = {"tls": context.TLSConfig} if context.TLSConfig else {}
    return Endpoint("Docker", url, named=True, options=options | _ssh(url))


def _ssh(url: str) -> dict[str, Any]:
    return {"use_ssh_client": True} if url.startswith("ssh://") else {}


def connect(endpoint: Endpoint) -> APIClient:
    """A client of the engine there; raises MediumError that says why there is none."""
    if endpoint.socket:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            probe.settimeout(10)
            try:
                probe.connect(endpoint.socket)
            except PermissionError:
                raise ForbiddenError(
                    f"no permission to talk to the {endpoint.engine} engine at {endpoint.socket}",
                    hint="run with sudo, or join the group that owns the socket (mostly `docker`)",
                ) from None
            except OSError as error:
                cause = error.strerror or error
                raise MediumError(
                    f"no {endpoint.engine} engine answers at {endpoint.socket}: {cause}",
                    hint=START,
                ) from None
    import docker
    from docker.errors import DockerException

    try:
        return docker.APIClient(
            base_url=endpoint.url, version="auto", timeout=120, **endpoint.options
        )
    except (DockerException, OSError) as error:
        cause = str(error).replace("\n", " ")
        raise MediumError(
            f"no {endpoint.engine} engine answers at {endpoint.url}: {cause}"[:400], hint=START
        ) from None


def answering(kind: Kind, environment: Mapping[str, str]) -> tuple[APIClient, Endpoint]:
    """The first engine that answers, a named one or none else; raises MediumError."""
    refusal: MediumError | None = None
    for endpoint in endpoints(kind, environment):
        try:
            return connect(endpoint), endpoint
        except MediumError as error:
            refusal = refusal or error
            if endpoint.named:
                break
    raise refusal or MediumError("no container engine is running here", hint=START)


class ForbiddenError(MediumError):
    """An engine that is there, but not for this user."""


def open_engine(
    name: str,
    kind: Kind = "any",
    platform: Platform | None = None,
    *,
    evidence: Evidence | None = None,
    expansion_limit: int | None = None,
    environment: Mapping[str, str],
    cache: Cache | None = None,
) -> Image:
    """An engine's image by name or id; raises SlimmerError where no engine has it."""
    from docker.errors import APIError, DockerException, ImageNotFound

    refusals: list[MediumError] = []
    missing: list[ImageError] = []
    for endpoint in endpoints(kind, environment):
        try:
            client = connect(endpoint)
        except MediumError as error:
            refusals.append(error)
            if endpoint.named:
                break
            continue
        try:
            found = client.inspect_image(name)
        except ImageNotFound:
            missing.append(_missing(name, endpoint, client))
            continue
        except APIError as error:
            raise MediumError(
                f"the {endpoint.engine} engine refuses {name!r}: {error.explanation}"[:400],
                hint="name an image as `docker images` shows it",
            ) from None
        except OSError as error:  # as `requests` has them
            raise broken_off(error) from None
        opening = _Opening(endpoint, client, name, found, platform, cache)
        try:
            return oci.usable(opening.image(evidence, expansion_limit))
        except (DockerException, OSError) as error:
            raise broken_off(error) from None
    if missing:
        raise missing[0]
    for refusal in refusals:
        if isinstance(refusal, ForbiddenError):
            raise refusal
    if len(refusals) == 1:
        raise refusals[0]
    where = "no file of that name, and " if kind == "any" else ""
    raise MediumError(
        f"cannot find {name!r}: {where}no {_engines(kind)} is running here", hint=_start(kind)
    )


def _engines(kind: Kind) -> str:
    return {"docker": "Docker engine", "podman": "Podman service"}.get(kind, "container engine")


def _start(kind: Kind) -> str:
    if kind == "podman":
        return "start its service: `systemctl --user start podman.socket`, or name an archive"
    return START


def _missing(name: str, endpoint: Endpoint, client: APIClient) -> ImageError:
    tags: set[str] = set()
    with suppress(Exception):  # the list is only for the hint
        tags = {tag for image in client.images() for tag in image.get("RepoTags") or ()}
    repository = name.rpartition(":")[0] or name
    near = {tag for tag in tags if repository in tag} or tags
    hint = names_hint(near - {"<none>:<none>"}) if near else "it has no images yet"
    return ImageError(f"no image called {name!r} in the {endpoint.engine} engine", hint=hint)


@dataclass(frozen=True, slots=True)
class _Opening:
    """An image on its way from an engine: what is known, and the routes to the rest."""

    endpoint: Endpoint
    client: APIClient
    name: str
    found: Mapping[str, Any]
    """What the engine says of the image (`GET /images/{name}/json`)."""
    platform: Platform | None
    cache: Cache | None

    @property
    def id(self) -> Digest:
        text = str(self.found.get("Id", ""))
        return Digest.parse(text if ":" in text else f"sha256:{text}", "the engine's image id")

    def image(self, evidence: Evidence | None, expansion_limit: int | None) -> Image:
        info = self.client.info()
        places = self._places(info)
        if places:
            database = f"{info['DockerRootDir']}/image/{info['Driver']}/imagedb/content/sha256"
            source = f"{database}/{self.id.hex}"
            if self.endpoint.socket:
                config = _readable(source, places)
                if config is not None:
                    contents = [
                        FolderContent(
                            f"{place.record}/tar-split.json.gz", place.folder, place.diff_id
                        )
                        for place in places
                    ]
                    return self._image(config, contents, "the engine's folders")
            shown = Shown(self.client, self.id, places)
            try:
                config = self._config(shown, source)
            except MediumError:
                pass  # its host may not let containers mount that folder: the export always works
            else:
                shown_contents = [ShownContent(shown, number) for number in range(len(places))]
                return self._image(
                    config, shown_contents, "the engine's API, by a container that never ran"
                )
        return self._export(evidence, expansion_limit)

    def _places(self, info: Mapping[str, Any]) -> tuple[Place, ...]:
        """Where the engine keeps each layer; nothing where it keeps them otherwise."""
        driver = self.found.get("GraphDriver") or {}
        folders = driver.get("Data") or {}
        if info.get("Driver") not in LAYERED or driver.get("Name") != info["Driver"]:
            return ()
        if any("io.containerd" in str(value) for value in info.get("DriverStatus") or ()):
            return ()
        upper, lower = folders.get("UpperDir", ""), folders.get("LowerDir", "")
        paths = [path for path in (upper, *lower.split(":")) if path][::-1]
        layers = self.found.get("RootFS", {}).get("Layers") or []
        if len(paths) != len(layers) or not info.get("DockerRootDir"):
            return ()
        database = f"{info['DockerRootDir']}/image/{info['Driver']}/layerdb/sha256"
        chain = ""
        places = []
        for path, layer in zip(paths, layers, strict=True):
            diff_id = Digest.parse(layer, "the engine's list of layers")
            # OCI `config.md`, Layer ChainID
            chain = (
                "sha256:" + hashlib.sha256(f"{chain} {diff_id}".encode()).hexdigest()
                if chain
                else diff_id
            )
            places.append(Place(f"{database}/{Digest(chain).hex}", path, diff_id))
        return tuple(places)

    def _config(self, shown: Shown, source: str) -> bytes:
        key = f"config {self.id}"
        raw = self.cache.get(key) if self.cache else None
        if raw is None or Digest.of(raw) != self.id:
            raw = shown.config(source)
            if self.cache:
                self.cache.put(key, raw)
        return raw

    def _image(self, raw: bytes, contents: Sequence[LayerContent], route: str) -> Image:
        if Digest.of(raw) != self.id:
            raise ImageError(
                f"the engine's config of {self.name} is damaged",
                hint="remove the image from the engine and pull it again",
            )
        config = Config.parse(raw)
        if self.platform is not None and not self.platform.accepts(config.platform):
            raise ImageError(
                f"the engine's {self.name} is not for {self.platform}",
                hint=f"it is one for {config.platform}; pull the other with --platform",
            )
        parts = [(content, None, None) for content in contents]
        return Image.of(self.name, config, parts, None, route)

    def _export(self, evidence: Evidence | None, expansion_limit: int | None) -> Image:
        def begin() -> Generator[bytes]:
            return chunks(request(self.client, f"/images/{self.id}/get"))

        what = f"the engine's export of {self.name}"
        members = Streamed.of(begin, what, evidence, expansion_limit, self.cache, self.id)
        return image_of(
            members,
            what,
            self.name,
            "a plain tar",
            "export of the engine, as it streamed by",
            platform=self.platform,
        )


def _readable(source: str, places: Sequence[Place]) -> bytes | None:
    """The config, if that and all of the layers can be read here and are the right ones."""
    try:
        raw = Path(source).read_bytes()[:DOCUMENT]
        for place in places:
            if Path(place.record, "diff").read_text() != place.diff_id:
                return None
            next(Path(place.folder).iterdir(), None)
            with Path(place.record, "tar-split.json.gz").open("rb"):
                pass
    except (OSError, ValueError):
        return None
    return raw
