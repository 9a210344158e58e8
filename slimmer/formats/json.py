"""A report as JSON: versioned, complete, the same bytes for the same image.

`report.schema.json` beside this module is the published schema. Within one `schema_version` fields
are only ever added. Sizes are bytes, times are seconds, `null` is what is not known, and names are
escaped as `slimmer.names` says.
"""

from __future__ import annotations

import json

from slimmer.errors import SlimmerError
from slimmer.report.report import SCHEMA_VERSION, Report


class ReportError(SlimmerError):
    """A text that is no report, or one that this version does not know."""


def render(report: Report) -> str:
    """The report as JSON text."""
    return json.dumps(report.to_dict(), indent=1, ensure_ascii=False) + "\n"


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
        return Report.from_dict(fields)
    except (TypeError, KeyError, ValueError, AttributeError) as error:
        raise ReportError(
            f"{where} does not follow the schema of reports: {error!r:.80}",
            hint="make it anew with: slimmer inspect IMAGE --format json -o report.json",
        ) from None
