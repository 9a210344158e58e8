"""Ways to shrink an image: each file proposes steps with exact sizes, and can carry them out."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from slimmer.policy import ActionName

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from slimmer.plan.proposals import Action
    from slimmer.plan.steps import Bookkeeper

_ACTIONS = {
    ActionName.REMOVE: ("remove", "Remove"),
    ActionName.REMOVE_DISTRIBUTION: ("distribution", "RemoveDistribution"),
    ActionName.REMOVE_DEBIAN_PACKAGE: ("debian.remove", "RemoveDebianPackage"),
    ActionName.DROP_HIDDEN: ("hidden", "DropHidden"),
    ActionName.LINK_DUPLICATES: ("duplicates", "LinkDuplicates"),
    ActionName.DROP_BYTECODE: ("bytecode", "DropBytecode"),
    ActionName.DEVICE_CODE: ("libraries", "CutDeviceCode"),
    ActionName.SYMBOLS: ("libraries", "StripSymbols"),
}
"""Name in a policy → module of this package and class in it; `swap` is told where wheels are."""


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

    actions[ActionName.SWAP] = SwapWheel(find_links=tuple(find_links), index_url=index_url)
    return actions


def bookkeepers() -> tuple[Bookkeeper, ...]:
    """What keeps records in line with what leaves."""
    from slimmer.actions.loader_cache import LoaderCache
    from slimmer.actions.records import Records

    return (Records(), LoaderCache())
