"""Steps: what one action does to one target, with its bytes, its risk and its reason.

A refusal is a step that a guard forbade, with the evidence. Actions propose both; a plan chooses.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from slimmer.names import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from slimmer.analysis.facts import Facts
    from slimmer.edits.layer_edit import Addition
    from slimmer.image import Read
    from slimmer.plan.budget import Metric
    from slimmer.policy import Safety
    from slimmer.splice import Splice


@dataclass(frozen=True, slots=True)
class Rewrite:
    """New content for one visible file."""

    path: bytes
    splice: Splice
    before: int
    """Bytes of the file as it is; `splice.size` is what it becomes."""
    again: Callable[[Read, int], Splice | None] | None = None
    """Works the splice out for other content of the file, by `read(offset, length)` and its size:
    what another step made of it. None where the new content does not depend on the old."""


@dataclass(frozen=True, slots=True)
class Step:
    """One action on one target.

    >>> session.plan().steps[0].safety
    <Safety.SAFE: 0>
    """

    rule: str
    """The policy's rule that proposed it."""
    action: str
    target: str
    """What it is about, for people: an owner, a folder, a library."""
    safety: Safety
    why: str
    evidence: str = ""
    """The figure or the proof, on this image."""
    removes: tuple[bytes, ...] = ()
    """Visible paths that leave, folders included."""
    drops: tuple[tuple[int, int], ...] = ()
    """Hidden members that leave: layer number and offset in its tar."""
    rewrites: tuple[Rewrite, ...] = ()
    twins: tuple[tuple[bytes, ...], ...] = ()
    """Groups of identical files of one layer that become one file with several names."""
    additions: tuple[Addition, ...] = ()
    unpacked: int = 0
    """Bytes by which Σ `size` over all layers shrinks, taken alone."""
    rootfs: int = 0
    """Bytes by which the merged tree shrinks, taken alone."""
    disturbs: int = 0
    """Bytes of the files that it removes or changes."""
    options: tuple[tuple[str, Any], ...] = ()
    """What the action needs to know to do the same again from a plan file."""

    @property
    def id(self) -> str:
        """Names the step within its plan, the same on every run."""
        return f"{self.rule}:{self.target}"

    def __repr__(self) -> str:
        return f"Step({self.id!r}, {self.safety}, unpacked={self.unpacked}, rootfs={self.rootfs})"

    def summary(self) -> dict[str, Any]:
        """The step in short, as JSON has it."""
        return {
            "id": printable(self.id),
            "safety": str(self.safety),
            "saves": {"unpacked": self.unpacked, "rootfs": self.rootfs},
            "why": self.why,
        }

    def saves(self, metric: Metric) -> int:
        return self.unpacked if metric == "unpacked" else self.rootfs


@dataclass(frozen=True, slots=True)
class Refusal:
    """A step that a guard forbade."""

    rule: str
    target: str
    guard: str
    evidence: str
    """What was found on this image, for people."""
    size: int
    """Bytes that would have left."""

    def to_dict(self) -> dict[str, Any]:
        """The refusal as JSON has it."""
        return {
            "rule": self.rule,
            "target": printable(self.target),
            "guard": self.guard,
            "evidence": printable(self.evidence),
            "size": self.size,
        }


class Bookkeeper(Protocol):
    """Brings records into line with what leaves or changes, such as a distribution's RECORD."""

    def __call__(
        self, facts: Facts, removed: frozenset[bytes], splices: Mapping[bytes, Splice]
    ) -> Iterable[Rewrite]: ...
