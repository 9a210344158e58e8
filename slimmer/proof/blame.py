"""What a program's message has to do with what left: the file, the step, and how to get it back."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

from slimmer.names import one_line, printable
from slimmer.proof.messages import MENTIONS, meant, mentions, paths_in

if TYPE_CHECKING:
    from collections.abc import Iterator

    from slimmer.proof.losses import Losses, Reason

SCHEMA_VERSION = 1
LINE = 200
"""Characters of a message that are shown."""
CAUSES = 50
"""Files that are named at most."""


@dataclass(frozen=True, slots=True)
class Cause:
    """A file that left or changed and that a message names."""

    message: str
    """The line that names it, printable and bounded."""
    line: int
    """Its number, from 1 on."""
    path: bytes
    changed: bool
    """Whether the file is there with another content."""
    certain: bool
    """False where only its folder is known to have lost files."""
    reason: Reason | None

    @property
    def keep(self) -> str:
        """What `--keep` must name so that the next plan leaves the file alone: a package whole."""
        return "/" + printable(self.path).removesuffix("__init__.py")

    def to_dict(self) -> dict[str, Any]:
        reason = self.reason
        return {
            "message": self.message,
            "line": self.line,
            "path": printable(self.path),
            "how": "changed" if self.changed else "left",
            "certain": self.certain,
            "step": reason and one_line(reason.id),
            "rule": reason and one_line(reason.rule),
            "action": reason and one_line(reason.action),
            "safety": reason and str(reason.safety),
            "why": reason and one_line(reason.why),
            "evidence": (reason and one_line(reason.evidence)) or None,
            "keep": self.keep,
        }


@dataclass(frozen=True, slots=True)
class Blame:
    """What of a log's messages is the doing of what left."""

    causes: tuple[Cause, ...]
    """In the order of the log, each file once."""
    more: int = 0
    """Files that are named besides."""

    @classmethod
    def of(cls, text: str, losses: Losses) -> Blame:
        """Read a log; time and output are bounded whatever it holds."""
        found: dict[bytes, int] = {}
        for mention in islice(mentions(text), MENTIONS):
            for path in _paths(mention, losses):
                place = found.setdefault(path, mention.place)
                found[path] = min(place, mention.place)
        if not found:
            # No message that is known; but a path that left is a path that is not there.
            for path, place in paths_in(text, losses):
                found.setdefault(path, place)
        lines = _starts(text)
        ordered = sorted(found.items(), key=lambda one: (one[1], one[0]))
        causes = tuple(_cause(text, lines, path, place, losses) for path, place in ordered[:CAUSES])
        return cls(causes, len(ordered) - len(causes))

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it."""
        return {
            "schema_version": SCHEMA_VERSION,
            "causes": [cause.to_dict() for cause in self.causes],
            "more": self.more,
        }


def _paths(mention: Any, losses: Losses) -> Iterator[bytes]:
    if mention.kind == "device code":
        cut = (path for path, why in losses.changed.items() if why and why.action == "device-code")
        yield from islice(cut, 5)
        return
    path = meant(mention, losses)
    if path is not None:
        yield path


def _cause(text: str, lines: list[int], path: bytes, place: int, losses: Losses) -> Cause:
    number = bisect_right(lines, place) - 1
    start = max(lines[number], place - LINE // 2)
    end = text.find("\n", place, place + LINE)
    message = one_line(text[start : end if end >= 0 else place + LINE])[:LINE]
    changed = path in losses.changed and path not in losses.left
    return Cause(message, number + 1, path, changed, losses.certain(path), losses.reason(path))


def _starts(text: str) -> list[int]:
    """Offsets at which lines begin."""
    starts = [0]
    at = text.find("\n")
    while at >= 0:
        starts.append(at + 1)
        at = text.find("\n", at + 1)
    return starts
