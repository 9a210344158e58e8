"""How thorough property tests are: a tenth of their examples by default, all of them in CI."""

from __future__ import annotations

import os

THOROUGH = os.environ.get("SLIMMER_TESTS") == "thorough"
"""Set for CI and before a release; the default run is for daily work."""


def examples(thorough: int) -> int:
    """How many examples a property test tries, of those that it tries when run in full."""
    return thorough if THOROUGH else max(thorough // 10, 10)
