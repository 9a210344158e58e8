"""A new image from an old one and a plan: lazily, layer by layer, in one pass over the bytes.

Nothing is read before the result is written. Layers that the plan does not touch are handed on as
they are; the others are streamed from their source through the edits of the plan.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from slimmer.changes import amended_header, edited_length
from slimmer.errors import SlimmerError
from slimmer.image import Config, Digest
from slimmer.splice import stream as spliced
from slimmer.tarstream import BLOCK, END, Stream, composed, padded, walk

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from typing import BinaryIO

    from slimmer.changes import Addition, Changes, LayerEdit
    from slimmer.image import Image, Layer
    from slimmer.plan import Plan
    from slimmer.tarstream import Header

CHUNK = 1 << 20
"""Bytes of a file that are held at a time."""
PLAN_LABEL = "io.slimmer.plan"
BASE_LABELS = ("org.opencontainers.image.base.digest", "org.opencontainers.image.base.name")


class RewriteError(SlimmerError):
    """A source that is not what the plan was made for."""


@dataclass(frozen=True, slots=True)
class DraftLayer:
    """One layer of an image that is about to be written."""

    source: Layer | None
    """The layer that it is made from; None for one that holds additions alone."""
    edit: LayerEdit | None
    """How it is changed; None for a layer that keeps its bytes."""
    length: int | None
    """Bytes of its tar, known before it is written; None where only the medium knows."""
    size: int
    """Σ `size` of its members."""

    def chunks(self) -> Iterator[bytes]:
        """The uncompressed tar of a changed layer."""
        if self.source is None:
            yield from _added(self.edit.additions if self.edit else ())
            yield END
            return
        with self.source.content.open() as file:
            if self.edit is None:
                while chunk := file.read(CHUNK):
                    yield chunk
                return
            yield from edited(file, self.edit)


@dataclass(frozen=True, slots=True)
class Draft:
    """An image that is about to be written: everything but the digests of its new layers."""

    image: Image
    layers: tuple[DraftLayer, ...]
    config: dict[str, Any]
    """The new config but for `rootfs.diff_ids`; unused where nothing changed."""
    changed: bool

    @classmethod
    def unchanged(cls, image: Image) -> Draft:
        """An image as it is, ready to be written to another medium."""
        return cls(
            image,
            tuple(DraftLayer(layer, None, None, 0) for layer in image.layers),
            {},
            changed=False,
        )

    def finish(self, diff_ids: Sequence[Digest]) -> Config:
        """The config of the written image, once the digests of its layers are known."""
        if not self.changed:
            return self.image.config
        fields = self.config | {"rootfs": {"type": "layers", "diff_ids": list(diff_ids)}}
        return Config.parse(_json(fields))


def apply(image: Image, plan: Plan) -> Draft:
    """The image that a plan promises. Raises RewriteError where the plan is for another image."""
    if plan.image != image.id:
        raise RewriteError(
            f"the plan is for the image {plan.image[:19]}, not for {image.id[:19]}",
            hint="make a plan for this image: slimmer plan IMAGE -o plan.json",
        )
    return rewritten(image, plan.changes, plan.digest, plan.policy)


def rewritten(image: Image, changes: Changes, digest: Digest, policy: str) -> Draft:
    """Lay the edits over the image, layer by layer; an image without edits stays what it is."""
    if not changes:
        return Draft.unchanged(image)
    layers: list[DraftLayer] = []
    emptied: set[int] = set()
    for before, after, edit in zip(
        changes.before.layers, changes.after.layers, changes.edits, strict=True
    ):
        if not edit:
            layers.append(DraftLayer(before.layer, None, None, before.size))
        elif not after.headers:
            emptied.add(before.number)
        else:
            length = edited_length(before.headers, edit)
            layers.append(DraftLayer(before.layer, edit, length, after.size))
    return Draft(
        image,
        tuple(layers),
        _config(image, emptied, digest, policy),
        changed=True,
    )


def edited(file: BinaryIO, edit: LayerEdit) -> Iterator[bytes]:
    """A layer's tar with the edit carried out, as chunks of at most 1 MiB or one header."""
    source = Stream(iter(lambda: file.read(CHUNK), b""))
    at = source.at
    pending: list[bytes] = []
    held = 0
    for header, raw in walk(source):
        new = amended_header(header, raw, edit)
        if new is None:
            # Global headers stand before a member but are not its own.
            new = _globals(raw)
            pending.append(new)
            continue
        pending.append(new)
        held += len(new)
        start = header.start
        splice = edit.splices.get(start)
        if start in edit.links:
            pass
        elif splice is not None:
            yield b"".join(pending)
            pending.clear()
            held = 0
            yield from spliced(_Content(source, header), splice)
            yield bytes(padded(splice.size) - splice.size)
        elif header.stored:
            offset = header.data
            left = padded(header.stored)
            while left:
                chunk = at(offset, min(left, CHUNK))
                if not chunk:
                    raise RewriteError(f"the layer ends within the member at byte {start}")
                pending.append(chunk)
                held += len(chunk)
                offset += len(chunk)
                left -= len(chunk)
                if held >= CHUNK:
                    yield b"".join(pending)
                    pending.clear()
                    held = 0
    source.drain()
    yield b"".join(pending)
    yield from _added(edit.additions)
    yield END


def _globals(raw: bytes) -> bytes:
    at = 0
    while raw[at + 156 : at + 157] == b"g":
        at += BLOCK + padded(int(raw[at + 124 : at + 135], 8))
    return raw[:at]


class _Content:
    """One member's content as a file that is read forwards."""

    __slots__ = ("_left", "_offset", "_source")

    def __init__(self, source: Stream, header: Header) -> None:
        self._source = source
        self._offset = header.data
        self._left = header.stored

    def read(self, length: int, /) -> bytes:
        chunk = self._source.at(self._offset, min(length, self._left, CHUNK))
        self._offset += len(chunk)
        self._left -= len(chunk)
        return chunk


def _added(additions: Iterable[Addition]) -> Iterator[bytes]:
    for addition in additions:
        header = addition.header
        yield composed(header)
        if addition.open is None:
            continue
        left = header.size
        with addition.open() as file:
            while left:
                chunk = file.read(min(left, CHUNK))
                if not chunk:
                    raise RewriteError(f"the new content of {header.path!r} ends too soon")
                yield chunk
                left -= len(chunk)
        yield bytes(padded(header.size) - header.size)


def _config(image: Image, emptied: set[int], digest: Digest, policy: str) -> dict[str, Any]:
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
    # No clock: the same image and plan give the same digests on any day.
    created = next((entry["created"] for entry in reversed(history) if entry.get("created")), None)
    note: dict[str, Any] = {"created_by": f"slimmer slim --policy {policy} # plan {digest}"}
    if created:
        note = {"created": created} | note
    fields["history"] = [*history, note | {"empty_layer": True}]
    runtime = dict(fields.get("config") or {})
    labels = dict(runtime.get("Labels") or {})
    labels[PLAN_LABEL] = digest
    labels[BASE_LABELS[0]] = image.id
    labels[BASE_LABELS[1]] = image.reference
    runtime["Labels"] = labels
    fields["config"] = runtime
    return fields


def _json(fields: object) -> bytes:
    return json.dumps(fields, separators=(",", ":"), ensure_ascii=False).encode()
