"""dive's numbers, flaws and all, for teams that gate on them; the true ones stand beside them.

dive (https://github.com/wagoodman/dive) scores an image by the paths that more than one layer
names: efficiency is Σ smallest size / Σ all sizes over the paths that are leaves of a layer's tree,
and every byte of a path that was named twice is waste. What is odd about it is kept here, for the
numbers are only worth having where they are dive's:

- a removed file costs nothing and its path's smallest size becomes 0; a removed directory costs its
  bytes a second time and is no waste, since its path was no leaf before;
- a whiteout of a path that does not exist silently ends its layer, and takes one byte away;
- opaque whiteouts mean nothing;
- a file that changed only its owner or its mode is waste, twice over;
- a directory that a layer passes through without naming it is no directory any more.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from slimmer.errors import SlimmerError
from slimmer.tar.reading import DIRECTORY

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from slimmer.index import Index
    from slimmer.report.report import Report
    from slimmer.tar.reading import Header

WHITEOUT = b".wh."
OPAQUE = b".wh..wh.."


class DiveError(SlimmerError):
    """Rules that dive would not take either."""


@dataclass(frozen=True, slots=True)
class Repeated:
    """A path that several layers name, or name and remove."""

    path: bytes
    """As dive has it, from `/` on."""
    count: int
    size: int
    """Bytes over all the layers that name it."""


@dataclass(frozen=True, slots=True)
class Score:
    """What dive says of an image."""

    size: int
    """Σ content bytes over all layers: `unpacked`."""
    efficiency: float
    """1 is best."""
    wasted: int
    """Bytes."""
    user_wasted: float
    """`wasted` as a part of all layers but the first; NaN where those are empty."""
    repeated: tuple[Repeated, ...] = ()
    """Most bytes first."""

    @classmethod
    def of(cls, index: Index) -> Score:
        """Score an image as dive does."""
        seen: dict[bytes, list[int]] = {}  # path → bytes, smallest, count
        repeated: list[bytes] = []
        stack = _Node()
        for number, tree in enumerate(trees(index)):
            if number == 0:
                stack = tree.copy()
            for node, path in tree.walk():
                if node.children:
                    continue
                found = seen.setdefault(path, [0, -1, 0])
                if node.name.startswith(WHITEOUT):
                    below = stack.find(path)
                    if below is None:
                        break
                    size = below.total if below.directory else 0
                else:
                    size = node.size
                found[0] += size
                found[1] = size if found[1] < 0 else min(size, found[1])
                found[2] += 1
                if found[2] == 2:
                    repeated.append(path)
            stack.lay(tree)
        least = sum(found[1] for found in seen.values())
        every = sum(found[0] for found in seen.values())
        # dive sorts the smallest first and prints from the end.
        ranked = sorted(repeated, key=lambda path: seen[path][0])[::-1]
        wasted = sum(seen[path][0] for path in repeated)
        sizes = [layer.size for layer in index.layers]
        return cls(
            sum(sizes),
            least / every if every else 1.0,
            wasted,
            _share(wasted, sum(sizes[1:])),
            tuple(Repeated(path, seen[path][2], seen[path][0]) for path in ranked),
        )

    @classmethod
    def true(cls, report: Report) -> Score:
        """The same numbers as they are: bytes that no container can see are wasted, no other."""
        hidden = report.overwritten + report.deleted
        return cls(
            report.unpacked,
            report.rootfs / report.unpacked if report.unpacked else 1.0,
            hidden,
            _share(hidden, sum(row.size for row in report.layers[1:])),
        )


def _share(part: int, whole: int) -> float:
    # Go divides floats: 0/0 is NaN, which is never above a threshold, and x/0 is infinite.
    if whole:
        return part / whole
    return float("inf") if part else float("nan")


class _Node:
    """A path of one layer's tree, or of several laid over one another."""

    __slots__ = ("children", "header", "name")

    def __init__(self, name: bytes = b"", header: Header | None = None) -> None:
        self.name = name
        self.header = header
        """None where the layer passes through it without naming it."""
        self.children: dict[bytes, _Node] = {}

    @property
    def size(self) -> int:
        return self.header.size if self.header is not None else 0

    @property
    def directory(self) -> bool:
        return self.header is not None and self.header.kind == DIRECTORY

    @property
    def total(self) -> int:
        """Bytes of the node and of all below it."""
        return sum(node.size for node, _ in self.walk()) + self.size

    def walk(self) -> Iterator[tuple[_Node, bytes]]:
        """Every node below this one with its path, children first, in the order of their names."""
        # Not recursive: a path of an image may be deeper than Python's stack.
        todo: list[tuple[_Node, bytes, bool]] = [
            (self.children[name], b"", False) for name in sorted(self.children, reverse=True)
        ]
        while todo:
            node, parent, entered = todo.pop()
            if not entered and node.children:
                todo.append((node, parent, True))
                here = parent + b"/" + node.name
                todo += [
                    (node.children[name], here, False)
                    for name in sorted(node.children, reverse=True)
                ]
                continue
            yield node, parent + b"/" + node.name.removeprefix(WHITEOUT)

    def find(self, path: bytes) -> _Node | None:
        node = self
        for name in path.split(b"/"):
            if name:
                found = node.children.get(name)
                if found is None:
                    return None
                node = found
        return node

    def add(self, path: bytes, header: Header | None) -> None:
        """Put a member in its place; what lies below the path stays."""
        node = self
        names = [name for name in path.split(b"/") if name]
        for name in names:
            found = node.children.get(name)
            if found is None:
                if name.startswith(OPAQUE):
                    return
                found = node.children[name] = _Node(name)
            node = found
        if names:
            node.header = header

    def remove(self, path: bytes) -> None:
        directory, _, name = path.rpartition(b"/")
        parent = self.find(directory)
        if parent is not None:
            parent.children.pop(name, None)

    def lay(self, upper: _Node) -> None:
        """Lay another layer's tree over this one."""
        for node, path in upper.walk():
            if node.name.startswith(WHITEOUT):
                self.remove(path)
            else:
                self.add(path, node.header)

    def copy(self) -> _Node:
        top = _Node()
        todo = [(self, top)]
        while todo:
            old, new = todo.pop()
            for name, child in old.children.items():
                made = new.children[name] = _Node(name, child.header)
                todo.append((child, made))
        return top


def trees(index: Index) -> Iterator[_Node]:
    """Each layer's members as dive keeps them."""
    for layer in index.layers:
        tree = _Node()
        for header in layer.headers:
            if header.path:
                tree.add(header.path, header)
        yield tree


RuleName = Literal["lowestEfficiency", "highestWastedBytes", "highestUserWastedPercent"]
RULES: tuple[RuleName, ...] = (
    "lowestEfficiency",
    "highestWastedBytes",
    "highestUserWastedPercent",
)
DEFAULTS: Mapping[RuleName, str] = {
    "lowestEfficiency": "0.9",
    "highestWastedBytes": "disabled",
    "highestUserWastedPercent": "0.1",
}
_ALIASES: Mapping[str, RuleName] = {
    **{name: name for name in RULES},
    "lowest-efficiency-threshold": "lowestEfficiency",
    "highest-wasted-bytes": "highestWastedBytes",
    "highest-user-wasted-percent": "highestUserWastedPercent",
}


@dataclass(frozen=True, slots=True)
class Rule:
    """One of dive's three rules."""

    name: RuleName
    threshold: float | None
    """A ratio, or bytes; None where the rule is off."""

    def broken_by(self, value: float) -> bool:
        """Whether dive's verdict on a value is that it fails."""
        if self.threshold is None:
            return False
        if self.name == "lowestEfficiency":
            return self.threshold > value
        return value > self.threshold

    def value(self, score: Score) -> float:
        match self.name:
            case "lowestEfficiency":
                return score.efficiency
            case "highestWastedBytes":
                return score.wasted
            case "highestUserWastedPercent":
                return score.user_wasted


def rules(text: str, where: str) -> tuple[Rule, ...]:
    """The rules of a `.dive-ci`; what it does not name has dive's default.

    The file is YAML, of which the rules need a mapping of three scalars and no more: that much is
    read here, and a line that is anything else is an error with its number. Raises DiveError.
    """
    told: dict[RuleName, str] = dict(DEFAULTS)
    section = ""
    for number, line in enumerate(text.removeprefix("\ufeff").splitlines(), start=1):
        bare = re.sub(r"(^|\s)#.*", "", line).rstrip()
        if not bare.strip() or bare.strip() in ("---", "..."):
            continue
        match = re.fullmatch(r"( *)([A-Za-z-]+|\"[^\"]+\"|'[^']+') *:(?: +(.*))?", bare)
        if match is None:
            raise DiveError(
                f"{where}, line {number}: expected a rule such as lowestEfficiency: 0.95",
                hint="the file holds `rules:` and, indented below it, " + ", ".join(RULES),
            )
        indent, key, value = match[1], match[2].strip("\"'"), (match[3] or "").strip()
        if not indent:
            section = key
            continue
        name = _ALIASES.get(key)
        if section != "rules":
            continue  # dive's other settings, such as its key bindings, judge nothing
        if name is None:
            raise DiveError(
                f"{where}, line {number}: dive has no rule {key!r}",
                hint="one of: " + ", ".join(RULES),
            )
        told[name] = value.strip("\"'")
    return tuple(Rule(name, _threshold(name, told[name], where)) for name in RULES)


def _threshold(name: RuleName, text: str, where: str) -> float | None:
    if text.strip().lower() in ("", "disabled", "off", "false"):
        return None
    if name == "highestWastedBytes":
        return _bytes(text, f"{where}: {name}")
    try:
        ratio = float(text)
    except ValueError:
        ratio = -1.0
    if not 0 <= ratio <= 1:
        raise DiveError(f"{where}: {name}: expected a ratio from 0 to 1, got {text!r:.60}")
    return ratio


_FACTORS = {
    "": 1,
    **{letter: 1000**power for power, letter in enumerate("kmgtpe", start=1)},
    **{f"{letter}i": 1024**power for power, letter in enumerate("kmgtpe", start=1)},
}


def _bytes(text: str, where: str) -> int:
    """A size as dive reads it: decimal, upper and lower case alike, `20M` is 20 MB."""
    match = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?) ?([kmgtpe]?i?)b?", text.replace(",", "").lower())
    factor = _FACTORS.get(match[2]) if match else None
    if match is None or factor is None:
        raise DiveError(f"{where}: expected a size such as 20MB, got {text!r:.60}")
    return int(float(match[1]) * factor)
