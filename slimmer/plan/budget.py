"""What a plan measures an image by, and how large it may be."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

from slimmer.errors import SlimmerError

if TYPE_CHECKING:
    from slimmer.index import Index

Metric = Literal["unpacked", "rootfs"]
"""What a plan can promise; `packed` is only known once an image is written."""


class PlanError(SlimmerError):
    """A plan that cannot be made, read or carried out."""


@dataclass(frozen=True, slots=True)
class Sizes:
    """Bytes of an image, in each of the ways in which they are counted."""

    unpacked: int
    """Σ `size` over all layers."""
    rootfs: int
    """Σ `size` of what is visible once the layers are merged."""
    packed: int | None = None
    """Σ of the compressed blobs; None where the image is not written yet."""

    @classmethod
    def of(cls, index: Index, packed: int | None = None) -> Sizes:
        return cls(index.unpacked, index.rootfs, packed)

    def by(self, metric: Metric) -> int:
        return self.unpacked if metric == "unpacked" else self.rootfs

    def fields(self) -> dict[str, int]:
        """As a plan file has them: what is known before an image is written."""
        return {"unpacked": self.unpacked, "rootfs": self.rootfs}


@dataclass(frozen=True, slots=True)
class Budget:
    """How large an image may be.

    >>> slimmer.Budget.of(4 * 10**9, "rootfs")
    Budget(maximum=4000000000, metric='rootfs')
    """

    maximum: int
    """Bytes."""
    metric: Metric = "unpacked"

    @classmethod
    def of(cls, maximum: int, metric: str) -> Budget:
        for known in get_args(Metric):
            if metric == known:
                return cls(maximum, known)
        raise PlanError(
            f"a plan can bound unpacked or rootfs, not {metric!r}",
            hint="packed sizes are known once an image is written; check them with slimmer budget",
        )
