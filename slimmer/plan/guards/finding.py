"""What a guard tells."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True, slots=True)
class Finding:
    """What speaks against the leaving of some paths."""

    target: str
    """What stays, as people call it; printable."""
    evidence: str
    """What was found on this image, and where; printable."""
    paths: Sequence[bytes]
    """Those of the paths asked about that it is against."""
    doubt: bool = False
    """Whether it is no proof that something needs them: they may leave at a higher risk, and the
    evidence is shown."""
