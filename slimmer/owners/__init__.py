"""Who put the bytes there: one rule by kind of owner, in the order in which they are believed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from slimmer.categories import MAGIC_BYTES
from slimmer.index import Evidence
from slimmer.owners.apk import Apk
from slimmer.owners.app import App
from slimmer.owners.caches import Caches
from slimmer.owners.conda import Conda
from slimmer.owners.dpkg import Dpkg
from slimmer.owners.interpreter import Interpreter
from slimmer.owners.models import Models
from slimmer.owners.npm import Npm
from slimmer.owners.pip import Pip
from slimmer.owners.rpm import Rpm
from slimmer.owners.system import System

if TYPE_CHECKING:
    from collections.abc import Iterable

    from slimmer.attribution import Rule
    from slimmer.tarstream import Header

default: tuple[Rule, ...] = (
    # System packages own their files even where a Python distribution names them too.
    Dpkg(),
    Apk(),
    Rpm(),
    Conda(),
    Pip(),
    Npm(),
    Interpreter(),
    Caches(),
    Models(),
    System(),
    App(),
)
"""Every rule; of two owners that name a file, the one that stands first keeps it."""


class _Evidence(Evidence):
    """Evidence that also reads whole folders, such as distroless's `status.d/*`."""

    __slots__ = ("_folders", "_limits")

    def __init__(self, globs: Iterable[tuple[str, int]], head: int) -> None:
        every = set(globs)
        whole = {glob for glob in every if glob[0].endswith("/*")}
        super().__init__(every - whole, head=head)
        self._limits = {glob[:-1].encode(): limit for glob, limit in whole}
        self._folders = tuple(self._limits)

    def want(self, header: Header) -> int:
        path = header.path
        if path.startswith(self._folders):
            return self._limits.get(path[: path.rfind(b"/") + 1], 0) or super().want(header)
        return super().want(header)


def evidence() -> Evidence:
    """What a scan must read so that every rule finds what it goes by."""
    return _Evidence((glob for rule in default for glob in rule.globs), MAGIC_BYTES)
