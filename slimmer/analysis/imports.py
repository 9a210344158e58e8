"""Which Python source names which test package: the proof that nothing needs the tests.

Looked for is everything by which a program reaches a module: import statements, relative ones
included, and texts such as `"pkg.tests.helpers"` or `".tests"`, which importlib, pytest and entry
points take. A text proves nothing, but is doubt enough. A path to a test folder counts too: data
of the tests may be what a program reads. Names are never guessed by their sound: each is looked
up in the folders from which Python, started as the image starts it, would import.

Not counted is what only pytest loads (`conftest.py`), and what type checkers read (`.pyi`).
"""

from __future__ import annotations

import ast
import re
import warnings
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

from slimmer.categories import TEST_FOLDERS
from slimmer.names import printable
from slimmer.tar.reading import DIRECTORY, FILE, HARDLINK

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping

    from slimmer.image import Read
    from slimmer.index import Index

    Readers = Callable[[Iterable[bytes]], Iterator[tuple[bytes, Read]]]

SOURCE_LIMIT = 16 << 20
"""Longest source, in bytes, that is looked through; a longer one is no program's."""
SCRIPT_LIMIT = 256 << 10
"""Longest file without a suffix that is taken for a script."""
PARSED_LIMIT = 2 << 20
"""Longest source that is parsed; what is longer is data in Python's clothes, and is doubted."""

WINDOW = 4096
"""Bytes before a name within which the line and the brackets around it are looked for."""
CONTINUED = 100
"""Lines that one statement may go over by backslashes."""
OCCURRENCES = 2000
"""Most places of one source that are looked at one by one; a source with more is parsed."""
MENTIONS = 50
"""Most places of one source that are told."""

_CONFTEST = b"conftest.py"
_SCRIPT_FOLDERS = (b"bin", b"sbin", b"libexec", b"scripts")
_SITE = (b"site-packages", b"dist-packages")
_STANDARD = re.compile(rb"(?:.*/)?lib(?:32|64)?/(?:python|pypy)[23](?:\.\d+)?t?\Z", re.DOTALL).match

_WORD = rb"(?:tests|test|idle_test)"
_OCCURRENCES = re.compile(rb"tests?(?![\w-])").finditer
"""Begins with a literal, so that the search runs at the speed of memmem."""
_IMPORT = re.compile(rb"(?:.*[;:])?[ \t]*(?:from|import)[ \t]").match
_DOTTED_BEFORE = re.compile(rb"(.?)[\w.]*\Z", re.DOTALL).search
_QUOTES = b"\"'"
_LINE = re.compile(
    rb"^[ \t]*(?:from[ \t]+(\.*[\w.]*)[ \t]+import[ \t]+\(?([^#\n]*)|import[ \t]+([^#\n]+))",
    re.MULTILINE,
).finditer
_TEXT = re.compile(rb"[\"']([\w.]*\b" + _WORD + rb"\b[\w.]*)(?::[\w.]+)?[\"']").finditer
_DOTTED = re.compile(r"\.*[^\W\d]\w*(?:\.[^\W\d]\w*)*\Z").match
_NAMES = frozenset(folder.decode() for folder in TEST_FOLDERS)
_HAS_TEST = re.compile(r"(?:^|[./])(?:tests|test|idle_test)(?:[./:]|$)").search
_PATH_CALLS = frozenset(
    {
        "join",
        "joinpath",
        "Path",
        "PurePath",
        "files",
        "path",
        "open",
        "open_text",
        "open_binary",
        "read_text",
        "read_binary",
        "resource_filename",
        "resource_string",
        "resource_stream",
        "get_data",
    }
)
"""Calls whose argument may be part of a path to data."""


class Mention(NamedTuple):
    """A place that names a test package."""

    path: bytes
    """The source that names it."""
    line: int
    text: str
    """What it names, as it is written."""
    doubt: bool
    """True where it is a text that may be a name, and no import statement."""

    def __str__(self) -> str:
        verb = "names" if self.doubt else "imports"
        return f"{printable(self.path)}:{self.line} {verb} {printable(self.text)}"


@dataclass(frozen=True, slots=True)
class Importers:
    """Every test folder with Python files, and who reaches for it from outside of test folders."""

    folders: Mapping[bytes, tuple[bytes, ...]]
    """Outermost test folder → the Python files in it."""
    _mentions: Mapping[bytes, tuple[Mention, ...]]
    _look: Callable[[Iterable[bytes]], dict[bytes, list[Mention]]] = field(repr=False)
    _inside: dict[bytes, dict[bytes, list[Mention]]] = field(default_factory=dict, repr=False)
    _modules: Callable[[Collection[str], Collection[bytes]], Mapping[str, Mention]] | None = field(
        default=None, repr=False
    )

    @classmethod
    def of(cls, index: Index, readers: Readers) -> Importers:
        """Look through all sources outside of test folders.

        9,500 sources of 174 MB take 2.8 s of CPU: 0.2 to read, the rest for the 220 that are
        parsed.
        """
        folders = _folders(index)
        finder = _Finder(index, frozenset(folders))

        def look(paths: Iterable[bytes]) -> dict[bytes, list[Mention]]:
            found: dict[bytes, list[Mention]] = {}
            for path, source in _sources(index, readers, paths):
                for folder, mention in islice(finder.mentions(path, source), MENTIONS):
                    if not path.startswith(folder + b"/"):
                        found.setdefault(folder, []).append(mention)
            return found

        def modules(names: Collection[str], leaving: Collection[bytes]) -> Mapping[str, Mention]:
            outer = [path for path in _outer(index, folders) if path not in leaving]
            return _module_imports(_sources(index, readers, outer), names)

        mentions = look(_outer(index, folders)) if folders else {}
        return cls(
            folders,
            {folder: tuple(found) for folder, found in mentions.items()},
            look,
            _modules=modules,
        )

    def folder(self, path: bytes) -> bytes | None:
        """The test folder that a path lies in."""
        return next((part for part in _test_folders(path) if part in self.folders), None)

    def mentions(self, folder: bytes) -> tuple[Mention, ...]:
        """Who names a test folder, from outside of all test folders."""
        return self._mentions.get(folder, ())

    def needed(self, leaving: Collection[bytes]) -> Mapping[bytes, Mention]:
        """Those of the `leaving` test folders that must stay, each with who needs it.

        A test folder that stays needs what it imports in its turn.
        """
        wanted = set(leaving)
        needed: dict[bytes, Mention] = {
            folder: self._mentions[folder][0] for folder in leaving if self._mentions.get(folder)
        }
        todo = [folder for folder in self.folders if folder not in wanted or folder in needed]
        while todo:
            folder = todo.pop()
            inside = self._inside.get(folder)
            if inside is None:
                inside = self._inside[folder] = self._look(self.folders[folder])
            for other, found in inside.items():
                if other in wanted and other not in needed:
                    needed[other] = found[0]
                    todo.append(other)
        return needed

    def importing(
        self, modules: Collection[str], leaving: Collection[bytes] = ()
    ) -> Mapping[str, Mention]:
        """Those of the top-level modules that a source outside of test folders imports, other
        than the `leaving` ones."""
        return self._modules(modules, leaving) if self._modules and modules else {}


def _test_folders(path: bytes) -> Iterator[bytes]:
    """Every folder around a path that is called as test folders are, the outermost first."""
    parts = path.split(b"/")
    for place, part in enumerate(parts[:-1]):
        if part in TEST_FOLDERS:
            yield b"/".join(parts[: place + 1])


def _folders(index: Index) -> dict[bytes, tuple[bytes, ...]]:
    """The outermost test folders with Python files anywhere below.

    A distribution may itself be called `test`: a folder that holds whole import roots is none.
    """
    found: dict[bytes, list[bytes]] = {}
    for path, header in index.visible.items():
        if path.endswith((b".py", b".pyc", b".so")) and header.kind is not DIRECTORY:
            folder = next(_test_folders(path), None)
            if folder is not None:
                found.setdefault(folder, []).append(path)
    return {
        folder: tuple(path for path in paths if path.endswith(b".py"))
        for folder, paths in found.items()
    }


def _outer(index: Index, folders: Mapping[bytes, object]) -> list[bytes]:
    """The sources that count from the start: modules, scripts, entry points, path files."""
    found: list[bytes] = []
    for path, header in index.visible.items():
        if header.kind is not FILE and header.kind is not HARDLINK:
            continue
        slash = path.rfind(b"/")
        name = path[slash + 1 :]
        if name.endswith(b".py"):
            if name == _CONFTEST:
                continue
        elif name.endswith((b".pth", b".pyw")) or name == b"entry_points.txt":
            pass
        elif not (
            header.mode & 0o111
            and (not header.size or header.size <= SCRIPT_LIMIT)
            and (b"." not in name or name.endswith((b".sh", b".cgi")))
            and (path[:slash].rpartition(b"/")[2] in _SCRIPT_FOLDERS or slash < 0)
        ):
            continue
        if any(folder in folders for folder in _test_folders(path)):
            continue
        found.append(path)
    return found


def _sources(
    index: Index, readers: Readers, paths: Iterable[bytes]
) -> Iterator[tuple[bytes, bytes]]:
    """Sources by path; of files without a suffix only those that Python runs."""
    for path, read in readers(paths):
        name = path[path.rfind(b"/") + 1 :]
        if b"." not in name and b"python" not in read(0, 128).partition(b"\n")[0]:
            continue
        header = index.visible[path]
        size = SOURCE_LIMIT if header.kind is HARDLINK else min(header.size, SOURCE_LIMIT)
        yield path, read(0, size)


class _Finder:
    """Tells which test folders a source names."""

    def __init__(self, index: Index, folders: frozenset[bytes]) -> None:
        self._folders = folders
        self._packages = {
            path[: -len(b"/__init__.py")]
            for path in index.visible
            if path.endswith(b"/__init__.py")
        }
        self._roots = _roots(index)
        self._holding = _holding_data(index, folders)
        self._near = {around for folder in self._holding for around in _around(folder) if around}

    def mentions(self, path: bytes, source: bytes) -> Iterator[tuple[bytes, Mention]]:
        # Three in four sources hold no "test" at all, and most others speak of something else.
        if b"test" not in source:
            return
        name = path[path.rfind(b"/") + 1 :]
        if name == b"entry_points.txt":
            yield from self._entry_points(path, source)
            return
        lazy = name == b"__init__.py" and (b"__getattr__" in source or b"lazy" in source)
        if not self._suspect(path, source, lazy):
            return
        if name.endswith(b".pth") or len(source) > PARSED_LIMIT:
            yield from self._plain(path, source)
            return
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                tree = ast.parse(source)
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            yield from self._plain(path, source)  # Python 2, a template
            return
        for line, name_or_path, text, how in _named(tree, lazy):
            reached = self._beside if how == "path" else self._reached
            for folder in reached(path, name_or_path):
                yield folder, Mention(path, line, text, how != "import")

    def _suspect(self, path: bytes, source: bytes, lazy: bool) -> bool:
        """Whether the source is worth parsing, which costs a thousand times more than this."""
        here = path[: max(path.rfind(b"/"), 0)]
        parent = here[: max(here.rfind(b"/"), 0)]
        near = here in self._near or parent in self._near
        for number, match in enumerate(_OCCURRENCES(source)):
            if number == OCCURRENCES:
                return True
            start, end = match.span()
            if source.endswith(b"idle_", 0, start):
                start -= 5
            before, after = source[max(start - 1, 0) : start], source[end : end + 1]
            if before.isalnum() or before in (b"_", b"-"):
                continue
            quoted = bool(before) and before in _QUOTES
            if quoted and after and after in _QUOTES:
                word = source[start:end]
                if near or (lazy and here + b"/" + word in self._folders):
                    return True
                continue
            if before == b"/" or (quoted and after == b"/"):
                if near:
                    return True
                continue
            line_start = source.rfind(b"\n", max(0, start - WINDOW), start) + 1
            line_start = line_start or max(0, start - WINDOW)
            if _IMPORT(source, line_start, start):
                return True
            if before == b"." or (quoted and after in (b".", b":")):
                first = _DOTTED_BEFORE(source, max(line_start, start - 200), start)
                if quoted or (first and first[1] and first[1] in b"\"'}"):
                    return True
                continue
            bracket = source.rfind(b"(", max(0, start - WINDOW), start)
            if bracket >= 0 and source[max(bracket - 10, 0) : bracket].rstrip().endswith(b"import"):
                return True
            for _ in range(CONTINUED):
                if not source.endswith((b"\\\n", b"\\\r\n"), 0, line_start):
                    break
                line_start = source.rfind(b"\n", max(0, line_start - WINDOW), line_start - 1) + 1
                if _IMPORT(source, line_start, start):
                    return True
        return False

    def _entry_points(self, path: bytes, source: bytes) -> Iterator[tuple[bytes, Mention]]:
        for number, line in enumerate(source.splitlines(), 1):
            name = line.partition(b"=")[2].partition(b":")[0].strip().decode("utf-8", "replace")
            if _DOTTED(name):
                for folder in self._reached(path, name):
                    yield folder, Mention(path, number, name, False)

    def _plain(self, path: bytes, source: bytes) -> Iterator[tuple[bytes, Mention]]:
        """What a text that cannot be parsed may import."""
        for match in _LINE(source):
            if b"test" not in match[0]:
                continue
            base, what, plain = match.groups()
            names: list[str] = []
            if base is not None:
                start = base.decode("utf-8", "replace")
                dot = "" if start.endswith(".") else "."
                names.append(start)
                names += [
                    start + dot + part.decode("utf-8", "replace")
                    for part in re.findall(rb"[\w]+", what)
                ]
            else:
                for part in plain.split(b","):
                    found = re.match(rb"\s*([\w.]+)", part)
                    if found:
                        names.append(found[1].decode("utf-8", "replace"))
            for name in names:
                for folder in self._reached(path, name):
                    line = source.count(b"\n", 0, match.start()) + 1
                    yield folder, Mention(path, line, name, True)
        for match in _TEXT(source):
            text = match[1].decode("utf-8", "replace")
            if _DOTTED(text) and "." in text:
                for folder in self._reached(path, text):
                    line = source.count(b"\n", 0, match.start()) + 1
                    yield folder, Mention(path, line, text, True)

    def _reached(self, path: bytes, name: str) -> Iterator[bytes]:
        """The test folders that a module's name leads to or into."""
        if not _HAS_TEST(name):
            return
        rest = name.lstrip(".")
        dots = len(name) - len(rest)
        parts = rest.encode("utf-8", "replace").split(b".") if rest else []
        here = path[: max(path.rfind(b"/"), 0)]
        if dots:
            for _ in range(dots - 1):
                here = here[: max(here.rfind(b"/"), 0)]
            starts: Iterable[bytes] = (here,)
        elif here in self._packages:
            top = here
            while top in self._packages:
                top = top[: max(top.rfind(b"/"), 0)]
            starts = dict.fromkeys((*self._roots, top))
        else:
            starts = dict.fromkeys((*self._roots, here))
        for start in starts:
            folder = start
            for part in parts:
                folder = folder + b"/" + part if folder else part
                if part in TEST_FOLDERS and folder in self._folders:
                    yield folder
                    break

    def _beside(self, path: bytes, text: str) -> Iterator[bytes]:
        """The test folders beside a source, or one folder up, that a relative path leads into."""
        here = path[: max(path.rfind(b"/"), 0)]
        for start in (here, here[: max(here.rfind(b"/"), 0)]):
            folder = start
            for part in text.encode("utf-8", "replace").split(b"/"):
                folder = folder + b"/" + part if folder else part
                if folder in self._holding:
                    yield folder
                    return


def _roots(index: Index) -> tuple[bytes, ...]:
    """The folders from which Python imports: site-packages, the standard library, PYTHONPATH, the
    folder in which the image starts, and what path files add."""
    roots: dict[bytes, None] = {}
    seen: set[bytes] = set()
    for path in index.visible:
        if not path.endswith((b".py", b".so", b".pth")):
            continue
        folder = path[: max(path.rfind(b"/"), 0)]
        while folder and folder not in seen:
            seen.add(folder)
            if folder[folder.rfind(b"/") + 1 :] in _SITE or _STANDARD(folder):
                roots[folder] = None
            folder = folder[: max(folder.rfind(b"/"), 0)]
    config = index.image.config
    told = [config.working_directory]
    for key, value in config.environment:
        if key == "PYTHONPATH":
            told += value.split(":")
    for text in told:
        if text:
            roots[index.resolve(text.encode("utf-8", "surrogateescape"))] = None
    return tuple(roots)


def _holding_data(index: Index, folders: Collection[bytes]) -> frozenset[bytes]:
    """Those of the test folders that hold more than modules: what a program may open by path.

    Many a program names a folder of its tests without opening anything in it, as pandas does to
    leave frames out of a traceback.
    """
    return frozenset(
        folder
        for path, header in index.visible.items()
        if not path.endswith((b".py", b".pyc", b".pyi", b".so")) and header.kind is not DIRECTORY
        for folder in _test_folders(path)
        if folder in folders
    )


def _around(folder: bytes) -> Iterator[bytes]:
    """A folder's parents."""
    while folder:
        folder = folder[: max(folder.rfind(b"/"), 0)]
        yield folder


def _named(tree: ast.AST, lazy: bool) -> Iterator[tuple[int, str, str, str]]:
    """What a source names: line, module or path, what is written, and how it is named (`import`,
    `text` or `path`)."""
    documentation: set[int] = set()
    for node in ast.walk(tree):
        match node:
            case ast.Constant(str(text)):
                if "test" not in text or len(text) > 200 or id(node) in documentation:
                    continue
                name = text.partition(":")[0]
                if not _DOTTED(name) or not _HAS_TEST(name):
                    continue
                if "." in name:
                    # also of importlib.import_module(".tests", package), or f"{package}.tests"
                    yield node.lineno, name, text, "text"
                elif lazy:
                    # modules that a package imports when they are first asked for
                    yield node.lineno, "." + name, text, "text"
            case ast.Import(names):
                for alias in names:
                    if _HAS_TEST(alias.name):
                        yield node.lineno, alias.name, alias.name, "import"
            case ast.ImportFrom(module, names, level):
                base = "." * (level or 0) + (module or "")
                dot = "" if base.endswith(".") else "."
                if module and _HAS_TEST(module):
                    yield node.lineno, base, base, "import"
                for alias in names:
                    if alias.name in _NAMES:
                        name = base + dot + alias.name
                        yield node.lineno, name, name, "import"
            case ast.Expr(ast.Constant(str())):
                documentation.add(id(node.value))
            case ast.Call(function, arguments):
                called = getattr(function, "attr", getattr(function, "id", ""))
                if called in _PATH_CALLS and not isinstance(
                    getattr(function, "value", None), ast.Constant
                ):
                    texts = [
                        one.value
                        for one in arguments
                        if isinstance(one, ast.Constant) and isinstance(one.value, str)
                    ]
                    text = "/".join(texts)
                    if "test" in text and len(text) < 200 and _HAS_TEST(text):
                        yield node.lineno, text.strip("/"), text, "path"
            case ast.BinOp(_, ast.Div(), ast.Constant(str(text))):
                if "test" in text and len(text) < 200 and _HAS_TEST(text):
                    yield node.lineno, text.strip("/"), text, "path"


def _module_imports(
    sources: Iterable[tuple[bytes, bytes]], names: Collection[str]
) -> dict[str, Mention]:
    """The first place that imports each of these modules."""
    wanted = "|".join(re.escape(name) for name in sorted(names, key=len, reverse=True))
    search = re.compile(
        rf"^[^\n#]*\b(?:from|import)[ \t][^\n]*\b(?:{wanted})\b"
        rf"|import_module\(\s*[\"'](?:{wanted})\b".encode(),
        re.MULTILINE,
    ).search
    parts = {name: (*name.split("."),) for name in names}
    found: dict[str, Mention] = {}
    for path, source in sources:
        if not path.endswith(b".pth") and not search(source):
            continue
        for line, module, doubt in _imported(path, source):
            whole = (*module.split("."),)
            for name, first in parts.items():
                if name not in found and whole[: len(first)] == first:
                    found[name] = Mention(path, line, module, doubt)
        if len(found) == len(names):
            break
    return found


def _imported(path: bytes, source: bytes) -> Iterator[tuple[int, str, bool]]:
    """Every module that a source imports by its whole name: line, name, doubt."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        for match in _LINE(source):
            line = source.count(b"\n", 0, match.start()) + 1
            base, _, plain = match.groups()
            for part in [base] if base is not None else plain.split(b","):
                yield line, part.split()[0].decode("utf-8", "replace") if part.split() else "", True
        return
    for node in ast.walk(tree):
        match node:
            case ast.Import(names):
                for alias in names:
                    yield node.lineno, alias.name, False
            case ast.ImportFrom(str(module), names, 0):
                for alias in names:
                    yield node.lineno, f"{module}.{alias.name}", False
            case ast.Call(function, [ast.Constant(str(text)), *_]):
                called = getattr(function, "attr", getattr(function, "id", ""))
                if called in ("import_module", "__import__", "importorskip"):
                    yield node.lineno, text, True
