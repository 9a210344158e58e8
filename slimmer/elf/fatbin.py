"""NVIDIA fat binaries: code for several GPU architectures, of which the driver picks one.

NVIDIA does not publish the format. What is known here was read off real libraries: of 42,923
entries in the torch 2.9 stack (CUDA 12.8, LZ4) and in cuBLAS, cuDNN, cuSOLVER and NCCL for CUDA 13
(zstd), kind, architecture and suffix are counted as the cuobjdump of CUDA 13.1 counts them.

Region, in `.nv_fatbin` (linked code) and `__nv_relfatbin` (relocatable code), back to back:

    +0  u32 magic 0xBA55ED50   +4 u16 version 1   +6 u16 header size 16   +8 u64 bytes of entries

Entry, back to back behind the region's header:

    +0  u16 kind (1 PTX, 2 cubin; 8 in cuFFT's own tables; others)    +4  u32 header size (64 …)
    +8  u64 payload size, padded to 8                                +16 u32 compressed size
    +28 u32 architecture (90 for sm_90)                              +40 u64 flags
    +56 u64 size when decompressed

Flags: 0x2000 LZ4, 0x8000 zstd, 0x100000 architecture-specific (sm_90a), 0x200000
family-specific (compute_120f); 0x1000000 comes with every cubin for Blackwell and is not needed.

Regions elsewhere (`.ldata` of cuFFT, `.cask_resource` of cuBLASLt and cuSPARSELt) have one entry
each and are found by the libraries' own tables, so that none of them could be left out.

What may run where (CUDA programming guide, "Compute capabilities"; NVIDIA's compatibility
guides): a cubin runs on GPUs of its own major version whose minor version is not lower; an
architecture-specific one on exactly its own; a family-specific one within its family; PTX on its
own architecture and everything newer. Cubins are not promised to be exchangeable between desktop
and Jetson GPUs.
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from slimmer.elf.file import DEVICE_CODE, SHT_PROGBITS, Elf, ElfError, Section
from slimmer.errors import SlimmerError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from slimmer.splice import Read

REGION = struct.Struct("<IHHQ")
MAGIC = 0xBA55ED50
ENTRY = struct.Struct("<HHIQIIHHIIIQQQ")
ENTRIES_LIMIT = 1 << 16
"""Most regions and entries that are read of one file: seven times those of cuBLASLt, which has
the most of all that are known."""
LZ4, ZSTD = 0x2000, 0x8000
ARCHITECTURE_SPECIFIC, FAMILY_SPECIFIC = 0x100000, 0x200000

Kind = Literal["ptx", "cubin", "other"]


class GpuError(SlimmerError):
    """A GPU that is not known by this name."""


@dataclass(frozen=True, slots=True)
class Gpu:
    """A GPU that the image is to run on."""

    name: str
    """As it was named: `a100`, `sm_90`."""
    arch: int
    """Its compute capability: 90 for 9.0."""


@dataclass(frozen=True, slots=True)
class Entry:
    """Code for one architecture."""

    offset: int
    """First byte of its header, counted like that of its region."""
    kind: Kind
    code: int
    """The kind as the file says it."""
    arch: int
    """Compute capability: 90 for 9.0."""
    flags: int
    header_size: int
    """Bytes before the payload."""
    payload_size: int
    """Bytes, compressed as they are, and padded."""

    @property
    def size(self) -> int:
        """Bytes of header and payload."""
        return self.header_size + self.payload_size

    @property
    def variant(self) -> Literal["", "a", "f"]:
        """`a` where it runs on exactly its architecture, `f` where within its family."""
        if self.flags & ARCHITECTURE_SPECIFIC:
            return "a"
        return "f" if self.flags & FAMILY_SPECIFIC else ""

    @property
    def label(self) -> str:
        """`sm_90a` for a cubin, `compute_90` for PTX, `kind 64` for what is neither."""
        if self.kind == "other":
            return f"kind {self.code}"
        return f"{'sm' if self.kind == 'cubin' else 'compute'}_{self.arch}{self.variant}"


@dataclass(frozen=True, slots=True)
class Region:
    """One fat binary: the same program for several architectures."""

    offset: int
    """First byte of its header, in the file."""
    entries: tuple[Entry, ...]

    @property
    def size(self) -> int:
        """Bytes of header and entries."""
        return REGION.size + sum(entry.size for entry in self.entries)


@dataclass(frozen=True, slots=True)
class Opaque:
    """A range of a section that holds no region that is understood; it stays as it is."""

    offset: int
    size: int
    """Bytes."""
    why: str


def regions(
    read: Read, offset: int, size: int, limit: int = ENTRIES_LIMIT
) -> Iterator[Region | Opaque]:
    """The regions of the section that `read` reads at `offset`, `size` bytes long, in order.

    Zero bytes between regions are padding. Never raises for what it reads: what is not
    understood, or lies beyond `limit` regions and entries, is an `Opaque`; where a region's size
    is not known, nobody knows where the next one begins.
    """
    end = offset + size
    while (offset := _skip_padding(read, offset, end)) < end:
        raw = read(offset, REGION.size)
        if end - offset < REGION.size or len(raw) < REGION.size:
            yield Opaque(offset, end - offset, "too short for a region")
            return
        magic, version, header_size, length = REGION.unpack(raw)
        if magic != MAGIC:
            yield Opaque(offset, end - offset, "no region begins here")
            return
        if (version, header_size) != (1, REGION.size) or length > end - offset - REGION.size:
            yield Opaque(offset, end - offset, "a region header that is not understood")
            return
        entries = _entries(read, offset + REGION.size, length, limit)
        if isinstance(entries, str):
            yield Opaque(offset, REGION.size + length, entries)
        else:
            limit -= len(entries)
            yield Region(offset, entries)
        offset += REGION.size + length
        limit -= 1
        if limit <= 0:
            yield Opaque(offset, end - offset, "more entries than are understood")
            return


def _skip_padding(read: Read, offset: int, end: int) -> int:
    step = 8
    while offset < end:
        raw = read(offset, min(step, end - offset))
        rest = raw.lstrip(b"\0")
        if rest or not raw:
            # Regions begin at multiples of eight bytes from the section's own beginning.
            return offset + (len(raw) - len(rest)) // 8 * 8
        offset += len(raw)
        # Regions follow each other closely, but for a file whose code was zeroed before.
        step = min(step * 8, 1 << 20)
    return end


def _entries(read: Read, offset: int, length: int, limit: int) -> tuple[Entry, ...] | str:
    end = offset + length
    entries: list[Entry] = []
    while offset < end:
        if len(entries) >= limit:
            return "more entries than are understood"
        raw = read(offset, ENTRY.size) if end - offset >= ENTRY.size else b""
        if len(raw) < ENTRY.size:
            return "an entry that reaches past its region"
        code, _, header_size, payload_size, _, _, _, _, arch, _, _, flags, _, _ = ENTRY.unpack(raw)
        if header_size < ENTRY.size or header_size % 8 or payload_size % 8:
            return "an entry header that is not understood"
        if header_size + payload_size > end - offset:
            return "an entry that reaches past its region"
        kind: Kind = _KINDS.get(code, "other")
        entries.append(Entry(offset, kind, code, arch, flags, header_size, payload_size))
        offset += header_size + payload_size
    return tuple(entries)


_KINDS: dict[int, Kind] = {1: "ptx", 2: "cubin"}


def scan(elf: Elf, read: Read) -> Iterator[Region | Opaque]:
    """The GPU code of a library, section by section; nothing for a file without any.

    Raises ElfError where sections overlap, for then a small file could hold any number of them.
    """
    limit = ENTRIES_LIMIT
    for section in holders(elf):
        for found in regions(read, section.offset, section.size, limit):
            limit -= 1 + (len(found.entries) if isinstance(found, Region) else 0)
            yield found


def holders(elf: Elf) -> list[Section]:
    """The sections that hold GPU code which a loader maps, in file order.

    Raises ElfError where something else that is loaded claims bytes of them.
    """
    found: list[Section] = []
    reached = reached_by_code = 0
    for section in sorted(elf.sections, key=lambda section: section.offset):
        # Object files and archives are linked again; the code in there is not loaded.
        if not section.allocated or not section.file_size:
            continue
        is_code = section.name in DEVICE_CODE and section.kind == SHT_PROGBITS
        if section.offset < (reached if is_code else reached_by_code):
            raise ElfError("GPU code in sections that overlap")
        reached = max(reached, section.end)
        if is_code:
            reached_by_code = section.end
            found.append(section)
    return found


def code_by_architecture(elf: Elf, read: Read) -> dict[str, int]:
    """Bytes of the GPU code of a file by architecture, the largest first.

    Raises ElfError where the sections that hold it overlap.
    """
    found = (each for each in scan(elf, read) if isinstance(each, Region))
    return by_architecture(entry for region in found for entry in region.entries)


JETSON = frozenset({53, 62, 72, 87, 88, 101, 110})
"""Compute capabilities of Jetson and DRIVE modules."""


def selected(entries: Iterable[Entry], gpus: Iterable[Gpu]) -> tuple[Entry, ...]:
    """What the driver would pick of a region on one of these GPUs, in the region's order.

    Its rule: the cubin with the highest architecture that runs there; without any, the PTX with
    the highest one. Where NVIDIA does not say which of two it prefers (`sm_90` or `sm_90a`, a
    Jetson's or a desktop's) both stay, as does every entry of a kind that is not known.

    Never empty but for no entries: a region for none of these GPUs, or for no GPU at all, keeps
    its smallest entry, because a fat binary without code is an error to the CUDA runtime.
    """
    present = tuple(entries)
    kept = {entry for entry in present if entry.kind == "other"}
    for gpu in gpus:
        kept.update(picked(present, gpu))
    if not kept and present:
        kept.add(min(present, key=lambda entry: entry.size))
    return tuple(entry for entry in present if entry in kept)


def picked(entries: Iterable[Entry], gpu: Gpu) -> tuple[Entry, ...]:
    """What the driver may pick of a region on this GPU; empty where nothing of it runs there."""
    able = [entry for entry in entries if entry.arch <= gpu.arch and _family_fits(entry, gpu)]
    cubins = [entry for entry in able if entry.kind == "cubin"]
    found = [entry for entry in cubins if entry.variant == "a"]
    found += _highest(entry for entry in cubins if entry.variant == "f")
    plain = [entry for entry in cubins if not entry.variant]
    exact = [entry for entry in plain if entry.arch == gpu.arch]
    found += exact or [
        *_highest(entry for entry in plain if entry.arch in JETSON),
        *_highest(entry for entry in plain if entry.arch not in JETSON),
    ]
    # A desktop's cubin is not promised to run on a Jetson: leave the driver its other choice.
    if not found or (gpu.arch in JETSON and all(entry.arch != gpu.arch for entry in found)):
        ptx = [entry for entry in able if entry.kind == "ptx"]
        for variant in ("", "a", "f"):
            found += _highest(entry for entry in ptx if entry.variant == variant)
    return tuple(found)


def _family_fits(entry: Entry, gpu: Gpu) -> bool:
    if entry.variant == "a":
        return entry.arch == gpu.arch
    # Plain PTX is compiled for any newer GPU.
    return (entry.kind == "ptx" and not entry.variant) or entry.arch // 10 == gpu.arch // 10


def _highest(entries: Iterable[Entry]) -> list[Entry]:
    present = list(entries)
    best = max((entry.arch for entry in present), default=0)
    return [entry for entry in present if entry.arch == best]


def by_architecture(entries: Iterable[Entry]) -> dict[str, int]:
    """Bytes (headers and compressed payloads) by `Entry.label`; the largest first."""
    sums: dict[str, int] = {}
    for entry in entries:
        sums[entry.label] = sums.get(entry.label, 0) + entry.size
    return dict(sorted(sums.items(), key=lambda item: (-item[1], item[0])))


def parse_gpus(text: str) -> tuple[Gpu, ...]:
    """The GPUs of a list such as `a100,l4` or `sm_90`; none of them for `none`.

    A name is a product (`h100`), an architecture (`sm_90`, `sm_90a`) or a compute capability
    (`9.0`). Raises GpuError.
    """
    names = [name.strip().lower() for name in text.split(",")]
    if names == ["none"]:
        return ()
    found: dict[int, Gpu] = {}
    for name in names:
        for arch in _architectures(name):
            found.setdefault(arch, Gpu(name, arch))
    return tuple(found[arch] for arch in sorted(found))


def _architectures(name: str) -> tuple[int, ...]:
    plain = re.sub(r"[\s_-]|nvidia|geforce|tesla|jetson", "", name)
    if plain in GPUS:
        arch = GPUS[plain]
    elif found := re.fullmatch(r"sm(\d{2,3})[af]?", plain):
        arch = int(found[1])
    elif found := re.fullmatch(r"(\d{1,2})\.(\d)", plain):
        arch = int(found[1]) * 10 + int(found[2])
    else:
        arch = 0
    # What is newer than this file is taken at its word.
    if arch not in ARCHITECTURES and arch <= max(ARCHITECTURES):
        shown = name or "an empty name"
        raise GpuError(
            f"expected GPUs such as 'a100,l4', 'sm_90' or 'none', got {shown!r}",
            "`nvidia-smi --query-gpu=name,compute_cap --format=csv` prints what a machine has",
        )
    # CUDA 13 calls sm_110 what CUDA 12 called sm_101 (Jetson Thor).
    return (101, 110) if arch in (101, 110) else (arch,)


ARCHITECTURES = frozenset(
    {50, 52, 53, 60, 61, 62, 70, 72, 75, 80, 86, 87, 88, 89, 90, 100, 101, 103, 107, 110, 120, 121}
)
"""Compute capabilities that CUDA 12 and 13 compile for."""

_PRODUCTS = {
    50: "m10 gtx750 gtx750ti",
    52: "m40 m60 m4 gtx960 gtx970 gtx980 gtx980ti gtxtitanx",
    53: "nano tx1",
    60: "p100 gp100",
    61: "p4 p40 p6 gtx1050 gtx1050ti gtx1060 gtx1070 gtx1070ti gtx1080 gtx1080ti titanxp",
    62: "tx2",
    70: "v100 titanv gv100",
    72: "xavier agxxavier xaviernx",
    75: "t4 gtx1650 gtx1660 gtx1660ti rtx2060 rtx2070 rtx2080 rtx2080ti rtx4000 rtx5000 rtx6000"
    " rtx8000 titanrtx t1000 t400 t600",
    80: "a100 a30 a800",
    86: "a10 a10g a16 a2 a40 a2000 a4000 a4500 a5000 a5500 a6000 rtxa2000 rtxa4000 rtxa4500"
    " rtxa5000 rtxa5500 rtxa6000 rtx3050 rtx3060 rtx3060ti rtx3070 rtx3070ti rtx3080 rtx3080ti"
    " rtx3090 rtx3090ti",
    87: "orin agxorin orinnx orinnano",
    89: "l4 l40 l40s l20 l2 rtx4050 rtx4060 rtx4060ti rtx4070 rtx4070ti rtx4080 rtx4090"
    " rtx2000ada rtx4000ada rtx4500ada rtx5000ada rtx6000ada",
    90: "h100 h200 h800 h20 gh200",
    100: "b100 b200 gb200",
    103: "b300 gb300",
    110: "thor agxthor",
    120: "rtx5050 rtx5060 rtx5060ti rtx5070 rtx5070ti rtx5080 rtx5090 rtxpro2000 rtxpro4000"
    " rtxpro4500 rtxpro5000 rtxpro6000",
    121: "gb10 dgxspark",
}
"""Product names by compute capability, from NVIDIA's list (developer.nvidia.com/cuda-gpus,
2026-11), without spaces, dashes and the words NVIDIA, GeForce, Tesla and Jetson. `RTX 4000` and
its like alone are Turing's; Ampere's have an A before the number, Ada's `Ada` behind it."""

GPUS = {name: arch for arch, names in _PRODUCTS.items() for name in names.split()}
"""Compute capability by product name."""
