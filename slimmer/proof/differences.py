"""Laws 3 and 4: a result differs from its original by exactly what a plan says, or not at all.

Both images are looked at as `tree` reads them. A plan comes in as what it promises, path by path;
without one, what left or changed is a fault unless it was allowed by name.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Self

from slimmer.names import printable
from slimmer.policy import NO_GLOBS, Globs
from slimmer.proof.config import field_name
from slimmer.proof.faults import Fault, Verdict, counted
from slimmer.proof.tree import FIELDS, shown

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from slimmer.edits.changes import Changes
    from slimmer.image import Image
    from slimmer.proof.faults import Kind
    from slimmer.proof.losses import Losses
    from slimmer.proof.tree import Member, Tree
    from slimmer.rewrite import Mode

SIZE = FIELDS.index("size")


@dataclass(frozen=True, slots=True)
class Promise:
    """What a plan says of the image that it makes."""

    removed: frozenset[bytes]
    """Paths that leave, the folders that are emptied included."""
    sizes: Mapping[tuple[int, bytes], int]
    """Layer and name of a file whose content is written anew → its new bytes."""
    joined: Mapping[tuple[int, bytes], bytes]
    """Layer and name of a file that becomes another name of an identical one → that one's."""
    added: Mapping[bytes, tuple[object, ...]]
    """Path that comes, or is replaced → what is seen of it, in the order of FIELDS."""
    untouched: tuple[tuple[int, int, str], ...]
    """Number, number in the result, and diff_id of each layer that keeps its bytes."""
    layers: int | None
    """How many layers the result has; None where the way it is carried out comes to others."""
    unpacked: int | None
    """By how many bytes Σ `size` over all layers changes; None where the way it is carried out
    comes to another sum."""

    @classmethod
    def of(cls, changes: Changes, mode: Mode) -> Promise:
        sizes: dict[tuple[int, bytes], int] = {}
        joined: dict[tuple[int, bytes], bytes] = {}
        added: dict[bytes, tuple[object, ...]] = {}
        untouched = []
        place = 0
        for layer, edit, made in zip(
            changes.before.layers, changes.edits, changes.after.layers, strict=True
        ):
            if not edit:
                untouched.append((layer.number, place, layer.layer.diff_id))
            place += not edit or bool(made.headers)  # one that is emptied is not written
            if not edit:
                continue
            for header in layer.headers:
                splice = edit.splices.get(header.start)
                if splice is not None:
                    sizes[layer.number, header.path] = splice.size
                if header.start in edit.links:
                    joined[layer.number, header.path] = edit.links[header.start]
            for addition in edit.additions:
                one = addition.header
                fields = (one.kind, one.size, one.mode, one.uid, one.gid, one.mtime, one.link)
                added[one.path] = (*fields, one.device, one.xattrs)
        return cls(
            changes.removed - added.keys(),
            sizes,
            joined,
            added,
            tuple(untouched) if mode == "rewrite" else (),
            place if mode == "rewrite" else None,
            changes.after.unpacked - changes.before.unpacked if mode == "rewrite" else None,
        )


@dataclass(frozen=True, slots=True)
class Allowed:
    """What may differ though no plan says so."""

    paths: Globs = NO_GLOBS
    fields: frozenset[str] = frozenset()
    """Fields of the config, as `config.NAMES` calls them."""

    @classmethod
    def of(cls, named: Iterable[str]) -> Self:
        """What people name: fields by their names, else patterns of paths."""
        fields = {text: field_name(text) for text in named}
        return cls(
            Globs(text for text, name in fields.items() if name is None),
            frozenset(name for name in fields.values() if name is not None),
        )


NOTHING = Allowed()


@dataclass(frozen=True)
class _Comparison:
    """Two trees, and what may differ between them."""

    before: Tree
    after: Tree
    promise: Promise | None
    allowed: Allowed
    losses: Losses
    faults: list[Fault] = field(default_factory=list)

    def fault(self, path: bytes, lost: str, kind: Kind | None = None) -> None:
        if path in self.allowed.paths:
            return
        told: Kind = kind or ("changed" if self.promise is None else "unplanned")
        self.faults.append(self.losses.fault(told, printable(path), lost, path))

    def placed(self, path: bytes) -> bytes:
        """A path with the symlinks on its way followed: where a plan sees it."""
        folder, _, name = path.rpartition(b"/")
        real = self.before.real(folder) if folder else b""
        return (real + b"/" + name) if real else name if real == b"" else path

    def leaves(self, path: bytes) -> bool:
        promise = self.promise
        if promise is None:
            return False
        return path in promise.removed or self.placed(path) in promise.removed

    def missing(self) -> None:
        """What the result does not have, by its topmost folder that left whole."""
        gone = {
            path
            for path in self.before.members.keys() - self.after.members.keys()
            if path not in self.allowed.paths and not self.leaves(path)
        }
        gone = {path for path in gone if not self._moved(path)}
        below: dict[bytes, int] = {}
        for path in sorted(gone):
            top = path
            folder = path
            while folder := folder[: max(folder.rfind(b"/"), 0)]:
                if folder in gone:
                    top = folder
            below[top] = below.get(top, -1) + 1
        for path, count in below.items():
            more = f", with {count} below it" if count else ""
            if self.promise is None:
                self.fault(path, f"left{more}", "lost")
            else:
                self.fault(path, f"is missing{more}, and no step removes it")

    def _moved(self, path: bytes) -> bool:
        """Whether a path behind a symlink was written under its real name."""
        placed = self.placed(path)
        return placed != path and placed in self.after.members

    def coming(self) -> None:
        promise = self.promise
        if promise is None:
            return
        for path in sorted(
            promise.removed & self.after.members.keys() & self.before.members.keys()
        ):
            self.fault(path, "is still there")
        for path in sorted(self.after.members.keys() - self.before.members.keys()):
            if path in promise.added:
                continue
            if path in promise.removed or not self._named(path):
                self.fault(path, "was not there before")
        for path in sorted(promise.added.keys() - self.after.members.keys()):
            self.fault(path, "is missing, and the plan adds it")

    def _named(self, path: bytes) -> bool:
        """Whether the original has a path under another name that leads there."""
        if path in self._behind:
            return True
        # A folder that no layer of the original names may get an entry of its own.
        return self.after.members[path].kind == "directory" and path in self._folders

    @cached_property
    def _folders(self) -> set[bytes]:
        return folders(self.before.members)

    @cached_property
    def _behind(self) -> set[bytes]:
        """Real names of what lies behind symlinks."""
        return {placed for path in self.before.members if (placed := self.placed(path)) != path}

    def expected(self, path: bytes, member: Member) -> tuple[object, ...]:
        """What the result must show at a path that stays."""
        fields = shown(member)
        promise = self.promise
        if promise is None:
            return fields
        added = promise.added.get(path)
        if added is not None:
            return added
        size = self.size(member)
        return fields if size is None else (*fields[:SIZE], size, *fields[SIZE + 1 :])

    def size(self, member: Member) -> int | None:
        """The bytes that a rewritten file comes to."""
        promise = self.promise
        number, place = member.held
        if promise is None or not promise.sizes or place < 0:
            return None
        holder = self.before.layers[number].members[place].path
        for name in dict.fromkeys((holder, self.placed(holder))):
            name = promise.joined.get((number, name), name)
            found = promise.sizes.get((number, name))
            if found is not None:
                return found
        return None

    def kept(self) -> None:
        """Every field of every path that stays, and which names are one file."""
        told = self.promise.joined if self.promise else {}
        one_of: dict[tuple[int, int], tuple[tuple[int, int], bytes]] = {}
        other_of: dict[tuple[int, int], tuple[tuple[int, int], bytes]] = {}
        joined = {path for (_, one), other in told.items() for path in (one, other)}
        added = self.promise.added if self.promise else {}
        removed = self.promise.removed if self.promise else frozenset()
        for path, member in self.before.members.items():
            other = self.after.members.get(path)
            if other is None or path in removed:
                continue
            ours, theirs = self.expected(path, member), shown(other)
            if ours != theirs:
                self.differs(path, ours, theirs)
            if not ours[0] == theirs[0] == "file" or path in joined or path in added:
                continue
            first = one_of.setdefault(member.held, (other.held, path))
            if first[0] != other.held:
                self.fault(path, f"and {printable(first[1])} are no longer names of one file")
            first = other_of.setdefault(other.held, (member.held, path))
            if first[0] != member.held:
                self.fault(path, f"and {printable(first[1])} are names of one file now")

    def differs(self, path: bytes, ours: tuple[object, ...], theirs: tuple[object, ...]) -> None:
        for name, one, two in zip(FIELDS, ours, theirs, strict=True):
            if one != two and not (self.promise is None and name == "mtime"):
                was = "it was" if self.promise is None else "the plan says"
                self.fault(path, f"its {name} is {_told(two)}, {was} {_told(one)}")


def folders(paths: Iterable[bytes]) -> set[bytes]:
    """Every folder that paths lie in, the root included."""
    found = {b""}
    for path in paths:
        while (path := path[: max(path.rfind(b"/"), 0)]) not in found:
            found.add(path)
    return found


def _told(value: object) -> str:
    match value:
        case bytes():
            return printable(value) or "empty"
        case tuple():
            return repr(value)[:120]
        case _:
            return str(value)


def compare(
    before: Tree,
    after: Tree,
    losses: Losses,
    promise: Promise | None = None,
    allowed: Allowed = NOTHING,
) -> Verdict:
    """Every path and every field of it, against the promise or against the original."""
    comparison = _Comparison(before, after, promise, allowed, losses)
    comparison.missing()
    comparison.coming()
    comparison.kept()
    faults = comparison.faults
    if promise is not None and promise.unpacked is not None:
        # By the difference: what a format adds for itself is in both.
        came, promised = after.unpacked - before.unpacked, promise.unpacked
        if came != promised:
            text = f"unpacked changes by {came} bytes, the plan promised {promised}"
            faults.append(Fault("unplanned", "the image", text))
    notes: tuple[str, ...] = ()
    if promise is None:
        notes = (_summary(before, after),)
    return Verdict(tuple(faults), counted({"paths": len(before.members)}), notes)


def _summary(before: Tree, after: Tree) -> str:
    one, two = before.members, after.members
    changed = sum(path in two and shown(two[path]) != shown(one[path]) for path in one)
    came = after.unpacked - before.unpacked
    return (
        f"{len(one.keys() - two.keys())} paths left, {len(two.keys() - one.keys())} came, "
        f"{changed} changed; unpacked {before.unpacked} → {after.unpacked} bytes ({came:+d})"
    )


def compare_layers(
    before: Image, after: Image, original: Tree, result: Tree, promise: Promise | None
) -> Verdict:
    """Law 4, and the tars themselves: what was as odd in the original is no fault."""
    odd = {what for tree in original.layers for what in tree.odd}
    faults = [
        Fault("tar", f"layer {number}", what)
        for number, tree in enumerate(result.layers)
        for what in tree.odd
        if what not in odd
    ]
    counts = {"layers": len(after.layers)}
    have = [layer.diff_id for layer in after.layers]
    for number, place, diff_id in promise.untouched if promise else ():
        counts["untouched layers"] = counts.get("untouched layers", 0) + 1
        if have[place : place + 1] != [diff_id]:
            where = "in another place" if diff_id in have else "gone"
            text = f"{diff_id[:19]} is {where}, and no step touches it"
            faults.append(Fault("layer", f"layer {number}", text))
    if promise is not None and promise.layers not in (None, len(have)):
        text = f"has {len(have)} layers, the plan says {promise.layers}"
        faults.append(Fault("layer", "the image", text))
    return Verdict(tuple(faults), counted(counts))


def compare_contents(
    before: Tree, after: Tree, losses: Losses, promise: Promise | None, allowed: Allowed = NOTHING
) -> Verdict:
    """sha256 of every file that stays, in both images; those that a plan rewrites aside."""
    comparison = _Comparison(before, after, promise, allowed, losses)
    count = rewritten = 0
    for path, member in before.members.items():
        other = after.members.get(path)
        if other is None or not shown(member)[0] == shown(other)[0] == "file":
            continue
        if comparison.size(member) is not None or (promise and path in promise.added):
            rewritten += 1
            continue
        count += 1
        if before.digest(member) != after.digest(other):
            comparison.fault(
                path, "its bytes differ" + ", and no step says so" * bool(promise), "content"
            )
    counts = {"contents": count, "rewritten": rewritten}
    return Verdict(tuple(comparison.faults), counted(counts))
