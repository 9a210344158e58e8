"""No address moves and no kept byte changes, whatever is given back."""

from __future__ import annotations

import contextlib
import io
import json
import random
import shutil
import struct
import subprocess
import sys
import time
from typing import TYPE_CHECKING
from unittest import mock

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from synthetic_elf import PAGE, Load, Part, at, elf, fatbin, memory
from thorough import examples

from slimmer.actions.device_code import prune
from slimmer.actions.symbols import strip
from slimmer.elf import layout as elflayout
from slimmer.elf.fatbin import Region, parse_gpus, scan, selected
from slimmer.elf.file import SHF_ALLOC, SHT_NULL, Elf, ElfError
from slimmer.elf.headers import LayoutError
from slimmer.elf.layout import relayout
from slimmer.splice import Splice, compose, stream, view

if TYPE_CHECKING:
    from pathlib import Path

SLOW = settings(
    max_examples=examples(150),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


def reader(raw: bytes):
    return lambda offset, length: raw[offset : offset + length]


def parsed(raw: bytes) -> Elf:
    return Elf.parse(reader(raw), len(raw))


def carried_out(raw: bytes, splice: Splice) -> bytes:
    """The new file, made in one pass; its size is what the splice promised."""
    assert splice.streamable
    made = b"".join(stream(io.BytesIO(raw), splice))
    assert len(made) == splice.size
    assert made == view(reader(raw), splice)(0, splice.size)
    return made


def kept_ranges(start: int, end: int, gone: list[tuple[int, int]]) -> list[tuple[int, int]]:
    ranges = []
    for low, high in sorted(gone):
        if low > start:
            ranges.append((start, min(low, end)))
        start = max(start, high)
    ranges.append((start, end))
    return [(low, high) for low, high in ranges if low < high]


def assert_same_memory(old: bytes, new: bytes, freed: list[tuple[int, int]]) -> None:
    """Every loaded address has the same bytes, but for the freed ranges of the old file and the
    headers, which speak of file offsets."""
    before, after = memory(old), memory(new)
    program, count = struct.unpack_from("<Q", old, 32)[0], struct.unpack_from("<H", old, 56)[0]
    headers = [(0, 64), (program, program + count * 56)]
    for load in parsed(old).loads:
        shift = load.address - load.offset
        gone = [(low + shift, high + shift) for low, high in [*freed, *headers]]
        for low, high in kept_ranges(load.address, load.address + load.memory_size, gone):
            assert at(before, low, high - low) == at(after, low, high - low), hex(low)


def assert_truthful(old: bytes, new: bytes) -> None:
    """Section headers say where the bytes are that a loader sees, and nothing else changed."""
    before, after = parsed(old), parsed(new)
    pages = memory(new)
    for load in after.loads:
        assert load.memory_size, "nothing to map: the loader would fail"
    for section in before.sections:
        # Symbols speak of sections by index.
        if section.flags & SHF_ALLOC:
            assert section.name == after.sections[section.index].name
    for section in after.sections:
        if section.flags & SHF_ALLOC and section.file_size:
            loaded = at(pages, section.address, section.size)
            assert loaded == new[section.offset : section.end], section.name
    unloaded = {
        section.name: new[section.offset : section.end]
        for section in after.sections
        if not section.flags & SHF_ALLOC and section.kind != SHT_NULL
    }
    for section in before.sections:
        if section.name in unloaded and section.name:
            assert old[section.offset : section.end] == unloaded[section.name]
        for link in filter(None, (section.link,)):
            twins = [each for each in after.sections if each.name == section.name]
            named = {after.sections[each.link].name for each in twins}
            assert not twins or named == {before.sections[link].name}
    assert new[40:48] == struct.pack("<Q", after.header[6])


class Case:
    """A file, ranges of it to give back, and sections to drop."""

    def __init__(self, raw: bytes, freed: list[tuple[int, int]], dropped: list[int]) -> None:
        self.raw, self.freed, self.dropped = raw, freed, dropped

    def __repr__(self) -> str:
        # A failure prints the case; a file of 200 kB would bury it.
        loads = [(load.offset, load.end, load.memory_size) for load in parsed(self.raw).loads]
        return f"<{loads=} freed={self.freed} dropped={self.dropped}>"


@st.composite
def cases(draw: st.DrawFn) -> Case:
    chance = random.Random(draw(st.integers(0, 1 << 32)))
    loads = []
    for index in range(draw(st.integers(1, 5))):
        parts = []
        for number in range(draw(st.integers(1, 3))):
            size = draw(st.sampled_from([1, 100, PAGE, 3 * PAGE + 17, 60_000]))
            name = draw(st.sampled_from([".text", ".nv_fatbin", ".data"])) + f"{index}{number}"
            segment = draw(st.sampled_from([0, 0, 0, 7, 4]))
            step = draw(st.sampled_from([1, 8, 64]))
            parts.append(Part(name, chance.randbytes(size), segment=segment, alignment=step))
        loads.append(
            Load(
                tuple(parts),
                flags=draw(st.sampled_from([4, 5, 6])),
                zero=draw(st.sampled_from([0, 0, 10, 3 * PAGE])),
                relro=draw(st.booleans()),
            )
        )
    symbols = (
        Part(".symtab", chance.randbytes(24 * 20), kind=2, flags=0, link=".strtab"),
        Part(".strtab", chance.randbytes(5000), kind=3, flags=0, alignment=1),
        Part(".debug_info", chance.randbytes(9000), flags=0, alignment=1),
        Part(".comment", b"kept", flags=0, alignment=1),
        Part(".speaks_of_comment", b"too", flags=0, link=".comment", alignment=1),
    )
    alignment = draw(st.sampled_from([PAGE, PAGE, 16 * PAGE, 2 << 20]))
    raw = elf(
        tuple(loads),
        symbols if draw(st.booleans()) else (),
        alignment=alignment,
        packed=alignment > 16 * PAGE or draw(st.booleans()),
        headers=draw(st.integers(0, 3)) > 0,
        rest_first=draw(st.booleans()),
        machine=draw(st.sampled_from([62, 62, 183])),
    )
    freed = []
    for load in parsed(raw).loads:
        reached = load.offset
        for _ in range(draw(st.integers(0, 3))):
            ends = st.sampled_from([load.end, load.end - 1]) | st.integers(reached, load.end)
            low, high = sorted((draw(st.integers(reached, load.end)), draw(ends)))
            if low < high:
                freed.append((low, high))
            reached = max(reached, high)
    names = (".symtab", ".strtab", ".debug_info")
    dropped = [each.index for each in parsed(raw).sections if each.name in names]
    return Case(raw, freed, dropped if draw(st.booleans()) else [])


@SLOW
@given(cases())
def test_what_is_kept_is_loaded_as_before_and_the_headers_say_where_it_is(case: Case):
    with mock.patch.object(elflayout, "SMALLEST_HOLE", PAGE):
        try:
            splice = relayout(parsed(case.raw), reader(case.raw), case.freed, case.dropped)
        except LayoutError:
            # No room for the longer table, or a hole in the only copy of a section.
            return
    made = carried_out(case.raw, splice)

    assert_same_memory(case.raw, made, case.freed)
    if parsed(case.raw).sections:
        assert_truthful(case.raw, made)
    names = {section.name for section in parsed(made).sections}
    assert not case.dropped or not names & {".symtab", ".strtab", ".debug_info"}


def one_hole(size: int, low: int, high: int) -> int:
    """Bytes given back of a section of `size` bytes when those from `low` to `high` are free."""
    raw = elf((Load((Part(".data", b"d" * size),)), Load((Part(".more", b"m" * 100),))))
    start = next(each.offset for each in parsed(raw).sections if each.name == ".data")
    splice = relayout(parsed(raw), reader(raw), [(start + low, start + high)])
    made = carried_out(raw, splice)
    assert_same_memory(raw, made, [(start + low, start + high)])
    return len(raw) - len(made)


def test_a_hole_gives_back_its_whole_pages_and_pays_for_the_headers():
    given_back = one_hole(1 << 20, 1000, 1000 + 100 * PAGE + 5)

    # Of the first and the last page, and of the table, nothing is won.
    assert 98 * PAGE < given_back < 100 * PAGE


def test_a_hole_of_less_than_is_worth_a_mapping_stays():
    assert one_hole(1 << 20, 1000, 1000 + elflayout.SMALLEST_HOLE - 1) <= 0


def test_a_hole_at_the_very_end_of_a_segment_is_given_back():
    assert one_hole(1 << 20, 1 << 19, 1 << 20) >= (1 << 19) - 2 * PAGE


def test_memory_that_is_zero_behind_a_hole_stays():
    raw = elf((Load((Part(".code", b"c" * 300_000),), zero=50_000),))
    end = parsed(raw).loads[0].end
    freed = [(4000, end)]
    made = carried_out(raw, relayout(parsed(raw), reader(raw), freed))

    assert len(made) < len(raw) - 280_000
    assert_same_memory(raw, made, freed)


def test_a_hole_that_is_a_whole_segment_leaves_it_something_to_map():
    # The two that are all hole touch in the file, though not in memory.
    parts = [Part(name, b"x" * 300_000) for name in (".a", ".b", ".c")]
    raw = elf(tuple(Load((part,)) for part in parts))
    freed = [(load.offset, load.end) for load in parsed(raw).loads[1:]]
    made = carried_out(raw, relayout(parsed(raw), reader(raw), freed))

    assert len(made) < len(raw) - 580_000
    assert_truthful(raw, made)


def test_a_longer_program_header_table_is_in_memory_where_the_header_says():
    raw = elf((Load((Part(".data", b"d" * (1 << 20)),)),))
    made = carried_out(raw, relayout(parsed(raw), reader(raw), [(4000, 900_000)]))
    new = parsed(made)
    load = next(each for each in new.loads if each.offset <= new.header[5] < each.end)
    address = new.header[5] - load.offset + load.address

    assert len(new.loads) == 2
    assert bytes(56) == made[64 : 64 + 56]
    assert made[new.header[5] :][:112] == at(memory(made), address, 112)


@pytest.mark.parametrize("tail", [b"PK\5\6 an archive", bytes(5000)])
def test_a_file_that_something_was_appended_to_is_left_alone(tail: bytes):
    raw = elf((Load((Part(".data", b"d" * 100_000),)),), SYMBOLS) + tail
    with pytest.raises(LayoutError, match="appended"):
        strip(reader(raw), len(raw))
    with pytest.raises(LayoutError, match="appended"):
        relayout(parsed(raw), reader(raw), [(4000, 90_000)])


# --- device code ----------------------------------------------------------------------------

ARCHS = (70, 80, 86, 90, 100)


@st.composite
def device_libraries(draw: st.DrawFn) -> bytes:
    chance = random.Random(draw(st.integers(0, 1 << 32)))
    sections = []
    for name in draw(st.sampled_from([(".nv_fatbin",), ("__nv_relfatbin", ".nv_fatbin")])):
        content = b""
        for _ in range(draw(st.integers(1, 6))):
            entries = [
                (draw(st.sampled_from([1, 2, 2, 0x40])), arch, 0x11, chance.randbytes(size))
                for arch in draw(st.lists(st.sampled_from(ARCHS), min_size=1, max_size=4))
                for size in [draw(st.sampled_from([8, 1000, 40_000]))]
            ]
            content += fatbin(*entries) + bytes(draw(st.sampled_from([0, 0, 8, 64])))
        sections.append(Part(name, content))
    first = Load((Part(".text", chance.randbytes(3000), flags=6),), flags=5)
    tail = Part(".eh_frame", chance.randbytes(draw(st.sampled_from([0, 50, 9000]))))
    code = Load((*sections, *((tail,) if tail.content else ())))
    last = Load((Part(".data", chance.randbytes(500), flags=3),), flags=6, zero=900, relro=True)
    loads = (first, code, last) if draw(st.booleans()) else (code, last)
    return elf(loads, SYMBOLS, alignment=draw(st.sampled_from([PAGE, 2 << 20])))


SYMBOLS = (
    Part(".symtab", bytes(24 * 9), kind=2, flags=0, link=".strtab"),
    Part(".strtab", b"\0main\0" * 500, kind=3, flags=0, alignment=1),
)


def code_of(raw: bytes) -> list[Region]:
    found = [each for each in scan(parsed(raw), reader(raw)) if isinstance(each, Region)]
    return sorted(found, key=lambda region: address_of(raw, region.offset))


def address_of(raw: bytes, offset: int) -> int:
    loads = [each for each in parsed(raw).loads if each.offset <= offset < each.end]
    return loads[0].address + offset - loads[0].offset


@SLOW
@given(
    device_libraries(),
    st.sampled_from(["sm_90", "sm_80,sm_86", "none", "sm_120"]),
    st.sampled_from(["shrink", "zero"]),
)
def test_every_region_keeps_its_address_and_exactly_what_the_driver_picks(
    raw: bytes, gpus: str, mode: str
):
    with mock.patch.object(elflayout, "SMALLEST_HOLE", PAGE):
        pruned = prune(reader(raw), len(raw), parse_gpus(gpus), mode)  # type: ignore[arg-type]
    made = carried_out(raw, pruned.splice)
    before, after = code_of(raw), code_of(made)
    if len(made) == len(raw) and mode == "shrink":
        assert made == raw
        assert pruned.before_by_arch == pruned.after_by_arch
        return
    freed = []
    for old, new in zip(before, after, strict=True):
        expected = selected(old.entries, parse_gpus(gpus))
        assert address_of(raw, old.offset) == address_of(made, new.offset)
        assert [raw[each.offset : each.offset + each.size] for each in expected] == [
            made[each.offset : each.offset + each.size] for each in new.entries
        ]
        freed.append((old.offset, old.offset + old.size))

    assert_same_memory(raw, made, freed)
    assert_truthful(raw, made)
    assert pruned.left_alone == ()
    if mode == "zero":
        assert len(raw) == len(made)


def test_four_hundred_regions_shrink_to_what_is_kept():
    chance = random.Random(1)
    one = [(2, arch, 0x11, chance.randbytes(20_000)) for arch in ARCHS]
    raw = elf((Load((Part(".nv_fatbin", fatbin(*one) * 400),)), Load((Part(".data", b"d"),))))
    pruned = prune(reader(raw), len(raw), parse_gpus("sm_90"))
    made = carried_out(raw, pruned.splice)

    assert len(code_of(made)) == 400
    assert pruned.after_by_arch == {"sm_90": 400 * 20_064}
    assert 400 * 20_064 < len(made) < 400 * (20_064 + PAGE)


def test_pruning_and_stripping_are_one_splice():
    raw = elf((Load((Part(".nv_fatbin", fatbin(*FOUR) * 3),)),), SYMBOLS)
    pruned = prune(reader(raw), len(raw), parse_gpus("sm_90")).splice
    stripped = strip(view(reader(raw), pruned), pruned.size)
    assert stripped is not None
    made = carried_out(raw, compose(pruned, stripped))

    names = [section.name for section in parsed(made).sections]
    assert (".nv_fatbin" in names, ".symtab" in names) == (True, False)
    assert len(code_of(made)) == 3


FOUR = [(2, arch, 0x11, bytes([arch]) * 50_000) for arch in (70, 80, 90, 100)]


def test_a_region_that_something_points_into_is_left_alone():
    content = fatbin(*FOUR)
    first = elf((Load((Part(".rela.dyn", bytes(24), kind=4), Part(".nv_fatbin", content))),))
    section = next(each for each in parsed(first).sections if each.name == ".nv_fatbin")
    pointer = struct.pack("<QQQ", 0, 8, section.address + 150_000)
    raw = elf((Load((Part(".rela.dyn", pointer, kind=4), Part(".nv_fatbin", content))),))
    pruned = prune(reader(raw), len(raw), parse_gpus("sm_90"))

    assert raw == carried_out(raw, pruned.splice)
    assert len(pruned.left_alone) == 1
    assert "pointed into" in pruned.left_alone[0]


def test_code_that_another_section_claims_too_is_left_alone():
    raw = bytearray(
        elf((Load((Part(".text", b"t" * 300_000), Part(".nv_fatbin", fatbin(*FOUR)))),))
    )
    found = parsed(bytes(raw))
    code = found.section(".nv_fatbin")
    assert code is not None
    struct.pack_into("<Q", raw, found.header[6] + 64 + 32, 300_008)
    with pytest.raises(ElfError, match="overlap"):
        prune(reader(bytes(raw)), len(raw), parse_gpus("sm_90"))


def test_a_gpu_without_any_code_is_named():
    raw = elf((Load((Part(".nv_fatbin", fatbin(*FOUR)),)),))

    pruned = prune(reader(raw), len(raw), parse_gpus("h100,a100,l4,rtx5090,p100"))

    assert pruned.not_served == ("p100", "rtx5090")


# --- damage ---------------------------------------------------------------------------------


def damaged(raw: bytes, chance: random.Random, places: list[tuple[int, int]]) -> bytes:
    changed = bytearray(raw)
    for _ in range(chance.randint(1, 4)):
        low, high = chance.choice(places)
        width = chance.choice([1, 2, 4, 8])
        where = min(chance.randrange(low, high), len(raw) - width)
        value = chance.choice([0, 1, (1 << 8 * width) - 1, chance.getrandbits(8 * width), len(raw)])
        changed[where : where + width] = (value % (1 << 8 * width)).to_bytes(width, "little")
    return bytes(changed)


def test_damaged_headers_are_left_alone_or_give_a_file_that_can_be_read():
    region = fatbin(*[(2, arch, 0x11, b"c" * 20_000) for arch in ARCHS])
    raw = elf((Load((Part(".nv_fatbin", region * 3),)), Load((Part(".d", b"d"),))), SYMBOLS)
    found = parsed(raw)
    start = found.section(".nv_fatbin")
    assert start is not None
    places = [(0, 64), (64, 64 + 56 * len(found.segments)), (found.header[6], len(raw))]
    places += [(region.offset, region.offset + 80) for region in code_of(raw)]
    chance = random.Random(9)
    outcomes = {"made": 0, "left alone": 0}
    for _ in range(1500):
        changed = damaged(raw, chance, places)
        for act in (
            lambda read, size: prune(read, size, parse_gpus("sm_90")).splice,
            lambda read, size: strip(read, size) or Splice.identity(size),
        ):
            try:
                splice = act(reader(changed), len(changed))
            except ElfError:
                outcomes["left alone"] += 1
                continue
            made = carried_out(changed, splice)
            Elf.parse(reader(made), len(made))
            outcomes["made"] += 1

    assert min(outcomes.values()) > 100


# --- a real linker and a real loader --------------------------------------------------------

SOURCE = r"""
#define _GNU_SOURCE
#include <link.h>
#include <stddef.h>
extern const unsigned char code[];
__asm__(".section .nv_fatbin,\"a\"\n.balign 8\n.globl code\ncode:\n"
        ".incbin \"code.bin\"\n.globl code_end\ncode_end:\n.previous\n");
extern const unsigned char code_end[];
static int one(int x) { return x + 1; }
static int two(int x) { return x * 2; }
int (*const table[])(int) = {one, two};
const unsigned char *const pointer = code;
__thread int local = 40;
static int started = 0;
static char zeroes[100000];
__attribute__((constructor)) static void start(void) { started = 1; }
int answer(int x) {
    for (size_t i = 0; i < sizeof zeroes; i++) if (zeroes[i]) return -1;
    return started * (table[0](x) + table[1](x) + ++local);
}
unsigned long sum(unsigned long from, unsigned long length) {
    unsigned long s = 0;
    for (unsigned long i = 0; i < length; i++) s = s * 31 + pointer[from + i];
    return s;
}
static int look(struct dl_phdr_info *info, size_t size, void *out) {
    (void)size;
    for (int i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *p = &info->dlpi_phdr[i];
        ElfW(Addr) low = info->dlpi_addr + p->p_vaddr;
        if (p->p_type == PT_LOAD && (ElfW(Addr))code >= low
            && (ElfW(Addr))code < low + p->p_memsz) *(int *)out = info->dlpi_phnum;
    }
    return 0;
}
int headers(void) { int n = 0; dl_iterate_phdr(look, &n); return n; }
#ifdef PROGRAM
#include <stdio.h>
int main(void) { printf("%d %lu %d\n", answer(1), sum(0, 16 + 64), headers() > 0); return 0; }
#endif
"""

CALLS = """
import ctypes, json, sys
library = ctypes.CDLL(sys.argv[1])
library.sum.restype = ctypes.c_ulong
sums = [library.sum(ctypes.c_ulong(a), ctypes.c_ulong(b)) for a, b in json.loads(sys.argv[2])]
print(json.dumps([library.answer(1), library.answer(1), sums, library.headers() > 0]))
"""


def compiled(folder: Path, *flags: str, name: str = "library.so") -> Path:
    compiler = shutil.which("gcc")
    if compiler is None:
        pytest.skip("no gcc")
    (folder / "source.c").write_text(SOURCE)
    (folder / "code.bin").write_bytes(fatbin(*FOUR) + fatbin(*FOUR[:2]) + fatbin(*FOUR))
    command = [compiler, "-g", "-O1", "-o", name, "source.c", *flags]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    return folder / name


def both(raw: bytes, gpus: str) -> bytes:
    pruned = prune(reader(raw), len(raw), parse_gpus(gpus)).splice
    stripped = strip(view(reader(raw), pruned), pruned.size)
    assert stripped is not None
    return carried_out(raw, compose(pruned, stripped))


LINKS = [
    ("-Wl,-z,separate-code",),
    ("-Wl,-z,noseparate-code",),
    ("-Wl,-z,max-page-size=0x200000",),
    ("-Wl,-z,max-page-size=0x200000", "-Wl,-z,noseparate-code"),
    ("-Wl,-z,relro,-z,now",),
]


@pytest.mark.skipif(sys.platform != "linux", reason="dlopen of an ELF file")
@pytest.mark.parametrize("flags", LINKS)
def test_a_compiled_library_works_as_before(flags: tuple[str, ...], tmp_path: Path):
    path = compiled(tmp_path, "-shared", "-fPIC", *flags)
    raw = path.read_bytes()
    made = both(raw, "sm_70")
    other = tmp_path / "after.so"
    other.write_bytes(made)
    second = len(fatbin(*FOUR))
    third = second + len(fatbin(*FOUR[:2]))
    # The kept entry is the first of each region, so that it is where it was.
    ranges = [[start + 16, 64 + 50_000] for start in (0, second, third)]
    results = [
        subprocess.run(
            [sys.executable, "-c", CALLS, str(file), json.dumps(ranges)],
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for file in (path, other)
    ]

    assert results[0] == results[1]
    assert len(raw) - len(made) > 6 * 50_000 - 7 * PAGE
    assert_quiet_readelf(other)


@pytest.mark.skipif(sys.platform != "linux", reason="runs an ELF program")
@pytest.mark.parametrize("flags", [("-pie",), ("-no-pie",), ("-static",), ("-static-pie",)])
def test_a_compiled_program_works_as_before(flags: tuple[str, ...], tmp_path: Path):
    path = compiled(tmp_path, "-DPROGRAM", "-fPIE", *flags, name="program")
    raw = path.read_bytes()
    try:
        made = both(raw, "sm_70")
    except LayoutError as error:
        pytest.skip(f"left alone: {error}")
    other = tmp_path / "after"
    other.write_bytes(made)
    other.chmod(0o755)
    results = [
        subprocess.run([file], capture_output=True, text=True, check=True).stdout.split()
        for file in (path, other)
    ]

    # The header of the first region says how much is left of it; all else is the same.
    assert (results[0][0], results[0][2]) == (results[1][0], results[1][2])
    assert len(made) < len(raw)
    assert_quiet_readelf(other)


def assert_quiet_readelf(path: Path) -> None:
    tool = shutil.which("readelf")
    if tool is not None:
        said = subprocess.run([tool, "-lSW", str(path)], capture_output=True, text=True, check=True)
        assert said.stderr == ""


def test_symbols_that_a_profiler_needs_stay():
    names = b"\0_PyRuntime\0main\0"
    static = (
        Part(".symtab", bytes(48), kind=2, flags=0, link=".strtab"),
        Part(".strtab", names, kind=3, flags=0, alignment=1),
    )
    dynamic = (
        Part(".dynstr", names, kind=3),
        Part(".dynsym", bytes(48), kind=11, link=".dynstr"),
    )
    hidden = elf((Load((Part(".text", b"t" * 99),)),), static)
    exported = elf((Load(dynamic),), static)

    assert strip(reader(hidden), len(hidden)) is None
    assert strip(reader(exported), len(exported)) is not None


def test_a_stripped_file_and_an_object_file_stay_as_they_are():
    raw = elf((Load((Part(".text", b"t" * 99),)),), SYMBOLS)
    splice = strip(reader(raw), len(raw))
    assert splice is not None
    once = carried_out(raw, splice)

    assert strip(reader(once), len(once)) is None
    assert strip(reader(raw[:16] + b"\1" + raw[17:]), len(raw)) is None


# --- cost -----------------------------------------------------------------------------------


def seconds(act, raw: bytes) -> float:
    started = time.process_time()
    with contextlib.suppress(ElfError):
        act(reader(raw), len(raw))
    return time.process_time() - started


def test_hostile_files_cost_seconds_at_most():
    gpus = parse_gpus("sm_90")
    empty = elf((Load((Part(".nv_fatbin", fatbin() * 100_000),)),))
    tiny = elf((Load((Part(".nv_fatbin", fatbin(*[(2, 80, 0, b"")] * 40_000)),)),))
    chain = [
        Part(f".debug_{index}", b"d" * 64, flags=0, link=f".debug_{index + 1}", alignment=1)
        for index in range(3000)
    ]
    last = Part(".debug_3000", b"d", flags=0, alignment=1)
    chained = elf(
        (Load((Part(".text", b"t" * 9, flags=6),)),),
        (Part(".comment", b"c", flags=0, link=".debug_0"), *chain, last),
    )
    many = elf((Load((*(Part(".nv_fatbin", fatbin()) for _ in range(20_000)),)),))

    for raw in (empty, tiny, chained, many):
        assert seconds(lambda read, size: prune(read, size, gpus), raw) < 10
        assert seconds(strip, raw) < 10
