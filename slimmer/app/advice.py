"""What would bring an image back under its limits: what the policies come to, and what to type."""

from __future__ import annotations

import shlex
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING

from slimmer.app.policies import policy_for, shipped_names

if TYPE_CHECKING:
    from slimmer.app.opened import OpenedImage
    from slimmer.app.options import BudgetOptions, PlanOptions
    from slimmer.app.planner import Planner
    from slimmer.gate.gate import Gate, Remedy
    from slimmer.gate.judge import Ruling
    from slimmer.plan.budget import Metric
    from slimmer.policy import Policy
    from slimmer.report.comparison import Comparison
    from slimmer.report.report import Report

POLICIES = ("safe", "balanced", "aggressive")
"""Shipped policies that are tried one after the other, until one fits."""


def with_advice(gate: Gate, planner: Planner, options: BudgetOptions) -> Gate:
    """The gate with what would help, where something is over."""
    from slimmer.gate.limits import size_argument

    ruling = gate.ruling
    notes = [*gate.notes]
    command = ""
    aim = _aim(ruling, gate.comparison)
    if aim is not None:
        metric, maximum = aim
        gate = replace(gate, remedies=_remedies(metric, maximum, planner, options.plan))
        best = gate.best
        if best is not None and best.fits:
            wanted = ["--max", size_argument(maximum)]
            if metric != "unpacked":
                wanted += ["--metric", metric]
            command = _command(planner.opened, wanted, best.policy, options.plan)
        elif best is not None:
            notes.append(f"no policy gets there; {best.policy} comes closest")
            notes += _unused(gate.report, options.plan)
    elif any(judgement.limit.bounds == "hidden" for judgement in ruling.broken):
        command = _command(planner.opened, [], "safe", options.plan)
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


def _remedies(
    metric: Metric, maximum: int, planner: Planner, options: PlanOptions
) -> tuple[Remedy, ...]:
    """What the policies come to, least risky first, until one fits; kept for the next run."""
    from slimmer.gate.gate import Remedy
    from slimmer.plan.budget import Budget
    from slimmer.policy import ActionName

    remedies: list[Remedy] = []
    for name, policy in _policies(options):

        def make(policy: Policy = policy, name: str = name) -> str:
            plan = planner.by_policy(policy, Budget(maximum, metric), options.accept)
            return Remedy.of(plan, name).to_json()

        # Which wheel a swap finds depends on more than the image.
        asks = any(rule.action == ActionName.SWAP for rule in policy.rules)
        question = ("remedy", _said(policy), options.accept, metric, maximum, name)
        text = make() if asks and options.swap else planner.opened.cached(question, make)
        remedies.append(Remedy.read(text))
        if remedies[-1].fits:
            break
    return tuple(remedies)


def _said(policy: Policy) -> str:
    """All that a policy says; its `repr` is short."""
    return repr(tuple(getattr(policy, field.name) for field in fields(policy)))


def _policies(options: PlanOptions) -> list[tuple[str, Policy]]:
    """The policies to try, with the names that they have on the command line."""
    from slimmer.policy import find

    named = options.policy or options.settings.policy
    names = [name for name in POLICIES if name in shipped_names()]
    if named in names:
        names = names[names.index(named) :]
    elif named:
        own = policy_for(options).safety
        names = [named, *(name for name in names if find(name, "").safety > own)]
    # What the settings name is found beside them, what the caller names in the working folder.
    return [
        (name, policy_for(options if name == named else replace(options, policy=name)))
        for name in names
    ]


def _unused(report: Report, options: PlanOptions) -> list[str]:
    """What the user could say that no policy knows."""
    from slimmer.units import size_text

    told = []
    device_code = report.categories.get("device code", 0)
    if device_code and not options.gpu:
        told.append(
            f"{size_text(device_code)} are device code: --gpu sm_90 lets go what other GPUs need,"
            " --gpu none all of it"
        )
    if device_code and not options.swap and options.gpu in ("", "none"):
        told.append("where no GPU is used, --swap torch=cpu replaces the CUDA build as a whole")
    return told


def _command(opened: OpenedImage, wanted: list[str], policy: str, options: PlanOptions) -> str:
    """What to type to get an image that fits."""
    from slimmer.names import one_line

    words = ["slimmer", "slim", opened.reference, *wanted, "--policy", policy]
    for option, value in (
        ("--accept", "" if options.accept is None else str(options.accept)),
        ("--gpu", options.gpu),
        ("--gpu-mode", options.gpu_mode),
        ("--index-url", options.index_url),
        ("--settings", options.settings.file),
        ("--platform", opened.context.platform),
    ):
        if value:
            words += [option, value]
    for option, values in (
        ("--keep", options.keep),
        ("--swap", options.swap),
        ("--find-links", options.find_links),
    ):
        for value in values:
            words += [option, value]
    return one_line(shlex.join([*words, *_target(opened.reference)]))


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
