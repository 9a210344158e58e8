"""Ways to shrink an image: each file proposes steps with exact sizes, and can carry them out."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from slimmer.plan.steps import Action, Bookkeeper

_ACTIONS = {
    "remove": ("remove", "Remove"),
    "remove-distribution": ("distribution", "RemoveDistribution"),
    "remove-debian-package": ("debian.remove", "RemoveDebianPackage"),
    "drop-hidden": ("hidden", "DropHidden"),
    "link-duplicates": ("duplicates", "LinkDuplicates"),
    "drop-bytecode": ("bytecode", "DropBytecode"),
    "device-code": ("libraries", "CutDeviceCode"),
    "symbols": ("libraries", "StripSymbols"),
}
"""Name in a policy → module of this package and class in it."""


def default(find_links: Iterable[str] = (), index_url: str | None = None) -> Mapping[str, Action]:
    """Every action, by the name that policies call it.

    `find_links` and `index_url` are where a plan that is read again finds its wheels, beside pip's
    own configuration.
    """
    actions: dict[str, Action] = {
        name: getattr(import_module(f"{__name__}.{module}"), cls)()
        for name, (module, cls) in _ACTIONS.items()
    }
    from slimmer.actions.swap.swap import SwapWheel

    actions["swap"] = SwapWheel(find_links=tuple(find_links), index_url=index_url)
    return actions


def bookkeepers() -> tuple[Bookkeeper, ...]:
    """What keeps records in line with what leaves."""
    from slimmer.actions.records import Records

    return (Records(),)
