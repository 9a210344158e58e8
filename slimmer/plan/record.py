"""What a written image says of the steps that made it, and what a plan file says of its own.

A label holds it, so that the image alone tells what left, by which step, and what was known of it.
Names are `folder/` for a folder with all that lay below it, and `folder/*` for some of it: where
there are too many names for a label, the deepest are told by their folders.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from slimmer.errors import SlimmerError
from slimmer.names import printable, raw
from slimmer.policy import Safety

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from slimmer.plan.plan import Plan
    from slimmer.plan.steps import Step

VERSION = 1
LIMIT = 64 << 10
"""Bytes of a label: engines and registries take configs of megabytes."""
LARGEST = 64 << 20
"""Bytes of a record that is read: a plan file may name every file of an image."""


class RecordError(SlimmerError):
    """A record of steps that is none."""


@dataclass(frozen=True, slots=True)
class RecordedStep:
    """A step as it is remembered."""

    rule: str
    target: str
    action: str
    safety: Safety
    why: str
    evidence: str
    removes: tuple[str, ...] = ()
    """Names of what left, as the module says."""
    changes: tuple[str, ...] = ()
    """Names of files whose content is another."""

    @property
    def id(self) -> str:
        return f"{self.rule}:{self.target}"


@dataclass(frozen=True, slots=True)
class Record:
    """The steps that made an image."""

    steps: tuple[RecordedStep, ...]

    @classmethod
    def of(cls, plan: Plan) -> Self:
        gone = plan.changes.removed
        return cls(
            tuple(
                RecordedStep(
                    step.rule,
                    step.target,
                    step.action,
                    step.safety,
                    step.why,
                    step.evidence,
                    tuple(_folded(step.removes, gone)),
                    tuple(sorted(_changed(step))),
                )
                for step in plan.steps
            )
        )

    def label(self) -> str:
        """The record as a label's text: the same on any machine, and of bounded length."""
        depth = max((name.count("/") for step in self.steps for name in step.removes), default=0)
        text = self._text(depth + 1)
        for exact, evidence in ((True, True), (False, True), (False, False)):
            # Halfway first: few plans need more than one or two tries.
            low, high = 0, depth
            while len(text) > LIMIT and low < high:
                middle = (low + high + 1) // 2
                if len(self._text(middle, exact=exact, evidence=evidence)) > LIMIT:
                    high = middle - 1
                else:
                    low = middle
            if len(text) > LIMIT:
                text = self._text(max(low, 1), exact=exact, evidence=evidence)
        count = len(self.steps)
        while len(text) > LIMIT:
            # The steps of least risk come first; what is told of the others is that they were.
            count = count * LIMIT // len(text)
            text = Record(self.steps[:count])._text(1, exact=False, evidence=False)
        return text

    def _text(self, depth: int, *, exact: bool = True, evidence: bool = True) -> str:
        rules: dict[tuple[str, ...], int] = {}
        steps = []
        for step in self.steps:
            # Steps of one rule may differ in what was known of them.
            rule = (step.rule, step.action, str(step.safety), step.why)
            number = rules.setdefault(rule, len(rules))
            told: dict[str, Any] = {"rule": number, "target": step.target}
            if evidence and step.evidence:
                told["evidence"] = step.evidence
            for key, names in (("removes", step.removes), ("changes", step.changes)):
                if names:
                    told[key] = list(_shallow(names, depth, exact=exact))
            steps.append(told)
        fields = {"version": VERSION, "rules": list(rules), "steps": steps}
        return json.dumps(fields, separators=(",", ":"), ensure_ascii=True)

    @classmethod
    def parse(cls, text: str, source: str) -> Self:
        """Read a label or a plan file; raises RecordError for anything else."""
        if len(text) > LARGEST:
            raise RecordError(f"{source} has {len(text)} bytes: more than any record of steps")
        try:
            fields = json.loads(text)
        except (ValueError, RecursionError):
            raise RecordError(f"{source} is no plan: it is not JSON") from None
        match fields:
            case {"version": 1, "rules": list(rules), "steps": list(steps)}:
                made = (_step(_told(step, rules), source) for step in steps)
            case {"schema_version": 1, "image": str(), "steps": list(steps)}:
                made = (_step(step, source) for step in steps)
            case _:
                raise RecordError(
                    f"{source} is no plan that this version reads",
                    hint="slimmer plan IMAGE -o plan.json writes one",
                )
        return cls(tuple(made))


def _folded(paths: Iterable[bytes], gone: frozenset[bytes]) -> Iterator[str]:
    """Paths, each by its topmost folder that left with all that it held."""
    names: dict[str, None] = {}
    for path in paths:
        name = printable(path)
        folder = path
        while (folder := folder[: max(folder.rfind(b"/"), 0)]) and folder in gone:
            name = printable(folder) + "/"
        names[name] = None
    return iter(sorted(names))


def _changed(step: Step) -> Iterator[str]:
    yield from {printable(rewrite.path) for rewrite in step.rewrites}


def _shallow(names: Sequence[str], depth: int, *, exact: bool) -> Iterator[str]:
    """Names of at most so many parts; what lies deeper is told by the last folder of these.

    Libraries and programs are called by their own names, and keep them if `exact`.
    """
    seen: dict[str, None] = {}
    for name in names:
        parts = name.rstrip("/").split("/")
        called = exact and (".so" in parts[-1] or parts[-2:-1] in (["bin"], ["sbin"]))
        if len(parts) <= depth or (called and not name.endswith("/")):
            seen[name] = None
        else:
            seen["/".join(parts[:depth]) + "/*"] = None
    return iter(seen)


def _told(step: object, rules: Sequence[object]) -> object:
    """A step of a label with what its rule says."""
    fields: dict[str, Any] = step if isinstance(step, dict) else {}
    number = fields.get("rule")
    if isinstance(number, int) and 0 <= number < len(rules):
        match rules[number]:
            case [str(rule), str(action), str(safety), str(why)]:
                return fields | {"rule": rule, "action": action, "safety": safety, "why": why}
    return step


def _step(told: object, source: str) -> RecordedStep:
    fields: Mapping[str, Any] = told if isinstance(told, dict) else {}
    match fields:
        case {"rule": str(rule), "target": str(target), "action": str(action)}:
            rewrites = (one for one in _list(fields, "rewrites") if isinstance(one, dict))
            changes = (*_list(fields, "changes"), *(one.get("path") for one in rewrites))
            return RecordedStep(
                rule,
                target,
                action,
                Safety.parse(fields.get("safety"), f"{source}: {rule}"),
                _text(fields.get("why")),
                _text(fields.get("evidence")),
                tuple(name for name in _list(fields, "removes") if isinstance(name, str)),
                tuple(name for name in changes if isinstance(name, str)),
            )
        case _:
            raise RecordError(f"{source}: expected a step, got {told!r:.60}")


def _list(step: Mapping[str, Any], key: str) -> list[Any]:
    value = step.get(key)
    return value if isinstance(value, list) else []


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def path_of(name: str) -> tuple[bytes, str]:
    """The path of a name, and what it stands for: `file`, `whole` or `some` of a folder."""
    if name.endswith("/*"):
        return raw(name[:-2]), "some"
    if name.endswith("/"):
        return raw(name[:-1]), "whole"
    return raw(name), "file"
