"""What one command line starts: its program, what that starts in its turn, and what it runs.

Many programs exist to start others (`env`, `exec`, `tini --`, `su -c`, `find -exec`), and many take
a script, a shell text or a Python module. Which word is which is told by the program's own manual.
"""

from __future__ import annotations

import re
from itertools import pairwise
from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

Kind = Literal[
    "program",
    "file",
    "shell",
    "python",
    "make",
    "node",
    "cron",
    "supervisor",
    "procfile",
    "module",
    "code",
    "text",
]


class Started(NamedTuple):
    """A word of a command line that is more than an argument."""

    kind: Kind
    """`program` is looked up on PATH; `file` is run by whatever its first line says; `shell`,
    `python` and `make` are files by their interpreter, `node` a folder with `package.json`;
    `module` is Python's; `code` is Python, `text` shell, written out."""
    word: str


SHELLS = frozenset(("sh", "bash", "dash", "ash", "zsh", "ksh", "mksh", "rbash"))
_STARTERS = frozenset(
    (
        "builtin",
        "busybox",
        "capsh",
        "catatonit",
        "catchsegv",
        "chamber",
        "chpst",
        "chroot",
        "command",
        "conda",
        "cron-exec",
        "daemonize",
        "dbus-run-session",
        "ddtrace-run",
        "doas",
        "docker-init",
        "doppler",
        "dotenv",
        "dumb-init",
        "entr",
        "env",
        "exec",
        "exec-with-env",
        "firejail",
        "flock",
        "gdb",
        "gosu",
        "hash",
        "hatch",
        "ionice",
        "ltrace",
        "mamba",
        "micromamba",
        "multirun",
        "newrelic-admin",
        "nice",
        "nohup",
        "numactl",
        "opentelemetry-instrument",
        "parallel",
        "pdm",
        "pipenv",
        "pixi",
        "poetry",
        "prlimit",
        "run-parts",
        "runsv",
        "runuser",
        "rye",
        "s6-envuidgid",
        "s6-setuidgid",
        "s6-svscan",
        "script",
        "setpriv",
        "setsid",
        "start-stop-daemon",
        "stdbuf",
        "strace",
        "su",
        "su-exec",
        "sudo",
        "taskset",
        "time",
        "timeout",
        "tini",
        "tini-static",
        "toybox",
        "tsx",
        "type",
        "unbuffer",
        "unshare",
        "uv",
        "valgrind",
        "wait-for-it.sh",
        "watch",
        "watchexec",
        "which",
        "with-contenv",
        "xargs",
        "xvfb-run",
    )
)
"""Programs that start one of their arguments."""
_TAKES_TEXT = frozenset(("su", "runuser", "script", "flock", "watch", "parallel"))
"""Of these the ones that hand `-c TEXT`, or a whole word, to a shell."""
_PROCFILES = ("honcho", "foreman", "forego", "overmind", "hivemind", "goreman")
"""Programs that start what a Procfile lists."""
_CRON_TABLES = ("supercronic", "crontab", "yacron")
"""Programs that take a file written as crontab(5) has it."""
_PYTHON = re.compile(r"(?:python|pypy)[\d.]*t?\Z").match
_MODULE = re.compile(r"[^\W\d]\w*(?:\.[^\W\d]\w*)*(?::[\w.]+(?:\(\))?)?\Z").match
_APPLICATION_OPTIONS = frozenset(
    ("-m", "-A", "--app", "--settings", "--pythonpath", "-k", "--worker-class", "-p", "--factory")
)
_EXEC = frozenset(("-exec", "-execdir", "-ok", "-okdir"))
_DEPTH = 12
"""Programs that start programs, one within the other, that are followed."""


def started(
    words: Sequence[str], known: Callable[[str], bool], depth: int = _DEPTH
) -> Iterator[Started]:
    """What a command line starts. `known` tells whether the image has a program of a name."""
    if not words or not depth:
        return
    program = words[0]
    name = program.rpartition("/")[2]
    rest = words[1:]
    yield Started("program", program)
    if "/" in program:
        yield Started("file", program)
    if name in SHELLS:
        yield from _shell(rest)
    elif name in (".", "source"):
        yield from (Started("shell", word) for word in rest[:1])
    elif name in ("eval", "trap"):
        yield Started("text", " ".join(rest) if name == "eval" else next(iter(rest), ""))
    elif _PYTHON(name):
        yield from _python(rest)
    elif name in ("make", "gmake"):
        yield from _make(rest)
    elif name in ("npm", "yarn", "pnpm", "bun", "npx"):
        yield Started("node", ".")
        yield from _first(rest, known, depth)
    elif name in _PROCFILES:
        yield Started("procfile", _option(rest, ("-f", "--procfile")) or "Procfile")
        yield from _first(rest, known, depth)
    elif name in _CRON_TABLES:
        yield from (Started("cron", word) for word in rest if not word.startswith("-"))
    elif name == "supervisord":
        told = _option(rest, ("-c", "--configuration"))
        yield from (Started("supervisor", word) for word in (told,) if word)
    elif name == "find":
        for place, word in enumerate(rest):
            if word in _EXEC:
                yield from started(rest[place + 1 :], known, depth - 1)
    elif name in _STARTERS or name.startswith("ld-linux"):
        if name in _TAKES_TEXT:
            yield from _texts(rest)
        if name in ("which", "type", "hash"):
            yield from (Started("program", word) for word in rest if not word.startswith("-"))
        else:
            yield from _first(rest, known, depth)
    yield from _modules(rest)


def _option(words: Sequence[str], names: Sequence[str]) -> str:
    """The value of an option, behind it or behind its `=`; empty where it is not given."""
    for place, word in enumerate(words):
        option, equals, value = word.partition("=")
        if option in names:
            return value if equals else "".join(words[place + 1 : place + 2])
    return ""


def _first(words: Sequence[str], known: Callable[[str], bool], depth: int) -> Iterator[Started]:
    """The first word that is a program, with all that follows it as its own words."""
    for place, word in enumerate(words):
        if word.startswith("-") or not known(word):
            continue
        yield from started(words[place:], known, depth - 1)
        return


def _shell(words: Sequence[str]) -> Iterator[Started]:
    text = False
    for word in words:
        if word.startswith(("-", "+")) and len(word) > 1 and not word.startswith("--"):
            text = text or "c" in word[1:]
            if "l" in word[1:]:
                yield Started("shell", "/etc/profile")
        elif word.startswith("--"):
            if word == "--login":
                yield Started("shell", "/etc/profile")
        else:
            yield Started("text" if text else "shell", word)
            return


def _texts(words: Sequence[str]) -> Iterator[Started]:
    for option, word in pairwise(words):
        if option in ("-c", "--command", "--session-command"):
            yield Started("text", word)
    for word in words:
        if " " in word:
            yield Started("text", word)


def _python(words: Sequence[str]) -> Iterator[Started]:
    for place, word in enumerate(words):
        after = words[place + 1] if place + 1 < len(words) else ""
        if word.startswith("-") and len(word) > 1:
            # Single letters may stand together: `-um module`; m and c take what follows.
            flag = re.match(r"-[A-Za-z]*?([mc])(.*)\Z", word, re.DOTALL)
            if flag is None:
                continue
            yield Started("module" if flag[1] == "m" else "code", flag[2] or after)
            return
        if place and words[place - 1] in ("-W", "-X"):
            continue
        yield Started("python", word)
        return


def _make(words: Sequence[str]) -> Iterator[Started]:
    folder = ""
    files: list[str] = []
    for place, word in enumerate(words):
        after = words[place + 1] if place + 1 < len(words) else ""
        if word in ("-C", "--directory"):
            folder = after
        elif word.startswith(("-C", "--directory=")):
            folder = word.removeprefix("--directory=").removeprefix("-C")
        elif word in ("-f", "--file", "--makefile"):
            files.append(after)
        elif word.startswith(("-f", "--file=", "--makefile=")):
            files.append(re.sub(r"-f|--(?:make)?file=", "", word, count=1))
    for file in files or ["GNUmakefile", "makefile", "Makefile"]:
        yield Started("make", f"{folder.rstrip('/')}/{file}" if folder else file)


def _modules(words: Sequence[str]) -> Iterator[Started]:
    """Words that may be Python modules: dotted ones, `module:attribute`, what `-A` takes."""
    for place, word in enumerate(words):
        option, equals, value = word.partition("=")
        named = value if equals and option.startswith("-") else word
        after = place > 0 and words[place - 1] in _APPLICATION_OPTIONS
        if _MODULE(named) and ("." in named or ":" in named or after):
            yield Started("module", named)


def modules_in(code: str) -> Iterator[str]:
    """The modules that Python code imports, as far as its lines tell."""
    for match in _IMPORT(code):
        base, names, plain = match.groups()
        if base is not None:
            yield base
            yield from (f"{base}.{name}" for name in re.findall(r"[^\W\d]\w*", names)[:50])
        else:
            yield from (name.split()[0] for name in plain.split(",") if name.strip())


_IMPORT = re.compile(
    r"(?:^|;)[ \t]*(?:from[ \t]+([^\W\d][\w.]*)[ \t]+import[ \t]+\(?([^#;\n]*)"
    r"|import[ \t]+([^#;\n]+))",
    re.MULTILINE,
).finditer
