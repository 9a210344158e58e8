"""Where symlinks lead, and which of them would lead nowhere once some paths are gone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from slimmer.tar.reading import DIRECTORY, SYMLINK

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from slimmer.analysis.facts import Facts
    from slimmer.index import Index

LONGEST_CHAIN = 40
"""Symlinks that Linux follows for one path (path_resolution(7))."""


def dangling(facts: Facts, removed: Collection[bytes]) -> Iterator[tuple[bytes, bytes]]:
    """Symlinks that stay and whose target is among the removed paths: the link, and the target.

    Any link on the way counts: what leads through a symlink that is gone leads nowhere.
    """
    index = facts.index
    for link, target in facts.symlinks:
        if link in removed:
            continue
        if (
            target in removed
            or any(way in removed for way in ways(index, link))
            or (_is_folder(index, target) and _emptied(facts, target, removed))
        ):
            yield link, target


def ways(index: Index, link: bytes) -> Iterator[bytes]:
    """The paths that a symlink goes through, one after the other, its target at last."""
    for _ in range(LONGEST_CHAIN):
        header = index.visible.get(link)
        if header is None or header.kind is not SYMLINK:
            return
        folder = link[: max(link.rfind(b"/"), 0)]
        written = header.link if header.link.startswith(b"/") else folder + b"/" + header.link
        around, _, name = written.rpartition(b"/")
        real = index.resolve(around)
        link = real + b"/" + name if real else name
        yield link


def _is_folder(index: Index, path: bytes) -> bool:
    header = index.visible.get(path)
    return header is None or header.kind is DIRECTORY


def _emptied(facts: Facts, folder: bytes, removed: Collection[bytes]) -> bool:
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
