r"""What texts other than parsed Python name: words of scripts and configuration, constants of
bytecode, import lines. As in `sources`, `\0` stands for what only a run could tell."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from slimmer.analysis.sources import LONGEST, Named
from slimmer.analysis.texts import Kind

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from slimmer.analysis.texts import Hit, Text

_BETWEEN = re.compile(rb"[\s\"'`,;<>|&()=:]").finditer
_AFTER = re.compile(rb"[^\s\"'`,;<>|&()=:]*").match
_OPTION = re.compile(rb".*\s-m\s+\Z", re.DOTALL).match
_VARIABLE = re.compile(r"\$\{[^{}]*\}|\$\w+|\{\{.*?\}\}|\{[^{}]*\}|%\(\w+\)s|%[sdr]")
_DOTTED = re.compile(r"[\w\0]+(?:\.[\w\0]+)*\.?(?::[\w.]+)?\Z").match
_COMMENTED = {
    Kind.SHELL: (b"#",),
    Kind.CONFIG: (b"#", b";", b"//", b"<!--"),
    Kind.BUILD: (b"#",),
    Kind.SCRIPT: (b"#", b"//", b"*", b"/*"),
}
"""How lines begin that only people read."""
_LINE = re.compile(
    rb"^[ \t]*(?:from[ \t]+(\.*[\w.]*)[ \t]+import[ \t]+(\([^)]*|[^#\n]*)|import[ \t]+([^#\n]+))",
    re.MULTILINE,
).finditer
_TEXT = re.compile(rb"[\"']([\w.]*\b(?:tests|test|idle_test)\b[\w.]*)(?::[\w.]+)?[\"']").finditer


def named_in(text: Text, hits: Sequence[Hit]) -> Iterator[Named]:
    """The words around hits that are paths or dotted names, comments left out."""
    content = text.content
    marks = _COMMENTED.get(text.kind, ())
    end = -1
    for hit in hits:
        if hit.start < end:
            continue
        line = content.rfind(b"\n", max(0, hit.start - LONGEST), hit.start) + 1
        if marks and content[line : hit.start].lstrip().startswith(marks):
            continue
        start = max(line, hit.start - LONGEST)
        for mark in _BETWEEN(content, start, hit.start):
            start = mark.end()
        after = _AFTER(content, hit.end, hit.end + LONGEST)
        end = after.end() if after else hit.end
        word = _VARIABLE.sub("\0", content[start:end].decode("utf-8", "surrogateescape"))
        if word.startswith("-m") and _DOTTED(word[2:]):
            word = word[2:]  # `python -mpackage.module`
        elif word.startswith("//") and _DOTTED(word[2:]):
            word = word[2:]  # `ext://package.module.Class`, as logging's configuration has it
        module = word.rstrip(".")
        if "/" in word:
            yield Named(text.line(start), word, "path")
        elif _DOTTED(module) and ("." in module or _OPTION(content, max(start - 8, 0), start)):
            yield Named(text.line(start), module, "dotted")


def constants(content: bytes, hits: Sequence[Hit]) -> Iterator[Named]:
    """The texts of bytecode that hits stand in.

    A short text is its type, its length in a byte, and its bytes; a long one has four bytes of
    length (CPython's marshal.c: TYPE_SHORT_ASCII and the like, with or without FLAG_REF).
    """
    end = -1
    for hit in hits:
        if hit.start < end:
            continue
        found = _constant(content, hit)
        if found is None:
            continue
        start, end = found
        word = content[start:end].decode("utf-8", "surrogateescape")
        if not word.isprintable() or " " in word:
            continue
        if "/" in word:
            yield Named(0, word, "path")
        elif "." in word and _DOTTED(word):
            yield Named(0, word.partition(":")[0], "dotted")
        elif word.isidentifier():
            yield Named(0, word, "word")


def _constant(content: bytes, hit: Hit) -> tuple[int, int] | None:
    """Beginning and end of the text of bytecode that a hit stands in."""
    for start in range(hit.start, max(hit.start - 256, 4), -1):
        size = content[start - 1]
        if content[start - 2] & 0x7F in b"zZ" and start + size >= hit.end:
            return start, start + size
        size = int.from_bytes(content[start - 4 : start], "little")
        if content[start - 5] & 0x7F in b"uaAt" and hit.end - start <= size <= LONGEST:
            return start, start + size
    return None


def imports(content: bytes) -> Iterator[Named]:
    """What a text that this Python cannot parse may import: Python 2, newer syntax, a template."""
    line = at = 1
    at = 0
    for match in _LINE(content):
        line += content.count(b"\n", at, match.start())
        at = match.start()
        base, what, plain = match.groups()
        if base is None:
            for part in plain.split(b","):
                if found := re.match(rb"\s*([\w.]+)", part):
                    yield Named(line, found[1].decode("utf-8", "replace"), "import")
            continue
        start = base.decode("utf-8", "replace")
        if start.strip("."):
            yield Named(line, start, "import")
        dot = "" if start.endswith(".") else "."
        for found in re.finditer(rb"(?:^\(?|,)\s*(\w+)", what):
            name = found[1].decode("utf-8", "replace")
            yield Named(line, start + dot + name, "import", member=True)
    line, at = 1, 0
    for match in _TEXT(content):
        text = match[1].decode("utf-8", "replace")
        if "." in text and _DOTTED(text.lstrip(".")):
            line += content.count(b"\n", at, match.start())
            at = match.start()
            yield Named(line, text, "dotted", table=True)
