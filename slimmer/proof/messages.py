"""What the messages of programs name: the module, library, file or program that was not found.

One table for all of them. A message is a stranger's text of any length: each pattern begins with
words that stand in it literally and takes a bounded piece of what follows; what stands before the
words is looked for in a bounded piece before them. So the time is linear, whatever the text.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from slimmer.proof.losses import Losses

    Made = Callable[[str], str]

BEFORE = 600
"""Bytes before a pattern's words in which the name may stand."""
MENTIONS = 10_000
"""Names that are taken out of one text."""

Kind = Literal["module", "library", "file", "program", "distribution", "device code"]


@dataclass(frozen=True, slots=True)
class Mention:
    """A name that a message gives of what it misses."""

    kind: Kind
    name: str
    place: int
    """Offset in the text of the words that say so."""


@dataclass(frozen=True, slots=True)
class Message:
    """One kind of message, and where in it the name stands."""

    kind: Kind
    words: re.Pattern[str]
    """The words, and behind them the name as the first group, if it stands there."""
    before: re.Pattern[str] | None = None
    """What stands directly before the words, read backwards: the name as the first group."""
    made: Made = str
    """The name as a path, where the message shortens it."""


def _after(kind: Kind, words: str, name: str, end: str = "", made: Made = str) -> Message:
    return Message(kind, re.compile(f"{words}({name}){end}"), made=made)


def _until(kind: Kind, name: str, words: str, closing: str = "") -> Message:
    # Backwards, so that the first character decides and nothing is tried twice.
    return Message(kind, re.compile(words), re.compile(f"{closing}({name})"))


def _member(name: str) -> str:
    """`b' from 'a`, as Python says it, as a dotted name."""
    member, *_, module = re.findall(r"[\w.]+", name)
    return f"{module}.{member}"


def _attribute(name: str) -> str:
    """`a' has no attribute 'b`, as Python says it, as a dotted name."""
    module, *_, member = re.findall(r"[\w.]+", name)
    return f"{module}.{member}"


def _node(name: str) -> str:
    return name if name.startswith(("/", ".")) else f"node_modules/{name}"


QUOTES = " \t'\"`\u2018\u2019\u201c\u201d"
QUOTE = r"['\"`\u2018\u2019\u201c\u201d]"
DOTTED = r"[\w.]{1,300}"
QUOTED = r"[^'\"`\u2018\u2019\u201c\u201d\n]{1,500}"
WORD = r"[^\s:'\"`\u2018\u2019\u201c\u201d;,()]{1,500}"
PLACE = r"[^\n:'\"`\u2018\u2019\u201c\u201d]{1,500}"

MESSAGES: tuple[Message, ...] = (
    # Python's imports
    _after("module", r"No module named ", DOTTED),
    _after("module", r"No module named ['\"]", DOTTED),
    _after("module", r"cannot import name ['\"]", r"\w{1,200}['\"] from ['\"][\w.]{1,300}",
           made=_member),
    _after("module", r"Error while finding module specification for ['\"]", DOTTED),
    _after("module", r"\bmodule ['\"]", r"[\w.]{1,300}['\"] has no attribute ['\"]\w{1,200}",
           made=_attribute),
    _after("module", r"Can't find model ['\"]", DOTTED),
    _after("distribution", r"No package metadata was found for ", r"[\w.-]{1,200}"),
    _after("distribution", r"PackageNotFoundError: ['\"]?", r"[\w.-]{1,200}", r"['\"]?\s"),
    _after("distribution", r"The ['\"]", r"[\w.-]{1,200}", r"[^'\"\n]{0,99}['\"] distribution was"),
    # the loaders of glibc and musl, and those who call them
    _until("library", WORD, r": cannot open shared object file"),
    _after("library", r"error while loading shared libraries: ", WORD),
    _after("library", r"Error loading shared library ", WORD),
    _after("library", r"(?:ould not|annot|nable to) load (?:dynamic |shared )?library "
           + QUOTE, QUOTED),
    _after("library", r"no library called " + QUOTE, QUOTED),
    _after("library", r"manage to locate a library called " + QUOTE, QUOTED),
    _until("file", WORD, r": undefined symbol: "),
    _until("file", WORD, r": symbol lookup error"),
    _until("file", WORD, r": version " + QUOTE + r"?[\w.]{1,60}" + QUOTE + r"? not found"),
    _after("file", r"Error relocating ", WORD),
    # programs
    _until("program", WORD, r": command not found"),
    _after("program", r"command not found: ", WORD),
    _until("program", WORD, r": not found"),
    _until("program", WORD, r": Command not found"),
    _until("program", QUOTED, r": executable file not found", QUOTE),
    _after("program", r"executable file " + QUOTE, QUOTED, QUOTE + " not found"),
    _after("program", r"unable to start container process: exec: " + QUOTE, QUOTED),
    _after("program", r"\bexec " + QUOTE + "?", WORD, QUOTE + r"?: no such file"),
    _after("program", r"\benv: " + QUOTE + "?", WORD, QUOTE + r"?: No such file"),
    _after("program", r"[Cc]an't exec " + QUOTE, QUOTED),
    _after("program", r"unable to execute " + QUOTE, QUOTED),
    _after("program", r"\bcommand " + QUOTE, QUOTED, QUOTE + r" failed: No such file"),
    _after("program", r"can't find command " + QUOTE, QUOTED),
    _after("program", r"Failed to locate executable ", WORD),
    _after("program", r"bad interpreter: ", r"[^\n:]{1,300}"),
    _until("program", WORD, r": bad interpreter"),
    # files
    _after("file", r"No such file or directory: b?['\"]", QUOTED),
    _after("file", r"No such file or directory: ", r"[^\s'\"\n]{1,500}"),
    _until("file", PLACE, r": No such file or directory", QUOTE + "?"),
    _after("file", r"no such file or directory, \w{1,30} ['\"]", QUOTED),
    _after("file", r"can't open file ['\"]", QUOTED),
    _after("file", r"\b[Cc](?:annot|ould not|ouldn't|an't) (?:open|find|read|load|access)"
           r" (?:the )?(?:file |model |resource )?" + QUOTE, QUOTED),
    _after("file", r"open\(\) \"", r"[^\"\n]{1,500}", r"\" failed"),
    _after("file", r"Can't locate ", r"[\w/.+-]{1,300}", r" in @INC"),
    _after("file", r"Can't load ['\"]", QUOTED),
    _after("file", r"Cannot find (?:module|package) ['\"]", QUOTED, made=_node),
    _after("file", r"cannot load such file -- ", r"[^\s()]{1,300}"),
    _after("file", r"TemplateDoesNotExist: ", r"[^\s'\"(),]{1,300}"),
    _after("file", r"TemplateDoesNotExist(?: at [^\n]{0,300})?\n\s{0,40}", r"[^\s'\"(),]{1,300}"),
    _after("file", r"Template(?:s)?NotFound: ['\"]?", r"[^\s'\"(),]{1,300}"),
    _until("file", QUOTED, r" not found in search path", QUOTE),
    _after("file", r"No translation file found for domain: ['\"]", QUOTED,
           made=lambda name: f"{name}.mo"),
    _after("file", r"Attempted to load ", r"[^\s]{1,300}"),
    _after("file", r"unknown locale ['\"]", r"[\w-]{1,60}",
           made=lambda name: f"locale-data/{name.replace('-', '_')}.dat"),
    _after("file", r"No time zone found with key ", r"[\w/+-]{1,100}"),
    _after("file", r"UnknownTimeZoneError: ['\"]?", r"[\w/+-]{1,100}"),
    # code for another GPU
    _after("device code", r"no kernel image is available", ""),
    _after("device code", r"named symbol not found|device kernel image is invalid", ""),
)  # fmt: skip
_COLOURS = re.compile("\x1b\\[[0-9;]{0,20}m").sub
PATHS = re.compile(r"/[^\s:'\",;()<>\[\]\\]{2,500}")
"""Every absolute path of a text, whatever is said of it."""


def mentions(text: str) -> Iterator[Mention]:
    """Every name that a text gives of what it misses, kind of message by kind of message."""
    text = _COLOURS("", text)
    for message in MESSAGES:
        for match in message.words.finditer(text):
            name = match.group(1) if match.re.groups else ""
            if message.before is not None:
                start = match.start()
                found = message.before.match(text[max(0, start - BEFORE) : start][::-1])
                if found is None:
                    continue
                name = found.group(1)[::-1]
            name = message.made(name).strip(QUOTES)
            yield Mention(message.kind, name.rstrip("."), match.start())


def meant(mention: Mention, losses: Losses) -> bytes | None:
    """The path that left or was changed and that a mention means."""
    name = mention.name
    match mention.kind:
        case "module":
            return losses.module(name)
        case "library":
            return losses.gone(name) or losses.altered(name) or _library(name, losses)
        case "distribution":
            return losses.distribution(name)
        case "program":
            return _file(name, losses) if "/" in name else losses.program(name)
        case "file":
            found = _file(name, losses)
            if found is None and "/" not in name:
                found = losses.program(name)
            return found or losses.altered(name)
        case "device code":
            return None


def _library(name: str, losses: Losses) -> bytes | None:
    name = name.rpartition("/")[2]
    guesses = [name] if ".so" in name else [f"lib{name.removeprefix('lib')}.so", name]
    return next((found for one in guesses if (found := losses.library(one))), None)


def _file(name: str, losses: Losses) -> bytes | None:
    """A file by its path, or by the end of it: `templates/x.html`, `Foo/Bar.pm`."""
    for one in dict.fromkeys((name, name.rpartition(" ")[2])):
        found = losses.gone(one)
        if found is not None:
            return found
        if one.startswith("/") or not set(one) & {"/", "."}:
            continue  # a whole path, or a word that anything could be called
        for ending in ("", ".js", ".rb", ".zip"):
            found = losses.tail(one + ending)
            if found is not None:
                return found
    return None


def said(text: str, losses: Losses) -> bytes | None:
    """The path that left and that a text speaks of first: by a message, else by its path alone."""
    for mention in islice(mentions(text), MENTIONS):
        found = meant(mention, losses)
        if found is not None and found not in losses.changed:
            return found
    return next((path for path, _ in paths_in(text, losses)), None)


def paths_in(text: str, losses: Losses) -> Iterator[tuple[bytes, int]]:
    """Paths of a text that left, whatever is said of them, each with its offset."""
    for match in islice(PATHS.finditer(text), 10 * MENTIONS):
        found = losses.gone(match.group().rstrip("."))
        if found is not None and losses.certain(found):
            yield found, match.start()
