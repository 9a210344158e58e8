r"""What a Python source names: modules by imports and texts, files by paths it puts together.

Read is the syntax, and only around the lines that are asked for. A path or a name that is put
together (`+`, `/`, `%`, f-strings, `format`, `os.path.join`, `pathlib`, `importlib.resources`,
`pkg_resources`) is told as far as it can be known, with `\0` for what cannot: `os.path.join(here,
"tests", name)` is `\0/tests/\0`, or begins with `/` where `here` is the folder of `__file__`.

No name is what only people read (docstrings, comments), what is compared with something, and what
a type checker imports.
"""

from __future__ import annotations

import ast
import re
import warnings
from bisect import bisect_left
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Sequence

HOLE = "\0"
"""Stands for what only a run could tell."""
PARSED_LIMIT = 2 << 20
"""Bytes of the longest source that is parsed; what is longer is data in Python's clothes."""
LONGEST = 400
"""Characters of the longest path or name."""
DEEPEST = 12
"""Expressions within one another up to which a text is followed."""
TABLE = 16
"""Texts from which on a display of them is a table of names."""

How = Literal["import", "dotted", "path", "parts", "word"]


class Named(NamedTuple):
    """One thing that a source names."""

    line: int
    text: str
    """A module's dotted name, relative ones with their dots; a path; a list of texts that may be
    parts of a path, with `/` between them; a single word."""
    how: How
    block: Literal["", "main", "runner"] = ""
    """Where it stands: in `if __name__ == "__main__"`, or in a function that runs tests."""
    table: bool = False
    """Whether it is one of many texts in one display."""
    member: bool = False
    """Of an import: whether it is what is imported from a module, which may be no module."""


@dataclass(frozen=True, slots=True)
class _Place:
    """The blocks around a node."""

    block: Literal["", "main", "runner"] = ""
    table: bool = False
    local: dict[str, ast.expr] = field(default_factory=dict)


_RUNNERS = re.compile(r"_?(?:test|tests|run_?tests?|run_all_tests|doctests?|load_tests|selftest)\Z")
_DOTTED = re.compile(r"\.*[\w\0]+(?:\.[\w\0]+)*\.?(?::[\w.]+)?\Z").match
_COMMAND = re.compile(r"(?:(?:^|\s)-m|(?:^|;|-c[ \"']+)\s*(?:from|import))\s+([\w.]+)").finditer
"""What a command starts, or a text of code imports."""
_JOINS = frozenset(("join", "joinpath", "Path", "PurePath", "PosixPath", "PurePosixPath"))
_SAME = frozenset(
    (
        *("abspath", "realpath", "normpath", "fspath", "str", "expanduser", "resolve", "absolute"),
        *("as_posix", "as_file", "relpath", "open", "iterdir", "exists"),
    )
)
_RESOURCES = frozenset(
    (
        *("resource_filename", "resource_string", "resource_stream", "resource_exists"),
        *("resource_listdir", "resource_isdir", "get_data"),
    )
)
_RESOURCE_PARTS = frozenset(
    ("open_text", "open_binary", "read_text", "read_binary", "path", "contents", "is_resource")
)
_SAID = frozenset(("startswith", "endswith", "getLogger", "warn", "debug", "info", "warning"))
"""Calls whose texts lead nowhere: they compare, or tell people."""
_OWN_NAMES = ("__name__", "__package__")


def parsed(source: bytes) -> ast.Module | None:
    """The syntax, or None of what this Python does not read: Python 2, a template, newer syntax."""
    if len(source) > PARSED_LIMIT:
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


class Source:
    """One module, as far as its syntax tells what it names."""

    def __init__(
        self, path: bytes, tree: ast.Module, locate: Callable[[str], bytes | None]
    ) -> None:
        """`locate` gives the file of a module, or the folder of a package, by its dotted name."""
        self._path = "/" + path.decode("utf-8", "surrogateescape")
        self._tree = tree
        self._locate = locate
        self._aliases: dict[str, str] = {}
        self._globals: dict[str, ast.expr] = {}
        self._used: set[int] = set()
        """Nodes that name nothing more: texts that are told of, compared, or only read."""
        self._consumed: set[int] = set()
        """Nodes that are part of a longer path or name; what is in them may still name more."""
        for node in tree.body:
            self._note(node, self._globals)

    def names(self, lines: Sequence[int] | None = None) -> Iterator[Named]:
        """What is named on these lines, sorted; on all lines where None is given."""
        todo: list[tuple[ast.AST, _Place]] = [(self._tree, _Place(local=self._globals))]
        while todo:
            node, place = todo.pop()
            if id(node) in self._used or not _around(node, lines):
                continue
            if id(node) not in self._consumed:
                yield from self._named(node, place)
            todo += self._children(node, place)

    def _note(self, node: ast.stmt, known: dict[str, ast.expr]) -> None:
        """Remember what a name stands for, where one assignment says it."""
        match node:
            case ast.Assign([ast.Name(name)], value) | ast.AnnAssign(ast.Name(name), _, value):
                if value is not None:
                    known[name] = value
            case ast.Import(names):
                for alias in names:
                    if alias.asname:
                        self._aliases[alias.asname] = alias.name
            case ast.ImportFrom(str(module), names, 0):
                for alias in names:
                    self._aliases[alias.asname or alias.name] = f"{module}.{alias.name}"
            case ast.Try(body=body) | ast.With(body=body) | ast.If(body=body):
                for one in body:
                    self._note(one, known)
            case _:
                pass

    def _children(self, node: ast.AST, place: _Place) -> Iterator[tuple[ast.AST, _Place]]:
        match node:
            case ast.If(test, body, orelse):
                kind = _condition(test)
                inside = _Place("main", place.table, place.local) if kind == "main" else place
                if kind != "types":
                    yield from ((one, inside) for one in body)
                yield test, place
                yield from ((one, place) for one in orelse)
            case ast.FunctionDef(name=name, body=body) | ast.AsyncFunctionDef(name=name, body=body):
                local = dict(place.local)
                for one in body:
                    self._note(one, local)
                block = place.block or ("runner" if _RUNNERS.match(name) else "")
                inside = _Place(block, place.table, local)
                yield from ((child, inside) for child in ast.iter_child_nodes(node))
            case ast.Dict() | ast.List() | ast.Tuple() | ast.Set():
                table = place.table or _is_table(node)
                inside = _Place(place.block, table, place.local)
                yield from ((child, inside) for child in ast.iter_child_nodes(node))
            case _:
                yield from ((child, place) for child in ast.iter_child_nodes(node))

    def _named(self, node: ast.AST, place: _Place) -> Iterator[Named]:
        match node:
            case ast.Import(names):
                for alias in names:
                    yield Named(node.lineno, alias.name, "import", place.block)
            case ast.ImportFrom(module, names, level):
                base = "." * (level or 0) + (module or "")
                if module:
                    yield Named(node.lineno, base, "import", place.block)
                dot = "" if base.endswith(".") else "."
                for alias in names:
                    yield Named(
                        node.lineno, base + dot + alias.name, "import", place.block, member=True
                    )
            case ast.Expr(ast.Constant(str())):
                self._used.add(id(node.value))
            case ast.Compare(left, _, comparators):
                for one in (left, *comparators):
                    self._say(one)
            case ast.Subscript(_, key, ast.Store() | ast.Del()):
                self._say(key)
            case ast.Subscript(_, ast.Constant(str(key))) if key.isidentifier():
                self._say(node.slice)
            case ast.Dict(keys):
                for word in keys:
                    if isinstance(word, ast.Constant) and str(word.value).isidentifier():
                        self._say(word)
            case ast.Call(function, arguments) if _called(function) in _SAID:
                for one in arguments:
                    # `endswith("tests/data/x.csv")` picks one of the files that something lists.
                    if not (_called(function) == "endswith" and _is_path(one)):
                        self._say(one)
            case ast.Call(function, [ast.Constant(str(name)), *more], keywords) if _called(
                function
            ) == "import_module" and name.startswith("."):
                around = [*more, *(one.value for one in keywords if one.arg == "package")]
                yield from self._relative(node, name, around, place)
            case ast.Constant(str()) | ast.JoinedStr() | ast.BinOp() | ast.Call():
                yield from self._text(node, place)
            case ast.List(elements) | ast.Tuple(elements) if not place.table and len(elements) > 1:
                # Parts of a path that are put together later: ["tests", "data", name].
                parts = [self._value(one, place, 0, keep=False) for one in elements]
                if not any("/" in part for part in parts):
                    yield from _classified("/".join(parts), node.lineno, place, parts=True)
            case _:
                pass

    def _relative(
        self, node: ast.Call, name: str, around: Sequence[ast.expr], place: _Place
    ) -> Iterator[Named]:
        """`import_module(".tests", "package")`: a name that begins in another package."""
        package = around[0] if around else None
        if isinstance(package, ast.Constant) and isinstance(package.value, str):
            rest = name.lstrip(".")
            parts = package.value.split(".")
            parts = parts[: max(len(parts) - (len(name) - len(rest) - 1), 0)]
            self._used.add(id(node.args[0]))
            yield Named(node.lineno, ".".join([*parts, rest]), "dotted", place.block, place.table)
        else:
            yield from self._text(node.args[0], place)

    def _say(self, node: ast.expr) -> None:
        """Leave out texts that are compared or told."""
        self._used.add(id(node)) if isinstance(node, ast.Constant) else None
        if isinstance(node, ast.Tuple | ast.List | ast.Set):
            self._used.update(id(one) for one in node.elts)

    def _text(self, node: ast.expr, place: _Place) -> Iterator[Named]:
        text = self._value(node, place, 0)
        if text.strip(HOLE + "/"):
            yield from _classified(text, node.lineno, place)

    def _value(self, node: ast.expr, place: _Place, depth: int, *, keep: bool = True) -> str:
        """The text that an expression makes, as far as it can be known."""
        text = self._made(node, place, depth, keep) if depth <= DEEPEST else HOLE
        if depth and keep and text.strip(HOLE):
            self._consumed.add(id(node))
        return text if len(text) <= LONGEST else HOLE

    def _made(self, node: ast.expr, place: _Place, depth: int, keep: bool) -> str:
        deeper = depth + 1

        def value(one: ast.expr) -> str:
            return self._value(one, place, deeper, keep=keep)

        match node:
            case ast.Constant(str(text)):
                if keep:
                    self._used.add(id(node))
                return text
            case ast.Name("__file__"):
                return self._path
            case ast.Name(name):
                found = place.local.get(name)
                if found is None or found is node:
                    return HOLE
                return self._value(found, place, depth + 3, keep=False)
            case ast.JoinedStr(parts):
                return "".join(value(part) for part in parts)
            case ast.FormattedValue(inner):
                return value(inner)
            case ast.BinOp(left, ast.Add(), right):
                return value(left) + value(right)
            case ast.BinOp(left, ast.Div(), right):
                return _joined([value(left), value(right)])
            case ast.BinOp(ast.Constant(str(pattern)), ast.Mod(), right):
                given = right.elts if isinstance(right, ast.Tuple) else [right]
                self._used.add(id(node.left)) if keep else None
                return _filled(pattern, r"%[sdr]", [value(one) for one in given])
            case ast.Attribute(_, "__file__" | "__path__"):
                return self._module(node.value, node.attr == "__path__")
            case ast.Subscript(ast.Attribute(_, "__path__") as inner, _):
                return value(inner)
            case ast.Attribute(inner, "parent"):
                return _parent(value(inner))
            case ast.Subscript(ast.Attribute(inner, "parents"), ast.Constant(int(count))):
                text = value(inner)
                for _ in range(min(count, 40) + 1):
                    text = _parent(text)
                return text
            case ast.Starred(inner):
                return value(inner)
            case ast.List(elements) | ast.Tuple(elements) if elements:
                return "/".join(value(one) for one in elements)
            case ast.Call(function, arguments):
                return self._call(function, arguments, value, keep)
            case _:
                return HOLE

    def _call(
        self,
        function: ast.expr,
        arguments: Sequence[ast.expr],
        value: Callable[[ast.expr], str],
        keep: bool,
    ) -> str:
        called = _called(function)
        of = function.value if isinstance(function, ast.Attribute) else None
        if called == "format" and of is not None:
            return _filled(value(of), r"\{[^{}]*\}", [value(one) for one in arguments])
        if called == "join" and isinstance(of, ast.Constant) and isinstance(of.value, str):
            parts = arguments[0] if len(arguments) == 1 else None
            if isinstance(parts, ast.List | ast.Tuple):
                return of.value.join(value(one) for one in parts.elts)
            return HOLE
        if called == "dirname" and arguments:
            return _parent(value(arguments[0]))
        if called == "with_name" and arguments and of is not None:
            return _joined([_parent(value(of)), value(arguments[0])])
        if called == "files" and arguments:
            return self._anchor(arguments[0], keep)
        if called in _RESOURCES and len(arguments) > 1:
            return _joined([self._anchor(arguments[0], keep), value(arguments[1])])
        if called in _RESOURCE_PARTS and len(arguments) > 1 and _is_resources(of):
            return _joined([self._anchor(arguments[0], keep), *map(value, arguments[1:])])
        if called in _JOINS:
            texts = [value(one) for one in arguments]
            if called == "joinpath" and of is not None:
                texts.insert(0, value(of))
            return _joined(texts)
        if called in _SAME:
            if arguments:
                return value(arguments[0])
            if of is not None:
                return value(of)
        return HOLE

    def _anchor(self, node: ast.expr, keep: bool) -> str:
        """The folder of a package that is named by text, by itself, or as a module."""
        match node:
            case ast.Constant(str(name)):
                if keep:
                    self._used.add(id(node))
                return self._folder(name)
            case ast.Name(name) if name in _OWN_NAMES:
                return _parent(self._path)
            case ast.Attribute(inner, "__name__" | "__package__"):
                return self._anchor(inner, keep)
            case ast.Name() | ast.Attribute():
                return self._module(node, folder=True)
            case _:
                return HOLE

    def _folder(self, name: str) -> str:
        found = self._locate(name)
        if found is None:
            return HOLE
        text = "/" + found.decode("utf-8", "surrogateescape")
        return _parent(text) if text.endswith((".py", ".pyc", ".so")) else text

    def _module(self, node: ast.expr, folder: bool) -> str:
        """The folder of a module that an expression names, or its file."""
        parts: list[str] = []
        while isinstance(node, ast.Attribute):
            parts.insert(0, node.attr)
            node = node.value
        if not isinstance(node, ast.Name):
            return HOLE
        text = self._folder(".".join([self._aliases.get(node.id, node.id), *parts]))
        return text if folder or text == HOLE else text + "/__init__.py"


def _around(node: ast.AST, lines: Sequence[int] | None) -> bool:
    if lines is None:
        return True
    start = getattr(node, "lineno", None)
    if start is None:
        return True
    end = getattr(node, "end_lineno", None) or start
    place = bisect_left(lines, start)
    return place < len(lines) and lines[place] <= end


def _called(function: ast.expr) -> str:
    return str(getattr(function, "attr", getattr(function, "id", "")))


def _is_resources(of: ast.expr | None) -> bool:
    return "resources" in str(getattr(of, "attr", getattr(of, "id", "")))


def _is_path(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and "/" in str(node.value).strip("/")


def _condition(test: ast.expr) -> Literal["", "main", "types"]:
    match test:
        case ast.Compare(ast.Name("__name__"), [ast.Eq()], [ast.Constant("__main__")]):
            return "main"
        case ast.Name("TYPE_CHECKING") | ast.Attribute(_, "TYPE_CHECKING"):
            return "types"
        case _:
            return ""


def _is_table(node: ast.Dict | ast.List | ast.Tuple | ast.Set) -> bool:
    held = [*node.keys, *node.values] if isinstance(node, ast.Dict) else node.elts
    texts = 0
    for one in held:
        inner = one.elts if isinstance(one, ast.Tuple | ast.List) else [one]
        texts += any(
            isinstance(text, ast.Constant) and isinstance(text.value, str) for text in inner
        )
    return texts >= TABLE


def _joined(parts: Sequence[str]) -> str:
    """Paths put together; an absolute one begins anew."""
    text = ""
    for part in parts:
        text = part if part.startswith("/") or not text else text.rstrip("/") + "/" + part
    return text


def _parent(text: str) -> str:
    head, slash, last = text.rstrip("/").rpartition("/")
    return HOLE if not slash or HOLE in last else head or "/"


def _filled(pattern: str, gap: str, given: Sequence[str]) -> str:
    """A pattern with its gaps filled in order."""
    left = list(given)[::-1]
    return re.sub(gap, lambda _: left.pop() if left else HOLE, pattern)


def _classified(text: str, line: int, place: _Place, *, parts: bool = False) -> Iterator[Named]:
    """A text by what it may be: a path, a dotted name, a command that names a module, a word."""
    if len(text) > LONGEST or "\n" in text:
        return
    if " " in text:
        for match in _COMMAND(text):
            yield Named(line, match[1], "dotted", place.block, place.table)
        return
    if parts:
        yield Named(line, text, "parts", place.block, place.table)
    elif "/" in text:
        yield Named(line, text, "path", place.block, place.table)
    elif "." in text and _DOTTED(text):
        yield Named(line, text.partition(":")[0], "dotted", place.block, place.table)
    elif text.isidentifier() and not place.table:
        yield Named(line, text, "word", place.block, place.table)


def encoded(text: str) -> bytes:
    """A path of a source as bytes; what no path can hold is replaced."""
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:  # a lone surrogate, written as an escape
        return text.encode("utf-8", "replace")


def lines_of(source: bytes, offsets: Collection[int]) -> list[int]:
    """The lines of these offsets, sorted."""
    found: list[int] = []
    line, at = 1, 0
    for offset in sorted(offsets):
        line += source.count(b"\n", at, offset)
        at = offset
        if not found or found[-1] != line:
            found.append(line)
    return found
