"""Symbol tables leave files whose symbols no tool looks for; the laws are in laws/."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from synthetic_elf import Load, Part, elf

from slimmer.actions.symbols import strip

if TYPE_CHECKING:
    from slimmer.splice import Splice


def stripped(*names: bytes, kind: int = 3, code: int = 6) -> Splice | None:
    table = Part(".symtab", bytes(24 * 9), kind=2, flags=0, link=".strtab")
    strings = Part(".strtab", b"\0" + b"\0".join([*names, b"x" * 9000]), 3, 0, alignment=1)
    raw = elf((Load((Part(".text", b"t" * 300, flags=code),)),), (table, strings), kind=kind)
    return strip(lambda offset, length: raw[offset : offset + length], len(raw))


def test_symbols_that_nothing_loads_leave():
    splice = stripped(b"main")

    assert splice is not None
    assert splice.size < 9000


@pytest.mark.parametrize("name", [b"_PyRuntime", b"nptl_version", b"_thread_db_sizeof_pthread"])
def test_what_debuggers_find_their_way_by_stays(name: bytes):
    assert stripped(name) is None


def test_an_object_file_is_left_alone():
    assert stripped(b"main", kind=1) is None
