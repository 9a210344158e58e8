"""What takes the place of a CUDA build, to the last file."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import synthetic_elf
from cuda import (
    CUDA,
    NEW,
    OTHERS,
    TORCH,
    cpu_wheel,
    cuda_image,
    outcomes,
    planned,
    refused,
    tree,
    written,
)
from tiny import image
from wheelhouse import (
    BASE,
    SITE,
    installed,
    rule,
    system_of,
    tar,
    wheel,
)

from slimmer.actions.swap.replacement import SwapRequest
from slimmer.plan.steps import Step

if TYPE_CHECKING:
    from pathlib import Path


def test_the_new_files_take_the_place_of_the_old_ones_and_all_that_only_cuda_needs_leaves(
    tmp_path: Path,
):
    cpu_wheel(tmp_path)
    source = cuda_image()

    after = tree(written(source, planned(source, tmp_path, swaps=["torch=cpu"])))

    info = f"{SITE}/torch-2.13.0+cpu.dist-info"
    assert {
        *BASE,
        *OTHERS,
        f"{SITE}/torch/__init__.py",
        f"{SITE}/torch/lib/libtorch_cpu.so",
        f"{SITE}/torch/new/deep/er.py",
        "usr/local/bin/torchrun",
        "usr/local/bin/helper",
        *(
            f"{info}/{name}"
            for name in (
                "METADATA",
                "WHEEL",
                "RECORD",
                "INSTALLER",
                "REQUESTED",
                "entry_points.txt",
            )
        ),
    } == after.keys()
    assert NEW["torch/__init__.py"] == after[f"{SITE}/torch/__init__.py"]
    assert b"slimmer\n" == after[f"{info}/INSTALLER"]
    assert b"#!/usr/local/bin/python3.11\nprint(1)\n" == after["usr/local/bin/helper"]
    assert after["usr/local/bin/torchrun"].startswith(b"#!/usr/local/bin/python3.11\n")
    assert all(after[path] == content for path, content in (BASE | OTHERS).items())


def test_a_symlink_that_would_lead_nowhere_forbids_the_swap(tmp_path: Path):
    cpu_wheel(tmp_path)
    library = f"/{SITE}/nvidia/nccl/lib/libnccl.so.2"
    system = system_of(cuda_image(links={"opt/lib/libnccl.so.2": library}))

    refusal = refused(system, rule(swaps=["torch=cpu"]), tmp_path)

    assert "nothing-links" == refusal.guard
    assert "opt/lib/libnccl.so.2 leads to" in refusal.evidence


def test_what_a_later_layer_deleted_stays_away(tmp_path: Path):
    cpu_wheel(tmp_path)
    source = image(
        tar(BASE),
        tar(TORCH | CUDA | OTHERS),
        tar({}, removed=[f"{SITE}/torch/new", f"{SITE}/torch/cuda_only"]),
    )
    plan = planned(source, tmp_path, swaps=["torch=cpu"])

    after = tree(written(source, plan))

    assert f"{SITE}/torch/new/deep/er.py" not in after
    assert b"er.py" not in after[f"{SITE}/torch-2.13.0+cpu.dist-info/RECORD"]
    assert plan.after.unpacked == sum(map(len, after.values()))


def test_a_library_that_links_cuda_forbids_the_swap(tmp_path: Path):
    cpu_wheel(tmp_path)
    extension = _needing("libtorch_cuda.so")

    refusal = refused(
        system_of(
            cuda_image(
                {
                    f"{SITE}/own/_ext.so": extension,
                    f"{SITE}/torch/lib/libtorch_cuda.so": _needing("libm.so.6"),
                }
            )
        ),
        rule(swaps=["torch=cpu"]),
        tmp_path,
    )

    assert "nothing-links" == refusal.guard
    assert "own/_ext.so" in refusal.evidence
    assert "libtorch_cuda.so" in refusal.evidence


def _needing(library: str) -> bytes:
    """An ELF file with one DT_NEEDED."""
    strings = b"\0" + library.encode() + b"\0"
    table = synthetic_elf.Part(".dynstr", strings, kind=3)
    at = synthetic_elf.EHDR + 2 * synthetic_elf.PHDR
    dynamic = struct.pack("<8Q", 1, 1, 5, at, 10, len(strings), 0, 0)
    part = synthetic_elf.Part(".dynamic", dynamic, kind=6, link=".dynstr", segment=2)
    return synthetic_elf.elf((synthetic_elf.Load((table, part)),))


def test_torchvision_goes_with_torch_or_neither_goes(tmp_path: Path):
    cpu_wheel(tmp_path)
    vision = installed("torchvision", "0.28.0", {"torchvision/_C.so": b"v" * 700}, ["torch"])
    system = system_of(cuda_image(vision))

    alone = refused(system, rule(swaps=["torch=cpu"]), tmp_path)
    wheel(tmp_path, "torchvision", "0.28.0+cpu", {"torchvision/_C.so": b"c"}, ["torch==2.13.0"])
    (step,) = outcomes(system, rule(swaps=["torch=cpu"]), tmp_path)

    assert "torchvision 0.28.0 only works with its own kind of torch" in alone.evidence
    assert "torchvision-0.28.0+cpu-cp311-cp311-manylinux_2_28_x86_64.whl" in alone.evidence
    assert isinstance(step, Step)
    (companion,) = dict(step.options)["companions"]
    assert "torchvision-0.28.0+cpu-cp311-cp311-manylinux_2_28_x86_64.whl" == companion["wheel"]


def test_xgboost_becomes_xgboost_cpu_and_nccl_leaves(tmp_path: Path):
    old = installed("xgboost", "3.1.0", {"xgboost/core.py": b"1" * 800}, ["nvidia-nccl-cu12"])
    nccl = installed("nvidia-nccl-cu12", "2.27", {"nvidia/nccl/libnccl.so": b"n" * 4000})
    wheel(tmp_path, "xgboost-cpu", "3.1.0", {"xgboost/core.py": b"1"}, tag="py3-none-any")
    source = image(tar(BASE | old | nccl))

    after = tree(written(source, planned(source, tmp_path, swaps=["xgboost=cpu"])))

    assert f"{SITE}/xgboost_cpu-3.1.0.dist-info/RECORD" in after
    assert not [path for path in after if "nvidia" in path or "xgboost-3" in path]


def test_the_cuda_plugins_of_jax_leave_for_nothing(tmp_path: Path):
    files = (
        installed("jax", "0.9", {"jax/__init__.py": b""}, requested=True)
        | installed("jax-cuda12-plugin", "0.9", {"jax_p/a.so": b"p" * 900}, ["jax-cuda12-pjrt"])
        | installed("jax-cuda12-pjrt", "0.9", {"jax_q/b.so": b"j" * 900}, ["nvidia-cudnn-cu12"])
        | installed("nvidia-cudnn-cu12", "9", {"nvidia/cudnn/c.so": b"d" * 900})
    )
    source = image(tar(BASE | files))
    plan = planned(source, tmp_path, gpus="none")

    after = tree(written(source, plan))

    assert plan.steps[0].unpacked > 2700
    assert not [path for path in after if "cuda" in path or "nvidia" in path]
    assert f"{SITE}/jax/__init__.py" in after


def test_a_request_is_read_with_its_hash():
    assert SwapRequest("torch-geometric", "a/b.whl", "12") == SwapRequest.parse(
        "Torch_Geometric=a/b.whl#sha256=12"
    )
    assert SwapRequest("torch") == SwapRequest.parse("torch=cpu")
