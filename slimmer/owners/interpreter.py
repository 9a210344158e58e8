"""Python interpreters and their standard libraries, wherever they were installed to.

Found by `os.py`, as the interpreter itself finds its standard library (PEP 421, `getpath.py`).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from slimmer.attribution import UNOWNED, Claim, Owner
from slimmer.owners.places import text

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from slimmer.index import Index

_LIBRARY = re.compile(
    rb"(?P<prefix>(?:.*/)?)(?P<lib>lib(?:32|64)?)/(?P<name>(?P<kind>python|pypy)"
    rb"(?P<minor>[23]\.\d+)t?)/os\.pyc?\Z",
    re.DOTALL,
).match
_HEADER = re.compile(rb'#define[ \t]+PY_VERSION[ \t]+"([0-9][^"\s]{0,30})"').search
_VENV = re.compile(rb"^version(?:_info)?[ \t]*=[ \t]*(\d+\.\d+\.\d+)", re.MULTILINE).search
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
        if not libraries:
            yield from _environments(index, {})
            return
        versions: dict[bytes, str] = {}
        for match in libraries:
            prefix, name, minor = match["prefix"], match["name"], match["minor"]
            library = prefix + match["lib"] + b"/" + name
            version = _version(index, prefix, name, minor)
            versions[prefix + b"bin"] = version
            owner = Owner("pypy" if match["kind"] == b"pypy" else "python", "", version)
            evidence = f"the standard library in {text(library)}"
            site = library + b"/site-packages"
            whole = prefix not in _SHARED and not any(
                path.startswith(prefix + b"conda-meta/") for path in index.evidence
            )
            yield Claim(
                owner,
                evidence,
                [site + b"/README.txt", *_beside(index, prefix, match["lib"], minor)],
                (library, prefix + b"include/" + name, *([prefix[:-1]] if whole else [])),
            )
            yield Claim(UNOWNED, "no distribution's record names it", trees=(site,))
        yield from _environments(index, versions)


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


def _beside(index: Index, prefix: bytes, lib: bytes, minor: bytes) -> list[bytes]:
    """The interpreter's files in folders that it shares with other programs."""
    dotted = re.escape(minor)
    major = re.escape(minor[:1])
    belongs = re.compile(
        re.escape(prefix)
        + rb"(?:bin/(?:python|pydoc|idle|2to3|pyvenv)-?(?:%(major)s|%(dotted)s)?t?"
        rb"(?:-config|-gdb\.py)?"
        rb"|%(lib)s/libpython(?:%(dotted)s|%(major)s)t?\.(?:so|a)[^/]*"
        rb"|%(lib)s/pkgconfig/python-?(?:%(major)s|%(dotted)s)t?(?:-embed)?\.pc"
        rb"|share/man/man1/python(?:%(major)s|%(dotted)s)?\.1(?:\.gz)?)\Z"
        % {b"major": major, b"dotted": dotted, b"lib": re.escape(lib)}
    ).match
    parts = (prefix + b"bin/", prefix + lib + b"/", prefix + b"share/man/man1/py")
    return [path for path in index.visible if path.startswith(parts) and belongs(path)]


def _environments(index: Index, versions: dict[bytes, str]) -> Iterator[Claim]:
    """What `venv` puts into an environment beside the distributions (PEP 405)."""
    for path, content in index.evidence.items():
        folder, _, name = path.rpartition(b"/")
        if name != b"pyvenv.cfg":
            continue
        version = _VENV(content)
        home = re.search(rb"^home[ \t]*=[ \t]*([^\r\n]+)", content, re.MULTILINE)
        exact = versions.get(index.resolve(home[1].strip()), "") if home else ""
        prefix = folder + b"/" if folder else b""
        starts = tuple(
            prefix + b"bin/" + start
            for start in (b"activate", b"Activate.ps1", b"deactivate", b"python", b"pydoc.bat")
        )
        files = [path for path in index.visible if path.startswith(starts)]
        files += [path, prefix + b".gitignore", prefix + b".lock", prefix + b"CACHEDIR.TAG"]
        yield Claim(
            Owner("python", "", exact or (text(version[1]) if version else "")), text(path), files
        )
