"""What becomes of the distributions around those that are swapped."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from cuda import (
    CUDA,
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
from systems import facts_of
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

from slimmer.plan.protection import Protection
from slimmer.plan.steps import Step
from slimmer.policy import find

if TYPE_CHECKING:
    from pathlib import Path


def test_a_requirement_that_would_break_forbids_the_swap(tmp_path: Path):
    cpu_wheel(tmp_path, requires=["numpy>=2", "lightning"])

    refusal = refused(system_of(cuda_image()), rule(swaps=["torch=cpu"]), tmp_path)

    assert "requirements" == refusal.guard
    assert "torch requires numpy>=2, there is 1.26.4" == refusal.evidence


def test_who_requires_the_exact_cuda_build_forbids_the_swap(tmp_path: Path):
    cpu_wheel(tmp_path)
    pinned = installed("pinned", "1", {"pinned.py": b""}, ["torch===2.13.0"])

    refusal = refused(system_of(cuda_image(pinned)), rule(swaps=["torch=cpu"]), tmp_path)

    assert "pinned requires torch===2.13.0, there is 2.13.0+cpu" == refusal.evidence


def test_what_something_else_requires_stays(tmp_path: Path):
    cpu_wheel(tmp_path)
    more = installed("kernels", "1", {"kernels.py": b""}, ["triton"], requested=True)

    (step,) = outcomes(system_of(cuda_image(more)), rule(swaps=["torch=cpu"]), tmp_path)

    assert isinstance(step, Step)
    gone = {path.decode() for path in step.removes}
    assert f"{SITE}/nvidia/nccl/lib/libnccl.so.2" in gone
    assert f"{SITE}/nvidia" in gone, "folders that are emptied leave, too"
    assert not {path for path in gone if "triton" in path}


def test_what_the_new_wheel_requires_stays(tmp_path: Path):
    cpu_wheel(tmp_path, requires=["numpy", "setuptools"])

    (step,) = outcomes(system_of(cuda_image()), rule(swaps=["torch=cpu"]), tmp_path)

    assert isinstance(step, Step)
    assert not {path for path in step.removes if b"setuptools" in path}


def test_files_that_nobody_recorded_stay(tmp_path: Path):
    cpu_wheel(tmp_path)
    stray = f"{SITE}/torch/models/own.pt"

    (step,) = outcomes(system_of(cuda_image({stray: b"own"})), rule(swaps=["torch=cpu"]), tmp_path)

    assert isinstance(step, Step)
    assert stray.encode() not in step.removes
    assert f"{SITE}/torch/cuda_only/__pycache__/__init__.cpython-311.pyc".encode() in step.removes


def test_bytecode_that_nobody_recorded_leaves_with_its_source(tmp_path: Path):
    cpu_wheel(tmp_path)
    compiled = f"{SITE}/torch/__pycache__/__init__.cpython-311.opt-1.pyc"

    (step,) = outcomes(
        system_of(cuda_image({compiled: b"pyc"})), rule(swaps=["torch=cpu"]), tmp_path
    )

    assert isinstance(step, Step)
    assert compiled.encode() in step.removes


def test_a_file_that_somebody_else_names_too_stays(tmp_path: Path):
    cpu_wheel(tmp_path)
    shared = {"nvidia/__init__.py": b"# shared"}
    libraries = {"nvidia/cublas/lib/libcublas.so.13": b"b" * 5000}
    cublas = installed("nvidia-cublas", "13.1", shared | libraries)
    tool = installed("nvidia-ml-py", "13", shared | {"pynvml.py": b""}, requested=True)
    source = cuda_image(cublas | tool)

    after = tree(written(source, planned(source, tmp_path, swaps=["torch=cpu"])))

    assert f"{SITE}/nvidia/__init__.py" in after
    assert not [path for path in after if "cublas" in path]


def test_a_new_file_takes_nobodys_place(tmp_path: Path):
    cpu_wheel(tmp_path)
    system = system_of(cuda_image({"usr/local/bin/helper": b"#!/bin/sh"}))

    refusal = refused(system, rule(swaps=["torch=cpu"]), tmp_path)

    assert "nothing-overwritten" == refusal.guard
    assert "usr/local/bin/helper is there already" in refusal.evidence


def test_a_file_changed_after_the_installation_forbids_the_swap(tmp_path: Path):
    cpu_wheel(tmp_path)
    patched = tar({f"{SITE}/torch/__init__.py": b"# patched"})
    source = image(tar(BASE), tar(TORCH | CUDA | OTHERS), patched)

    refusal = refused(system_of(source), rule(swaps=["torch=cpu"]), tmp_path)

    assert "unchanged" == refusal.guard
    assert "torch/__init__.py was changed in layer 2" in refusal.evidence


def test_who_requires_the_name_that_leaves_forbids_the_swap(tmp_path: Path):
    old = installed("xgboost", "3.1.0", {"xgboost/core.py": b"1"}, ["nvidia-nccl-cu12"])
    user = installed("flaml", "2.0", {"flaml.py": b""}, ["xgboost>=2"])
    wheel(tmp_path, "xgboost-cpu", "3.1.0", {"xgboost/core.py": b"1"}, tag="py3-none-any")

    refusal = refused(
        system_of(image(tar(BASE | old | user))), rule(swaps=["xgboost=cpu"]), tmp_path
    )

    assert "flaml requires xgboost>=2, which is not there" == refusal.evidence


@pytest.mark.parametrize("requested", [False, True])
def test_what_extras_of_the_old_build_brought_leaves_unless_it_was_asked_for_by_name(
    tmp_path: Path, requested: bool
):
    requires = ["nvidia-cudnn-cu12<10; extra == 'and-cuda'", "boto3; extra == 'cloud'"]
    files = (
        installed("tensorflow", "2.20", {"tf/a.py": b"1" * 800}, requires, requested=True)
        | installed("nvidia-cudnn-cu12", "9", {"cudnn/c.so": b"d" * 900}, requested=requested)
        | installed("boto3", "1", {"boto3/a.py": b""})
    )
    wheel(tmp_path, "tensorflow-cpu", "2.20", {"tf/a.py": b"1"}, tag="py3-none-any")
    source = image(tar(BASE | files))

    # The mark of a CUDA build would be its libraries; a wheel that is named needs none.
    named = f"tensorflow={tmp_path}/tensorflow_cpu-2.20-py3-none-any.whl"
    after = tree(written(source, planned(source, tmp_path, swaps=[named])))

    assert requested == (f"{SITE}/cudnn/c.so" in after)
    assert f"{SITE}/boto3/a.py" in after


def test_what_is_to_be_kept_forbids_or_stays(tmp_path: Path):
    cpu_wheel(tmp_path)
    source = cuda_image()
    one = rule(swaps=["torch=cpu"])

    torch = refused(system_of(source, keep_owners=("pip:torch",)), one, tmp_path)
    own = refused(system_of(source, keep=["cuda_only/__init__.py"]), one, tmp_path)
    (step,) = outcomes(system_of(source, keep=["triton/__init__.py"]), one, tmp_path)
    (other,) = outcomes(system_of(source, keep_owners=("pip:nvidia-nccl",)), one, tmp_path)

    assert ("keep", "keep") == (torch.guard, own.guard)
    assert isinstance(step, Step)
    assert isinstance(other, Step)
    assert not [path for path in step.removes if b"triton" in path]
    assert "pip:triton 3.7.1 stays" in step.evidence
    assert not [path for path in other.removes if b"nccl" in path]


def test_what_the_shipped_policies_keep_holds_nothing_that_leaves_whole(tmp_path: Path):
    cpu_wheel(tmp_path)
    more = (f"{SITE}/triton/backends/nvidia/bin/ptxas", f"{SITE}/torch/testing/__init__.py")
    old = installed(
        "torch", "2.13.0", {"torch/testing/__init__.py": b"t", "torch/a.py": b"a"}, ["triton"]
    )
    triton = installed("triton", "3.7.1", {"triton/backends/nvidia/bin/ptxas": b"p" * 7000})
    numpy = installed("numpy", "1.26.4", {"numpy/__init__.py": b"# numpy"})
    assert set(more) <= (old | triton).keys()
    held = facts_of(image(tar(BASE | old | triton | numpy)))
    safe = find("safe", "")
    assert "ptxas*" in safe.keep.patterns

    (step,) = outcomes(Protection.of(held, safe), rule(swaps=["torch=cpu"]), tmp_path)
    own = Protection.of(held, safe.keeping(["ptxas*"]))
    (without,) = outcomes(own, rule(swaps=["torch=cpu"]), tmp_path)

    assert isinstance(step, Step)
    assert {path.encode() for path in more} <= set(step.removes)
    assert isinstance(without, Step)
    assert more[0].encode() not in without.removes, "a user's own word holds, repeated or not"
