"""Removes whole Python distributions: files, bytecode, scripts, metadata and licences.

A distribution leaves only if nothing that stays requires it, imports it, or needs a library of it.
With `options = { closure = true }` all that only it keeps leaves with it; `ignore = [globs]` names
sources whose imports do not count, such as those of a bootstrap that brings its own copy.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from slimmer.analysis.symlinks import dangling
from slimmer.names import printable
from slimmer.plan.budget import PlanError
from slimmer.plan.proposals import in_doubt
from slimmer.plan.steps import Refusal, Step
from slimmer.policy import ActionName, Globs
from slimmer.tar.reading import DIRECTORY

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping

    from slimmer.analysis.facts import Facts
    from slimmer.attribution import Claim, Owner
    from slimmer.plan.proposals import Ask, Asked
    from slimmer.plan.protection import Protection
    from slimmer.policy import Rule


@dataclass(frozen=True, slots=True)
class RemoveDistribution:
    """One step for each distribution, or for several that leave only together."""

    name: str = ActionName.REMOVE_DISTRIBUTION

    def propose(
        self, facts: Facts, protection: Protection, rule: Rule, ask: Ask
    ) -> Iterator[Step | Refusal]:
        if not rule.selector.owners:
            return  # nobody means all of them
        options = dict(rule.options)
        selected = _selected(facts, rule, closure=bool(options.get("closure")))
        ignored = Globs(options.get("ignore", ()))
        files = _files(facts, selected)
        leaving = set(selected)
        asked: Asked | None = None
        while leaving:
            denied = _held(protection, leaving, files, ignored)
            for owner, (guard, evidence) in sorted(denied.items()):
                size = facts.freed(files[owner])
                yield Refusal(rule.name, printable(str(owner)), guard, evidence, size)
            leaving -= denied.keys()
            if denied:
                continue
            asked = ask(
                (path for owner in sorted(leaving) for path in files[owner]),
                {printable(str(owner)): files[owner] for owner in leaving},
            )
            held = {facts.ledger.owner(path) for path in asked.held} & leaving
            if not held:
                break
            leaving -= held
        for group in _groups(facts, leaving):
            paths = frozenset(path for owner in group for path in files[owner])
            size = facts.freed(paths)
            if size:
                step = Step(
                    rule.name,
                    self.name,
                    printable(", ".join(map(str, group))),
                    rule.safety,
                    rule.why,
                    "nothing that stays requires it, imports it or links a library of it",
                    tuple(sorted(paths)),
                    unpacked=size,
                    rootfs=size,
                    disturbs=size,
                    options=(("distributions", [owner.name for owner in group]),),
                )
                yield in_doubt(step, asked.doubts(sorted(paths)) if asked else ())

    def restore(self, facts: Facts, protection: Protection, step: Step) -> Step:
        """A distribution leaves whole or not at all, whatever became of the list of its files."""
        names = set(dict(step.options).get("distributions", ()))
        owners = {
            owner
            for owner in facts.graph.distributions
            if owner.kind == "pip" and owner.name in names
        }
        whole = {path for paths in _files(facts, owners).values() for path in paths}
        if not whole.issuperset(step.removes):
            raise PlanError(f"the step {step.id} names files of other distributions")
        return step


def _selected(facts: Facts, rule: Rule, *, closure: bool) -> set[Owner]:
    """The distributions that a rule names; with `closure` all that only they keep, too."""
    graph = facts.graph
    named = {
        owner for owner in graph.distributions if owner.kind == "pip" and rule.selector.owner(owner)
    }
    if not closure:
        return named
    behind = (other for owner in named for other in graph.leaves_with(owner))
    return named | {other for other in behind if other.kind == "pip"}


def _files(facts: Facts, owners: Collection[Owner]) -> dict[Owner, list[bytes]]:
    """Every file of each distribution that no other one claims; licences go with their files."""
    shared = {
        dispute.path
        for dispute in facts.ledger.disputes
        if any(claim.owner not in owners for claim in (dispute.kept, *dispute.refused))
    }
    visible = facts.index.visible
    files: dict[Owner, list[bytes]] = {owner: [] for owner in owners}
    for path, claim in facts.ledger.claim_of.items():
        if claim.owner in files and path not in shared and visible[path].kind is not DIRECTORY:
            files[claim.owner].append(path)
    return files


def _held(
    protection: Protection,
    leaving: Collection[Owner],
    files: Mapping[Owner, Collection[bytes]],
    ignored: Globs,
) -> dict[Owner, tuple[str, str]]:
    """Those of the distributions that something which stays needs: guard and evidence."""
    held: dict[Owner, tuple[str, str]] = {}
    facts = protection.facts
    for owner in leaving:
        distribution = facts.graph.distributions[owner]
        needed = [other for other in distribution.required_by if other not in leaving]
        stays = next((path for path in files[owner] if path in protection.pinned), None)
        if needed:
            held[owner] = ("nothing-requires", f"{printable(str(needed[0]))} requires it")
        elif protection.keeps_owner(owner):
            held[owner] = ("nothing-requires", "the policy keeps it")
        elif stays is not None:
            held[owner] = ("nothing-requires", f"the policy keeps {printable(stays)}")
    if held:
        return held
    gone = frozenset(path for owner in leaving for path in files[owner])
    owner_of = facts.ledger.owner
    for need, library in facts.linkage.lost(gone):
        held.setdefault(owner_of(library), ("nothing-links", str(need)))
    for link, _, lost in dangling(facts, gone):
        for path in lost:
            held.setdefault(owner_of(path), ("nothing-links", f"{printable(link)} leads to it"))
    if held:
        return held
    modules = _modules(facts, leaving)
    silent = gone
    if ignored:
        silent |= {path for path in facts.index.visible if path in ignored}
    for name, mention in facts.importers.importing(modules, silent).items():
        held.setdefault(modules[name], ("nothing-imports", str(mention)))
    libraries = [path for path in gone if path in facts.linkage.binaries and b".so" in path]
    for path, need in facts.linkage.named(libraries, gone).items():
        held.setdefault(owner_of(path), ("nothing-links", str(need)))
    return held


def _modules(facts: Facts, owners: Collection[Owner]) -> dict[str, Owner]:
    """The modules that each of these distributions brings: top-level ones, and one level below
    where others have a part in the same folder (`google`, `nvidia`)."""
    brought: defaultdict[str, set[Owner]] = defaultdict(set)
    below: defaultdict[str, set[Owner]] = defaultdict(set)
    for claim in facts.ledger.claims:
        if claim.owner.kind != "pip" or not claim.metadata:
            continue
        for parts in _names(claim):
            brought[parts[0]].add(claim.owner)
            if len(parts) > 1:
                below[".".join(parts[:2])].add(claim.owner)
    modules: dict[str, Owner] = {}
    for name, makers in brought.items():
        if len(makers) == 1:
            modules[name] = next(iter(makers))
    for name, makers in below.items():
        if len(makers) == 1 and name.partition(".")[0] not in modules:
            modules[name] = next(iter(makers))
    return {name: owner for name, owner in modules.items() if owner in owners}


def _names(claim: Claim) -> Iterable[tuple[str, ...]]:
    """The modules of a distribution's record, by their parts."""
    site = claim.site + b"/"
    found: dict[tuple[str, ...], None] = {}
    for path in claim.files:
        if not path.startswith(site) or not path.endswith((b".py", b".so")):
            continue
        parts = path[len(site) :].decode("utf-8", "replace").split("/")
        parts[-1] = parts[-1].partition(".")[0]
        if parts[-1] == "__init__":
            parts.pop()
        parts = parts[:2]
        if parts and all(part.isidentifier() for part in parts):
            found[tuple(parts)] = None
    return found


def _groups(facts: Facts, leaving: Collection[Owner]) -> list[list[Owner]]:
    """Distributions that require one another, together: none of them leaves alone."""
    left = set(leaving)
    groups: list[list[Owner]] = []
    while left:
        todo = [min(left)]
        group: set[Owner] = set()
        while todo:
            owner = todo.pop()
            if owner in left:
                left.discard(owner)
                group.add(owner)
                distribution = facts.graph.distributions[owner]
                todo += [*distribution.requires, *distribution.required_by]
        groups.append(sorted(group))
    return groups
