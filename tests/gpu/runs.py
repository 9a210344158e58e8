"""Runs of `workload.py` over a site folder, and what two of them have in common."""

from __future__ import annotations

import json
import math
import os
import subprocess
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

WORKLOAD = Path(__file__).with_name("workload.py")
PATIENCE = 900
"""Seconds that one process may take."""
CLOSE = 1e-3
"""How far the norm of a tensor may lie from what it was, where the tensor itself was not the same
in two runs over the original."""
NOISE = 1.25
"""How many times its old median a new one may be."""


@dataclass(frozen=True, slots=True)
class Run:
    """What the workloads gave in one environment."""

    environment: Mapping[str, Any]
    outcomes: Mapping[str, Mapping[str, Any]]
    """By workload: `values`, `seconds` and `first`; or `error`; or `skipped`."""
    libraries: tuple[str, ...]
    """Paths of the shared libraries that the processes had mapped when they ended."""
    compiled: int = 0
    """Files that the driver wrote to its cache: PTX that it compiled for this GPU."""

    def worked(self, name: str) -> bool:
        return "values" in self.outcomes[name]

    def failed(self) -> dict[str, str]:
        """Error by workload."""
        return {name: each["error"] for name, each in self.outcomes.items() if "error" in each}


def measured(python: str, site: Path, names: Sequence[str] | None = None, *more: str) -> Run:
    """Run workloads, all without `names`, by an interpreter that takes its packages from `site`.

    A process that dies takes only the workload with it that was running; the rest is run by
    another. `more` are further arguments for workload.py.
    """
    left = listed(python) if names is None else list(names)
    asked = not left
    environment: dict[str, Any] = {}
    outcomes: dict[str, dict[str, Any]] = {}
    libraries: set[str] = set()
    with tempfile.TemporaryDirectory(prefix="slimmer-gpu-") as folder:
        while left or asked:
            asked = False
            arguments = [*more, *left] if left else [*more, "--environment"]
            lines, end = _ran(python, site, Path(folder), arguments)
            running = None
            for line in lines:
                environment = line.get("environment", environment)
                libraries.update(line.get("libraries", ()))
                running = line.get("started", running)
                if "name" in line:
                    outcomes[line.pop("name")] = line
            if running is not None and running not in outcomes:
                outcomes[running] = {"error": end}
            elif running is None:  # it did not come as far as the first one
                outcomes |= {name: {"error": end} for name in left}
            left = [name for name in left if name not in outcomes]
        compiled = sum(1 for path in Path(folder, "driver").rglob("*") if path.is_file())
    return Run(environment, outcomes, tuple(sorted(libraries)), compiled)


def listed(python: str) -> list[str]:
    """Every workload's name."""
    command = [python, str(WORKLOAD), "--list"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()


def _ran(
    python: str, site: Path, folder: Path, arguments: Iterable[str]
) -> tuple[list[dict[str, Any]], str]:
    """The lines of one process, and how it ended."""
    # What was compiled for one site must not serve another: caches begin empty.
    places = {
        "CUDA_CACHE_PATH": "driver",
        "TRITON_CACHE_DIR": "triton",
        "TORCHINDUCTOR_CACHE_DIR": "inductor",
        "PYTORCH_KERNEL_CACHE_PATH": "kernels",
        "TMPDIR": "tmp",
    }
    caches = {name: str(folder / place) for name, place in places.items()}
    for place in caches.values():
        Path(place).mkdir(exist_ok=True)
    command = [python, str(WORKLOAD), *arguments]
    variables = {
        **{name: value for name, value in os.environ.items() if not name.startswith("PYTHON")},
        **caches,
        "PYTHONPATH": str(site),
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONNOUSERSITE": "1",
        "CUDA_CACHE_DISABLE": "0",
        "CUDA_VISIBLE_DEVICES": os.environ.get("CUDA_VISIBLE_DEVICES", "0"),
    }
    out = folder / "out"
    with out.open("w+", encoding="utf-8") as lines, (folder / "err").open("w+b") as errors:
        try:
            code = subprocess.run(
                command, stdout=lines, stderr=errors, env=variables, timeout=PATIENCE
            ).returncode
            end = f"the process ended with {code}"
        except subprocess.TimeoutExpired:
            end = f"the process took more than {PATIENCE} s"
    return [_line(line) for line in out.read_text(encoding="utf-8").splitlines()], end


def _line(line: str) -> dict[str, Any]:
    try:
        found = json.loads(line)
    except ValueError:  # a process that was killed may end in the middle of a line
        return {}
    return found if isinstance(found, dict) else {}


def differences(before: Sequence[Run], after: Run) -> list[str]:
    """What `after` gives that no run of `before` gave, one line each; empty is what we want.

    A tensor that is the same in all runs of `before` has to be the same; of one that is not, the
    norm has to be close to one of theirs.
    """
    found: list[str] = []
    for name, outcome in after.outcomes.items():
        known = [run.outcomes[name] for run in before]
        plain = [_without_values(each) for each in known]
        if "values" not in outcome or not all("values" in each for each in known):
            if _without_values(outcome) not in plain:
                found.append(f"{name}: {_without_values(outcome)}, not {plain[0]}")
            continue
        keys = {key for each in (*known, outcome) for key in each["values"]}
        for key in sorted(keys):
            now = outcome["values"].get(key)
            then = [each["values"].get(key) for each in known]
            if now is None or None in then:
                found.append(f"{name}, {key}: is not there in every run")
            elif not _same(then, now):
                found.append(f"{name}, {key}: {now}, not {then[0]}")
    return found


def _without_values(outcome: Mapping[str, Any]) -> str:
    if "values" in outcome:
        return "it works"
    return f"skipped: {outcome['skipped']}" if "skipped" in outcome else f"{outcome['error']}"


def _same(then: Sequence[Mapping[str, Any]], now: Mapping[str, Any]) -> bool:
    known = {_identity(each) for each in then}
    if _identity(now) in known:
        return True
    return len(known) > 1 and any(
        (each["shape"], each["dtype"]) == (now["shape"], now["dtype"])
        and math.isclose(each["norm"], now["norm"], rel_tol=CLOSE)
        for each in then
    )


def _identity(value: Mapping[str, Any]) -> tuple[str, str, tuple[int, ...]]:
    return value["sha256"], value["dtype"], tuple(value["shape"])


def unsteady(runs: Sequence[Run]) -> list[str]:
    """Tensors that are not the same in all of these runs."""
    return sorted(
        f"{name}, {key}"
        for name in runs[0].outcomes
        if all(run.worked(name) for run in runs)
        for key in runs[0].outcomes[name]["values"]
        if len({_identity(run.outcomes[name]["values"][key]) for run in runs}) > 1
    )


def slower(before: Sequence[Run], after: Sequence[Run], limit: float = NOISE) -> dict[str, float]:
    """How many times as long a workload takes, where that is more than `limit`.

    Each is taken at its best of the runs: what else a machine does only ever makes it slower.
    """
    found: dict[str, float] = {}
    old, new = best(before), best(after)
    for name in sorted(old.keys() & new.keys()):
        ratio = new[name] / old[name]
        if ratio > limit:
            found[name] = round(ratio, 3)
    return found


def best(runs: Sequence[Run]) -> dict[str, float]:
    """The smallest median of each workload that worked, in seconds."""
    found: dict[str, float] = {}
    for run in runs:
        for name, outcome in run.outcomes.items():
            if "seconds" in outcome:
                found[name] = min(outcome["seconds"], found.get(name, math.inf))
    return found


def strangers(run: Run, site: Path, other: Path, names: Iterable[str]) -> list[str]:
    """Libraries that a run over `site` took from `other`, and those of these `names` (the files'
    own) that it took from anywhere else than `site`."""
    roots = tuple(f"{each}/" for each in {site, site.resolve()})
    outside = tuple(f"{each}/" for each in {other, other.resolve()})
    own = set(names)
    return [
        path
        for path in run.libraries
        if not path.startswith(roots) and (path.startswith(outside) or Path(path).name in own)
    ]


def without_place(run: Run) -> Run:
    """The run without what its site folder is called."""
    environment = {key: value for key, value in run.environment.items() if key != "from"}
    return replace(run, environment=environment)
