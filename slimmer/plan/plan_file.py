"""Plan files: versioned JSON, for people to read and to drop steps from.

What a file says is checked against the image that it is for; what it leaves out (new contents of
files, members of a wheel) is for the actions to work out again.
"""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from slimmer.image import Digest
from slimmer.names import printable, raw
from slimmer.plan.budget import Budget, PlanError
from slimmer.plan.steps import Rewrite, Step
from slimmer.policy import Safety
from slimmer.splice import Splice

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from slimmer.analysis.facts import Facts
    from slimmer.plan.budget import Sizes

SCHEMA_VERSION = 1


def render(
    facts: Facts,
    policy: str,
    budget: Budget | None,
    steps: Iterable[Step],
    before: Sizes,
    after: Sizes,
) -> str:
    """The steps of a plan for an image, and what they promise, as a file."""
    fields = {
        "schema_version": SCHEMA_VERSION,
        "image": facts.index.image.id,
        "policy": policy,
        "budget": budget and {"max": budget.maximum, "metric": budget.metric},
        "before": before.fields(),
        "after": after.fields(),
        "steps": [_step_fields(step, facts) for step in steps],
    }
    return json.dumps(fields, indent=1, ensure_ascii=True) + "\n"


def _step_fields(step: Step, facts: Facts) -> dict[str, Any]:
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


class Content(NamedTuple):
    """What a plan file says, checked."""

    policy: str
    budget: Budget | None
    steps: tuple[tuple[str, Step], ...]
    """Where each step stands, for messages, and the step as far as the file has it."""


def read(text: str, facts: Facts, source: str) -> Content:
    """Read a plan file for the image that it was made for.

    Raises PlanError for another image, for a path that the image does not have, for an unknown
    version or key, and for a step that was changed.
    """
    try:
        fields = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise PlanError(f"{source}: expected a plan in JSON: {error}") from None
    if not isinstance(fields, dict):
        raise PlanError(f"{source}: expected a plan, got {type(fields).__name__}")
    if fields.get("schema_version") != SCHEMA_VERSION:
        raise PlanError(
            f"{source}: expected schema_version {SCHEMA_VERSION}, "
            f"got {fields.get('schema_version')!r:.60}",
            hint="make the plan again with this version of slimmer",
        )
    image = facts.index.image.id
    if fields.get("image") != image:
        raise PlanError(
            f"{source} is a plan for the image {str(fields.get('image'))[:19]},"
            f" not for {image[:19]}",
            hint="make a plan for this image: slimmer plan IMAGE -o plan.json",
        )
    places = _Places(facts)
    entries = _list(fields.get("steps"), f"{source}: steps")
    wheres = [f"{source}: steps[{number}]" for number in range(len(entries))]
    return Content(
        str(fields.get("policy", "")),
        _budget(fields.get("budget"), f"{source}: budget"),
        tuple(
            (where, _step(entry, places, where))
            for where, entry in zip(wheres, entries, strict=True)
        ),
    )


def _budget(value: object, where: str) -> Budget | None:
    if value is None:
        return None
    if not isinstance(value, dict):
        raise PlanError(f"{where}: expected an object, got {value!r:.60}")
    return Budget.of(_bytes(value.get("max"), f"{where}.max"), str(value.get("metric")))


_KEYS = frozenset(
    (
        *("id", "rule", "action", "target", "safety", "why", "evidence", "saves", "disturbs"),
        *("options", "removes", "drops", "rewrites", "twins", "adds", "digest"),
    )
)


def _step(entry: object, places: _Places, where: str) -> Step:
    """A step as its file has it."""
    fields = _object(entry, where)
    for key in fields:
        if key not in _KEYS:
            raise PlanError(f"{where}: there is no key {key!r:.60}")
    told = {key: value for key, value in fields.items() if key != "digest"}
    if fields.get("digest") != _digest(told):
        raise PlanError(
            f"{where}: the step was changed since the plan was made",
            hint="a plan may only lose steps; make a new one, with --keep for what must stay",
        )
    saves = _object(fields.get("saves"), f"{where}.saves")
    options = _object(fields.get("options", {}), f"{where}.options")
    return Step(
        rule=str(fields.get("rule", "")),
        action=str(fields.get("action", "")),
        target=str(fields.get("target", "")),
        safety=Safety.parse(fields.get("safety"), f"{where}.safety"),
        why=str(fields.get("why", "")),
        evidence=str(fields.get("evidence", "")),
        removes=tuple(places.unfolded(fields.get("removes", []), f"{where}.removes")),
        drops=tuple(places.hidden(fields.get("drops", []), f"{where}.drops")),
        rewrites=tuple(places.rewrites(fields.get("rewrites", []), f"{where}.rewrites")),
        twins=tuple(places.twins(fields.get("twins", []), f"{where}.twins")),
        unpacked=_bytes(saves.get("unpacked"), f"{where}.saves.unpacked"),
        rootfs=_bytes(saves.get("rootfs"), f"{where}.saves.rootfs"),
        disturbs=_bytes(fields.get("disturbs", 0), f"{where}.disturbs"),
        options=tuple(sorted(options.items())),
    )


@dataclass(frozen=True, slots=True)
class _Places:
    """What a plan file names of the image: nothing that is not there."""

    facts: Facts

    def path(self, text: object, where: str) -> bytes:
        path = raw(text) if isinstance(text, str) else b""
        if path not in self.facts.index.visible:
            raise PlanError(
                f"{where}: the image has no file {text!r:.100}",
                hint="a plan may only lose steps; make a new one rather than write into it",
            )
        return path

    def unfolded(self, value: object, where: str) -> Iterator[bytes]:
        """Paths; `folder/` is a folder with all that lies below it."""
        for text in _list(value, where):
            if isinstance(text, str) and text.endswith("/"):
                folder = self.path(text[:-1], where)
                yield folder
                yield from self.facts.below(folder)
            else:
                yield self.path(text, where)

    def hidden(self, value: object, where: str) -> Iterator[tuple[int, int]]:
        """Members that later layers hide: number of the layer, and offset in its tar."""
        drops = _list(value, where)
        starts: defaultdict[int, set[int]] = defaultdict(set)
        for layer in self.facts.index.layers if drops else ():
            starts[layer.number].update(hidden.header.start for hidden in layer.hidden)
        for drop in drops:
            match drop:
                case [int(number), int(start)] if start in starts.get(number, ()):
                    yield number, start
                case _:
                    raise PlanError(f"{where}: the image has no hidden member {drop!r:.60}")

    def rewrites(self, value: object, where: str) -> Iterator[Rewrite]:
        """Files that get new content; which one, an action works out."""
        for entry in _list(value, where):
            path = self.path(_object(entry, where).get("path"), where)
            yield Rewrite(path, Splice(()), self.facts.index.visible[path].size)

    def twins(self, value: object, where: str) -> Iterator[tuple[bytes, ...]]:
        """Groups of files that become one."""
        for twin in _list(value, where):
            yield tuple(self.path(text, where) for text in _list(twin, where))


def _object(value: object, where: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise PlanError(f"{where}: expected an object, got {value!r:.60}")
    return value


def _list(value: object, where: str) -> list[Any]:
    if not isinstance(value, list):
        raise PlanError(f"{where}: expected a list, got {value!r:.60}")
    return value


def _bytes(value: object, where: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise PlanError(f"{where}: expected bytes, got {value!r:.60}")
    return value
