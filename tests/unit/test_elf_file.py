from __future__ import annotations

import random
import struct
from itertools import count

import pytest
from synthetic_elf import Load, Part, elf

from slimmer.elf.file import Elf, ElfError

STRINGS = b"\0libc.so.6\0libme.so\0$ORIGIN/../lib\0/opt/lib\0libm.so.6\0"
TAGS = [(1, 1), (1, STRINGS.index(b"libm.")), (14, STRINGS.index(b"libme"))]
TAGS += [(29, STRINGS.index(b"$")), (15, STRINGS.index(b"/opt")), (10, len(STRINGS))]


def library(**options: object) -> bytes:
    # The strings come first in the file, so that their address does not depend on the table.
    head = 64 + 2 * 56
    address = -(-head // 8) * 8
    table = b"".join(struct.pack("<QQ", *tag) for tag in [*TAGS, (5, address), (0, 0), (1, 1)])
    parts = (
        Part(".dynstr", STRINGS, kind=3),
        Part(".dynamic", table, kind=6, flags=3, segment=2),
        Part(".text", b"\x90" * 100, flags=6),
        Part(".nv_fatbin", bytes(48)),
    )
    rest = (
        Part(".symtab", bytes(48), kind=2, flags=0, link=".strtab"),
        Part(".strtab", bytes(17), kind=3, flags=0, alignment=1),
        Part(".debug_info", bytes(33), flags=0, alignment=1),
    )
    return elf((Load(parts),), rest, **options)  # type: ignore[arg-type]


def parse(raw: bytes, reads: object = None) -> Elf:
    def read(offset: int, length: int) -> bytes:
        if reads is not None:
            next(reads)  # type: ignore[call-overload]
        assert offset >= 0
        assert length >= 0
        return raw[offset : offset + length]

    return Elf.parse(read, len(raw))


def test_what_the_loader_is_asked_for():
    dynamic = parse(library()).dynamic

    assert dynamic.needed == ("libc.so.6", "libm.so.6")
    assert (
        dynamic.soname,
        dynamic.rpath,
        dynamic.runpath,
    ) == ("libme.so", "/opt/lib", "$ORIGIN/../lib")


def test_a_file_without_section_headers_is_read_too():
    found = parse(library(headers=False))

    assert found.sections == ()
    assert found.dynamic.needed == ("libc.so.6", "libm.so.6")


def test_a_library_takes_few_reads():
    reads = count()
    parse(library(), reads)

    assert next(reads) <= 7


def test_bytes_behind_the_end_are_seen():
    raw = library()

    assert len(raw) == parse(raw).end
    assert len(raw) == parse(raw + b"appended").end


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"", "not an ELF file"),
        (b"\x7fELF", "not an ELF file"),
        (b"#!/bin/sh\n" * 20, "not an ELF file"),
        (b"\x7fELF\x01\x01\x01" + bytes(99), "not understood: not 64-bit little-endian"),
        (b"\x7fELF\x02\x02\x01" + bytes(99), "not understood: not 64-bit little-endian"),
    ],
)
def test_what_is_not_understood_is_said(raw: bytes, message: str):
    with pytest.raises(ElfError, match=message):
        parse(raw)


def patched(raw: bytes, offset: int, form: str, value: int) -> bytes:
    changed = bytearray(raw)
    struct.pack_into(form, changed, offset, value)
    return bytes(changed)


@pytest.mark.parametrize(
    ("offset", "form", "value"),
    [
        (32, "<Q", 1 << 63),  # program headers past the end
        (40, "<Q", (1 << 64) - 1),  # section headers past the end
        (54, "<H", 55),  # size of a program header
        (56, "<H", 0xFFFE),  # number of program headers
        (58, "<H", 0),  # size of a section header
        (60, "<H", 0xFEFF),  # number of section headers
        (62, "<H", 0xFEFF),  # index of the names
        (64 + 8, "<Q", 1 << 40),  # a segment's offset
        (64 + 16, "<Q", (1 << 64) - 1),  # a segment's address
        (64 + 32, "<Q", (1 << 64) - 1),  # a segment's size
        (64 + 56 + 32, "<Q", 1 << 30),  # the dynamic section's size
    ],
)
def test_headers_that_lie_are_errors(offset: int, form: str, value: int):
    with pytest.raises(ElfError):
        parse(patched(library(), offset, form, value))


def test_names_that_share_their_bytes_do_not_take_for_ever():
    # 60,000 sections whose names are all suffixes of one name of 4 MB: 240 GB when spelt out.
    sections = 60_000
    names = 64 + sections * 64
    raw = bytearray(names) + b"a" * (4 << 20) + b"\0"
    struct.pack_into(
        "<16sHHIQQQIHHHHHH", raw, 0, b"\x7fELF\x02\x01\x01", 3, 62, 1, 0, 0, 64, 0, 64, 56, 0, 64,
        sections, 1,
    )  # fmt: skip
    for index in range(sections):
        struct.pack_into("<IIQQ", raw, 64 + index * 64, index, 3, 0, 0)
    struct.pack_into("<QQ", raw, 64 + 64 + 24, names, (4 << 20) + 1)

    with pytest.raises(ElfError, match="name that does not end"):
        parse(bytes(raw))


def test_nothing_but_an_elf_error_comes_out_of_damaged_headers():
    raw = library()
    chance = random.Random(4)
    for _ in range(3000):
        changed = bytearray(raw)
        for _ in range(chance.randint(1, 6)):
            where = chance.choice([chance.randrange(64), chance.randrange(len(raw))])
            changed[where] = chance.choice([0, 1, 0x7F, 0xFF, chance.randrange(256)])
        cut = chance.choice([len(changed), chance.randrange(len(changed))])
        try:
            parse(bytes(changed[:cut]))
        except ElfError:
            pass
