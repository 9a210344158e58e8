"""Steps that make ELF files smaller: what they share, whichever part of the file leaves."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from slimmer.actions import device_code, symbols
from slimmer.categories import Category
from slimmer.elf.fatbin import parse_gpus
from slimmer.elf.file import ElfError
from slimmer.plan.budget import PlanError
from slimmer.plan.proposals import in_doubt
from slimmer.plan.steps import Refusal, Rewrite, Step
from slimmer.policy import ActionName
from slimmer.tar.reading import FILE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from slimmer.actions.device_code import Mode, Pruned
    from slimmer.analysis.facts import Facts
    from slimmer.attribution import Owner
    from slimmer.elf.fatbin import Gpu
    from slimmer.image import Read
    from slimmer.plan.proposals import Ask
    from slimmer.plan.protection import Protection
    from slimmer.policy import Rule
    from slimmer.splice import Splice

SMALLEST = 16 << 10
"""Files below this many bytes have nothing to give."""
BINARIES = (Category.NATIVE, Category.PROGRAMS, Category.TESTS)


def _candidates(protection: Protection, rule: Rule, smallest: int) -> list[bytes]:
    facts = protection.facts
    ledger = facts.ledger
    return [
        path
        for path in protection.selected(rule.selector)
        if ledger.category_of[path] in BINARIES
        and (header := facts.index.visible[path]).kind is FILE
        and header.size >= smallest
    ]


@dataclass(frozen=True, slots=True)
class CutDeviceCode:
    """One step for each owner of libraries with GPU code, for `options = { gpus = "sm_90" }`.

    Proposes nothing where no GPU is named: which ones the image will meet, nobody but its user
    can know.
    """

    name: str = ActionName.DEVICE_CODE

    def propose(
        self, facts: Facts, protection: Protection, rule: Rule, ask: Ask
    ) -> Iterator[Step | Refusal]:
        options = dict(rule.options)
        if not options.get("gpus"):
            return
        found: dict[tuple[Owner, bool], list[tuple[Rewrite, Pruned]]] = {}
        cut = _cutter(options)
        asked = ask(_candidates(protection, rule, 1 << 20))
        for path, read in facts.readers((*asked.free, *asked.doubted)):
            size = facts.index.visible[path].size
            try:
                pruned = cut(read, size)
            except ElfError:
                continue
            if pruned.left_alone:
                name = path.decode("utf-8", "surrogateescape")
                yield Refusal(rule.name, name, "understood", _left_alone(pruned), 0)
            if pruned.splice.size < size or (
                options.get("mode") == "zero" and pruned.before_by_arch != pruned.after_by_arch
            ):
                rewrite = Rewrite(
                    path, pruned.splice, size, lambda read, size: cut(read, size).splice
                )
                share = facts.ledger.owner(path), path in asked.doubted
                found.setdefault(share, []).append((rewrite, pruned))
        for (owner, _), cuts in found.items():
            size = sum(rewrite.before - rewrite.splice.size for rewrite, _ in cuts)
            step = Step(
                rule.name,
                rule.action,
                str(owner),
                rule.safety,
                rule.why,
                _told([pruned for _, pruned in cuts]),
                rewrites=tuple(rewrite for rewrite, _ in cuts),
                unpacked=size,
                rootfs=size,
                disturbs=sum(rewrite.before for rewrite, _ in cuts),
                options=tuple(sorted(options.items())),
            )
            yield in_doubt(step, asked.doubts(rewrite.path for rewrite, _ in cuts))

    def restore(self, facts: Facts, protection: Protection, step: Step) -> Step:
        cut = _cutter(dict(step.options))
        return _restored(facts, step, lambda read, size: cut(read, size).splice)


def _cutter(options: dict[str, Any]) -> Callable[[Read, int], Pruned]:
    gpus: tuple[Gpu, ...] = tuple(parse_gpus(str(options.get("gpus", ""))))
    mode: Mode = "zero" if options.get("mode") == "zero" else "shrink"
    return lambda read, size: device_code.prune(read, size, gpus, mode)


def _left_alone(pruned: Pruned) -> str:
    more = len(pruned.left_alone) - 3
    return "; ".join(pruned.left_alone[:3]) + (f" and {more} more" if more > 0 else "")


def _told(cuts: Iterable[Pruned]) -> str:
    """What there is and what stays, by architecture, largest first."""
    before: dict[str, int] = {}
    after: dict[str, int] = {}
    unserved: set[str] | None = None
    for pruned in cuts:
        for arch, size in pruned.before_by_arch.items():
            before[arch] = before.get(arch, 0) + size
        for arch, size in pruned.after_by_arch.items():
            after[arch] = after.get(arch, 0) + size
        names = set(pruned.not_served)
        unserved = names if unserved is None else unserved & names
    ranked = sorted(before, key=lambda arch: (-before[arch], arch))
    told = ", ".join(
        f"{arch} {before[arch] / 1e6:.0f}"
        + ("" if after.get(arch) == before[arch] else f"→{after.get(arch, 0) / 1e6:.0f}")
        for arch in ranked[:8]
    )
    warning = f"; no code at all for {', '.join(sorted(unserved))}" if unserved else ""
    return f"MB by architecture: {told}{warning}"


@dataclass(frozen=True, slots=True)
class StripSymbols:
    """One step for each owner of ELF files with symbol tables or debug information."""

    name: str = ActionName.SYMBOLS

    def propose(self, facts: Facts, protection: Protection, rule: Rule, ask: Ask) -> Iterator[Step]:
        found: dict[tuple[Owner, bool], list[Rewrite]] = {}
        asked = ask(_candidates(protection, rule, SMALLEST))
        for path, read in facts.readers((*asked.free, *asked.doubted)):
            size = facts.index.visible[path].size
            splice = _stripped(read, size)
            if splice is not None:
                share = facts.ledger.owner(path), path in asked.doubted
                found.setdefault(share, []).append(Rewrite(path, splice, size, _stripped))
        for (owner, _), rewrites in found.items():
            saved = sum(rewrite.before - rewrite.splice.size for rewrite in rewrites)
            step = Step(
                rule.name,
                rule.action,
                str(owner),
                rule.safety,
                rule.why,
                f"{len(rewrites)} files",
                rewrites=tuple(rewrites),
                unpacked=saved,
                rootfs=saved,
                disturbs=sum(rewrite.before for rewrite in rewrites),
            )
            yield in_doubt(step, asked.doubts(rewrite.path for rewrite in rewrites))

    def restore(self, facts: Facts, protection: Protection, step: Step) -> Step:
        return _restored(facts, step, _stripped)


def _stripped(read: Read, size: int) -> Splice | None:
    try:
        return symbols.strip(read, size)
    except ElfError:
        return None


def _restored(facts: Facts, step: Step, make: Callable[[Read, int], Splice | None]) -> Step:
    """The step with its files' new contents worked out again."""
    found: dict[bytes, Rewrite] = {}
    for path, read in facts.readers(rewrite.path for rewrite in step.rewrites):
        size = facts.index.visible[path].size
        try:
            splice = make(read, size)
        except ElfError:
            splice = None
        if splice is None:
            raise PlanError(f"there is nothing to take from {path!r} any more")
        found[path] = Rewrite(path, splice, size, make)
    return replace(step, rewrites=tuple(found[rewrite.path] for rewrite in step.rewrites))
