"""Outputs that appear whole or not at all: written beside, synced, and put in their place by name.

A file is written without a name where the file system can do that (Linux `O_TMPFILE`), so that
nothing is left of it even when the process is killed outright.
"""

from __future__ import annotations

import errno
import os
import shutil
import stat
import tempfile
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from slimmer.errors import SlimmerError

if TYPE_CHECKING:
    from collections.abc import Iterator


class WriteError(SlimmerError):
    """An output that cannot be written."""


@contextmanager
def writing_to(place: str) -> Iterator[None]:
    """Say where it was that the system refused to write."""
    try:
        yield
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        raise WriteError(
            f"cannot write {place}: {error.strerror or error}",
            hint="free some space, or write to another disk" if full else "",
        ) from None


def expect_room(path: Path, *, file: bool) -> None:
    """Raise WriteError where nothing can be put at a path, a file least of all.

    Said before the work, not after it.
    """
    if not path.parent.is_dir():
        raise WriteError(f"there is no folder {path.parent} to write {path.name} to")
    with suppress(FileNotFoundError):
        if file and not stat.S_ISREG(path.stat().st_mode):
            raise WriteError(f"{path} is there and is no regular file")


@contextmanager
def whole_file(path: Path) -> Iterator[BinaryIO]:
    """A file to write that takes the place of `path` once the block ends well."""
    path = Path(os.path.realpath(path))
    expect_room(path, file=True)
    folder = path.parent
    name = ""
    try:
        try:
            fd = os.open(folder, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o666)
        except OSError as error:
            if error.errno not in (errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL, errno.ENOENT):
                raise
            fd, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=folder)
            os.fchmod(fd, 0o666 & ~_umask())
        with open(fd, "wb", buffering=1 << 16) as file:
            yield file
            file.flush()
            os.fsync(fd)
            if not name:
                # An unnamed file cannot be given a name that is taken, so it takes two steps.
                name = _free_name(path)
                _link(fd, name)
        Path(name).replace(path)
        name = ""
        sync_folder(folder)
    finally:
        if name:
            Path(name).unlink(missing_ok=True)


def _link(fd: int, name: str) -> None:
    # Only with a folder's descriptor does Python ask linkat(2) to follow the symlink.
    own = os.open("/proc/self/fd", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.link(str(fd), name, src_dir_fd=own, follow_symlinks=True)
    finally:
        os.close(own)


def _free_name(path: Path) -> str:
    with tempfile.NamedTemporaryFile(prefix=f".{path.name}.", dir=path.parent) as file:
        return file.name


def _umask() -> int:
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


@contextmanager
def temporary_folder(parent: Path, name: str) -> Iterator[Path]:
    """A folder beside what it is for; removed at the end unless it was moved away."""
    folder = Path(tempfile.mkdtemp(prefix=f".{name}.", dir=parent))
    try:
        folder.chmod(0o777 & ~_umask())
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def sync_folder(folder: Path) -> None:
    """Make the names in a folder last."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


__all__ = [
    "WriteError",
    "sync_folder",
    "temporary_folder",
    "whole_file",
    "writing_to",
]
