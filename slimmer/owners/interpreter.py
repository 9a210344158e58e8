"""Python interpreters and their standard libraries, wherever they were installed to.

Found by `os.py`, as the interpreter itself finds its standard library (PEP 421, `getpath.py`).
"""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from slimmer.attribution import UNOWNED, Claim, Owner
from slimmer.owners.paths import text

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from slimmer.index import Index

_LIBRARY = re.compile(
    rb"(?P<prefix>(?:.*/)?)(?P<lib>lib(?:32|64)?)/(?P<name>(?P<kind>python|pypy)"
    rb"(?P<minor>[23]\.\d+)t?)/os\.pyc?\Z",
    re.DOTALL,
).match
_HEADER = re.compile(rb'#define[ \t]+PY_VERSION[ \t]+"([0-9][^"\s]{0,30})"').search
_VENV = re.compile(rb"^version(?:_info)?[ \t]*=[ \t]*(\d+\.\d+\.\d+)", re.MULTILINE).search
_HOME = re.compile(rb"^home[ \t]*=[ \t]*([^\r\n]+)", re.MULTILINE).search
_IN_PATH = re.compile(rb"(?:^|[/\-@])(\d+\.\d+\.\d+(?:(?:a|b|rc)\d+)?)(?=[-+/]|\Z)").findall
_SHARED = frozenset((b"", b"usr/", b"usr/local/", b"opt/", b"opt/local/"))
"""Prefixes that an interpreter shares with other programs."""


@dataclass(frozen=True, slots=True)
class Interpreter:
    """Claims the standard library as a tree, and the interpreter's other files by their names."""

    globs: Sequence[tuple[str, int]] = (
        ("**/python3.*/patchlevel.h", 1 << 13),
        ("**/pyvenv.cfg", 1 << 12),
    )

    def claims(self, index: Index) -> Iterator[Claim]:
        libraries = [
            match
            for path in index.visible
            if path.endswith((b"/os.py", b"/os.pyc")) and (match := _LIBRARY(path))
        ]
        environments = {
            path.removesuffix(b"pyvenv.cfg"): content
            for path, content in index.evidence.items()
            if path.rpartition(b"/")[2] == b"pyvenv.cfg"
        }
        inside = _inside(
            index,
            {
                prefix + folder
                for prefix, lib in {(match["prefix"], match["lib"]) for match in libraries}
                for folder in (b"bin", lib, lib + b"/pkgconfig", b"share/man/man1")
            }
            | {prefix + b"bin" for prefix in environments},
        )
        conda = {
            path[: path.rfind(b"conda-meta/")] for path in index.evidence if b"conda-meta/" in path
        }
        versions: dict[bytes, str] = {}
        for match in libraries:
            prefix, name, minor = match["prefix"], match["name"], match["minor"]
            library = prefix + match["lib"] + b"/" + name
            version = _version(index, prefix, name, minor)
            versions[prefix + b"bin"] = version
            owner = Owner("pypy" if match["kind"] == b"pypy" else "python", "", version)
            site = library + b"/site-packages"
            trees = [library, prefix + b"include/" + name]
            if prefix not in _SHARED and prefix not in conda:
                trees.append(prefix[:-1])
            files = _beside(inside, prefix, match["lib"], minor)
            evidence = f"the standard library in {text(library)}"
            yield Claim(owner, evidence, [site + b"/README.txt", *files], trees)
            yield Claim(UNOWNED, "no distribution's record names it", trees=(site,))
        for prefix, content in environments.items():
            yield _environment(index, prefix, content, inside[prefix + b"bin"], versions)


def _inside(index: Index, folders: set[bytes]) -> defaultdict[bytes, list[bytes]]:
    """What lies directly in each of these folders."""
    inside: defaultdict[bytes, list[bytes]] = defaultdict(list)
    if folders:
        for path in index.visible:
            folder = path[: max(path.rfind(b"/"), 0)]
            if folder in folders:
                inside[folder].append(path)
    return inside


def _version(index: Index, prefix: bytes, name: bytes, minor: bytes) -> str:
    """The exact version where something tells it, else the minor one."""
    header = _HEADER(index.evidence.get(prefix + b"include/" + name + b"/patchlevel.h", b""))
    told = [header[1]] if header else _IN_PATH(prefix.rstrip(b"/"))
    told += [
        value.encode()
        for key, value in index.image.config.environment
        # as the official images say it; right for their interpreter alone
        if key == "PYTHON_VERSION" and prefix == b"usr/local/"
    ]
    for version in told:
        if version == minor or version.startswith((minor + b".", minor + b"+")):
            return text(version.rstrip(b"+"))
    return text(minor)


def _beside(
    inside: Mapping[bytes, list[bytes]], prefix: bytes, lib: bytes, minor: bytes
) -> list[bytes]:
    """The interpreter's files in folders that it shares with other programs."""
    version = rb"(?:%s|%s)?t?" % (re.escape(minor[:1]), re.escape(minor))
    belongs = re.compile(
        rb"(?:python|pydoc|idle|2to3|pyvenv)-?%(version)s(?:-config|-gdb\.py)?"
        rb"|libpython%(version)s\.(?:so|a)[^/]*"
        rb"|python-?%(version)s(?:-embed)?\.pc"
        rb"|python%(version)s\.1(?:\.gz)?" % {b"version": version}
    ).fullmatch
    return [
        path
        for folder in (b"bin", lib, lib + b"/pkgconfig", b"share/man/man1")
        for path in inside.get(prefix + folder, ())
        if belongs(path[path.rfind(b"/") + 1 :])
    ]


def _environment(
    index: Index,
    prefix: bytes,
    content: bytes,
    scripts: list[bytes],
    versions: Mapping[bytes, str],
) -> Claim:
    """What `venv` puts into an environment beside the distributions (PEP 405)."""
    told = _VENV(content)
    home = _HOME(content)
    exact = versions.get(index.resolve(home[1].strip())) if home else None
    starts = tuple(
        prefix + b"bin/" + start
        for start in (b"activate", b"Activate.ps1", b"deactivate", b"python", b"pydoc.bat")
    )
    beside = (b"pyvenv.cfg", b".gitignore", b".lock", b"CACHEDIR.TAG")
    return Claim(
        Owner("python", "", exact or (text(told[1]) if told else "")),
        text(prefix + b"pyvenv.cfg"),
        [path for path in scripts if path.startswith(starts)] + [prefix + name for name in beside],
    )
