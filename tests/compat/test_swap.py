"""The wheel swap against pip itself, and on a real image with torch's real CUDA and CPU builds."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
import tarfile
import venv
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from systems import facts_of
from tiny import image
from wheelhouse import BASE, installed, policy, rule, tar, wheel

import slimmer
from slimmer import owners, stores
from slimmer.actions import bookkeepers
from slimmer.actions import default as actions
from slimmer.actions.swap.swap import SwapWheel
from slimmer.analysis.dependencies import DependencyGraph
from slimmer.analysis.facts import Facts
from slimmer.attribution import Attribution
from slimmer.evidence import Evidence
from slimmer.index import Index
from slimmer.plan.budget import Sizes
from slimmer.plan.plan import Plan
from slimmer.policy import Safety, find
from slimmer.rewrite import apply

if TYPE_CHECKING:
    from pathlib import Path

    from slimmer.image import Image

TRUSTED = {"filter": "fully_trusted"} if hasattr(tarfile, "data_filter") else {}
"""Python 3.11.4 and later ask for a filter; Debian 12's 3.11.2 does not know the word."""
pytestmark = pytest.mark.compat
PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"
TAG = f"cp{PYTHON.replace('.', '')}-cp{PYTHON.replace('.', '')}-linux_x86_64"
ENTRY = "[console_scripts]\ntorchrun = torch.run:main\n"
FILES = {
    "torch/__init__.py": b"__version__ = '1.0+cpu'\n",
    "torch/run.py": b"def main():\n    print('it runs')\n",
    "torch/lib/libtorch_cpu.so": os.urandom(3 << 20),
    "torch/name with, comma.txt": b"quoted",
    "torch/bin/tool": b"#!/bin/sh\necho tool\n",
    "torch-1.0+cpu.data/scripts/helper": b"#!python\nimport torch; print(torch.__version__)\n",
    "torch-1.0+cpu.data/data/share/torch/more.txt": b"shared",
    "torch-1.0+cpu.data/headers/torch.h": b"int torch;",
    "torch-1.0+cpu.data/purelib/functorch/__init__.py": b"",
}
PROGRAMS = ["torch/bin/tool", "torch-1.0+cpu.data/scripts/helper"]


def pip(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "pip", *arguments], check=False, capture_output=True, text=True
    )


def look(folder: Path) -> dict[str, tuple[int, int, bytes]]:
    """Every file of a tree: kind, mode and content."""
    found = {}
    for path in sorted(folder.rglob("*")):
        status = path.lstat()
        if stat.S_ISREG(status.st_mode):
            name = path.relative_to(folder).as_posix()
            found[name] = (stat.S_IFREG, stat.S_IMODE(status.st_mode), path.read_bytes())
    return found


def environment(folder: Path) -> Path:
    venv.create(folder, symlinks=True)
    return folder


def unpacked(source: Image, plan: Plan, folder: Path) -> Path:
    """The image that a plan makes, on the disk."""
    for number, layer in enumerate(apply(source, plan).layers):
        path = folder / f"{number}.tar"
        with path.open("wb") as file:
            for chunk in layer.chunks():
                file.write(chunk)
        with tarfile.open(path) as archive:
            archive.extractall(folder / "rootfs", **TRUSTED)
        path.unlink()
    return folder / "rootfs"


def test_the_tree_is_what_pip_makes_of_the_same_wheel(tmp_path: Path):
    """In a real environment, with the host's own pip finding the wheel and installing it."""
    if not sys.platform.startswith("linux") or os.uname().machine != "x86_64":
        pytest.skip("the wheel of this test is for Linux on x86_64")
    house = tmp_path / "house"
    house.mkdir()
    wheel(house, "torch", "1.0+cpu", FILES, tag=TAG, entry_points=ENTRY, programs=PROGRAMS)
    theirs = environment(tmp_path / "theirs")
    done = pip(
        *("--python", theirs / "bin/python", "install", "--no-index", "--no-deps", "--no-compile"),
        *("--find-links", house, "torch==1.0"),
    )
    assert not done.returncode, done.stderr
    site = f"opt/app/lib/python{PYTHON}/site-packages"
    old = installed(
        "torch",
        "1.0",
        {"torch/__init__.py": b"import triton", "torch/run.py": b"# old"},
        ["triton"],
        scripts={"torchrun": b"#!/opt/app/bin/python\n"},
        requested=True,
        site=site,
    ) | installed("triton", "3", {"triton/__init__.py": b"t" * (4 << 20)}, site=site)
    base = {path.replace("3.11", PYTHON): content for path, content in BASE.items()}
    source = image(tar(base), tar(old | {"opt/app/pyvenv.cfg": b"home = /usr/local/bin\n"}))
    plan = Plan.of(
        facts_of(source),
        policy(rule(swaps=["torch=cpu"], find_links=[str(house)])),
        {"swap": SwapWheel()},
        bookkeepers(),
    )
    assert () == plan.refusals

    (tmp_path / "out").mkdir()
    ours = unpacked(source, plan, tmp_path / "out") / "opt/app"

    expected = look(theirs)
    for name in list(expected):
        own = name.startswith(("bin/", "pyvenv"))
        if own and not name.endswith(("torchrun", "helper")):
            del expected[name]
    made = look(ours)
    del made["pyvenv.cfg"]
    assert expected.keys() == made.keys()
    different = {
        name for name, (_, mode, content) in expected.items() if made[name][1:] != (mode, content)
    }
    info = f"lib/python{PYTHON}/site-packages/torch-1.0+cpu.dist-info"
    # Each installer has a launcher of its own, and an interpreter that lies elsewhere.
    assert {"bin/torchrun", "bin/helper", f"{info}/INSTALLER", f"{info}/RECORD"} == different
    assert all(expected[name][1] == made[name][1] for name in different), "modes are the same"
    unlike = ("bin/torchrun,", "bin/helper,", "INSTALLER,")
    assert [
        line
        for line in expected[f"{info}/RECORD"][2].splitlines()
        if not any(name.encode() in line for name in unlike)
    ] == [
        line
        for line in made[f"{info}/RECORD"][2].splitlines()
        if not any(name.encode() in line for name in unlike)
    ]


def test_what_was_swapped_runs_is_checked_and_can_be_uninstalled(tmp_path: Path):
    """The files of the swap, laid over an environment: its scripts run, pip finds no fault."""
    if not sys.platform.startswith("linux") or os.uname().machine != "x86_64":
        pytest.skip("the wheel of this test is for Linux on x86_64")
    house = tmp_path / "house"
    house.mkdir()
    wheel(house, "torch", "1.0+cpu", FILES, tag=TAG, entry_points=ENTRY, programs=PROGRAMS)
    home = environment(tmp_path / "home")
    prefix = str(home).lstrip("/")
    site = f"{prefix}/lib/python{PYTHON}/site-packages"
    shebang = f"#!{home}/bin/python\n".encode()
    old = installed(
        "torch", "1.0", {"torch/a.py": b"a" * (4 << 20)}, ["triton"],
        scripts={"torchrun": shebang}, site=site,
    ) | installed("triton", "3", {"triton/__init__.py": b""}, site=site)  # fmt: skip
    user = installed("user", "1", {"user.py": b"import torch"}, ["torch==1.0"], site=site)
    base = {path.replace("3.11", PYTHON): content for path, content in BASE.items()}
    source = image(tar(base | old | user))
    plan = Plan.of(
        facts_of(source),
        policy(rule(swaps=["torch=cpu"], find_links=[str(house)])),
        {"swap": SwapWheel()},
        bookkeepers(),
    )
    assert () == plan.refusals
    (tmp_path / "out").mkdir()
    made = unpacked(source, plan, tmp_path / "out") / prefix
    shutil.copytree(made, home, dirs_exist_ok=True)
    python = home / "bin/python"

    def out(*command: str | Path) -> str:
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout

    assert "it runs\n" == out(home / "bin/torchrun")
    assert "1.0+cpu\n" == out(home / "bin/helper")
    checked = pip("--python", python, "check")
    assert not checked.returncode, checked.stdout
    assert "torch @" not in pip("--python", python, "freeze").stdout
    gone = pip("--python", python, "uninstall", "--yes", "torch")
    assert not gone.returncode, gone.stderr
    left = [path for path in home.rglob("*torch*") if "__pycache__" not in path.parts]
    assert [] == left


REFERENCE = "SLIMMER_REFERENCE_SWAP"
"""Names an image of the local engine with torch's CUDA build, whose CPU wheel this host's pip
finds: the one of sample_images/reference with torch 2.13.0."""
CHECK = """
import hashlib, json, torch
torch.manual_seed(0); torch.set_num_threads(1)
def h(x): return hashlib.sha256(x.detach().contiguous().numpy().tobytes()).hexdigest()
a = torch.randn(64, 64); w = torch.randn(8, 8, requires_grad=True)
(w @ w).sin().sum().backward()
print(json.dumps([h(a @ a), h(torch.linalg.inv(a)), h(torch.linalg.svdvals(a)),
    h(torch.nn.functional.conv2d(torch.randn(1, 3, 32, 32), torch.randn(8, 3, 3, 3))),
    h(torch.fft.rfft(a).abs()), h(w.grad)]))
"""
HEALTH = """
import subprocess, sys, time, urllib.request
server = subprocess.Popen(sys.argv[1:])
for _ in range(120):
    time.sleep(1)
    try:
        print(urllib.request.urlopen("http://127.0.0.1:8000/health").status)
        break
    except OSError:
        pass
server.kill()
"""


@pytest.mark.skipif(
    REFERENCE not in os.environ, reason=f"takes minutes; {REFERENCE} names an image with torch"
)
def test_torch_for_cuda_becomes_torch_for_the_cpu_in_a_real_image():
    if shutil.which("docker") is None:
        pytest.skip("no docker")
    reference = os.environ[REFERENCE]
    source = slimmer.open(f"docker:{reference}")
    ledger = Attribution.of(Index.scan(source, owners.evidence()), owners.default)
    balanced = find("balanced", "")
    swap = rule(swaps=["torch=cpu"], strip=True)
    chosen = replace(
        balanced, rules=(*(one for one in balanced.rules if one.action != "swap"), swap)
    )
    facts = Facts(ledger, DependencyGraph.of(ledger))
    plan = Plan.of(facts, chosen, actions(), bookkeepers(), accept=Safety.CAUTION)
    assert [] == [one for one in plan.refusals if one.rule == swap.name]
    assert plan.after.unpacked <= 1_300_000_000
    name = "slimmer-swap-test:latest"

    try:
        written = stores.write(apply(source, plan), f"docker:{name}")
        after = Index.scan(slimmer.open(f"docker:{name}"), Evidence([]))
        before_check = inside(reference, "python", "-c", CHECK)
        after_check = inside(name, "python", "-c", CHECK)
        pip_check = inside(name, "python", "-m", "pip", "check")
        version = inside(name, "python", "-c", "import torch; print(torch.__version__)")
        command = source.config.entrypoint + source.config.command
        health = inside(name, "python", "-c", HEALTH, *command)
    finally:
        subprocess.run(["docker", "image", "rm", name], check=False, capture_output=True)

    assert plan.after == Sizes.of(after)
    assert plan.after.unpacked == written.unpacked
    assert "No broken requirements found." in pip_check
    assert version.strip().endswith("+cpu")
    assert before_check == after_check, "the same results, bit for bit"
    assert "200" in health.split()


def inside(name: str, *command: str) -> str:
    return subprocess.run(
        ["docker", "run", "--rm", "--network=none", "--entrypoint", command[0], name, *command[1:]],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
