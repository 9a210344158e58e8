"""Debian packages, from dpkg's database (dpkg(1), deb-control(5)).

Debian and its kin keep one status file and a list of files by package; distroless images keep a
folder with one control file and one `.md5sums` by package instead.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from slimmer.attribution import Claim, Owner
from slimmer.ecosystems import debian
from slimmer.owners.paths import RealPaths, text

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from slimmer.index import Index

_DISTROLESS = debian.DATABASE + b"status.d/"


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
        packages = _packages(evidence.get(debian.STATUS, b""))
        native = packages.get(b"dpkg", {}).get(b"Architecture", b"")
        places = RealPaths(index)
        diverted = {
            one.path: one for one in debian.diversions(evidence.get(debian.DIVERSIONS, b""))
        }
        database = [path for path in evidence if path.startswith(debian.DATABASE)]
        # Folders that many packages list are the first one's: let that be the base system's own.
        database.sort(key=lambda path: path != debian.INFO + b"base-files.list")
        for path in database:
            listed = evidence[path]
            if path.startswith(debian.INFO) and path.endswith(b".list"):
                # `libc6:amd64.list` where a package may be there for several architectures
                package = path[len(debian.INFO) : -len(b".list")]
                name, _, architecture = package.partition(b":")
                fields = packages.get(package) or packages.get(name) or {}
                if architecture in (b"", native) or not native:
                    package = name
                paths = [line[1:] for line in listed.split(b"\n")]
                if diverted:
                    paths = [
                        one.moved if (one := diverted.get(path)) and one.by != name else path
                        for path in paths
                    ]
                yield _claim(package, fields, path, places.shown(paths))
            elif path.startswith(_DISTROLESS) and not path.endswith(b".md5sums"):
                fields = debian.paragraph(listed)
                sums = path + b".md5sums"
                package = fields.get(b"Package", path[len(_DISTROLESS) :])
                paths = [
                    line.partition(b"  ")[2].removeprefix(b"/").removeprefix(b"./")
                    for line in evidence.get(sums, b"").split(b"\n")
                ]
                yield _claim(package, fields, path, places.shown([*paths, path, sums]))
        if debian.STATUS in evidence:
            version = text(packages.get(b"dpkg", {}).get(b"Version", b""))
            yield Claim(
                Owner("deb", "dpkg", version),
                "dpkg's database",
                trees=(debian.DATABASE.rstrip(b"/"),),
            )


def _packages(status: bytes) -> dict[bytes, debian.Fields]:
    """The fields of each package of the status file, by name and by `name:architecture`."""
    packages: dict[bytes, debian.Fields] = {}
    for fields in debian.paragraphs(status):
        name, architecture = debian.identity(fields)
        packages.setdefault(name, fields)
        packages[name + b":" + architecture] = fields
    return packages


def _claim(package: bytes, fields: debian.Fields, evidence: bytes, files: Sequence[bytes]) -> Claim:
    requires = fields.get(b"Pre-Depends", b"") + b"," + fields.get(b"Depends", b"")
    return Claim(
        Owner("deb", text(package), text(fields.get(b"Version", b""))),
        text(evidence),
        files,
        requires=debian.dependencies(requires),
        provides=debian.dependencies(fields.get(b"Provides", b"")),
    )
