"""Conda packages, from the records in an environment's `conda-meta` folder."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from slimmer.attribution import Claim, Owner
from slimmer.owners.paths import RealPaths, text

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from slimmer.index import Index

_FOLDER = b"conda-meta"


@dataclass(frozen=True, slots=True)
class Conda:
    """Claims every file that an environment's record of a package names."""

    globs: Sequence[tuple[str, int]] = (("**/conda-meta/*.json", 64 << 20),)

    def claims(self, index: Index) -> Iterator[Claim]:
        places = RealPaths(index)
        folders: dict[bytes, None] = {}
        for path, content in index.evidence.items():
            folder = path.rpartition(b"/")[0]
            if not path.endswith(b".json") or folder.rpartition(b"/")[2] != _FOLDER:
                continue
            try:
                record = json.loads(content)
                name, version = str(record["name"]), str(record.get("version", ""))
                listed = [
                    file.encode("utf-8", "surrogateescape")
                    for file in record.get("files", ())
                    if isinstance(file, str)
                ]
                depends = tuple(str(one) for one in record.get("depends") or ())
            except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
                continue
            folders[folder] = None
            prefix = folder[: -len(_FOLDER)]
            files = places.shown([prefix + file for file in listed])
            told = [prefix + file for file in listed if file.endswith(b".dist-info/METADATA")]
            if any(file not in index.visible for file in told):
                # pip replaced the distribution and left conda's record as it was.
                files = [file for file in files if b"/site-packages/" not in file]
            yield Claim(
                Owner("conda", text(name.encode("utf-8", "replace")), version),
                text(path),
                [path, *files],
                requires=tuple(one for one in depends if not one.startswith("__")),
            )
        for folder in folders:
            yield Claim(Owner("conda", "conda"), "conda's records of packages", trees=(folder,))
