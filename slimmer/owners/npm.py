"""JavaScript packages, from each `package.json` in a `node_modules` folder, and Node itself."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from slimmer.attribution import Claim, Owner
from slimmer.owners.paths import text

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from slimmer.index import Index

_PACKAGE = b"/package.json"
_HEADER = b"include/node/node_version.h"
_VERSION = re.compile(rb"^#define NODE_(MAJOR|MINOR|PATCH)_VERSION +(\d+)", re.MULTILINE).findall


@dataclass(frozen=True, slots=True)
class Npm:
    """Claims each package's folder as a tree; the copies of one version are one owner."""

    globs: Sequence[tuple[str, int]] = (
        ("**/node_modules/*/package.json", 1 << 20),
        ("**/node_modules/@*/*/package.json", 1 << 20),
        ("**/include/node/node_version.h", 1 << 14),
    )

    def claims(self, index: Index) -> Iterator[Claim]:
        found: defaultdict[tuple[str, str], list[bytes]] = defaultdict(list)
        requires: defaultdict[tuple[str, str], dict[str, None]] = defaultdict(dict)
        for path, content in index.evidence.items():
            if path.endswith(_PACKAGE) and b"node_modules/" in path:
                folder = path[: -len(_PACKAGE)]
                name, version, depends = _package(content, folder)
                found[name, version].append(folder)
                requires[name, version].update(dict.fromkeys(depends))
            elif path.endswith(_HEADER):
                yield _node(path, content)
        for (name, version), folders in found.items():
            key = (name, version)
            yield Claim(
                Owner("npm", name, version),
                text(folders[0] + _PACKAGE),
                trees=tuple(folders),
                requires=tuple(requires[key]),
            )


def _package(content: bytes, folder: bytes) -> tuple[str, str, Sequence[str]]:
    """Name, version and requirements; the folder tells the name where the file does not."""
    name = text(folder.rpartition(b"node_modules/")[2])
    try:
        package = json.loads(content)
        told = package.get("name")
        version = package.get("version")
        depends = package.get("dependencies") or {}
        return (
            told if isinstance(told, str) and told else name,
            version if isinstance(version, str) else "",
            [str(one) for one in depends],
        )
    except (ValueError, TypeError, AttributeError, RecursionError):
        return name, "", ()


def _node(path: bytes, content: bytes) -> Claim:
    """Node as its own archive unpacks it: a header tells the version, the rest lies around it."""
    prefix = path[: -len(_HEADER)]
    parts = dict(_VERSION(content))
    version = b".".join(parts.get(part, b"0") for part in (b"MAJOR", b"MINOR", b"PATCH"))
    return Claim(
        Owner("node", "", text(version) if parts else ""),
        text(path),
        [prefix + name for name in (b"bin/node", b"bin/npm", b"bin/npx", b"bin/corepack")]
        + [prefix + b"share/man/man1/node.1", prefix + b"share/systemtap/tapset/node.stp"],
        (prefix + b"include/node", prefix + b"share/doc/node"),
    )
