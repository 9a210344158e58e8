"""What an image starts, looked at without starting it: its programs are there and can be run.

Followed are symlinks, the interpreter that a script names in its first line, the words of
`sh -c`, programs that only start another, and arguments that are files of the original.
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING

from slimmer.names import one_line, printable
from slimmer.proof.faults import Verdict, counted

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from slimmer.analysis.facts import Facts
    from slimmer.image import Config
    from slimmer.proof.losses import Losses
    from slimmer.proof.tree import Tree

DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
"""Where engines look when the image does not say."""
SCRIPT = 1 << 20
"""A larger file is no script."""
FIRST_LINE = 256
"""Bytes of a script in which the kernel looks for its interpreter (execve(2))."""
DEPTH = 5
"""Programs that start one another, at most."""
SHELLS = ("sh", "bash", "dash", "ash", "zsh")
STARTERS = {"tini": 0, "dumb-init": 0, "catatonit": 0, "docker-init": 0, "env": 0, "exec": 0}
STARTERS |= {"nohup": 0, "nice": 0, "setsid": 0, "gosu": 1, "su-exec": 1}
"""Programs that start the one that they are given → words that stand before it."""
BUILTINS = frozenset(
    (
        *(
            ".",
            ":",
            "[",
            "[[",
            "]]",
            "!",
            "{",
            "}",
            "alias",
            "bg",
            "break",
            "case",
            "cd",
            "command",
        ),
        *("continue", "do", "done", "echo", "elif", "else", "esac", "eval", "exec", "exit"),
        *("export", "false", "fg", "fi", "for", "function", "getopts", "hash", "if", "in", "jobs"),
        *("kill", "let", "local", "printf", "pwd", "read", "readonly", "return", "set", "shift"),
        *("source", "test", "then", "time", "times", "trap", "true", "type", "ulimit", "umask"),
        *("unalias", "unset", "until", "wait", "while"),
    )
)
"""Words of a shell that are no programs."""
PUNCTUATION = frozenset(";&|()")
OPERATORS = frozenset(("then", "do", "else", "!", "{", "exec"))
"""Words behind which a command begins, beside those of punctuation."""


@dataclass(frozen=True, slots=True)
class _Side:
    """One image, and how to look for what it starts."""

    tree: Tree
    facts: Facts

    @property
    def config(self) -> Config:
        return self.facts.index.image.config

    def started(self) -> Iterator[tuple[str, Sequence[str]]]:
        """What the config starts: what it is called, and its words."""
        config = self.config
        words = (*config.entrypoint, *config.command)
        if words:
            yield one_line(" ".join(words))[:120], words
        kind, *check = config.healthcheck or ("NONE",)
        if kind == "CMD" and check:
            yield "the HEALTHCHECK", check
        elif kind == "CMD-SHELL" and check:
            yield "the HEALTHCHECK", ("/bin/sh", "-c", *check)

    def place(self, word: str) -> bytes:
        """A path as the image's own start means it."""
        raw = word.encode("utf-8", "surrogateescape")
        if not raw.startswith(b"/"):
            raw = self.config.working_directory.encode() + b"/" + raw
        return raw

    def path(self, word: str) -> bytes | None:
        """The file that an argument means."""
        return self.tree.real(self.place(word))

    def there(self, path: bytes) -> bool:
        real = self.tree.real(path)
        return real is not None and real in self.tree.members

    def find(self, word: str) -> tuple[bytes | None, str]:
        """The file that a word starts, or why it starts none."""
        if "/" in word:
            return self.runnable(self.place(word), printable(word))
        path = dict(self.config.environment).get("PATH") or DEFAULT_PATH
        why = f"there is no {printable(word)} on PATH"
        for folder in path.split(":"):
            found, said = self.runnable(self.place(f"{folder}/{word}"), f"{folder}/{word}")
            if found is not None:
                return found, ""
            if not said.startswith("there is no"):
                why = said
        return None, why

    def runnable(self, path: bytes, shown: str) -> tuple[bytes | None, str]:
        real = self.tree.real(path)
        member = None if real is None else self.tree.members.get(real)
        if real is None or member is None:
            return None, f"there is no {shown}"
        if member.kind not in ("file", "hardlink"):
            return None, f"{shown} is no program but a {member.kind}"
        if not member.mode & 0o111:
            return None, f"{shown} may not be run: its mode is {member.mode:04o}"
        return real, ""

    def first_line(self, path: bytes) -> str:
        """What a script says of its interpreter; empty for other programs."""
        member = self.tree.members[path]
        if member.size > SCRIPT or path not in self.facts.index.visible:
            return ""
        for _, read in self.facts.readers([path]):
            start = read(0, FIRST_LINE)
            if start.startswith(b"#!"):
                return start[2:].partition(b"\n")[0].decode("utf-8", "surrogateescape").strip()
        return ""

    def problems(self, words: Sequence[str], depth: int = 0) -> Iterator[tuple[str, str]]:
        """What is looked for, and why it cannot be started; nothing where it can."""
        word, *rest = words
        found, why = self.find(word)
        yield word, why
        if found is None or depth > DEPTH:
            return
        line = self.first_line(found).split(None, 1)
        if line:
            further = line[1].split() if line[0].endswith("/env") and len(line) > 1 else []
            named = [one for one in further if not one.startswith("-") and "=" not in one][:1]
            yield from self.problems([line[0], *named], depth + 1)
        name = word.rpartition("/")[2]
        if name in SHELLS and "-c" in rest[:-1]:
            for one in commands(rest[rest.index("-c") + 1]):
                yield from self.problems(one, depth + 1)
        elif name in STARTERS:
            skipped = STARTERS[name]
            named = [one for one in rest if not one.startswith("-") and "=" not in one]
            if named[skipped:]:
                begin = rest.index(named[skipped])
                yield from self.problems(rest[begin:], depth + 1)

    def files(self, words: Sequence[str]) -> Iterator[str]:
        """Arguments that are files of this image."""
        for word in words[1:]:
            if word and not word.startswith("-") and "\0" not in word:
                path = self.path(word)
                if path and path in self.tree.members:
                    yield word


def commands(script: str) -> list[list[str]]:
    """The simple commands of a shell script whose first words are programs by name.

    Words that a shell puts together (`$x`, globs) are left out: nobody knows what they come to.
    """
    lexer = shlex.shlex(script.replace("\n", " ; "), posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    try:
        words = list(lexer)
    except ValueError:
        return []
    found: list[list[str]] = []
    begins = True
    for word in words:
        if word in OPERATORS or set(word) <= PUNCTUATION:
            begins = True
        elif begins and re.match(r"\w+\+?=", word):
            continue
        elif begins:
            begins = False
            plain = not set(word) & set("$`*?<>{}~\"'\\") and word not in BUILTINS
            found.append([word] if plain else [])
        elif found and found[-1]:
            found[-1].append(word)
    return [one for one in found if one]


def compare(before: Facts, after: Facts, original: Tree, result: Tree, losses: Losses) -> Verdict:
    """What the original could start the result can start too."""
    one, two = _Side(original, before), _Side(result, after)
    well: set[str] = set()
    files: set[str] = set()
    for _, words in one.started():
        found = dict(one.problems(words))
        well |= {word for word, why in found.items() if not why}
        files |= set(one.files(words))
    faults = []
    notes = []
    count = 0
    known = {word for _, words in one.started() for word, _ in one.problems(words)}
    for called, words in two.started():
        for word, why in dict(two.problems(words)).items():
            count += 1
            if not why:
                continue
            if word in well or word not in known:
                path = one.find(word)[0]
                faults.append(losses.fault("entry", called, why, path))
            else:
                notes.append(f"{called}: {why}, in the original neither")
        lost = [word for word in words[1:] if word in files and not two.there(two.place(word))]
        faults += [
            losses.fault("entry", called, f"there is no {printable(word)}", one.path(word))
            for word in lost
        ]
    return Verdict(tuple(faults), counted({"programs to start": count}), tuple(notes))
