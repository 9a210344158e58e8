"""Debian packages, from dpkg's database (dpkg(1), deb-control(5)).

Debian and its kin keep one status file and a list of files by package; distroless images keep a
folder with one control file and one `.md5sums` by package instead.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from slimmer.attribution import Claim, Owner
from slimmer.owners.paths import Places, text

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from slimmer.index import Index

_DATABASE = b"var/lib/dpkg/"
_STATUS = _DATABASE + b"status"
_INFO = _DATABASE + b"info/"
_DISTROLESS = _DATABASE + b"status.d/"
_DIVERSIONS = _DATABASE + b"diversions"

_FIELDS = re.compile(
    rb"^(Package|Version|Architecture|Multi-Arch|Status|Depends|Pre-Depends|Provides):[ \t]*"
    rb"(.*(?:\n[ \t].*)*)",
    re.MULTILINE,
).findall


@dataclass(frozen=True, slots=True)
class Dpkg:
    """Claims every path that a Debian package's list names, folders too."""

    globs: Sequence[tuple[str, int]] = (
        ("var/lib/dpkg/status", 64 << 20),
        ("var/lib/dpkg/diversions", 1 << 20),
        ("var/lib/apt/extended_states", 4 << 20),
        ("var/lib/dpkg/info/*.list", 32 << 20),
        ("var/lib/dpkg/status.d/*.md5sums", 32 << 20),
        ("var/lib/dpkg/status.d/*", 1 << 20),
    )

    def claims(self, index: Index) -> Iterator[Claim]:
        evidence = index.evidence
        packages = _packages(evidence.get(_STATUS, b""))
        native = packages.get(b"dpkg", {}).get(b"Architecture", b"")
        places = Places(index)
        diverted = _diversions(evidence.get(_DIVERSIONS, b""))
        database = [path for path in evidence if path.startswith(_DATABASE)]
        # Folders that many packages list are the first one's: let that be the base system's own.
        database.sort(key=lambda path: path != _INFO + b"base-files.list")
        for path in database:
            listed = evidence[path]
            if path.startswith(_INFO) and path.endswith(b".list"):
                # `libc6:amd64.list` where a package may be there for several architectures
                package = path[len(_INFO) : -len(b".list")]
                name, _, architecture = package.partition(b":")
                fields = packages.get(package) or packages.get(name) or {}
                if architecture in (b"", native) or not native:
                    package = name
                paths = [line[1:] for line in listed.split(b"\n")]
                if diverted:
                    paths = [
                        diverted[path][0] if diverted.get(path, (b"", name))[1] != name else path
                        for path in paths
                    ]
                yield _claim(package, fields, path, places.shown(paths))
            elif path.startswith(_DISTROLESS) and not path.endswith(b".md5sums"):
                fields = dict(_FIELDS(listed))
                sums = path + b".md5sums"
                package = fields.get(b"Package", path[len(_DISTROLESS) :]).strip()
                paths = [
                    line.partition(b"  ")[2].removeprefix(b"/").removeprefix(b"./")
                    for line in evidence.get(sums, b"").split(b"\n")
                ]
                yield _claim(package, fields, path, places.shown([*paths, path, sums]))
        if _STATUS in evidence:
            version = text(packages.get(b"dpkg", {}).get(b"Version", b""))
            yield Claim(
                Owner("deb", "dpkg", version), "dpkg's database", trees=(_DATABASE.rstrip(b"/"),)
            )


def _packages(status: bytes) -> dict[bytes, dict[bytes, bytes]]:
    """The fields of each package of the status file, by name and by `name:architecture`."""
    packages: dict[bytes, dict[bytes, bytes]] = {}
    for stanza in status.split(b"\n\n"):
        fields = dict(_FIELDS(stanza))
        name = fields.get(b"Package", b"").strip()
        if name:
            packages.setdefault(name, fields)
            packages[name + b":" + fields.get(b"Architecture", b"").strip()] = fields
    return packages


def _claim(
    package: bytes, fields: dict[bytes, bytes], evidence: bytes, files: Sequence[bytes]
) -> Claim:
    requires = fields.get(b"Pre-Depends", b"") + b"," + fields.get(b"Depends", b"")
    return Claim(
        Owner("deb", text(package), text(fields.get(b"Version", b""))),
        text(evidence),
        files,
        requires=_listed(requires),
        provides=_listed(fields.get(b"Provides", b"")),
    )


def _listed(field: bytes) -> tuple[str, ...]:
    return tuple([part for part in map(str.strip, text(field).split(",")) if part])


def _diversions(raw: bytes) -> dict[bytes, tuple[bytes, bytes]]:
    """Where dpkg-divert(1) put the files of all packages but one: path → (new path, the one)."""
    lines = raw.split(b"\n")
    return {
        original[1:]: (moved[1:], package)
        for original, moved, package in zip(lines[::3], lines[1::3], lines[2::3], strict=False)
        if original.startswith(b"/") and moved.startswith(b"/")
    }
