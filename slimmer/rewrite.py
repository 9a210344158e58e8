"""A new image from an old one and a plan, in one of three modes.

`rewrite` writes anew only the layers that the plan touches; `flatten` merges layers into one as
well, so that nothing hidden is left in them; `overlay` leaves all layers as they are and lays
one over them that hides what leaves. Nothing is read before the result is written.
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

from slimmer.edits.drafts import (
    AnyLayer,
    Draft,
    DraftLayer,
    MergedLayer,
    NewContent,
    OverlayLayer,
    Part,
    RewriteError,
    edited,
)
from slimmer.edits.layer_edit import edited_length, whiteout
from slimmer.index import ESTARGZ, Index, LayerScan
from slimmer.plan.record import Record
from slimmer.tar.reading import DIRECTORY, FILE, HARDLINK, Header

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from slimmer.edits.changes import Changes
    from slimmer.files import File
    from slimmer.image import Digest, Image, Layer
    from slimmer.plan.plan import Plan

Mode = Literal["rewrite", "flatten", "overlay"]
PLAN_LABEL = "io.slimmer.plan"
RECORD_LABEL = "io.slimmer.record"
"""Holds what left and why, for whoever misses it; see `plan.record`."""
BASE_DIGEST = "org.opencontainers.image.base.digest"
BASE_NAME = "org.opencontainers.image.base.name"
CHUNKED = "io.github.containers.zstd-chunked."
"""Annotations of layers that containers/storage can pull in parts."""


def apply(image: Image, plan: Plan, mode: Mode = "rewrite", from_layer: int = 0) -> Draft:
    """The image that a plan promises; `from_layer` is the first that `flatten` merges, from 0 on.

    The plan's promises of `unpacked` are those of the mode `rewrite`; `Draft.unpacked` tells what
    another mode comes to. Raises RewriteError where the plan is for another image.
    """
    if plan.image != image.id:
        raise RewriteError(
            f"the plan is for the image {plan.image[:19]}, not for {image.id[:19]}",
            hint="make a plan for this image: slimmer plan IMAGE -o plan.json",
        )
    record = Record.of(plan).label()
    match mode:
        case "rewrite":
            return rewritten(image, plan.changes, plan.digest, plan.policy, record)
        case "flatten":
            return flattened(image, plan.changes, plan.digest, plan.policy, from_layer, record)
        case "overlay":
            return overlaid(image, plan.changes, plan.digest, plan.policy, record)


def rewritten(
    image: Image, changes: Changes, digest: Digest, policy: str, record: str = ""
) -> Draft:
    """Lay the edits over the image, layer by layer; an image without edits stays what it is."""
    if not changes:
        return Draft.unchanged(image, [layer.size for layer in changes.before.layers])
    layers, emptied = _edited_layers(changes)
    note = f"slimmer slim --policy {policy} # plan {digest}"
    return Draft(
        image,
        tuple(layers[number] for number in sorted(layers)),
        _config(image, emptied, digest, note, record, adds_layer=False),
        changed=True,
        notices=_formats(layers.values()),
    )


def flattened(
    image: Image,
    changes: Changes,
    digest: Digest,
    policy: str,
    from_layer: int = 0,
    record: str = "",
) -> Draft:
    """The edits, and all layers from `from_layer` on merged into one.

    Raises RewriteError where there is no such layer, or where a merged layer links to a file of
    one below that the image no longer shows.
    """
    count = len(image.layers)
    if not 0 <= from_layer < count:
        raise RewriteError(
            f"there is no layer {from_layer} to flatten from: the image has {count}",
            hint=f"choose one from 0 to {count - 1}" if count else "",
        )
    layers, emptied = _edited_layers(changes)
    merged = _merged(changes.after, layers, from_layer)
    result: list[AnyLayer] = [layers[n] for n in sorted(layers) if n < from_layer]
    if merged is not None:
        result.append(merged)
    note = (
        f"slimmer slim --mode flatten --from-layer {from_layer} --policy {policy} # plan {digest}"
    )
    return Draft(
        image,
        tuple(result),
        _config(
            image,
            emptied | set(range(from_layer, count)),
            digest,
            note,
            record,
            adds_layer=merged is not None,
        ),
        changed=True,
        notices=_formats(
            DraftLayer(layer, None, None, None) if n >= from_layer else layers[n]
            for n, layer in enumerate(image.layers)
            if n >= from_layer or n in layers
        ),
    )


def overlaid(
    image: Image, changes: Changes, digest: Digest, policy: str, record: str = ""
) -> Draft:
    """All layers as they are, and one over them: whiteouts of what leaves, and new contents."""
    if not changes:
        return Draft.unchanged(image, [layer.size for layer in changes.before.layers])
    layers: list[AnyLayer] = [
        DraftLayer(layer.layer, None, None, layer.size) for layer in changes.before.layers
    ]
    over = _overlay(changes)
    nothing = not over.markers and not over.additions and not over.contents
    if not nothing:
        layers.append(over)
    saved = changes.before.rootfs - changes.after.rootfs
    notice = (
        f"the layer of whiteouts shrinks rootfs by {saved} bytes; what is stored and pulled "
        f"(unpacked, packed) does not shrink, it grows by {over.size} bytes of new content"
    )
    note = f"slimmer slim --mode overlay --policy {policy} # plan {digest}"
    return Draft(
        image,
        tuple(layers),
        _config(image, set(), digest, note, record, adds_layer=not nothing),
        changed=True,
        notices=(notice,),
    )


def _edited_layers(changes: Changes) -> tuple[dict[int, DraftLayer], set[int]]:
    """Each layer that still holds something by its number, and the numbers of those that do not."""
    layers: dict[int, DraftLayer] = {}
    emptied: set[int] = set()
    for before, after, edit in zip(
        changes.before.layers, changes.after.layers, changes.edits, strict=True
    ):
        number = before.number
        if not edit:
            layers[number] = DraftLayer(before.layer, None, None, before.size)
        elif not after.headers:
            emptied.add(number)
        else:
            length = edited_length(before.headers, edit)
            layers[number] = DraftLayer(before.layer, edit, length, after.size)
    return layers, emptied


def _formats(layers: Iterable[DraftLayer]) -> tuple[str, ...]:
    """What is lost with the old blob of each layer that is written anew."""
    notices: list[str] = []
    for layer in layers:
        descriptor = layer.source.descriptor
        if layer.kept is not None or descriptor is None:
            continue
        for key, _ in descriptor.annotations:
            kind = "eStargz" if key == ESTARGZ else "zstd:chunked" if CHUNKED in key else ""
            if kind:
                notices.append(
                    f"layer {layer.source.diff_id.short} was made for lazy pulling ({kind}); "
                    "written anew it is an ordinary one"
                )
                break
    return tuple(notices)


def _merged(after: Index, layers: Mapping[int, DraftLayer], first: int) -> MergedLayer | None:
    """The layers from `first` on as one; None where nothing of them is to be seen."""
    below = Index.of(
        replace(after.image, layers=after.image.layers[:first], problems=()),
        [LayerScan(layer.headers, {}) for layer in after.layers[:first]],
    )
    markers = _markers(below.visible, after.visible)
    shown = [path for path, number in after.layer_of.items() if number >= first]
    if not shown and not markers:
        return None
    taken = _Taken(after, first)
    for path in shown:
        taken.single(path)
    return MergedLayer(
        tuple(
            Part(layers[number], taken.names[number], frozenset(taken.late[number]))
            for number in sorted(layers, reverse=True)
            if number >= first and taken.names[number]
        ),
        markers,
        {path: after.visible[path] for path in shown if after.visible[path].kind is DIRECTORY},
        taken.size,
    )


class _Taken:
    """Which members a merged layer takes over, and under which names."""

    def __init__(self, after: Index, first: int) -> None:
        self._after = after
        self._places = {
            layer.number: {header.start: at for at, header in enumerate(layer.headers)}
            for layer in after.layers[first:]
        }
        """Number of each member in its (edited) tar, by its offset."""
        self.names: dict[int, dict[int, tuple[bytes, bytes]]] = {one: {} for one in self._places}
        self.late: dict[int, set[int]] = {one: set() for one in self._places}
        self.size = 0
        """Σ `size` of the members."""
        self._linked: set[bytes] = set()
        for files in after.files.held.values():
            for file in files:
                self._linked.update(file.names)
                if file.layer < first:
                    self._to_below(file.layer, file.names, first)
                elif file.names:
                    self.size += file.size
                    self._together(file)

    def single(self, path: bytes) -> None:
        """Take a path over that is the only name of what it shows."""
        if path not in self._linked:
            number, at = self._member(path)
            self.names[number][at] = path, b""
            self.size += self._after.visible[path].size

    def _member(self, path: bytes) -> tuple[int, int]:
        number = self._after.layer_of[path]
        return number, self._places[number][self._after.visible[path].start]

    def _together(self, file: File) -> None:
        """The names of a file that a merged layer holds: the first is written where it is."""
        heir, *others = file.names
        holder = self._places[file.layer][file.holder.start]
        self.names[file.layer][holder] = heir, b""
        for path in others:
            number, at = self._member(path)
            self.names[number][at] = path, heir
            if number != file.layer or at < holder:
                self.late[number].add(at)

    def _to_below(self, layer: int, paths: Sequence[bytes], first: int) -> None:
        """The names of a file that a layer below the merged ones holds."""
        targets = [path for path in paths if self._after.layer_of[path] < first]
        for path in paths:
            if path in targets:
                continue
            number, at = self._member(path)
            link = self._after.visible[path].link
            if not targets:
                raise RewriteError(
                    f"layer {number} links {path!r:.200} to a file of layer {layer} "
                    "that a later layer hides",
                    hint=f"flatten from layer {layer} or from a lower one",
                )
            self.names[number][at] = path, link if link in targets else targets[0]


def _markers(below: Mapping[bytes, Header], shown: Mapping[bytes, Header]) -> tuple[Header, ...]:
    """Whiteouts that hide from `below` what is not `shown`, each behind the folders on its way.

    One for each topmost path, and none below a path whose place something else takes. Explicit
    ones only, and the folders with them: unpackers give a folder that a layer does not name
    attributes of their own making.
    """
    gone = {path for path in below if path and path not in shown}
    top = sorted(path for path in gone if not _covered(path, gone, shown))
    folders: set[bytes] = set()
    for path in top:
        while path := path[: max(path.rfind(b"/"), 0)]:
            if path in folders:
                break
            folders.add(path)
    markers = [shown[path] for path in folders if path in shown]
    markers += [whiteout(path) for path in top]
    # A folder's own entry first, then its whiteouts, then its folders with theirs.
    return tuple(sorted(markers, key=_marker_order))


def _covered(path: bytes, gone: set[bytes], shown: Mapping[bytes, Header]) -> bool:
    while path := path[: max(path.rfind(b"/"), 0)]:
        if path in gone:
            return True
        header = shown.get(path)
        if header is not None:
            return header.kind is not DIRECTORY
    return False


def _marker_order(header: Header) -> list[tuple[bool, bytes]]:
    folder = header.kind is DIRECTORY
    *parents, name = header.path.split(b"/")
    return [*((True, parent) for parent in parents), (folder, name)]


def _overlay(changes: Changes) -> OverlayLayer:
    """What has to lie over an image so that it shows what the changes promise."""
    before, after = changes.before, changes.after
    markers = {header.path: header for header in _markers(before.visible, after.visible)}
    contents = _new_contents(changes)
    folders = {header.path for _, news in contents for new in news for header in new.names}
    folders.update(one.header.path for edit in changes.edits for one in edit.additions)
    for path in folders:
        while path := path[: max(path.rfind(b"/"), 0)]:
            header = after.visible.get(path)
            if header is not None and header.kind is DIRECTORY:
                markers.setdefault(path, header)
    return OverlayLayer(
        tuple(sorted(markers.values(), key=_marker_order)),
        contents,
        tuple(addition for edit in changes.edits for addition in edit.additions),
    )


def _new_contents(changes: Changes) -> tuple[tuple[Layer, tuple[NewContent, ...]], ...]:
    """The files that change, by the layer that holds them, under all the names that are shown."""
    if not any(edit.splices for edit in changes.edits):
        return ()
    after = changes.after
    news: dict[int, list[NewContent]] = {layer.number: [] for layer in changes.before.layers}
    for old, new, edit in zip(changes.before.layers, after.layers, changes.edits, strict=True):
        headers = {header.start: header for header in old.headers} if edit.splices else {}
        for place, header in enumerate(new.headers) if edit.splices else ():
            splice = edit.splices.get(header.start)
            if splice is None or header.kind is not FILE:
                continue
            file = after.files.by_member.get((old.number, place))
            if file is None and after.visible.get(header.path) is not header:
                continue
            paths = (header.path,) if file is None else file.names
            if not paths:
                continue
            moved = edit.moved.get(header.start)
            number = old.number if moved is None else moved.number
            source = headers[header.start] if moved is None else moved.header
            first = source._replace(path=paths[0], size=splice.size, stored=splice.size)
            others = [
                first._replace(path=path, kind=HARDLINK, link=paths[0], size=0, stored=0)
                for path in paths[1:]
            ]
            news[number].append(NewContent(source, splice, (first, *others)))
    return tuple(
        (changes.before.layers[number].layer, tuple(found))
        for number, found in news.items()
        if found
    )


def _config(
    image: Image,
    emptied: set[int],
    digest: Digest,
    note: str,
    record: str,
    *,
    adds_layer: bool,
) -> dict[str, Any]:
    """The config with a history entry and labels that say what happened, all else as it was."""
    fields: dict[str, Any] = json.loads(image.config.raw)
    history: list[dict[str, Any]] = []
    number = 0
    for entry in fields.get("history") or []:
        if not entry.get("empty_layer"):
            if number in emptied:
                entry = entry | {"empty_layer": True}
            number += 1
        history.append(entry)
    if history:
        # No clock: the same image and plan give the same digests on any day.
        times = (entry["created"] for entry in reversed(history) if entry.get("created"))
        created = next(times, None)
        told: dict[str, Any] = {"created": created} if created else {}
        told["created_by"] = note
        if not adds_layer:
            told["empty_layer"] = True
        fields["history"] = [*history, told]
    runtime = dict(fields.get("config") or {})
    labels = dict(runtime.get("Labels") or {})
    labels[PLAN_LABEL] = digest
    # An older record is of steps that made the base: its own label tells of them.
    labels.pop(RECORD_LABEL, None)
    if record:
        labels[RECORD_LABEL] = record
    labels[BASE_DIGEST] = image.id
    # A name would be the user's own path or tag, which must not change digests; and one that is
    # there names the base of the base.
    labels.pop(BASE_NAME, None)
    runtime["Labels"] = labels
    fields["config"] = runtime
    return fields


__all__ = [
    "Draft",
    "DraftLayer",
    "Mode",
    "RewriteError",
    "apply",
    "edited",
    "flattened",
    "overlaid",
    "rewritten",
]
