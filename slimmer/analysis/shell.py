"""The simple commands of a shell text, with the words of each: which programs a script calls.

POSIX.1-2024, Shell Command Language, 2.2 quoting, 2.3 tokens, 2.6 expansions, 2.7 redirection,
2.9 commands; of bash `$'…'`, `<(…)`, `<<<`, arrays and `function`. One pass from left to right, so
that a text written to be slow to read is not: tree-sitter-bash takes 6 s for 30 kB of `a=(`, and
`shlex` knows neither where a command begins nor here-documents.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

UNKNOWN = "\0"
"""Stands in a word for what only a running shell can tell."""

_PLAIN = re.compile(
    r"(?P<joined>\\\n)|\\(?P<escaped>.)|'(?P<single>[^']*)(?:'|\Z)"
    r"|\$'(?P<ansi>(?:[^'\\]|\\.)*+)(?:'|\Z)|(?P<double>\$?\")"
    r"|(?P<sum>\$\(\([^()\n]*\)\))|(?P<open>\$\(|[<>]\(|`)"
    r"|\$\{(?P<name>[\w@*]+)(?::?[-=](?P<default>[^{}$`\"'\n]{0,200}))?\}"
    r"|\$\{(?P<odd>[^{}\n]{0,200})\}|\$(?P<plain>\w+|[@*#?!$-])"
    r"|(?P<here>\d*<<-?[ \t]*(?![<])(?:\\)?[\"']?(?P<end>[\w.-]{1,80})[\"']?)"
    r"|(?P<redirect>\d*(?:<<<|<>|>>|>\||&>>?|[<>]&?))"
    r"|(?P<function>\([ \t]*\))|(?P<separator>;;&?|;&|&&|\|\|?&?|[;&\n(){}])"
    r"|(?P<space>[ \t\r]+)|(?P<text>[^\s\\'\"$<>`;&|(){}#]+|.)",
    re.DOTALL,
).match
_DOUBLE = re.compile(
    r"(?P<joined>\\\n)|\\(?P<escaped>[$`\"\\])|(?P<close>\")|(?P<open>\$\(|`)"
    r"|(?P<sum>\$\(\([^()\n]*\)\))"
    r"|\$\{(?P<name>[\w@*]+)(?::?[-=](?P<default>[^{}$`\"'\n]{0,200}))?\}"
    r"|\$\{(?P<odd>[^{}\n]{0,200})\}|\$(?P<plain>\w+|[@*#?!$-])|(?P<text>[^\\\"$`]+|.)",
    re.DOTALL,
).match
_ASSIGNMENT = re.compile(r"([A-Za-z_]\w*)\+?=").match
_LEADING = frozenset(("if", "then", "elif", "else", "while", "until", "do", "!", "time", "coproc"))
_LISTS = frozenset(("for", "select"))
_ENDS = frozenset(("fi", "done", "esac", "in"))


class Variable(NamedTuple):
    """A part of a word that an expansion fills."""

    name: str
    default: str | None = None
    """Of `${name:-default}`."""


Part = str | Variable
Word = tuple[Part, ...]


class Command(NamedTuple):
    """A simple command: what it calls, and with which words."""

    line: int
    words: tuple[Word, ...]
    """The program first; assignments and redirections are left out."""
    files: tuple[Word, ...] = ()
    """What it reads from or writes to by redirection."""


@dataclass(frozen=True, slots=True)
class Script:
    """What a shell text says."""

    commands: tuple[Command, ...]
    """In the order in which they end; none that calls a function of the text itself."""
    values: Mapping[str, tuple[Word, ...]]
    """Variable → what it is set to, in order; of an array the words."""


@dataclass(slots=True)
class _Frame:
    """A list of commands: the text itself, or the inside of a substitution or subshell."""

    kind: Literal["text", "(", "`", "array", "double"]
    start: int = 0
    words: list[Word] = field(default_factory=list)
    files: list[Word] = field(default_factory=list)
    word: list[Part] | None = None
    redirected: bool = False
    """Whether the next word is a file's."""
    assigned: str = ""
    """The variable that an array's words are for."""
    plain: bool = True
    """Whether nothing of the word at hand is quoted: only such a word is a reserved one."""
    cases: list[bool] = field(default_factory=list)
    """Of each `case` around: whether a pattern, and no command, comes next."""


def parse(text: str) -> Script:
    """The commands of a text; odd or broken text yields what can be made out, never an error."""
    return _Parser(text).run()


class _Parser:
    def __init__(self, text: str) -> None:
        self._text = text
        self._lines = [match.start() for match in re.finditer("\n", text)]
        self._commands: list[Command] = []
        self._functions: set[str] = set()
        self._values: dict[str, list[Word]] = {}
        self._frames: list[_Frame] = [_Frame("text")]
        self._documents: list[str] = []
        self._at = 0

    def run(self) -> Script:
        length = len(self._text)
        while self._at < length:
            frame = self._frames[-1]
            if frame.kind == "double":
                self._double()
            else:
                self._plain(frame)
        while self._frames:
            self._end_command(self._frames[-1])
            self._frames.pop()
        kept = tuple(
            command
            for command in self._commands
            if not (
                len(command.words[0]) == 1
                and isinstance(command.words[0][0], str)
                and command.words[0][0] in self._functions
            )
        )
        return Script(kept, {name: tuple(words) for name, words in self._values.items()})

    def _holder(self) -> _Frame:
        """The frame whose word is being written: that around double quotes."""
        return next(frame for frame in reversed(self._frames) if frame.kind != "double")

    def _add(self, *parts: Part, quoted: bool = False) -> None:
        frame = self._holder()
        if frame.word is None:
            frame.word = []
            frame.plain = True
            if not frame.words:
                frame.start = self._at
        frame.plain = frame.plain and not quoted
        frame.word.extend(parts)

    def _open(self, token: str) -> None:
        holder = self._holder()
        if token == "`" and holder.kind == "`":
            self._close()
            return
        self._add(UNKNOWN, quoted=True)
        self._frames.append(_Frame("`" if token == "`" else "(", self._at + len(token)))

    def _close(self) -> None:
        while self._frames[-1].kind == "double":
            self._frames.pop()  # quotes that nobody closed
        self._end_command(self._frames[-1])
        self._frames.pop()

    def _double(self) -> None:
        match = _DOUBLE(self._text, self._at)
        assert match is not None
        if match.lastgroup == "close":
            self._frames.pop()
        elif match.lastgroup == "open":
            self._open(match[0])
        else:
            self._expanded(match)
        self._at = match.end()

    def _expanded(self, match: re.Match[str]) -> bool:
        """Text and expansions, which are written alike inside and outside of quotes."""
        kind = match.lastgroup
        if kind == "joined":
            return True
        if kind == "escaped":
            self._add(match["escaped"], quoted=True)
        elif kind in ("name", "default"):
            self._add(Variable(match["name"], match["default"]), quoted=True)
        elif kind == "plain":
            self._add(Variable(match["plain"]), quoted=True)
        elif kind in ("odd", "sum"):
            self._add(UNKNOWN, quoted=True)
        elif kind == "text":
            self._add(match["text"])
        else:
            return False
        return True

    def _plain(self, frame: _Frame) -> None:
        if frame.word is None and self._text[self._at] == "#":
            end = self._text.find("\n", self._at)
            self._at = len(self._text) if end < 0 else end
            return
        match = _PLAIN(self._text, self._at)
        assert match is not None
        kind = match.lastgroup
        after = match.end()
        if kind in ("single", "ansi"):
            self._add(match[kind], quoted=True)
        elif kind == "double":
            self._add("", quoted=True)
            self._frames.append(_Frame("double"))
        elif kind == "open":
            self._open(match[0])
        elif kind == "here":
            self._end_word(frame)
            self._documents.append(match["end"])
        elif kind == "redirect":
            self._end_word(frame)
            frame.redirected = True
        elif kind == "space":
            self._end_word(frame)
        elif kind == "function":
            self._function(frame)
        elif kind == "separator":
            after = self._separator(frame, match[0], after)
        else:
            self._expanded(match)
        self._at = after

    def _function(self, frame: _Frame) -> None:
        """`name ()`: a definition, whose body is read as any other command."""
        self._end_word(frame)
        if frame.words and len(frame.words[-1]) == 1 and isinstance(frame.words[-1][0], str):
            self._functions.add(frame.words[-1][0])
        frame.words.clear()
        frame.files.clear()

    def _separator(self, frame: _Frame, token: str, after: int) -> int:
        if token in "{}":
            if frame.words and frame.words[0] == ("function",):
                self._end_command(frame)
                return after
            # A brace is a word of its own, or a part of one: `a{b,c}`.
            spaced = self._text[after : after + 1] in (" ", "\t", "\n", ";", "")
            if frame.word is None and not frame.words and (spaced or token == "}"):
                return after
            self._add(token)
            return after
        if token == "(":
            name = self._array(frame)
            if name:
                frame.word = None
                self._frames.append(_Frame("array", after, assigned=name))
                return after
            if frame.cases and frame.cases[-1]:
                return after
            self._end_command(frame)
            self._frames.append(_Frame("(", after))
            return after
        if token == ")":
            if frame.cases and frame.cases[-1]:
                self._end_word(frame)
                frame.words.clear()
                frame.cases[-1] = False
            elif frame.kind in ("(", "array"):
                self._close()
            else:
                self._end_command(frame)
            return after
        if frame.kind == "array":
            self._end_word(frame)
            return after
        self._end_command(frame)
        if token.startswith(";;") or token == ";&":
            if frame.cases:
                frame.cases[-1] = True
        elif token == "\n" and self._documents:
            after = self._skip_documents(after)
        return after

    def _array(self, frame: _Frame) -> str:
        """The variable of `name=(`, where the word at hand is the beginning of that."""
        if frame.word is None or len(frame.word) != 1 or not isinstance(frame.word[0], str):
            return ""
        match = _ASSIGNMENT(frame.word[0])
        return match[1] if match is not None and match.end() == len(frame.word[0]) else ""

    def _skip_documents(self, after: int) -> int:
        """Where the here-documents that were announced end."""
        for end in self._documents:
            match = re.compile(r"^\t*" + re.escape(end) + r"$", re.MULTILINE).search(
                self._text, after
            )
            if match is None:
                after = len(self._text)
                break
            after = match.end()
        self._documents.clear()
        return after

    def _end_word(self, frame: _Frame) -> None:
        if frame.word is None:
            return
        word = _joined(frame.word)
        plain = frame.plain and len(word) == 1
        frame.word = None
        if frame.kind == "array":
            self._values.setdefault(frame.assigned, []).append(word)
            return
        if frame.redirected:
            frame.redirected = False
            frame.files.append(word)
            return
        first = word[0] if isinstance(word[0], str) else ""
        if not frame.words:
            match = _ASSIGNMENT(first)
            if match is not None:
                value = _joined((first[match.end() :], *word[1:]))
                self._values.setdefault(match[1], []).append(value)
                return
            if plain and self._reserved(frame, first):
                return
        elif plain and first == "in" and frame.words[0] == ("case",):
            frame.words.clear()
            frame.cases.append(True)
            return
        frame.words.append(word)

    def _reserved(self, frame: _Frame, word: str) -> bool:
        """Whether a word at the beginning of a command belongs to the shell's own grammar."""
        if word == "esac" and frame.cases:
            frame.cases.pop()
            return True
        return word in _LEADING or word in _ENDS

    def _end_command(self, frame: _Frame) -> None:
        if frame.kind == "array":
            self._end_word(frame)
            return
        self._end_word(frame)
        frame.redirected = False
        words = frame.words
        if words and frame.cases and frame.cases[-1]:
            words = []  # alternatives of a pattern
        first = words[0][0] if words else ""
        if words and len(words[0]) == 1 and first in _LISTS:
            name = words[1][0] if len(words) > 1 else ""
            if isinstance(name, str) and name:
                self._values.setdefault(name, []).extend(words[3:])
        elif words and first == "function" and len(words) > 1:
            if isinstance(words[1][0], str):
                self._functions.add(words[1][0])
        elif words:
            line = bisect_right(self._lines, frame.start) + 1
            self._commands.append(Command(line, tuple(words), tuple(frame.files)))
        frame.words = []
        frame.files = []


def _joined(parts: Iterable[Part]) -> Word:
    """A word whose pieces of text are put together."""
    joined: list[Part] = []
    pieces: list[str] = []
    for part in parts:
        if isinstance(part, str):
            pieces.append(part)
            continue
        text = "".join(pieces)
        joined += [text, part] if text else [part]
        pieces.clear()
    text = "".join(pieces)
    return (*joined, text) if text or not joined else tuple(joined)
