"""A copy of a site-packages folder whose GPU libraries are slimmed, for the price of what changed.

What stays as it is becomes a hard link to the original. What is slimmed is a new file, made by the
functions behind slimmer's own steps (`CutDeviceCode`, then `StripSymbols`) and written in one pass
forwards, as a layer is written. The original is only read.
"""

from __future__ import annotations

import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from slimmer.actions.device_code import Mode, Pruned, prune
from slimmer.actions.libraries import SMALLEST
from slimmer.actions.symbols import strip
from slimmer.elf.fatbin import parse_gpus
from slimmer.elf.file import ElfError
from slimmer.splice import Splice, compose, stream, view

FOLDERS = ("torch", "nvidia", "triton", "cusparselt")
"""What slimming is tried on: a folder of this name, or of one that goes on after it
(`torch.libs`, `nvidia_cudnn`)."""
SMALLEST_DEVICE_CODE = 1 << 20
"""As in CutDeviceCode."""


@dataclass(frozen=True, slots=True)
class Cut:
    """A file that became smaller."""

    path: str
    """Below the site folder."""
    before: int
    """Bytes."""
    after: int
    code_before: dict[str, int]
    """Bytes of device code by architecture."""
    code_after: dict[str, int]


@dataclass(frozen=True, slots=True)
class Slimmed:
    """A site folder, and what is different in it."""

    site: Path
    cuts: tuple[Cut, ...]
    left_alone: tuple[str, ...]
    """What was not understood and is as it was, one line for each place."""

    @property
    def before(self) -> int:
        """Bytes of the files that were changed."""
        return sum(cut.before for cut in self.cuts)

    @property
    def after(self) -> int:
        """Bytes of the same files now."""
        return sum(cut.after for cut in self.cuts)

    def code(self) -> tuple[dict[str, int], dict[str, int]]:
        """Bytes of device code by architecture, before and after, the largest first."""
        sums: tuple[dict[str, int], dict[str, int]] = ({}, {})
        for cut in self.cuts:
            for total, part in zip(sums, (cut.code_before, cut.code_after), strict=True):
                for arch, size in part.items():
                    total[arch] = total.get(arch, 0) + size
        before, after = (dict(sorted(each.items(), key=lambda item: -item[1])) for each in sums)
        return before, after


def slimmed(site: Path, target: Path, gpus: str, mode: Mode = "shrink") -> Slimmed:
    """Make `target` a copy of `site` for `gpus`, as `--gpu` names them; `target` is new."""
    parse_gpus(gpus)
    libraries: list[Path] = []
    for folder, names, files in os.walk(site):
        here = Path(folder)
        below = here.relative_to(site)
        (target / below).mkdir(parents=True)
        # What os.walk takes for a folder may be a link to one.
        for name in [*files, *(name for name in names if (here / name).is_symlink())]:
            path = here / name
            if _is_tried(below, path):
                libraries.append(path)
            else:
                _linked(path, target / below / name)
    # Reading and writing wait for the disk, and copying leaves the interpreter to others.
    with ThreadPoolExecutor(min(os.cpu_count() or 1, 8)) as pool:
        made = list(pool.map(lambda path: _made(path, site, target, gpus, mode), sorted(libraries)))
    return Slimmed(
        target,
        tuple(cut for cut, _ in made if cut is not None),
        tuple(line for _, lines in made for line in lines),
    )


def _is_tried(below: Path, path: Path) -> bool:
    top = below.parts[0] if below.parts else ""
    if not top.startswith(FOLDERS) or path.is_symlink() or not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(4) == b"\x7fELF"


def _linked(path: Path, target: Path) -> None:
    if path.is_symlink():
        target.symlink_to(path.readlink())
        return
    try:
        target.hardlink_to(path)
    except OSError:  # another file system, or one without links
        shutil.copy2(path, target)


def _made(
    path: Path, site: Path, target: Path, gpus: str, mode: Mode
) -> tuple[Cut | None, list[str]]:
    """Write the slimmed file, or link the one that stays."""
    name = str(path.relative_to(site))
    size = path.stat().st_size
    splice, pruned, left_alone = _splice(path, size, gpus, mode)
    lines = [f"{name}: {why}" for why in left_alone]
    place = target / name
    if splice == Splice.identity(size):
        _linked(path, place)
        return None, lines
    with path.open("rb") as source, place.open("wb") as sink:
        for chunk in stream(source, splice):
            sink.write(chunk)
    shutil.copystat(path, place)
    before, after = (pruned.before_by_arch, pruned.after_by_arch) if pruned else ({}, {})
    return Cut(name, size, place.stat().st_size, before, after), lines


def _splice(
    path: Path, size: int, gpus: str, mode: Mode
) -> tuple[Splice, Pruned | None, tuple[str, ...]]:
    """What the two steps make of a file, one after the other, as a plan does it."""
    whole, pruned = Splice.identity(size), None
    left_alone: tuple[str, ...] = ()
    descriptor = os.open(path, os.O_RDONLY)

    def read(offset: int, length: int) -> bytes:
        return os.pread(descriptor, length, offset)

    try:
        if size >= SMALLEST_DEVICE_CODE:
            try:
                found = prune(read, size, parse_gpus(gpus), mode)
            except ElfError as error:
                left_alone = (str(error),)
            else:
                left_alone = found.left_alone
                if found.before_by_arch != found.after_by_arch:
                    whole, pruned = found.splice, found
        if size >= SMALLEST:
            try:
                stripped = strip(view(read, whole), whole.size)
            except ElfError as error:
                left_alone = (*left_alone, str(error))
            else:
                if stripped is not None:
                    whole = compose(whole, stripped)
    finally:
        os.close(descriptor)
    return whole, pruned, left_alone
