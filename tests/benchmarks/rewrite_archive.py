"""Time archive to archive with things removed, against the shell doing no more than it must.

    python tests/benchmarks/rewrite_archive.py reference.tar FOLDER

The shell reads as many bytes as the result has, hashes them (sha256) and writes them; both sync to
disk. In turns, each result deleted at once, so that FOLDER needs room for one copy. What leaves is
what any plan may take: hidden files, caches, folders of tests, docs; nearly every layer is touched.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

ROUNDS = 2
LIMIT = 1.3
MEMORY = 250 << 20
ROOT = Path(__file__).parents[2]
SHELL = 'head -c "$1" "$2" | tee "$3" | sha256sum >/dev/null && sync "$3"'
SLIM = """
import sys, time
begin = time.perf_counter()
from slimmer import stores
from slimmer.edits.changes import Changes
from slimmer.image import Digest
from slimmer.evidence import Evidence
from slimmer.index import Index
from slimmer.rewrite import rewritten
image = stores.open(sys.argv[1])
index = Index.scan(image, Evidence([]))
scanned = time.perf_counter()
places = (b"/tests/", b"/test/", b"usr/share/doc/", b"usr/share/man/", b"/.cache/", b"var/cache/")
gone = [path for path in index.visible if any(place in path for place in places)]
dropped = [(number, hidden.header.start) for number, hidden in index.droppable()]
draft = rewritten(image, Changes.of(index, gone, dropped), Digest.of(b"benchmark"), "benchmark")
planned = time.perf_counter()
written = stores.write(draft, "docker-archive:" + sys.argv[2])
end = time.perf_counter()
print(f"scan {scanned - begin:.1f} s, plan {planned - scanned:.1f} s, write {end - planned:.1f} s;"
      f" {written.reused} layers kept, {written.written} written anew")
"""


def measured(argv: list[str]) -> tuple[float, int, str]:
    """Seconds on the clock, the peak of memory in bytes, and what it said."""
    begin = time.perf_counter()
    process = subprocess.Popen(
        argv, stdout=subprocess.PIPE, text=True, env=os.environ | {"PYTHONPATH": str(ROOT)}
    )
    assert process.stdout is not None
    said = process.stdout.read().strip()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"{argv[:3]} failed")
    return time.perf_counter() - begin, usage.ru_maxrss * 1024, said


def main(archive: str, folder: str) -> None:
    out = Path(folder) / "benchmark.tar"
    ours: list[float] = []
    theirs: list[float] = []
    memory = 0
    try:
        for _ in range(ROUNDS):
            seconds, peak, said = measured([sys.executable, "-c", SLIM, archive, str(out)])
            ours.append(seconds)
            memory = max(memory, peak)
            size = out.stat().st_size
            out.unlink()
            print(f"slimmer {seconds:6.1f} s, {peak / 1e6:.0f} MB of memory: {said}", flush=True)
            seconds, _, _ = measured(["sh", "-c", SHELL, "sh", str(size), archive, str(out)])
            theirs.append(seconds)
            out.unlink()
            print(f"shell   {seconds:6.1f} s for {size / 1e9:.2f} GB", flush=True)
    finally:
        out.unlink(missing_ok=True)
    ratio = min(ours) / min(theirs)
    print(f"{ratio:.2f} times the shell (at most {LIMIT}), {memory / 1e6:.0f} MB (at most 250 MiB)")
    sys.exit(ratio > LIMIT or memory > MEMORY)


if __name__ == "__main__":
    main(*sys.argv[1:])
