"""Paths as records write them, told as the index knows them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from slimmer.tar.reading import SYMLINK

if TYPE_CHECKING:
    from collections.abc import Iterable

    from slimmer.index import Index

SHARED = frozenset(
    (
        b"",
        *b"bin boot dev etc home lib lib64 media mnt opt proc root run sbin srv sys tmp".split(),
        *b"usr usr/bin usr/lib usr/local usr/local/bin usr/local/lib usr/sbin usr/share".split(),
        *b"usr/src var var/cache var/lib var/tmp".split(),
    )
)
"""Folders that belong to nobody alone, whatever a variable or a record says."""


class RealPaths:
    """Paths of one image, with symlinks on the way to them followed; each folder once."""

    __slots__ = ("_index", "_real")

    def __init__(self, index: Index) -> None:
        self._index = index
        self._real: dict[bytes, bytes] = {}

    def real(self, path: bytes) -> bytes:
        """The path with its folder's real name; its last part is kept, even if it is a symlink."""
        slash = path.rfind(b"/")
        if slash <= 0:
            return path.lstrip(b"/")
        folder = path[:slash]
        real = self._real.get(folder)
        if real is None:
            real = self._real[folder] = self._index.resolve(folder)
        return real + path[slash:] if real else path[slash + 1 :]

    def shown(self, paths: Iterable[bytes]) -> list[bytes]:
        """Those of the paths that the image shows, by their real names.

        A path that is not visible as it is written is looked for behind the symlinks on its way.
        A symlink at the top (`bin`, where /usr is merged) stands for a folder: every package
        names it.
        """
        find = self._index.visible.get
        found: list[bytes] = []
        add = found.append
        for path in paths:
            header = find(path)
            if header is None:
                path = self.real(path)
                header = find(path)
                if header is None:
                    continue
            if header.kind is not SYMLINK or b"/" in path:
                add(path)
        return found


def folders(index: Index) -> dict[bytes, None]:
    """Every folder of the image that holds something, in the order of the tree's members."""
    found = dict.fromkeys([path[: path.rfind(b"/")] for path in index.visible if b"/" in path])
    for folder in list(found):
        while b"/" in folder:
            folder = folder[: folder.rfind(b"/")]
            if folder in found:
                break
            found[folder] = None
    return found


def text(raw: bytes) -> str:
    """A name or a version of untrusted make, as text on one line."""
    return " ".join(raw.decode("utf-8", "replace").split())
