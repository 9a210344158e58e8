"""Time `slimmer inspect` on each medium against the least that anyone could do with it.

    python tests/benchmarks/inspect_sources.py engine reference:torch-2.9.0
    python tests/benchmarks/inspect_sources.py layout oci-folder
    python tests/benchmarks/inspect_sources.py entries

`engine` compares with `docker save | cat`, `layout` with ISA-L's own `igzip -dc` of the same blobs,
and `entries` shows how the cost grows. Every run is a process of its own without slimmer's cache,
unless it says so; contenders take turns, and the best of the rounds counts.
"""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import tarfile
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]
INSPECT = [sys.executable, "-m", "slimmer", "inspect", "--format", "json"]
WITHOUT_FOLDERS = """
import sys
from slimmer.cli import main
from slimmer.stores.engine import reader as daemon
daemon._readable = lambda *_: None
sys.exit(main())
"""
API_ALONE = [sys.executable, "-c", WITHOUT_FOLDERS, *INSPECT[3:]]
Result = tuple[float, int]


def measured(argv: list[str], cache: str = "") -> Result:
    """Seconds on the clock, and the peak of memory in bytes, of one process."""
    environment = os.environ | {"PYTHONPATH": str(ROOT), "SLIMMER_CACHE_DIR": cache}
    begin = time.perf_counter()
    process = subprocess.Popen(argv, stdout=subprocess.DEVNULL, env=environment)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"{argv} failed with {process.returncode}")
    return time.perf_counter() - begin, usage.ru_maxrss * 1024


def table(contenders: dict[str, Callable[[], Result]], rounds: int) -> None:
    """Run all in turns; the first is what the others are measured by."""
    results: dict[str, list[Result]] = {name: [] for name in contenders}
    for _ in range(rounds):
        for name, run in contenders.items():
            results[name].append(run())
    floor = min(seconds for seconds, _ in next(iter(results.values())))
    print(f"{'':44} {'best':>9} {'ratio':>8} {'memory':>8}")
    for name, result in results.items():
        best = min(seconds for seconds, _ in result)
        memory = max(peak for _, peak in result)
        print(f"{name:44} {best:7.2f} s {best / floor:8.4f} {memory / 1e6:5.0f} MB")


def engine(name: str) -> None:
    """An engine's image by each route against a full export."""
    with tempfile.TemporaryDirectory() as cache:
        fresh = [f"docker:{name}", "--no-cache"]
        kept = [*API_ALONE, f"docker:{name}"]
        save = ["sh", "-c", f"docker save {name} | cat >/dev/null"]
        measured(kept, cache)
        contenders = {
            "slimmer inspect, engine's API alone": lambda: measured([*API_ALONE, *fresh]),
            "slimmer inspect, engine's folders": lambda: measured([*INSPECT, *fresh]),
            "slimmer inspect, a second time": lambda: measured(kept, cache),
        }
        # Once is enough for what takes a minute.
        once = measured(save)
        table({"docker save | cat >/dev/null": lambda: once} | contenders, 5)


def layout(folder: str) -> None:
    """A layout with gzip layers against igzip."""
    [entry] = json.loads(Path(folder, "index.json").read_text())["manifests"]
    blobs = Path(folder, "blobs", "sha256")
    manifest = json.loads((blobs / entry["digest"][7:]).read_text())
    paths = [str(blobs / layer["digest"][7:]) for layer in manifest["layers"]]
    for path in paths:  # a warm page cache for both
        subprocess.run(["cat", path], stdout=subprocess.DEVNULL, check=True)
    each = " ; ".join(f"igzip -dc < {path}" for path in paths)
    table(
        {
            "igzip -dc of each blob": lambda: measured(["sh", "-c", each]),
            "slimmer inspect": lambda: measured([*INSPECT, "--no-cache", f"oci:{folder}"]),
        },
        5,
    )


def entries() -> None:
    """Images of ten thousand to a million files."""
    from tiny import oci

    print(f"{'entries':>10} {'best':>9} {'per entry':>11} {'memory':>8}")
    for count in (10_000, 30_000, 100_000, 300_000, 1_000_000):
        with tempfile.TemporaryDirectory() as place:
            buffer = io.BytesIO()
            with tarfile.open(fileobj=buffer, mode="w", format=tarfile.GNU_FORMAT) as tar:
                for number in range(count):
                    member = tarfile.TarInfo(f"srv/{number // 1000:04}/{number:07}.txt")
                    member.size = 10
                    tar.addfile(member, io.BytesIO(b"0123456789"))
                    tar.members.clear()
            folder = oci([buffer.getvalue()], place)
            del buffer
            argv = [*INSPECT, "--no-cache", f"oci:{folder}"]
            results = [measured(argv) for _ in range(3)]
            best = min(seconds for seconds, _ in results)
            memory = max(peak for _, peak in results)
            print(f"{count:10,} {best:7.2f} s {best / count * 1e6:8.1f} µs {memory / 1e6:5.0f} MB")


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["engine", name]:
            engine(name)
        case ["layout", folder]:
            layout(folder)
        case ["entries"]:
            entries()
        case _:
            sys.exit(__doc__)
