"""Plans: steps that shrink an image, the budget they must meet, and what they promise.

A step is one action on one target, with its bytes, its risk and its reason; a refusal is a step
that a guard forbade, with the evidence. The solver picks the least risky steps that fit. A plan
is bound to one image, can be written to a file, read by people, edited, and carried out later.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, Protocol, get_args

from slimmer.changes import Changes
from slimmer.errors import SlimmerError
from slimmer.image import Digest
from slimmer.names import printable, raw
from slimmer.policy import Safety
from slimmer.splice import Splice, compose, view

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from slimmer.changes import Addition
    from slimmer.image import Read
    from slimmer.policy import Policy, Rule
    from slimmer.subject import Subject

SCHEMA_VERSION = 1
Metric = Literal["unpacked", "rootfs"]
"""What a plan can promise; `packed` is only known once an image is written."""


class PlanError(SlimmerError):
    """A plan that cannot be made, read or carried out."""


@dataclass(frozen=True, slots=True)
class Budget:
    """How large an image may be."""

    maximum: int
    """Bytes."""
    metric: Metric = "unpacked"

    @classmethod
    def of(cls, maximum: int, metric: str) -> Budget:
        for known in get_args(Metric):
            if metric == known:
                return cls(maximum, known)
        raise PlanError(
            f"a plan can bound unpacked or rootfs, not {metric!r}",
            hint="packed sizes are known once an image is written; check them with slimmer budget",
        )


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
    """One action on one target."""

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


class Action(Protocol):
    """One way to shrink; the files of `slimmer/actions` each hold one."""

    @property
    def name(self) -> str: ...

    def propose(self, subject: Subject, rule: Rule) -> Iterable[Step | Refusal]:
        """Steps with exact sizes, for what the rule selects; nothing for what is kept."""
        ...

    def restore(self, subject: Subject, step: Step) -> Step:
        """A step read from a plan file, with what the file does not hold worked out again."""
        ...


class Bookkeeper(Protocol):
    """Brings records into line with what leaves or changes, such as a distribution's RECORD."""

    def __call__(
        self, subject: Subject, removed: frozenset[bytes], splices: Mapping[bytes, Splice]
    ) -> Iterable[Rewrite]: ...


@dataclass(frozen=True, slots=True)
class Plan:
    """The steps chosen for one image, and what they promise to the byte."""

    image: Digest
    """ID of the image that the plan is for; it fits no other."""
    policy: str
    budget: Budget | None
    steps: tuple[Step, ...]
    """In the order of the ladder: least risk first, most bytes first."""
    spare: tuple[Step, ...]
    """Steps that the accepted safety allows but the budget did not need."""
    riskier: tuple[Step, ...]
    """Steps beyond the accepted safety."""
    refusals: tuple[Refusal, ...]
    before: tuple[int, int]
    """`unpacked` and `rootfs` of the image."""
    after: tuple[int, int]
    """`unpacked` and `rootfs` of the result, exact."""
    changes: Changes
    subject: Subject
    notes: tuple[str, ...] = ()

    @classmethod
    def of(
        cls,
        subject: Subject,
        policy: Policy,
        actions: Mapping[str, Action],
        bookkeeping: Iterable[Bookkeeper],
        budget: Budget | None = None,
        accept: Safety | None = None,
    ) -> Plan:
        """Propose every step of the policy, and choose.

        Without a budget every step at or below `accept` (the policy's own level if None); with
        one, the least risky set that fits, and inside one level the one that disturbs least.
        """
        accept = policy.safety if accept is None else accept
        proposed: list[Step] = []
        refusals: list[Refusal] = []
        notes: list[str] = []
        for rule in sorted(policy.rules, key=lambda rule: rule.safety):
            action = actions.get(rule.action)
            if action is None:
                raise PlanError(f"{rule.where}: no action carries out {rule.action!r}")
            found = list(action.propose(subject, rule))
            if not found:
                notes.append(f"the rule {rule.name} found nothing in this image")
            for outcome in found:
                if isinstance(outcome, Step):
                    proposed.append(outcome)
                else:
                    refusals.append(outcome)
        steps = _without_overlap(subject, proposed)
        keepers = tuple(bookkeeping)
        allowed = [step for step in steps if step.safety <= accept]
        metric: Metric = budget.metric if budget else "unpacked"
        chosen = allowed
        if budget is not None:
            excess = _sizes(subject)[_METRICS.index(metric)] - budget.maximum
            # Hidden bytes are in no merged tree: dropping them saves nothing of `rootfs`.
            helpful = sum(step.saves(metric) > 0 for step in allowed)
            while True:
                chosen = choose(allowed, excess, metric)
                changes = settle(subject, chosen, keepers)
                short = _promise(changes, metric) - budget.maximum
                if short <= 0 or len(chosen) == helpful:
                    break
                excess += short  # the records cost, or shared bytes gave less than they promised
        changes = settle(subject, chosen, keepers)
        picked = {id(step) for step in chosen}
        return cls(
            subject.index.image.id,
            policy.name,
            budget,
            tuple(chosen),
            tuple(step for step in allowed if id(step) not in picked),
            tuple(step for step in steps if step.safety > accept),
            tuple(sorted(refusals, key=lambda refusal: -refusal.size)),
            _sizes(subject),
            (changes.after.unpacked, changes.after.rootfs),
            changes,
            subject,
            tuple(notes),
        )

    @property
    def metric(self) -> Metric:
        return self.budget.metric if self.budget else "unpacked"

    @property
    def shortfall(self) -> int:
        """Bytes by which the result is over the budget; 0 where it fits or none was set."""
        if self.budget is None:
            return 0
        return max(0, self.after[_METRICS.index(self.metric)] - self.budget.maximum)

    @property
    def bookkeeping(self) -> int:
        """Bytes that the result differs from the sum of the steps: rewritten records, and bytes
        that two steps share."""
        at = _METRICS.index(self.metric)
        return (
            self.before[at] - self.after[at] - sum(step.saves(self.metric) for step in self.steps)
        )

    @property
    def digest(self) -> Digest:
        """Identifies the plan: the same image and steps give the same digest."""
        return Digest.of(self.to_json().encode())

    def to_json(self) -> str:
        """The plan as a file: versioned, for people to read and to drop steps from."""
        return (
            json.dumps(
                {
                    "schema_version": SCHEMA_VERSION,
                    "image": self.image,
                    "policy": self.policy,
                    "budget": None
                    if self.budget is None
                    else {"max": self.budget.maximum, "metric": self.budget.metric},
                    "before": dict(zip(_METRICS, self.before, strict=True)),
                    "after": dict(zip(_METRICS, self.after, strict=True)),
                    "steps": [_step_json(step, self.subject) for step in self.steps],
                },
                indent=1,
                ensure_ascii=True,
            )
            + "\n"
        )

    @classmethod
    def read(
        cls,
        text: str,
        subject: Subject,
        actions: Mapping[str, Action],
        bookkeeping: Iterable[Bookkeeper],
        source: str = "plan",
    ) -> Plan:
        """Read a plan file for the image it was made for, and work out anew what it promises.

        Raises PlanError for another image, for a path that the image does not have, for an
        unknown version, action or key.
        """
        fields = _read_json(text, source)
        if fields.get("schema_version") != SCHEMA_VERSION:
            raise PlanError(
                f"{source}: expected schema_version {SCHEMA_VERSION}, "
                f"got {fields.get('schema_version')!r}",
                hint="make the plan again with this version of slimmer",
            )
        image = subject.index.image.id
        if fields.get("image") != image:
            raise PlanError(
                f"{source} is a plan for the image {str(fields.get('image'))[:19]}, "
                f"not for {image[:19]}",
                hint="make a plan for this image: slimmer plan IMAGE -o plan.json",
            )
        budget = fields.get("budget")
        steps: list[Step] = []
        for number, entry in enumerate(_list(fields.get("steps"), f"{source}: steps")):
            where = f"{source}: steps[{number}]"
            step = _step_of(entry, subject, where)
            action = actions.get(step.action)
            if action is None:
                raise PlanError(f"{where}.action: there is no action {step.action!r}")
            steps.append(action.restore(subject, step))
        changes = settle(subject, steps, tuple(bookkeeping))
        return cls(
            image,
            str(fields.get("policy", "")),
            Budget.of(int(budget["max"]), str(budget["metric"]))
            if isinstance(budget, dict) and {"max", "metric"} <= budget.keys()
            else None,
            tuple(steps),
            (),
            (),
            (),
            _sizes(subject),
            (changes.after.unpacked, changes.after.rootfs),
            changes,
            subject,
        )


_METRICS: tuple[Metric, ...] = ("unpacked", "rootfs")


def choose(steps: Sequence[Step], excess: int, metric: Metric) -> list[Step]:
    """The least risky steps that save `excess` bytes; all of them where they do not.

    Level by level: a level is taken whole only when it is needed whole. Within the last one the
    set that disturbs the fewest bytes is a covering knapsack; `_cheapest` solves it to within a
    factor of two, and exactly where one step is enough.
    """
    if excess <= 0:
        return []
    chosen: list[Step] = []
    for level in Safety:
        here = [step for step in steps if step.safety == level and step.saves(metric) > 0]
        saves = sum(step.saves(metric) for step in here)
        if saves >= excess:
            wanted = {id(step) for step in _cheapest(here, excess, metric)}
            return chosen + [step for step in here if id(step) in wanted]
        chosen += here
        excess -= saves
    return chosen


def _cheapest(steps: Sequence[Step], excess: int, metric: Metric) -> list[Step]:
    """Steps that save `excess` together and disturb few bytes; all of them together suffice.

    Steps are taken by bytes saved for bytes disturbed; at each point the cheapest single step
    that would finish the job is tried as the last one, and the best of all these sets wins.
    """
    ranked = sorted(
        steps, key=lambda step: (-step.saves(metric) / max(step.disturbs, 1), step.saves(metric))
    )
    best: list[Step] = []
    cost = -1
    saved = spent = 0
    for place, step in enumerate(ranked):
        last = min(
            (one for one in ranked[place:] if saved + one.saves(metric) >= excess),
            key=lambda one: one.disturbs,
            default=None,
        )
        if last is not None and (cost < 0 or spent + last.disturbs < cost):
            best = [*ranked[:place], last]
            cost = spent + last.disturbs
        saved += step.saves(metric)
        spent += step.disturbs
        if saved >= excess:
            break
    left = sum(step.saves(metric) for step in best)
    for step in sorted(best, key=lambda step: -step.disturbs):
        if left - step.saves(metric) >= excess:
            best.remove(step)
            left -= step.saves(metric)
    return best


def settle(subject: Subject, steps: Iterable[Step], bookkeeping: Iterable[Bookkeeper]) -> Changes:
    """What a set of steps does to the image, records included."""
    steps = tuple(steps)
    removed = frozenset(path for step in steps for path in step.removes)
    splices = _combined(subject, steps, removed)
    additions = [addition for step in steps for addition in step.additions]
    added = {addition.header.path for addition in additions}
    for keeper in bookkeeping:
        for rewrite in keeper(subject, removed, splices):
            if rewrite.path not in added:
                splices.setdefault(rewrite.path, rewrite.splice)
    return Changes.of(
        subject.index,
        removed,
        (drop for step in steps for drop in step.drops),
        splices,
        (twin for step in steps for twin in step.twins),
        additions,
        subject.stays,
    )


def _combined(
    subject: Subject, steps: Iterable[Step], removed: frozenset[bytes]
) -> dict[bytes, Splice]:
    """One splice for each rewritten file: the second step works on what the first one made."""
    wanted: dict[bytes, list[Rewrite]] = {}
    for step in steps:
        for rewrite in step.rewrites:
            if rewrite.path not in removed:
                wanted.setdefault(rewrite.path, []).append(rewrite)
    splices = {path: rewrites[0].splice for path, rewrites in wanted.items()}
    several = [path for path, rewrites in wanted.items() if len(rewrites) > 1]
    for path, read in subject.readers(several):
        splice = splices[path]
        for rewrite in wanted[path][1:]:
            if rewrite.again is None:
                splice = rewrite.splice
                continue
            further = rewrite.again(view(read, splice), splice.size)
            if further is not None:
                splice = compose(splice, further)
        splices[path] = splice
    return splices


def _without_overlap(subject: Subject, steps: Iterable[Step]) -> list[Step]:
    """Steps in ladder order, each path taken by the first that names it and counted once."""
    taken: set[bytes] = set()
    dropped: set[tuple[int, int]] = set()
    size_of = subject.ledger.size_of
    result: list[Step] = []
    for step in sorted(steps, key=lambda step: (step.safety, -step.unpacked, step.id)):
        removes = tuple(path for path in step.removes if path not in taken)
        drops = tuple(drop for drop in step.drops if drop not in dropped)
        rewrites = tuple(rewrite for rewrite in step.rewrites if rewrite.path not in taken)
        lost = sum(size_of.get(path, 0) for path in step.removes if path in taken) + sum(
            rewrite.before - rewrite.splice.size
            for rewrite in step.rewrites
            if rewrite.path in taken
        )
        if (removes, drops, rewrites) != (step.removes, step.drops, step.rewrites):
            step = replace(
                step,
                removes=removes,
                drops=drops,
                rewrites=rewrites,
                unpacked=step.unpacked - lost,
                rootfs=step.rootfs - lost,
                disturbs=max(0, step.disturbs - lost),
            )
        if step.unpacked <= 0 and step.rootfs <= 0:
            continue
        taken.update(removes)
        dropped.update(drops)
        result.append(step)
    return result


def _sizes(subject: Subject) -> tuple[int, int]:
    return subject.index.unpacked, subject.index.rootfs


def _promise(changes: Changes, metric: Metric) -> int:
    return changes.after.unpacked if metric == "unpacked" else changes.after.rootfs


def _step_json(step: Step, subject: Subject) -> dict[str, Any]:
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
        fields["removes"] = subject.folded(step.removes)
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
    return fields


_KEYS = frozenset(
    (
        *("id", "rule", "action", "target", "safety", "why", "evidence", "saves", "disturbs"),
        *("options", "removes", "drops", "rewrites", "twins", "adds"),
    )
)


def _step_of(entry: object, subject: Subject, where: str) -> Step:
    """A step as its file has it; what the file leaves out is for its action to restore."""
    if not isinstance(entry, dict):
        raise PlanError(f"{where}: expected an object, got {entry!r:.60}")
    for key in entry:
        if key not in _KEYS:
            raise PlanError(f"{where}: there is no key {key!r}")
    saves = entry.get("saves")
    if not isinstance(saves, dict):
        raise PlanError(f"{where}.saves: expected an object, got {saves!r:.60}")
    options = entry.get("options", {})
    if not isinstance(options, dict):
        raise PlanError(f"{where}.options: expected an object, got {options!r:.60}")
    index = subject.index
    starts = (
        {
            number: {hidden.header.start for hidden in index.layers[number].hidden}
            for number in range(len(index.layers))
        }
        if entry.get("drops")
        else {}
    )
    drops: list[tuple[int, int]] = []
    for drop in _list(entry.get("drops", []), f"{where}.drops"):
        match drop:
            case [int(number), int(start)] if start in starts.get(number, ()):
                drops.append((number, start))
            case _:
                raise PlanError(f"{where}.drops: the image has no hidden member {drop!r:.60}")
    rewrites: list[Rewrite] = []
    for rewrite in _list(entry.get("rewrites", []), f"{where}.rewrites"):
        if not isinstance(rewrite, dict):
            raise PlanError(f"{where}.rewrites: expected an object, got {rewrite!r:.60}")
        path = _path(rewrite.get("path"), subject, f"{where}.rewrites")
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
            for text in _list(entry.get("removes", []), f"{where}.removes")
            for path in _unfolded(text, subject, f"{where}.removes")
        ),
        drops=tuple(drops),
        rewrites=tuple(rewrites),
        twins=tuple(
            tuple(_path(text, subject, f"{where}.twins") for text in _list(twin, f"{where}.twins"))
            for twin in _list(entry.get("twins", []), f"{where}.twins")
        ),
        unpacked=_whole(saves.get("unpacked"), f"{where}.saves.unpacked"),
        rootfs=_whole(saves.get("rootfs"), f"{where}.saves.rootfs"),
        disturbs=_whole(entry.get("disturbs", 0), f"{where}.disturbs"),
        options=tuple(sorted(options.items())),
    )


def _path(text: object, subject: Subject, where: str) -> bytes:
    path = raw(text) if isinstance(text, str) else b""
    if path not in subject.index.visible:
        raise PlanError(
            f"{where}: the image has no file {text!r:.100}",
            hint="a plan may only lose steps; make a new one rather than write into it",
        )
    return path


def _unfolded(text: object, subject: Subject, where: str) -> Iterable[bytes]:
    if not isinstance(text, str) or not text.endswith("/"):
        return (_path(text, subject, where),)
    folder = _path(text[:-1], subject, where)
    return (folder, *subject.below(folder))


def _read_json(text: str, source: str) -> dict[str, Any]:
    try:
        fields = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise PlanError(f"{source}: expected a plan in JSON: {error}") from None
    if not isinstance(fields, dict):
        raise PlanError(f"{source}: expected a plan, got {type(fields).__name__}")
    return fields


def _list(value: object, where: str) -> list[Any]:
    if not isinstance(value, list):
        raise PlanError(f"{where}: expected a list, got {value!r:.60}")
    return value


def _whole(value: object, where: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise PlanError(f"{where}: expected bytes, got {value!r:.60}")
    return value
