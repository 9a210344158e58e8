"""Which symlinks would lead nowhere once some paths are gone, and what they need to stay."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from slimmer.tar.reading import DIRECTORY

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from slimmer.analysis.facts import Facts
    from slimmer.index import Index


class Dangling(NamedTuple):
    """A symlink that stays and would lead nowhere."""

    link: bytes
    target: bytes
    """Its real target: a file, a folder, or a symlink that was to leave and that it goes over."""
    lost: tuple[bytes, ...]
    """The paths that were to leave and without which it leads nowhere."""


def dangling(facts: Facts, removed: Collection[bytes]) -> Iterator[Dangling]:
    """Symlinks that stay and lose their way or their target, each with what it needs.

    Any link on the way counts, those in the place of a folder too: what leads over a symlink that
    is gone leads nowhere.
    """
    index = facts.index
    for link, target in facts.symlinks:
        if link in removed:
            continue
        if target in removed:
            yield Dangling(link, target, (target, *_leaving(facts, target, removed)))
        elif way := next((way for way in facts.ways.get(link, ()) if way in removed), None):
            yield Dangling(link, way, (way,))
        elif _is_folder(index, target) and _is_emptied(facts, target, removed):
            yield Dangling(link, target, tuple(_leaving(facts, target, removed)))


def _leaving(facts: Facts, folder: bytes, removed: Collection[bytes]) -> Iterator[bytes]:
    return (path for path in facts.below(folder) if path in removed)


def _is_folder(index: Index, path: bytes) -> bool:
    header = index.visible.get(path)
    return header is None or header.kind is DIRECTORY


def _is_emptied(facts: Facts, folder: bytes, removed: Collection[bytes]) -> bool:
    """Whether a folder leaves because all that was in it does."""
    if facts.stays(folder):
        return False
    visible = facts.index.visible
    held = False
    for path in facts.below(folder):
        if visible[path].kind is not DIRECTORY:
            if path not in removed:
                return False
            held = True
    return held
