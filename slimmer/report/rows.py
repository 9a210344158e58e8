"""The rows of a report, each with what JSON has of it. Names are printable, numbers are bytes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class OwnerRow:
    """One owner's visible bytes."""

    kind: str
    name: str
    version: str
    size: int
    retained: int | None
    """Bytes that leave with it and all that only it needs; None where nothing tells."""
    files: int
    categories: Mapping[str, int]
    """Bytes by category, largest first."""
    layers: Mapping[int, int]
    """Bytes by number of the layer that holds them, in order of the layers."""

    @property
    def label(self) -> str:
        """`pip:torch 2.9.0`, as `str(Owner)`."""
        label = f"{self.kind}:{self.name}" if self.name else self.kind
        return f"{label} {self.version}" if self.version else label

    def to_dict(self) -> dict[str, Any]:
        """The row as JSON has it."""
        return {
            "kind": self.kind,
            "name": self.name,
            "version": self.version,
            "size": self.size,
            "retained": self.retained,
            "files": self.files,
            "categories": self.categories,
            "layers": {str(number): size for number, size in self.layers.items()},
        }

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> OwnerRow:
        layers = {int(number): size for number, size in fields["layers"].items()}
        return cls(**{**fields, "layers": layers})


@dataclass(frozen=True, slots=True)
class LayerRow:
    """One layer's bytes, and what became of them."""

    number: int
    diff_id: str
    digest: str | None
    """Digest of the compressed blob."""
    command: str
    """What made it, without the noise that builders put around it."""
    size: int
    packed: int | None
    overwritten: int
    deleted: int
    seconds: float | None
    """Time it took to build by the history's timestamps."""
    members: int

    def to_dict(self) -> dict[str, Any]:
        """The row as JSON has it; its number is its place there."""
        return {
            "diff_id": self.diff_id,
            "digest": self.digest,
            "command": self.command,
            "size": self.size,
            "packed": self.packed,
            "overwritten": self.overwritten,
            "deleted": self.deleted,
            "seconds": self.seconds,
            "members": self.members,
        }


@dataclass(frozen=True, slots=True)
class HiddenRow:
    """Bytes of one layer that one later layer (or the layer itself) hides in one way."""

    layer: int
    """Number of the layer that holds them."""
    by: int
    """Number of the layer that hides them."""
    how: str
    """`overwritten` or `deleted`."""
    size: int
    files: int
    largest: tuple[tuple[str, int], ...]
    """The paths that hide the most, with the bytes they hide: a file, or a removed directory."""

    def to_dict(self) -> dict[str, Any]:
        """The row as JSON has it."""
        return {
            "layer": self.layer,
            "by": self.by,
            "how": self.how,
            "size": self.size,
            "files": self.files,
            "largest": [{"path": path, "size": size} for path, size in self.largest],
        }

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> HiddenRow:
        largest = tuple((cause["path"], cause["size"]) for cause in fields["largest"])
        return cls(**{**fields, "largest": largest})


@dataclass(frozen=True, slots=True)
class FileRow:
    """One visible file."""

    path: str
    size: int
    owner: str
    category: str
    layer: int
    device_code: Mapping[str, int]
    """Bytes by GPU architecture, where its inside was read."""
    debug: int | None
    """Bytes of debug sections and of symbols that no loader reads; None where it was not read."""

    def to_dict(self) -> dict[str, Any]:
        """The row as JSON has it."""
        return {
            "path": self.path,
            "size": self.size,
            "owner": self.owner,
            "category": self.category,
            "layer": self.layer,
            "inside": None
            if self.debug is None
            else {"device_code": self.device_code, "debug": self.debug},
        }

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> FileRow:
        inside = fields["inside"]
        return cls(
            path=fields["path"],
            size=fields["size"],
            owner=fields["owner"],
            category=fields["category"],
            layer=fields["layer"],
            device_code=inside["device_code"] if inside else {},
            debug=inside["debug"] if inside else None,
        )


@dataclass(frozen=True, slots=True)
class DirectoryRow:
    """One directory with all that lies below it."""

    path: str
    size: int
    files: int

    def to_dict(self) -> dict[str, Any]:
        """The row as JSON has it."""
        return {"path": self.path, "size": self.size, "files": self.files}


@dataclass(frozen=True, slots=True)
class DisputeRow:
    """A path that several owners claim by name."""

    path: str
    kept: str
    refused: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """The row as JSON has it."""
        return {"path": self.path, "kept": self.kept, "refused": list(self.refused)}


@dataclass(frozen=True, slots=True)
class Filter:
    """What a report was narrowed to: files whose path, or whose owner's name, fits a pattern."""

    pattern: str
    size: int
    files: int

    def to_dict(self) -> dict[str, Any]:
        """The filter as JSON has it."""
        return {"pattern": self.pattern, "size": self.size, "files": self.files}
