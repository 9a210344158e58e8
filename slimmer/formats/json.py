"""A report as JSON: versioned, complete, the same bytes for the same image.

`report.schema.json` beside this module is the published schema. Within one `schema_version` fields
are only ever added. Sizes are bytes, times are seconds, `null` is what is not known, and names are
escaped as `slimmer.names` says.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from slimmer.errors import SlimmerError
from slimmer.report.report import (
    DirectoryRow,
    DisputeRow,
    FileRow,
    Filter,
    HiddenRow,
    LayerRow,
    OwnerRow,
    Report,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

SCHEMA_VERSION = 1


class ReportError(SlimmerError):
    """A text that is no report, or one that this version does not know."""


def render(report: Report) -> str:
    """The report as JSON text."""
    return json.dumps(_value(report), indent=1, ensure_ascii=False) + "\n"


def parse(text: str, where: str) -> Report:
    """The report that `render` made this text of; raises ReportError, which names `where`."""
    try:
        fields = json.loads(text)
        version = fields["schema_version"]
    except (ValueError, RecursionError, TypeError, KeyError):
        raise ReportError(
            f"{where} is not a report of slimmer",
            hint="make one with: slimmer inspect IMAGE --format json -o report.json",
        ) from None
    if version != SCHEMA_VERSION:
        raise ReportError(
            f"{where} has schema_version {version!r:.20}, this slimmer reads {SCHEMA_VERSION}",
            hint="make the report anew with this version",
        )
    try:
        return _report(fields)
    except (TypeError, KeyError, ValueError, AttributeError) as error:
        raise ReportError(
            f"{where} does not follow the schema of reports: {error!r:.80}",
            hint="make it anew with: slimmer inspect IMAGE --format json -o report.json",
        ) from None


def _value(report: Report) -> dict[str, Any]:
    narrowed = report.filter
    return {
        "schema_version": SCHEMA_VERSION,
        "image": {
            "reference": report.reference,
            "digest": report.digest,
            "platform": report.platform,
            "route": report.route,
        },
        "sizes": {
            "unpacked": report.unpacked,
            "rootfs": report.rootfs,
            "packed": report.packed,
        },
        "hidden": {"overwritten": report.overwritten, "deleted": report.deleted},
        "filter": narrowed
        and {"pattern": narrowed.pattern, "size": narrowed.size, "files": narrowed.files},
        "owners": [
            {
                "kind": row.kind,
                "name": row.name,
                "version": row.version,
                "size": row.size,
                "retained": row.retained,
                "files": row.files,
                "categories": row.categories,
                "layers": {str(number): size for number, size in row.layers.items()},
            }
            for row in report.owners
        ],
        "categories": report.categories,
        "layers": [
            {
                "diff_id": row.diff_id,
                "digest": row.digest,
                "command": row.command,
                "size": row.size,
                "packed": row.packed,
                "overwritten": row.overwritten,
                "deleted": row.deleted,
                "seconds": row.seconds,
                "members": row.members,
            }
            for row in report.layers
        ],
        "hidden_by": [
            {
                "layer": row.layer,
                "by": row.by,
                "how": row.how,
                "size": row.size,
                "files": row.files,
                "largest": [{"path": path, "size": size} for path, size in row.largest],
            }
            for row in report.hidden
        ],
        "files": [
            {
                "path": row.path,
                "size": row.size,
                "owner": row.owner,
                "category": row.category,
                "layer": row.layer,
                "inside": None
                if row.debug is None
                else {"device_code": row.device_code, "debug": row.debug},
            }
            for row in report.files
        ],
        "directories": [
            {"path": row.path, "size": row.size, "files": row.files} for row in report.directories
        ],
        "disputes": {
            "count": report.disputed,
            "paths": [
                {"path": row.path, "kept": row.kept, "refused": list(row.refused)}
                for row in report.disputes
            ],
        },
        "problems": list(report.problems),
    }


def _report(fields: Mapping[str, Any]) -> Report:
    narrowed = fields["filter"]
    return Report(
        **fields["image"],
        **fields["sizes"],
        **fields["hidden"],
        hidden=tuple(
            HiddenRow(
                **{
                    **row,
                    "largest": tuple((cause["path"], cause["size"]) for cause in row["largest"]),
                }
            )
            for row in fields["hidden_by"]
        ),
        owners=tuple(
            OwnerRow(
                **{**row, "layers": {int(number): size for number, size in row["layers"].items()}}
            )
            for row in fields["owners"]
        ),
        categories=fields["categories"],
        layers=tuple(LayerRow(number=number, **row) for number, row in enumerate(fields["layers"])),
        files=tuple(
            FileRow(
                path=row["path"],
                size=row["size"],
                owner=row["owner"],
                category=row["category"],
                layer=row["layer"],
                device_code=row["inside"]["device_code"] if row["inside"] else {},
                debug=row["inside"]["debug"] if row["inside"] else None,
            )
            for row in fields["files"]
        ),
        directories=tuple(DirectoryRow(**row) for row in fields["directories"]),
        disputes=tuple(
            DisputeRow(row["path"], row["kept"], tuple(row["refused"]))
            for row in fields["disputes"]["paths"]
        ),
        disputed=fields["disputes"]["count"],
        problems=tuple(fields["problems"]),
        filter=narrowed and Filter(**narrowed),
    )
