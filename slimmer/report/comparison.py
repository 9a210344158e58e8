"""What changed between two reports: by owner with its versions, category, layer and folder."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from slimmer.report.report import DIRECTORIES, FILES

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from slimmer.report.report import Report
    from slimmer.report.rows import OwnerRow

SCHEMA_VERSION = 1
"""Within one version fields are only ever added to `to_dict`."""
LISTED = 1000
"""How many folders, and how many files, `to_dict` tells."""


@dataclass(frozen=True, slots=True)
class Change:
    """One thing that both images may have, in bytes; None where an image lacks it."""

    name: str
    before: int | None
    after: int | None
    before_version: str = ""
    after_version: str = ""
    unlisted: int = 0
    """Bytes that the image without it may have of it all the same: a saved report lists the
    largest paths only, and this one was too small for it."""

    @property
    def growth(self) -> int:
        """Bytes grown; where one image may have some unlisted, what is certain."""
        before, after = (
            self.unlisted if size is None else size for size in (self.before, self.after)
        )
        return after - before

    def to_dict(self) -> dict[str, Any]:
        """The change as JSON has it."""
        return {
            "name": self.name,
            "before": self.before,
            "after": self.after,
            "growth": self.growth,
            "before_version": self.before_version,
            "after_version": self.after_version,
            "unlisted": self.unlisted,
        }

    @property
    def version(self) -> str:
        """`1.2`, or `1.2 → 1.3` where it changed."""
        if not self.before_version or self.before_version == self.after_version:
            return self.after_version
        if not self.after_version:
            return self.before_version
        return f"{self.before_version} → {self.after_version}"


ComparisonTable = Literal["sizes", "owners", "categories", "layers", "directories", "files"]
"""Tables of a comparison that can be had as records."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two images side by side; the largest growth comes first in every row.

    >>> session.diff("app.tar").records("sizes")[0]["growth"]
    0
    """

    before: Report
    after: Report
    owners: tuple[Change, ...]
    categories: tuple[Change, ...]
    layers: tuple[Change, ...]
    """By diff_id, named by command; a layer that both have has not changed."""
    directories: tuple[Change, ...]
    """Folders with all that lies below them; of a saved report the largest ones only."""
    files: tuple[Change, ...]
    """Visible files; of a saved report the largest ones only."""
    partial: bool
    """Whether folders and files come from lists of the largest ones only."""

    def __repr__(self) -> str:
        growth = self.after.unpacked - self.before.unpacked
        return (
            f"Comparison({self.before.reference!r}, {self.after.reference!r},"
            f" unpacked={growth:+}, {len(self.owners)} owners changed)"
        )

    def to_dict(self) -> dict[str, Any]:
        """The changes as `changes.schema.json` describes them."""
        return {
            "schema_version": SCHEMA_VERSION,
            "same": self.same,
            **{
                side: {
                    "reference": report.reference,
                    "digest": report.digest,
                    "platform": report.platform,
                }
                for side, report in (("before", self.before), ("after", self.after))
            },
            "sizes": [change.to_dict() for change in self.sizes],
            "owners": [change.to_dict() for change in self.owners],
            "categories": [change.to_dict() for change in self.categories],
            "layers": [change.to_dict() for change in self.layers],
            "directories": _listed(self.directories),
            "files": _listed(self.files),
            "partial": self.partial,
        }

    def records(self, table: ComparisonTable = "owners") -> list[dict[str, Any]]:
        """The changes of one kind as plain records: what pandas, polars and csv take."""
        changes: tuple[Change, ...] = getattr(self, table)
        return [change.to_dict() for change in changes]

    @classmethod
    def of(
        cls,
        before: Report,
        after: Report,
        files: tuple[Mapping[str, int], Mapping[str, int]] | None = None,
    ) -> Comparison:
        """Two reports side by side; `files` is every visible file of both, where it is known."""
        if files is not None:
            folders = tuple(_Listing.all(_folders(sizes)) for sizes in files)
            listed = tuple(_Listing.all(sizes) for sizes in files)
        else:
            folders = tuple(
                _Listing.largest({row.path: row.size for row in report.directories}, DIRECTORIES)
                for report in (before, after)
            )
            listed = tuple(
                _Listing.largest({row.path: row.size for row in report.files}, FILES)
                for report in (before, after)
            )
        return cls(
            before,
            after,
            _owners(before.owners, after.owners),
            _changes(before.categories, after.categories),
            _layers(before, after),
            _paths(*folders),
            _paths(*listed),
            any(listing.unlisted for listing in (*folders, *listed)),
        )

    @property
    def sizes(self) -> tuple[Change, ...]:
        """The three sizes and the hidden bytes; `packed` only where both images tell."""
        pairs = [
            ("unpacked", self.before.unpacked, self.after.unpacked),
            ("rootfs", self.before.rootfs, self.after.rootfs),
            (
                "hidden",
                self.before.overwritten + self.before.deleted,
                self.after.overwritten + self.after.deleted,
            ),
        ]
        sizes = [Change(*pair) for pair in pairs]
        if self.before.packed is not None and self.after.packed is not None:
            sizes.insert(2, Change("packed", self.before.packed, self.after.packed))
        return tuple(sizes)

    @property
    def same(self) -> bool:
        """Whether both are the very same image, or no number of theirs differs."""
        return self.before.digest == self.after.digest or not any(
            (
                any(change.growth for change in self.sizes),
                self.owners,
                self.categories,
                self.layers,
                self.files,
            )
        )


def _owners(before: Iterable[OwnerRow], after: Iterable[OwnerRow]) -> tuple[Change, ...]:
    # Several versions of one name may lie in one image; then each version is told by itself.
    old, new = _named(before), _named(after)
    changes = []
    for name in old.keys() | new.keys():
        gone, come = old.get(name, {}), new.get(name, {})
        if len(gone) == len(come) == 1:
            ((before_version, before_size),) = gone.items()
            ((after_version, after_size),) = come.items()
            changes.append(Change(name, before_size, after_size, before_version, after_version))
            continue
        changes += [
            Change(
                name,
                gone.get(version),
                come.get(version),
                version if version in gone else "",
                version if version in come else "",
            )
            for version in gone.keys() | come.keys()
        ]
    return _ranked(
        change
        for change in changes
        if change.growth
        or change.before_version != change.after_version
        or (change.before is None) != (change.after is None)
    )


def _named(rows: Iterable[OwnerRow]) -> dict[str, dict[str, int]]:
    named: dict[str, dict[str, int]] = {}
    for row in rows:
        name = f"{row.kind}:{row.name}" if row.name else row.kind
        versions = named.setdefault(name, {})
        versions[row.version] = versions.get(row.version, 0) + row.size
    return named


def _layers(before: Report, after: Report) -> tuple[Change, ...]:
    shared = {row.diff_id for row in before.layers} & {row.diff_id for row in after.layers}
    gone = [
        Change(row.command or row.diff_id[:19], row.size, None)
        for row in before.layers
        if row.diff_id not in shared
    ]
    come = [
        Change(row.command or row.diff_id[:19], None, row.size)
        for row in after.layers
        if row.diff_id not in shared
    ]
    # A layer that was built again by the same command is the same layer to people.
    joined: list[Change] = []
    for change in come:
        twin = next((one for one in gone if one.name == change.name), None)
        if twin is not None:
            gone.remove(twin)
            change = Change(change.name, twin.before, change.after)
        joined.append(change)
    return _ranked([*gone, *joined])


class _Listing(NamedTuple):
    """Sizes by path, and what a path that is not among them may have at most."""

    sizes: Mapping[str, int]
    unlisted: int

    @classmethod
    def all(cls, sizes: Mapping[str, int]) -> _Listing:
        return cls(sizes, 0)

    @classmethod
    def largest(cls, sizes: Mapping[str, int], limit: int) -> _Listing:
        """A list that stops at `limit` paths says nothing of smaller ones."""
        return cls(sizes, min(sizes.values()) if len(sizes) >= limit else 0)


def _folders(files: Mapping[str, int]) -> Mapping[str, int]:
    """Bytes of every folder with all that lies below it; `` is the root."""
    here: dict[str, int] = defaultdict(int)
    for path, size in files.items():
        here[path.rpartition("/")[0]] += size
    totals: dict[str, int] = defaultdict(int)
    for folder, size in here.items():
        while folder:
            totals[folder] += size
            folder = folder.rpartition("/")[0]
        totals[""] += size
    return totals


def _paths(before: _Listing, after: _Listing) -> tuple[Change, ...]:
    changes: list[Change] = []
    for path in before.sizes.keys() | after.sizes.keys():
        old, new = before.sizes.get(path), after.sizes.get(path)
        unlisted = before.unlisted if old is None else after.unlisted if new is None else 0
        change = Change(path, old, new, unlisted=unlisted)
        # A path that may be as large in the other image, only not listed, tells nothing.
        certain = change.growth > 0 if old is None else change.growth < 0
        if old != new and (not unlisted or certain):
            changes.append(change)
    return _ranked(changes)


def _changes(before: Mapping[str, int], after: Mapping[str, int]) -> tuple[Change, ...]:
    return _ranked(
        Change(name, before.get(name), after.get(name))
        for name in before.keys() | after.keys()
        if before.get(name) != after.get(name)
    )


def _ranked(changes: Iterable[Change]) -> tuple[Change, ...]:
    return tuple(
        sorted(
            changes,
            key=lambda change: (-abs(change.growth), change.name, change.version),
        )
    )


def _listed(changes: tuple[Change, ...]) -> dict[str, Any]:
    return {
        "count": len(changes),
        "largest": [change.to_dict() for change in changes[:LISTED]],
    }
