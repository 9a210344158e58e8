"""The proofs that a rule may ask for before its files leave, made on the image at hand.

Each guard is given the files that a rule selects and says which of them may not leave, with the
evidence. Every action asks `guarded`, so that a guard means the same in each of them.
"""

from __future__ import annotations

import re
from collections import defaultdict
from typing import TYPE_CHECKING

from slimmer.names import printable
from slimmer.plan.steps import Refusal
from slimmer.tar.reading import DIRECTORY, HARDLINK, SYMLINK

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Sequence

    from slimmer.analysis.facts import Subject
    from slimmer.attribution import Owner
    from slimmer.index import Index
    from slimmer.policy import Rule

    Denial = tuple[str, str, Sequence[bytes]]
    """What stays, as people call it; the evidence; its paths."""


def guarded(
    subject: Subject, rule: Rule, paths: Iterable[bytes]
) -> tuple[list[bytes], list[Refusal]]:
    """Those of the paths that every guard of the rule lets go, and what the guards forbid."""
    left = list(paths)
    refusals: list[Refusal] = []
    if not left:
        return left, refusals
    for name in rule.guards:
        kept: set[bytes] = set()
        for target, evidence, denied in _GUARDS[name](subject, left):
            kept.update(denied)
            refusals.append(Refusal(rule.name, target, name, evidence, freed(subject, denied)))
        if kept:
            left = [path for path in left if path not in kept]
    return left, refusals


def freed(subject: Subject, paths: Iterable[bytes]) -> int:
    """Bytes that leave with these visible paths: a hard link's when its last name leaves."""
    visible = subject.index.visible
    layer_of = subject.index.layer_of
    groups = subject.linked
    wanted = paths if isinstance(paths, (set, frozenset)) else set(paths)
    total = 0
    seen: set[tuple[int, bytes]] = set()
    for path in wanted:
        header = visible.get(path)
        if header is None:
            continue
        key = (layer_of[path], header.link if header.kind is HARDLINK else path)
        names = groups.get(key)
        if names is None:
            total += header.size
        elif key not in seen and wanted.issuperset(names):
            seen.add(key)
            total += max(visible[name].size for name in names)
    return total


def _nothing_imports(subject: Subject, paths: Sequence[bytes]) -> Iterator[Denial]:
    """Test folders that something which stays imports; and what is in no test folder, of which
    nothing is known."""
    importers = subject.importers
    by_folder: defaultdict[bytes, list[bytes]] = defaultdict(list)
    outside: defaultdict[bytes, list[bytes]] = defaultdict(list)
    for path in paths:
        folder = importers.folder(path)
        if folder is not None:
            by_folder[folder].append(path)
        else:
            outside[path[: max(path.rfind(b"/"), 0)]].append(path)
    for folder, mention in sorted(importers.needed(by_folder).items()):
        yield printable(folder), str(mention), by_folder[folder]
    for folder, found in sorted(outside.items()):
        yield printable(folder), "no Python in it, so no import could tell who uses it", found


def _nothing_links(subject: Subject, paths: Sequence[bytes]) -> Iterator[Denial]:
    """Libraries that an ELF file which stays needs, or whose name stands in one; static ones that
    a linker of the image would take."""
    linkage = subject.linkage
    gone = {path for path in paths if path in linkage.binaries or b".so" in path}
    links = {path: subject.index.resolve(path) for path in gone}
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
    linker = next(filter(_is_linker, subject.index.visible), None) if static else None
    if linker is not None:
        for path in static:
            # ld(1) takes the shared library where both stand in one folder, unless told -static.
            if path[:-2] + b".so" not in subject.index.visible:
                denied[path] = f"no shared library beside it, and {printable(linker)} links"
    for path, evidence in sorted(denied.items()):
        yield printable(path), evidence, (path,)


_is_linker = re.compile(rb"(?:.*/)?bin/(?:[\w.-]+-)?(?:ld|ld\.lld|ld\.bfd|ld\.gold|mold)\Z").match


def _nothing_requires(subject: Subject, paths: Sequence[bytes]) -> Iterator[Denial]:
    """Files of owners that something in the image requires."""
    by_owner: defaultdict[Owner, list[bytes]] = defaultdict(list)
    for path in paths:
        by_owner[subject.ledger.owner(path)].append(path)
    for owner, found in sorted(by_owner.items()):
        distribution = subject.graph.distributions.get(owner)
        needed = (
            [by for by in distribution.required_by if by not in by_owner] if distribution else []
        )
        if needed:
            yield printable(str(owner)), f"{printable(str(needed[0]))} requires it", found


def _source_stays(subject: Subject, paths: Sequence[bytes]) -> Iterator[Denial]:
    """Bytecode that is all there is of its module (PEP 3147, PEP 488)."""
    leaving = set(paths)
    visible = subject.index.visible
    for path in paths:
        if not path.endswith((b".pyc", b".pyo")):
            continue
        folder, _, name = path.rpartition(b"/")
        if folder.endswith(b"__pycache__"):
            if b".opt-" in name:
                continue  # loaded by `python -O` alone, which falls back on the source
            source = folder[: -len(b"__pycache__")] + name.partition(b".")[0] + b".py"
        else:
            source = path[:-1]
        if source not in visible or source in leaving:
            yield printable(path), "its source is not in the image", (path,)


_GUARDS: dict[str, Callable[[Subject, Sequence[bytes]], Iterator[Denial]]] = {
    "nothing-imports": _nothing_imports,
    "nothing-links": _nothing_links,
    "nothing-requires": _nothing_requires,
    "source-stays": _source_stays,
}


def dangling(subject: Subject, removed: Collection[bytes]) -> Iterator[tuple[bytes, bytes]]:
    """Symlinks that stay and whose target is among the removed paths: the link, and the target.

    Any link on the way counts: what leads through a symlink that is gone leads nowhere.
    """
    index = subject.index
    for link, target in subject.symlinks:
        if link in removed:
            continue
        if (
            target in removed
            or _through(index, link, removed)
            or (_is_folder(index, target) and _emptied(subject, target, removed))
        ):
            yield link, target


def _through(index: Index, link: bytes, removed: Collection[bytes]) -> bool:
    """Whether the next link of a chain of symlinks is gone."""
    for _ in range(40):
        header = index.visible.get(link)
        if header is None or header.kind is not SYMLINK:
            return False
        folder = link[: max(link.rfind(b"/"), 0)]
        written = header.link if header.link.startswith(b"/") else folder + b"/" + header.link
        around, _, name = written.rpartition(b"/")
        real = index.resolve(around)
        link = real + b"/" + name if real else name
        if link in removed:
            return True
    return False


def _is_folder(index: Index, path: bytes) -> bool:
    header = index.visible.get(path)
    return header is None or header.kind is DIRECTORY


def _emptied(subject: Subject, folder: bytes, removed: Collection[bytes]) -> bool:
    """Whether a folder leaves because all that was in it does."""
    if subject.stays(folder):
        return False
    visible = subject.index.visible
    held = False
    for path in subject.below(folder):
        if visible[path].kind is not DIRECTORY:
            if path not in removed:
                return False
            held = True
    return held
