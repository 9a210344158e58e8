r"""Where texts name what lies in test folders.

A name is weighed by where it stands. What counts is an import, a module's whole name or a whole
path in what can run or is read in order to act. What names something that only a run could tell (a
prefix of a name, a path with a gap whose folder is not known) leaves doubt. What counts for nothing
is what people read, what lists files, what only a build or a test runner runs, and what stands in
`if __name__ == "__main__"` of an installed module that nothing starts.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, NamedTuple

from slimmer.analysis.known import is_known
from slimmer.analysis.sources import HOLE, Named, Source, encoded, lines_of, parsed
from slimmer.analysis.suites import MODULES
from slimmer.analysis.texts import Kind, Search, Text
from slimmer.analysis.tokens import constants, imports, named_in
from slimmer.categories import TEST_FOLDERS
from slimmer.files import join, parent
from slimmer.names import printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from slimmer.analysis.suites import Suite, Suites
    from slimmer.analysis.texts import Hit

MENTIONS = 50
"""Most places of one text that are kept."""

_NAMES = frozenset(name.decode() for name in TEST_FOLDERS)
_OF_BUILDS = frozenset(
    (
        *(b"setup.py", b"conftest.py", b"noxfile.py", b"toxfile.py", b"fabfile.py", b"pavement.py"),
        *(b"setup.cfg", b"tox.ini", b"pytest.ini", b"pyproject.toml", b".coveragerc", b"mypy.ini"),
        *(b"ruff.toml", b".pre-commit-config.yaml", b"codecov.yml", b"azure-pipelines.yml"),
        *(b"meson.build", b"package.json", b"package-lock.json", b"bandit.yaml"),
    )
)
"""What only a build, a test runner or a linter reads."""
_QUOTES = b"\"'"
_BETWEEN = re.compile(rb"[\s\"'`(),;\[\]<>=]").finditer
"""What stands between words; a word's beginning is looked for from there, not back from its end."""
_AFTER = re.compile(rb"[^\s\"'`(),;\[\]<>=]*").match
OCCURRENCES = 2000
"""Most places of one source that are looked at one by one; a source with more is parsed."""
_IMPORT = re.compile(rb"(?:.*[;:])?[ \t]*(?:from|import)[ \t]").match
_JOINS = re.compile(rb"\bjoin(?:path)?\(|/ *[\"']").search
_OPENS = re.compile(rb"__file__|importlib.resources|pkg_resources|get_data").search
_ASSIGNED = re.compile(rb"[ \t]*(\w+)[ \t]*(?::[^=\n]*)?=").match
_CODE = frozenset((Kind.PYTHON, Kind.BYTECODE))
_APART = re.compile(r"([\w.-]+)[:|,;#!@=]+(?=[^/:|,;#!@=])").match
"""A module before a path below it, in one text: `package:tests/data/x.csv`."""
_SCHEME = re.compile(r"[a-zA-Z][\w+.-]*:(?=//)").match
_VARIABLE = re.compile(rb"\{[^{}]*\}?|[^{}/]*\}|%[sdr]").sub
CONTINUED = 100
"""Lines that one statement may go over by backslashes."""
WINDOW = 4096
"""Bytes before a name within which the brackets around it are looked for."""


class Mention(NamedTuple):
    """A place that names something in a suite."""

    place: str
    """Text and line, as people read it."""
    what: str
    """What stands there."""
    how: str
    """`imports` or `names`."""
    suite: bytes
    target: bytes
    """The file or folder that is named."""
    whole: bool
    """Whether anything in the folder may be meant."""
    doubt: bool
    module: str = ""
    """The module that must be started for it to count, where it stands in a `__main__` block."""

    def __str__(self) -> str:
        return f"{self.place} {self.how} {printable(self.what.replace(HOLE, '*'))}"


class Finder:
    """Tells what texts name in suites."""

    def __init__(self, suites: Suites) -> None:
        self._suites = suites
        self._roots = suites.roots
        self.mentions: list[Mention] = []
        self._by_name_of = suites.by_name
        self._tops: dict[bytes, bytes] = {}
        self.search = Search(tuple(sorted(suites.by_name)), self.found)
        self.listings = Search((b"iter_modules", b"walk_packages"), self.listed, _CODE)

    def found(self, text: Text, hits: Sequence[Hit]) -> None:
        """Look at one text around its hits."""
        name = text.path[text.path.rfind(b"/") + 1 :]
        if name in _OF_BUILDS:
            return
        count = len(self.mentions)
        for named in self._named(text, hits):
            self._weigh(text, named)
            if len(self.mentions) >= count + MENTIONS:
                break

    def listed(self, text: Text, hits: Sequence[Hit]) -> None:
        """Look at a text that lists the modules of packages: what it finds below its own folder
        may be a plug-in, unless it knows what the folder is called, as who leaves it out does."""
        here = parent(text.path) + b"/"
        place, what = f"{text.name}:{text.line(hits[0].start)}", hits[0].needle.decode()
        if is_known(text.path, what):
            return
        for name, suites in self._by_name_of.items():
            if re.search(rb"\b" + name + rb"\b", text.content):
                continue
            for suite in suites:
                folder = suite.folder
                if folder.startswith(here) and self._is_near(text, suite):
                    how = "lists modules by"
                    self.mentions.append(Mention(place, what, how, folder, folder, True, True))

    def _named(self, text: Text, hits: Sequence[Hit]) -> Iterable[Named]:
        match text.kind:
            case Kind.PYTHON:
                if not self._is_suspect(text, hits):
                    return ()
                offsets = {hit.start for hit in hits}
                # A folder's name may be a constant that another line puts into a path.
                for variable in _variables(text.content, hits):
                    uses = re.finditer(rb"\b" + variable + rb"\b", text.content)
                    offsets.update(use.start() for use in uses)
                return self._python(text, lines_of(text.content, offsets))
            case Kind.PATH_FILE:
                return imports(text.content)
            case Kind.NOTEBOOK:
                return [
                    named
                    for cell in _cells(text.content)
                    for named in self._python(text._replace(content=cell), None)
                ]
            case Kind.BYTECODE:
                return constants(text.content, hits)
            case Kind.BUILD if self._roots.root(text.path) or text.path.startswith(b"usr/"):
                return ()  # what built what is installed
            case _:
                return named_in(text, hits)

    def _python(self, text: Text, lines: Sequence[int] | None) -> Iterable[Named]:
        tree = parsed(text.content)
        if tree is None:
            return imports(text.content)
        path = text.path if not text.member else text.path + b"/" + text.member.encode()
        source = Source(path, tree, lambda name: self._roots.located(name, text.path))
        return sorted(source.names(lines))

    def all_of(self, path: bytes, content: bytes) -> bool:
        """Look at all that a module in a suite names; whether it opens what it does not name."""
        text = _text(path, content)
        opens = False
        for named in self._python(text, None):
            before = len(self.mentions)
            self._weigh(text, named)
            computed = named.how == "path" and HOLE in named.text and named.text.startswith("/")
            opens |= computed and len(self.mentions) > before
        if _OPENS(content) and not any(not one.doubt and "/" in one.what for one in self.mentions):
            opens = True
        return opens or parsed(content) is None

    def _is_suspect(self, text: Text, hits: Sequence[Hit]) -> bool:
        """Whether the source is worth parsing, which costs fifty times more than this."""
        content = text.content
        if len(hits) > OCCURRENCES:
            return True
        for start, end, _ in hits:
            line = content.rfind(b"\n", max(0, start - WINDOW), start) + 1
            before = _before(content, max(line, start - 200), start)
            after = _AFTER(content, end, end + 200)
            written = before + content[start:end] + (after[0] if after else b"")
            left = content[start - len(before) - 1 : start - len(before)]
            right = content[start - len(before) + len(written) :][:1]
            if (left and left in _QUOTES) or (right and right in _QUOTES):
                if self._may_lead(text, written):
                    return True
                continue
            if content.endswith((b"-m ", b"from ", b"import "), 0, start - len(before)):
                return True
            if _IMPORT(content, line, start) or before.startswith(b"."):
                return True
            bracket = content.rfind(b"(", max(0, start - WINDOW), start)
            if bracket >= 0 and content[max(bracket - 10, 0) : bracket].rstrip().endswith(
                b"import"
            ):
                return True
            if content.endswith((b"\\\n", b"\\\r\n"), 0, line):
                return True
        return False

    def _may_lead(self, text: Text, written: bytes) -> bool:
        """Whether what stands between quotes may lead into a suite."""
        pieces = _pieces(written.decode("utf-8", "surrogateescape"))
        return any(self._may_lead_alone(text, encoded(piece)) for piece in pieces)

    def _may_lead_alone(self, text: Text, written: bytes) -> bool:
        if b"/" in written:
            parts = _VARIABLE(b"\0", written).split(b"/")
            place = next((n for n, part in enumerate(parts) if part in TEST_FOLDERS), None)
            if place is None:
                return False
            if written.startswith(b"/") and any(True for _ in self._absolute(text, parts)):
                return True
            return any(True for _ in self._tails(parts, place))
        if written.startswith(b"."):
            parts = written.split(b".")
            tested = [suite for part in parts for suite in self._by_name_of.get(part, ())]
            return any(self._is_known(text, suite) for suite in tested)
        if b"." in written:
            if b"{" in written or b"%" in written or written.endswith(b"."):
                return True
            name = written.partition(b":")[0].decode("utf-8", "replace")
            return any(True for _ in self._modules(text.path, name))
        suites = self._by_name_of.get(written, ())
        if not suites:
            return False
        if self._roots.root(text.path) is None and _JOINS(text.content):
            return True
        return any(self._is_known(text, suite) for suite in suites)

    def _weigh(self, text: Text, named: Named) -> None:
        """Keep what a text names if it leads into a suite."""
        inside = self._suites.folder(text.path) is not None
        if not inside and not any(part in _NAMES for part in re.split(r"[\W]", named.text)):
            return
        if is_known(text.path, named.text):
            return
        for suite, target, whole, doubt in self._leads(text, named):
            root = self._suites.by_folder[suite].root
            if named.table and named.how != "import" and self._roots.is_standard(root):
                continue  # 2to3, linters and freezers list the standard library's modules
            module = ""
            if named.block == "main":
                module = self._module_name(text.path)
            self.mentions.append(
                Mention(
                    f"{text.name}:{named.line}",
                    named.text,
                    "imports" if named.how == "import" else "names",
                    suite,
                    target,
                    whole,
                    doubt or named.block == "runner" or (named.table and named.how != "import"),
                    module,
                )
            )

    def _leads(self, text: Text, named: Named) -> Iterator[tuple[bytes, bytes, bool, bool]]:
        """What a name leads to in suites: the suite, how far, whether to anything in it, and
        whether that is in doubt."""
        match named.how:
            case "import" | "dotted":
                yield from self._by_name(text, named)
            case "path" | "parts":
                for piece in _pieces(named.text):
                    if "/" in piece:
                        yield from self._by_path(text, named._replace(text=piece))
                    else:
                        yield from self._by_name(text, named._replace(text=piece, how="dotted"))
            case _:
                yield from self._by_word(text, named)

    def _top(self, path: bytes) -> bytes:
        folder = parent(path)
        top = self._tops.get(folder)
        if top is None:
            top = self._tops[folder] = self._roots.top(folder + b"/")
        return top

    def _module_name(self, path: bytes) -> str:
        """The name by which `python -m` starts an installed module; empty for an application's,
        and for a program: what stands in their `__main__` blocks is run."""
        root = self._roots.root(path)
        header = self._suites.index.visible[path]
        if root is None or header.mode & 0o111:
            return ""
        inner = path[len(root) :].strip(b"/").rpartition(b".")[0]
        return inner.replace(b"/", b".").decode("utf-8", "replace")

    def _modules(self, path: bytes, name: str) -> Iterator[tuple[bytes, bytes, int]]:
        """Suites that a dotted name leads into: the suite, how far it leads, how many parts."""
        rest = name.lstrip(".")
        dots = len(name) - len(rest)
        parts = rest.encode("utf-8", "replace").split(b".") if rest else []
        for start in self._roots.starts(path, dots):
            walked = list(self._roots.follow(start, parts))
            if walked:
                suite = self._suite(walked[-1])
                if suite is not None:
                    yield suite, walked[-1], len(walked)

    def _suite(self, path: bytes) -> bytes | None:
        if path in self._suites.by_folder:
            return path
        found = self._suites.folder(path)
        return found if found in self._suites.by_folder else None

    def _by_name(self, text: Text, named: Named) -> Iterator[tuple[bytes, bytes, bool, bool]]:
        if HOLE in named.text or named.text.endswith("."):
            for suite in self._by_prefix(text, named.text):
                yield suite, suite, True, True
            return
        count = len(named.text.strip(".").split("."))
        for suite, target, walked in self._modules(text.path, named.text):
            if named.member and walked < count:
                continue  # no module, and the module it is imported from is told of itself
            if named.how == "dotted" and walked == 1 and count > 1:
                continue  # a file such as `test.txt`
            whole = named.how == "dotted" and target == suite
            yield suite, target, whole, False
            if named.member and target == suite and _OPENS(text.content):
                yield suite, suite, True, True  # `files(tests)`, `tests.__file__`

    def _by_prefix(self, text: Text, written: str) -> Iterator[bytes]:
        """Suites that a name with gaps may lead into."""
        parts = written.strip(".").split(".")
        place = next((place for place, part in enumerate(parts) if part in _NAMES), None)
        if place is None:
            return
        known = parts[: place + 1]
        if not any(HOLE in part for part in known) and not written.startswith("."):
            for suite, target, _ in self._modules(text.path, ".".join(known)):
                if target == suite:
                    yield suite
            return
        gaps = [number for number, part in enumerate(known) if HOLE in part or not part]
        tail = "/".join(known[(gaps[-1] + 1 if gaps else 0) :]).encode("utf-8", "replace")
        for near in self._by_name_of.get(tail[tail.rfind(b"/") + 1 :], ()):
            if near.folder.endswith(b"/" + tail) and self._is_near(text, near):
                yield near.folder

    def _is_near(self, text: Text, suite: Suite) -> bool:
        """Whether a text belongs to what the suite tests."""
        if not text.path or self._suites.folder(text.path) == suite.folder:
            return False
        top = self._top(text.path)
        return suite.folder.startswith(top + b"/") if top else True

    def _is_known(self, text: Text, suite: Suite) -> bool:
        """Whether a text belongs to what the suite tests, or names that package somewhere."""
        if self._is_near(text, suite):
            return True
        if suite.root is None:
            return False
        name = self._top(suite.folder + b"/")[len(suite.root) :].strip(b"/")
        at = text.content.find(name) if name != suite.name else -1
        while at >= 0:
            if text.kind is Kind.BYTECODE:
                return True  # a text of it ends where its length says
            around = text.content[max(at - 1, 0) : at] + text.content[at + len(name) :][:1]
            if not any(_is_word(character) for character in around):
                return True
            at = text.content.find(name, at + 1)
        return False

    def _names_package(self, text: Text, suite: Suite) -> bool:
        """Whether a text names the package that a suite lies in: `scipy.io` of its `tests`."""
        package = parent(suite.folder)
        inner = package[len(suite.root) :].strip(b"/") if suite.root is not None else b""
        if not inner:
            return False
        around, _, last = inner.replace(b"/", b".").rpartition(b".")
        named = re.escape(inner).replace(b"/", rb"[./]")
        if around:
            last = re.escape(last)
            named += rb"|" + re.escape(around) + rb"\s+import\b[^;#\n(]*(?:\([^)]*)?\b" + last
        # In bytecode a letter may stand before a text: its length.
        begins = rb"" if text.kind is Kind.BYTECODE else rb"(?<![\w.-])"
        ends = rb"" if text.kind is Kind.BYTECODE else rb"(?![\w-])"
        return re.search(begins + rb"(?:" + named + rb")" + ends, text.content) is not None

    def _is_beside(self, text: Text, suite: Suite) -> bool:
        """Whether a suite with data lies in the text's folder or in the one around it, and both
        belong to one package."""
        around = parent(suite.folder)
        here = parent(text.path)
        beside = around == here or around == parent(here)
        return beside and suite.has_data and self._is_near(text, suite)

    def _tails(
        self, parts: Sequence[bytes], place: int
    ) -> Iterator[tuple[Suite, bytes, bool, bool]]:
        """The suites that a path whose beginning is not known may lead into by its end: how far,
        whether up to a gap, and whether the folder above the suite is named as well."""
        before = parts[:place]
        gap = max((n for n, part in enumerate(before) if _is_gap(part)), default=-1)
        head = [part for part in before[gap + 1 :] if part not in (b"", b".", b"..")]
        tail = b"/" + b"/".join([*head, parts[place]])
        for suite in self._by_name_of.get(parts[place], ()):
            if (b"/" + suite.folder).endswith(tail):
                target, gaps = self._into(suite.folder, parts[place + 1 :])
                if target is not None:
                    yield suite, target, gaps, bool(head)

    def _by_path(self, text: Text, named: Named) -> Iterator[tuple[bytes, bytes, bool, bool]]:
        parts = encoded(named.text).split(b"/")
        if named.text.startswith("/") and named.how == "path":
            reached = list(self._absolute(text, parts))
            if reached:
                yield from reached
                return
        place = next((n for n, part in enumerate(parts) if part in TEST_FOLDERS), None)
        if place is None or (place == 2 and named.text.startswith("//")):
            return  # `http://test/…`, a host
        tails = list(self._tails(parts, place))
        own = [found for found in tails if self._is_near(text, found[0])]
        # A path that leads somewhere in its own installed package is not one of another's.
        installed = self._roots.root(text.path) is not None
        led = installed and any(target != suite.folder for suite, target, _, _ in own)
        for suite, target, gaps, head in tails:
            near = (suite, target, gaps, head) in own
            if not near and ((led and not head) or not self._is_known(text, suite)):
                if not led and self._is_file_of_another(text, parts, place, target):
                    yield suite.folder, target, False, True
                continue
            pattern = b"*" in parts[0]
            if pattern and named.table:
                continue  # what a search leaves out
            if target != suite.folder:
                told = (near or head) and named.how != "parts"
                told = told or (self._is_file(target) and self._names_package(text, suite))
                yield suite.folder, target, False, pattern or not told
            elif (
                named.how == "path"
                and suite.has_data
                and (gaps or near)
                and (head or self._is_beside(text, suite))
            ):
                yield suite.folder, suite.folder, True, True

    def _is_file(self, path: bytes) -> bool:
        return path in self._suites.index.visible and path not in self._roots.folders

    def _is_file_of_another(
        self, text: Text, parts: Sequence[bytes], place: int, target: bytes
    ) -> bool:
        """Whether a text names a whole file in a suite, of a package that is named elsewhere:
        constants may stand in another module than what joins them. What is installed says names
        of modules such as `tests/utils.py` of what others have: of its own it names data alone."""
        roots, visible = self._suites.roots, self._suites.index.visible
        if not self._is_file(target):
            return False
        if roots.root(text.path) is not None and target.endswith(MODULES):
            return False
        tail = b"/".join(parts[place:])
        around = (parent(text.path), *roots.searched)
        found = [path for folder in around if (path := join(folder, tail)) in visible]
        return not found or target in found

    def _absolute(
        self, text: Text, parts: Sequence[bytes]
    ) -> Iterator[tuple[bytes, bytes, bool, bool]]:
        """Where a path from the root leads; a package names its folder of tests without
        opening anything in it, as pandas does to leave frames out of a traceback."""
        known: list[bytes] = []
        for part in parts[1:]:
            if part == b"..":
                del known[-1:]
            elif _is_gap(part):
                break
            elif part not in (b"", b"."):
                known.append(part)
        path = self._suites.index.resolve(b"/".join(known))
        folder = self._suite(path)
        suite = None if folder is None else self._suites.by_folder[folder]
        if suite is None or not self._roots.exists(path):
            return
        if path != suite.folder:
            yield suite.folder, path, False, False
        elif suite.has_data or not self._is_near(text, suite):
            yield suite.folder, suite.folder, True, False

    def _into(self, folder: bytes, parts: Sequence[bytes]) -> tuple[bytes | None, bool]:
        """How far a path leads in a folder, up to its first gap; None where there is no such."""
        here = folder
        for part in parts:
            if part in (b"", b"."):
                continue
            if _is_gap(part):
                return here, True
            here = join(here, part)
            if not self._roots.exists(here):
                return None, False
        return here, False

    def _by_word(self, text: Text, named: Named) -> Iterator[tuple[bytes, bytes, bool, bool]]:
        """A package that imports its modules when they are first asked for names them alone; so
        does what is compiled, of what it imports."""
        word = named.text.encode("utf-8", "replace")
        here = parent(text.path)
        if named.block == "runner":
            return
        lazy = text.path.endswith(b"/__init__.py") and (
            b"__getattr__" in text.content or b"lazy" in text.content
        )
        for suite in self._by_name_of.get(word, ()):
            if text.kind is Kind.BYTECODE:
                counts = self._is_known(text, suite)
            else:
                counts = self._is_beside(text, suite) or (lazy and parent(suite.folder) == here)
            if counts:
                yield suite.folder, suite.folder, True, True


def _pieces(text: str) -> Sequence[str]:
    """What a text with a path consists of: a module and a path may stand in one, apart."""
    if (apart := _APART(text)) is not None:
        path = text[apart.end() :]
        return [apart[1], path] if "." in apart[1].strip(".") else [path]
    scheme = _SCHEME(text)
    return [text[scheme.end() :] if scheme is not None else text]


def _before(content: bytes, start: int, end: int) -> bytes:
    """The word that ends at `end`, from `start` on."""
    for mark in _BETWEEN(content, start, end):
        start = mark.end()
    return content[start:end]


def _variables(content: bytes, hits: Sequence[Hit]) -> set[bytes]:
    """What is assigned on lines where a word is all that stands between two quotes."""
    found: set[bytes] = set()
    for hit in hits[:OCCURRENCES]:
        before, after = content[max(hit.start - 1, 0) : hit.start], content[hit.end : hit.end + 1]
        if before == after and before and before in _QUOTES:
            line = content.rfind(b"\n", max(0, hit.start - WINDOW), hit.start) + 1
            if match := _ASSIGNED(content, line, hit.start):
                found.add(match[1])
    return found


def _is_word(character: int) -> bool:
    return character == 95 or bytes((character,)).isalnum()


def _is_gap(part: bytes) -> bool:
    return b"\0" in part or any(mark in part for mark in b"*?[")


def _text(path: bytes, content: bytes) -> Text:
    from slimmer.analysis.texts import Text

    return Text(path, Kind.PYTHON, content)


def _cell_line(line: str) -> str:
    """A line of a cell as Python: of IPython's own ones, only what is started stays, as a text."""
    mark = line.lstrip()[:1]
    if mark not in ("%", "!", "?"):
        return line
    rest = line.strip()[1:]
    indent = line[: len(line) - len(line.lstrip())]
    return f"{indent}system({rest!r})\n" if mark == "!" else f"{indent}pass\n"


def _cells(content: bytes) -> Iterator[bytes]:
    """The code of a notebook (nbformat 4), without the lines that are IPython's own."""
    try:
        cells = json.loads(content)["cells"]
        for cell in cells:
            if cell["cell_type"] == "code":
                source = cell["source"]
                lines = source if isinstance(source, list) else source.splitlines(keepends=True)
                kept = [_cell_line(line) for line in lines]
                yield "".join(kept).encode("utf-8", "surrogatepass")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return
