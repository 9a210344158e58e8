"""Real engines for the tests that need one: each started for itself, in a folder of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def short_folder() -> Iterator[Path]:
    """A folder whose path is short enough for a socket's."""
    path = Path(tempfile.mkdtemp(prefix="slim-"))
    try:
        yield path
    finally:
        # Engines mount their own folders over themselves and leave it so.
        for line in reversed(Path("/proc/mounts").read_text().splitlines()):
            place = line.split()[1]
            if place.startswith(f"{path}/"):
                subprocess.run(["umount", place], check=False)
        shutil.rmtree(path, ignore_errors=True)


@contextmanager
def running(command: list[str], socket: Path, log: Path) -> Iterator[None]:
    """A service, from when its socket is there until it has stopped."""
    with log.open("wb") as out:
        process = subprocess.Popen(command, stdout=out, stderr=out)
    try:
        for _ in range(300):
            if socket.exists():
                break
            if process.poll() is not None:
                break
            time.sleep(0.1)
        if not socket.exists():
            lines = log.read_text(errors="replace").strip().splitlines()
            pytest.skip(f"{command[0]} does not start here: {lines[-1] if lines else 'no word'}")
        time.sleep(0.3)
        yield
    finally:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _needs(*programs: str) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root to start an engine")
    for program in programs:
        if not shutil.which(program):
            pytest.skip(f"needs {program}")


@pytest.fixture(scope="session")
def docker_socket() -> Iterator[str]:
    """A Docker engine of its own; yields what DOCKER_HOST is for it."""
    _needs("dockerd", "docker")
    with short_folder() as folder:
        socket = folder / "d.sock"
        command = ["dockerd", "--data-root", f"{folder}/data", "--exec-root", f"{folder}/run"]
        command += ["--pidfile", f"{folder}/pid", "--host", f"unix://{socket}"]
        command += ["--bridge", "none", "--iptables=false", "--storage-driver", "overlay2"]
        with running(command, socket, folder / "log"):
            yield f"unix://{socket}"


@pytest.fixture
def docker_host(docker_socket: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """The same for a test that calls `docker` itself: nothing is asked of another engine."""
    monkeypatch.setenv("DOCKER_HOST", docker_socket)
    return docker_socket


@pytest.fixture(scope="session")
def podman_socket() -> Iterator[str]:
    """A Podman service of its own; yields what CONTAINER_HOST is for it."""
    _needs("podman")
    with short_folder() as folder:
        socket = folder / "p.sock"
        command = ["podman", "--root", f"{folder}/root", "--runroot", f"{folder}/run"]
        command += ["system", "service", "--time", "0", f"unix://{socket}"]
        with running(command, socket, folder / "log"):
            yield f"unix://{socket}"


@pytest.fixture(scope="session")
def debian(docker_socket: str) -> str:
    """A minimal Debian in that engine, as debootstrap makes it from this machine's own mirror."""
    _needs("debootstrap", "docker")
    suite = "bookworm"
    told = ["apt-get", "indextargets", "--format", "$(REPO_URI)", "Created-By: Packages"]
    mirrors = subprocess.run(told, capture_output=True, text=True, check=False).stdout.split()
    mirrors = [mirror for mirror in mirrors if "security" not in mirror][:1]
    with tempfile.TemporaryDirectory(prefix="slim-debian-") as folder:
        root = f"{folder}/root"
        made = subprocess.run(
            ["debootstrap", "--variant=minbase", suite, root, *mirrors],
            capture_output=True,
            text=True,
            check=False,
        )
        if made.returncode:
            pytest.skip(f"debootstrap makes no {suite}: {made.stdout.strip()[-200:]}")
        Path(root, "usr/sbin/policy-rc.d").write_text("#!/bin/sh\nexit 101\n")
        Path(root, "usr/sbin/policy-rc.d").chmod(0o755)
        with subprocess.Popen(["tar", "-C", root, "-c", "."], stdout=subprocess.PIPE) as tar:
            subprocess.run(
                ["docker", "-H", docker_socket, "import", "-", "debian:test"],
                stdin=tar.stdout,
                capture_output=True,
                check=True,
            )
    return "debian:test"
