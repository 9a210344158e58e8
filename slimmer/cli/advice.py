"""What would bring an image back under its limits: the policies' ladders, and what to type."""

from __future__ import annotations

import shlex
from argparse import Namespace
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from slimmer.cli import plan as planning
from slimmer.cli import settings

if TYPE_CHECKING:
    from slimmer.cli.sight import Sight
    from slimmer.cli.terminal import Rim
    from slimmer.gate.judge import Gate, Ladder, Ruling
    from slimmer.plan.steps import Metric
    from slimmer.policy import Policy, Safety
    from slimmer.report.comparison import Comparison
    from slimmer.report.report import Report

LADDER = ("safe", "balanced", "aggressive")
"""Shipped policies that are tried one after the other, until one fits."""


def given(gate: Gate, sight: Sight, options: Namespace, rim: Rim, image: str) -> Gate:
    """The gate with what would help, where something is over."""
    from slimmer.gate.limits import size_argument

    ruling = gate.ruling
    notes = [*gate.notes]
    command = ""
    aim = _aim(ruling, gate.comparison)
    if aim is not None:
        metric, maximum = aim
        gate = replace(gate, ladders=_ladders(metric, maximum, sight, options, rim))
        best = gate.best
        if best is not None and best.fits:
            wanted = ["--max", size_argument(maximum)]
            if metric != "unpacked":
                wanted += ["--metric", metric]
            command = _command(image, wanted, best.policy, options)
        elif best is not None:
            notes.append(f"no policy gets there; {best.policy} comes closest")
            notes += _levers(gate.report, options)
    elif any(judgement.limit.bounds == "hidden" for judgement in ruling.broken):
        command = _command(image, [], "safe", options)
    if any(judgement.limit.target == "packed" for judgement in ruling.broken):
        notes.append(
            "what a plan saves is known unpacked; of packed bytes only once the image is written:"
            " slimmer slim IMAGE -o oci:FOLDER:TAG, then slimmer budget oci:FOLDER:TAG"
        )
    return replace(gate, command=command, notes=tuple(notes))


def _aim(ruling: Ruling, comparison: Comparison | None) -> tuple[Metric, int] | None:
    """What a plan has to reach: the metric that is most over, and the least that it may be."""
    aims: dict[Metric, tuple[int, int]] = {}
    for judgement in ruling.broken:
        limit = judgement.limit
        metric = limit.target
        if limit.bounds not in ("image", "growth") or metric not in ("unpacked", "rootfs"):
            continue
        known: Metric = "unpacked" if metric == "unpacked" else "rootfs"
        maximum = judgement.maximum
        if limit.bounds == "growth" and comparison is not None:
            before: int = getattr(comparison.before, known)
            maximum += before
        lowest, over = aims.get(known, (maximum, 0))
        aims[known] = (min(lowest, maximum), max(over, judgement.over))
    if not aims:
        return None
    metric = max(aims, key=lambda metric: (aims[metric][1], metric))
    return metric, aims[metric][0]


def _ladders(
    metric: Metric, maximum: int, sight: Sight, options: Namespace, rim: Rim
) -> tuple[Ladder, ...]:
    """What the policies come to, least risky first, until one fits; kept for the next run."""
    from slimmer.gate.judge import Ladder
    from slimmer.plan.steps import Budget
    from slimmer.policy import Safety, find, shipped

    project = settings.load(options)
    named = options.policy or project.policy
    names = [name for name in LADDER if (shipped() / f"{name}.toml").is_file()]
    if named in names:
        names = names[names.index(named) :]
    elif named:
        own = planning.chosen(options).safety
        names = [named, *(name for name in names if find(name, "").safety > own)]
    accept: Safety | None = Safety.parse(options.accept, "--accept") if options.accept else None
    ladders: list[Ladder] = []
    planners: list[planning.Planner] = []  # made only where the cache does not know
    for name in names:
        # What the settings name is found beside them, what the command line names here.
        asked = options.policy if name == named else name
        policy = planning.chosen(Namespace(**{**vars(options), "policy": asked}))

        def make(policy: Policy = policy, name: str = name) -> str:
            planner = planners[0] if planners else planning.Planner(sight.looked, rim)
            planners[:] = [planner]
            plan = planner.plan(policy, Budget(maximum, metric), accept)
            return Ladder.of(plan, name).to_json()

        # Which wheel a swap finds depends on more than the image.
        asks = any(rule.action == "swap" for rule in policy.rules)
        question = ("ladder", repr(policy), accept, metric, maximum, name)
        text = make() if asks and options.swap else sight.kept(question, make)
        ladders.append(Ladder.read(text))
        if ladders[-1].fits:
            break
    return tuple(ladders)


def _levers(report: Report, options: Namespace) -> list[str]:
    """What the user could say that no policy knows."""
    from slimmer.units import size_text

    told = []
    device_code = report.categories.get("device code", 0)
    if device_code and not options.gpu:
        told.append(
            f"{size_text(device_code)} are device code: --gpu sm_90 lets go what other GPUs need,"
            " --gpu none all of it"
        )
    if device_code and not options.swap and options.gpu in (None, "none"):
        told.append("where no GPU is used, --swap torch=cpu replaces the CUDA build as a whole")
    return told


def _command(image: str, wanted: list[str], policy: str, options: Namespace) -> str:
    """What to type to get an image that fits."""
    from slimmer.names import one_line

    words = ["slimmer", "slim", image, *wanted, "--policy", policy]
    for option in ("accept", "gpu", "gpu_mode", "index_url", "settings", "platform"):
        value = getattr(options, option)
        if value:
            words += ["--" + option.replace("_", "-"), value]
    for option in ("keep", "swap", "find_links"):
        for value in getattr(options, option):
            words += ["--" + option.replace("_", "-"), value]
    return one_line(shlex.join([*words, *_target(image)]))


def _target(image: str) -> list[str]:
    """Where the slim image goes: beside the one it is made of."""
    path = Path(image)
    if path.is_file():
        return ["-o", str(path.with_name(f"{path.stem}-slim.tar"))]
    if path.is_dir() or image.startswith(("oci:", "oci-archive:", "docker-archive:")):
        return ["-o", "oci:slim:latest"]
    name = image.partition(":")[2] if image.startswith(("docker:", "podman:")) else image
    name = name.partition("@")[0]
    repository, colon, tag = name.rpartition(":")
    if colon and "/" not in tag:
        return ["-t", f"{repository}:{tag}-slim"]
    return ["-t", f"{name}:slim"]
