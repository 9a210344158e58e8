"""What is inside large ELF files: device code by GPU architecture, debug sections, symbols."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from slimmer.elf.fatbin import code_by_architecture
from slimmer.elf.file import Elf, ElfError, is_debug, is_symbols
from slimmer.tar.reading import FILE

if TYPE_CHECKING:
    from collections.abc import Mapping

    from slimmer.image import Read
    from slimmer.index import Index
    from slimmer.tar.reading import Header

LARGE = 1 << 20
"""Files of at least this many bytes are looked into; smaller ones hold nothing worth a seek."""
ELF_MAGIC = b"\x7fELF"


@dataclass(frozen=True, slots=True)
class Binary:
    """The parts of one ELF file that are worth knowing, in bytes of the file."""

    device_code: Mapping[str, int]
    """Bytes by GPU architecture, `sm_90` or `compute_90` (PTX), largest first."""
    debug: int
    """Bytes of debug sections and of the symbol tables that no loader reads."""

    @classmethod
    def of(cls, read: Read, size: int) -> Binary | None:
        """Look into one file; None for what is no ELF file or one that is not understood."""
        try:
            elf = Elf.parse(read, size)
            code = code_by_architecture(elf, read)
        except ElfError:
            return None
        return cls(
            code,
            sum(
                section.file_size
                for section in elf.sections
                if is_debug(section) or is_symbols(section)
            ),
        )


def look(index: Index, deep: bool = False) -> dict[bytes, Binary]:
    """What is inside the large ELF files that are visible, by path.

    Only where the medium allows random access, unless `deep`: then a layer that must be
    decompressed is read once more.
    """
    found: dict[bytes, Binary] = {}
    for layer in index.layers:
        content = layer.layer.content
        if not (deep or content.random_access):
            continue
        headers: list[Header] = [
            header
            for header in layer.visible
            if header.size >= LARGE
            and header.kind is FILE
            and not header.sparse
            and index.evidence.get(header.path, b"").startswith(ELF_MAGIC)
        ]
        for header, read in content.files(headers):
            binary = Binary.of(read, header.size)
            if binary is not None:
                found[header.path] = binary
    return found
