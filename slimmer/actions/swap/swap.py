"""Puts the CPU wheel of a distribution in the place of its CUDA build.

The wheel is of the same version, for the image's interpreter, C library and machine, and goes
into the same folders. What was there for CUDA alone leaves with the old build: by the dependency
graph as it is once the new wheel's own requirements are in it. Bytecode of the new files is not
made; Python compiles them when they are first imported, or each time where it may not write.

Where the wheel comes from: a file that was named, or whatever this host's pip finds by its own
configuration, with the links and the index that were given. torch's CPU builds are not on the
default index but on PyTorch's own index for the CPU, which the install page of pytorch.org names.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from slimmer.actions.swap.dependents import Forbidden, installed_in
from slimmer.actions.swap.replacement import (
    Family,
    Old,
    Replacement,
    SwapRequest,
    is_cuda,
    replacement,
    texts,
)
from slimmer.actions.swap.wheels import CUDA_NAME, Wheel, WheelError, Wheels
from slimmer.edits.changes import Changes
from slimmer.names import one_line, printable
from slimmer.plan.budget import PlanError
from slimmer.plan.proposals import in_doubt
from slimmer.plan.steps import Refusal, Step
from slimmer.policy import ActionName, Safety
from slimmer.units import size_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from slimmer.analysis.facts import Facts
    from slimmer.attribution import Owner
    from slimmer.plan.proposals import Ask
    from slimmer.plan.protection import Protection
    from slimmer.policy import Rule

FAMILIES = (
    # torchvision's and torchaudio's operators are registered by libraries that link torch's.
    Family("torch", "torch", "cpu", ("torchvision", "torchaudio")),
    Family("xgboost", "xgboost-cpu"),
    Family("tensorflow", "tensorflow-cpu"),
    Family("onnxruntime-gpu", "onnxruntime"),
)
_SHA256 = re.compile(r"[0-9a-fA-F]{64}").fullmatch
_PLUGIN = re.compile(r"jax-cuda\d+-(?:plugin|pjrt)").fullmatch
"""jax finds its CUDA back end in plugins, and goes to the CPU where there are none."""


def gpu_evidence(facts: Facts) -> tuple[str, ...]:
    """What in an image says that it is meant to meet a GPU; empty where nothing does."""
    found: list[str] = []
    for name, value in facts.index.image.config.environment:
        meets = name.startswith("NVIDIA_") and value not in ("", "void", "none")
        if meets or name in ("CUDA_VERSION", "CUDA_HOME"):
            found.append(f"{name}={value}")
    found += [
        str(claim.owner)
        for claim in facts.ledger.claims
        if claim.owner.kind in ("deb", "rpm", "conda")
        and re.match(r"(?:cuda-|libcudnn|libnccl|libcublas|cudatoolkit)", claim.owner.name)
    ]
    return tuple(one_line(text)[:80] for text in found)


@dataclass(frozen=True, slots=True)
class SwapWheel:
    """One step for each CUDA build, with everything that leaves with it.

    Options of the rule: `swaps`, a list of `NAME=cpu` or `NAME=FILE`, for what the user asks;
    `gpus = "none"`, for which every CUDA build is swapped; `find_links` and `index_url`, where to
    look beside pip's own configuration; `strip`, to leave symbol tables of the new libraries out;
    `exclude`, globs of paths that are not to be installed.

    Without `swaps` and `gpus` a swap is proposed as risky, if nothing in the image says that it is
    to meet a GPU and the wheel is at hand: no index is asked for what nobody asked for.
    """

    name: str = ActionName.SWAP
    find_links: tuple[str, ...] = ()
    """Where `restore` looks for wheels beside pip's own configuration."""
    index_url: str | None = None
    wheels: Wheels = field(default_factory=Wheels)

    def propose(
        self, facts: Facts, protection: Protection, rule: Rule, ask: Ask
    ) -> Iterator[Step | Refusal]:
        options = dict(rule.options)
        asked = [SwapRequest.parse(text) for text in texts(options.get("swaps"))]
        for request in asked:
            if request.file and not Path(request.file).is_file():
                raise PlanError(
                    f"there is no wheel {request.file}",
                    hint="--swap NAME=cpu finds one; --swap NAME=FILE.whl takes that file",
                )
        unused = set(asked)
        told = bool(asked) or options.get("gpus") == "none"
        if not told and (options.get("gpus") or gpu_evidence(facts)):
            return  # a GPU will be met, the user or the image says
        wheels = replace(
            self.wheels,
            find_links=(*self.find_links, *texts(options.get("find_links"))),
            index_url=options.get("index_url") or self.index_url,
            offline=not told,
        )
        for olds in _candidates(facts, asked, everything=options.get("gpus") == "none"):
            unused.difference_update(old.request for old in olds)
            yield from _outcomes(protection, rule, ask, olds, wheels, told=told)
        for request in sorted(unused):
            raise PlanError(
                f"there is no {request.name} to swap in this image"
                if _known(facts, request.name)
                else f"no CPU build of {request.name} is known",
                hint="the known ones: "
                + ", ".join([*(family.name for family in FAMILIES), "jax"])
                + "; of another one the wheel can be given: --swap NAME=FILE.whl",
            )

    def restore(self, facts: Facts, protection: Protection, step: Step) -> Step:
        """The step with the wheels of its plan found again, by name and hash."""
        options = dict(step.options)
        wheels = replace(
            self.wheels,
            find_links=(*self.find_links, *self.wheels.find_links),
            index_url=self.index_url or self.wheels.index_url,
        )
        entries = [options, *options.get("companions", ())]
        olds = [_old_again(facts, entry, step.target) for entry in entries]
        try:
            swap = replacement(protection, olds, wheels, options)
        except Forbidden as no:
            raise PlanError(
                f"{step.target} cannot be swapped any more: {no.evidence}",
                hint="give the folder that holds the wheel of the plan: --find-links FOLDER",
            ) from None
        added = {addition.header.path for addition in swap.additions}
        removes = dict.fromkeys(step.removes)
        removes.update(dict.fromkeys(path for path in swap.removes if path in added))
        return replace(step, removes=tuple(removes), additions=swap.additions)


def _known(facts: Facts, name: str) -> bool:
    return (
        name == "jax"
        or any(family.name == name for family in FAMILIES)
        or bool(facts.graph.find(f"pip:{name}"))
    )


def _candidates(
    facts: Facts, asked: Sequence[SwapRequest], *, everything: bool
) -> Iterator[list[Old]]:
    """What is to be swapped together: a distribution with its companions in the same folder."""
    requests = {request.name: request for request in asked}
    families = {family.name: family for family in FAMILIES}
    proposed = everything or not asked
    plugins: dict[bytes, list[Old]] = {}
    together = {
        companion
        for family in FAMILIES
        if proposed or family.name in requests
        for companion in family.companions
    }
    for claim in installed_in(facts):
        name = claim.owner.name
        if name in together:
            continue
        request = requests.get(name)
        if _PLUGIN(name):
            if proposed or "jax" in requests or request:
                swap = Old(
                    claim, Family(name, ""), request or requests.get("jax", SwapRequest(name))
                )
                plugins.setdefault(claim.site, []).append(swap)
            continue
        family = families.get(name)
        if request is None and (family is None or not proposed or not is_cuda(facts, claim)):
            continue
        if family is None:
            if request is None or not request.file:
                continue
            family = Family(name, name)
        olds = [Old(claim, family, request or SwapRequest(name))]
        for other in installed_in(facts):
            companion = other.owner.name
            if companion in family.companions and other.site == claim.site:
                if other.owner.version.endswith(f"+{family.local}"):
                    continue
                olds.append(
                    Old(
                        other,
                        Family(companion, companion, family.local),
                        requests.get(companion, SwapRequest(companion)),
                    )
                )
        yield olds
    yield from plugins.values()


def _outcomes(
    protection: Protection,
    rule: Rule,
    ask: Ask,
    olds: Sequence[Old],
    wheels: Wheels,
    *,
    told: bool,
) -> Iterator[Step | Refusal]:
    """The step, or what forbids it; nothing where a guard holds a file that would leave."""
    facts = protection.facts
    old = olds[0].claim
    several = sum(claim.owner == old.owner for claim in installed_in(facts)) > 1
    target = printable(str(old.owner)) + (f" in {printable(old.site)}" if several else "")
    options = dict(rule.options)
    try:
        swap = replacement(protection, olds, wheels, options)
    except Forbidden as no:
        yield Refusal(rule.name, target, no.guard, one_line(no.evidence), _at_stake(facts, olds))
        return
    except WheelError as error:
        evidence = error.message + (f" ({error.hint})" if error.hint else "")
        yield Refusal(rule.name, target, "wheel", one_line(evidence), _at_stake(facts, olds))
        return
    # What the new wheel puts in its place is there as before.
    added = {addition.header.path for addition in swap.additions}
    gone = [path for path in swap.removes if path not in added]
    asked = ask(gone, {target: gone})
    if asked.held:
        return
    yield in_doubt(_step(facts, rule, target, swap, several=several, told=told), asked.doubts(gone))


def _step(
    facts: Facts, rule: Rule, target: str, swap: Replacement, *, several: bool, told: bool
) -> Step:
    """A swap that nothing forbids, with what a plan file has to say of it."""
    changes = Changes.of(facts.index, swap.removes, additions=swap.additions, stays=facts.stays)
    size_of = facts.ledger.size_of
    options = dict(rule.options)
    entries = [_entry(one, wheel, several=several) for one, wheel in swap.wheels]
    chosen: dict[str, Any] = dict(entries[0])
    if len(entries) > 1:
        chosen["companions"] = entries[1:]
    chosen |= {key: options[key] for key in ("strip", "exclude") if options.get(key)}
    return Step(
        rule.name,
        rule.action,
        target,
        Safety.CAUTION if told else Safety.RISKY,
        rule.why,
        _told(facts, swap),
        removes=swap.removes,
        additions=swap.additions,
        unpacked=facts.index.unpacked - changes.after.unpacked,
        rootfs=facts.index.rootfs - changes.after.rootfs,
        disturbs=sum(size_of.get(path, 0) for path in swap.removes),
        options=tuple(sorted(chosen.items())),
    )


def _entry(old: Old, wheel: Wheel | None, *, several: bool) -> dict[str, str]:
    """What a plan file says of one distribution that is swapped."""
    entry = {"distribution": old.claim.owner.name, "version": old.claim.owner.version}
    if several:
        entry["site"] = printable(old.claim.site)
    if wheel is not None:
        entry |= {
            "to": f"{wheel.name} {wheel.version}",
            "wheel": wheel.file_name,
            "sha256": wheel.sha256,
        }
    return entry


def _told(facts: Facts, swap: Replacement) -> str:
    came = [wheel.file_name for _, wheel in swap.wheels if wheel is not None]
    size_of = facts.ledger.size_of
    parts: list[str] = []
    if came:
        parts.append(f"{', '.join(came)} bring {size_text(swap.added)}")
    parts.append(f"{size_text(sum(size_of.get(path, 0) for path in swap.removes))} leave")
    if swap.leaves:
        first = sorted(swap.leaves, key=lambda owner: -facts.graph.distributions[owner].size)
        rest = len(first) - 3
        parts[-1] += f", with {', '.join(map(str, first[:3]))}" + (
            f" and {rest} more that only CUDA needs" if rest > 0 else " that only CUDA needs"
        )
    if came:
        parts.append("the first import compiles its bytecode")
    if swap.trimmed:
        parts.append(f"without {size_text(swap.trimmed)} of symbols")
    if swap.left_out:
        parts.append(f"{swap.left_out} files of the wheel are left out")
    return one_line("; ".join([*parts, *swap.stays]))


def _at_stake(facts: Facts, olds: Iterable[Old]) -> int:
    """Bytes that a refused swap would have set free, without what would have come."""
    owners: set[Owner] = set()
    for old in olds:
        owners.add(old.claim.owner)
        owners.update(
            owner for owner in facts.graph.leaves_with(old.claim.owner) if CUDA_NAME(owner.name)
        )
    return sum(facts.graph.distributions[owner].size for owner in owners)


def _old_again(facts: Facts, entry: Mapping[str, Any], target: str) -> Old:
    """The distribution that an entry of a plan file is about."""
    name, version = str(entry.get("distribution")), str(entry.get("version"))
    site = entry.get("site")
    for claim in installed_in(facts):
        if (claim.owner.name, claim.owner.version) == (name, version) and site in (
            None,
            printable(claim.site),
        ):
            told = str(entry.get("to", ""))
            cpu = told.partition(" ")[0]
            sha256 = str(entry.get("sha256", ""))
            # Whoever writes a plan chooses among builds of this distribution, not what to install.
            builds = {name, *(family.cpu for family in FAMILIES if family.name == name)}
            if cpu and (cpu not in builds or not _SHA256(sha256)):
                raise PlanError(
                    f"the step {target} names {printable(told)!r:.80}, no build of {name} with its"
                    " SHA-256",
                    hint="make the plan again: slimmer plan IMAGE -o plan.json",
                )
            return Old(
                claim,
                Family(name, cpu, told.partition("+")[2]),
                SwapRequest(name, "", sha256),
            )
    raise PlanError(f"the image has no {name} {version}, which the step {target} is about")
