"""The alternatives of a Debian system (update-alternatives(1)), and what becomes of them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

from slimmer.ecosystems import debian
from slimmer.ecosystems.debian import Alternative
from slimmer.files import join
from slimmer.tar.reading import FILE

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from slimmer.analysis.facts import Facts


class Changed(NamedTuple):
    """What becomes of the alternatives once some files are gone."""

    gone: frozenset[bytes]
    """Paths that leave: records without a choice, and the links that they made."""
    losing: Mapping[bytes, tuple[bytes, ...]]
    """Record that stays → the choices that leave it."""
    current: tuple[tuple[bytes, bytes], ...]
    """Files that cannot leave, for they are the current choice of several and the links would
    have to be changed; each with the name that it stands for."""


@dataclass(frozen=True)
class Alternatives:
    """What dpkg's database says of the names that stand for one of several files."""

    facts: Facts

    @cached_property
    def _records(self) -> Mapping[bytes, Alternative]:
        """Name → its record."""
        folder = debian.ALTERNATIVES.rstrip(b"/")
        visible = self.facts.index.visible
        records = [path for path in self.facts.below(folder) if visible[path].kind is FILE]
        contents = dict(self.facts.contents(records))
        return {
            path[len(debian.ALTERNATIVES) :]: Alternative.parse(contents.get(path, b""))
            for path in records
        }

    def without(self, removed: Collection[bytes]) -> Changed:
        """What becomes of them once these files are gone."""
        index = self.facts.index
        gone: set[bytes] = set()
        losing: dict[bytes, tuple[bytes, ...]] = {}
        current: list[tuple[bytes, bytes]] = []
        for name, record in self._records.items():
            away = tuple(one for one in record.choices if index.resolve(one) in removed)
            if not away:
                continue
            path = debian.ALTERNATIVES + name
            if len(away) == len(record.choices):
                gone.add(path)
                gone.update(self._links(name, record))
                continue
            switch = index.visible.get(debian.SWITCHES + name)
            if switch is not None and switch.link in away:
                current.append((index.resolve(switch.link), name))
            else:
                losing[path] = away
        return Changed(frozenset(gone), losing, tuple(current))

    def _links(self, name: bytes, record: Alternative) -> Iterator[bytes]:
        """The symlinks that update-alternatives made for a record."""
        visible = self.facts.index.visible
        for slave, link in [(name, record.links[0][1]), *record.links[1:]]:
            switch = debian.SWITCHES + slave
            folder, _, last = link.rpartition(b"/")
            place = join(self.facts.index.resolve(folder), last)
            if (self.facts.index.link(place) or b"").lstrip(b"/") == switch:
                yield place
            if switch in visible:
                yield switch
