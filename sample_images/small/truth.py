"""What is true of the image, worked out from the recipe's own inputs and never by slimmer."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from archive import REPOSITORY, TAG, Archive, digest, history
from layers import OPAQUE, Layer, Member, raw
from stand_ins import APT_PACKAGES, BASE_PACKAGES
from wheels import Wheel

KINDS = {"files": b"0", "hard_links": b"1", "symlinks": b"2", "directories": b"5"}


@dataclass(frozen=True, slots=True)
class Merged:
    """What is seen when the layers are laid over each other, and what is not."""

    visible: Mapping[str, Member]
    overwritten: tuple[int, ...]
    """Bytes of each layer that a later layer's file hides."""
    deleted: tuple[int, ...]
    """Bytes of each layer that a later layer's whiteout hides."""


def merge(stack: tuple[Layer, ...]) -> Merged:
    """By the OCI rules; raises AssertionError at what the sample has no need of."""
    visible: dict[str, tuple[int, Member]] = {}
    overwritten, deleted = [0] * len(stack), [0] * len(stack)
    for number, layer in enumerate(stack):
        # Marks act on the layers below only: they go first, wherever they stand.
        for mark in layer.members:
            if is_mark(mark):
                for name in [name for name in visible if hides(mark, name)]:
                    below, hidden = visible.pop(name)
                    deleted[below] += len(hidden.content)
        for member in layer.members:
            if is_mark(member):
                continue
            if member.name in visible:
                below, hidden = visible[member.name]
                assert (hidden.kind == b"5") == (member.kind == b"5"), "file and folder swap places"
                overwritten[below] += len(hidden.content)
            visible[member.name] = (number, member)
    left = {name: member for name, (_, member) in sorted(visible.items())}
    links = [member for member in left.values() if member.kind == b"1"]
    assert all(link.target in left for link in links), "a hard link lost its first name"
    return Merged(left, tuple(overwritten), tuple(deleted))


def is_mark(member: Member) -> bool:
    return member.name.rpartition("/")[2].startswith(".wh.")


def hides(mark: Member, name: str) -> bool:
    folder, _, base = mark.name.rpartition("/")
    if base == OPAQUE:
        return name.startswith(f"{folder}/")
    gone = f"{folder}/{base.removeprefix('.wh.')}"
    return name == gone or name.startswith(f"{gone}/")


def truth(
    stack: tuple[Layer, ...],
    archive: Archive,
    dockerfile: str,
    wheels: Iterable[Wheel],
    replaced: Iterable[Wheel],
) -> dict[str, Any]:
    """`wheels` are those that are seen in the end, `replaced` those that an upgrade hid."""
    merged = merge(stack)
    visible = merged.visible
    sizes = [size(layer.members) for layer in stack]
    commands = [entry["created_by"] for entry in history(stack, dockerfile) if is_layer(entry)]
    layers = [
        {
            "diff_id": digest(blob),
            "command": command,
            "seconds": (layer.created - below.created).total_seconds() if below else None,
            "blob": len(blob),
            "size": size(layer.members),
            "overwritten": overwritten,
            "deleted": deleted,
            "members": len(layer.members),
        }
        for blob, command, layer, below, overwritten, deleted in zip(
            archive.layers,
            commands,
            stack,
            (None, *stack[:-1]),
            merged.overwritten,
            merged.deleted,
            strict=True,
        )
    ]
    packages = [
        {
            "name": package.name,
            "version": package.version,
            "size": size(member for member in package.members if member.name in visible),
        }
        for package in BASE_PACKAGES + APT_PACKAGES
    ]
    return {
        "image": {
            "reference": f"{REPOSITORY}:{TAG}",
            "platform": "linux/amd64",
            "config": archive.config,
            "manifest": archive.manifest,
        },
        "archive": {"size": len(archive.content), "digest": digest(archive.content)},
        "sizes": {"unpacked": sum(sizes), "rootfs": size(visible.values())},
        "hidden": {"overwritten": sum(merged.overwritten), "deleted": sum(merged.deleted)},
        "visible": {
            word: sum(member.kind == kind for member in visible.values())
            for word, kind in KINDS.items()
        },
        "layers": layers,
        "distributions": [row(wheel) for wheel in sorted(wheels, key=lambda wheel: wheel.name)],
        "hidden_distributions": [row(wheel) for wheel in replaced],
        "packages": packages,
        "notable": notable(stack, visible),
    }


def size(members: Iterable[Member]) -> int:
    return sum(len(member.content) for member in members)


def is_layer(entry: Mapping[str, Any]) -> bool:
    return "empty_layer" not in entry


def row(wheel: Wheel) -> dict[str, Any]:
    files = len(wheel.installed)
    counted = size(wheel.installed)
    return {"name": wheel.name, "version": wheel.version, "size": counted, "files": files}


def notable(stack: Iterable[Layer], visible: Mapping[str, Member]) -> dict[str, Any]:
    """Where the image's odd members are; bytes that are not UTF-8 as Python writes them."""
    members = visible.values()
    return {
        "setuid": [member.name for member in members if member.mode & 0o4000],
        "xattrs": [member.name for member in members if member.xattrs],
        "hard_links": {member.name: member.target for member in members if member.kind == b"1"},
        "not_utf8": [str(raw(name))[2:-1] for name in visible if not raw(name).isascii()],
        "long_names": [name for name in visible if len(name) > 100],
        "same_content": [name for name in visible if name.endswith(".safetensors")],
        "whiteouts": [m.name for layer in stack for m in layer.members if is_mark(m)],
    }
