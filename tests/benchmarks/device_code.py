"""Time and memory to cut one library to one GPU, against copying and hashing the same file.

    python tests/benchmarks/device_code.py PATH/TO/libtorch_cuda.so [--gpu sm_90]

Goal: at most 3 times the copy (with SHA-256, as a layer is written), at most 300 MB of memory.
Both are measured in the same run, the copy first, so that both read from the page cache. Exits
with 1 where a goal is missed.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import resource
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).parents[2]))

from slimmer.actions.device_code import prune
from slimmer.elf.fatbin import parse_gpus
from slimmer.splice import CHUNK, stream

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

GOAL_TIME, GOAL_MEMORY = 3.0, 300e6


def copied(path: Path) -> Iterator[bytes]:
    with path.open("rb") as source:
        while chunk := source.read(CHUNK):
            yield chunk


def pruned(path: Path, gpus: str) -> Iterator[bytes]:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        plan = prune(
            lambda offset, length: os.pread(descriptor, length, offset),
            path.stat().st_size,
            parse_gpus(gpus),
        )
    finally:
        os.close(descriptor)
    with path.open("rb") as source:
        yield from stream(source, plan.splice)


def measured(chunks: Iterable[bytes], folder: Path) -> tuple[float, int]:
    """Seconds and bytes to write and hash the chunks."""
    started = time.perf_counter()
    digest = hashlib.sha256()
    written = 0
    with tempfile.TemporaryFile(dir=folder) as sink:
        for chunk in chunks:
            digest.update(chunk)
            written += sink.write(chunk)
    return time.perf_counter() - started, written


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("library", type=Path)
    parser.add_argument("--gpu", default="sm_90")
    options = parser.parse_args()
    library: Path = options.library
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        measured(copied(library), folder)
        copy, size = measured(copied(library), folder)
        base = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        cut, left = measured(pruned(library, options.gpu), folder)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(f"copy and hash  {size / 1e6:9.1f} MB  {copy:6.2f} s")
    print(f"cut to {options.gpu:7} {left / 1e6:9.1f} MB  {cut:6.2f} s  {cut / copy:.2f} x")
    print(f"peak memory    {peak / 1e6:9.1f} MB  ({base / 1e6:.1f} MB before)")
    return int(cut > GOAL_TIME * copy or peak > GOAL_MEMORY)


if __name__ == "__main__":
    sys.exit(main())
