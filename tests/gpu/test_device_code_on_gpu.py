"""The proof on a GPU: torch cut down to this machine's GPU gives what it gave, and as fast.

    SLIMMER_GPU_SITE=FOLDER python -m pytest tests/gpu -m gpu

README.md beside this file has the variables, and the GPUs on which it ran.
"""

from __future__ import annotations

import ctypes
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from gpu.runs import (
    NOISE,
    Run,
    best,
    differences,
    measured,
    slower,
    strangers,
    unsteady,
    without_place,
)
from gpu.sites import Slimmed, slimmed

if TYPE_CHECKING:
    from collections.abc import Iterator

# `compat` keeps minutes and gigabytes out of the tests that run when nobody says more.
pytestmark = [pytest.mark.gpu, pytest.mark.compat]

CORE = (
    *("elementwise", "sort_and_scan", "random", "matmul_fp32", "matmul_fp64", "matmul_fp16"),
    *("conv2d", "lstm", "gru", "fft", "fft_large", "sparse", "solver", "svd", "eigh"),
    *("curand", "nvrtc"),
)
"""What has to work on any NVIDIA GPU before anything is cut: without it nothing would be proved.
The rest (bf16, fp8, NCCL, triton …) may fail for reasons of the GPU or machine, alike."""
ROUNDS = 3
"""How often a workload that seems slower is measured again, original and slimmed in turns."""
NEGATIVE = ("elementwise", "sort_and_scan", "matmul_fp32", "conv2d", "fft", "solver")
"""What is run on a site that was cut to another GPU."""


@dataclass(slots=True)
class Proof:
    """One machine, one environment, and what was found; written down at the end."""

    python: str
    site: Path
    gpu: str
    """Its architecture, as `--gpu` takes it: `sm_90`."""
    machine: dict[str, Any]
    before: list[Run] = field(default_factory=list)
    after: list[Run] = field(default_factory=list)
    slim: Slimmed | None = None


@pytest.fixture(scope="module")
def proof() -> Iterator[Proof]:
    made = _proof()
    yield made
    folder = os.environ.get("SLIMMER_GPU_REPORT")
    if folder and made.slim is not None and made.after:
        _report(made, Path(folder))


def _proof() -> Proof:
    """What is at hand; skips where something is missing."""
    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError as error:
        pytest.skip(f"needs an NVIDIA GPU and its driver: {error}")
    site = os.environ.get("SLIMMER_GPU_SITE") or _own_site()
    if site is None:
        pytest.skip("needs torch with CUDA: SLIMMER_GPU_SITE=FOLDER, or in this environment")
    python = os.environ.get("SLIMMER_GPU_PYTHON", sys.executable)
    place = Path(site).resolve()
    found = measured(python, place, ())
    if not found.environment.get("available"):
        pytest.skip(f"torch in {place} sees no GPU: {dict(found.environment)}")
    major, minor = found.environment["capability"]
    machine = {**without_place(found).environment, "driver": _driver()}
    return Proof(python, place, f"sm_{major}{minor}", machine)


def _own_site() -> str | None:
    spec = importlib.util.find_spec("torch")
    return str(Path(spec.origin).parent.parent) if spec and spec.origin else None


def _driver() -> str:
    command = [
        "nvidia-smi",
        "--query-gpu=name,driver_version,memory.total",
        "--format=csv,noheader",
    ]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "not told"


@pytest.fixture(scope="module")
def folder(proof: Proof) -> Iterator[Path]:
    # Gigabytes, which pytest's own temporary folders would keep for three sessions.
    given = os.environ.get("SLIMMER_GPU_WORK")
    with tempfile.TemporaryDirectory(prefix="slimmer-sites-", dir=given) as name:
        yield Path(name).resolve()


@pytest.fixture(scope="module")
def slim(proof: Proof, folder: Path) -> Slimmed:
    proof.slim = slimmed(proof.site, folder / "shrink", proof.gpu)
    return proof.slim


@pytest.fixture(scope="module")
def before(proof: Proof) -> list[Run]:
    """Two runs, so that we know what is the same from one to the next."""
    proof.before += [measured(proof.python, proof.site) for _ in range(2)]
    return list(proof.before)


@pytest.fixture(scope="module")
def after(proof: Proof, slim: Slimmed, before: list[Run]) -> Run:
    proof.after.append(measured(proof.python, slim.site))
    return proof.after[0]


def test_the_original_works_or_nothing_would_be_proved(before: list[Run]):
    for run in before:
        assert {} == {name: error for name, error in run.failed().items() if name in CORE}


def test_it_is_smaller(slim: Slimmed):
    code, left = slim.code()

    assert slim.cuts
    assert all(cut.after < cut.before for cut in slim.cuts)
    assert sum(left.values()) < sum(code.values())


def test_it_is_the_slimmed_site_that_ran(
    proof: Proof, slim: Slimmed, before: list[Run], after: Run
):
    names = [Path(cut.path).name for cut in slim.cuts]
    for run in before:
        assert [] == strangers(run, proof.site, slim.site, names)
    assert [] == strangers(after, slim.site, proof.site, names)
    mapped = {Path(path).resolve() for path in after.libraries}
    assert mapped & {(slim.site / cut.path).resolve() for cut in slim.cuts}


def test_every_result_and_every_failure_is_the_same(before: list[Run], after: Run):
    assert [] == differences(before, after)
    assert {**before[0].failed(), **before[1].failed()}.keys() >= after.failed().keys()


def test_most_results_could_be_compared_to_the_bit(before: list[Run]):
    tensors = sum(len(each.get("values", ())) for each in before[0].outcomes.values())

    assert len(unsteady(before)) <= tensors // 10


def test_the_driver_compiles_nothing_that_it_did_not_compile_before(before: list[Run], after: Run):
    assert after.compiled <= max(run.compiled for run in before)


def test_it_is_as_fast(proof: Proof, slim: Slimmed, before: list[Run], after: Run):
    """Every median at most NOISE times what it was, each side at its best.

    What seems slower is measured again, ROUNDS times at most, the original and the slimmed one in
    turns: a machine with other guests has slow minutes, a library with the wrong code has nothing
    else.
    """
    late = slower(proof.before, proof.after)
    for _ in range(ROUNDS):
        if not late:
            break
        proof.before.append(measured(proof.python, proof.site, list(late)))
        proof.after.append(measured(proof.python, slim.site, list(late)))
        late = slower(proof.before, proof.after)

    assert {} == late, f"more than {NOISE} times as long"


def test_zeroed_code_gives_the_same_results(
    proof: Proof, folder: Path, slim: Slimmed, before: list[Run]
):
    zeroed = slimmed(proof.site, folder / "zero", proof.gpu, "zero")
    run = measured(proof.python, zeroed.site)
    shutil.rmtree(zeroed.site)

    assert slim.code()[1] == zeroed.code()[1]
    assert [] == differences(before, run)


def test_cut_to_another_gpu_it_does_not_pass(
    proof: Proof, folder: Path, slim: Slimmed, before: list[Run]
):
    """The check can fail: with another GPU's code the kernels fail, or the driver has to compile
    PTX for them."""
    other = _other(slim, proof.gpu)
    wrong = measured(
        proof.python, slimmed(proof.site, folder / "other", other).site, list(NEGATIVE)
    )
    new = wrong.failed().keys() - before[0].failed().keys()
    print(f"cut to {other}: {wrong.failed()}, {wrong.compiled} files compiled by the driver")

    assert new or wrong.compiled > max(run.compiled for run in before)
    if new:
        assert differences(before, wrong)


def _other(slim: Slimmed, gpu: str) -> str:
    """The architecture of another generation that has the most code in torch's own library."""
    torch = (cut for cut in slim.cuts if Path(cut.path).name.startswith("libtorch_cuda.so"))
    code = next(torch).code_before
    for arch in code:
        if arch.startswith("sm_") and arch[3:].isdigit() and arch[:-1] != gpu[:-1]:
            return arch
    pytest.skip("torch has code for one generation of GPUs only")


def _report(proof: Proof, folder: Path) -> None:
    """All that was found as JSON, and a table for people."""
    assert proof.slim is not None
    folder.mkdir(parents=True, exist_ok=True)
    old, new = best(proof.before), best(proof.after)
    code = proof.slim.code()
    told = {
        "machine": proof.machine,
        "gpu": proof.gpu,
        "bytes": [proof.slim.before, proof.slim.after],
        "left alone": proof.slim.left_alone,
        "compiled by the driver": [
            [run.compiled for run in runs] for runs in (proof.before, proof.after)
        ],
        "code": code,
        "unsteady": unsteady(proof.before[:2]),
        "before": [dict(run.outcomes) for run in proof.before],
        "after": [dict(run.outcomes) for run in proof.after],
    }
    (folder / "gpu.json").write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
    lines = [
        f"{proof.gpu}; torch {proof.machine['torch']}; {proof.machine['driver']}",
        "",
        f"{proof.slim.before / 1e6:.0f} MB of libraries became {proof.slim.after / 1e6:.0f} MB.",
        "",
        "| workload | ms before | ms after | ratio | outcome |",
        "|---|--:|--:|--:|---|",
    ]
    for name, outcome in proof.after[0].outcomes.items():
        if name in old and name in new:
            times = f"{old[name] * 1e3:.3f} | {new[name] * 1e3:.3f} | {new[name] / old[name]:.2f}"
            lines.append(f"| {name} | {times} | works |")
        else:
            text = outcome.get("error") or f"skipped: {outcome.get('skipped')}"
            line = " ".join(text.split())[:120].replace("|", "/")
            lines.append(f"| {name} | | | | {line} |")
    (folder / "gpu.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
