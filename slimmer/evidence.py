"""Which contents of an image are read at all, and how much of each."""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING

from slimmer.tar.reading import FILE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from slimmer.tar.reading import Header


class Evidence:
    """Which contents a scan reads: globs of paths, and how many bytes of each.

    A glob is a path of the image; `*` stands for anything within one name, a leading `**/` for any
    directory. Its last name ends with a literal part to go by, or is `*` alone behind a folder that
    is written out. Everything else is not read.
    """

    __slots__ = ("_folders", "_head", "_large", "_limits", "_names", "_suffixes", "key")

    key: str
    """Identifies the set, so that a cached scan made for another one is not taken for it."""

    def __init__(
        self, globs: Iterable[tuple[str, int]], large: int = 1 << 20, head: int = 0
    ) -> None:
        """`head` is how many bytes to read of every file of at least `large` bytes, to tell its
        format; a medium where that is dear may leave them out."""
        wanted = sorted(set(globs))
        self._large = large if head else 1 << 63
        self._head = head
        self._names: dict[bytes, list[tuple[Callable[[bytes], object], int]]] = {}
        suffixes: dict[bytes, list[tuple[Callable[[bytes], object], int]]] = {}
        self._limits: dict[bytes, int] = {}
        for glob, limit in wanted:
            folder, _, name = glob.rpartition("/")
            if name == "*" and "*" not in folder:
                self._limits[folder.encode() + b"/"] = limit
                continue
            rule = (_glob(glob), limit)
            if "*" not in name:
                self._names.setdefault(name.encode(), []).append(rule)
            else:
                literal = name.rpartition("*")[2]
                if not literal:
                    raise ValueError(f"the glob {glob!r} ends with no literal part")
                suffixes.setdefault(literal.encode(), []).append(rule)
        self._suffixes = tuple(suffixes.items())
        self._folders = tuple(self._limits)
        self.key = hashlib.sha256(repr((wanted, large, head)).encode()).hexdigest()[:16]

    def want(self, header: Header) -> int:
        """How many bytes of this member's content are evidence; the `want` of `members`."""
        path = header.path
        rules: Sequence[tuple[Callable[[bytes], object], int]] | None
        rules = self._names.get(path[path.rfind(b"/") + 1 :])
        if rules is None:
            for suffix, candidates in self._suffixes:
                if path.endswith(suffix):
                    rules = candidates
                    break
            else:
                rules = ()
        if header.kind is not FILE or header.sparse:
            return 0
        for matches, limit in rules:
            if matches(path):
                return limit
        if path.startswith(self._folders):
            limit = self._limits.get(path[: path.rfind(b"/") + 1], 0)
            if limit:
                return limit
        return self._head if header.size >= self._large else 0


def _glob(glob: str) -> Callable[[bytes], object]:
    prefix = "(?:.*/)?" if glob.startswith("**/") else ""
    pattern = "[^/]*".join(re.escape(part) for part in glob.removeprefix("**/").split("*"))
    return re.compile(f"(?s:{prefix}{pattern})".encode()).fullmatch
