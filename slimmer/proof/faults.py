"""What a proof found: faults, each with what it lost and the step that took it away."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from slimmer.names import one_line, printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

SCHEMA_VERSION = 1

Kind = Literal[
    "tar",  # a layer's tar that engines refuse, or read otherwise than its writer meant
    "unplanned",  # a path that differs from what the plan says (law 3)
    "lost",  # without a plan: a path that left and that nobody allowed to
    "changed",  # without a plan: a path that is there and is not what it was
    "config",  # an environment, a command … that was not carried over
    "layer",  # a layer that no step touches and that is not the same any more (law 4)
    "content",  # a kept file whose bytes differ
    "entry",  # the program that the image starts is not there, or cannot be run
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
    """The outcome of a proof: no faults, or what the next plan has to mind.

    >>> session.verify("app.tar", slimmer.VerifyOptions(static=True)).records()
    []
    """

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

    def __repr__(self) -> str:
        said = "holds" if self.holds else f"{len(self.faults)} faults"
        return f"Verdict({said}, {sum(count for _, count in self.checked)} things checked)"

    def records(self) -> list[dict[str, Any]]:
        """The faults as plain records: what pandas, polars and csv take."""
        faults: list[dict[str, Any]] = self.to_dict()["faults"]
        return faults

    def to_dict(self, before: str = "", after: str = "") -> dict[str, Any]:
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


def counted(what: Mapping[str, int] | Iterable[tuple[str, int]]) -> tuple[tuple[str, int], ...]:
    """Counts as a verdict holds them, without what there was none of."""
    return tuple((name, count) for name, count in dict(what).items() if count)
