"""Which wheels fit an image, and where they are found."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import synthetic_elf
from cuda import (
    APK,
    NEW,
    TORCH,
    cpu_wheel,
    cuda_image,
    outcomes,
    proposed_by,
    refused,
)
from tiny import image
from wheelhouse import (
    LIBC,
    installed,
    pip_finding,
    rule,
    system_of,
    tar,
)

from slimmer.actions.swap.swap import SwapWheel
from slimmer.actions.swap.wheels import Target, Wheel, WheelError, Wheels
from slimmer.plan.steps import Refusal, Step

if TYPE_CHECKING:
    from pathlib import Path


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


def test_the_host_without_pip_is_told_what_to_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    monkeypatch.setattr("shutil.which", lambda name: None)
    system = system_of(cuda_image())

    (refusal,) = proposed_by(SwapWheel(), system, rule(swaps=["torch=cpu"]))

    assert isinstance(refusal, Refusal)
    assert "there is no pip on this host" in refusal.evidence
    assert "--swap NAME=FILE" in refusal.evidence


def test_a_wheel_is_got_once(tmp_path: Path):
    cpu_wheel(tmp_path)
    action = SwapWheel(wheels=Wheels(run=pip_finding(tmp_path)))
    system = system_of(cuda_image())

    for _ in range(2):
        list(proposed_by(action, system, replace(rule(swaps=["torch=cpu"]), name="again")))

    assert 1 == len((tmp_path / "asked.txt").read_text().splitlines()), "one download is enough"
