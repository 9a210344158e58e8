"""What a proof found: faults, each with what it lost and the step that took it away."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from slimmer.names import one_line, printable
from slimmer.tar.reading import normalised

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from slimmer.index import Index
    from slimmer.plan.plan import Plan
    from slimmer.plan.steps import Step

SCHEMA_VERSION = 1

Kind = Literal[
    "unplanned",  # a path that differs from what the plan says (law 3)
    "config",  # an environment, a command … that was not carried over
    "layer",  # a layer that no step touches and that is not the same any more (law 4)
    "content",  # a kept file whose bytes differ
    "symlink",  # law 8 from here
    "library",
    "requirement",
    "record",
    "interpreter",  # run-time from here
    "import",
    "load",
    "command",
    "start",
    "answer",
    "health",
]


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that was right before and is not after."""

    kind: Kind
    subject: str
    """What suffers, printable: a path, a module, an owner, a command."""
    lost: str
    """What it lost, or how it differs, on one line for people."""
    path: bytes | None = None
    """The file that is missing or was changed, where that is known."""
    step: str = ""
    """The id of the step that removed or changed that file."""

    @property
    def keep(self) -> str:
        """What `--keep` must name so that the next plan leaves the file alone, or nothing."""
        return "/" + printable(self.path) if self.path is not None and self.step else ""


@dataclass(frozen=True, slots=True)
class Verdict:
    """The outcome of a proof: no faults, or what the next plan has to mind."""

    faults: tuple[Fault, ...] = ()
    checked: tuple[tuple[str, int], ...] = ()
    """What was looked at, and how many of it; in the order in which it was done."""
    notes: tuple[str, ...] = ()
    """What people should know besides: what left as planned, what could not be looked at."""

    @property
    def holds(self) -> bool:
        return not self.faults

    def __add__(self, other: Verdict) -> Verdict:
        counts = dict(self.checked)
        for what, count in other.checked:
            counts[what] = counts.get(what, 0) + count
        return Verdict(
            self.faults + other.faults,
            tuple(counts.items()),
            tuple(dict.fromkeys(self.notes + other.notes)),
        )

    def fields(self, before: str, after: str) -> dict[str, Any]:
        """The verdict as JSON has it; `before` and `after` are what the images are called."""
        return {
            "schema_version": SCHEMA_VERSION,
            "before": one_line(before),
            "after": one_line(after),
            "holds": self.holds,
            "faults": [
                {
                    "kind": fault.kind,
                    "subject": fault.subject,
                    "lost": fault.lost,
                    "path": None if fault.path is None else printable(fault.path),
                    "step": fault.step or None,
                    "keep": fault.keep or None,
                }
                for fault in self.faults
            ],
            "checked": dict(self.checked),
            "notes": list(self.notes),
        }


@dataclass(frozen=True, slots=True)
class Culprits:
    """Which path left or changed, and by which step."""

    before: Index
    removed: frozenset[bytes]
    """Visible paths of the original that the result does not have."""
    steps: tuple[Step, ...] = ()
    _by: Mapping[bytes, Step] = field(default_factory=dict, repr=False)

    @classmethod
    def of(cls, before: Index, after: Index, plan: Plan | None = None) -> Culprits:
        removed = frozenset(before.visible.keys() - after.visible.keys())
        by: dict[bytes, Step] = {}
        for step in plan.steps if plan else ():
            for path in step.removes:
                by.setdefault(path, step)
            for rewrite in step.rewrites:
                by.setdefault(rewrite.path, step)
            for group in step.twins:
                for path in group:
                    by.setdefault(path, step)
        return cls(before, removed, plan.steps if plan else (), by)

    @property
    def swapped(self) -> bool:
        """Whether a step put other builds in place of some, which know themselves by name."""
        return any(step.additions for step in self.steps)

    def step(self, path: bytes | None) -> Step | None:
        """The step that removed or changed a path, or emptied a folder."""
        if path is None or not self._by:
            return None
        found = self._by.get(path)
        if found is None and path in self.removed:
            below = path + b"/"
            found = next((step for one, step in self._by.items() if one.startswith(below)), None)
        return found

    def fault(self, kind: Kind, subject: str, lost: str, path: bytes | None = None) -> Fault:
        """A fault, with the step behind it where there is one."""
        step = self.step(path)
        return Fault(kind, subject, one_line(lost), path, step.id if step else "")

    def gone(self, path: str) -> bytes | None:
        """The removed file that a path at run time means, whichever symlinks lead to it."""
        name = normalised(path.encode("utf-8", "surrogateescape"))
        for candidate in (name, self.before.resolve(name)):
            if candidate in self.removed:
                return candidate
        return None

    def module(self, name: str) -> bytes | None:
        """The removed file that held a Python module."""
        tail = b"/" + name.replace(".", "/").encode("utf-8", "surrogateescape")
        ends = (tail + b".py", tail + b"/__init__.py", tail + b".pyc", tail)
        native = re.compile(re.escape(tail) + rb"\.[^/]*so\Z").search
        found = [path for path in self.removed if path.endswith(ends) or native(path)]
        # A source says more than a folder, and the shortest path is the likeliest.
        return min(found, key=lambda path: (path.endswith(tail), len(path), path), default=None)

    def library(self, name: str) -> bytes | None:
        """The removed file that a soname means, itself or through a symlink."""
        tail = b"/" + name.encode("utf-8", "surrogateescape")
        found = [path for path in self.removed if path.endswith(tail)]
        return min(found, key=lambda path: (len(path), path), default=None)

    def said(self, text: str) -> bytes | None:
        """The removed file that a message of a program speaks of."""
        for pattern, look in _SAYS:
            for match in pattern(text):
                found = look(self, match)
                if found is not None:
                    return found
        return None


_SAYS = (
    (
        re.compile(r"([^\s:'\"]+): cannot open shared object file").findall,
        lambda culprits, name: culprits.gone(name) or culprits.library(name.rpartition("/")[2]),
    ),
    (re.compile(r"No module named '([^']+)'").findall, Culprits.module),
    (
        re.compile(r"cannot import name '([^']+)' from '([^']+)'").findall,
        lambda culprits, names: culprits.module(f"{names[1]}.{names[0]}"),
    ),
    (re.compile(r"No such file or directory: b?'([^']+)'").findall, Culprits.gone),
    (re.compile(r"(/[^\s:'\",;()]+)").findall, Culprits.gone),
)


def counted(what: Mapping[str, int] | Iterable[tuple[str, int]]) -> tuple[tuple[str, int], ...]:
    """Counts as a verdict holds them, without what there was none of."""
    return tuple((name, count) for name, count in dict(what).items() if count)
