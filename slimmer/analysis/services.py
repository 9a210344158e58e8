"""The commands that files of services and build tools hold, and where services look for them.

crontab(5), systemd.service(5), the Desktop Entry Specification, supervisor's program sections,
runit's and s6's folders, recipes of make, `package.json`, Docker's `OnBuild`.
"""

from __future__ import annotations

import json
import re
import shlex
from typing import TYPE_CHECKING, Any, Literal

from slimmer.analysis.commands import SHELLS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

How = Literal["shell", "python", "make", "node", "cron", "unit", "supervisor", "any", "procfile"]
"""How a file is written: a script by its interpreter, or lines that hold commands."""

SERVICES: tuple[tuple[bytes, str, How, tuple[str, ...]], ...] = (
    (b"etc/crontab", "", "cron", ("cron", "crond", "supercronic", "anacron")),
    (b"etc/cron.d", "", "cron", ("cron", "crond", "anacron")),
    (b"var/spool/cron", "", "cron", ("cron", "crond", "busybox")),
    (b"etc/crontabs", "", "cron", ("cron", "crond", "busybox")),
    (b"etc/cron.hourly", "", "any", ("cron", "crond", "anacron")),
    (b"etc/cron.daily", "", "any", ("cron", "crond", "anacron")),
    (b"etc/cron.weekly", "", "any", ("cron", "crond", "anacron")),
    (b"etc/cron.monthly", "", "any", ("cron", "crond", "anacron")),
    (b"etc/supervisor", ".conf", "supervisor", ("supervisord",)),
    (b"etc/supervisord.conf", "", "supervisor", ("supervisord",)),
    (b"etc/supervisord.d", "", "supervisor", ("supervisord",)),
    (b"etc/systemd/system", "", "unit", ()),
    (b"usr/lib/systemd/system", "", "unit", ("/lib/systemd/systemd", "/usr/lib/systemd/systemd")),
    (b"lib/systemd/system", "", "unit", ("/lib/systemd/systemd", "/usr/lib/systemd/systemd")),
    (b"etc/service", "", "any", ()),
    (b"etc/sv", "", "any", ("runsvdir", "runsv")),
    (b"etc/services.d", "", "any", ()),
    (b"etc/s6-overlay", "", "any", ()),
    (b"etc/cont-init.d", "", "any", ()),
    (b"docker-entrypoint.d", "", "any", ()),
    (b"etc/xdg/autostart", ".desktop", "unit", ()),
)
"""Folder or file, ending of the names in it, how they are written, and the programs of which one
must be there to read them."""


def language(text: str, path: bytes) -> How:
    """What runs a file, by its first line, else by its name."""
    first = text[:256].partition("\n")[0]
    if first.startswith("#!"):
        words = [word.rpartition("/")[2] for word in first[2:].split()]
        if any(word in SHELLS or word == "with-contenv" for word in words):
            return "shell"
        if any(word.startswith(("python", "pypy")) for word in words):
            return "python"
        if any(word in ("make", "gmake") for word in words):
            return "make"
        return "any"
    if path.endswith((b".sh", b"/run", b"/up", b".envsh", b".bash")) and "\0" not in text[:1000]:
        return "shell"
    return "python" if path.endswith(b".py") else "any"


_MAKE_VALUE = re.compile(r"^(?:export +)?([A-Z_]\w*) *[:?]?= *([^#\n]{0,200})", re.M).findall
_MAKE_USE = re.compile(r"\$[({]([A-Z_]\w*)[)}]").sub
_MAKE_VALUES = {
    "CC": "cc",
    "CXX": "g++",
    "CPP": "cc -E",
    "LD": "ld",
    "AR": "ar",
    "AS": "as",
    "FC": "f77",
    "LEX": "lex",
    "YACC": "yacc",
    "MAKE": "make",
}
"""What make sets where nobody does (GNU Make manual, 10.3)."""


def _make_lines(text: str) -> Iterator[tuple[int, str]]:
    """The recipes of a makefile, and what `$(shell …)` calls."""
    values = {**_MAKE_VALUES, **dict(_MAKE_VALUE(text))}
    text = _MAKE_USE(lambda used: values.get(used[1], used[0]), text)
    lines = iter(enumerate(text.split("\n"), 1))
    for number, line in lines:
        for name in line.split()[1:] if line.startswith(("include ", "-include ")) else ():
            yield number, f"make -f {name}"
        joined = [line]
        while joined[-1].endswith("\\"):
            joined.append(next(lines, (0, ""))[1].lstrip("\t"))
        whole = "\n".join(joined)
        target, colon, recipe = whole.partition(";")
        if whole.startswith("\t"):
            yield number, re.sub(r"\$\$", "$", whole.lstrip("\t@+- "))
        elif colon and ":" in target:
            yield number, recipe.lstrip(" @+-")
        if "$(shell" in whole:
            yield from ((number, call) for call in re.findall(r"\$\(shell ([^()]*)", whole))


def _cron_lines(text: str) -> Iterator[tuple[int, str]]:
    """The commands of a crontab(5), with and without the column for the user."""
    for number, line in enumerate(text.split("\n"), 1):
        match = re.match(r"\s*(?:@\w+|(?:[\d*/,A-Za-z?#-]+\s+){5})\s*(.+)", line[:4000])
        if match is not None and not line.lstrip().startswith("#"):
            command = match[1].partition("%")[0]
            yield number, command
            _, space, rest = command.partition(" ")
            if space:
                yield number, rest.lstrip()


def _unit_lines(text: str) -> Iterator[tuple[int, str]]:
    """The `Exec…=` lines of units (systemd.service(5)) and desktop entries."""
    for number, line in enumerate(text.split("\n"), 1):
        match = re.match(r"\s*Exec\w*\s*=\s*[-@:+!|]*(.+)", line[:8000])
        if match is not None:
            yield number, match[1]


def _supervisor_lines(text: str) -> Iterator[tuple[int, str]]:
    for number, line in enumerate(text.split("\n"), 1):
        match = re.match(r"\s*command\s*=\s*(.+)", line[:8000])
        if match is not None:
            yield number, match[1]


def _proc_lines(text: str) -> Iterator[tuple[int, str]]:
    for number, line in enumerate(text.split("\n"), 1):
        name, colon, command = line.partition(":")
        if colon and name.strip().replace("-", "").replace("_", "").isalnum():
            yield number, command.strip()


def _node_lines(text: str) -> Iterator[tuple[int, str]]:
    """The scripts of a `package.json`."""
    try:
        told: Any = json.loads(text)
        scripts = told.get("scripts", {})
        for command in scripts.values():
            yield 1, str(command)
    except (ValueError, AttributeError, RecursionError):
        return


LINES: Mapping[str, Callable[[str], Iterator[tuple[int, str]]]] = {
    "make": _make_lines,
    "cron": _cron_lines,
    "unit": _unit_lines,
    "supervisor": _supervisor_lines,
    "procfile": _proc_lines,
    "node": _node_lines,
}


def on_build(raw: bytes) -> Iterator[str]:
    """The shell texts of instructions that wait for the next build (Docker's `OnBuild`)."""
    try:
        told: Any = json.loads(raw)
        instructions = (told.get("config") or {}).get("OnBuild") or []
        for instruction in instructions:
            name, _, rest = str(instruction).partition(" ")
            if name.upper() not in ("RUN", "CMD", "ENTRYPOINT"):
                continue
            try:
                words = json.loads(rest)
                yield shlex.join(map(str, words))
            except (ValueError, TypeError, RecursionError):
                yield rest
    except (ValueError, AttributeError, TypeError, RecursionError):
        return
