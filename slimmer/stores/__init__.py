"""Where images come from and go to: archives, OCI layouts, engines; registries come later.

`open` and `write` are all that a caller needs. Each medium has a module of its own, imported when
it is asked for: an archive must not wait for the import of an engine's client.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from slimmer.stores.content import MediumError
from slimmer.stores.destination import WriteError, Written, write

if TYPE_CHECKING:
    from collections.abc import Mapping

    from slimmer.evidence import Evidence
    from slimmer.image import Image, Platform
    from slimmer.stores.cache import Cache

TRANSPORTS = ("docker", "docker-daemon", "podman", "docker-archive", "oci", "oci-archive")
"""Prefixes that say what a reference means, as skopeo has them."""


def open(  # noqa: A001 - `stores.open` reads as what it does
    reference: str,
    platform: Platform | None = None,
    *,
    evidence: Evidence | None = None,
    expansion_limit: int | None = None,
    environment: Mapping[str, str] | None = None,
    cache: Cache | None = None,
) -> Image:
    """The image that a reference means; nothing but manifests and configs is read yet.

    A reference is a folder with an OCI layout, an archive, or an image of a local engine, each
    with a tag behind a colon where several are there; or one of these with its transport before
    it: `docker:app:latest`, `podman:app`, `docker-archive:f.tar:app:latest`, `oci:folder:tag`,
    `oci-archive:f.tar`. Something that exists as a file wins over an engine's image of that name.

    `evidence` is what the coming scan will want. Media that can only be read from front to back
    (a compressed archive, an engine's export) must read all to find the config at their end;
    knowing the evidence by then saves the scan another pass.
    `expansion_limit` is how many bytes a compressed layer may expand to; None for a generous rule.
    `environment` is the environment to find an engine by (`DOCKER_HOST`, `XDG_RUNTIME_DIR` …).
    `cache` keeps what an engine's export tells only at its end.

    Raises SlimmerError with a hint where there is no such image, or more than one.

    >>> slimmer.open("docker-archive:app.tar").platform.architecture
    'amd64'
    """
    transport, separator, rest = reference.partition(":")
    if reference.startswith("docker://") or transport == "registry":
        raise MediumError(
            "images cannot be read from a registry yet",
            hint="pull it first: `skopeo copy docker://NAME oci:FOLDER:TAG` or `docker pull NAME`",
        )
    if separator and transport in TRANSPORTS and not _exists(reference):
        if not rest:
            raise MediumError(
                f"the reference {reference!r} names nothing",
                hint=f"write what comes after the transport, such as {_example(transport)}",
            )
        if transport in ("docker", "docker-daemon", "podman"):
            from slimmer.stores.engine.reader import open_engine

            return open_engine(
                rest,
                "podman" if transport == "podman" else "docker",
                platform,
                evidence=evidence,
                expansion_limit=expansion_limit,
                environment=environment or {},
                cache=cache,
            )
        path, tag = _split(rest)
        if transport == "oci":
            return _folder(path, tag, platform, expansion_limit)
        return _archive(path, tag, platform, transport, evidence, expansion_limit, cache)
    path, tag = _split(reference)
    if path.is_dir():
        return _folder(path, tag, platform, expansion_limit)
    if path.exists():
        return _archive(path, tag, platform, "", evidence, expansion_limit, cache)
    if reference.startswith(("/", "./", "../", "~")) or reference.endswith((".tar", ".tgz")):
        raise MediumError(
            f"there is no file or folder {reference}",
            hint="name an archive, a folder with an OCI layout, or an image of a local engine",
        )
    from slimmer.stores.engine.reader import open_engine

    return open_engine(
        reference,
        "any",
        platform,
        evidence=evidence,
        expansion_limit=expansion_limit,
        environment=environment or {},
        cache=cache,
    )


def on_disk(reference: str) -> tuple[Path, str]:
    """The path and the tag that a reference would name, if it names something on disk."""
    transport, separator, rest = reference.partition(":")
    named = separator and transport in TRANSPORTS and not _exists(reference)
    return _split(rest if named else reference)


def _folder(path: Path, tag: str, platform: Platform | None, limit: int | None) -> Image:
    from slimmer.stores.layout.reader import open_folder

    return open_folder(path, tag, platform, limit)


def _archive(
    path: Path,
    tag: str,
    platform: Platform | None,
    transport: str,
    evidence: Evidence | None,
    limit: int | None,
    cache: Cache | None,
) -> Image:
    from slimmer.stores.archive.reader import open_archive

    prefer = "docker" if transport == "docker-archive" else ""
    return open_archive(str(path), tag, platform, prefer, evidence, limit, cache)


def _split(text: str) -> tuple[Path, str]:
    """Path and tag of a reference to something on disk: the longest path that exists.

    `app.tar@1` and `app.tar@sha256:…` name an image of it by number and digest, as
    `app.tar:@1` does.
    """
    path = text
    while not _exists(path) and (":" in path or "@" in path):
        path = path[: max(path.rfind(":"), path.rfind("@"))]
    if not _exists(path):
        path = text
    return Path(path), text[len(path) :].removeprefix(":")


def _exists(path: str) -> bool:
    try:
        return Path(path).exists()
    except (OSError, ValueError):  # too long, or with a zero byte: no path of anything
        return False


def _example(transport: str) -> str:
    if transport == "oci":
        return "oci:folder:tag"
    return f"{transport}:image.tar" if transport.endswith("archive") else f"{transport}:app:latest"


__all__ = ["TRANSPORTS", "MediumError", "WriteError", "Written", "on_disk", "open", "write"]
