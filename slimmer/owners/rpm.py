"""RPM packages, from the headers in rpm's sqlite database.

A header (rpm's `docs/manual/format_header.md`) is a count of entries, the length of a store, the
entries (tag, type, offset, count) and the store; all numbers are big-endian. The older databases
(Berkeley DB) and SUSE's ndb are not read: their images' files are nobody's.
"""

from __future__ import annotations

from dataclasses import dataclass
from struct import Struct, error
from typing import TYPE_CHECKING

from slimmer.attribution import Claim, Owner
from slimmer.owners.paths import RealPaths, text

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from slimmer.index import Index

_DATABASES = (b"var/lib/rpm", b"usr/lib/sysimage/rpm", b"usr/share/rpm")

_NAME, _VERSION, _RELEASE, _EPOCH = 1000, 1001, 1002, 1003
_PROVIDES, _REQUIRES = 1047, 1049
_DIRECTORY_INDEXES, _BASE_NAMES, _DIRECTORY_NAMES = 1116, 1117, 1118
_OLD_FILE_NAMES = 1027
_FILES = (_DIRECTORY_INDEXES, _BASE_NAMES, _DIRECTORY_NAMES, _OLD_FILE_NAMES)
_WANTED = frozenset((_NAME, _VERSION, _RELEASE, _EPOCH, _PROVIDES, _REQUIRES, *_FILES))
_INT32, _STRING, _STRINGS, _I18N = 4, 6, 8, 9
_PAIR = Struct(">II")
_ENTRY = Struct(">IIiI")


@dataclass(frozen=True, slots=True)
class Rpm:
    """Claims every file that the header of an installed package names."""

    globs: Sequence[tuple[str, int]] = (
        ("var/lib/rpm/rpmdb.sqlite", 128 << 20),
        ("usr/lib/sysimage/rpm/rpmdb.sqlite", 128 << 20),
        ("usr/share/rpm/rpmdb.sqlite", 128 << 20),
    )

    def claims(self, index: Index) -> Iterator[Claim]:
        places = RealPaths(index)
        for folder in _DATABASES:
            path = folder + b"/rpmdb.sqlite"
            database = index.evidence.get(path)
            if database is None:
                continue
            for blob in _headers(database):
                claim = _claim(blob, path, places)
                if claim is not None:
                    yield claim
            yield Claim(Owner("rpm", "rpm"), "rpm's database", trees=(folder,))


def _headers(database: bytes) -> Iterator[bytes]:
    """The header of every installed package; none where the database cannot be read."""
    import sqlite3  # few images need it

    if database[18:20] == b"\x02\x02":
        # Written ahead to a log that nobody has beside a copy in memory: say that there is none.
        database = database[:18] + b"\x01\x01" + database[20:]
    connection = sqlite3.connect(":memory:")
    try:
        connection.deserialize(database)
        connection.execute("PRAGMA trusted_schema = OFF")
        for (blob,) in connection.execute("SELECT blob FROM Packages ORDER BY hnum"):
            if isinstance(blob, bytes):
                yield blob
    except (sqlite3.Error, OverflowError, AttributeError, MemoryError):
        return  # damaged, or Python's sqlite was built without `deserialize`
    finally:
        connection.close()


def _claim(blob: bytes, evidence: bytes, places: RealPaths) -> Claim | None:
    tags = _tags(blob)
    name = text(b"".join(tags.get(_NAME, ())[:1]))
    if not name:
        return None
    version = text(
        b"-".join([one for tag in (_VERSION, _RELEASE) for one in tags.get(tag, ())[:1]])
    )
    if tags.get(_EPOCH):
        version = f"{text(tags[_EPOCH][0])}:{version}"
    folders = tags.get(_DIRECTORY_NAMES, ())
    files = list(tags.get(_OLD_FILE_NAMES, ()))
    for place, base in zip(
        tags.get(_DIRECTORY_INDEXES, ()), tags.get(_BASE_NAMES, ()), strict=False
    ):
        number = int(place)
        if number < len(folders):
            files.append(folders[number] + base)
    return Claim(
        Owner("rpm", name, version),
        text(evidence),
        places.shown([file.lstrip(b"/") for file in files]),
        requires=tuple(
            dict.fromkeys(
                required
                for required in map(text, tags.get(_REQUIRES, ()))
                # rpm itself meets these, and rich requirements need a solver.
                if not required.startswith(("rpmlib(", "config(", "("))
            )
        ),
        provides=(
            *dict.fromkeys(map(text, tags.get(_PROVIDES, ()))),
            # A package may require a file by its path.
            *("/" + text(file.lstrip(b"/")) for file in files if b"bin/" in file),
        ),
    )


def _tags(blob: bytes) -> dict[int, Sequence[bytes]]:
    """Tag → its values, numbers as decimal digits; what is damaged is left out."""
    tags: dict[int, Sequence[bytes]] = {}
    try:
        count, _ = _PAIR.unpack_from(blob)
        store = 8 + 16 * count
        for place in range(min(count, 4096)):
            tag, kind, offset, values = _ENTRY.unpack_from(blob, 8 + 16 * place)
            start = store + offset
            if tag not in _WANTED or tag in tags or offset < 0 or values > len(blob) - start:
                continue
            if kind == _INT32:
                numbers = Struct(f">{values}I").unpack_from(blob, start)
                tags[tag] = [b"%d" % number for number in numbers]
            elif kind == _STRING:
                tags[tag] = [blob[start : blob.find(b"\0", start)]]
            elif kind in (_STRINGS, _I18N):
                tags[tag] = blob[start:].split(b"\0", values)[:values]
    except error:
        pass
    return tags
