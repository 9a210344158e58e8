"""Steps: what one action does to one target, with its bytes, its risk and its reason.

A refusal is a step that a guard forbade, with the evidence. Actions propose both; a plan chooses.
Steps can be written to a plan file and read from it again.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from slimmer.image import Digest
from slimmer.names import printable, raw
from slimmer.plan.budget import PlanError
from slimmer.policy import Safety
from slimmer.splice import Splice

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from slimmer.analysis.facts import Facts
    from slimmer.edits.layer_edit import Addition
    from slimmer.image import Read
    from slimmer.plan.budget import Metric
    from slimmer.plan.proposals import Ask
    from slimmer.plan.protection import Protection
    from slimmer.policy import Rule


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


class Action(Protocol):
    """One way to shrink; the files of `slimmer/actions` each hold one."""

    @property
    def name(self) -> str: ...

    def propose(
        self, facts: Facts, protection: Protection, rule: Rule, ask: Ask
    ) -> Iterable[Step | Refusal]:
        """Steps with exact sizes, for what the rule selects; nothing for what is kept.

        `ask(paths)` asks the guards of the rule. What they hold is no part of a step; what they
        doubt has a step of its own. An action whose steps touch visible files always asks.
        """
        ...

    def restore(self, facts: Facts, protection: Protection, step: Step) -> Step:
        """A step read from a plan file, with what the file does not hold worked out again."""
        ...


class Bookkeeper(Protocol):
    """Brings records into line with what leaves or changes, such as a distribution's RECORD."""

    def __call__(
        self, facts: Facts, removed: frozenset[bytes], splices: Mapping[bytes, Splice]
    ) -> Iterable[Rewrite]: ...


def step_json(step: Step, facts: Facts) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "id": step.id,
        "rule": step.rule,
        "action": step.action,
        "target": step.target,
        "safety": str(step.safety),
        "why": step.why,
        "evidence": step.evidence,
        "saves": {"unpacked": step.unpacked, "rootfs": step.rootfs},
        "disturbs": step.disturbs,
    }
    if step.options:
        fields["options"] = dict(step.options)
    if step.removes:
        fields["removes"] = facts.folded(step.removes)
    if step.drops:
        fields["drops"] = [list(drop) for drop in step.drops]
    if step.rewrites:
        fields["rewrites"] = [
            {
                "path": printable(rewrite.path),
                "before": rewrite.before,
                "after": rewrite.splice.size,
            }
            for rewrite in step.rewrites
        ]
    if step.twins:
        fields["twins"] = [[printable(path) for path in twin] for twin in step.twins]
    if step.additions:
        fields["adds"] = len(step.additions)
    return fields | {"digest": _digest(fields)}


def _digest(fields: Mapping[str, Any]) -> str:
    """Tells a step that was changed from one that was only kept."""
    return Digest.of(json.dumps(fields, sort_keys=True).encode())


_KEYS = frozenset(
    (
        *("id", "rule", "action", "target", "safety", "why", "evidence", "saves", "disturbs"),
        *("options", "removes", "drops", "rewrites", "twins", "adds", "digest"),
    )
)


def step_of(entry: object, facts: Facts, where: str) -> Step:
    """A step as its file has it; what the file leaves out is for its action to restore."""
    if not isinstance(entry, dict):
        raise PlanError(f"{where}: expected an object, got {entry!r:.60}")
    for key in entry:
        if key not in _KEYS:
            raise PlanError(f"{where}: there is no key {key!r}")
    told = {key: value for key, value in entry.items() if key != "digest"}
    if entry.get("digest") != _digest(told):
        raise PlanError(
            f"{where}: the step was changed since the plan was made",
            hint="a plan may only lose steps; make a new one, with --keep for what must stay",
        )
    saves = entry.get("saves")
    if not isinstance(saves, dict):
        raise PlanError(f"{where}.saves: expected an object, got {saves!r:.60}")
    options = entry.get("options", {})
    if not isinstance(options, dict):
        raise PlanError(f"{where}.options: expected an object, got {options!r:.60}")
    index = facts.index
    starts = (
        {
            number: {hidden.header.start for hidden in index.layers[number].hidden}
            for number in range(len(index.layers))
        }
        if entry.get("drops")
        else {}
    )
    drops: list[tuple[int, int]] = []
    for drop in as_list(entry.get("drops", []), f"{where}.drops"):
        match drop:
            case [int(number), int(start)] if start in starts.get(number, ()):
                drops.append((number, start))
            case _:
                raise PlanError(f"{where}.drops: the image has no hidden member {drop!r:.60}")
    rewrites: list[Rewrite] = []
    for rewrite in as_list(entry.get("rewrites", []), f"{where}.rewrites"):
        if not isinstance(rewrite, dict):
            raise PlanError(f"{where}.rewrites: expected an object, got {rewrite!r:.60}")
        path = _path(rewrite.get("path"), facts, f"{where}.rewrites")
        rewrites.append(Rewrite(path, Splice(()), index.visible[path].size))
    return Step(
        rule=str(entry.get("rule", "")),
        action=str(entry.get("action", "")),
        target=str(entry.get("target", "")),
        safety=Safety.parse(entry.get("safety"), f"{where}.safety"),
        why=str(entry.get("why", "")),
        evidence=str(entry.get("evidence", "")),
        removes=tuple(
            path
            for text in as_list(entry.get("removes", []), f"{where}.removes")
            for path in _unfolded(text, facts, f"{where}.removes")
        ),
        drops=tuple(drops),
        rewrites=tuple(rewrites),
        twins=tuple(
            tuple(_path(text, facts, f"{where}.twins") for text in as_list(twin, f"{where}.twins"))
            for twin in as_list(entry.get("twins", []), f"{where}.twins")
        ),
        unpacked=_whole(saves.get("unpacked"), f"{where}.saves.unpacked"),
        rootfs=_whole(saves.get("rootfs"), f"{where}.saves.rootfs"),
        disturbs=_whole(entry.get("disturbs", 0), f"{where}.disturbs"),
        options=tuple(sorted(options.items())),
    )


def _path(text: object, facts: Facts, where: str) -> bytes:
    path = raw(text) if isinstance(text, str) else b""
    if path not in facts.index.visible:
        raise PlanError(
            f"{where}: the image has no file {text!r:.100}",
            hint="a plan may only lose steps; make a new one rather than write into it",
        )
    return path


def _unfolded(text: object, facts: Facts, where: str) -> Iterable[bytes]:
    if not isinstance(text, str) or not text.endswith("/"):
        return (_path(text, facts, where),)
    folder = _path(text[:-1], facts, where)
    return (folder, *facts.below(folder))


def as_list(value: object, where: str) -> list[Any]:
    if not isinstance(value, list):
        raise PlanError(f"{where}: expected a list, got {value!r:.60}")
    return value


def _whole(value: object, where: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise PlanError(f"{where}: expected bytes, got {value!r:.60}")
    return value
