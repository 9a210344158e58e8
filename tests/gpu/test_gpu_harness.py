"""The GPU proof's own parts, held without a GPU: copying, slimming, running and comparing."""

from __future__ import annotations

import hashlib
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from gpu.runs import Run, differences, listed, measured, slower, strangers, unsteady
from gpu.sites import slimmed
from synthetic_elf import Load, Part, elf, fatbin

CUBIN = 2
CODE = 600_000


def library() -> bytes:
    """A library with code for two GPUs, and symbols."""
    codes = [(CUBIN, arch, 0, bytes([arch]) * CODE) for arch in (80, 90)]
    return elf(
        (
            Load((Part(".text", b"\x90" * 100, flags=6),)),
            Load((Part(".nv_fatbin", fatbin(*codes)),)),
        ),
        (
            Part(".symtab", bytes(48_000), kind=2, flags=0, link=".strtab"),
            Part(".strtab", bytes(17_000), kind=3, flags=0, alignment=1),
        ),
    )


TORCH = b"""
import os

__version__ = "0.0"


class Anything:
    def __getattr__(self, name):
        return self

    def __call__(self, *arguments, **named):
        return self


backends = Anything()
use_deterministic_algorithms = set_float32_matmul_precision = Generator = manual_seed = Anything()


def randint(*arguments, **named):
    os._exit(7)
"""


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A site folder with a torch that can do nothing, or less."""
    folder = tmp_path / "site"
    files = {
        "torch/__init__.py": TORCH,
        "torch/lib/libtorch_cuda.so": library(),
        "torch/lib/notes.txt": b"no library",
        "nvidia/cublas/lib/libcublas.so.12": library(),
        "other/lib/libother.so": library(),
    }
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    (folder / "torch/lib/libtorch_cuda.so").chmod(0o755)
    (folder / "nvidia/cublas/lib/libcublas.so").symlink_to("libcublas.so.12")
    (folder / "nvidia/latest").symlink_to("cublas")
    return folder


def digests(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_a_copy_is_slimmed_and_the_original_is_not_touched(site: Path, tmp_path: Path):
    before = digests(site)
    made = slimmed(site, tmp_path / "slim", "sm_90")

    assert before == digests(site)
    assert before.keys() == digests(made.site).keys()
    assert ["nvidia/cublas/lib/libcublas.so.12", "torch/lib/libtorch_cuda.so"] == [
        cut.path for cut in made.cuts
    ]
    assert () == made.left_alone
    code, left = made.code()
    assert {"sm_80", "sm_90"} == set(code)
    assert {"sm_90": code["sm_90"]} == left
    # All of sm_80 and of the symbols, but for what a page's alignment keeps.
    assert made.before - made.after > 2 * (CODE + 65_000 - 8192)
    raw = (made.site / "torch/lib/libtorch_cuda.so").read_bytes()
    assert bytes([90]) * CODE in raw
    assert bytes([80]) * 100 not in raw


def test_what_stays_is_linked_and_what_changes_is_new(site: Path, tmp_path: Path):
    made = slimmed(site, tmp_path / "slim", "sm_90")

    for name in ("torch/__init__.py", "torch/lib/notes.txt", "other/lib/libother.so"):
        assert (site / name).samefile(made.site / name)
    cut = made.site / "torch/lib/libtorch_cuda.so"
    assert not cut.samefile(site / "torch/lib/libtorch_cuda.so")
    assert cut.stat().st_mode & 0o777 == 0o755
    assert (made.site / "nvidia/cublas/lib/libcublas.so").readlink() == Path("libcublas.so.12")
    assert (made.site / "nvidia/latest").readlink() == Path("cublas")


def test_zeroed_code_keeps_its_place_and_symbols_still_leave(site: Path, tmp_path: Path):
    made = slimmed(site, tmp_path / "slim", "sm_90", "zero")
    saved = made.before - made.after

    assert ["sm_90"] == list(made.code()[1])
    assert 2 * (65_000 - 8192) < saved <= 2 * 66_000


def test_a_site_without_anything_to_cut_is_links_alone(site: Path, tmp_path: Path):
    first = slimmed(site, tmp_path / "first", "sm_90")
    again = slimmed(first.site, tmp_path / "again", "sm_90")

    assert () == again.cuts
    assert digests(first.site) == digests(again.site)


def test_workloads_that_fail_are_results(site: Path, tmp_path: Path):
    other = slimmed(site, tmp_path / "slim", "sm_90").site
    names = ["elementwise", "matmul_fp32"]
    one, two = (measured(sys.executable, place, names) for place in (site, other))

    assert "0.0" == one.environment["torch"]
    assert str(site) == one.environment["from"]
    assert str(other) == two.environment["from"]
    assert set(names) == set(one.failed())
    assert [] == differences([one, one], two)


def test_a_process_that_dies_takes_one_workload_with_it(site: Path):
    run = measured(sys.executable, site, ["elementwise", "sparse", "curand", "nvrtc"])

    assert {"elementwise", "sparse", "nvrtc"} == set(run.failed())
    assert "the process ended with 7" == run.failed()["sparse"]
    assert {"skipped": "this torch does not load libcurand"} == run.outcomes["curand"]


def test_every_workload_has_a_name(site: Path):
    names = listed(sys.executable)

    assert len(names) > 30
    assert {"matmul_bf16", "nccl", "compiled"} < set(names)


def value(content: str, norm: float = 1.0) -> dict[str, object]:
    return {"sha256": content, "norm": norm, "shape": [2], "dtype": "torch.float32"}


def run(values: dict[str, dict[str, object]], seconds: float = 1.0) -> Run:
    return Run({}, {"work": {"values": values, "seconds": seconds, "first": 2.0}}, ())


def error(text: str) -> Run:
    return Run({}, {"work": {"error": text}}, ())


STEADY = [run({"x": value("a")}), run({"x": value("a")})]
UNSTEADY = [run({"x": value("a")}), run({"x": value("b", 1.0001)})]


@pytest.mark.parametrize(
    ("before", "after", "same"),
    [
        (STEADY, run({"x": value("a")}), True),
        (STEADY, run({"x": value("c")}), False),
        (STEADY, run({}), False),
        (STEADY, run({"x": value("a"), "y": value("a")}), False),
        (STEADY, error("no kernel image"), False),
        (UNSTEADY, run({"x": value("c", 1.0002)}), True),
        (UNSTEADY, run({"x": value("c", 1.1)}), False),
        (UNSTEADY, run({"x": value("c", float("nan"))}), False),
        ([error("e"), error("e")], error("e"), True),
        ([error("e"), error("e")], error("f"), False),
        ([error("e"), error("e")], run({"x": value("a")}), False),
        ([error("e"), STEADY[0]], error("e"), True),
    ],
)
def test_what_differs_is_found(before: list[Run], after: Run, same: bool):
    assert same == (differences(before, after) == [])


def test_tensors_that_are_not_repeated_are_named():
    assert [] == unsteady(STEADY)
    assert ["work, x"] == unsteady(UNSTEADY)


def test_slower_goes_by_the_best_of_each_side():
    old = [run({}, 1.0), run({}, 2.0)]

    assert {} == slower(old, [run({}, 1.2)])
    assert {"work": 1.3} == slower(old, [run({}, 1.3), run({}, 1.5)])
    assert {} == slower(old, [run({}, 1.3), run({}, 1.1)])
    assert {} == slower(old, [error("e")])


def test_a_library_of_the_other_site_is_a_stranger(site: Path, tmp_path: Path):
    ours, theirs = site / "torch/lib/libtorch_cuda.so", tmp_path / "b/torch/lib/libnew.so"
    elsewhere = "/usr/local/cuda/lib/libcublas.so.12"

    def found(*libraries: str) -> list[str]:
        taken = replace(run({}), libraries=(*libraries, "/usr/lib/libc.so.6"))
        return strangers(taken, site, tmp_path / "b", ["libcublas.so.12"])

    assert [] == found(str(ours))
    assert [str(theirs)] == found(str(theirs))
    assert [elsewhere] == found(elsewhere)
