"""dpkg's and apt's books, edited as if packages had been purged."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from slimmer.ecosystems import debian
from slimmer.ecosystems.debian import Alternative
from slimmer.plan.steps import Rewrite
from slimmer.splice import Splice
from slimmer.tar.reading import FILE

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Sequence

    from slimmer.actions.debian.alternatives import Alternatives
    from slimmer.actions.debian.packages import Packages
    from slimmer.image import Read

    Drops = Callable[[bytes], Sequence[tuple[int, int]]]
    """Which ranges of a text leave, by start and end."""


@dataclass(frozen=True)
class Database:
    """What dpkg and apt wrote down about the packages of an image."""

    packages: Packages
    alternatives: Alternatives

    def departure(
        self, group: Collection[str], unmarked: Collection[str]
    ) -> tuple[set[bytes], list[Rewrite]]:
        """What leaves and what is rewritten when a group of packages is purged.

        `unmarked` are packages that stay and lose apt's mark.
        """
        known = self.packages.by_label
        leaving = [known[label] for label in group]
        identities = {one.identity for one in leaving}
        gone = self.packages.leaving_files(group) | self._info(group)
        marks = identities | {known[label].identity for label in unmarked if label in known}
        rewrites = [
            *self._without(debian.STATUS, partial(debian.spans, about=identities)),
            *self._without(debian.STATES, partial(debian.spans, about=marks)),
        ]
        remaining = {one.name.encode() for one in known.values() if one.label not in group}
        names = {name for name, _ in identities} - remaining
        facts = self.packages.facts
        for path in facts.below(debian.TRIGGERS.rstrip(b"/")):
            if facts.index.visible[path].kind is FILE and facts.index.visible[path].size:
                rewrites += self._without(path, partial(_lines_of, names))
        changed = self.alternatives.without(frozenset(gone))
        gone |= changed.gone
        for path, away in changed.losing.items():
            rewrites += self._without(path, partial(Alternative.spans, away=away))
        empty = {one.path for one in rewrites if not one.splice.size}
        empty -= {debian.STATUS, debian.STATES}
        return gone | empty, [one for one in rewrites if one.path not in empty]

    def _info(self, group: Collection[str]) -> set[bytes]:
        """The files of dpkg's info folder that are about these packages."""
        leaving = [self.packages.by_label[label] for label in group]
        stems = {one.name.encode() for one in leaving if one.label == one.name}
        stems |= {b":".join(one.identity) for one in leaving}
        return {
            path
            for path in self.packages.facts.below(debian.INFO.rstrip(b"/"))
            if path[len(debian.INFO) :].rpartition(b".")[0] in stems
        }

    def _without(self, path: bytes, drops: Drops) -> Iterator[Rewrite]:
        """The file without the parts that `drops` finds in it, whatever another step made of it."""
        header = self.packages.facts.index.visible.get(path)
        if header is None or header.kind is not FILE:
            return
        text = self._content(path)
        splice = Splice.without(len(text), drops(text))
        if splice.size < len(text) == header.size:

            def again(read: Read, size: int) -> Splice:
                return Splice.without(size, drops(read(0, size)))

            yield Rewrite(path, splice, header.size, again)

    def _content(self, path: bytes) -> bytes:
        facts = self.packages.facts
        known = facts.index.evidence.get(path)
        return known if known is not None else dict(facts.contents([path])).get(path, b"")


def _lines_of(names: Collection[bytes], text: bytes) -> list[tuple[int, int]]:
    """Where in a file of triggers the lines of these packages stand."""
    return [
        match.span()
        for match in re.finditer(rb"[^\n]*\n?", text)
        if debian.triggered(match[0]) in names
    ]
