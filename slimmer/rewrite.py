"""A new image from an old one and a plan, in one of three modes.

`rewrite` writes anew only the layers that the plan touches; `flatten` merges layers into one as
well, so that nothing hidden is left in them; `overlay` leaves all layers as they are and lays
one over them that hides what leaves. Nothing is read before the result is written.
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

from slimmer.edits.edits import edited_length
from slimmer.edits.layers import (
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
from slimmer.index import ESTARGZ, WHITEOUT, Index, LayerScan
from slimmer.tar.reading import DIRECTORY, FILE, HARDLINK, Header

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from slimmer.edits.edits import Changes
    from slimmer.image import Digest, Image, Layer
    from slimmer.plan.plan import Plan

Mode = Literal["rewrite", "flatten", "overlay"]
PLAN_LABEL = "io.slimmer.plan"
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
    match mode:
        case "rewrite":
            return rewritten(image, plan.changes, plan.digest, plan.policy)
        case "flatten":
            return flattened(image, plan.changes, plan.digest, plan.policy, from_layer)
        case "overlay":
            return overlaid(image, plan.changes, plan.digest, plan.policy)


def rewritten(image: Image, changes: Changes, digest: Digest, policy: str) -> Draft:
    """Lay the edits over the image, layer by layer; an image without edits stays what it is."""
    if not changes:
        return Draft.unchanged(image, [layer.size for layer in changes.before.layers])
    layers, emptied = _edited_layers(changes)
    note = f"slimmer slim --policy {policy} # plan {digest}"
    return Draft(
        image,
        tuple(layers[number] for number in sorted(layers)),
        _config(image, emptied, digest, note, adds_layer=False),
        changed=True,
        notices=_formats(layers.values()),
    )


def flattened(
    image: Image, changes: Changes, digest: Digest, policy: str, from_layer: int = 0
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
            adds_layer=merged is not None,
        ),
        changed=True,
        notices=_formats(
            DraftLayer(layer, None, None, None) if n >= from_layer else layers[n]
            for n, layer in enumerate(image.layers)
            if n >= from_layer or n in layers
        ),
    )


def overlaid(image: Image, changes: Changes, digest: Digest, policy: str) -> Draft:
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
        _config(image, set(), digest, note, adds_layer=not nothing),
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
    entries: dict[bytes, tuple[int, int]] = {}
    """Layer and number of the member that shows each path; a tar's last one of a name counts."""
    for layer in after.layers[first:]:
        shown = {header.path for header in layer.visible}
        entries |= {
            header.path: (layer.number, number)
            for number, header in enumerate(layer.headers)
            if header.path in shown
        }
    names: dict[int, dict[int, tuple[bytes, bytes]]] = {number: {} for number in layers}
    late: dict[int, set[int]] = {number: set() for number in layers}
    groups: dict[tuple[int, int], list[bytes]] = {}
    tables: dict[int, dict[bytes, int]] = {}
    for path, (number, member) in entries.items():
        header = after.layers[number].headers[member]
        if header.kind is not HARDLINK:
            groups.setdefault((number, member), []).insert(0, path)
            continue
        holder = _holder(after, tables, number, header)
        if holder is not None and holder[0] >= first:
            groups.setdefault(holder, []).append(path)
            continue
        if holder is not None:
            target = after.layers[holder[0]].headers[holder[1]].path
            if after.layer_of.get(target) != holder[0]:
                raise RewriteError(
                    f"layer {number} links {path!r:.200} to a file of layer {holder[0]} "
                    "that a later layer hides",
                    hint=f"flatten from layer {holder[0]} or from a lower one",
                )
        names[number][member] = path, header.link
    size = 0
    for (number, member), paths in groups.items():
        holder_header = after.layers[number].headers[member]
        size += holder_header.size
        heir, *others = paths
        names[number][member] = heir, b""
        for path in others:
            layer_number, link = entries[path]
            names[layer_number][link] = path, heir
            if layer_number != number:
                late[layer_number].add(link)
    markers = _markers(below.visible, after.visible)
    if not entries and not markers:
        return None
    return MergedLayer(
        tuple(
            Part(layers[number], names[number], frozenset(late[number]))
            for number in sorted(layers, reverse=True)
            if number >= first and names[number]
        ),
        markers,
        {
            path: after.visible[path]
            for path, (number, _) in entries.items()
            if after.visible[path].kind is DIRECTORY
        },
        size,
    )


def _holder(
    after: Index, tables: dict[int, dict[bytes, int]], number: int, link: Header
) -> tuple[int, int] | None:
    """Layer and number of the member that a hard link means; lower layers count as well."""
    target, seen = link.link, {link.path}
    while number >= 0:
        if number not in tables:
            headers = after.layers[number].headers
            tables[number] = {header.path: at for at, header in enumerate(headers)}
        member = tables[number].get(target)
        if member is None:
            number -= 1
            continue
        header = after.layers[number].headers[member]
        if header.kind is not HARDLINK:
            return number, member
        if header.link in seen:
            return None
        seen.add(target)
        target = header.link
    return None


def _markers(below: Mapping[bytes, Header], shown: Mapping[bytes, Header]) -> tuple[Header, ...]:
    """Whiteouts that hide from `below` what is not `shown`, each behind the folders on its way.

    One for each topmost path, and none below a path whose place something else takes. Explicit
    ones only, and the folders with them: unpackers give a folder that a layer does not name
    attributes of their own making.
    """
    implied: set[bytes] = set()
    for path in shown:
        path = path[: max(path.rfind(b"/"), 0)]
        while path and path not in implied:
            implied.add(path)
            path = path[: max(path.rfind(b"/"), 0)]
    gone = {path for path in below if path and path not in shown and path not in implied}
    top = sorted(path for path in gone if not _covered(path, gone, shown))
    folders: set[bytes] = set()
    for path in top:
        while path := path[: max(path.rfind(b"/"), 0)]:
            if path in folders:
                break
            folders.add(path)
    markers = [shown[path] for path in folders if path in shown]
    markers += [_whiteout(path) for path in top]
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


def _whiteout(path: bytes) -> Header:
    folder, slash, name = path.rpartition(b"/")
    return _made(folder + slash + WHITEOUT + name)


def _made(path: bytes) -> Header:
    """An empty file without an owner or a time."""
    return Header(path, FILE, 0, 0, 0, 0, 0, b"", (0, 0), (), 0, 0, 0, False)


def _overlay(changes: Changes) -> OverlayLayer:
    """What has to lie over an image so that it shows what the changes promise."""
    before, after = changes.before, changes.after
    markers = {header.path: header for header in _markers(before.visible, after.visible)}
    contents: list[tuple[Layer, tuple[NewContent, ...]]] = []
    folders: set[bytes] = set()
    for old, new, edit in zip(before.layers, after.layers, changes.edits, strict=True):
        news = list(_new_contents(old.headers, new.visible, edit.splices, edit.promotions))
        if news:
            contents.append((old.layer, tuple(news)))
        folders.update(header.path for one in news for header in one.names)
        folders.update(addition.header.path for addition in edit.additions)
    for path in folders:
        while path := path[: max(path.rfind(b"/"), 0)]:
            header = after.visible.get(path)
            if header is not None and header.kind is DIRECTORY:
                markers.setdefault(path, header)
    return OverlayLayer(
        tuple(sorted(markers.values(), key=_marker_order)),
        tuple(contents),
        tuple(addition for edit in changes.edits for addition in edit.additions),
    )


def _new_contents(
    headers: Sequence[Header],
    visible: Sequence[Header],
    splices: Mapping[int, Any],
    promotions: Mapping[int, bytes],
) -> Iterator[NewContent]:
    """The files of one layer that change, under all the names that stay to be seen."""
    if not splices:
        return
    links: dict[bytes, list[Header]] = {}
    shown: dict[bytes, Header] = {}
    for header in visible:
        shown[header.path] = header
        if header.kind is HARDLINK:
            links.setdefault(header.link, []).append(header)
    for old in headers:
        splice = splices.get(old.start)
        if splice is None:
            continue
        path = promotions.get(old.start, old.path)
        own = shown.get(path)
        names = [path] if own is not None and own.start == old.start else []
        names += [header.path for header in links.get(path, ())]
        if not names:
            continue
        first = old._replace(path=names[0], size=splice.size, stored=splice.size)
        yield NewContent(
            old,
            splice,
            (
                first,
                *(
                    old._replace(path=name, kind=HARDLINK, link=names[0], size=0, stored=0)
                    for name in names[1:]
                ),
            ),
        )


def _config(
    image: Image, emptied: set[int], digest: Digest, note: str, *, adds_layer: bool
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
