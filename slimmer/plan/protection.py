"""What a policy protects in one image, whatever its rules say: paths, owners, licences."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from slimmer.policy import NO_GLOBS, Globs, Selector
from slimmer.tar.reading import DIRECTORY

if TYPE_CHECKING:
    from slimmer.analysis.facts import Facts
    from slimmer.attribution import Owner
    from slimmer.policy import Policy

LICENCES = Globs(
    (
        "LICENSE*",
        "LICENCE*",
        "NOTICE*",
        "COPYING*",
        "/usr/share/doc/*/copyright",
        "*.dist-info/licenses/",
    )
)
"""Texts that must go wherever the files they are about go; no policy can drop them."""


@dataclass(frozen=True, eq=False)
class Protection:
    """What no step may touch. Actions take the files that they may work on from `selected`."""

    facts: Facts
    keep: Globs = NO_GLOBS
    """Paths that no step may remove or change."""
    keep_owners: tuple[str, ...] = ()
    """Owners that no step may touch, as in `Selector.owners`."""
    shipped: tuple[str, ...] = ()
    """Those patterns of `keep` that only a shipped policy names."""

    @classmethod
    def of(cls, facts: Facts, policy: Policy) -> Protection:
        return cls(facts, policy.keep, policy.keep_owners, policy.shipped_keep)

    def keeps(self, path: bytes) -> bool:
        """Whether the path must stay as it is, whatever a rule says."""
        return (
            path in LICENCES or path in self.keep or self.keeps_owner(self.facts.ledger.owner(path))
        )

    def keeps_owner(self, owner: Owner) -> bool:
        """Whether an owner is one of those to be kept; nobody is where none is named."""
        return bool(self.keep_owners) and self._owners.owner(owner)

    @cached_property
    def _owners(self) -> Selector:
        return Selector(owners=self.keep_owners)

    @cached_property
    def pinned(self) -> Globs:
        """Paths that hold even a whole package in the image: those of `keep` that name one place.

        The others are about parts, such as the metadata of a distribution that stays.
        """
        return Globs(
            pattern
            for pattern in self.keep.patterns
            if pattern.startswith("/")
            or ("/" in pattern and not pattern.endswith("/") and not set(pattern) & set("*?["))
        )

    @cached_property
    def own(self) -> Globs:
        """Paths that a user or a policy of theirs names: each is kept for its own sake.

        What the shipped policies keep are files of packages that stay; `ptxas`, which triton
        starts, has no use without triton.
        """
        return Globs(pattern for pattern in self.keep.patterns if pattern not in self.shipped)

    def selected(self, selector: Selector) -> list[bytes]:
        """The visible files (no folders) that a rule is about and that may leave, in tree order."""
        index, ledger = self.facts.index, self.facts.ledger
        owners = {
            claim.owner: selector.owner(claim.owner) for claim in set(ledger.claim_of.values())
        }
        found: list[bytes] = []
        for path, claim in ledger.claim_of.items():
            if not owners[claim.owner]:
                continue
            if selector.categories and ledger.category_of[path] not in selector.categories:
                continue
            if index.visible[path].kind is DIRECTORY:
                continue
            if selector.minimum and ledger.size_of.get(path, 0) < selector.minimum:
                continue
            if selector.layers and index.layer_of[path] not in selector.layers:
                continue
            if selector.paths and path not in selector.paths:
                continue
            if path in selector.exclude or self.keeps(path):
                continue
            found.append(path)
        return found
