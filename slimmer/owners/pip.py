"""Python distributions, from the records that installers leave.

Sources: the recording-installed-projects, core-metadata and direct-url specifications of the
PyPA; for what is older, setuptools' documents of `.egg-info`, `.egg-link` and `.egg`.
"""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from packaging.utils import canonicalize_name

from slimmer.attribution import Claim, Owner
from slimmer.ecosystems.python import record_names, recorded_path
from slimmer.files import join
from slimmer.owners.paths import SHARED, RealPaths, text
from slimmer.tar.reading import SYMLINK

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from slimmer.index import Index

_METADATA_LIMIT = 1 << 18
"""A long description ends METADATA; what counts stands at its beginning."""

_FIELDS = re.compile(
    rb"^(Name|Version|Requires-Dist|Provides-Extra):[ \t]*([^\r\n]*)", re.MULTILINE | re.IGNORECASE
).findall
_CONDA_FOLDERS = re.compile(rb"\"([^\"]*site-packages/[^/\"]+\.(?:dist|egg)-info)").findall
_INNER_METADATA = re.compile(
    rb"^\"?([^\r\n]*(?:\.dist-info|\.egg-info|EGG-INFO))/(?:RECORD|METADATA|PKG-INFO)\b",
    re.MULTILINE,
).findall
_NOT_INSTALLED = re.compile(
    # Vendored copies belong to the distribution around them, unpacked wheels to a cache.
    rb"(?:^|/)(?:_vendor|_vendored|vendored|_vendored_packages|archive-v\d+)(?:/|\Z)"
).search


@dataclass(frozen=True, slots=True)
class Pip:
    """Claims what each installed distribution recorded, wherever it was installed to."""

    globs: Sequence[tuple[str, int]] = (
        ("**/*.dist-info/RECORD", 64 << 20),
        ("**/*.dist-info/METADATA", _METADATA_LIMIT),
        ("**/*.dist-info/INSTALLER", 64),
        ("**/*.dist-info/direct_url.json", 1 << 16),
        ("**/*.dist-info/top_level.txt", 1 << 16),
        ("**/*.egg-info/PKG-INFO", _METADATA_LIMIT),
        ("**/*.egg-info/requires.txt", 1 << 16),
        ("**/*.egg-info/top_level.txt", 1 << 16),
        ("**/*.egg-info/installed-files.txt", 16 << 20),
        ("**/EGG-INFO/PKG-INFO", _METADATA_LIMIT),
        ("**/EGG-INFO/requires.txt", 1 << 16),
        ("**/*-packages/*.egg-info", _METADATA_LIMIT),
        ("**/*.egg-link", 1 << 12),
    )

    def claims(self, index: Index) -> Iterator[Claim]:
        found = _records(index)
        vendored = _vendored(found)
        by_conda = _told_by_conda(index)
        links = _links_below(
            index, {folder.rpartition(b"/")[0] for folder in found.keys() - vendored}
        )
        places = RealPaths(index)
        recorded: list[tuple[bytes, _Notes, list[bytes], set[bytes]]] = []
        for folder, notes in found.items():
            site, _, name = folder.rpartition(b"/")
            if folder in vendored or _NOT_INSTALLED(site):
                continue
            if folder in by_conda:
                # conda's own record names these files: the same installation, told twice.
                yield _claim(folder, notes, (), (folder,))
            elif b"RECORD" in notes:
                files, tops = _recorded(site, notes[b"RECORD"], index, places, site in links)
                recorded.append((folder, notes, files, tops))
            elif name == b"EGG-INFO":
                yield _claim(folder, notes, (), (folder, site))
            elif b"installed-files.txt" in notes:
                rows = notes[b"installed-files.txt"].split()
                files = places.shown([index.resolve(folder + b"/" + row) for row in rows])
                yield _claim(folder, notes, files, (folder,))
            elif site.endswith(b"-packages") or name.endswith(b".dist-info"):
                listed = notes.get(b"top_level.txt", b"").split()
                own = [join(site, top) for top in listed if b".." not in top]
                files = places.shown([path + end for path in own for end in (b".py", b".so")])
                trees = (folder, *own, *_source_tree(index, notes))
                yield _claim(folder, notes, files, trees)
        makers = Counter(top for *_, tops in recorded for top in tops)
        for folder, notes, files, tops in recorded:
            own = sorted(top for top in tops if makers[top] == 1)
            yield _claim(folder, notes, files, (folder, *own, *_source_tree(index, notes)))
        yield from _egg_links(index, found)


_Notes = dict[bytes, bytes]
"""What is known of one distribution: name of the metadata file → its content."""


def _records(index: Index) -> dict[bytes, _Notes]:
    """Every metadata folder (or file, as distutils wrote it) with what was read of it."""
    found: defaultdict[bytes, _Notes] = defaultdict(dict)
    for path, content in index.evidence.items():
        folder, _, name = path.rpartition(b"/")
        if folder.endswith((b".dist-info", b".egg-info", b"EGG-INFO")):
            found[folder][name] = content
        elif name.endswith(b".egg-info"):
            found[path][b"PKG-INFO"] = content
    return {
        folder: notes
        for folder, notes in found.items()
        if notes.keys() & {b"RECORD", b"METADATA", b"PKG-INFO"}
    }


def _claim(folder: bytes, notes: _Notes, files: Sequence[bytes], trees: Sequence[bytes]) -> Claim:
    metadata = notes.get(b"METADATA", notes.get(b"PKG-INFO", b""))
    end = re.search(rb"\r?\n\r?\n", metadata)
    fields = _FIELDS(metadata[: end.start()] if end else metadata)
    told = {key.lower(): value for key, value in reversed(fields)}
    stem = folder.rpartition(b"/")[2].rpartition(b".")[0]
    name, _, version = stem.partition(b"-")
    if stem.endswith(b".egg") or not stem:  # `foo-1.0-py3.11.egg/EGG-INFO`
        egg = folder.rpartition(b"/")[0].rpartition(b"/")[2].removesuffix(b".egg")
        name, _, version = egg.partition(b"-")
        version = version.partition(b"-")[0]
    requires = [text(value) for key, value in fields if key.lower() == b"requires-dist"]
    if not requires and b"requires.txt" in notes:
        requires = _requires_txt(notes[b"requires.txt"])
    evidence = next(
        (part for part in (b"RECORD", b"installed-files.txt", b"METADATA") if part in notes),
        b"PKG-INFO",
    )
    return Claim(
        Owner(
            "pip",
            canonicalize_name(text(told.get(b"name", name))),
            text(told.get(b"version", version)),
        ),
        text(folder + b"/" + evidence),
        files,
        trees,
        requires=tuple(requires),
        metadata=folder,
        provides=tuple([text(value) for key, value in fields if key.lower() == b"provides-extra"]),
    )


def _recorded(
    site: bytes, record: bytes, index: Index, places: RealPaths, linked: bool
) -> tuple[list[bytes], set[bytes]]:
    """The files that a RECORD names, and the folders at the top of its tree.

    50,000 rows of an ML image: one regular expression and one prefix each.
    """
    rows = record_names(record)
    outer: list[bytes] = []
    if b"../" in record or b"\n/" in record or record.startswith(b"/"):
        outer = [row for row in rows if row.startswith((b"../", b"/")) or b"/../" in row]
        away = set(outer)
        rows = [row for row in rows if row not in away]
    prefix = join(site, b"")
    files = [prefix + row for row in rows]
    if linked:
        files = places.shown(files)
    files += [recorded_path(site, row, index.visible, index.resolve) for row in outer]
    tops = {row[: row.find(b"/")] for row in rows if b"/" in row}
    return files, {
        prefix + top for top in tops if top != b"__pycache__" and not top.endswith(b"-info")
    }


def _vendored(found: Mapping[bytes, _Notes]) -> set[bytes]:
    """Metadata folders that another distribution names as its own.

    setuptools carries fifteen of them in `setuptools/_vendor`, and more in its tests.
    """
    vendored: set[bytes] = set()
    for folder, notes in found.items():
        record = notes.get(b"RECORD", b"")
        if record.count(b".dist-info/METADATA") > 1 or b"/PKG-INFO" in record:
            site = folder.rpartition(b"/")[0]
            inner = [inner for inner in _INNER_METADATA(record) if b"/" in inner]
            vendored.update([join(site, below) for below in inner if not below.startswith(b".")])
    return vendored


def _told_by_conda(index: Index) -> set[bytes]:
    """Metadata folders that a package of conda brought."""
    told: set[bytes] = set()
    for path, content in index.evidence.items():
        if path.endswith(b".json") and b"conda-meta/" in path:
            prefix = path[: path.rfind(b"conda-meta/")]
            told.update([prefix + folder for folder in set(_CONDA_FOLDERS(content))])
    return told


def _links_below(index: Index, sites: set[bytes]) -> set[bytes]:
    """Those of the folders below which a symlink lies, so that rows may lead through it."""
    links = [path for path, header in index.visible.items() if header.kind is SYMLINK]
    below: set[bytes] = set()
    for link in links:
        while b"/" in link:
            link = link[: link.rfind(b"/")]
            if link in sites:
                below.add(link)
    return below


def _source_tree(index: Index, notes: _Notes) -> tuple[bytes, ...]:
    """Where an editable distribution's sources lie in the image (direct_url.json, PEP 660)."""
    try:
        direct = json.loads(notes.get(b"direct_url.json", b"null"))
        if not direct["dir_info"]["editable"]:
            return ()
        url = urlsplit(direct["url"])
        path = unquote(url.path).encode("utf-8", "surrogateescape")
    except (ValueError, TypeError, KeyError, LookupError, RecursionError, UnicodeError):
        return ()
    return _inside(index, path) if url.scheme == "file" else ()


def _inside(index: Index, path: bytes) -> tuple[bytes, ...]:
    tree = index.resolve(path)
    return (tree,) if tree and tree not in SHARED else ()


def _egg_links(index: Index, found: Mapping[bytes, _Notes]) -> Iterator[Claim]:
    """Distributions in development mode as setuptools had it before PEP 660."""
    beside: defaultdict[bytes, list[bytes]] = defaultdict(list)
    for folder in found:
        beside[folder.rpartition(b"/")[0]].append(folder)
    for path, content in index.evidence.items():
        if path.endswith(b".egg-link"):
            source = _inside(index, content.partition(b"\n")[0].strip())
            name = canonicalize_name(text(path.rpartition(b"/")[2].removesuffix(b".egg-link")))
            for folder in beside.get(source[0], ()) if source else ():
                if folder.endswith(b".egg-info"):
                    claim = _claim(folder, found[folder], (path,), (folder, *source))
                    if claim.owner.name == name:
                        yield claim
                        break
            else:
                yield Claim(Owner("pip", name), text(path), (path,), (path, *source), metadata=path)


_SECTION = re.compile(r"\[([^:\]]*):?(.*)\]\Z").match


def _requires_txt(raw: bytes) -> list[str]:
    """Requirement strings out of setuptools' `requires.txt`: `[extra:marker]` heads a section."""
    requires: list[str] = []
    condition = ""
    for line in raw.decode("utf-8", "replace").splitlines():
        line = line.strip()
        section = _SECTION(line)
        if section:
            extra, marker = section.groups()
            parts = [f"({marker})"] if marker else []
            parts += [f'extra == "{extra}"'] if extra else []
            condition = " and ".join(parts)
        elif line and not line.startswith("#"):
            requires.append(f"{line} ; {condition}" if condition else line)
    return requires
