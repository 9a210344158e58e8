"""Which texts of an image name a folder's files by their path.

A path may be written whole, from the text's own folder on (`../root/.yarn/berry/cache/x.zip`), or
behind what only a running program knows (`$HOME/.cache/x`, `{base}/share/doc/x`). Each of the
folders that are asked about is looked for by the last two of its names, and what stands around
them is compared with its path.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from slimmer.analysis.spots import is_comment, only_handles, tells_people
from slimmer.analysis.texts import Kind, Search
from slimmer.names import printable

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from slimmer.analysis.texts import Hit, Text
    from slimmer.index import Index

LONGEST = 400
"""Bytes of a path that are looked at before and behind a hit."""
MENTIONS = 500
"""Most places of one text that are looked at."""

_KINDS = frozenset(Kind) - {Kind.BUILD}
_BEFORE = re.compile(rb"[\w./+@%~${}:\\-]*\Z").search
_AFTER = re.compile(rb"[\w./+@%~=,:\\-]*").match
_UNKNOWN = re.compile(rb"(?:~|\$\w+|\$\{\w+\}|\{[\w.]*\}|%s|%\(\w+\)s)\Z").match


class Mention(NamedTuple):
    """A place where a text names a path."""

    text: str
    """The text's name, printable."""
    path: bytes
    """The file of the text; empty for the image's config."""
    line: int
    folder: bytes
    """Which of the folders that were asked about."""
    named: bytes
    """What is named, as a path of the image."""
    whole: bool
    """Whether the whole path is there; else its beginning is for a running program to tell."""
    shown: str
    """As it is written."""
    kind: Kind
    for_people: bool
    """Whether the line is about to show it to somebody."""

    def __str__(self) -> str:
        return f"{self.text}:{self.line} names {self.shown}"


def searches(index: Index, folders: Collection[bytes], found: list[Mention]) -> list[Search]:
    """What to look for in a pass, so that every place that names one of the folders, or what lies
    in it, is added to `found`.

    Not told are comments, docstrings, and lines that only make or delete what they name.
    """
    needles: dict[bytes, list[bytes]] = {}
    for folder in folders:
        parts = folder.split(b"/")
        needle = b"/".join(parts[-2:]) if len(parts) > 1 else b"/" + folder
        needles.setdefault(needle, []).append(folder)
    start = index.resolve(index.image.config.working_directory.encode("utf-8", "surrogateescape"))

    def look(text: Text, hits: Sequence[Hit]) -> None:
        if text.member.startswith("Label"):
            return
        here = text.path[: max(text.path.rfind(b"/"), 0)]
        for hit in hits[:MENTIONS]:
            for folder in needles[hit.needle]:
                mention = _mention(index, text, hit, folder, (here, start))
                if mention is not None and not is_comment(text, hit.start):
                    found.append(mention)

    return [Search(tuple(needles), look, _KINDS, whole_words=False)]


def _mention(
    index: Index, text: Text, hit: Hit, folder: bytes, around: tuple[bytes, bytes]
) -> Mention | None:
    content = text.content
    window = content[max(0, hit.start - LONGEST) : hit.start]
    before = _BEFORE(window)
    after = _AFTER(content, hit.end, hit.end + LONGEST)
    assert before is not None
    assert after is not None
    lead = before[0].replace(b"\\", b"").rpartition(b":")[2]  # of a list of paths, or a URL
    rest = after[0].replace(b"\\", b"").rstrip(b".,:=")
    if rest and not rest.startswith(b"/"):
        return None  # the beginning of a longer name
    prefix = folder[: len(folder) - len(hit.needle.lstrip(b"/"))]
    if hit.needle.startswith(b"/"):
        lead += b"/"
    whole = _leads(index, lead, prefix, around)
    if whole is None or only_handles(text, hit.start):
        return None
    shown = printable((lead + content[hit.start : hit.end] + rest)[-LONGEST:])
    named = folder + rest.partition(b"*")[0].rstrip(b"/")
    return Mention(
        text.name,
        text.path,
        text.line(hit.start),
        folder,
        named,
        whole,
        shown,
        text.kind,
        tells_people(text, hit.start),
    )


def _leads(index: Index, lead: bytes, prefix: bytes, around: tuple[bytes, bytes]) -> bool | None:
    """Whether what is written before a folder's last names leads to the folder around them: True,
    False where only a running program knows, None where it leads elsewhere."""
    wanted = prefix.rstrip(b"/")
    if lead.startswith(b"/"):
        return True if index.resolve(lead) == wanted else None
    unknown, slash, rest = lead.partition(b"/")
    if slash and _UNKNOWN(unknown):
        rest = rest.rstrip(b"/")
        return False if not rest or wanted.endswith(rest) else None
    if lead and not lead.endswith(b"/"):
        return None
    for folder in around:
        if index.resolve(folder + b"/" + lead) == wanted:
            return True
    # `"share/doc/x"` behind a comma: joined with a folder that is not written here.
    return False if not lead else None
