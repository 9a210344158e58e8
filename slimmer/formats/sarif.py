"""The gate's findings as SARIF 2.1.0 (OASIS Standard, 2020), for code scanning.

One result for each broken limit and each of the largest owners, never for a file; it points to the
line of the Dockerfile or of the requirements file that brought the bytes in, where those are given.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from slimmer.formats.findings import RULES, findings

if TYPE_CHECKING:
    from slimmer.formats.findings import Finding
    from slimmer.gate.gate import Gate
    from slimmer.gate.locations import Location, SourceFiles

SCHEMA = (
    "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
)
RESULTS = 5000
"""Results at most: what GitHub shows of one run."""


def render(gate: Gate, files: SourceFiles, version: str) -> str:
    """The findings as SARIF; `version` is slimmer's."""
    found = list(findings(gate, files))[:RESULTS]
    used = sorted({finding.rule for finding in found})
    run: dict[str, Any] = {
        "tool": {
            "driver": {
                "name": "slimmer",
                "version": version,
                "rules": [
                    {
                        "id": rule,
                        "shortDescription": {"text": RULES[rule]},
                        "defaultConfiguration": {
                            "level": "warning" if rule == "largest-owner" else "error"
                        },
                    }
                    for rule in used
                ],
            }
        },
        "columnKind": "utf16CodeUnits",
        "results": [_result(finding, used.index(finding.rule), gate) for finding in found],
        "properties": {"image": gate.report.reference, "digest": gate.report.digest},
    }
    log = {"$schema": SCHEMA, "version": "2.1.0", "runs": [run]}
    return json.dumps(log, indent=1, ensure_ascii=False) + "\n"


def _result(finding: Finding, rule: int, gate: Gate) -> dict[str, Any]:
    identity = f"{finding.rule}\n{finding.subject}".encode()
    return {
        "ruleId": finding.rule,
        "ruleIndex": rule,
        "level": finding.level,
        "message": {"text": plain(finding.message)},
        "locations": [_location(finding.location, finding.subject, gate)],
        # The same finding in the next run, whatever its numbers and its line are by then.
        "partialFingerprints": {"slimmer/v1": hashlib.sha256(identity).hexdigest()[:32]},
    }


def _location(location: Location | None, subject: str, gate: Gate) -> dict[str, Any]:
    logical = {"name": subject, "fullyQualifiedName": f"{gate.report.reference}/{subject}"}
    fields: dict[str, Any] = {"logicalLocations": [logical]}
    if location is not None:
        fields["physicalLocation"] = {
            "artifactLocation": {"uri": uri(location.file)},
            "region": {"startLine": location.line},
        }
    return fields


def uri(path: str) -> str:
    """A path as a URI reference (RFC 3986): relative ones stay relative to the repository."""
    text = str(PurePosixPath(path))
    # A colon in the first part would make a scheme of it.
    quoted = quote(text.encode("utf-8", "surrogateescape"), safe="/")
    return f"file://{quoted}" if text.startswith("/") else quoted


def plain(text: str) -> str:
    r"""Text of a message: `[x](1)` is a link there, `{0}` a placeholder (SARIF 3.11.5, 3.11.6)."""
    text = text.replace("\\", "\\\\").replace("[", "\\[").replace("]", "\\]")
    return text.replace("{", "{{").replace("}", "}}")
