"""Time `slimmer inspect` on an archive against Python's tarfile walking the same headers.

    python tests/benchmarks/inspect_archive.py reference.tar

Cold processes, one after the other in turns, so that both meet the same machine; the page cache is
warmed first. The best of the rounds counts: whatever else runs only ever adds to a time.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROUNDS = 5
WALK = """
import sys, tarfile
with tarfile.open(sys.argv[1]) as archive:
    for member in archive:
        if member.isfile() and member.name.endswith("layer.tar"):
            with tarfile.open(fileobj=archive.extractfile(member)) as layer:
                for _ in layer:
                    pass
"""
ROOT = Path(__file__).parents[2]


def measured(argv: list[str], cache: str) -> tuple[float, int]:
    """Seconds on the clock, and the peak of memory in bytes, of one process."""
    begin = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, *argv],
        stdout=subprocess.DEVNULL,
        env=os.environ | {"PYTHONPATH": str(ROOT), "SLIMMER_CACHE_DIR": cache},
    )
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"{argv} failed")
    return time.perf_counter() - begin, usage.ru_maxrss * 1024


def main(archive: str) -> None:
    inspect = ["-m", "slimmer", "inspect", archive, "--format", "json"]
    contenders = {
        "tarfile walks the headers": ["-c", WALK, archive],
        "slimmer inspect --no-cache": [*inspect, "--no-cache"],
        "slimmer inspect, the second time": inspect,
    }
    results: dict[str, list[tuple[float, int]]] = {name: [] for name in contenders}
    with tempfile.TemporaryDirectory() as cache:
        for number in range(ROUNDS + 1):
            for name, argv in contenders.items():
                result = measured(argv, cache)
                if number:  # the first round warms the page cache and fills slimmer's own
                    results[name].append(result)
    print(f"{'':34} {'best':>7} {'median':>7} {'memory':>8}")
    for name, rounds in results.items():
        times = sorted(seconds for seconds, _ in rounds)
        memory = max(size for _, size in rounds) / 1e6
        print(f"{name:34} {times[0]:5.2f} s {times[len(times) // 2]:5.2f} s {memory:5.0f} MB")


if __name__ == "__main__":
    main(sys.argv[1])
