"""The proofs that a rule may ask for before its files leave, made on the image at hand.

Each guard is given the files that a rule would let go and tells what it finds against that. Who
asks them, and what becomes of the answers: `plan/proposals.py`.
"""

from __future__ import annotations

import re
from collections import defaultdict
from typing import TYPE_CHECKING

from slimmer.analysis.needs import needs
from slimmer.ecosystems.python import is_optimized, source_of
from slimmer.names import printable
from slimmer.plan.guards.builds import (
    compiled_beside,
    nothing_links_statically,
    only_launches,
)
from slimmer.plan.guards.caches import nothing_points_into
from slimmer.plan.guards.finding import Finding
from slimmer.plan.guards.libraries import nothing_loads
from slimmer.plan.guards.packages import nothing_installs
from slimmer.plan.guards.paths import nothing_edits, nothing_names
from slimmer.plan.guards.programs import nothing_calls

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from slimmer.analysis.facts import Facts
    from slimmer.attribution import Owner
    from slimmer.policy import Rule


def _nothing_imports(facts: Facts, rule: Rule, paths: Sequence[bytes]) -> Iterator[Finding]:
    """Files of test folders that something which stays imports or names."""
    for need in needs(facts.mentions, paths):
        yield Finding(printable(need.suite), need.evidence, need.paths, need.doubt)


def _nothing_links(facts: Facts, rule: Rule, paths: Sequence[bytes]) -> Iterator[Finding]:
    """Libraries that an ELF file which stays needs, or whose name stands in one; static ones that
    a linker of the image would take."""
    linkage = facts.linkage
    gone = {path for path in paths if path in linkage.binaries or b".so" in path}
    links = {path: facts.index.resolve(path) for path in gone}
    denied: dict[bytes, str] = {}
    while lost := linkage.lost(gone):
        before = len(gone)
        for need, library in lost:
            for path in [path for path in gone if path == library or links[path] == library]:
                denied[path] = str(need)
                gone.discard(path)
        if len(gone) == before:
            break
    libraries = [path for path in gone if path in linkage.binaries and b".so" in path]
    for path, need in linkage.named(libraries, frozenset(paths)).items():
        denied[path] = str(need)
    for path in linkage.unread:
        if path in gone:
            denied[path] = "an ELF file that is not understood"
    static = [path for path in paths if path.endswith(b".a")]
    linker = next(filter(_is_linker, facts.index.visible), None) if static else None
    if linker is not None:
        for path in static:
            # ld(1) takes the shared library where both stand in one folder, unless told -static.
            if path[:-2] + b".so" not in facts.index.visible:
                denied[path] = f"no shared library beside it, and {printable(linker)} links"
    for path, evidence in sorted(denied.items()):
        yield Finding(printable(path), evidence, (path,))


_is_linker = re.compile(rb"(?:.*/)?bin/(?:[\w.-]+-)?(?:ld|ld\.lld|ld\.bfd|ld\.gold|mold)\Z").match


def _nothing_requires(facts: Facts, rule: Rule, paths: Sequence[bytes]) -> Iterator[Finding]:
    """Files of owners that something in the image requires."""
    by_owner: defaultdict[Owner, list[bytes]] = defaultdict(list)
    for path in paths:
        by_owner[facts.ledger.owner(path)].append(path)
    for owner, found in sorted(by_owner.items()):
        distribution = facts.graph.distributions.get(owner)
        needed = (
            [by for by in distribution.required_by if by not in by_owner] if distribution else []
        )
        if needed:
            evidence = f"{printable(str(needed[0]))} requires it"
            yield Finding(printable(str(owner)), evidence, found)


def _source_stays(facts: Facts, rule: Rule, paths: Sequence[bytes]) -> Iterator[Finding]:
    """Bytecode that is all there is of its module (PEP 3147, PEP 488)."""
    leaving = set(paths)
    visible = facts.index.visible
    for path in paths:
        if not path.endswith((b".pyc", b".pyo")) or is_optimized(path):
            continue
        source = source_of(path)
        if source not in visible or source in leaving:
            yield Finding(printable(path), "its source is not in the image", (path,))


GUARDS: dict[str, Callable[[Facts, Rule, Sequence[bytes]], Iterable[Finding]]] = {
    "compiled-beside": compiled_beside,
    "nothing-calls": nothing_calls,
    "nothing-edits": nothing_edits,
    "nothing-imports": _nothing_imports,
    "nothing-installs": nothing_installs,
    "nothing-links": _nothing_links,
    "nothing-links-statically": nothing_links_statically,
    "nothing-loads": nothing_loads,
    "nothing-names": nothing_names,
    "nothing-points-into": nothing_points_into,
    "nothing-requires": _nothing_requires,
    "only-launches": only_launches,
    "source-stays": _source_stays,
}
"""What a rule's `guards` may name. A guard is given all paths at once, and must tell all that is
against them as a fixpoint: what one path needs when it stays, stays too."""

__all__ = ["GUARDS", "Finding"]
