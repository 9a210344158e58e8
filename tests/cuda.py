"""An image with CUDA builds, the CPU wheels for it, and what a swap comes to."""

from __future__ import annotations

from typing import TYPE_CHECKING

from systems import facts_of
from tiny import Bytes, image
from wheelhouse import (
    BASE,
    installed,
    pip_finding,
    policy,
    rule,
    tar,
    wheel,
)

from slimmer.actions import bookkeepers
from slimmer.actions.swap.swap import SwapWheel
from slimmer.actions.swap.wheels import Wheels
from slimmer.evidence import Evidence
from slimmer.image import Digest, Image
from slimmer.index import Index
from slimmer.plan.plan import Plan
from slimmer.plan.proposals import Proposals
from slimmer.plan.steps import Refusal, Step
from slimmer.policy import Rule, Safety
from slimmer.rewrite import apply
from slimmer.tar.reading import FILE

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from slimmer.plan.protection import Protection


CUDA_SCRIPT = b"#!/usr/local/bin/python3.11\nimport torch\n"
APK = b"P:musl\nV:1.2.4-r2\nA:x86_64\nF:lib\nR:ld-musl-x86_64.so.1\n\n"
ENTRY = "[console_scripts]\ntorchrun = torch.run:main\n"
TORCH = installed(
    "torch",
    "2.13.0",
    {
        "torch/__init__.py": b"import triton",
        "torch/lib/libtorch_cuda.so": b"c" * 9000,
        "torch/cuda_only/__init__.py": b"# cuda",
    },
    ["numpy", "nvidia-cublas==13.1", 'nvidia-nccl ; platform_system == "Linux"', "triton"],
    scripts={"torchrun": CUDA_SCRIPT, "cudarun": CUDA_SCRIPT},
    requested=True,
)
CUDA = (
    installed("nvidia-cublas", "13.1", {"nvidia/cublas/lib/libcublas.so.13": b"b" * 5000})
    | installed("nvidia-nccl", "2.29", {"nvidia/nccl/lib/libnccl.so.2": b"n" * 4000})
    | installed("triton", "3.7.1", {"triton/__init__.py": b"x" * 3000}, ["setuptools"])
)
OTHERS = (
    installed("numpy", "1.26.4", {"numpy/__init__.py": b"# numpy"}, requested=True)
    | installed("setuptools", "79.0", {"setuptools/__init__.py": b"# setuptools"})
    | installed("camel", "1.0", {"camel/__init__.py": b"import torch"}, ["torch>=2", "numpy"])
)
NEW = {
    "torch/__init__.py": b"# cpu build",
    "torch/lib/libtorch_cpu.so": b"p" * 2000,
    "torch/new/deep/er.py": b"1",
    "torch-2.13.0+cpu.data/scripts/helper": b"#!python\nprint(1)\n",
}


def cpu_wheel(folder: Path, **given: object) -> Path:
    files = given.pop("files", NEW)
    given.setdefault("requires", ["numpy"])
    given.setdefault("entry_points", ENTRY)
    return wheel(folder, "torch", "2.13.0+cpu", files, **given)  # type: ignore[arg-type]


def cuda_image(more: Mapping[str, bytes] | None = None, **given: object) -> Image:
    files = TORCH | CUDA | OTHERS | dict(more or {})
    return image(tar(BASE), tar(files, **given))  # type: ignore[arg-type]


def proposed_by(action: SwapWheel, system: Protection, one: Rule) -> tuple[Step | Refusal, ...]:
    return Proposals(system.facts, {"swap": action}).of(one, system)


def outcomes(system: Protection, one: Rule, folder: Path) -> list[Step | Refusal]:
    return list(proposed_by(SwapWheel(wheels=Wheels(run=pip_finding(folder))), system, one))


def refused(system: Protection, one: Rule, folder: Path) -> Refusal:
    (outcome,) = outcomes(system, one, folder)
    assert isinstance(outcome, Refusal), outcome
    return outcome


def planned(source: Image, folder: Path, **options: object) -> Plan:
    one = rule(**options)
    return Plan.of(
        facts_of(source),
        policy(one),
        {"swap": SwapWheel(wheels=Wheels(run=pip_finding(folder)))},
        bookkeepers(),
        accept=Safety.CAUTION,
    )


def written(source: Image, plan: Plan) -> Image:
    draft = apply(source, plan)
    tars = [b"".join(layer.chunks()) for layer in draft.layers]
    for layer, one in zip(draft.layers, tars, strict=True):
        assert layer.edit is None or layer.length in (None, len(one))
    finished = draft.finish([Digest.of(one) for one in tars])
    return Image.of("after", finished, [(Bytes(one), None, None) for one in tars])


def tree(source: Image) -> dict[str, bytes]:
    """Every visible file and its content."""
    index = Index.scan(source, Evidence([]))
    found = {}
    for path, header in index.visible.items():
        if header.kind == FILE:
            layer = source.layers[index.layer_of[path]].content
            assert isinstance(layer, Bytes)
            found[path.decode()] = layer.tar[header.data : header.data + header.stored]
    return found
