"""Law 8: what resolved before still resolves: symlinks, libraries, requirements, records."""

from __future__ import annotations

from typing import TYPE_CHECKING

from slimmer.names import printable
from slimmer.policy import ActionName, Safety
from slimmer.proof.differences import folders
from slimmer.proof.faults import Fault, Verdict, counted
from slimmer.tar.reading import DIRECTORY

if TYPE_CHECKING:
    from slimmer.analysis.facts import Facts
    from slimmer.attribution import Attribution, Owner
    from slimmer.proof.losses import Losses
    from slimmer.proof.tree import Tree

WHOLE = (ActionName.REMOVE_DISTRIBUTION, ActionName.REMOVE_DEBIAN_PACKAGE, ActionName.SWAP)
"""Actions whose very aim is that something is not installed any more."""


def symlinks(before: Tree, after: Tree, losses: Losses) -> Verdict:
    """No remaining symlink that led somewhere dangles now."""
    held_before, held_after = _held(before), _held(after)
    faults = []
    count = 0
    for path, member in after.members.items():
        old = before.members.get(path)
        if member.kind != "symlink" or old is None or old.kind != "symlink":
            continue
        target = before.real(path)
        if target is None or target not in held_before:
            continue  # it dangled before, or leads to what only a running container has
        count += 1
        if after.real(path) not in held_after:
            lost = f"leads to {printable(target)}, which left"
            faults.append(losses.fault("symlink", printable(path), lost, target))
    return Verdict(tuple(faults), counted({"symlinks": count}))


def _held(tree: Tree) -> set[bytes]:
    """Every path that is there, folders included that no tar has an entry for."""
    there = {path for path, member in tree.members.items() if member.kind != "symlink"}
    return there | folders(tree.members)


def libraries(before: Facts, after: Facts, losses: Losses) -> Verdict:
    """No remaining ELF file loses a library that it found before.

    Looked up in the result as it was written, and once more by what left: what the loader found
    by itself must not from now on depend on something else having loaded it first.
    """
    lost: dict[tuple[bytes, str], bytes] = {}
    added = after.index.visible.keys() - before.index.visible.keys()
    for need, library in before.linkage.lost(losses.left.keys(), added):
        # Another file in the same place, as after a swap, has needs of its own.
        if need.name in dict(after.linkage.needs(need.path)):
            lost[need.path, need.name] = library
    faults = []
    count = 0
    for path in before.linkage.binaries:
        if path not in after.index.visible:
            continue
        if path not in after.linkage.binaries:
            text = "is no ELF file any more that the loader understands"
            faults.append(losses.fault("library", printable(path), text, path))
            continue
        found = dict(before.linkage.needs(path))
        count += len(found)
        for name, now in after.linkage.needs(path):
            was = found.get(name, path)  # a rewritten file may ask for something new
            if now is None and was is not None:
                lost.setdefault((path, name), was)
    for (path, name), library in sorted(lost.items()):
        missing = library if library in losses.left else losses.library(name)
        text = f"needs {printable(name)}, which it does not find any more"
        faults.append(losses.fault("library", printable(path), text, missing))
    return Verdict(tuple(faults), counted({"ELF lookups": count}))


def requirements(before: Facts, after: Facts, losses: Losses) -> Verdict:
    """No remaining distribution or package loses what it required and had."""
    faults: list[Fault] = []
    notes: list[str] = []
    count = 0
    unmet_before, unmet_after = before.graph.unmet, after.graph.unmet
    for owner in after.graph.distributions:
        old = before.graph.distributions.get(owner)
        if old is None:
            continue
        count += len(old.requires)
        lost = [one for one in unmet_after.get(owner, ()) if one not in unmet_before.get(owner, ())]
        gone = [one for one in old.requires if one not in after.graph.distributions]
        for text in lost:
            missing = next((one for one in gone if one.name in text.lower()), None)
            missing = missing or (gone[0] if gone else None)
            path = _evidence_path(before.ledger, missing)
            reason = losses.reason(path)
            if reason and reason.action in WHOLE and reason.safety is Safety.RISKY:
                notes.append(
                    f"{owner} requires {printable(text)}: {reason.id} removed it, as agreed"
                )
                continue
            what = f"requires {printable(text)}, which was there before"
            faults.append(losses.fault("requirement", printable(str(owner)), what, path))
    return Verdict(tuple(faults), counted({"requirements": count}), tuple(notes))


def _evidence_path(ledger: Attribution, owner: Owner | None) -> bytes | None:
    """The file that said that an owner was there: a METADATA, a stanza's list of files."""
    if owner is None:
        return None
    paths = ledger.paths().get(owner, ())
    files = [path for path in paths if ledger.index.visible[path].kind is not DIRECTORY]
    told = [path for path in files if path.endswith((b"/METADATA", b"/PKG-INFO"))]
    return min(told or files, key=lambda path: (len(path), path), default=None)


def records(after: Facts, losses: Losses) -> Verdict:
    """A Python distribution's RECORD names nothing that left."""
    faults = []
    count = 0
    for claim in after.ledger.claims:
        if claim.owner.kind != "pip":
            continue
        count += 1
        missing = [path for path in claim.files if path in losses.left]
        if missing:
            lost = f"its record names {len(missing)} files that left, {printable(missing[0])} first"
            subject = printable(str(claim.owner))
            faults.append(losses.fault("record", subject, lost, missing[0]))
    return Verdict(tuple(faults), counted({"records": count}))
