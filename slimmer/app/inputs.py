"""What is read is never written over, by whichever name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from slimmer.errors import SlimmerError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path


def keep_apart(outputs: Iterable[str], inputs: Iterable[str]) -> None:
    """Raise SlimmerError where an output would take the place of an image, of a file of its
    layout, of a plan or report that is read; through symlinks and hard links too."""
    from slimmer.stores import on_disk

    sources = [on_disk(name)[0] for name in inputs if name]
    for name in outputs:
        target = on_disk(name)[0]
        for source in sources:
            if _within(target, source):
                raise SlimmerError(
                    f"{name} is what is being read", hint="write to another file, then move it"
                )


def _within(target: Path, source: Path) -> bool:
    """Whether a path is a file that is read, or lies in a folder that is."""
    try:
        if source.is_dir():
            return target.is_file() and source.resolve() in target.resolve().parents
        return target.samefile(source)
    except (OSError, ValueError):
        return False
