"""Proof that a result still works: against the plan, against itself, and by running both images.

Static, on the result as it was written: law 3 (it differs from the original by exactly the plan),
law 4 (untouched layers are the very same) and law 8 (what resolved before still resolves). The
run-time part is in `trials.py`; an engine to run images with is handed in.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from slimmer.names import printable
from slimmer.policy import Safety
from slimmer.proof import runtime as running
from slimmer.proof.runtime import Trials
from slimmer.proof.verdict import Culprits, Fault, Verdict, counted
from slimmer.tar.reading import DIRECTORY, FILE, HARDLINK, SYMLINK, Stream, walk

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from slimmer.analysis.facts import Facts
    from slimmer.attribution import Attribution, Owner
    from slimmer.edits.edits import Changes, LayerEdit
    from slimmer.index import Index
    from slimmer.plan.plan import Plan
    from slimmer.proof.runtime import Engine
    from slimmer.rewrite import Mode
    from slimmer.tar.reading import Header

CHUNK = 1 << 20
WHOLE = ("remove-distribution", "remove-debian-package", "swap")
"""Actions whose very aim is that something is not installed any more."""


def verify(
    before: Facts,
    after: Facts,
    plan: Plan | None = None,
    *,
    engine: Engine | None = None,
    trials: Trials | None = None,
    contents: bool = False,
    mode: Mode = "rewrite",
    told: Callable[[str, int, int], None] = lambda what, done, total: None,
) -> Verdict:
    """All that can be proved: static always, contents if asked for, run-time with an engine.

    `told(what, done, total)` hears how far it is; `total` is 0 where nobody knows.
    Raises SlimmerError where an image cannot be read or run at all.
    """
    told("comparing the images", 0, 0)
    changes = plan.changes if plan else None
    verdict = compare(before, after, changes, plan, mode)
    if contents:
        verdict += compare_contents(before.index, after.index, changes, plan, told)
    if engine is not None:
        culprits = Culprits.of(before.index, after.index, plan)
        verdict += running.compare(
            before, after, changes, culprits, engine, trials or Trials(), told
        )
    return verdict


def compare(
    before: Facts,
    after: Facts,
    changes: Changes | None = None,
    plan: Plan | None = None,
    mode: Mode = "rewrite",
) -> Verdict:
    """The static part. Without changes only law 8 is judged, and the differences are noted."""
    culprits = Culprits.of(before.index, after.index, plan)
    if changes is None:
        verdict = Verdict(notes=tuple(_differences(before.index, after.index)))
    else:
        verdict = _planned(changes, after.index, mode)
        verdict += _same_config(before.index, after.index)
    verdict += _symlinks(before.index, after.index, culprits)
    verdict += _libraries(before, after, culprits)
    verdict += _requirements(before, after, culprits)
    return verdict + _records(before, after, culprits)


# --- law 3 -----------------------------------------------------------------------------------


def _planned(changes: Changes, after: Index, mode: Mode) -> Verdict:
    """Law 3: the result shows what was visible, less the removals, with the planned changes."""
    expected = promised(changes)
    found = after.visible
    view = _as_written if mode == "rewrite" else _as_seen
    planned, written = Contents(changes.before, changes.edits), Contents(after)
    faults: list[Fault] = []
    faults += [
        Fault("unplanned", printable(path), "is missing, and no step removes it", path)
        for path in sorted(expected.keys() - found.keys())
    ]
    for path in sorted(found.keys() - expected.keys()):
        lost = "is still there" if path in changes.before.visible else "was not there before"
        faults.append(Fault("unplanned", printable(path), lost, path))
    for path, header in expected.items():
        other = found.get(path)
        if other is None:
            continue
        ours, theirs = view(planned.told(header)), view(written.told(other))
        for field, one, two in zip(FIELDS, ours, theirs, strict=True):
            if one != two:
                text = f"its {field} is {_shown(two)}, the plan says {_shown(one)}"
                faults.append(Fault("unplanned", printable(path), text, path))
    counts = {"paths": len(expected)}
    if mode == "rewrite":
        kept = {layer.layer.diff_id for layer in after.layers}
        for layer, edit in zip(changes.before.layers, changes.edits, strict=True):
            if not edit:
                counts["untouched layers"] = counts.get("untouched layers", 0) + 1
                if layer.layer.diff_id not in kept:
                    text = f"{layer.layer.diff_id[:19]} is gone, and no step touches it"
                    faults.append(Fault("layer", f"layer {layer.number}", text))
        if after.unpacked != changes.after.unpacked:
            text = f"unpacked {after.unpacked} bytes, the plan promised {changes.after.unpacked}"
            faults.append(Fault("unplanned", "the image", text))
    return Verdict(tuple(faults), counted(counts))


def promised(changes: Changes) -> Mapping[bytes, Header]:
    """What the result must show, worked out from the original and the edits alone.

    `changes.after` is what the plan was computed with; a proof does not rest on it.
    """
    expected = dict(changes.before.visible)
    for path in changes.removed:
        expected.pop(path, None)
    for layer, edit in zip(changes.before.layers, changes.edits, strict=True):
        if not edit:
            continue
        number, layer_of = layer.number, changes.before.layer_of
        spliced = {
            header.path: splice.size
            for header in layer.headers
            if (splice := edit.splices.get(header.start)) is not None
        }
        for header in layer.headers:
            path, start = header.path, header.start
            heir = edit.promotions.get(start)
            if heir is not None and heir in expected and layer_of.get(heir) == number:
                size = spliced.get(path, header.size)
                expected[heir] = header._replace(path=heir, size=size)
            if path not in expected or layer_of.get(path) != number:
                continue
            link = edit.links.get(start)
            if link is not None:
                expected[path] = expected[path]._replace(kind=HARDLINK, link=link, size=0)
            elif path in spliced and header.kind is FILE:
                expected[path] = expected[path]._replace(size=spliced[path])
            elif header.kind is HARDLINK and expected[path].size and header.link in spliced:
                # Its first name is hidden, and what that held is written anew.
                expected[path] = expected[path]._replace(size=spliced[header.link])
        for addition in edit.additions:
            expected[addition.header.path] = addition.header
    return expected


FIELDS = ("kind", "size", "mode", "uid", "gid", "mtime", "link", "device", "xattrs")


def _as_written(header: Header) -> tuple[object, ...]:
    return (
        header.kind,
        header.size,
        header.mode,
        header.uid,
        header.gid,
        header.mtime,
        header.link,
        header.device,
        header.xattrs,
    )


def _as_seen(header: Header) -> tuple[object, ...]:
    """A header as whoever opens the file sees it: which name came first is the tar's business."""
    if header.kind is HARDLINK:
        header = header._replace(kind=FILE, link=b"")
    return _as_written(header)


class Contents:
    """How large the files are that an image's hard links lead to.

    In the merged tree one visible name carries the bytes, and which one that is may change with a
    step on another name; a name that leads to them may have been overwritten above.
    """

    __slots__ = ("_edits", "_index", "_names")

    def __init__(self, index: Index, edits: Sequence[LayerEdit] = ()) -> None:
        self._index = index
        self._edits = edits
        self._names: dict[int, Mapping[bytes, Header]] = {}

    def told(self, header: Header) -> Header:
        """The header, with the size of what it leads to."""
        number = self._index.layer_of.get(header.path)
        if header.kind is not HARDLINK or number is None:
            return header
        seen: set[bytes] = set()
        place = number, self._index.visible[header.path]
        while (link := self._link(*place)) and link not in seen:
            seen.add(link)
            below = self._named(place[0], link)
            if below is None:
                return header
            place = below
        number, holder = place
        splice = self._edits[number].splices.get(holder.start) if self._edits else None
        return header._replace(size=holder.size if splice is None else splice.size)

    def _link(self, number: int, header: Header) -> bytes:
        planned = self._edits[number].links.get(header.start) if self._edits else None
        return planned or (header.link if header.kind is HARDLINK else b"")

    def _named(self, number: int, path: bytes) -> tuple[int, Header] | None:
        """What a name means in a layer: its own member, or that of a layer below."""
        for layer in reversed(self._index.layers[: number + 1]):
            names = self._names.get(layer.number)
            if names is None:
                names = {header.path: header for header in layer.headers}
                self._names[layer.number] = names
            if path in names:
                return layer.number, names[path]
        return None


def _shown(value: object) -> str:
    match value:
        case bytes():
            return printable(value) or "empty"
        case tuple():
            return repr(value)[:120]
        case _:
            return str(value)


def _same_config(before: Index, after: Index) -> Verdict:
    """What a container is started with must be what it was."""
    one, two = before.image.config, after.image.config
    faults = []
    for name in ("environment", "entrypoint", "command", "working_directory", "user"):
        if getattr(one, name) != getattr(two, name):
            text = f"was {getattr(one, name)!r:.200}, is {getattr(two, name)!r:.200}"
            faults.append(Fault("config", name.replace("_", " "), text))
    if one.healthcheck != two.healthcheck:
        faults.append(Fault("config", "health check", f"was {one.healthcheck!r:.200}"))
    lost = dict(one.labels).items() - dict(two.labels).items()
    for key, _ in sorted(lost):
        if not key.startswith(("org.opencontainers.image.base.", "io.slimmer.")):
            faults.append(Fault("config", f"label {key}", "was not carried over"))
    return Verdict(tuple(faults), (("config fields", 6 + len(one.labels)),))


def _differences(before: Index, after: Index) -> Iterator[str]:
    one, two = before.visible, after.visible
    removed = one.keys() - two.keys()
    added = two.keys() - one.keys()
    changed = [
        path for path in one.keys() & two.keys() if _as_written(one[path]) != _as_written(two[path])
    ]
    size = before.rootfs - after.rootfs
    yield (
        f"{len(removed)} paths left, {len(added)} came, {len(changed)} changed; "
        f"rootfs {before.rootfs} → {after.rootfs} bytes ({-size:+d})"
    )


# --- law 8 -----------------------------------------------------------------------------------


def _symlinks(before: Index, after: Index, culprits: Culprits) -> Verdict:
    """No remaining symlink that led somewhere dangles now."""
    held_before, held_after = _held(before), _held(after)
    faults = []
    count = 0
    for path, header in after.visible.items():
        old = before.visible.get(path)
        if header.kind is not SYMLINK or old is None or old.kind is not SYMLINK:
            continue
        target = before.resolve(path)
        if target not in held_before or target == path:
            continue  # it dangled before, or leads to what only a running container has
        count += 1
        now = after.resolve(path)
        if now not in held_after or now == path:
            lost = f"leads to {printable(target)}, which left"
            faults.append(culprits.fault("symlink", printable(path), lost, target))
    return Verdict(tuple(faults), counted({"symlinks": count}))


def _held(index: Index) -> set[bytes]:
    """Every path that is there, folders included that no tar has an entry for."""
    held = {b""}
    for path, header in index.visible.items():
        if header.kind is not SYMLINK:
            held.add(path)
        path = path[: max(path.rfind(b"/"), 0)]
        while path not in held:
            held.add(path)
            path = path[: max(path.rfind(b"/"), 0)]
    return held


def _libraries(before: Facts, after: Facts, culprits: Culprits) -> Verdict:
    """No remaining ELF file loses a library that it found before.

    Looked up in the result as it was written, and once more by what left: what the loader found
    by itself must not from now on depend on something else having loaded it first.
    """
    lost: dict[tuple[bytes, str], bytes] = {}
    added = after.index.visible.keys() - before.index.visible.keys()
    for need, library in before.linkage.lost(culprits.removed, added):
        # Another file in the same place, as after a swap, has needs of its own.
        if need.name in dict(after.linkage.needs(need.path)):
            lost[need.path, need.name] = library
    faults = []
    count = 0
    for path in before.linkage.binaries:
        if path not in after.index.visible:
            continue
        if path not in after.linkage.binaries:
            text = "is no ELF file any more that the loader understands"
            faults.append(culprits.fault("library", printable(path), text, path))
            continue
        found = dict(before.linkage.needs(path))
        count += len(found)
        for name, now in after.linkage.needs(path):
            was = found.get(name, path)  # a rewritten file may ask for something new
            if now is None and was is not None:
                lost.setdefault((path, name), was)
    for (path, name), library in sorted(lost.items()):
        missing = library if library in culprits.removed else culprits.library(name)
        text = f"needs {printable(name)}, which it does not find any more"
        faults.append(culprits.fault("library", printable(path), text, missing))
    return Verdict(tuple(faults), counted({"ELF lookups": count}))


def _requirements(before: Facts, after: Facts, culprits: Culprits) -> Verdict:
    """No remaining distribution or package loses what it required and had."""
    faults: list[Fault] = []
    notes: list[str] = []
    count = 0
    unmet_before, unmet_after = before.graph.unmet, after.graph.unmet
    for owner in after.graph.distributions:
        old = before.graph.distributions.get(owner)
        if old is None:
            continue
        count += len(old.requires)
        lost = [one for one in unmet_after.get(owner, ()) if one not in unmet_before.get(owner, ())]
        gone = [one for one in old.requires if one not in after.graph.distributions]
        for text in lost:
            missing = next((one for one in gone if one.name in text.lower()), None)
            missing = missing or (gone[0] if gone else None)
            path = _evidence_path(before.ledger, missing)
            step = culprits.step(path)
            if step is not None and step.action in WHOLE and step.safety is Safety.RISKY:
                notes.append(f"{owner} requires {printable(text)}: {step.id} removed it, as agreed")
                continue
            what = f"requires {printable(text)}, which was there before"
            faults.append(culprits.fault("requirement", printable(str(owner)), what, path))
    return Verdict(tuple(faults), counted({"requirements": count}), tuple(notes))


def _evidence_path(ledger: Attribution, owner: Owner | None) -> bytes | None:
    """The file that said that an owner was there: a METADATA, a stanza's list of files."""
    if owner is None:
        return None
    paths = ledger.paths().get(owner, ())
    files = [path for path in paths if ledger.index.visible[path].kind is not DIRECTORY]
    told = [path for path in files if path.endswith((b"/METADATA", b"/PKG-INFO"))]
    return min(told or files, key=lambda path: (len(path), path), default=None)


def _records(before: Facts, after: Facts, culprits: Culprits) -> Verdict:
    """A Python distribution's RECORD names nothing that left."""
    faults = []
    count = 0
    for claim in after.ledger.claims:
        if claim.owner.kind != "pip":
            continue
        count += 1
        missing = [path for path in claim.files if path in culprits.removed]
        if missing:
            lost = f"its record names {len(missing)} files that left, {printable(missing[0])} first"
            subject = printable(str(claim.owner))
            faults.append(culprits.fault("record", subject, lost, missing[0]))
    return Verdict(tuple(faults), counted({"records": count}))


# --- contents ---------------------------------------------------------------------------------


def compare_contents(
    before: Index,
    after: Index,
    changes: Changes | None = None,
    plan: Plan | None = None,
    told: Callable[[str, int, int], None] = lambda what, done, total: None,
) -> Verdict:
    """sha256 of every kept regular file in both images; nothing is held but the digests.

    A layer that both images have is read once, from the result, and checked against its digest.
    """
    rewritten = _rewritten(changes)
    both = [
        path
        for path, header in before.visible.items()
        if header.kind in REGULAR
        and path not in rewritten
        and (other := after.visible.get(path)) is not None
        and other.kind in REGULAR
    ]
    wanted = {path for path in both if _diff_id(before, path) != _diff_id(after, path)}
    done, total = (
        0,
        after.unpacked
        + sum(before.layers[number].size for number in {before.layer_of[path] for path in wanted}),
    )

    def read(size: int) -> None:
        nonlocal done
        done += size
        told("comparing contents", done, total)

    one = dict(_digests(before, wanted, read))
    # Every layer of the result is read to its end: that checks it against its own digest.
    two = dict(_digests(after, wanted, read, every_layer=True))
    culprits = Culprits.of(before, after, plan)
    faults = tuple(
        culprits.fault("content", printable(path), "its bytes differ, and no step says so", path)
        for path in sorted(wanted)
        if one.get(path) != two.get(path)
    )
    return Verdict(faults, counted({"contents": len(both), "rewritten": len(rewritten)}))


REGULAR = (FILE, HARDLINK)


def _diff_id(index: Index, path: bytes) -> str:
    return index.layers[index.layer_of[path]].layer.diff_id


def _rewritten(changes: Changes | None) -> set[bytes]:
    """Paths whose new content a plan promises."""
    found: set[bytes] = set()
    for layer, edit in zip(changes.before.layers, changes.edits, strict=True) if changes else ():
        if not edit:
            continue
        starts = edit.splices.keys()
        held = {header.path for header in layer.headers if header.start in starts}
        found |= held
        found.update(edit.promotions[start] for start in starts if start in edit.promotions)
        found.update(
            header.path
            for header in layer.headers
            if header.kind is HARDLINK and header.link in held
        )
        found.update(addition.header.path for addition in edit.additions)
    return found


def _digests(
    index: Index, wanted: set[bytes], read: Callable[[int], None], *, every_layer: bool = False
) -> Iterator[tuple[bytes, bytes]]:
    """sha256 of what each wanted path holds, layer by layer, a chunk at a time."""
    holders: dict[int, dict[int, list[bytes]]] = {}
    for path in sorted(wanted):
        found = _holder(index, path)
        if found is not None:
            number, header = found
            holders.setdefault(number, {}).setdefault(header.start, []).append(path)
    for layer in index.layers:
        paths = holders.get(layer.number, {})
        if not paths and not every_layer:
            continue
        with layer.layer.content.open() as file:
            source = Stream(iter(lambda file=file: file.read(CHUNK), b""))  # type: ignore[misc]
            for header, _ in walk(source) if paths else ():
                if header.start not in paths:
                    continue
                digest = hashlib.sha256()
                at, end = header.data, header.data + header.stored
                while at < end:
                    chunk = source.at(at, min(CHUNK, end - at))
                    if not chunk:
                        break
                    digest.update(chunk)
                    at += len(chunk)
                for path in paths[header.start]:
                    yield path, digest.digest()
            source.drain()
        read(layer.size)


def _holder(index: Index, path: bytes) -> tuple[int, Header] | None:
    """The layer and member that carry a path's content: of a hard link, its first name."""
    header = index.visible[path]
    number = index.layer_of[path]
    if header.kind is FILE:
        return number, header
    while number >= 0:
        for one in reversed(index.layers[number].headers):
            if one.path == header.link and one.kind is FILE:
                return number, one
        number -= 1
    return None
