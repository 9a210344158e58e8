"""Time inspect, plan, slim and verify on images of many hard-linked files; all must be linear.

    python tests/benchmarks/hard_links.py FOLDER [SIZE...]

Such as installers make them: a cache holds the bytes, site-packages links to it, and the cache
leaves. In one layer, and across eight, of which each overwrites a third of the first names of the
one below it and links other names to what those held. Processor time of one process each, so
that whatever else runs does little to it. Fails where one command takes more than twice what its
own figures for the smaller sizes let expect.
"""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import tarfile
from hashlib import sha256
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

SIZES = (4_000, 8_000, 16_000, 64_000)
LAYERS = 8
SLACK = 2.0
ROOT = Path(__file__).parents[2]
SITE, CACHE = "usr/local/lib/python3.11/site-packages", "root/.cache/pip/http-v2"


def names(start: int, count: int) -> Iterator[str]:
    for number in range(start, start + count):
        yield f"pack{number // 50}/module{number % 50}.py"


def layer(start: int, count: int, below: int) -> bytes:
    """Linked files from number `start` on; `below` files of the layer under it are met again."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        done: set[str] = set()

        def add(name: str, content: bytes = b"", link: str = "") -> None:
            for depth in range(1, name.count("/") + 1):
                folder = "/".join(name.split("/")[:depth])
                if folder not in done:
                    done.add(folder)
                    made = tarfile.TarInfo(folder)
                    made.type, made.mode = tarfile.DIRTYPE, 0o755
                    tar.addfile(made)
            member = tarfile.TarInfo(name)
            member.size, member.linkname = len(content), link
            member.type = tarfile.LNKTYPE if link else tarfile.REGTYPE
            tar.addfile(member, io.BytesIO(content))

        for name in names(start - below, below):
            add(f"{CACHE}/again/{name}", link=f"{CACHE}/{name}")
            add(f"{CACHE}/{name}", b"changed\n")
        add(f"{CACHE}/{start}.whl", bytes(100_000))
        for name in names(start, count):
            add(f"{CACHE}/{name}", f"import os\nNAME = {name!r}\n".encode())
            add(f"{SITE}/{name}", link=f"{CACHE}/{name}")
    return buffer.getvalue()


def archive(path: Path, count: int, layers: int) -> None:
    each = count // layers
    tars = [layer(at * each, each, each // 3 if at else 0) for at in range(layers)]
    config = {
        "architecture": "amd64",
        "os": "linux",
        "config": {"Cmd": ["true"]},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{sha256(t).hexdigest()}" for t in tars]},
    }
    entry = {"Config": "c.json", "RepoTags": ["links:1"], "Layers": []}
    entry["Layers"] = [f"{at}/layer.tar" for at in range(layers)]
    with tarfile.open(path, "w") as tar:
        for name, content in (
            *((f"{at}/layer.tar", content) for at, content in enumerate(tars)),
            ("c.json", json.dumps(config).encode()),
            ("manifest.json", json.dumps([entry]).encode()),
        ):
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))


def measured(folder: Path, *arguments: str) -> float:
    """Seconds of processor time of one command."""
    command = [sys.executable, "-m", "slimmer", *arguments]
    process = subprocess.Popen(
        command,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=os.environ | {"PYTHONPATH": str(ROOT), "SLIMMER_CACHE_DIR": str(folder / "cache")},
    )
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode not in (0, 1):
        sys.exit(f"{arguments} failed with {process.returncode}")
    return usage.ru_utime + usage.ru_stime


def commands(file: Path, folder: Path) -> dict[str, list[str]]:
    out = folder / "out.tar"
    return {
        "inspect": ["inspect", str(file), "--no-cache", "--format", "json"],
        "plan": ["plan", str(file), "--no-cache", "-o", str(folder / "plan.json")],
        "slim": ["slim", str(file), "--no-cache", "--static", "-o", f"docker-archive:{out}"],
        "verify": ["verify", str(file), str(out), "--no-cache", "--static"],
    }


def steep(times: dict[int, float]) -> bool:
    """Whether the largest size takes more than the smaller ones let expect."""
    *smaller, largest = sorted(times)
    each = max((times[high] - times[low]) / (high - low) for low, high in combinations(smaller, 2))
    high = smaller[-1]
    return times[largest] > SLACK * (times[high] + max(each, 0) * (largest - high))


def main(folder: Path, sizes: tuple[int, ...]) -> None:
    failed = []
    print(f"{'':24}" + "".join(f"{size:>10,}" for size in sizes))
    for layers in (1, LAYERS):
        table: dict[str, dict[int, float]] = {}
        for size in sizes:
            file = folder / "links.tar"
            archive(file, size, layers)
            (folder / "out.tar").unlink(missing_ok=True)
            for name, arguments in commands(file, folder).items():
                table.setdefault(name, {})[size] = measured(folder, *arguments)
        for name, times in table.items():
            where = "one layer" if layers == 1 else f"{layers} layers"
            print(f"{name:10}{where:14}" + "".join(f"{times[size]:8.2f} s" for size in sizes))
            if len(sizes) > 2 and steep(times):
                failed.append(f"{name} in {where}")
    if failed:
        sys.exit(f"not linear: {', '.join(failed)}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), tuple(map(int, sys.argv[2:])) or SIZES)
