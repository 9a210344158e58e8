"""Time engine to engine with things removed, against `docker save` of the input and `docker load`
of the output.

    python tests/benchmarks/rewrite_engine.py IMAGE FOLDER

All within one run, one after the other; FOLDER needs room for a copy of the image, the engine for
two more. The table says where slimmer's time goes; most of it is the engine's own.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

LIMIT = 1.1
TAG = "slimmer-benchmark:out"
ROOT = Path(__file__).parents[2]
SLIM = """
import json, os, sys, time
begin = time.perf_counter()
from slimmer import stores
from slimmer.edits.changes import Changes
from slimmer.image import Digest
from slimmer.evidence import Evidence
from slimmer.index import Index
from slimmer.rewrite import rewritten
from slimmer.stores.engine import writer as daemon_writer
environment = dict(os.environ)
image = stores.open("docker:" + sys.argv[1], environment=environment)
index = Index.scan(image, Evidence([]))
scanned = time.perf_counter()
places = (b"/tests/", b"/test/", b"usr/share/doc/", b"usr/share/man/", b"/.cache/", b"var/cache/")
gone = [path for path in index.visible if any(place in path for place in places)]
dropped = [(number, hidden.header.start) for number, hidden in index.droppable()]
draft = rewritten(image, Changes.of(index, gone, dropped), Digest.of(b"benchmark"), "benchmark")
planned = time.perf_counter()
made = 0.0
sent = planned
archive = daemon_writer._Loading._archive

def timed(self):
    global made, sent
    chunks = archive(self)
    while True:
        at = time.perf_counter()
        chunk = next(chunks, None)
        sent = time.perf_counter()
        made += sent - at
        if chunk is None:
            return
        yield chunk

daemon_writer._Loading._archive = timed
written = stores.write(draft, "docker:" + sys.argv[2], environment=environment)
end = time.perf_counter()
print(json.dumps({
    "open and scan": scanned - begin,
    "plan": planned - scanned,
    "read, edit and hash, where the engine had to wait": made,
    "engine takes the bytes and writes its copy": sent - planned - made,
    "engine unpacks the layers": end - sent,
    "bytes sent": written.stored,
    "route": image.route,
}))
"""


def timed(*argv: str) -> float:
    begin = time.perf_counter()
    subprocess.run(argv, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - begin


def main(image: str, folder: str) -> None:
    file = Path(folder) / "benchmark.tar"
    try:
        begin = time.perf_counter()
        said = subprocess.run(
            [sys.executable, "-c", SLIM, image, TAG],
            check=True,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
        ).stdout
        ours = time.perf_counter() - begin
        phases = json.loads(said)
        route = phases.pop("route")
        print(f"slimmer, by {route}: {phases.pop('bytes sent') / 1e9:.2f} GB sent")
        for name, seconds in phases.items():
            print(f"  {name:52} {seconds:7.1f} s")
        print(f"  {'all':52} {ours:7.1f} s", flush=True)
        save = timed("docker", "save", "-o", str(file), image)
        print(f"docker save of the input  {save:7.1f} s", flush=True)
        file.unlink()
        timed("docker", "save", "-o", str(file), TAG)
        timed("docker", "rmi", TAG)
        load = timed("docker", "load", "-i", str(file))
        print(f"docker load of the output {load:7.1f} s")
    finally:
        file.unlink(missing_ok=True)
        subprocess.run(["docker", "rmi", TAG], check=False, capture_output=True)
    ratio = ours / (save + load)
    print(f"{ratio:.2f} times docker's own save and load (at most {LIMIT})")
    sys.exit(ratio > LIMIT)


if __name__ == "__main__":
    main(*sys.argv[1:])
