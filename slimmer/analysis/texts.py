"""Every text of an image that can name a file, a module, a program or a library; read once.

What can name something is what something else reads in order to act: source code, bytecode that has
no source, scripts, configuration, notebooks, path files, entry points, and what the image's own
config says. Not what tells people (documents, change logs), what lists files (RECORD, METADATA,
dpkg's books), and what only a type checker reads.

One pass looks for all names of all who search, with one automaton (Aho and Corasick, 1975), in the
tar's order. 174 MB in 9,519 sources take 0.07 s of CPU to read and 0.8 s to search, for three names
as for five hundred; parsing them would take a minute, so who searches parses around a hit.
"""

from __future__ import annotations

import io
import zipfile
import zlib
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from typing import TYPE_CHECKING, Literal, NamedTuple

import ahocorasick_rs

from slimmer.ecosystems.python import source_of
from slimmer.names import printable
from slimmer.tar.reading import FILE, HARDLINK

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence

    from slimmer.image import Config, Read
    from slimmer.index import Index
    from slimmer.tar.reading import Header

    Readers = Callable[[Iterable[bytes]], Iterator[tuple[bytes, Read]]]


class Kind(StrEnum):
    """What reads a text, and so what a name in it means."""

    PYTHON = "Python source"
    BYTECODE = "Python bytecode"
    """A `.pyc` that is all there is of its module; its constants stand in it as plain bytes."""
    NOTEBOOK = "notebook"
    PATH_FILE = "path file"
    """`.pth`: Python's `site` runs its lines that begin with `import`."""
    ENTRY_POINTS = "entry points"
    SHELL = "shell script"
    SCRIPT = "script"
    """Of another language: Perl, JavaScript, Ruby …"""
    BUILD = "build file"
    """Makefiles, CMake modules, pkg-config: what a compiler's tools read."""
    CONFIG = "configuration"
    IMAGE = "image config"
    """Entrypoint, Cmd, Healthcheck, Env and labels."""


BY_CONTENT: Literal["by content"] = "by content"
"""Said of a file whose first bytes must tell: a script without a suffix, a zip."""

LIMITS = {
    Kind.PYTHON: 16 << 20,
    Kind.BYTECODE: 16 << 20,
    Kind.NOTEBOOK: 16 << 20,
    Kind.PATH_FILE: 1 << 16,
    Kind.ENTRY_POINTS: 1 << 20,
    Kind.SHELL: 1 << 20,
    Kind.SCRIPT: 2 << 20,
    Kind.BUILD: 1 << 20,
    Kind.CONFIG: 1 << 20,
}
"""Bytes of the longest text of each kind that is looked through; what is longer is data."""
UNNAMED_LIMIT = 256 << 10
"""Bytes of the longest file without a telling name that may be a script."""
ZIP_LIMIT = 64 << 20
"""Bytes of the longest zip whose modules are looked through, and of all modules of one."""
DFA_LIMIT = 64 << 10
"""Bytes of all needles up to which the automaton's fastest form, of 1 KiB a byte, is built."""

_SUFFIXES = {
    suffix.encode(): kind
    for kind, suffixes in {
        Kind.PYTHON: "py pyw",
        Kind.BYTECODE: "pyc",
        Kind.NOTEBOOK: "ipynb",
        Kind.PATH_FILE: "pth",
        Kind.SHELL: "sh bash zsh ksh dash csh fish",
        Kind.SCRIPT: "pl pm rb js mjs cjs ts lua php r jl cgi tcl awk groovy ps1 sql",
        Kind.BUILD: "cmake pc la mk am mak ninja gn bazel",
        Kind.CONFIG: "ini cfg cnf conf config toml yaml yml json jsonc json5 env properties xml"
        " service socket timer path mount target desktop crontab cron rules plist hcl"
        " cf vcl logrotate nginx j2 jinja tmpl",
    }.items()
    for suffix in suffixes.split()
}
_NAMES = {
    b"entry_points.txt": Kind.ENTRY_POINTS,
    b"Makefile": Kind.BUILD,
    b"makefile": Kind.BUILD,
    b"GNUmakefile": Kind.BUILD,
    b"CMakeLists.txt": Kind.BUILD,
    b"meson.build": Kind.BUILD,
    b"justfile": Kind.BUILD,
    b"Procfile": Kind.CONFIG,
    b"crontab": Kind.CONFIG,
    b"uwsgi": Kind.CONFIG,
    b"supervisord": Kind.CONFIG,
    b".env": Kind.CONFIG,
    b".profile": Kind.SHELL,
    b".bashrc": Kind.SHELL,
    b".bash_profile": Kind.SHELL,
    b".zshrc": Kind.SHELL,
}
_ZIPS = (b".pyz", b".pyzw", b".egg", b".zip")
_LISTING = (
    *(b"var/lib/dpkg/", b"var/lib/apt/", b"var/lib/rpm/", b"var/cache/", b"lib/apk/db/"),
    *(b"usr/share/doc/", b"usr/share/man/", b"usr/share/info/", b"usr/share/locale/"),
    *(b"usr/share/licenses/", b"usr/share/lintian/", b"proc/", b"sys/", b"dev/"),
)
"""Folders whose texts list what is installed, or tell people of it."""
_CONFIGURATION = (b"etc/", b"var/spool/cron/")
"""Where every text is configuration, whatever it is called."""
_INSTALLED = (
    *(b"usr/", b"lib/", b"lib64/", b"bin/", b"sbin/", b"var/", b"boot/"),
    *(b"opt/conda/", b"opt/venv/", b"root/.cache/"),
)
"""Where files lie that somebody installed; elsewhere a text without a telling name is the
application's, which reads it."""
_OTHERS_CODE = (b"/site-packages/", b"/dist-packages/", b"/node_modules/", b"/lib/python")
_LISTS = (b".txt", b".csv", b".tsv", b".lst", b".list", b".args")
_FOR_PEOPLE = (
    *(b"readme", b"change", b"licen", b"copying", b"news", b"author", b"history", b"notice"),
    *(b"todo", b"requirements", b"constraints", b"contribut", b"install", b"version"),
)
_METADATA = (b".dist-info", b".egg-info", b"conda-meta")
_SHELLS = (b"sh", b"bash", b"dash", b"ash", b"ksh", b"zsh", b"mksh", b"busybox")
_WORD = frozenset(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_")


class Text(NamedTuple):
    """One text of the image, while a pass stands at it."""

    path: bytes
    """The file; empty for the image's config."""
    kind: Kind
    content: bytes
    member: str = ""
    """The part of the file: a member of a zip, a key of the image's config."""

    @property
    def name(self) -> str:
        """As people read it: a path, `path!member` of a zip, or the key of the config."""
        if not self.path:
            return printable(self.member)
        return printable(self.path) + (f"!{printable(self.member)}" if self.member else "")

    def line(self, offset: int) -> int:
        """The line of an offset, from 1 on."""
        return self.content.count(b"\n", 0, offset) + 1


class Hit(NamedTuple):
    """A needle in a text."""

    start: int
    end: int
    needle: bytes


@dataclass(frozen=True, slots=True)
class Search:
    """What one searcher looks for in a pass, and what is to be done where it stands."""

    needles: tuple[bytes, ...]
    found: Callable[[Text, Sequence[Hit]], None]
    """Called once for each text with hits, in their order; the content is gone afterwards."""
    kinds: frozenset[Kind] = frozenset(Kind)
    whole_words: bool = True
    """Only hits that no letter, digit or underscore touches; in bytecode, where the byte behind a
    text is whatever comes next, all."""


@dataclass(frozen=True)
class Texts:
    """The texts of one image."""

    index: Index
    readers: Readers

    @cached_property
    def kinds(self) -> Mapping[bytes, Kind | Literal["by content"]]:
        """Every file that can name something, and what its name says of it."""
        visible = self.index.visible
        found: dict[bytes, Kind | Literal["by content"]] = {}
        for path, header in visible.items():
            if header.kind is not FILE and header.kind is not HARDLINK:
                continue
            if header.kind is FILE and not header.size:
                continue
            told = _told(path, header)
            if told is None or (told is Kind.BYTECODE and source_of(path) in visible):
                continue
            found[path] = told
        return found

    def scan(
        self,
        searches: Sequence[Search],
        paths: Collection[bytes] | None = None,
        *,
        image: bool = False,
    ) -> None:
        """One pass for all searches, over the image's config and every text; or only over the
        texts at these paths, and over the config where `image` asks for it."""
        automaton = _Automaton(searches)
        if not automaton.needles:
            return
        wanted = frozenset().union(*(search.kinds for search in searches))
        if Kind.IMAGE in wanted and (image or paths is None):
            for text in image_texts(self.index.image.config):
                automaton.look(text)
        for text in self._read(wanted, self.kinds if paths is None else paths):
            automaton.look(text)

    def _read(self, wanted: Collection[Kind], paths: Collection[bytes]) -> Iterator[Text]:
        asked = {
            path: kind
            for path in paths
            if (kind := self.kinds.get(path)) and (kind == BY_CONTENT or kind in wanted)
        }
        for path, read in self.readers(asked):
            for text in _texts(path, asked[path], read, self.index.visible[path]):
                if text.kind in wanted:
                    yield text


class _Automaton:
    """All needles of all searches."""

    def __init__(self, searches: Sequence[Search]) -> None:
        self._searches = searches
        self.needles = sorted({needle for search in searches for needle in search.needles})
        self._takers: list[list[int]] = [[] for _ in self.needles]
        places = {needle: place for place, needle in enumerate(self.needles)}
        for number, search in enumerate(searches):
            for needle in dict.fromkeys(search.needles):
                self._takers[places[needle]].append(number)
        if self.needles:
            small = sum(map(len, self.needles)) <= DFA_LIMIT
            self._find = ahocorasick_rs.BytesAhoCorasick(
                self.needles,
                implementation=ahocorasick_rs.Implementation.DFA if small else None,
            ).find_matches_as_indexes

    def look(self, text: Text) -> None:
        """Tell each search what of its own stands in the text."""
        content = text.content
        found: dict[int, list[Hit]] = {}
        length = len(content)
        for place, start, end in self._find(content, overlapping=True):
            whole = text.kind is Kind.BYTECODE or not (
                (start and content[start - 1] in _WORD) or (end < length and content[end] in _WORD)
            )
            for number in self._takers[place]:
                if whole or not self._searches[number].whole_words:
                    found.setdefault(number, []).append(Hit(start, end, self.needles[place]))
        for number, hits in found.items():
            search = self._searches[number]
            if text.kind in search.kinds:
                hits.sort()
                search.found(text, hits)


def image_texts(config: Config) -> Iterator[Text]:
    """What the config says, a word or a value a line."""
    for key, words in (
        ("Entrypoint", config.entrypoint),
        ("Cmd", config.command),
        ("Healthcheck", config.healthcheck),
    ):
        if words:
            yield Text(b"", Kind.IMAGE, _encoded("\n".join(words)), key)
    if config.working_directory:
        yield Text(b"", Kind.IMAGE, _encoded(config.working_directory), "WorkingDir")
    for name, value in config.environment:
        yield Text(b"", Kind.IMAGE, _encoded(value), f"Env {name}")
    for name, value in config.labels:
        yield Text(b"", Kind.IMAGE, _encoded(value), f"Label {name}")


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _limit(kind: Kind, name: bytes) -> int:
    """Bytes of the longest text of this name; Yarn's Plug'n'Play names every package in one."""
    return ZIP_LIMIT if name.startswith(b".pnp.") else LIMITS[kind]


def _told(path: bytes, header: Header) -> Kind | Literal["by content"] | None:
    """What a file's name says; None where it can name nothing, or is too long for a text."""
    slash = path.rfind(b"/")
    folder, name = path[: max(slash, 0)], path[slash + 1 :]
    kind: Kind | None = _NAMES.get(name)
    if path.startswith(_LISTING):
        return None
    if folder.endswith(_METADATA) or b".dist-info/" in path or b".egg-info/" in path:
        return kind if kind is Kind.ENTRY_POINTS else None
    dot = name.rfind(b".")
    if kind is None and dot >= 0:
        kind = _SUFFIXES.get(name[dot + 1 :].lower())
    if kind is None and (name.startswith(b".env.") or _is_list(path, name)):
        kind = Kind.CONFIG
    if kind is not None:
        return kind if header.size <= _limit(kind, name) else None
    if name.endswith(_ZIPS) or (header.mode & 0o111 and b".so" not in name):
        return BY_CONTENT if header.size <= ZIP_LIMIT else None
    if path.startswith(_CONFIGURATION):
        return Kind.CONFIG if header.size <= LIMITS[Kind.CONFIG] else None
    return BY_CONTENT if dot <= 0 and header.size <= UNNAMED_LIMIT else None


def _is_list(path: bytes, name: bytes) -> bool:
    """Whether a file is a list or table of the application's, which may hold paths and names."""
    return (
        name.endswith(_LISTS)
        and not path.startswith(_INSTALLED)
        and not any(part in path for part in _OTHERS_CODE)
        and not name.lower().startswith(_FOR_PEOPLE)
    )


def _texts(
    path: bytes, told: Kind | Literal["by content"], read: Read, header: Header
) -> Iterator[Text]:
    """The texts of one file: one, the modules of a zip, or none."""
    if told == BY_CONTENT:
        head = read(0, 256)
        if not head.startswith((b"#!", b"PK\x03\x04")):
            # Copied from Windows, every file may be run.
            if path.startswith(_CONFIGURATION):
                content = read(0, UNNAMED_LIMIT)
                if b"\0" not in content[:1024]:
                    yield Text(path, Kind.CONFIG, content)
            return
        limit = ZIP_LIMIT if header.kind is HARDLINK else min(header.size, ZIP_LIMIT)
        content = read(0, limit)
        if head.startswith(b"PK") or (content[-22:-18] == b"PK\x05\x06"):
            yield from _modules(path, content)
            return
        kind = _interpreter(head)
        if len(content) > LIMITS[kind]:
            return
    else:
        kind = Kind(told)
        limit = _limit(kind, path[path.rfind(b"/") + 1 :])
        content = read(0, limit if header.kind is HARDLINK else min(header.size, limit))
        if kind is Kind.CONFIG and b"\0" in content[:1024]:
            return
    yield Text(path, kind, content)


def _interpreter(head: bytes) -> Kind:
    """What runs a script, by its first line."""
    line, _, rest = head.partition(b"\n")
    words = line[2:].split()
    if words and words[0].endswith(b"/env"):
        words = [word for word in words[1:] if not word.startswith(b"-") and b"=" not in word]
    program = words[0].rpartition(b"/")[2] if words else b""
    # pip writes a shell's line where the interpreter's path is too long for the kernel.
    if b"python" in line or b"pypy" in line or rest.startswith(b"'''exec'"):
        return Kind.PYTHON
    return Kind.SHELL if program in _SHELLS else Kind.SCRIPT


def _modules(path: bytes, content: bytes) -> Iterator[Text]:
    """The modules of a zip that Python imports from: a zipapp, an egg."""
    left = ZIP_LIMIT
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            for member in archive.infolist():
                if not member.filename.endswith((".py", ".pyc")) or member.file_size > left:
                    continue
                left -= member.file_size
                with archive.open(member) as file:
                    text = file.read(min(member.file_size, LIMITS[Kind.PYTHON]))
                kind = Kind.PYTHON if member.filename.endswith(".py") else Kind.BYTECODE
                yield Text(path, kind, text, member.filename)
    except (zipfile.BadZipFile, zlib.error, OSError, ValueError, RuntimeError, EOFError):
        return  # no zip, or one that Python could not import from either
