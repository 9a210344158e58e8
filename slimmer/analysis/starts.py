"""What an image starts: the programs, files, modules and libraries that its start names.

Followed are the config (Entrypoint, Cmd, Healthcheck, Env, ONBUILD), the scripts that these start
and those that scripts start, and what services read by themselves: cron tables, units of systemd,
supervisor's programs, folders of runit and s6, `/etc/ld.so.preload`. Each is told with the place
that names it. Nothing of the image is run, and nothing is guessed from a word's sound: a program
is one that PATH leads to, a file is one that is there.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

from slimmer.analysis import shell
from slimmer.analysis.commands import modules_in, started
from slimmer.analysis.services import LINES, SERVICES, How, language, on_build
from slimmer.names import one_line, printable
from slimmer.tar.reading import FILE, HARDLINK

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from slimmer.image import Read
    from slimmer.index import Index

    Readers = Callable[[Iterable[bytes]], Iterator[tuple[bytes, Read]]]

SCRIPT_LIMIT = 256 << 10
"""Bytes of a script that are read; what is longer carries an archive behind it."""
SCRIPTS = 400
"""Most scripts that are followed."""
COMMANDS = 20_000
"""Most commands that are looked at, over all scripts."""
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
"""What engines set where the image says nothing."""
_WORDS = 8
"""Most texts that one word of a script is expanded to."""
_GLOBBED = 100
"""Most files that a pattern of a script is expanded to."""

_ABSOLUTE = re.compile(r"(?:\A|(?<=[\s=:,;@'\"(]))/[^\s=:,;'\"(){}<>|&$`*?\[\]\0]+").finditer
_MODULE = re.compile(r"[^\W\d]\w*(?:(?:\.[^\W\d]\w*)+(?::[\w.]+)?|:[^\W\d]\w*)\Z").match
_PRELOADS = ("LD_PRELOAD", "LD_AUDIT")
_PROGRAM_VARIABLES = frozenset(
    (
        *("CC", "CXX", "CPP", "LD", "AR", "AS", "NM", "RANLIB", "STRIP", "OBJCOPY", "FC", "F77"),
        *("CUDAHOSTCXX", "SHELL", "EDITOR", "VISUAL", "PAGER", "BROWSER", "MAKE", "RUSTC"),
        *("CARGO", "PYTHON", "NODE", "JAVA", "PKG_CONFIG", "CMAKE"),
    )
)
_COMMAND_VARIABLE = re.compile(r"(?:.*_)?(?:CMD|COMMAND|EXEC|TOOL|PROGRAM)\Z").match
"""Names of variables that hold a command line, in whatever program reads them."""
_SCRIPT_VARIABLES = frozenset(("BASH_ENV", "ENV", "PROFILE"))
_ASSIGNING = frozenset(("export", "readonly", "local", "declare", "typeset"))


_HANDLES = frozenset(("rm", "rmdir", "mkdir", "chown", "chgrp", "chmod", "touch", "unlink"))


class Named(NamedTuple):
    """What names something, and what starts that."""

    name: str
    """As it is written."""
    place: str
    """Where: `Cmd`, `Env LD_PRELOAD`, `/entrypoint.sh:2`."""
    verb: str
    origin: str = ""
    """The beginning of the chain, where that is not the place itself."""

    def __str__(self) -> str:
        end = f", which {self.origin} starts" if self.origin else ""
        return f"{one_line(self.place)} {self.verb} {one_line(self.name):.120}{end}"


@dataclass(frozen=True, slots=True)
class Starts:
    """What the start of an image names, each with the first place that does."""

    programs: Mapping[bytes, Named]
    """Paths of programs that are started, and of the symlinks on the way to them."""
    files: Mapping[bytes, Named]
    """Paths, folders among them, that a command, a script or the environment names whole."""
    modules: Mapping[str, Named]
    """Dotted names, `module:attribute` without the attribute, that may be Python modules."""
    libraries: Mapping[bytes, Named]
    """Libraries that are loaded into every program."""
    scripts: Mapping[bytes, Named]
    """Scripts that were followed."""
    commands: tuple[tuple[tuple[str, ...], Named], ...]
    """The command lines that were looked at, in the order in which they were found."""
    path: tuple[bytes, ...]
    """The folders in which programs are looked for."""

    @classmethod
    def of(cls, index: Index, readers: Readers) -> Starts:
        """Follow what the config names: some small reads."""
        search = _Search(index)
        search.configuration()
        search.services()
        while todo := search.todo():
            for path, read in readers(todo):
                search.script(path, read(0, SCRIPT_LIMIT))
        return cls(
            search.programs,
            search.files,
            search.modules,
            search.libraries,
            search.scripts,
            tuple(search.commands),
            tuple(search.path),
        )


class _Scene(NamedTuple):
    """Where words stand, and what they mean there."""

    place: str
    origin: str
    folders: tuple[bytes, ...]
    """Where relative names may begin."""
    values: Mapping[str, Sequence[shell.Word]] = {}


class _Search:
    """Follows one name to the next; whatever is found first is what is told."""

    def __init__(self, index: Index) -> None:
        self._index = index
        config = index.image.config
        self._environment = dict(config.environment)
        told = self._environment.get("PATH") or _PATH
        self.path = [self._real(folder) for folder in told.split(":") if folder.startswith("/")]
        self._home = (self._real(config.working_directory or "/"),)
        self.programs: dict[bytes, Named] = {}
        self.files: dict[bytes, Named] = {}
        self.modules: dict[str, Named] = {}
        self.libraries: dict[bytes, Named] = {}
        self.scripts: dict[bytes, Named] = {}
        self.commands: list[tuple[tuple[str, ...], Named]] = []
        self._how: dict[bytes, How] = {}
        self._todo: list[bytes] = []
        self._left = COMMANDS
        self._texts: set[tuple[str, str]] = set()

    # Places

    def configuration(self) -> None:
        """What the config says of itself (OCI `config.md`; Docker's Healthcheck, OnBuild)."""
        config = self._index.image.config
        whole = [*config.entrypoint, *config.command]
        first = "Entrypoint" if config.entrypoint else "Cmd"
        self._words(whole, self._scene(first))
        if config.entrypoint and config.command:
            self._words(config.command, self._scene("Cmd"))
        match config.healthcheck:
            case ("CMD", *words):
                self._words(words, self._scene("Healthcheck"))
            case ("CMD-SHELL", text, *_):
                self._text(text, self._scene("Healthcheck"))
        for text in on_build(config.raw):
            self._text(text, self._scene("OnBuild"))
        for name, value in config.environment:
            self._variable(name, value)

    def _variable(self, name: str, value: str) -> None:
        scene = self._scene(f"Env {name}")
        if name in _PRELOADS:
            for word in re.split(r"[ :]+", value):
                self._library(word, scene)
        if name in _PROGRAM_VARIABLES and value.split():
            self._program(value.split()[0], scene)
        elif _COMMAND_VARIABLE(name):
            self._text(value, scene)
        if name in _SCRIPT_VARIABLES:
            self._follow(value, scene, "shell")
        if name != "PATH":
            self._paths(value, scene)
        for word in re.split(r"[\s,;]+", value)[:50]:
            if _MODULE(word):
                self._module(word, scene)

    def services(self) -> None:
        """What services of the image read without being told."""
        wanted = {service[0]: service for service in SERVICES}
        for path, header in self._index.visible.items():
            if header.kind is not FILE and header.kind is not HARDLINK:
                continue
            if not path.startswith((b"etc/", b"var/spool/", b"usr/lib/sy", b"lib/sy", b"docker-")):
                continue
            if path == b"etc/ld.so.preload":
                self._later(path, self._scene("the loader"), "any")
                continue
            for folder in _around(path):
                if folder in wanted:
                    _, ending, how, readers = wanted[folder]
                    there = not readers or any(map(self._which, readers))
                    if there and path.endswith(ending.encode()):
                        self._later(path, self._scene(printable("/" + folder.decode())), how)
                    break

    def todo(self) -> list[bytes]:
        found, self._todo = self._todo, []
        return sorted(found)

    # Scripts

    def script(self, path: bytes, content: bytes) -> None:
        """Look through a script that something starts."""
        text = content.decode("utf-8", "surrogateescape")
        named = self.scripts[path]
        name = "/" + path.decode("utf-8", "surrogateescape")
        origin = named.origin or named.place
        here = path[: max(path.rfind(b"/"), 0)]
        scene = _Scene(name, origin, (*self._home, here))
        how = self._how[path]
        if path == b"etc/ld.so.preload":
            for word in re.split(r"[\s:]+", re.sub(r"#[^\n]*", "", text)):
                self._library(word, scene._replace(origin=""))
            return
        if how == "any":
            how = language(text, path)
        if text.startswith("#!"):
            self._interpreter(text, scene)
        if how == "shell":
            self._shell(text, scene)
        elif how == "python":
            for module in islice(modules_in(text), 500):
                self._module(module, scene, "imports")
        elif how in LINES:
            for line, command in islice(LINES[how](text), 2000):
                self._text(command, scene._replace(place=f"{name}:{line}"))

    def _interpreter(self, text: str, scene: _Scene) -> None:
        words = text[2:256].partition("\n")[0].split()
        if words:
            self._words(words, scene._replace(place=scene.place + ":1"))

    def _shell(self, text: str, scene: _Scene, lines: bool = True) -> None:
        script = shell.parse(text)
        values = dict(script.values)
        for command in script.commands:
            if command.words[0] == ("cd",):
                more = [self._real(text) for text in self._expanded(command.words[-1], scene)]
                scene = scene._replace(folders=(*scene.folders, *more)[:8])
            elif command.words[0][0] in _ASSIGNING:
                for word in command.words[1:]:
                    name, equals, rest = str(word[0]).partition("=")
                    if equals:
                        values.setdefault(name, ())
                        values[name] = (*values[name], (rest, *word[1:]))
        scene = scene._replace(values=values)
        for word in values.get("PATH", ()):
            for expanded in self._expanded(word, scene):
                folders = [self._real(one) for one in expanded.split(":") if one.startswith("/")]
                self.path += [one for one in folders[:20] if one not in self.path]
        for command in script.commands:
            self._left -= 1
            if self._left < 0:
                return
            here = scene
            if lines:
                here = scene._replace(place=f"{scene.place}:{command.line}")
            texts = [self._expanded(word, here) for word in command.words]
            for number in range(min(max(map(len, texts)), _GLOBBED)):
                self._words([one[min(number, len(one) - 1)] for one in texts], here)
            for word in command.files:
                for expanded in self._expanded(word, here):
                    self._paths(expanded, here)
        for words in values.values():
            for word in words:
                for expanded in self._expanded(word, scene):
                    self._paths(expanded, scene)

    def _expanded(self, word: shell.Word, scene: _Scene, depth: int = 3) -> list[str]:
        """The texts that a word may become, with what nobody can tell left out of them."""
        found = [""]
        for part in word:
            choices = [part] if isinstance(part, str) else self._value(part, scene, depth)
            found = [before + choice for before in found for choice in choices][:_WORDS]
        # `$(dirname "$0")/x` begins where the script lies.
        around = [folder.decode("utf-8", "surrogateescape") for folder in scene.folders]
        for text in list(found):
            if text.startswith(shell.UNKNOWN + "/"):
                found += [f"/{folder}{text[1:]}" for folder in around]
        return [one for text in found for one in self._globbed(text)] or [""]

    def _value(self, part: shell.Variable, scene: _Scene, depth: int) -> list[str]:
        told: list[str] = []
        if depth:
            for word in scene.values.get(part.name, ())[-4:]:
                told += self._expanded(word, scene, depth - 1)
        if part.name in self._environment:
            told.append(self._environment[part.name])
        if part.default:
            told.append(part.default)
        return told or [shell.UNKNOWN]

    def _globbed(self, text: str) -> list[str]:
        """A pattern as a shell replaces it: by the names that fit, else by itself."""
        folder, _, last = text.rpartition("/")
        if not text.startswith("/") or not set(last) & set("*?[") or set(folder) & set("*?["):
            return [text]
        fits = re.compile(_pattern(last)).fullmatch
        around = self._real(folder)
        names = [name for name in self._children.get(around, ()) if fits(name)]
        prefix = "/" + around.decode("utf-8", "surrogateescape") + "/"
        return [text, *(prefix + name for name in names[:_GLOBBED])]

    @cached_property
    def _children(self) -> Mapping[bytes, list[str]]:
        listed: dict[bytes, list[str]] = {}
        for path in sorted(self._index.visible):
            folder, _, name = path.rpartition(b"/")
            text = name.decode("utf-8", "surrogateescape")
            listed.setdefault(folder, []).append(text)
        return listed

    # Words

    def _words(self, words: Sequence[str], scene: _Scene) -> None:
        """A command line."""
        words = [word for word in words if word]
        if words and len(self.commands) < COMMANDS:
            self.commands.append((tuple(words), self._named(words[0], scene, "calls")))
        for kind, word in islice(started(words, self._known), 200):
            if kind == "program":
                self._program(word, scene)
            elif kind == "text":
                self._text(word, scene)
            elif kind == "module":
                self._module(word, scene)
            elif kind == "code":
                for module in islice(modules_in(word), 100):
                    self._module(module, scene)
            elif kind == "node":
                self._follow("package.json", scene, "node")
            elif kind == "file":
                self._follow(word, scene, "any")
            else:
                self._follow(word, scene, kind)
        if not _only_handles(words):
            for word in words[1:500]:
                self._paths(word, scene)

    def _text(self, text: str, scene: _Scene) -> None:
        if (scene.place, text) not in self._texts and len(self._texts) < COMMANDS:
            self._texts.add((scene.place, text))
            self._shell(text[:SCRIPT_LIMIT], scene, lines=False)

    def _known(self, word: str) -> bool:
        return self._which(word) is not None

    def _which(self, word: str, folders: Sequence[bytes] = ()) -> bytes | None:
        """The path of a program, not resolved."""
        raw = word.encode("utf-8", "surrogateescape")
        if not raw or b"\0" in raw or len(raw) > 4096:
            return None
        if raw.startswith(b"/"):
            candidates = [self._placed(raw)]
        elif b"/" in raw:
            candidates = [self._placed(folder + b"/" + raw) for folder in folders or self._home]
        else:
            candidates = [folder + b"/" + raw for folder in self.path]
        for candidate in candidates:
            header = self._index.visible.get(self._index.resolve(candidate))
            if header is not None and header.kind in (FILE, HARDLINK):
                return candidate
        return None

    def _program(self, word: str, scene: _Scene) -> None:
        path = self._which(word, scene.folders)
        if path is None:
            return
        named = self._named(word, scene, "starts")
        for way in self._ways(path):
            self.programs.setdefault(way, named)
        self._later(self._index.resolve(path), scene, "any")

    def _library(self, word: str, scene: _Scene) -> None:
        if not word or "\0" in word:
            return
        raw = word.encode("utf-8", "surrogateescape")
        named = self._named(word, scene, "loads into every program")
        if b"/" in raw:
            for way in self._ways(self._placed(raw)):
                self.libraries.setdefault(way, named)
            return
        for path in self._index.visible:
            if path.endswith(b"/" + raw):
                for way in self._ways(path):
                    self.libraries.setdefault(way, named)

    def _module(self, word: str, scene: _Scene, verb: str = "names") -> None:
        name = word.partition(":")[0]
        self.modules.setdefault(name, self._named(word, scene, verb))

    def _paths(self, text: str, scene: _Scene) -> None:
        """Every path in a word that the image has."""
        for match in islice(_ABSOLUTE(text), 50):
            self._file(match[0], scene)
        if text and not text.startswith("/") and len(text) < 1000 and "\0" not in text:
            for folder in scene.folders:
                around = folder.decode("utf-8", "surrogateescape")
                self._file(f"/{around}/{text}" if around else f"/{text}", scene)

    def _file(self, text: str, scene: _Scene) -> None:
        path = self._placed(text.encode("utf-8", "surrogateescape"))
        if path in self._index.visible and path.count(b"/"):
            named = self._named(text, scene, "names")
            for way in self._ways(path):
                self.files.setdefault(way, named)

    def _follow(self, word: str, scene: _Scene, how: How) -> None:
        """Read a file as a script of a kind, where it is one of the image's."""
        raw = word.encode("utf-8", "surrogateescape")
        if not raw or b"\0" in raw:
            return
        places = [raw] if raw.startswith(b"/") else [f + b"/" + raw for f in scene.folders]
        for place in places:
            path = self._index.resolve(place)
            if path in self._index.visible:
                self._file(place.decode("utf-8", "surrogateescape"), scene)
                self._later(path, scene, how)
                return

    def _later(self, path: bytes, scene: _Scene, how: How) -> None:
        header = self._index.visible.get(path)
        if header is None or header.kind not in (FILE, HARDLINK):
            return
        if path in self.scripts:
            if how != "any" and self._how[path] == "any" and path in self._todo:
                self._how[path] = how
            return
        if len(self.scripts) < SCRIPTS:
            name = "/" + path.decode("utf-8", "surrogateescape")
            self.scripts[path] = self._named(name, scene, "starts")
            self._how[path] = how
            self._todo.append(path)

    def _named(self, word: str, scene: _Scene, verb: str) -> Named:
        return Named(word, scene.place, verb, scene.origin)

    def _scene(self, place: str) -> _Scene:
        return _Scene(place, "", self._home)

    def _ways(self, path: bytes) -> Iterator[bytes]:
        """A path, every symlink on the way to what it leads to, and that."""
        index = self._index
        for _ in range(40):
            yield path
            target = index.link(path)
            if target is None:
                return
            folder = path[: max(path.rfind(b"/"), 0)]
            path = self._placed(target if target.startswith(b"/") else folder + b"/" + target)

    def _placed(self, raw: bytes) -> bytes:
        """A path whose folders are real ones; its last name is not followed."""
        folder, _, name = raw.rstrip(b"/").rpartition(b"/")
        if name in (b"", b".", b".."):
            return self._index.resolve(raw)
        real = self._index.resolve(folder)
        return real + b"/" + name if real else name

    def _real(self, folder: str) -> bytes:
        return self._index.resolve(folder.encode("utf-8", "surrogateescape"))


def _only_handles(words: Sequence[str]) -> bool:
    """Whether a command makes, owns or deletes what it names, and reads nothing of it."""
    return bool(words) and words[0].rpartition("/")[2] in _HANDLES


def _around(path: bytes) -> Iterator[bytes]:
    """A path and every folder around it, the nearest first."""
    while path:
        yield path
        path = path[: max(path.rfind(b"/"), 0)]


def _pattern(name: str) -> str:
    """A shell's pattern for one name as a regular expression."""
    parts = re.split(r"(\*+|\?|\[[^\]/]+\])", name)
    made = [
        ".*"
        if part.startswith("*")
        else "."
        if part in ("?",) or part[:1] == "["
        else re.escape(part)
        for part in parts
    ]
    return "(?s:" + "".join(made) + ")"
