"""Outputs that were looked at: tests/golden holds one file for each, as it must stay.

A change that is meant shows up as a difference to review; `SLIMMER_GOLDEN=write pytest` writes the
files anew.
"""

from __future__ import annotations

import os
from pathlib import Path

FOLDER = Path(__file__).parent / "golden"
WRITE = os.environ.get("SLIMMER_GOLDEN") == "write"


def check(name: str, text: str) -> None:
    """Hold a text against the file of that name."""
    path = FOLDER / name
    if WRITE:
        path.write_text(text, encoding="utf-8")
    assert path.read_text(encoding="utf-8") == text, (
        f"{name}: look at it, then SLIMMER_GOLDEN=write"
    )
