"""Shared libraries that something which stays opens by name, or that every program loads."""

from __future__ import annotations

from typing import TYPE_CHECKING

from slimmer.analysis.loads import OPENING, Form, forms, link_forms
from slimmer.files import parent
from slimmer.names import printable
from slimmer.plan.guards.finding import Finding
from slimmer.plan.guards.programs import APPLICATION, only_built_or_tested, owner_kind

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from slimmer.analysis.facts import Facts
    from slimmer.policy import Rule

_ANSWERED = ("deb", "apk", "rpm", "python", "pypy")
"""Owners whose dependencies say which libraries they open."""


def nothing_loads(facts: Facts, rule: Rule, paths: Sequence[bytes]) -> Iterator[Finding]:
    """Libraries that the environment preloads, a start names, or a source that opens libraries
    names; in doubt where only a part of the name stands there."""
    linkage = facts.linkage
    starts = facts.starts
    leaving = frozenset(paths)
    names: dict[bytes, dict[str, Form]] = {}
    for path in paths:
        slash = path.rfind(b"/")
        if b".so" not in path[slash + 1 :]:
            continue
        named = starts.libraries.get(path) or starts.files.get(path)
        if named is not None:
            yield Finding(printable(path), str(named), (path,))
            continue
        binary = linkage.binaries.get(facts.index.resolve(path))
        if binary is None or not linkage.finds_in(path[: max(slash, 0)]):
            continue
        name = path[slash + 1 :].decode("utf-8", "surrogateescape")
        if path not in linkage.binaries and name.endswith(".so"):
            names[path] = dict(link_forms(name))  # what a compiler follows, and `dlopen` by it
        else:
            names[path] = dict(forms(name))
            names[path] |= dict(forms(binary.soname)) if binary.soname else {}
    told: dict[bytes, str] = {}
    doubts: dict[bytes, str] = {}
    opened = facts.naming.libraries(names)
    openers: set[bytes] = set()
    if any(opening.apart for opening in opened):
        openers = {
            parent(word.path) if owner_kind(facts, word.path) not in APPLICATION else b""
            for word in facts.naming.said(OPENING)
            if owner_kind(facts, word.path) not in _ANSWERED and word.path not in leaving
        }
    for opening in opened:
        if opening.path in leaving:
            continue
        application = owner_kind(facts, opening.path) in APPLICATION
        if opening.apart and (b"" if application else parent(opening.path)) not in openers:
            continue
        if owner_kind(facts, opening.path) in _ANSWERED or only_built_or_tested(opening.path):
            continue
        sure = opening.exact and not opening.apart
        (told if sure else doubts).setdefault(opening.library, str(opening))
    for path, evidence in sorted(told.items()):
        yield Finding(printable(path), evidence, (path,))
    for path, evidence in sorted(doubts.items()):
        if path not in told:
            yield Finding(printable(path), evidence, (path,), doubt=True)
