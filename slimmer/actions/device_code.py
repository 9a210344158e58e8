"""Cuts GPU code down to the architectures that the image will meet.

Every region of a library keeps what the driver would pick on the GPUs that were named, moved to
the region's front; the region's address stays, so that nothing which points at it changes. The
rest of the region is zero (`zero`: the file's size and offsets stay, and only its compressed size
falls), or leaves the file (`shrink`).

NVIDIA's licence terms on modifying redistributables are the user's to read.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from slimmer.elf.fatbin import (
    MAGIC,
    REGION,
    Entry,
    Gpu,
    Opaque,
    Region,
    by_architecture,
    holders,
    picked,
    scan,
    selected,
)
from slimmer.elf.file import SHT_DYNSYM, SHT_RELA, Elf, ElfError
from slimmer.elf.layout import relayout
from slimmer.splice import Copy, Piece, Read, Splice, Zeros, compose
from slimmer.splice import Literal as Bytes

if TYPE_CHECKING:
    from collections.abc import Iterable

Mode = Literal["shrink", "zero"]


@dataclass(frozen=True, slots=True)
class Pruned:
    """A library with less GPU code, and what that took."""

    splice: Splice
    """The new library; the identity where nothing can leave."""
    before_by_arch: dict[str, int]
    """Bytes by architecture (`sm_90`, `compute_120`), the largest first."""
    after_by_arch: dict[str, int]
    left_alone: tuple[str, ...]
    """What was not understood and stays as it is, one line for each place."""
    not_served: tuple[str, ...]
    """The GPUs, as they were named, for which the library has no code that is understood, neither
    before nor after."""


def prune(read: Read, size: int, gpus: Iterable[Gpu], mode: Mode = "shrink") -> Pruned:
    """Keep of the library of `size` bytes what the driver picks on `gpus`; none of them keeps the
    smallest entry of each region.

    Raises ElfError where the file is not an ELF file or not one that can be changed.
    """
    elf = Elf.parse(read, size)
    named = tuple(gpus)
    left_alone: list[str] = []
    whole: list[Region] = []
    for found in scan(elf, read):
        match found:
            case Region():
                whole.append(found)
            case Opaque(offset, length, why):
                left_alone.append(f"{length} bytes at {offset:#x}: {why}")
    whole.sort(key=lambda region: region.offset)
    cut = [_Cut.of(region, named) for region in whole]
    targets = _targets(elf, read, cut)
    pieces: list[Piece] = []
    freed: list[tuple[int, int]] = []
    kept: list[Entry] = []
    reached = 0
    for each in cut:
        start, end = each.free
        if each.region.offset < reached:
            left_alone.append(f"region at {each.region.offset:#x}: overlaps another")
        elif (index := bisect_right(targets, start)) < len(targets) and targets[index] < end:
            left_alone.append(f"region at {each.region.offset:#x}: pointed into")
        elif start < end:
            pieces += [Copy(reached, each.region.offset - reached), *each.pieces()]
            freed.append(each.free)
            kept += each.kept
            reached = end
            continue
        kept += each.region.entries
    splice = Splice.of([*pieces, Copy(reached, size - reached)])
    present = [entry for region in whole for entry in region.entries]
    if mode == "shrink" and freed:
        splice = compose(splice, relayout(elf, read, freed=freed))
        if splice.size >= size:
            splice, kept = Splice.identity(size), present
    return Pruned(
        splice,
        by_architecture(present),
        by_architecture(kept),
        tuple(left_alone),
        tuple(gpu.name for gpu in named if cut and not _serves(cut, gpu)),
    )


@dataclass(frozen=True, slots=True)
class _Cut:
    region: Region
    kept: tuple[Entry, ...]

    @classmethod
    def of(cls, region: Region, gpus: tuple[Gpu, ...]) -> _Cut:
        return cls(region, selected(region.entries, gpus))

    @property
    def free(self) -> tuple[int, int]:
        """The end of the region's kept entries once they are at its front, and its own end."""
        used = REGION.size + sum(entry.size for entry in self.kept)
        return self.region.offset + used, self.region.offset + self.region.size

    def pieces(self) -> list[Piece]:
        start, end = self.free
        length = start - self.region.offset - REGION.size
        return [
            Bytes(REGION.pack(MAGIC, 1, REGION.size, length)),
            *(Copy(entry.offset, entry.size) for entry in self.kept),
            Zeros(end - start),
        ]


def _serves(cut: list[_Cut], gpu: Gpu) -> bool:
    return any(picked(each.kept, gpu) for each in cut)


def _targets(elf: Elf, read: Read, cut: list[_Cut]) -> list[int]:
    """File offsets behind the beginning of a region that relocations or symbols point at, sorted.

    Nothing but the beginning of a region should be pointed at. Where something else is, the
    library finds its code in a way of its own, and the region stays.
    """
    places = sorted(holders(elf), key=lambda section: section.address)
    if not places:
        return []
    addresses = [section.address for section in places]
    low, high = addresses[0], max(section.address + section.size for section in places)
    pointers = [
        section
        for section in elf.sections
        if section.allocated and section.kind in _POINTERS and not section.size % 24
    ]
    if sum(section.size for section in pointers) > elf.size:
        raise ElfError("sections that overlap")
    found: set[int] = set()
    for section in pointers:
        column = _POINTERS[section.kind]
        for start in range(section.offset, section.end, _BLOCK):
            words = memoryview(read(start, min(_BLOCK, section.end - start))).cast("Q")
            for value in words[column::3].tolist():
                if low <= value < high:
                    holder = places[bisect_right(addresses, value) - 1]
                    found.add(value - holder.address + holder.offset)
    return sorted(found.difference(each.region.offset for each in cut))


_BLOCK = 24 << 16
_POINTERS = {SHT_RELA: 2, SHT_DYNSYM: 1}
"""Which of the three words of an entry is an address: `r_addend`, `st_value`."""
