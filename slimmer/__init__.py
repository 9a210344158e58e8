"""slimmer takes a container image apart to the byte, and makes it fit its size budget.

    image = slimmer.open("app.tar")
    index = slimmer.Index.scan(image, slimmer.owners.evidence())
    ledger = slimmer.Attribution.of(index, slimmer.owners.default)
    graph = slimmer.DependencyGraph.of(ledger)
    report = slimmer.Report.of(ledger, graph)

Each name is imported when it is first asked for.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from slimmer import owners
    from slimmer.analysis.dependencies import DependencyGraph
    from slimmer.attribution import Attribution
    from slimmer.errors import SlimmerError
    from slimmer.image import Image, Platform
    from slimmer.index import Index
    from slimmer.report.report import Report
    from slimmer.stores import open  # noqa: A004 - `slimmer.open` reads as what it does

__version__ = "0.1.0"
__all__ = [
    "Attribution",
    "DependencyGraph",
    "Image",
    "Index",
    "Platform",
    "Report",
    "SlimmerError",
    "__version__",
    "open",
    "owners",
]

_HOMES = {
    "Attribution": "attribution",
    "DependencyGraph": "analysis.dependencies",
    "Image": "image",
    "Index": "index",
    "Platform": "image",
    "Report": "report.report",
    "SlimmerError": "errors",
    "open": "stores",
}


def __getattr__(name: str) -> object:
    if name == "owners":
        return import_module("slimmer.owners")
    if name in _HOMES:
        return getattr(import_module(f"slimmer.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'slimmer' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
