"""What GitHub Actions reads in a job's log: annotations by workflow commands.

Any line of a log that begins with `::` is a command, also behind spaces, and `##[` is one anywhere.
So the text for people goes between `::stop-commands::` and its token; the token is a digest of the
text, which no name in the text can know.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from slimmer.formats.findings import findings

if TYPE_CHECKING:
    from slimmer.formats.findings import Finding
    from slimmer.gate.gate import Gate
    from slimmer.gate.locations import SourceFiles

ANNOTATIONS = 10
"""How many annotations of one step GitHub shows."""


def log(text: str, gate: Gate, files: SourceFiles) -> str:
    """The text for people, and below it an annotation for each finding."""
    token = hashlib.sha256(text.encode()).hexdigest()
    lines = [f"::stop-commands::{token}", text.rstrip("\n"), f"::{token}::"]
    lines += [annotation(finding) for finding in list(findings(gate, files))[:ANNOTATIONS]]
    return "\n".join(lines) + "\n"


def annotation(finding: Finding) -> str:
    """One finding as `::error file=…,line=…,title=…::message`."""
    told: dict[str, str] = {}
    if finding.location is not None:
        told |= {"file": finding.location.file, "line": str(finding.location.line)}
    told["title"] = f"slimmer: {finding.title}"
    properties = ",".join(f"{key}={_property(value)}" for key, value in told.items())
    return f"::{finding.level} {properties}::{_data(finding.message)}"


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
