"""What is inside large ELF files: device code by GPU architecture, debug sections, symbols."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

LARGE = 1 << 20
"""Files of at least this many bytes are looked into; smaller ones hold nothing worth a seek."""


@dataclass(frozen=True, slots=True)
class Binary:
    """The parts of one ELF file that are worth knowing, in bytes of the file."""

    device_code: Mapping[str, int]
    """Bytes by GPU architecture, `sm_90` or `compute_90` (PTX), largest first."""
    debug: int
    """Bytes of debug sections and of the symbol tables that no loader reads."""
