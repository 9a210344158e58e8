"""What pytest runs when nobody says more: everything that needs nothing but Python."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, settings

# How fast a machine is, or how busy, says nothing about the code.
settings.register_profile(
    "any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("any machine")

collect_ignore_glob = ["compat/images/*"]
"""Tests inside images are no tests of ours."""

ASKED = "needs engines, downloads or minutes: pytest -m compat"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Skip compat tests, unless `-m` or their own path asks for them."""
    if config.getoption("markexpr") or any("compat" in argument for argument in config.args):
        return
    for item in items:
        if item.get_closest_marker("compat"):
            item.add_marker(pytest.mark.skip(reason=ASKED))
