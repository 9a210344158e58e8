"""Policies: TOML text that says what may leave an image, why, and at what risk.

A policy is a set of named rules and a list of names that stay whatever a rule says. Policies
build on one another with `extends`; a rule of the same name replaces the one it extends.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from enum import IntEnum, StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from slimmer.categories import Category
from slimmer.errors import SlimmerError
from slimmer.toml import Table
from slimmer.units import parse_size

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from slimmer.attribution import Owner


class ActionName(StrEnum):
    """What a rule's `action` may be: the one place where the ways to shrink are named."""

    REMOVE = "remove"
    REMOVE_DISTRIBUTION = "remove-distribution"
    REMOVE_DEBIAN_PACKAGE = "remove-debian-package"
    DROP_HIDDEN = "drop-hidden"
    LINK_DUPLICATES = "link-duplicates"
    DROP_BYTECODE = "drop-bytecode"
    DEVICE_CODE = "device-code"
    SYMBOLS = "symbols"
    SWAP = "swap"


GUARDS = (
    "compiled-beside",
    "nothing-calls",
    "nothing-edits",
    "nothing-imports",
    "nothing-installs",
    "nothing-links",
    "nothing-links-statically",
    "nothing-loads",
    "nothing-names",
    "nothing-points-into",
    "nothing-requires",
    "only-launches",
    "source-stays",
)


KEYS = ("name", "description", "extends", "safety", "keep", "keep-owners", "rules")
"""What a policy's table may hold."""
RULE_KEYS = ("action", "safety", "why", "match", "guards", "evidence", "options", "enabled")
SELECTOR_KEYS = ("path", "exclude", "owner", "category", "size", "layer")


class PolicyError(SlimmerError):
    """A policy that says something it cannot mean; the message names file, table and key."""


class Safety(IntEnum):
    """What a step may change for the programs in the image; see DESIGN, Safety of a step.

    >>> slimmer.Safety.SAFE < slimmer.Safety.CAUTION < slimmer.Safety.RISKY
    True
    """

    SAFE = 0
    """Cannot change what any program does."""
    CAUTION = 1
    """Changes something measurable, but no result."""
    RISKY = 2
    """Can break a program that uses what is gone."""

    @classmethod
    def parse(cls, text: object, where: str) -> Safety:
        for level in cls:
            if text == level.name.lower():
                return level
        raise PolicyError(f"expected 'safe', 'caution' or 'risky', got {text!r} in {where}")

    def __str__(self) -> str:
        return self.name.lower()


class Globs:
    """Paths of an image by pattern: `*` within one name, `**` across names, `dir/` a whole tree.

    A pattern that does not begin with `/` or `**/` matches at any depth, as in `.dockerignore`'s
    elder sister `.gitignore`.
    """

    __slots__ = ("_match", "patterns")

    def __init__(self, patterns: Iterable[str]) -> None:
        self.patterns = tuple(patterns)
        """As they were written."""
        self._match: Callable[[bytes], object] = (
            re.compile(b"|".join(_regex(pattern) for pattern in self.patterns)).fullmatch
            if self.patterns
            else _never
        )

    def __contains__(self, path: bytes) -> bool:
        return self._match(path) is not None

    def __bool__(self) -> bool:
        return bool(self.patterns)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Globs) and self.patterns == other.patterns

    def __hash__(self) -> int:
        return hash(self.patterns)

    def __repr__(self) -> str:
        return f"Globs({self.patterns!r})"


def _never(path: bytes) -> None:
    return None


def _regex(pattern: str) -> bytes:
    anchored = pattern.startswith("/")
    text = pattern.lstrip("/")
    tree = text.endswith("/")
    parts: list[str] = []
    for piece in re.split(r"(\*\*/|\*\*|\*|\?|\[[^\]/]+\])", text.rstrip("/")):
        match piece:
            case "**/":
                parts.append("(?:.*/)?")
            case "**":
                parts.append(".*")
            case "*":
                parts.append("[^/]*")
            case "?":
                parts.append("[^/]")
            case _ if piece.startswith("[") and piece.endswith("]"):
                parts.append("[" + piece[1:-1].replace("\\", "\\\\").replace("!", "^", 1) + "]")
            case _:
                parts.append(re.escape(piece))
    body = "".join(parts) + ("(?:/.*)?" if tree else "")
    return f"(?s:{'' if anchored else '(?:.*/)?'}{body})".encode()


NO_GLOBS = Globs(())


@dataclass(frozen=True, slots=True)
class Selector:
    """Which files a rule is about; every condition that is given must hold."""

    paths: Globs = NO_GLOBS
    exclude: Globs = NO_GLOBS
    owners: tuple[str, ...] = ()
    """`kind:name` or a bare name, `*` allowed: `cache:pip`, `pip:nvidia-*`, `torch`."""
    categories: tuple[Category, ...] = ()
    minimum: int = 0
    """Files below this many bytes are left alone."""
    layers: tuple[int, ...] = ()

    def owner(self, owner: Owner) -> bool:
        """Whether the owner is one of those named; True where none is named."""
        if not self.owners:
            return True
        label = f"{owner.kind}:{owner.name}" if owner.name else owner.kind
        return any(_fits(pattern, label, owner.name or owner.kind) for pattern in self.owners)


def _fits(pattern: str, label: str, name: str) -> bool:
    regex = "(?s:" + ".*".join(re.escape(part) for part in pattern.split("*")) + ")"
    return re.fullmatch(regex, label if ":" in pattern else name) is not None


ANY = Selector()


@dataclass(frozen=True, slots=True)
class Rule:
    """One reason for which bytes may leave."""

    name: str
    action: str
    """An ActionName."""
    safety: Safety
    why: str
    """What these bytes are for and why nobody misses them, for people."""
    selector: Selector = ANY
    guards: tuple[str, ...] = ()
    """What must be proved on this very image first; each one of GUARDS."""
    evidence: str = ""
    """The figure or the precedent that the rule rests on."""
    options: tuple[tuple[str, Any], ...] = ()
    """What the action wants to know beside."""
    where: str = ""
    """File and table, for messages."""


@dataclass(frozen=True, slots=True)
class Policy:
    """Named rules, and what stays in spite of them.

    >>> slimmer.named_policy("balanced").safety
    <Safety.CAUTION: 1>
    """

    name: str
    rules: tuple[Rule, ...]
    keep: Globs
    """Paths that no step may remove or change."""
    keep_owners: tuple[str, ...] = ()
    """Owners that no step may touch, as in `Selector.owners`."""
    safety: Safety = Safety.SAFE
    """The most that a step may risk unless the user says otherwise."""
    description: str = ""
    shipped_keep: tuple[str, ...] = ()
    """Those patterns of `keep` that only policies which come with slimmer name. They are about
    files of packages that stay; the others hold a file for its own sake."""

    def __repr__(self) -> str:
        return f"Policy({self.name!r}, {len(self.rules)} rules, {self.safety})"

    @classmethod
    def parse(
        cls, text: str, source: str, find: Callable[[str, str], Policy], *, shipped: bool = False
    ) -> Policy:
        """Read TOML; `find(name, source)` gives the policies it extends; `shipped` is whether it
        comes with slimmer.

        Raises PolicyError that names file, table and key.
        """
        return cls._read(Table.parse(text, source, PolicyError), find, shipped)

    @classmethod
    def of(
        cls, table: Mapping[str, Any], source: str, find: Callable[[str, str], Policy]
    ) -> Policy:
        """Make a policy of a TOML table, such as `[tool.slimmer]`."""
        return cls._read(Table(table, source, PolicyError), find)

    @classmethod
    def _read(
        cls, table: Table, find: Callable[[str, str], Policy], shipped: bool = False
    ) -> Policy:
        table.only(KEYS)
        rules: dict[str, Rule] = {}
        keep = list(table.texts("keep"))
        own: set[str] = set() if shipped else set(keep)
        keep_owners: list[str] = []
        safety = Safety.SAFE
        inherited: list[str] = []
        for base in table.texts("extends"):
            extended = find(base, table.where)
            rules |= {rule.name: rule for rule in extended.rules}
            inherited += extended.keep.patterns
            own.update(set(extended.keep.patterns).difference(extended.shipped_keep))
            keep_owners += extended.keep_owners
            safety = max(safety, extended.safety)
        if "safety" in table:
            safety = Safety.parse(table.fields["safety"], table.place("safety"))
        for name, fields in table.table("rules").tables():
            rule = _rule(name, fields, rules.get(name))
            if rule is None:
                rules.pop(name, None)
            else:
                rules[name] = rule
        if not rules:
            raise PolicyError(
                f"{table.where}: the policy has no rules",
                hint='say extends = ["safe"], or write a [rules.NAME] table',
            )
        return cls(
            str(table.fields.get("name", table.where)),
            tuple(rules.values()),
            Globs(dict.fromkeys([*inherited, *keep])),
            tuple(dict.fromkeys([*keep_owners, *table.texts("keep-owners")])),
            safety,
            str(table.fields.get("description", "")),
            tuple(sorted({*inherited, *keep} - own)),
        )

    def keeping(self, names: Iterable[str]) -> Policy:
        """The policy with more that stays: `kind:name` is an owner, anything else a path."""
        owners = [name for name in names if re.match(r"[a-z]+:[^/]*\Z", name)]
        paths = [name for name in names if name not in owners]
        return replace(
            self,
            keep=Globs((*self.keep.patterns, *paths)),
            keep_owners=(*self.keep_owners, *owners),
            shipped_keep=tuple(one for one in self.shipped_keep if one not in paths),
        )

    def with_options(self, action: str, otherwise: Rule | None = None, **options: Any) -> Policy:
        """The policy with options for the rules of one action; `otherwise` is added where it has
        none. An option that is None stays as it is."""
        given = {key: value for key, value in options.items() if value is not None}
        rules = [
            replace(rule, options=tuple(sorted((dict(rule.options) | given).items())))
            if rule.action == action
            else rule
            for rule in self.rules
        ]
        if otherwise is not None and not any(rule.action == action for rule in rules):
            added = dict(otherwise.options) | given
            rules.append(replace(otherwise, options=tuple(sorted(added.items()))))
        return replace(self, rules=tuple(rules))


def _rule(name: str, table: Table, base: Rule | None) -> Rule | None:
    """A rule, on top of the one of its name that it changes; None where it is switched off."""
    table.only(RULE_KEYS)
    if table.fields.get("enabled", True) is False:
        return None
    if base is None:
        table.having("action", "safety", "why")
        base = Rule(name, "", Safety.SAFE, "")
    action = table.fields.get("action", base.action)
    if action not in list(ActionName):
        raise PolicyError(
            f"{table.place('action')}: there is no action {action!r}",
            hint="one of: " + ", ".join(ActionName),
        )
    why = table.fields.get("why", base.why)
    if not isinstance(why, str) or not why.strip():
        raise PolicyError(f"{table.place('why')}: a rule says why, in a sentence for people")
    guards = table.texts("guards") if "guards" in table else base.guards
    for guard in guards:
        if guard not in GUARDS:
            raise PolicyError(
                f"{table.place('guards')}: there is no guard {guard!r}",
                hint="one of: " + ", ".join(GUARDS),
            )
    safety = base.safety
    if "safety" in table:
        safety = Safety.parse(table.fields["safety"], table.place("safety"))
    return Rule(
        name,
        action,
        safety,
        why,
        _selector(table.table("match")) if "match" in table else base.selector,
        tuple(guards),
        str(table.fields.get("evidence", base.evidence)),
        tuple(sorted(table.table("options").fields.items()))
        if "options" in table
        else base.options,
        table.where,
    )


def _selector(table: Table) -> Selector:
    table.only(SELECTOR_KEYS)
    categories: list[Category] = []
    for text in table.texts("category"):
        try:
            categories.append(Category(text))
        except ValueError:
            raise PolicyError(
                f"{table.place('category')}: there is no category {text!r}",
                hint="one of: " + ", ".join(category.value for category in Category),
            ) from None
    size = table.fields.get("size", "")
    if not isinstance(size, str) or (size and not size.startswith(">=")):
        raise table.fault("size", "a size such as '>=1MB'")
    layers = table.fields.get("layer", [])
    if not isinstance(layers, list) or not all(type(number) is int for number in layers):
        raise table.fault("layer", "a list of layer numbers")
    return Selector(
        Globs(table.texts("path")),
        Globs(table.texts("exclude")),
        table.texts("owner"),
        tuple(categories),
        parse_size(size[2:].strip(), table.place("size")) if size else 0,
        tuple(layers),
    )


def shipped() -> Path:
    """The folder of the policies that come with slimmer: in the wheel, or beside the checkout."""
    inside = Path(__file__).with_name("policies")
    return inside if inside.is_dir() else Path(__file__).parent.parent / "policies"


def find(name: str, source: str) -> Policy:
    """A policy by the name of a shipped one, or by the path of a TOML file.

    A path is looked for beside `source`, the file that names it. Raises PolicyError.
    """
    names = sorted(path.stem for path in shipped().glob("*.toml") if path.stem != "platforms")
    if name in names:
        path = shipped() / f"{name}.toml"
    else:
        path = Path(source).parent / name
        if not path.is_file():
            raise PolicyError(
                f"there is no policy {name!r}",
                hint=f"one of {', '.join(names)}, or the path of a TOML file",
            )
    text = path.read_text(encoding="utf-8", errors="replace")
    source = path.name if name in names else str(path)
    return Policy.parse(text, source, _finder(path, ()), shipped=name in names)


def _finder(path: Path, around: tuple[Path, ...]) -> Callable[[str, str], Policy]:
    """`find` for what a policy extends; a policy that extends itself is an error."""
    if path in around:
        raise PolicyError(f"{path.name} extends itself")

    def extended(name: str, source: str) -> Policy:
        inner = shipped() / f"{name}.toml"
        if not inner.is_file():
            inner = path.parent / name
        if not inner.is_file():
            raise PolicyError(f"{source}: extends: there is no policy {name!r}")
        return Policy.parse(
            inner.read_text(encoding="utf-8", errors="replace"),
            inner.name,
            _finder(inner, (*around, path)),
            shipped=inner.parent == shipped(),
        )

    return extended
