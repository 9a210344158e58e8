"""Who put the bytes there: one rule by kind of owner, in the order in which they are believed.

>>> index = slimmer.Index.scan(slimmer.open("app.tar"), slimmer.owners.evidence())
>>> slimmer.Attribution.of(index, slimmer.owners.default).owner(b"etc/os-release").kind
'deb'
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from slimmer.categories import MAGIC_BYTES
from slimmer.evidence import Evidence
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
    from slimmer.attribution import OwnerRule

default: tuple[OwnerRule, ...] = (
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


def evidence() -> Evidence:
    """What a scan must read so that every rule finds what it goes by."""
    return Evidence((glob for rule in default for glob in rule.globs), head=MAGIC_BYTES)
