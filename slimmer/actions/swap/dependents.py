"""What becomes of the distributions around those that are replaced.

Who leaves, because only what is replaced required it; which files that takes; and what forbids it:
requirements that would not hold any more (as `pip check` has it), files that somebody else put
there, changed later, or wants to keep.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from slimmer.actions.swap.wheels import CUDA_NAME
from slimmer.analysis.dependencies import DependencyGraph
from slimmer.ecosystems.python import Requirement
from slimmer.names import one_line, printable
from slimmer.plan.protection import LICENCES
from slimmer.tar.reading import DIRECTORY

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from slimmer.actions.swap.wheels import Target
    from slimmer.analysis.facts import Facts
    from slimmer.attribution import Claim, Owner
    from slimmer.plan.protection import Protection

_TOOLS = ("pip", "setuptools", "wheel")
"""What nothing may require and yet everybody counts on."""


class Forbidden(Exception):  # noqa: N818 - it becomes a Refusal, which is no error
    """What forbids a swap: the guard, and the evidence."""

    def __init__(self, guard: str, evidence: str) -> None:
        super().__init__(evidence)
        self.guard = guard
        self.evidence = evidence


def installed_in(facts: Facts) -> list[Claim]:
    return [claim for claim in facts.ledger.claims if claim.owner.kind == "pip" and claim.metadata]


def must_be_whole(protection: Protection, claim: Claim) -> None:
    """Only what an installer recorded, and nobody changed since, can be put in place again."""
    facts = protection.facts
    record = claim.metadata + b"/RECORD"
    if not claim.files or facts.ledger.claim_of.get(record) is not claim:
        raise Forbidden("recorded", f"{claim.owner} has no RECORD of its files ({claim.evidence})")
    if protection.keeps_owner(claim.owner):
        raise Forbidden("keep", f"{claim.owner} is to be kept")
    layer = facts.index.layer_of[record]
    changed = [
        path
        for path in claim.files
        if facts.index.layer_of.get(path, layer) > layer and not path.endswith(b".pyc")
    ]
    if changed:
        raise Forbidden(
            "unchanged",
            f"{printable(changed[0])} was changed in layer {facts.index.layer_of[changed[0]]},"
            f" after {claim.owner} was installed"
            + (f", and {len(changed) - 1} more" if len(changed) > 1 else ""),
        )


def leaving_with(
    protection: Protection,
    gone: Sequence[Claim],
    heirs: Mapping[Claim, Claim],
    added: Collection[bytes],
) -> tuple[list[Claim], list[str]]:
    """Distributions that nothing requires any more once the new wheels are in; and what stays
    of them because it is to be kept."""
    facts = protection.facts
    site = gone[0].site
    claims = [claim for claim in installed_in(facts) if claim.site == site]
    before, after = _graphs(facts, claims, heirs, gone)
    roots = _roots(protection, before, after, heirs, gone)
    stays: list[str] = []
    while True:
        reached = _reached(after, roots)
        leaving = [
            claim
            for claim in claims
            if claim not in gone
            and claim.owner in after.distributions
            and claim.owner not in reached
        ]
        held = {
            claim.owner: path
            for claim in leaving
            for path in claim.files
            if path not in added and path in facts.index.visible and is_held(protection, path)
        }
        if not held:
            return leaving, stays
        roots.update(held)
        stays += [
            f"{owner} stays, {printable(path)} is to be kept"
            for owner, path in sorted(held.items())
        ]


def _roots(
    protection: Protection,
    before: DependencyGraph,
    after: DependencyGraph,
    heirs: Mapping[Claim, Claim],
    gone: Iterable[Claim],
) -> set[Owner]:
    """What stays whether anything requires it or not."""
    new = {heir.owner for heir in heirs.values()}
    extras = _cuda_extras(gone)
    return {
        owner
        for owner in after.distributions
        if owner.name in _TOOLS or owner in new or protection.keeps_owner(owner)
    } | {
        owner
        for owner in after.roots
        if owner in before.roots
        and (owner.name not in extras or before.distributions[owner].requested)
    }


def _reached(graph: DependencyGraph, roots: Iterable[Owner]) -> set[Owner]:
    reached = set(roots)
    todo = list(reached)
    while todo:
        for other in graph.distributions[todo.pop()].requires:
            if other not in reached:
                reached.add(other)
                todo.append(other)
    return reached


def _cuda_extras(gone: Iterable[Claim]) -> set[str]:
    """What the extras of CUDA builds bring of CUDA, such as those of `tensorflow[and-cuda]`.

    That an extra was asked for is recorded nowhere, so that nothing seems to require these; what
    a user asked for by name is.
    """
    return {
        name
        for claim in gone
        for text in claim.requires
        if (requirement := Requirement.parse(text)) is not None and requirement.conditional
        if CUDA_NAME(name := requirement.name)
    }


def _graphs(
    facts: Facts, claims: Sequence[Claim], heirs: Mapping[Claim, Claim], gone: Collection[Claim]
) -> tuple[DependencyGraph, DependencyGraph]:
    """Who requires whom in one site folder, before and after."""
    ledger = facts.ledger
    whole = len(claims) == len(installed_in(facts))
    before = facts.graph if whole else DependencyGraph.of(replace(ledger, claims=tuple(claims)))
    new = [heirs.get(claim, claim) for claim in claims if claim in heirs or claim not in gone]
    return before, DependencyGraph.of(replace(ledger, claims=_with_interpreters(facts, new)))


def _with_interpreters(facts: Facts, claims: Iterable[Claim]) -> tuple[Claim, ...]:
    """Claims with those of the interpreters, whose versions markers are evaluated for."""
    kinds = ("python", "pypy")
    return (*claims, *(one for one in facts.ledger.claims if one.owner.kind in kinds))


def is_held(protection: Protection, path: bytes) -> bool:
    """Licences and metadata have no use without the files, bytecode none without its source."""
    if b".dist-info/" in path or path.endswith(b".pyc") or path in LICENCES:
        return False
    return path in protection.own


def removed_with(
    facts: Facts, claims: Sequence[Claim], added: Collection[bytes]
) -> frozenset[bytes]:
    """The files of distributions that leave: what their RECORD names, their bytecode and their
    metadata, without what another owner names too."""
    leaving = {claim: (frozenset(claim.files), claim.metadata + b"/") for claim in claims}
    visible = facts.index.visible
    removed: set[bytes] = set()
    for path, claim in facts.ledger.claim_of.items():
        known = leaving.get(claim)
        if known is None or visible[path].kind is DIRECTORY:
            continue
        files, metadata = known
        if path in files or path.endswith(b".pyc") or path.startswith(metadata):
            removed.add(path)
    for claim in facts.ledger.claims:
        if claim not in leaving:
            removed.difference_update([path for path in claim.files if path in removed])
    return frozenset(removed)


def must_not_meet(facts: Facts, added: Collection[bytes], removes: Collection[bytes]) -> None:
    """New files take nobody's place but that of what leaves."""
    visible = facts.index.visible
    for path in sorted(added):
        if path in visible and path not in removes:
            raise Forbidden(
                "nothing-overwritten",
                f"{printable(path)} is there already, of {facts.ledger.owner(path)}",
            )
    checked: set[bytes] = set()
    for path in added:
        while b"/" in path:
            path = path[: path.rfind(b"/")]
            if path in checked:
                break
            checked.add(path)
            header = visible.get(path)
            if header is not None and header.kind != DIRECTORY and path not in removes:
                raise Forbidden("nothing-overwritten", f"{printable(path)} is no folder")


def must_resolve(
    facts: Facts, heirs: Mapping[Claim, Claim], gone: Sequence[Claim], target: Target
) -> None:
    """What remains finds what it requires, as `pip check` has it."""
    claims = installed_in(facts)
    site = gone[0].site
    environment = target.environment()
    after = [heirs.get(claim, claim) for claim in claims if claim in heirs or claim not in gone]
    known = _broken(claims, site, environment)
    for (name, text), what in _broken(after, site, environment).items():
        if (name, text) not in known:
            raise Forbidden("requirements", f"{name} requires {one_line(text)}, {what}")


def _broken(
    claims: Sequence[Claim], site: bytes, environment: Mapping[str, str]
) -> dict[tuple[str, str], str]:
    """Requirements that do not hold: who requires what → what there is."""
    installed: dict[str, str] = {}
    for claim in claims:
        if claim.site == site or claim.owner.name not in installed:
            installed[claim.owner.name] = claim.owner.version
    broken: dict[tuple[str, str], str] = {}
    for claim in claims:
        for text in claim.requires:
            requirement = Requirement.parse(text)
            # What an extra asks for, nobody is known to have asked for.
            if requirement is None or requirement.conditional:
                continue
            if not requirement.holds(environment):
                continue
            version = installed.get(requirement.name)
            if version is None:
                broken[claim.owner.name, text] = "which is not there"
            elif requirement.allows(version) is False:
                broken[claim.owner.name, text] = f"there is {version}"
    return broken
