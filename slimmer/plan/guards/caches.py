"""Caches that are the installation: something points into them, or an environment lives there.

Half of an environment is none: what holds one file of an environment, holds all of it.
"""

from __future__ import annotations

import re
from collections import defaultdict
from typing import TYPE_CHECKING

from slimmer.names import printable
from slimmer.plan.guards.finding import Finding
from slimmer.plan.guards.programs import APPLICATION, only_built_or_tested, owner_kind

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from slimmer.analysis.facts import Facts
    from slimmer.policy import Rule

_WHOLE = ("pre-commit", "yarn", "pnpm", "uv")
_WHOLE_FOLDERS = (b"node", b"corepack")
"""Caches that are one thing: what runs out of them looks all of it up."""
_ENVIRONMENT = re.compile(
    rb"(.*?/)?(?:(?P<venv>pyvenv\.cfg)|bin/(?:python[\d.]*|activate)"
    rb"|lib/python[\d.]+t?/site-packages/.*|node_modules/\.bin/.*|corepack/.*)\Z",
    re.DOTALL,
).match
_RUN_FROM_CACHE: Mapping[str, tuple[str, ...]] = {
    "pre-commit": ("pre-commit",),
    "uv": ("uvx", "uv"),
    "npm": ("npx", "corepack"),
    "yarn": ("yarn",),
    "pnpm": ("pnpx", "pnpm"),
    "go": ("go",),
    "cargo": ("cargo",),
}
"""Cache → the programs that run what lies in it."""
_COMPILED = ("go", "cargo")
"""Caches whose programs read the sources of all that they start anew."""
_HOOKED = ("pre-commit", "npx", "uvx", "pnpx")
"""Programs that run what lies in a cache wherever the application calls them, as a hook does."""


def nothing_points_into(facts: Facts, rule: Rule, paths: Sequence[bytes]) -> Iterator[Finding]:
    """Caches into which a link, a text, PATH or the start leads from outside, and those that hold
    an environment; in doubt where the start calls a program that runs out of its cache."""
    caches = _caches(facts, paths)
    owners = {tree: facts.ledger.owner(held[0]).name for tree, held in caches.items()}
    units: defaultdict[bytes, list[bytes]] = defaultdict(list)
    for tree, held in caches.items():
        for path in held:
            units[_unit(owners[tree], tree, path)].append(path)
    reasons: dict[bytes, str] = {}

    def hold(path: bytes, evidence: str) -> None:
        tree = next((tree for tree in caches if path == tree or path.startswith(tree + b"/")), None)
        if tree is not None:
            reasons.setdefault(_unit(owners[tree], tree, path), evidence)

    for tree in caches:
        for path in facts.below(tree):
            if _ENVIRONMENT(path[len(tree) :]) and not _is_conda(tree):
                hold(path, f"an environment lives there: {printable(path)}")
    for link, target in facts.symlinks:
        inside = [tree for tree in caches if target.startswith(tree + b"/")]
        if inside and not link.startswith(tuple(tree + b"/" for tree in caches)):
            hold(target, f"{printable(link)} leads to it")
    own = _own_variables(facts, caches)
    for path, named in (*facts.starts.files.items(), *facts.starts.programs.items()):
        if named.place not in own and path not in caches:
            hold(path, str(named))
    for folder in facts.starts.path:
        hold(folder, "Env PATH leads into it")
    leaving = frozenset(paths)
    for mention in facts.naming.paths(caches):
        if mention.path in leaving:
            continue
        application = owner_kind(facts, mention.path) in APPLICATION
        outside = not mention.path.startswith(tuple(tree + b"/" for tree in caches))
        if mention.named in caches or only_built_or_tested(mention.path) or not outside:
            continue  # where a cache lies is known to all who fill it
        if mention.path and facts.ledger.owner(mention.path).name == owners[mention.folder]:
            continue  # the program whose cache it is: apt's own scripts tidy what it fetched
        if application or mention.whole:
            hold(mention.named, str(mention))
    for unit, evidence in sorted(reasons.items()):
        if units.get(unit):
            yield Finding(printable(unit), evidence, units[unit])
    yield from _looked_up(reasons, units)
    yield from _called(facts, caches)


def _caches(facts: Facts, paths: Sequence[bytes]) -> dict[bytes, list[bytes]]:
    """The trees of the caches that the paths are of, each with its paths."""
    caches: defaultdict[bytes, list[bytes]] = defaultdict(list)
    for path in paths:
        claim = facts.ledger.claim_of[path]
        around = [tree for tree in claim.trees if path == tree or path.startswith(tree + b"/")]
        tree = max(around, key=len) if around else path[: max(path.rfind(b"/"), 0)]
        caches[tree].append(path)
    return dict(caches)


def _unit(owner: str, tree: bytes, path: bytes) -> bytes:
    """What stays or leaves as one: the whole cache, or the folder at its top that holds a path."""
    if owner in _WHOLE or tree.rpartition(b"/")[2] in _WHOLE_FOLDERS or path == tree:
        return tree
    return tree + b"/" + path[len(tree) + 1 :].partition(b"/")[0]


def _is_conda(tree: bytes) -> bool:
    """Whether a tree is conda's folder of packages, each of which looks like an environment."""
    return tree.endswith(b"/pkgs") or tree == b"pkgs"


def _own_variables(facts: Facts, caches: Mapping[bytes, object]) -> frozenset[str]:
    """The variables that say where a cache lies: they point to it, not into it."""
    index = facts.index
    return frozenset(
        f"Env {name}"
        for name, value in index.image.config.environment
        if index.resolve(value.encode("utf-8", "surrogateescape")) in caches
        or name in ("HOME", "XDG_CACHE_HOME")
    )


def _looked_up(
    reasons: Mapping[bytes, str], units: Mapping[bytes, list[bytes]]
) -> Iterator[Finding]:
    """What npx asks before it runs an environment of its own: npm's downloads, or the registry."""
    for unit in sorted(reasons):
        tree, _, name = unit.rpartition(b"/")
        downloads = tree + b"/_cacache"
        if name == b"_npx" and units.get(downloads):
            evidence = f"npx looks up in it what it runs out of {printable(unit)}"
            yield Finding(printable(downloads), evidence, units[downloads], doubt=True)


def _called(facts: Facts, caches: Mapping[bytes, list[bytes]]) -> Iterator[Finding]:
    calls = {words[0].rpartition("/")[2]: str(named) for words, named in facts.starts.commands}
    for path, named in facts.starts.programs.items():
        name = path[path.rfind(b"/") + 1 :].decode("utf-8", "surrogateescape")
        calls.setdefault(name, str(named))
    for call in facts.naming.programs(_HOOKED) if caches else ():
        if owner_kind(facts, call.path) in APPLICATION and not only_built_or_tested(call.path):
            calls.setdefault(call.program, str(call))
    for tree, against in sorted(caches.items()):
        owner = facts.ledger.owner(against[0]).name
        program = next((name for name in _RUN_FROM_CACHE.get(owner, ()) if name in calls), None)
        if program is not None:
            evidence = f"{calls[program]}, which may run what lies in it"
            yield Finding(printable(tree), evidence, against, doubt=owner not in _COMPILED)
