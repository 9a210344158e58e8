"""Which texts of an image call a program by its name.

A name alone says nothing (`make`, `as` and `size` are words). What counts is a name where a program
is expected: the first word of a string in a call that starts programs (`subprocess.run(["m4"])`,
`os.system("make all")`, `shutil.which("ld")`), or the first word of a shell's command. In a source
that starts programs somewhere else, a string that is a program's name is a lesser sign.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from slimmer.analysis.spots import is_comment, line_before, tells_people
from slimmer.analysis.texts import Kind, Search
from slimmer.names import printable

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from slimmer.analysis.texts import Hit, Text

MENTIONS = 200
"""Most places of one text that are looked at."""

BODY = 300
"""Bytes of a function within which it starts a program, if that is what it is for."""

_SOURCES = frozenset((Kind.PYTHON, Kind.NOTEBOOK, Kind.SCRIPT))
_SPAWNS = re.compile(
    rb"subprocess|os\.(?:system|popen|exec|spawn|posix_spawn)|Popen|shutil\.which|pexpect"
    rb"|find_executable|getstatusoutput|create_subprocess|plumbum"
    rb"|(?:import|from) (?:invoke|fabric)"
).search
_SPAWNS_ELSEWHERE = re.compile(
    rb"child_process|\b(?:system2?|exec|qx|spawn|popen|shell_exec|passthru|proc_open|execute|execa)\b|`"
).search
"""In languages other than Python."""
_SPAWNING = frozenset(
    (
        *(b"run", b"call", b"check_call", b"check_output", b"Popen", b"popen", b"system", b"which"),
        *(b"getoutput", b"getstatusoutput", b"find_executable", b"spawn", b"spawnSync", b"exec"),
        *(b"execSync", b"execFile", b"execFileSync", b"create_subprocess_exec", b"execvp"),
        *(b"create_subprocess_shell", b"execlp", b"execl", b"execv", b"spawnlp", b"spawnvp"),
        *(b"posix_spawn", b"posix_spawnp", b"which_all", b"Command", b"local", b"capture"),
        *(b"shell_exec", b"passthru", b"proc_open", b"system2", b"execute", b"execa", b"execaSync"),
    )
)
"""Last names of calls whose first argument is a program."""
_ASKING = frozenset(
    (b"get", b"pop", b"getattr", b"setdefault", b"startswith", b"endswith", b"join")
)
_CALL = re.compile(rb"([\w.]+)\s*\(\s*(?:\w+\s*=\s*)?[\[(]?\s*[fFrRbBuU]{0,2}\Z").search
_NO_PROGRAM = re.compile(rb"(?:[\w\])]\[|[!=]=|\bin)\s*\Z").search
_LIST = re.compile(rb"[\[(]\s*\Z").search
_OPTION = re.compile(rb"[\"']\s*,\s*[fFrRbB]{0,2}[\"']-").match
_NO_COMMAND = (b"=", b"-", b".", b"/", b"(", b":", b")")
_COMMAND = re.compile(
    rb"(?:\A|[;&|({`]|\$\(|\b(?:then|do|else|if|elif|while|until|exec|sudo|time|env|nohup|xargs)\s|!\s)"
    rb"\s*(?:\w+=\S*\s+)*(?:[\w/.-]*/)?\Z"
).search


_WITHIN = re.compile(rb"[\"'`][^\"'`]*(?:&&|\|\|?|;)[ \t]*(?:exec[ \t]+|sudo[ \t]+)?\Z").search
_NAMED_ON = re.compile(rb"[=\w.(/:-]").match
_SHELL_OPTION = re.compile(rb"[\"']-[a-z]*c[\"']\s*,\s*[fFrR]{0,2}\Z").search


class Call(NamedTuple):
    """A place where a text names a program."""

    text: str
    """The text's name, printable."""
    path: bytes
    line: int
    program: str
    """The name that is called, without its folder."""
    direct: bool
    """Whether it stands where a program is expected; else it only may be one."""

    def __str__(self) -> str:
        verb = "calls" if self.direct else "names"
        return f"{self.text}:{self.line} {verb} {printable(self.program)}"


def searches(programs: Collection[str], found: list[Call]) -> list[Search]:
    """What to look for in a pass, so that every place that calls one of the programs, or may do
    so, is added to `found`.

    Makefiles and the like do not count: what a started `make` runs is followed from the start.
    """
    names = {program.encode("utf-8", "surrogateescape") for program in programs}
    quoted = {
        quote + name: name for name in names for quote in (b'"', b"'", b"`", b"/", b"{", b"!")
    }
    within = {b" " + name: name for name in names}

    def told(text: Text, hit: Hit, name: bytes, direct: bool) -> None:
        line = text.line(hit.start)
        found.append(
            Call(text.name, text.path, line, name.decode("utf-8", "surrogateescape"), direct)
        )

    def look(text: Text, hits: Sequence[Hit]) -> None:
        possible = [(hit, _direct(text, hit)) for hit in hits[:MENTIONS]]
        if all(direct is None for _, direct in possible):
            return
        spawns = (_SPAWNS_ELSEWHERE if text.kind is Kind.SCRIPT else _SPAWNS)(text.content)
        for hit, direct in possible:
            if not spawns and not hit.needle.startswith(b"!"):
                continue
            if direct is not None and not is_comment(text, hit.start):
                told(text, hit, quoted[hit.needle], direct)

    def look_within(text: Text, hits: Sequence[Hit]) -> None:
        """Commands behind others in one text: `os.system("cd /app && make")`."""
        if not (_SPAWNS_ELSEWHERE if text.kind is Kind.SCRIPT else _SPAWNS)(text.content):
            return
        for hit in hits[:MENTIONS]:
            before = line_before(text, hit.start + 1)
            if not _WITHIN(before) or _NAMED_ON(text.content, hit.end):
                continue
            if not is_comment(text, hit.start) and not tells_people(text, hit.start):
                told(text, hit, within[hit.needle], True)

    def look_in_shell(text: Text, hits: Sequence[Hit]) -> None:
        for hit in hits[:MENTIONS]:
            before = line_before(text, hit.start)
            after = text.content[hit.end : hit.end + 1]
            if after in _NO_COMMAND or not _COMMAND(before.lstrip()):
                continue
            if not is_comment(text, hit.start) and not tells_people(text, hit.start):
                told(text, hit, hit.needle, True)

    return [
        Search(tuple(quoted), look, _SOURCES, whole_words=False),
        Search(tuple(within), look_within, _SOURCES, whole_words=False),
        Search(tuple(names), look_in_shell, frozenset((Kind.SHELL,))),
    ]


def _direct(text: Text, hit: Hit) -> bool | None:
    """Whether a quoted name is a call's program; None where it is no program's name at all."""
    content = text.content
    after = content[hit.end : hit.end + 1]
    start = hit.start
    if after not in (b'"', b"'", b"`", b" ") and hit.needle[:1] not in (b"{", b"!"):
        return None
    if hit.needle.startswith(b"/"):
        # `"/usr/bin/make"`: the quotes stand before the folder.
        window = content[max(0, start - 60) : start]
        match = re.search(rb"[\"'`](?:/[\w.-]+)*\Z", window)
        if match is None or not match[0].endswith((b"bin", b"sbin")):
            return None
        start -= len(match[0])
    opening = content[start : start + 1]
    if after in (b'"', b"'", b"`") and after != opening:
        return None
    if opening == b"`":
        return text.kind is Kind.SCRIPT or None
    before = content[max(0, start - 120) : start]
    if opening == b"{":
        return (text.kind is Kind.SCRIPT and before.endswith(b"qx")) or None
    if opening == b"!":
        return (text.kind is Kind.NOTEBOOK and before.rstrip().endswith(b'"')) or None
    if _SHELL_OPTION(before) or before.endswith(b"shlex.split("):
        return True
    called = _CALL(before)
    if called is not None:
        last = called[1].rpartition(b".")[2]
        if last in _ASKING:
            return None
        if last in _SPAWNING or _spawns(content, last):
            return True
        return False if after != b" " else None
    if after == b" " or _NO_PROGRAM(before):
        return None
    # The first word of a command that is put together, if an option follows: `["cc", "-shared"]`.
    return _LIST(before) is not None and _OPTION(content, hit.end) is not None


def _spawns(content: bytes, function: bytes) -> bool:
    """Whether a source defines a function of this name that begins with starting a program."""
    start = content.find(b"def " + function + b"(")
    return start >= 0 and _SPAWNS(content, start, start + BODY) is not None
