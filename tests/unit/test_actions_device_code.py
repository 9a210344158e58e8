"""Device code of other GPUs leaves a library; the laws are in laws/."""

from __future__ import annotations

import pytest
from synthetic_elf import Load, Part, elf, fatbin

from slimmer.actions.device_code import Pruned, prune
from slimmer.elf.fatbin import parse_gpus

CODE = fatbin(*((2, arch, 0x11, bytes([arch]) * 50_000) for arch in (70, 80, 90)))
LIBRARY = elf((Load((Part(".nv_fatbin", CODE * 3),)),))


def pruned(gpus: str, mode: str = "shrink") -> Pruned:
    read = lambda offset, length: LIBRARY[offset : offset + length]  # noqa: E731
    return prune(read, len(LIBRARY), parse_gpus(gpus), mode)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("gpus", "kept", "missed"),
    [
        ("sm_90", ["sm_90"], ()),
        ("sm_80,sm_90", ["sm_80", "sm_90"], ()),
        ("sm_60", None, ("sm_60",)),
    ],
)
def test_what_the_gpus_run_stays(gpus: str, kept: list[str] | None, missed: tuple[str, ...]):
    found = pruned(gpus)

    assert ["sm_70", "sm_80", "sm_90"] == sorted(found.before_by_arch)
    assert missed == found.not_served
    if kept is not None:
        assert kept == sorted(found.after_by_arch)
        assert found.splice.size < len(LIBRARY)


def test_zeroed_code_keeps_the_size_of_the_file():
    assert len(LIBRARY) == pruned("sm_90", "zero").splice.size
