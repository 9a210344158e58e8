from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from synthetic_elf import fatbin

from slimmer.elf.fatbin import (
    Entry,
    Gpu,
    GpuError,
    Opaque,
    Region,
    by_architecture,
    parse_gpus,
    regions,
    selected,
)

PTX, CUBIN = 1, 2
A, F = 0x100000, 0x200000


def read_all(raw: bytes) -> list[Region | Opaque]:
    return list(regions(lambda offset, length: raw[offset : offset + length], 0, len(raw)))


def entries(*labels: str) -> tuple[Entry, ...]:
    """Entries such as `sm_90a` or `compute_80`, the first the smallest."""
    made = []
    for index, label in enumerate(labels):
        kind, arch = label.split("_")
        number, flags = arch.rstrip("af"), {"a": A, "f": F}.get(arch[-1], 0)
        code, name = (2, "cubin") if kind == "sm" else (1, "ptx")
        made.append(Entry(index * 100, name, code, int(number), flags, 64, 8 + index * 8))  # type: ignore[arg-type]
    return tuple(made)


def kept(gpus: str, *labels: str) -> list[str]:
    return [entry.label for entry in selected(entries(*labels), parse_gpus(gpus))]


def test_regions_are_read_one_after_the_other_with_padding_between():
    one, two = fatbin((CUBIN, 80, 0x11, b"code")), fatbin((PTX, 90, 0x2011, b"x" * 20))
    found = read_all(one + bytes(24) + two + bytes(100_000))

    assert [(0, len(one)), (len(one) + 24, len(two))] == [
        (each.offset, each.size) for each in found
    ]
    assert [
        [entry.label for entry in each.entries] for each in found if isinstance(each, Region)
    ] == [["sm_80"], ["compute_90"]]


@pytest.mark.parametrize(
    ("gpus", "present", "expected"),
    [
        ("sm_90", ("sm_80", "sm_90", "compute_90"), ["sm_90"]),
        ("sm_89", ("sm_80", "sm_86", "sm_90", "compute_80"), ["sm_86"]),
        ("sm_90", ("sm_80", "sm_86", "compute_80", "compute_86"), ["compute_86"]),
        ("sm_90", ("sm_80", "compute_100", "compute_80"), ["compute_80"]),
        ("sm_80", ("sm_86", "sm_70", "compute_70"), ["compute_70"]),
        ("a100,l4", ("sm_75", "sm_80", "sm_86", "sm_90"), ["sm_80", "sm_86"]),
        ("sm_90", ("sm_90", "sm_90a", "sm_80"), ["sm_90", "sm_90a"]),
        ("sm_103", ("sm_100a", "sm_100f", "sm_100", "sm_120"), ["sm_100f", "sm_100"]),
        ("sm_100", ("sm_100a", "sm_100"), ["sm_100a", "sm_100"]),
        ("sm_120", ("sm_100f", "compute_90a", "compute_90"), ["compute_90"]),
        ("sm_90", ("sm_90", "sm_90", "sm_80"), ["sm_90", "sm_90"]),
        ("orin", ("sm_80", "sm_86", "sm_87", "compute_80"), ["sm_87"]),
        ("orin", ("sm_80", "sm_86", "compute_80"), ["sm_86", "compute_80"]),
        ("sm_89", ("sm_86", "sm_87"), ["sm_86", "sm_87"]),
        ("thor", ("sm_100", "sm_101", "sm_110"), ["sm_101", "sm_110"]),
    ],
)
def test_a_region_keeps_what_the_driver_would_pick(
    gpus: str, present: tuple[str, ...], expected: list[str]
):
    assert expected == kept(gpus, *present)


@pytest.mark.parametrize("gpus", ["none", "sm_75"])
def test_a_region_for_none_of_the_gpus_keeps_its_smallest_entry(gpus: str):
    assert kept(gpus, "sm_80", "sm_90", "compute_90") == ["sm_80"]


def test_an_entry_of_a_kind_that_is_not_known_always_stays():
    odd = Entry(500, "other", 0x40, 70, 0, 64, 1 << 20)

    assert odd in selected([*entries("sm_80", "sm_90"), odd], parse_gpus("sm_90"))


LABELS = st.lists(
    st.sampled_from(
        [
            "sm_70",
            "sm_80",
            "sm_86",
            "sm_87",
            "sm_89",
            "sm_90",
            "sm_90a",
            "sm_100",
            "sm_100f",
            "sm_100a",
            "sm_103",
            "sm_120",
            "compute_50",
            "compute_80",
            "compute_90a",
            "compute_120f",
        ]
    ),
    min_size=1,
    max_size=8,
)
NAMES = st.sampled_from(["sm_70", "sm_80", "sm_86", "sm_87", "sm_89", "sm_90", "sm_103", "sm_121"])


@given(LABELS, st.lists(NAMES, max_size=3))
def test_no_region_is_ever_empty_and_naming_more_gpus_never_drops_code(
    labels: list[str], names: list[str]
):
    present = entries(*labels)
    gpus = [gpu for name in names for gpu in parse_gpus(name)]
    chosen = selected(present, gpus)

    assert chosen
    for gpu in gpus:
        for pick in selected(present, [gpu]):
            serves = any(entry.arch <= gpu.arch for entry in present)
            assert pick in chosen or not serves or _naive(present, gpu) is None


def _naive(present: tuple[Entry, ...], gpu: Gpu) -> Entry | None:
    """The driver's rule in one breath, for plain code."""
    plain = [entry for entry in present if not entry.variant and entry.arch <= gpu.arch]
    same = [e for e in plain if e.kind == "cubin" and e.arch // 10 == gpu.arch // 10]
    usable = same or [entry for entry in plain if entry.kind == "ptx"]
    return max(usable, key=lambda entry: entry.arch, default=None)


@given(LABELS, NAMES)
def test_the_rule_in_one_breath_is_never_contradicted(labels: list[str], name: str):
    present = entries(*[label for label in labels if label[-1] not in "af"] or ["sm_80"])
    (gpu,) = parse_gpus(name)
    best = _naive(present, gpu)

    assert best is None or best in selected(present, [gpu])


def test_bytes_are_summed_by_architecture():
    assert by_architecture(entries("sm_90", "sm_80", "sm_90")) == {"sm_90": 72 + 88, "sm_80": 80}


@pytest.mark.parametrize(
    ("text", "archs"),
    [
        ("sm_90", [90]),
        ("A100, L4", [80, 89]),
        ("h100,h200", [90]),
        ("9.0", [90]),
        ("sm_90a", [90]),
        ("NVIDIA GeForce RTX 4090", [89]),
        ("RTX 6000", [75]),
        ("rtx-a6000", [86]),
        ("Jetson AGX Orin", [87]),
        ("sm_130", [130]),
        ("none", []),
    ],
)
def test_gpus_go_by_product_architecture_or_capability(text: str, archs: list[int]):
    assert archs == [gpu.arch for gpu in parse_gpus(text)]


@pytest.mark.parametrize(
    "text", ["", "a100,", "sm_91", "90", "voodoo2", "none,a100", "sm_9", "9.10"]
)
def test_a_gpu_that_is_not_known_is_an_error_with_a_way_out(text: str):
    with pytest.raises(GpuError, match="expected GPUs such as") as caught:
        parse_gpus(text)

    assert "nvidia-smi" in caught.value.hint


GOOD = fatbin((CUBIN, 80, 0x11, b"c" * 40), (PTX, 80, 0x11, b"p" * 16))


@pytest.mark.parametrize(
    "damaged",
    [
        GOOD[:4] + b"\x02" + GOOD[5:],  # version
        GOOD[:6] + b"\x20" + GOOD[7:],  # size of the region's header
        GOOD[:8] + b"\xff" * 8 + GOOD[16:],  # size of the region
        GOOD[:20] + bytes(4) + GOOD[24:],  # an entry header of no bytes: for ever the same one
        GOOD[:24] + b"\xff" * 8 + GOOD[32:],  # size of an entry's payload
        GOOD[:24] + b"\x29" + GOOD[25:],  # not padded
        GOOD[:8] + (GOOD[8] - 8).to_bytes(1, "little") + GOOD[9:],  # an entry too long
        b"garbage!" + GOOD,
        GOOD[:12],
    ],
)
def test_what_is_not_understood_is_opaque_with_a_reason(damaged: bytes):
    found = read_all(damaged)

    assert any(isinstance(each, Opaque) and each.why for each in found)


def test_damaged_regions_are_read_in_bounded_time_and_never_raise():
    chance = random.Random(2)
    raw = GOOD * 20
    for _ in range(2000):
        changed = bytearray(raw)
        for _ in range(chance.randint(1, 8)):
            changed[chance.randrange(len(raw))] = chance.choice([0, 0xFF, chance.randrange(256)])
        reached = 0
        for each in read_all(bytes(changed)):
            assert reached <= each.offset
            assert each.size > 0
            reached = each.offset + each.size
        assert reached <= len(raw)
