"""The application's own files: what COPY and ADD brought, and what lies in the WORKDIR."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from slimmer.attribution import Claim, Owner
from slimmer.owners.paths import SHARED

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from slimmer.index import Index, LayerIndex

_COPIES = re.compile(
    # classic builder and buildah `/bin/sh -c #(nop) COPY dir:… in /app`, BuildKit
    # `COPY . /app # buildkit`, kaniko `COPY . /app`, and `|1 ARG=…` where arguments are told
    r"(?:(?:\|\d+ .*?)?/bin/sh -c #\(nop\)\s*)?(?P<copy>(?:COPY|ADD)\s.*)",
    re.DOTALL,
).match
_BUILDERS = re.compile(
    r"(?:ko (?:build|publish)|jib-|Jib |bazel build|Buildpacks Application)"
).match
_CREDENTIALS = re.compile(r"//[^/\s@]*@").sub
_SYSTEM_FILES = (b"etc/os-release", b"usr/lib/os-release", b"var/lib/dpkg/status", b"bin/sh")


@dataclass(frozen=True, slots=True)
class App:
    """Claims what copying layers hold and nobody else speaks for, and the WORKDIR as a tree."""

    globs: Sequence[tuple[str, int]] = (
        ("**/requirements*.txt", 1 << 18),
        ("**/pyproject.toml", 1 << 18),
    )

    def claims(self, index: Index) -> Iterator[Claim]:
        owner = Owner("app", "")
        for layer in index.layers:
            command = layer.layer.history.created_by
            copies = _COPIES(command)
            if copies and not _base_system(layer, copies["copy"]):
                yield Claim(owner, _shortened(copies["copy"]), layers=(layer.number,))
            elif _BUILDERS(command):
                yield Claim(owner, _shortened(command), layers=(layer.number,))
        folder = index.image.config.working_directory
        tree = index.resolve(folder.encode("utf-8", "surrogateescape"))
        if tree not in SHARED:
            yield Claim(owner, _shortened(f"WORKDIR {folder}"), trees=(tree,))


def _base_system(layer: LayerIndex, copy: str) -> bool:
    """Whether a layer is a base image unpacked, `ADD rootfs.tar /`, not an application."""
    target = copy.removesuffix("# buildkit").split()[-1]
    if layer.number or target.strip("/"):
        return False
    paths = {header.path for header in layer.headers}
    return any(path in paths for path in _SYSTEM_FILES)


def _shortened(command: str) -> str:
    text = _CREDENTIALS("//", " ".join(command.removesuffix("# buildkit").split()))
    text = "".join(character if character.isprintable() else "?" for character in text)
    return text if len(text) <= 120 else text[:117] + "…"
