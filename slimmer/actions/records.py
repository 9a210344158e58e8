"""Keeps installers' records true: of files that left, and of files that changed.

RECORD of each distribution loses the lines of what left, and gets the new hash and size of what
changed; every other line stays as it is, byte for byte. `installed-files.txt` and conda's records
likewise. So `pip show -f`, `pip uninstall`, `importlib.metadata` and `conda remove` tell the truth.

dpkg's lists are left alone, as dpkg itself leaves them under `path-exclude` and as Debian's slim
images do: they say what a package holds, so that `dpkg --verify` truthfully calls documents
missing and a later reinstallation brings them back. A package that leaves whole takes its lists
with it (see `debian`). `SOURCES.txt` of an egg-info folder lists the source distribution, not what
was installed; importlib.metadata drops what does not exist from it.
"""

from __future__ import annotations

import base64
import hashlib
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from slimmer.ecosystems.python import record_rows, recorded_path
from slimmer.plan.steps import Rewrite
from slimmer.splice import CHUNK, Copy, Literal, Piece, Splice, view

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from slimmer.analysis.facts import Facts
    from slimmer.attribution import Claim


@dataclass(slots=True)
class _Hashes:
    """Hashes of what splices make; kept, for a plan is settled several times on its way."""

    _known: WeakKeyDictionary[Facts, dict[tuple[bytes, str], tuple[Splice, bytes]]] = field(
        default_factory=WeakKeyDictionary
    )
    """By image; what was found out about one is forgotten with it."""

    def of(
        self, facts: Facts, splices: Mapping[bytes, Splice], algorithms: Mapping[bytes, str]
    ) -> dict[bytes, bytes]:
        """The digest of each changed file, by the algorithm that its record is kept in."""
        here = self._known.setdefault(facts, {})
        found: dict[bytes, bytes] = {}
        missing: list[bytes] = []
        for path, algorithm in algorithms.items():
            known = here.get((path, algorithm))
            if known is not None and known[0] == splices[path]:
                found[path] = known[1]
            else:
                missing.append(path)
        for path, read in facts.readers(missing):
            splice = splices[path]
            new = view(read, splice)
            digest = hashlib.new(algorithms[path])
            for start in range(0, splice.size, CHUNK):
                digest.update(new(start, min(CHUNK, splice.size - start)))
            found[path] = digest.digest()
            here[path, algorithms[path]] = (splice, found[path])
        return found


@dataclass(frozen=True, slots=True)
class Records:
    """RECORD and installed-files.txt of Python distributions, and the records of conda."""

    _hashes: _Hashes = field(default_factory=_Hashes)

    def __call__(
        self, facts: Facts, removed: frozenset[bytes], splices: Mapping[bytes, Splice]
    ) -> Iterator[Rewrite]:
        changed = _with_other_names(facts, splices)
        touched = removed | changed.keys()
        if not touched:
            return
        for claim in _losing(facts, touched):
            for path in _records(facts, claim):
                if path in removed or path in splices:
                    continue
                old = facts.index.evidence[path]
                if len(old) != _stored(facts, path):
                    continue  # longer than a scan reads: better as it was than cut
                write = _conda if path.endswith(b".json") else _lines
                splice = write(self._hashes, facts, path, old, removed, changed)
                if splice is not None and splice != Splice.identity(len(old)):
                    yield Rewrite(path, splice, len(old))


def _with_other_names(facts: Facts, splices: Mapping[bytes, Splice]) -> dict[bytes, Splice]:
    """New contents by every name that their files have."""
    changed = dict(splices)
    for path, splice in splices.items():
        file = facts.index.file(path)
        for name in file.names if file is not None else ():
            changed.setdefault(name, splice)
    return changed


def _losing(facts: Facts, touched: Iterable[bytes]) -> Iterator[Claim]:
    """The claims of distributions of which a file left or changed."""
    touched = frozenset(touched)
    for claim in facts.ledger.claims:
        if claim.owner.kind in ("pip", "conda") and not touched.isdisjoint(claim.files):
            yield claim


def _records(facts: Facts, claim: Claim) -> Iterator[bytes]:
    """The files in which an installer wrote down what it installed."""
    evidence = facts.index.evidence
    if claim.owner.kind == "conda":
        candidates: Iterable[bytes] = [
            path for path in claim.files[:1] if path.endswith(b".json") and b"conda-meta/" in path
        ]
    elif claim.metadata:
        candidates = (claim.metadata + b"/RECORD", claim.metadata + b"/installed-files.txt")
    else:
        candidates = ()
    for path in candidates:
        if path in evidence and path in facts.index.visible:
            yield path


def _stored(facts: Facts, path: bytes) -> int:
    file = facts.index.file(path)
    return file.size if file is not None else 0


def _lines(
    hashes: _Hashes,
    facts: Facts,
    record: bytes,
    old: bytes,
    removed: frozenset[bytes],
    changed: Mapping[bytes, Splice],
) -> Splice | None:
    """RECORD (recording-installed-projects) or installed-files.txt, with the lines that changed."""
    folder = record[: max(record.rfind(b"/"), 0)]
    is_record = record.endswith(b"/RECORD")
    start = folder[: max(folder.rfind(b"/"), 0)] if is_record else folder
    pieces: list[Piece] = []
    stale: list[tuple[int, bytes, tuple[bytes, ...], bytes]] = []
    algorithms: dict[bytes, str] = {}
    for at, raw, cells in record_rows(old):
        name = cells[0] if is_record else raw.strip()
        path = _place(facts, start, name)
        if path in removed:
            continue
        if is_record and path in changed and len(cells) == 3:
            algorithm = cells[1].partition(b"=")[0].decode("ascii", "replace")
            if algorithm in hashlib.algorithms_available and not algorithm.startswith("shake"):
                algorithms[path] = algorithm
            if cells[1] or cells[2]:
                stale.append((len(pieces), path, cells, raw))
        pieces.append(Copy(at, len(raw)))
    digests = hashes.of(facts, changed, algorithms)
    for place, path, cells, raw in stale:
        name = raw[: raw.rfind(b",", 0, raw.rfind(b","))]
        ending = raw[len(raw.rstrip(b"\r\n")) :]
        told = cells[1]
        if path in digests:
            encoded = base64.urlsafe_b64encode(digests[path]).rstrip(b"=")
            told = algorithms[path].encode() + b"=" + encoded
        size = b"%d" % changed[path].size if cells[2] else b""
        pieces[place] = Literal(name + b"," + told + b"," + size + ending)
    return Splice.of(pieces)


def _place(facts: Facts, folder: bytes, name: bytes) -> bytes:
    return recorded_path(folder, name, facts.index.visible, facts.index.resolve)


def _conda(
    hashes: _Hashes,
    facts: Facts,
    record: bytes,
    old: bytes,
    removed: frozenset[bytes],
    changed: Mapping[bytes, Splice],
) -> Splice | None:
    """A package's record in conda-meta, written as conda writes it: two spaces, ASCII."""
    prefix = record[: record.rfind(b"conda-meta/")]

    def place(name: object) -> bytes:
        raw = str(name).encode("utf-8", "surrogateescape")
        return _place(facts, prefix.rstrip(b"/"), raw)

    try:
        told: dict[str, Any] = json.loads(old)
        files = told.get("files", [])
        told["files"] = [name for name in files if place(name) not in removed]
        paths = (told.get("paths_data") or {}).get("paths") or []
        kept = [one for one in paths if place(one["_path"]) not in removed]
        stale = {path: one for one in kept if (path := place(one["_path"])) in changed}
        digests = hashes.of(facts, changed, dict.fromkeys(stale, "sha256"))
        for path, one in stale.items():
            if "sha256_in_prefix" in one or "sha256" in one:
                key = "sha256_in_prefix" if "sha256_in_prefix" in one else "sha256"
                one[key] = digests[path].hex()
            if "size_in_bytes" in one:
                one["size_in_bytes"] = changed[path].size
        if paths:
            told["paths_data"]["paths"] = kept
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None  # not as conda writes it: left as it is
    if len(files) == len(told["files"]) and len(kept) == len(paths) and not stale:
        return None
    indent = 2 if b"\n" in old.strip() else None
    separators = None if indent else (",", ":") if b'": ' not in old else (", ", ": ")
    new = json.dumps(told, indent=indent, separators=separators).encode()
    return Splice.of((Literal(new + (b"\n" if old.endswith(b"\n") else b"")),))
