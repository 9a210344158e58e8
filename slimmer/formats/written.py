"""What was written, in one line for people."""

from __future__ import annotations

from typing import TYPE_CHECKING

from slimmer.units import size_text

if TYPE_CHECKING:
    from slimmer.image import Digest


def text(
    destination: str,
    image: Digest,
    sizes: tuple[tuple[str, int | None], ...],
    reused: int,
    anew: int,
) -> str:
    """`wrote DESTINATION: …`; `sizes` by their names, those that are not known left out."""
    known = [f"{size_text(size)} {name}" for name, size in sizes if size is not None]
    return (
        f"wrote {destination}: {', '.join(known)}; {reused} layers as they were,"
        f" {anew} anew; {image[:19]}\n"
    )
