"""The rows that every output shares: one image's bytes by owner, category, layer, place and file.

Every name in a report is printable text already (see `slimmer.names`); every number is bytes unless
its field says otherwise, and None where it is not known.
"""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from slimmer.categories import by_name
from slimmer.names import matcher, one_line, printable
from slimmer.report.rows import (
    DirectoryRow,
    DisputeRow,
    FileRow,
    Filter,
    HiddenRow,
    LayerRow,
    OwnerRow,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from slimmer.analysis.dependencies import DependencyGraph
    from slimmer.attribution import Attribution, Claim, Owner
    from slimmer.categories import Category
    from slimmer.image import Layer
    from slimmer.index import Index

SCHEMA_VERSION = 1
"""Within one version fields are only ever added to `to_dict`."""
FILES = 100
"""How many of the largest files a report lists."""
DIRECTORIES = 500
"""How many of the largest directories a report lists; with each stand all that it lies in."""
DISPUTES = 1000
"""How many disputed paths a report lists; it counts them all."""
CAUSES = 5
"""How many of the largest causes each row of hidden bytes names."""


ReportTable = Literal[
    "owners",
    "owner_categories",
    "owner_layers",
    "categories",
    "layers",
    "hidden",
    "files",
    "directories",
]
"""Tables of a report that can be had as records."""


@dataclass(frozen=True, slots=True)
class Report:
    """Where an image's bytes went.

    >>> report = session.report()
    >>> sum(row["size"] for row in report.records("owners")) == report.rootfs
    True
    >>> report.to_dict()["sizes"]["unpacked"]
    3979071
    """

    reference: str
    digest: str
    """The image ID."""
    platform: str
    route: str
    """How the bytes were reached: `archive`, `engine's API` …"""
    unpacked: int
    rootfs: int
    packed: int | None
    overwritten: int
    deleted: int
    hidden: tuple[HiddenRow, ...]
    owners: tuple[OwnerRow, ...]
    categories: Mapping[str, int]
    layers: tuple[LayerRow, ...]
    files: tuple[FileRow, ...]
    """The largest ones."""
    directories: tuple[DirectoryRow, ...]
    """The largest ones, with each all that it lies in; `` is the root."""
    disputes: tuple[DisputeRow, ...]
    disputed: int
    """How many paths are disputed; `disputes` lists the first of them."""
    problems: tuple[str, ...]
    filter: Filter | None = None
    """Narrows hidden, owners, categories, files and directories; the sums stay the image's."""

    def __repr__(self) -> str:
        return (
            f"Report({self.reference!r}, {len(self.owners)} owners, unpacked={self.unpacked},"
            f" rootfs={self.rootfs}, packed={self.packed})"
        )

    @classmethod
    def of(
        cls,
        ledger: Attribution,
        graph: DependencyGraph | None = None,
        pattern: str | None = None,
    ) -> Report:
        """Add up a ledger; `pattern` narrows the rows to what it fits (see `names.matcher`)."""
        index = ledger.index
        image = index.image
        chosen = None if pattern is None else fitting(ledger, pattern)
        sums = _sum(ledger, chosen)
        return cls(
            reference=one_line(image.reference),
            digest=image.id,
            platform=one_line(str(image.platform)),
            route=one_line(image.route),
            unpacked=index.unpacked,
            rootfs=index.rootfs,
            packed=image.packed,
            overwritten=index.overwritten,
            deleted=index.deleted,
            hidden=_hidden(index, pattern),
            owners=_owners(ledger, graph, sums, chosen),
            categories=by_name(sums.categories),
            layers=tuple(
                LayerRow(
                    number=layer.number,
                    diff_id=layer.layer.diff_id,
                    digest=layer.layer.descriptor.digest if layer.layer.descriptor else None,
                    command=command(layer.layer),
                    size=layer.size,
                    packed=layer.layer.packed,
                    overwritten=layer.overwritten,
                    deleted=layer.deleted,
                    seconds=layer.layer.seconds,
                    members=len(layer.headers),
                )
                for layer in index.layers
            ),
            files=_files(ledger, chosen),
            directories=_directories(sums),
            disputes=tuple(
                DisputeRow(
                    printable(dispute.path),
                    printable(str(dispute.kept.owner)),
                    tuple(sorted({printable(str(claim.owner)) for claim in dispute.refused})),
                )
                for dispute in ledger.disputes[:DISPUTES]
            ),
            disputed=len(ledger.disputes),
            problems=tuple(one_line(problem) for problem in index.problems),
            filter=None
            if pattern is None
            else Filter(one_line(pattern), sum(sums.categories.values()), sums.files),
        )

    def to_dict(self) -> dict[str, Any]:
        """The report as `report.schema.json` describes it."""
        return {
            "schema_version": SCHEMA_VERSION,
            "image": {
                "reference": self.reference,
                "digest": self.digest,
                "platform": self.platform,
                "route": self.route,
            },
            "sizes": {
                "unpacked": self.unpacked,
                "rootfs": self.rootfs,
                "packed": self.packed,
            },
            "hidden": {"overwritten": self.overwritten, "deleted": self.deleted},
            "filter": self.filter and self.filter.to_dict(),
            "owners": [row.to_dict() for row in self.owners],
            "categories": self.categories,
            "layers": [row.to_dict() for row in self.layers],
            "hidden_by": [row.to_dict() for row in self.hidden],
            "files": [row.to_dict() for row in self.files],
            "directories": [row.to_dict() for row in self.directories],
            "disputes": {
                "count": self.disputed,
                "paths": [row.to_dict() for row in self.disputes],
            },
            "problems": list(self.problems),
        }

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> Report:
        """What `to_dict` gave; raises TypeError, KeyError, ValueError or AttributeError else."""
        narrowed = fields["filter"]
        return cls(
            **fields["image"],
            **fields["sizes"],
            **fields["hidden"],
            hidden=tuple(map(HiddenRow.from_dict, fields["hidden_by"])),
            owners=tuple(map(OwnerRow.from_dict, fields["owners"])),
            categories=fields["categories"],
            layers=tuple(
                LayerRow(number=number, **row) for number, row in enumerate(fields["layers"])
            ),
            files=tuple(map(FileRow.from_dict, fields["files"])),
            directories=tuple(DirectoryRow(**row) for row in fields["directories"]),
            disputes=tuple(
                DisputeRow(row["path"], row["kept"], tuple(row["refused"]))
                for row in fields["disputes"]["paths"]
            ),
            disputed=fields["disputes"]["count"],
            problems=tuple(fields["problems"]),
            filter=narrowed and Filter(**narrowed),
        )

    def records(self, table: ReportTable = "owners") -> list[dict[str, Any]]:
        """A table as plain records, one value in a cell: what pandas, polars and csv take.

        `owner_categories` and `owner_layers` are the two shares of each owner in long form.
        Raises KeyError for a table that there is not.
        """
        make: Callable[[], list[dict[str, Any]]] = {
            "owners": lambda: [_scalars(row) for row in self.owners],
            "owner_categories": lambda: [
                {"owner": row.label, "category": category, "size": size}
                for row in self.owners
                for category, size in row.categories.items()
            ],
            "owner_layers": lambda: [
                {"owner": row.label, "layer": layer, "size": size}
                for row in self.owners
                for layer, size in row.layers.items()
            ],
            "categories": lambda: [
                {"category": category, "size": size} for category, size in self.categories.items()
            ],
            "layers": lambda: [_scalars(row) for row in self.layers],
            "hidden": lambda: [_scalars(row) for row in self.hidden],
            "files": lambda: [_scalars(row) for row in self.files],
            "directories": lambda: [_scalars(row) for row in self.directories],
        }[table]
        return make()


def _scalars(row: OwnerRow | LayerRow | HiddenRow | FileRow | DirectoryRow) -> dict[str, Any]:
    fields = {name: getattr(row, name) for name in row.__dataclass_fields__}
    return {
        # A digest is a text of a type of its own, which not every table takes.
        name: str(value) if isinstance(value, str) else value
        for name, value in fields.items()
        if value is None or isinstance(value, str | int | float)
    }


_NOP = re.compile(r"/bin/sh -c #\(nop\)\s*")
_SHELL = re.compile(r"(?:RUN )?(?:\|\d+ .*?)?/bin/(?:ba)?sh (?:-o \w+ |-\w+ )*?-\w*c ", re.DOTALL)
_STORED = re.compile(r"\b(ADD|COPY) (?:dir|file|multi):[0-9a-f]+ in ")


def command(layer: Layer) -> str:
    """The Dockerfile's instruction that made a layer, as far as its history tells.

    The classic builder writes `/bin/sh -c #(nop) COPY file:1f… in /app` and `|1 ARG=x /bin/sh -c
    make`, BuildKit `RUN /bin/sh -c make # buildkit`: both read `COPY ... /app` and `RUN make` here.
    """
    text = layer.history.created_by.strip().removesuffix("# buildkit").strip()
    if match := _NOP.match(text):
        return one_line(_STORED.sub(r"\1 ... ", text[match.end() :]))
    if match := _SHELL.match(text):
        return one_line("RUN " + text[match.end() :])
    return one_line(text)


class _Sums(NamedTuple):
    """Sums over the visible files, made in one pass."""

    by_claim: Mapping[Claim, Mapping[tuple[Category, int], int]]
    """Claim → (category, layer) → bytes."""
    counts: Mapping[Claim, int]
    """Claim → files."""
    categories: Mapping[Category, int]
    directories: Mapping[bytes, Sequence[int]]
    """Directory → bytes and files right in it."""
    files: int


def fitting(ledger: Attribution, pattern: str) -> Mapping[bytes, int]:
    """Size of each file whose path, or whose owner's name, fits the pattern."""
    fits = matcher(pattern)
    claim_of = ledger.claim_of
    owners: dict[Owner, bool] = {}
    for claim in set(claim_of.values()):
        owner = claim.owner
        if owner not in owners:
            label = printable(str(owner))
            owners[owner] = fits(label) or fits(printable(owner.name))
    return {
        path: size
        for path, size in ledger.size_of.items()
        if owners[claim_of[path].owner] or fits(printable(path))
    }


def _sum(ledger: Attribution, chosen: Mapping[bytes, int] | None) -> _Sums:
    # The third hot loop: 62,000 files in 30 ms. Plain dictionaries of numbers, no object per path.
    sizes = ledger.size_of if chosen is None else chosen
    claim_of = ledger.claim_of
    category_of = ledger.category_of
    layer_of = ledger.index.layer_of
    groups: dict[tuple[Claim, Category, int], list[int]] = {}
    directories: dict[bytes, list[int]] = {}
    for path, size in sizes.items():
        key = (claim_of[path], category_of[path], layer_of[path])
        group = groups.get(key)
        if group is None:
            groups[key] = [size, 1]
        else:
            group[0] += size
            group[1] += 1
        directory = path.rpartition(b"/")[0]
        here = directories.get(directory)
        if here is None:
            directories[directory] = [size, 1]
        else:
            here[0] += size
            here[1] += 1
    by_claim: dict[Claim, dict[tuple[Category, int], int]] = defaultdict(lambda: defaultdict(int))
    counts: dict[Claim, int] = defaultdict(int)
    for (claim, category, layer), (size, files) in groups.items():
        by_claim[claim][category, layer] += size
        counts[claim] += files
    for path in ledger.binaries:
        if path in sizes:
            mine = by_claim[claim_of[path]]
            layer = layer_of[path]
            mine[category_of[path], layer] -= sizes[path]
            for category, part in ledger.categories(path):
                mine[category, layer] += part
    categories: dict[Category, int] = defaultdict(int)
    for parts in by_claim.values():
        for (category, _), size in parts.items():
            categories[category] += size
    return _Sums(by_claim, counts, categories, directories, len(sizes))


def _owners(
    ledger: Attribution,
    graph: DependencyGraph | None,
    sums: _Sums,
    chosen: Mapping[bytes, int] | None,
) -> tuple[OwnerRow, ...]:
    # An owner of nothing but symlinks and directories owns no byte, but is in the image.
    claims: Iterable[Claim] = sums.by_claim if chosen is not None else set(ledger.claim_of.values())
    claims_of: dict[Owner, list[Claim]] = defaultdict(list)
    for claim in claims:
        claims_of[claim.owner].append(claim)
    rows: list[OwnerRow] = []
    for owner, mine in claims_of.items():
        categories: dict[Category, int] = defaultdict(int)
        layers: dict[int, int] = defaultdict(int)
        for claim in mine:
            for (category, layer), size in sums.by_claim.get(claim, {}).items():
                if size:
                    categories[category] += size
                    layers[layer] += size
        rows.append(
            OwnerRow(
                kind=printable(owner.kind),
                name=printable(owner.name),
                version=printable(owner.version),
                size=sum(layers.values()),
                retained=graph.retained(owner) if graph else None,
                files=sum(sums.counts.get(claim, 0) for claim in mine),
                categories=by_name(categories),
                layers=dict(sorted(layers.items())),
            )
        )
    return tuple(sorted(rows, key=lambda row: (-row.size, row.kind, row.name, row.version)))


def _hidden(index: Index, pattern: str | None) -> tuple[HiddenRow, ...]:
    fits = matcher(pattern) if pattern is not None else None
    causes: dict[tuple[int, int, str], dict[bytes, int]] = {}
    files: dict[tuple[int, int, str], int] = defaultdict(int)
    for layer in index.layers:
        number = layer.number
        for header, how, by, path, size in layer.hidden:
            if size and (fits is None or fits(printable(header.path))):
                key = (number, by, how)
                cause = causes.setdefault(key, {})
                cause[path] = cause.get(path, 0) + size
                files[key] += 1
    rows = [
        HiddenRow(
            *key,
            size=sum(cause.values()),
            files=files[key],
            largest=tuple(
                (printable(path), size)
                for path, size in sorted(cause.items(), key=lambda item: (-item[1], item[0]))
            )[:CAUSES],
        )
        for key, cause in causes.items()
    ]
    return tuple(sorted(rows, key=lambda row: (-row.size, row.layer, row.by, row.how)))


def _files(ledger: Attribution, chosen: Mapping[bytes, int] | None) -> tuple[FileRow, ...]:
    sizes = ledger.size_of if chosen is None else chosen
    order = sorted(sizes.values(), reverse=True)[:FILES]
    least = max(order[-1], 1) if order else 1
    largest = sorted(
        (item for item in sizes.items() if item[1] >= least), key=lambda item: (-item[1], item[0])
    )
    rows: list[FileRow] = []
    for path, size in largest[:FILES]:
        binary = ledger.binaries.get(path)
        rows.append(
            FileRow(
                path=printable(path),
                size=size,
                owner=printable(str(ledger.owner(path))),
                category=ledger.category_of[path].value,
                layer=ledger.index.layer_of[path],
                device_code={one_line(name): part for name, part in binary.device_code.items()}
                if binary
                else {},
                debug=binary.debug if binary else None,
            )
        )
    return tuple(rows)


def _directories(sums: _Sums) -> tuple[DirectoryRow, ...]:
    totals: dict[bytes, list[int]] = {path: list(here) for path, here in sums.directories.items()}
    todo = sorted(totals, key=len)
    # A directory is done before the one it lies in, for its path is longer.
    waiting: dict[int, list[bytes]] = defaultdict(list)
    for path in todo:
        waiting[len(path)].append(path)
    for length in range(len(todo[-1]) if todo else 0, 0, -1):
        for path in waiting.pop(length, ()):
            parent = path[: max(path.rfind(b"/"), 0)]
            above = totals.get(parent)
            if above is None:
                above = totals[parent] = [0, 0]
                waiting[len(parent)].append(parent)
            size, files = totals[path]
            above[0] += size
            above[1] += files
    largest = sorted(totals.items(), key=lambda item: (-item[1][0], item[0]))
    return tuple(
        DirectoryRow(printable(path), size, files)
        for path, (size, files) in largest[:DIRECTORIES]
        if size
    )
