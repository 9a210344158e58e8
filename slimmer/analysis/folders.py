"""Folders that are wanted even when nothing is left in them.

A folder that a removal empties leaves with what was in it, unless programs count on it: what they
write to it, or who may. Removing such a folder would change what a container does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from slimmer.attribution import Attribution
    from slimmer.index import Index
    from slimmer.tar.reading import Header

STICKY_OR_SETGID = 0o3000
SYSTEM = frozenset(
    (
        *(b"bin boot dev etc home lib lib32 lib64 libx32 media mnt opt proc root run".split()),
        *(b"sbin srv sys tmp usr var etc/opt etc/X11 etc/xml etc/sgml run/lock".split()),
        *(b"usr/bin usr/games usr/include usr/lib usr/lib32 usr/lib64 usr/libexec".split()),
        *(b"usr/libx32 usr/local usr/sbin usr/share usr/src usr/share/man usr/share/misc".split()),
        *(b"usr/local/bin usr/local/etc usr/local/games usr/local/include".split()),
        *(b"usr/local/lib usr/local/lib64 usr/local/man usr/local/sbin".split()),
        *(b"usr/local/share usr/local/src usr/local/share/man".split()),
        *(b"var/account var/cache var/crash var/empty var/games var/lib var/lib/misc".split()),
        *(b"var/local var/lock var/log var/mail var/opt var/run var/spool var/spool/cron".split()),
        *(b"var/spool/mail var/tmp var/yp".split()),
    )
)
"""Folders that the Filesystem Hierarchy Standard 3.0 names, and those that Docker's engine mounts
over in every container."""
PACKAGED = ("deb", "apk", "rpm", "system")
"""Kinds of owners whose packages list their folders."""


class WantedFolders:
    """Which folders of an image stay though they are empty."""

    __slots__ = ("_claims", "_named", "_visible")

    def __init__(self, ledger: Attribution) -> None:
        self._visible = ledger.index.visible
        self._claims = ledger.claim_of
        self._named = SYSTEM | set(_named(ledger.index))

    def __call__(self, folder: bytes) -> bool:
        """A system folder, a volume, a home, the working directory, one that a package lists, or
        one with an owner or a mode of its own."""
        if folder in self._named:
            return True
        header = self._visible.get(folder)
        if header is not None and _is_special(header):
            return True
        claim = self._claims.get(folder)
        return claim is not None and claim.owner.kind in PACKAGED


def _is_special(header: Header) -> bool:
    """Whether a folder was made for others than root to write to, or to share."""
    return bool(header.uid or header.gid or header.mode & STICKY_OR_SETGID)


def _named(index: Index) -> Iterator[bytes]:
    """The folders that the image's config and its list of users name, as real paths."""
    config = index.image.config
    told = [*config.volumes, config.working_directory]
    told += [value for name, value in config.environment if name == "HOME"]
    for text in told:
        yield index.resolve(text.encode("utf-8", "surrogateescape"))
    for line in index.evidence.get(b"etc/passwd", b"").split(b"\n"):
        fields = line.split(b":")  # passwd(5)
        if len(fields) == 7:
            yield index.resolve(fields[5])
