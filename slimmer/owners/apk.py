"""Alpine packages, from apk's database (apk-tools, `apk_database(5)`: one letter, a colon)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from slimmer.attribution import Claim, Owner
from slimmer.owners.paths import RealPaths, text

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from slimmer.index import Index

_DATABASES = (b"lib/apk/db", b"usr/lib/apk/db")
"""The second since apk-tools 3, where /usr is merged."""


@dataclass(frozen=True, slots=True)
class Apk:
    """Claims every file that the database of installed packages names."""

    globs: Sequence[tuple[str, int]] = (
        ("lib/apk/db/installed", 64 << 20),
        ("usr/lib/apk/db/installed", 64 << 20),
    )

    def claims(self, index: Index) -> Iterator[Claim]:
        places = RealPaths(index)
        for database in _DATABASES:
            path = database + b"/installed"
            for stanza in index.evidence.get(path, b"").split(b"\n\n"):
                claim = _claim(stanza, path, places)
                if claim is not None:
                    yield claim
            if path in index.evidence:
                yield Claim(
                    Owner("apk", "apk-tools"), "apk's database", trees=(database, b"etc/apk")
                )


def _claim(stanza: bytes, evidence: bytes, places: RealPaths) -> Claim | None:
    fields: dict[bytes, bytes] = {}
    files: list[bytes] = []
    folder = b""
    for line in stanza.split(b"\n"):
        key, value = line[:2], line[2:]
        if key == b"F:":
            folder = value + b"/" if value else b""
            files.append(value)
        elif key == b"R:":
            files.append(folder + value)
        elif key in (b"P:", b"V:", b"D:", b"p:"):
            fields[key] = value
    name = text(fields.get(b"P:", b""))
    if not name:
        return None
    return Claim(
        Owner("apk", name, text(fields.get(b"V:", b""))),
        text(evidence),
        places.shown(files),
        requires=tuple(
            [one for one in text(fields.get(b"D:", b"")).split() if not one.startswith("!")]
        ),
        provides=tuple(text(fields.get(b"p:", b"")).split()),
    )
