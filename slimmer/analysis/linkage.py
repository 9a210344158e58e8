"""Which ELF file needs which library, and where it finds it within the image.

A needed library is looked for as ld.so(8) does: RPATH (where there is no RUNPATH),
LD_LIBRARY_PATH of the image's environment, RUNPATH, the folders of ld.so.conf (the contents of
ld.so.cache), the default folders. What is found by none of these may have been loaded before by
its name, as torch does with NVIDIA's libraries: then a library of that name anywhere counts.

Libraries that are opened at run time (dlopen, ctypes) stand in no header. Their names stand
somewhere in a program, though, which proves nothing and is doubt enough.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Literal, NamedTuple

from slimmer.elf.file import PT_INTERP, Elf, ElfError
from slimmer.names import printable
from slimmer.tar.reading import FILE, HARDLINK, SYMLINK

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping

    from slimmer.image import Read
    from slimmer.index import Index

    Readers = Callable[[Iterable[bytes]], Iterator[tuple[bytes, Read]]]

STRINGS_LIMIT = 32 << 20
"""ELF files of at most this many bytes are searched for names of libraries; what is larger is
generated code and data. Python sources are searched whole."""
BLOCK = 4 << 20
"""Bytes that are searched at a time."""
_INTERPRETER_LIMIT = 4096
_MACHINES = {
    3: ("i386-linux-gnu",),
    40: ("arm-linux-gnueabihf", "arm-linux-gnueabi"),
    62: ("x86_64-linux-gnu",),
    183: ("aarch64-linux-gnu",),
    21: ("powerpc64le-linux-gnu",),
    22: ("s390x-linux-gnu",),
    243: ("riscv64-linux-gnu",),
}
"""`e_machine` to Debian's multiarch folder."""
_DEFAULT = (b"lib", b"usr/lib", b"lib64", b"usr/lib64", b"usr/local/lib")
"""Default folders of glibc and of musl."""
_CONF = b"etc/ld.so.conf"
_ENDING = re.compile(rb"\.so(?:\.[\w.]{1,20})?(?![\w+.-])").finditer
"""Begins with a literal, so that the search runs at the speed of memmem."""
_NAME = re.compile(rb"(?<![\w+.-])lib[\w+.-]{1,80}\Z").search
_FOUND = re.compile(
    rb"(?:find_library|CDLL|LoadLibrary|dlopen|load_library)\(\s*[\"']([\w+.-]{1,60})[\"']"
).findall
_LOADED = re.compile(rb"[^/]*\.so(?:\.[^/]*)?\Z").match

How = Literal["linked", "interpreter", "named"]


class Need(NamedTuple):
    """A file that asks for a library."""

    path: bytes
    """The file that asks."""
    name: str
    """What it asks for: a name, or a path of the interpreter that runs it."""
    how: How
    """`linked` (DT_NEEDED), `interpreter` (PT_INTERP), or `named`: a text that may be a name."""

    def __str__(self) -> str:
        verb = {"linked": "links", "interpreter": "is run by", "named": "names"}[self.how]
        return f"{printable(self.path)} {verb} {printable(self.name)}"


@dataclass(frozen=True, slots=True)
class Binary:
    """What one ELF file asks of the loader."""

    needed: tuple[str, ...]
    soname: str | None
    rpath: tuple[str, ...]
    runpath: tuple[str, ...]
    interpreter: str | None
    machine: int


@dataclass(frozen=True)
class Linkage:
    """Every ELF file of an image, and where it finds what it needs."""

    index: Index
    binaries: Mapping[bytes, Binary]
    """Path → what the file asks for, of every ELF file that could be read."""
    unread: tuple[bytes, ...]
    """ELF files that are not understood: damaged, or not 64-bit little-endian."""
    _folders: tuple[bytes, ...]
    """Where every program looks: LD_LIBRARY_PATH is not among them."""
    _told: tuple[bytes, ...]
    """LD_LIBRARY_PATH."""
    _readers: Readers = field(repr=False)

    @classmethod
    def of(cls, index: Index, readers: Readers) -> Linkage:
        """Read the headers of every ELF file: a few hundred bytes of each."""
        binaries: dict[bytes, Binary] = {}
        unread: list[bytes] = []
        for path, read in readers(_candidates(index)):
            if read(0, 4) != b"\x7fELF":
                continue
            try:
                binaries[path] = _binary(read, _size(index, path))
            except ElfError:
                unread.append(path)
        return cls(
            index,
            binaries,
            tuple(unread),
            _configured(index, readers),
            tuple(
                index.resolve(folder.encode("utf-8", "surrogateescape"))
                for key, value in index.image.config.environment
                if key == "LD_LIBRARY_PATH"
                for folder in value.split(":")
                if folder
            ),
            readers,
        )

    @cached_property
    def _by_name(self) -> Mapping[str, tuple[bytes, ...]]:
        """Name → the visible paths, symlinks included, that end with it or have it as soname."""
        names: dict[str, dict[bytes, None]] = {}
        for path, header in self.index.visible.items():
            if path in self.binaries or (header.kind is SYMLINK and b".so" in path):
                names.setdefault(_text(path[path.rfind(b"/") + 1 :]), {})[path] = None
        for path, binary in self.binaries.items():
            if binary.soname:
                names.setdefault(binary.soname, {})[path] = None
        return {name: tuple(paths) for name, paths in names.items()}

    def finds_in(self, folder: bytes) -> bool:
        """Whether the loader looks for libraries in a folder, whoever asks for them."""
        return folder in self._everywhere

    @cached_property
    def _everywhere(self) -> frozenset[bytes]:
        multiarch = [
            self._real(around + b"/" + name.encode())
            for names in _MACHINES.values()
            for name in names
            for around in (b"lib", b"usr/lib")
        ]
        return frozenset((*self._folders, *self._told, *multiarch))

    def needs(self, path: bytes) -> tuple[tuple[str, bytes | None], ...]:
        """What a file needs, and the path where it finds each; None where the image has none."""
        binary = self.binaries.get(path)
        if binary is None:
            return ()
        asked = [*binary.needed, *([binary.interpreter] if binary.interpreter else [])]
        return tuple((name, self._find(path, binary, name)) for name in asked)

    @cached_property
    def _needed_by(self) -> Mapping[bytes, tuple[Need, ...]]:
        needs: dict[bytes, list[Need]] = {}
        for path, binary in self.binaries.items():
            for name, found in self.needs(path):
                if found is not None:
                    how: How = "interpreter" if name == binary.interpreter else "linked"
                    real = self.index.resolve(found)
                    needs.setdefault(real, []).append(Need(path, name, how))
        return {path: tuple(found) for path, found in needs.items()}

    def lost(
        self, removed: Collection[bytes], added: Collection[bytes] = ()
    ) -> tuple[tuple[Need, bytes], ...]:
        """What resolves now and does not any more once these paths are gone: who needs what, and
        where it was. `added` are paths that come, by which a name may be found again."""
        gone = removed if isinstance(removed, (set, frozenset)) else frozenset(removed)
        if not gone:
            return ()
        new = {_text(path[path.rfind(b"/") + 1 :]) for path in added}
        lost: list[tuple[Need, bytes]] = []
        for library, needs in self._needed_by.items():
            ways = self._ways(library)
            if library not in gone and ways.isdisjoint(gone):
                continue
            for need in needs:
                if need.path in gone or need.name.rpartition("/")[2] in new:
                    continue
                # What the loader found by itself must stay so; what was found by its name alone
                # may be found by it elsewhere.
                binary = self.binaries[need.path]
                direct = self._direct(need.path, binary, need.name)
                find = self._find if direct is None else self._direct
                if find(need.path, binary, need.name, gone) is None:
                    lost.append((need, library))
        return tuple(lost)

    def _ways(self, library: bytes) -> frozenset[bytes]:
        """Symlinks that end at a library, and those on their way."""
        return self._links.get(library, frozenset())

    @cached_property
    def _links(self) -> Mapping[bytes, frozenset[bytes]]:
        ways: dict[bytes, set[bytes]] = {}
        for path, header in self.index.visible.items():
            if header.kind is SYMLINK and (b".so" in path or b"ld-" in path):
                real = self.index.resolve(path)
                if real in self.binaries:
                    ways.setdefault(real, set()).add(path)
        return {path: frozenset(links) for path, links in ways.items()}

    def named(
        self, libraries: Collection[bytes], leaving: Collection[bytes] = ()
    ) -> dict[bytes, Need]:
        """Those of the libraries whose name stands somewhere in a file other than the `leaving`
        ones and their own copies: a program may open them at run time.

        The first call searches every ELF file of up to 32 MB and every Python source.
        """
        found: dict[bytes, Need] = {}
        own = set(libraries)
        for library in libraries:
            binary = self.binaries.get(library)
            name = _text(library[library.rfind(b"/") + 1 :])
            copies = b"/" + re.split(rb"-[0-9a-f]{8}|\.so", library[library.rfind(b"/") + 1 :])[0]
            for one in dict.fromkeys((name, binary.soname if binary and binary.soname else name)):
                for stem in _stems(one):
                    for path in self._texts.get(stem, ()):
                        # A library and its copies name themselves.
                        if path not in own and path not in leaving and copies not in path:
                            found.setdefault(library, Need(path, stem, "named"))
        return found

    @cached_property
    def _texts(self) -> Mapping[str, tuple[bytes, ...]]:
        """Names of libraries → the files in which they stand."""
        texts: dict[str, dict[bytes, None]] = {}
        small = [
            path
            for path in (*self.binaries, *self.unread)
            if _size(self.index, path) <= STRINGS_LIMIT
        ]
        sources = [
            path
            for path, header in self.index.visible.items()
            if path.endswith(b".py") and header.kind in (FILE, HARDLINK)
        ]
        for path, read in self._readers([*small, *sources]):
            names: set[bytes] = set()
            for block in _blocks(read, _size(self.index, path)):
                names.update(_names(block))
                if path.endswith(b".py") and (b"ibrary(" in block or b"CDLL" in block):
                    names.update(
                        b"lib" + name.removeprefix(b"lib").partition(b".so")[0] + b".so"
                        for name in _FOUND(block)
                    )
            binary = self.binaries.get(path)
            linked = {*binary.needed, binary.soname} if binary else set()
            for raw in names:
                name = _text(raw)
                if name not in linked:
                    texts.setdefault(name, {})[path] = None
        return {name: tuple(paths) for name, paths in texts.items()}

    def _find(
        self, path: bytes, binary: Binary, name: str, gone: Collection[bytes] = ()
    ) -> bytes | None:
        direct = self._direct(path, binary, name, gone)
        if direct is not None or "/" in name:
            return direct
        for candidate in self._by_name.get(name, ()):
            if self._there(candidate, binary.machine, gone):
                return candidate
        return None

    def _direct(
        self, path: bytes, binary: Binary, name: str, gone: Collection[bytes] = ()
    ) -> bytes | None:
        """The path where the loader finds a name by itself."""
        raw = name.encode("utf-8", "surrogateescape")
        if "/" in name:
            return raw.lstrip(b"/") if self._there(raw.lstrip(b"/"), binary.machine, gone) else None
        for folder in self._searched(path, binary):
            candidate = folder + b"/" + raw if folder else raw
            if self._there(candidate, binary.machine, gone):
                return candidate
        return None

    def _there(self, candidate: bytes, machine: int, gone: Collection[bytes]) -> bool:
        real = self.index.resolve(candidate)
        binary = self.binaries.get(real)
        if binary is None or binary.machine != machine:
            return False
        if not gone:
            return True
        return real not in gone and candidate not in gone

    def _searched(self, path: bytes, binary: Binary) -> Iterator[bytes]:
        origin = path[: max(path.rfind(b"/"), 0)]
        if not binary.runpath:
            yield from self._expanded(binary.rpath, origin, binary.machine)
        yield from self._told
        yield from self._expanded(binary.runpath, origin, binary.machine)
        for folder in _MACHINES.get(binary.machine, ()):
            yield self._real(b"lib/" + folder.encode())
            yield self._real(b"usr/lib/" + folder.encode())
        yield from self._folders

    def _expanded(self, folders: Iterable[str], origin: bytes, machine: int) -> Iterator[bytes]:
        for folder in folders:
            for lib in ("lib64", "lib") if "LIB" in folder else ("",):
                raw = folder.encode("utf-8", "surrogateescape")
                raw = raw.replace(b"${ORIGIN}", b"$ORIGIN").replace(b"$ORIGIN", b"/" + origin)
                raw = raw.replace(b"${LIB}", b"$LIB").replace(b"$LIB", lib.encode())
                yield self._real(raw)

    def _real(self, folder: bytes) -> bytes:
        known = self._reals.get(folder)
        if known is None:
            known = self._reals[folder] = self.index.resolve(folder)
        return known

    @cached_property
    def _reals(self) -> dict[bytes, bytes]:
        return {}


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "surrogateescape")


def _size(index: Index, path: bytes) -> int:
    file = index.file(path)
    return file.size if file is not None else 0


def _candidates(index: Index) -> list[bytes]:
    """Files that may be ELF: by the magic where it was read, else by name, mode and folder."""
    evidence = index.evidence
    found: list[bytes] = []
    for path, header in index.visible.items():
        if header.kind is not FILE and header.kind is not HARDLINK:
            continue
        head = evidence.get(path)
        if head:
            if head.startswith(b"\x7fELF"):
                found.append(path)
            continue
        slash = path.rfind(b"/")
        if b".so" in path[slash + 1 :]:
            if _LOADED(path[slash + 1 :]):
                found.append(path)
        elif header.mode & 0o111 and not path.endswith((b".py", b".sh", b".pl", b".pm", b".h")):
            found.append(path)
    return found


def _binary(read: Read, size: int) -> Binary:
    elf = Elf.parse(read, size)
    interpreter = None
    for segment in elf.segments:
        if segment.kind == PT_INTERP and segment.file_size <= _INTERPRETER_LIMIT:
            interpreter = _text(read(segment.offset, segment.file_size).partition(b"\0")[0])
    dynamic = elf.dynamic
    return Binary(
        tuple(dict.fromkeys(dynamic.needed)),
        dynamic.soname,
        tuple(part for part in (dynamic.rpath or "").split(":") if part),
        tuple(part for part in (dynamic.runpath or "").split(":") if part),
        interpreter or None,
        elf.machine,
    )


def _configured(index: Index, readers: Readers) -> tuple[bytes, ...]:
    """The folders of ld.so.conf, musl's path file, and the default ones."""
    wanted = [
        path
        for path, header in index.visible.items()
        if (header.kind is FILE or header.kind is HARDLINK)
        and path.startswith(b"etc/ld")
        and (path == _CONF or path.startswith((b"etc/ld.so.conf.d/", b"etc/ld-musl-")))
        and _size(index, path) < 1 << 16
    ]
    folders: dict[bytes, None] = {}
    for path, read in readers(sorted(wanted)):
        content = read(0, _size(index, path))
        if path.startswith(b"etc/ld-musl-"):
            lines = re.split(rb"[:\n]", content)
        else:
            lines = [line.partition(b"#")[0].strip() for line in content.splitlines()]
        for line in lines:
            if line.startswith(b"/"):
                folders[index.resolve(line.strip())] = None
    for folder in _DEFAULT:
        folders[index.resolve(folder)] = None
    return tuple(folders)


def _stems(name: str) -> Iterator[str]:
    """A library's name with fewer and fewer numbers: `libfoo.so.1.2`, `libfoo.so.1` …"""
    while True:
        yield name
        shorter, dot, last = name.rpartition(".")
        if not dot or last == "so" or ".so" not in shorter + ".":
            return
        name = shorter


def _names(block: bytes) -> Iterator[bytes]:
    """Every name of a library in a text: `libfoo.so`, `libfoo.so.1`."""
    for match in _ENDING(block):
        stem = _NAME(block, max(0, match.start() - 90), match.start())
        if stem is not None:
            yield stem[0] + match[0]


def _blocks(read: Read, size: int) -> Iterator[bytes]:
    """A file in blocks that overlap by more than a name."""
    for start in range(0, max(size, 1), BLOCK):
        yield read(start, min(BLOCK + 128, size - start))
