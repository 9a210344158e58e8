"""Swaps as steps: what is proposed, at which risk, and read from a plan again."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
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
    installed,
    pip_finding,
    rule,
    system_of,
    tar,
)

from slimmer.actions import bookkeepers
from slimmer.actions.swap.swap import SwapWheel, gpu_evidence
from slimmer.actions.swap.wheels import WheelError, Wheels
from slimmer.evidence import Evidence
from slimmer.image import Digest
from slimmer.index import Index
from slimmer.plan.budget import PlanError, Sizes
from slimmer.plan.plan import Plan
from slimmer.plan.steps import Step
from slimmer.policy import Rule, Safety

if TYPE_CHECKING:
    from pathlib import Path


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


def test_names_from_the_image_are_made_fit_to_be_shown(tmp_path: Path):
    cpu_wheel(tmp_path)
    odd = installed("odd\x1b[31m", "1", {"odd.py": b""}, ["torch===2.13.0"])

    refusal = refused(system_of(cuda_image(odd)), rule(swaps=["torch=cpu"]), tmp_path)

    assert refusal.evidence.isprintable()


def test_a_wheel_that_is_not_there_is_an_error_at_once():
    held = SwapWheel()
    rule = Rule("x", "swap", Safety.RISKY, "w", options=(("swaps", ["torch=/no/such.whl"]),))

    with pytest.raises(PlanError, match="there is no wheel /no/such"):
        list(held.propose(None, None, rule, None))  # type: ignore[arg-type]
