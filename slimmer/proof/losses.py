"""What left an image or was changed, by which step, and how a program would call it.

A verdict asks it for the file behind a fault, a blame for the file behind a message.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Self

from packaging.utils import canonicalize_name

from slimmer.names import one_line
from slimmer.plan.record import path_of
from slimmer.proof.faults import Fault
from slimmer.tar.reading import normalised

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from slimmer.index import Index
    from slimmer.plan.plan import Plan
    from slimmer.plan.record import Record
    from slimmer.plan.steps import Step
    from slimmer.policy import Safety
    from slimmer.proof.faults import Kind

PACKAGES = (b"-packages/", b"/lib/python")
"""What stands in the path of a folder that holds Python modules."""


@dataclass(frozen=True, slots=True)
class Reason:
    """Why a file left or was changed: the step, and what was known when it was planned."""

    id: str
    """The step's id: its rule and its target."""
    rule: str
    action: str
    safety: Safety
    why: str
    evidence: str = ""

    @classmethod
    def of(cls, step: Step) -> Reason:
        return cls(step.id, step.rule, step.action, step.safety, step.why, step.evidence)


@dataclass(frozen=True)
class Losses:
    """Paths that left or changed, each with its reason where one is known."""

    left: Mapping[bytes, Reason | None]
    """Paths that the result does not have."""
    changed: Mapping[bytes, Reason | None] = field(default_factory=dict)
    """Paths whose content is another."""
    whole: frozenset[bytes] = frozenset()
    """Those of the paths that left which are folders that stand for all that lay below them."""
    some: frozenset[bytes] = frozenset()
    """Folders that lost files whose names are not known."""
    reasons: tuple[Reason, ...] = ()
    """Of every step, those that removed no path included."""
    real: Callable[[bytes], bytes] = lambda path: path
    """Follows the symlinks of the original."""
    swapped: bool = False
    """Whether a step put other builds in place of some, which know themselves by name."""

    @classmethod
    def of(cls, before: Index, after: Index, plan: Plan | None = None) -> Losses:
        """What differs between two images; a plan tells the reasons."""
        steps = plan.steps if plan else ()
        left: dict[bytes, Reason | None] = dict.fromkeys(
            before.visible.keys() - after.visible.keys()
        )
        changed: dict[bytes, Reason | None] = {}
        emptied: dict[bytes, Reason] = {}
        for step in steps:
            reason = Reason.of(step)
            for path in step.removes:
                if left.get(path, reason) is None:
                    left[path] = reason
                # A folder that was emptied left with the first step that took from it.
                while (path := path[: max(path.rfind(b"/"), 0)]) and path not in emptied:
                    emptied[path] = reason
            for path in (
                *(rewrite.path for rewrite in step.rewrites),
                *(path for group in step.twins for path in group),
            ):
                changed.setdefault(path, reason)
        for path, reason in emptied.items():
            if path in left and left[path] is None:
                left[path] = reason
        return cls(
            left,
            changed,
            reasons=tuple(map(Reason.of, steps)),
            real=before.resolve,
            swapped=any(step.additions for step in steps),
        )

    @classmethod
    def recorded(
        cls, record: Record, before: Index | None = None, after: Index | None = None
    ) -> Self:
        """What a record tells; the images themselves, where both are at hand, tell the names."""
        left: dict[bytes, Reason | None] = {}
        changed: dict[bytes, Reason | None] = {}
        whole: set[bytes] = set()
        some: set[bytes] = set()
        reasons = []
        for step in record.steps:
            reason = Reason(step.id, step.rule, step.action, step.safety, step.why, step.evidence)
            reasons.append(reason)
            for name in step.removes:
                path, kind = path_of(name)
                left.setdefault(path, reason)
                if kind != "file":
                    (whole if kind == "whole" else some).add(path)
            for name in step.changes:
                changed.setdefault(path_of(name)[0], reason)
        made = cls(left, changed, frozenset(whole), frozenset(some), tuple(reasons))
        if before is None or after is None:
            return made
        gone = before.visible.keys() - after.visible.keys()
        known = {path: made.reason(path) for path in gone}
        return cls(known, changed, reasons=made.reasons, real=before.resolve)

    def certain(self, path: bytes) -> bool:
        """Whether the path itself is known to have left or changed, and not only its folder."""
        if path in self.left or path in self.changed:
            return path not in self.some
        return any(folder in self.whole for folder in _folders(path))

    def reason(self, path: bytes | None) -> Reason | None:
        """Why a path left or was changed."""
        if path is None:
            return None
        found = self.left.get(path) or self.changed.get(path)
        if found is not None:
            return found
        folders = (one for one in _folders(path) if one in self.whole or one in self.some)
        return next((self.left[folder] for folder in folders), None)

    def fault(self, kind: Kind, subject: str, lost: str, path: bytes | None = None) -> Fault:
        """A fault, with the step behind it where there is one."""
        reason = self.reason(path)
        return Fault(kind, subject, one_line(lost), path, reason.id if reason else "")

    # -- what a program calls it --

    def gone(self, path: str) -> bytes | None:
        """The file that a path at run time means, whichever symlinks lead to it."""
        name = normalised(path.encode("utf-8", "surrogateescape"))
        return next((one for one in (name, self.real(name)) if one and self._held(one)), None)

    def _held(self, path: bytes) -> bool:
        if path in self.left:
            return path not in self.some
        if not self.whole and not self.some:
            return False
        return any(folder in self.whole or folder in self.some for folder in _folders(path))

    def altered(self, path: str) -> bytes | None:
        """The file that a path at run time means, where its content is another."""
        name = normalised(path.encode("utf-8", "surrogateescape"))
        return next((one for one in (name, self.real(name)) if one in self.changed), None)

    def tail(self, name: str) -> bytes | None:
        """The likeliest path that ends so: the shortest one."""
        end = normalised(name.encode("utf-8", "surrogateescape"))
        if not end:
            return None
        found = [path for path in self._named(end) if path == end or path.endswith(b"/" + end)]
        if found:
            return min(found, key=lambda path: (len(path), path))
        # It may lie below a folder that left whole: `templates/` for `templates/x.html`.
        at = len(end)
        while (at := end.rfind(b"/", 0, at)) > 0:
            folders = [
                path
                for path in self._named(end[:at])
                if path in self._folded and (b"/" + path).endswith(b"/" + end[:at])
            ]
            if folders:
                return min(folders, key=lambda path: (len(path), path)) + end[at:]
        return None

    def module(self, name: str) -> bytes | None:
        """The file that held a Python module."""
        parts = [part for part in name.encode("utf-8", "surrogateescape").split(b".") if part]
        if not parts:
            return None
        tail = b"/" + b"/".join(parts)
        found = [path for path in self._modules(parts[-1]) if _holds((b"/" + path), tail)]
        if found:
            # A source says more than a folder, and the shortest path is the likeliest.
            return min(found, key=lambda path: ((b"/" + path).endswith(tail), len(path), path))
        for length in range(len(parts) - 1, 0, -1):
            tail = b"/" + b"/".join(parts[:length])
            for path in self._modules(parts[length - 1]):
                if path in self._folded and (b"/" + path).endswith(tail) and _importable(path):
                    return path + b"/" + b"/".join(parts[length:]) + b".py"
        return None

    def library(self, name: str) -> bytes | None:
        """The file that a soname means, itself or through a symlink."""
        return self.tail(name.rpartition("/")[2])

    def program(self, name: str) -> bytes | None:
        """The file that a shell finds by a bare name."""
        found = [
            path
            for path in self._named(name.encode("utf-8", "surrogateescape"))
            if path.rpartition(b"/")[0].endswith(b"bin")
        ]
        return min(found, key=lambda path: (len(path), path), default=None)

    def distribution(self, name: str) -> bytes | None:
        """The metadata of a Python distribution."""
        wanted = canonicalize_name(name)
        for path in self.left:
            folder = path if path in self.whole else path.rpartition(b"/")[0]
            last = folder.rpartition(b"/")[2]
            if last.endswith((b".dist-info", b".egg-info")):
                stem = last.rpartition(b".")[0].partition(b"-")[0]
                if canonicalize_name(stem.decode("utf-8", "replace")) == wanted:
                    return path
        return None

    @cached_property
    def _folded(self) -> frozenset[bytes]:
        return self.whole | self.some

    @cached_property
    def _names(self) -> Mapping[bytes, tuple[bytes, ...]]:
        names: dict[bytes, list[bytes]] = {}
        for path in self.left:
            names.setdefault(path.rpartition(b"/")[2], []).append(path)
        return {name: tuple(paths) for name, paths in names.items()}

    def _named(self, tail: bytes) -> Iterable[bytes]:
        return self._names.get(tail.rpartition(b"/")[2], ())

    @cached_property
    def _stems(self) -> Mapping[bytes, tuple[bytes, ...]]:
        """Last part of a module's name → the paths that may hold it."""
        stems: dict[bytes, list[bytes]] = {}
        for path in self.left:
            folder, _, name = path.rpartition(b"/")
            stem, _, ending = name.partition(b".")
            if stem == b"__init__":
                stem = folder.rpartition(b"/")[2]
            if not ending or ending in (b"py", b"pyc") or ending.endswith(b"so"):
                stems.setdefault(stem, []).append(path)
        return {stem: tuple(paths) for stem, paths in stems.items()}

    def _modules(self, stem: bytes) -> Iterable[bytes]:
        return self._stems.get(stem, ())


def _folders(path: bytes) -> Iterator[bytes]:
    """The folders that a path lies in, the nearest first."""
    while path := path[: max(path.rfind(b"/"), 0)]:
        yield path


def _holds(path: bytes, tail: bytes) -> bool:
    """Whether a file or folder holds the module with this tail of a path."""
    stem, dot, _ = path[path.rfind(b"/") :].partition(b".")
    if dot:
        path = path[: path.rfind(b"/")] + stem
    return path.removesuffix(b"/__init__").endswith(tail)


def _importable(path: bytes) -> bool:
    return any(part in b"/" + path + b"/" for part in PACKAGES)
