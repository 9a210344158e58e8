"""CPU wheels in the place of CUDA builds: what comes, what leaves, what forbids it."""

from __future__ import annotations

import csv
import io
import json
import struct
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import synthetic_elf
from systems import facts_of
from tiny import Bytes, image
from wheelhouse import (
    BASE,
    LIBC,
    MTIME,
    SITE,
    installed,
    pip_finding,
    policy,
    row,
    rule,
    system_of,
    tar,
    wheel,
)

from slimmer.actions import bookkeepers
from slimmer.actions.swap.replacement import SwapRequest
from slimmer.actions.swap.swap import SwapWheel, gpu_evidence
from slimmer.actions.swap.wheels import Target, Wheel, WheelError, Wheels
from slimmer.evidence import Evidence
from slimmer.image import Digest, Image
from slimmer.index import Index
from slimmer.plan.budget import PlanError, Sizes
from slimmer.plan.plan import Plan
from slimmer.plan.proposals import Proposals
from slimmer.plan.protection import Protection
from slimmer.plan.steps import Refusal, Step
from slimmer.policy import Rule, Safety, find
from slimmer.rewrite import apply
from slimmer.tar.reading import DIRECTORY, FILE

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


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


def test_record_names_every_file_with_its_hash_and_size(tmp_path: Path):
    cpu_wheel(tmp_path)
    source = cuda_image()

    after = tree(written(source, planned(source, tmp_path, swaps=["torch=cpu"])))

    own = "torch-2.13.0+cpu.dist-info/RECORD"
    rows = list(csv.reader(io.StringIO(after[f"{SITE}/{own}"].decode())))
    places = {
        path: f"usr/local/bin/{path.rpartition('/')[2]}" if "../" in path else f"{SITE}/{path}"
        for path, _, _ in rows
    }
    expected = [
        [path, "", ""] if path == own else list(row(path, after[place]))
        for path, place in sorted(places.items())
    ]
    assert expected == rows
    assert {"../../../bin/torchrun", "../../../bin/helper"} <= places.keys()
    mine = {path for path in after if path not in BASE and path not in OTHERS}
    assert mine == set(places.values())


def test_what_a_plan_promises_is_what_is_written_to_the_byte(tmp_path: Path):
    cpu_wheel(tmp_path)
    source = cuda_image()
    plan = planned(source, tmp_path, swaps=["torch=cpu"])
    (step,) = plan.steps

    after = Index.scan(written(source, plan), Evidence([]))

    assert plan.after == Sizes.of(after)
    assert step.unpacked == plan.before.unpacked - after.unpacked
    assert step.rootfs == plan.before.rootfs - after.rootfs
    assert plan.bookkeeping == 0
    assert after.overwritten == after.deleted == 0


def test_new_files_have_owner_mode_and_time_of_the_old_ones(tmp_path: Path):
    cpu_wheel(tmp_path, programs=["torch/lib/libtorch_cpu.so"])
    modes = dict.fromkeys(TORCH, 416) | {f"{SITE}/torch": 0o2750}
    source = image(tar(BASE), tar(TORCH | CUDA | OTHERS, uid=1000, mtime=MTIME + 7, modes=modes))

    index = Index.scan(
        written(source, planned(source, tmp_path, swaps=["torch=cpu"])), Evidence([])
    )

    def look(path: str) -> tuple[object, ...]:
        header = index.visible[path.encode()]
        return header.kind, header.mode, header.uid, header.gid, header.mtime

    then = (MTIME + 7) * 10**9
    assert (FILE, 0o640, 1000, 1000, then) == look(f"{SITE}/torch/__init__.py")
    assert (FILE, 0o750, 1000, 1000, then) == look(f"{SITE}/torch/lib/libtorch_cpu.so")
    assert (FILE, 0o750, 1000, 1000, then) == look("usr/local/bin/torchrun")
    assert (DIRECTORY, 0o755, 1000, 1000, then) == look(f"{SITE}/torch/new/deep")
    assert (DIRECTORY, 0o2750, 1000, 1000, then) == look(f"{SITE}/torch"), "as it was before"


def test_only_the_layer_that_held_the_old_build_is_written_anew(tmp_path: Path):
    cpu_wheel(tmp_path)
    source = image(tar(BASE), tar(TORCH | CUDA | OTHERS), tar({"app/main.py": b"import torch"}))

    after = written(source, planned(source, tmp_path, swaps=["torch=cpu"]))

    same = [
        one.diff_id == two.diff_id for one, two in zip(source.layers, after.layers, strict=True)
    ]
    assert [True, False, True] == same


def test_a_plan_file_brings_the_same_image(tmp_path: Path):
    cpu_wheel(tmp_path)
    source = cuda_image()
    plan = planned(source, tmp_path, swaps=["torch=cpu"], exclude=["torch/new/"])

    again = Plan.read(
        plan.to_json(),
        plan.facts,
        {"swap": SwapWheel(wheels=Wheels(run=pip_finding(tmp_path)))},
        bookkeepers(),
    )

    assert plan.digest == again.digest
    assert plan.after == again.after
    assert written(source, plan).id == written(source, again).id
    assert str(tmp_path) not in plan.to_json(), "a plan is the same on every machine"


@pytest.mark.parametrize("change", ["gone", "other"])
def test_a_plan_file_wants_the_very_wheel_it_was_made_with(tmp_path: Path, change: str):
    path = cpu_wheel(tmp_path)
    source = cuda_image()
    plan = planned(source, tmp_path, swaps=["torch=cpu"])
    path.unlink()
    if change == "other":
        cpu_wheel(tmp_path, files=NEW | {"torch/__init__.py": b"# another build"})

    with pytest.raises((PlanError, WheelError), match="torch") as error:
        Plan.read(
            plan.to_json(),
            plan.facts,
            {"swap": SwapWheel(wheels=Wheels(run=pip_finding(tmp_path)))},
            bookkeepers(),
        )

    assert "--find-links FOLDER" in error.value.hint


@pytest.mark.parametrize(
    "forged",
    [
        {"to": "evil @ file:///tmp/evil.tar.gz"},
        {"to": "evil 2.13.0"},
        {"to": "-r/tmp/list 2.13.0"},
        {"to": "torch 2.13.0+cpu#egg=evil"},
        {"sha256": ""},
        {"sha256": None},
    ],
)
def test_a_forged_plan_chooses_nothing_to_install(tmp_path: Path, forged: dict[str, str | None]):
    cpu_wheel(tmp_path)
    plan = planned(cuda_image(), tmp_path, swaps=["torch=cpu"])
    fields = json.loads(plan.to_json())
    step = fields["steps"][0]
    step["options"] |= forged
    if step["options"]["sha256"] is None:
        del step["options"]["sha256"]
    del step["digest"]
    step["digest"] = Digest.of(json.dumps(step, sort_keys=True).encode())
    (tmp_path / "asked.txt").unlink()

    with pytest.raises((PlanError, WheelError)):
        Plan.read(
            json.dumps(fields),
            plan.facts,
            {"swap": SwapWheel(wheels=Wheels(run=pip_finding(tmp_path)))},
            bookkeepers(),
        )
    asked = tmp_path / "asked.txt"
    assert not asked.exists() or "evil" not in asked.read_text()


def test_a_wheel_file_is_taken_as_it_is_and_its_hash_is_checked(tmp_path: Path):
    path = cpu_wheel(tmp_path)
    system = system_of(cuda_image())
    right = Wheel(path).sha256

    (step,) = outcomes(system, rule(swaps=[f"torch={path}#sha256={right}"]), tmp_path)
    refusal = refused(system, rule(swaps=[f"torch={path}#sha256={'0' * 64}"]), tmp_path)

    assert isinstance(step, Step)
    assert right == dict(step.options)["sha256"]
    assert path.name == dict(step.options)["wheel"]
    assert "is not the wheel that was asked for" in refusal.evidence
    assert not (tmp_path / "asked.txt").exists(), "pip is not needed"


def test_pip_is_asked_for_the_image_and_not_for_the_host(tmp_path: Path):
    cpu_wheel(tmp_path)

    outcomes(
        system_of(cuda_image()),
        rule(swaps=["torch=cpu"], find_links=["house"], index_url="https://index.invalid"),
        tmp_path,
    )

    asked = (tmp_path / "asked.txt").read_text().split()
    assert ["--", "torch==2.13.0+cpu"] == asked[-2:]
    assert {"--python-version=3.11.0", "--abi=cp311", "--implementation=cp"} <= set(asked)
    platforms = [one.partition("=")[2] for one in asked if one.startswith("--platform=")]
    assert "manylinux_2_36_x86_64" == platforms[0]
    assert {"manylinux2014_x86_64", "manylinux1_x86_64", "linux_x86_64"} <= set(platforms)
    assert {"--find-links=house", "--index-url=https://index.invalid"} <= set(asked)
    assert "--no-index" not in asked


def test_without_a_wheel_the_refusal_names_the_one_it_needs(tmp_path: Path):
    refusal = refused(system_of(cuda_image()), rule(swaps=["torch=cpu"]), tmp_path)

    assert "wheel" == refusal.guard
    assert "torch-2.13.0+cpu-cp311-cp311-manylinux_2_28_x86_64.whl" in refusal.evidence
    assert "glibc 2.36" in refusal.evidence
    assert "--find-links FOLDER" in refusal.evidence
    assert refusal.size >= 9000 + 5000 + 4000 + 3000


@pytest.mark.parametrize(
    ("given", "evidence"),
    [
        ({"requires": ["numpy", "nvidia-cublas"]}, "it requires nvidia-cublas"),
        (
            {"files": NEW | {"torch/lib/libtorch_cuda.so": b"x"}},
            "it holds torch/lib/libtorch_cuda.so",
        ),
        (
            {
                "files": NEW
                | {
                    "torch/_C.so": synthetic_elf.elf(
                        (
                            synthetic_elf.Load(
                                (
                                    synthetic_elf.Part(
                                        ".nv_fatbin", synthetic_elf.fatbin((2, 90, 0, b"code"))
                                    ),
                                )
                            ),
                        )
                    )
                }
            },
            "holds GPU code: torch/_C.so",
        ),
    ],
)
def test_a_wheel_is_a_cpu_build_by_what_is_inside_of_it(
    tmp_path: Path, given: dict[str, object], evidence: str
):
    cpu_wheel(tmp_path, **given)

    refusal = refused(system_of(cuda_image()), rule(swaps=["torch=cpu"]), tmp_path)

    assert "cpu-build" == refusal.guard
    assert evidence in refusal.evidence


@pytest.mark.parametrize("told", [b"# what was signed", b"# CPU build"])
def test_a_member_that_is_not_what_record_says_refuses_the_wheel(tmp_path: Path, told: bytes):
    cpu_wheel(tmp_path, told={"torch/__init__.py": told})

    refusal = refused(system_of(cuda_image()), rule(swaps=["torch=cpu"]), tmp_path)

    assert "torch/__init__.py is not what its RECORD says" in refusal.evidence


def test_a_wheel_cannot_write_outside_of_its_place(tmp_path: Path):
    cpu_wheel(tmp_path, files=NEW | {"torch/../../../../../etc/passwd": b"root"})

    refusal = refused(system_of(cuda_image()), rule(swaps=["torch=cpu"]), tmp_path)

    assert "writes outside of its place" in refusal.evidence


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


def test_a_symlink_that_would_lead_nowhere_forbids_the_swap(tmp_path: Path):
    cpu_wheel(tmp_path)
    library = f"/{SITE}/nvidia/nccl/lib/libnccl.so.2"
    system = system_of(cuda_image(links={"opt/lib/libnccl.so.2": library}))

    refusal = refused(system, rule(swaps=["torch=cpu"]), tmp_path)

    assert "nothing-links" == refusal.guard
    assert "opt/lib/libnccl.so.2 leads to" in refusal.evidence


def test_a_file_changed_after_the_installation_forbids_the_swap(tmp_path: Path):
    cpu_wheel(tmp_path)
    patched = tar({f"{SITE}/torch/__init__.py": b"# patched"})
    source = image(tar(BASE), tar(TORCH | CUDA | OTHERS), patched)

    refusal = refused(system_of(source), rule(swaps=["torch=cpu"]), tmp_path)

    assert "unchanged" == refusal.guard
    assert "torch/__init__.py was changed in layer 2" in refusal.evidence


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


def test_who_requires_the_name_that_leaves_forbids_the_swap(tmp_path: Path):
    old = installed("xgboost", "3.1.0", {"xgboost/core.py": b"1"}, ["nvidia-nccl-cu12"])
    user = installed("flaml", "2.0", {"flaml.py": b""}, ["xgboost>=2"])
    wheel(tmp_path, "xgboost-cpu", "3.1.0", {"xgboost/core.py": b"1"}, tag="py3-none-any")

    refusal = refused(
        system_of(image(tar(BASE | old | user))), rule(swaps=["xgboost=cpu"]), tmp_path
    )

    assert "flaml requires xgboost>=2, which is not there" == refusal.evidence


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


def test_a_swap_is_never_safe_and_is_risky_when_nobody_asked(tmp_path: Path):
    cpu_wheel(tmp_path)
    system = system_of(cuda_image())

    levels = [
        outcomes(system, one, tmp_path)[0]
        for one in (rule(swaps=["torch=cpu"]), rule(gpus="none"), rule())
    ]

    assert [Safety.CAUTION, Safety.CAUTION, Safety.RISKY] == [
        one.safety for one in levels if isinstance(one, Step)
    ]
    assert "--no-index" in (tmp_path / "asked.txt").read_text().splitlines()[-1]


def test_nothing_is_proposed_where_the_image_is_meant_to_meet_a_gpu(tmp_path: Path):
    cpu_wheel(tmp_path)
    source = image(
        tar(BASE | TORCH | CUDA | OTHERS), runtime={"Env": ["NVIDIA_VISIBLE_DEVICES=all"]}
    )
    system = system_of(source)

    assert ("NVIDIA_VISIBLE_DEVICES=all",) == gpu_evidence(system.facts)
    assert [] == outcomes(system, rule(), tmp_path)
    assert outcomes(system, rule(swaps=["torch=cpu"]), tmp_path)


def test_a_cpu_build_is_not_swapped_for_itself(tmp_path: Path):
    cpu = installed("torch", "2.13.0+cpu", {"torch/__init__.py": b""})
    source = image(tar(BASE | cpu))

    refusal = refused(system_of(source), rule(swaps=["torch=cpu"]), tmp_path)

    assert "pip:torch 2.13.0+cpu is no CUDA build" == refusal.evidence
    assert [] == outcomes(system_of(source), rule(gpus="none"), tmp_path)


@pytest.mark.parametrize(
    ("swap", "message"),
    [
        ("tensorflow=cpu", "there is no tensorflow to swap in this image"),
        ("numpy=cpu", "there is no numpy to swap"),
        ("nothing=cpu", "no CPU build of nothing is known"),
        ("torch", "expected a swap such as 'torch=cpu'"),
    ],
)
def test_a_swap_that_cannot_be_meant_is_an_error(tmp_path: Path, swap: str, message: str):
    with pytest.raises(PlanError, match=message):
        outcomes(system_of(cuda_image()), rule(swaps=[swap]), tmp_path)


def test_a_request_is_read_with_its_hash():
    assert SwapRequest("torch-geometric", "a/b.whl", "12") == SwapRequest.parse(
        "Torch_Geometric=a/b.whl#sha256=12"
    )
    assert SwapRequest("torch") == SwapRequest.parse("torch=cpu")


@pytest.mark.parametrize(
    ("files", "first", "libc"),
    [
        (LIBC, "manylinux_2_36_x86_64", "glibc 2.36"),
        (
            {"lib/apk/db/installed": APK, "lib/ld-musl-x86_64.so.1": b"musl"},
            "musllinux_1_2_x86_64",
            "musl 1.2",
        ),
    ],
)
def test_the_target_is_that_of_the_image(files: dict[str, bytes], first: str, libc: str):
    system = system_of(image(tar(files | TORCH)))
    claim = next(one for one in system.facts.ledger.claims if one.owner.name == "torch")

    target = Target.of(system.facts, claim)

    assert ((3, 11), "cp311", first, libc) == (
        target.python,
        target.abi,
        target.platforms[0],
        target.libc,
    )


def test_without_a_package_database_the_old_wheel_tells_the_c_library(tmp_path: Path):
    system = system_of(image(tar(TORCH)))
    claim = next(one for one in system.facts.ledger.claims if one.owner.name == "torch")

    target = Target.of(system.facts, claim, ["cp311-cp311-manylinux_2_28_x86_64"])

    assert "manylinux_2_28_x86_64" == target.platforms[0]
    with pytest.raises(WheelError, match="which C library"):
        Target.of(system.facts, claim)


def test_a_free_threaded_interpreter_has_an_abi_of_its_own():
    site = "opt/lib/python3.13t/site-packages"
    files = installed("torch", "2.13.0", {"torch/__init__.py": b""}, site=site)
    system = system_of(image(tar(files | LIBC)))
    claim = next(one for one in system.facts.ledger.claims if one.owner.name == "torch")

    assert "cp313t" == Target.of(system.facts, claim).abi


def test_symbols_of_the_new_libraries_can_be_left_out(tmp_path: Path):
    library = synthetic_elf.elf(
        (synthetic_elf.Load((synthetic_elf.Part(".text", b"t" * 500),), flags=5),),
        (
            synthetic_elf.Part(".symtab", b"s" * 24 * 400, kind=2, flags=0, link=".strtab"),
            synthetic_elf.Part(".strtab", b"\0" * 3000, kind=3, flags=0),
        ),
    )
    cpu_wheel(tmp_path, files=NEW | {"torch/lib/libtorch_cpu.so": library})
    source = cuda_image()

    plan = planned(source, tmp_path, swaps=["torch=cpu"], strip=True)
    after = tree(written(source, plan))

    stripped = after[f"{SITE}/torch/lib/libtorch_cpu.so"]
    assert len(stripped) < len(library) - 9000
    assert (
        ",".join(row("torch/lib/libtorch_cpu.so", stripped)).encode()
        in (after[f"{SITE}/torch-2.13.0+cpu.dist-info/RECORD"])
    )
    assert plan.after.unpacked == sum(map(len, after.values()))


def test_two_environments_are_two_steps(tmp_path: Path):
    cpu_wheel(tmp_path)
    other = "opt/venv/lib/python3.11/site-packages"
    second = installed(
        "torch", "2.13.0", {"torch/a.py": b"1" * 9000}, ["nvidia-cublas"], site=other
    )
    second |= installed("nvidia-cublas", "13.1", {"nvidia/b.so": b"2" * 50}, site=other)
    second |= installed("numpy", "1.26.4", {"numpy/n.py": b"3"}, site=other)
    source = cuda_image(second | {"opt/venv/pyvenv.cfg": b"home = /usr/local/bin\n"})

    plan = planned(source, tmp_path, swaps=["torch=cpu"])
    after = tree(written(source, plan))

    assert () == plan.refusals
    assert 2 == len({step.id for step in plan.steps})
    assert not [path for path in after if "nvidia" in path]
    assert f"{other}/torch/__init__.py" in after
    assert after["opt/venv/bin/torchrun"].startswith(b"#!/")
    assert plan.after.unpacked == sum(map(len, after.values()))


def test_the_host_without_pip_is_told_what_to_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    monkeypatch.setattr("shutil.which", lambda name: None)
    system = system_of(cuda_image())

    (refusal,) = proposed_by(SwapWheel(), system, rule(swaps=["torch=cpu"]))

    assert isinstance(refusal, Refusal)
    assert "there is no pip on this host" in refusal.evidence
    assert "--swap NAME=FILE" in refusal.evidence


def test_names_from_the_image_are_made_fit_to_be_shown(tmp_path: Path):
    cpu_wheel(tmp_path)
    odd = installed("odd\x1b[31m", "1", {"odd.py": b""}, ["torch===2.13.0"])

    refusal = refused(system_of(cuda_image(odd)), rule(swaps=["torch=cpu"]), tmp_path)

    assert refusal.evidence.isprintable()


def test_a_wheel_is_got_once(tmp_path: Path):
    cpu_wheel(tmp_path)
    action = SwapWheel(wheels=Wheels(run=pip_finding(tmp_path)))
    system = system_of(cuda_image())

    for _ in range(2):
        list(proposed_by(action, system, replace(rule(swaps=["torch=cpu"]), name="again")))

    assert 1 == len((tmp_path / "asked.txt").read_text().splitlines()), "one download is enough"


def test_a_wheel_that_is_not_there_is_an_error_at_once():
    held = SwapWheel()
    rule = Rule("x", "swap", Safety.RISKY, "w", options=(("swaps", ["torch=/no/such.whl"]),))

    with pytest.raises(PlanError, match="there is no wheel /no/such"):
        list(held.propose(None, None, rule, None))  # type: ignore[arg-type]
