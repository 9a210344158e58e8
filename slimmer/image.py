"""An immutable view of a container image: what its manifest and its config say of it.

Terms are those of the OCI image specification (`descriptor.md`, `manifest.md`, `config.md`) and of
Docker's image specification v1.2, whose config has the same shape.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Protocol

from slimmer.errors import SlimmerError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from contextlib import AbstractContextManager
    from typing import BinaryIO

    from slimmer.tar.reading import Forward, Header

    Want = Callable[[Header], int]
    """How many bytes of a member's content to hand over: 0 for none, more than it has for all."""

DIGEST = re.compile(r"(sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128})\Z")


_ALIASES = {
    "x86_64": ("amd64", ""),
    "x86-64": ("amd64", ""),
    "aarch64": ("arm64", ""),
    "i386": ("386", ""),
    "i686": ("386", ""),
    "armhf": ("arm", "v7"),
    "armel": ("arm", "v6"),
}
"""What else architectures are called: the name that images use, and the variant it implies."""
_VARIANTS = {"arm": "v7", "arm64": "v8", "amd64": "v1"}
"""The variant that is meant where none is written."""
_VARIANT = re.compile(r"v?(\d{1,3}(?:\.\d{1,3})?)\Z").match


class ImageError(SlimmerError):
    """An image that cannot be read as its specification says."""


class Digest(str):
    """A content identifier such as `sha256:…` (OCI `descriptor.md`, Digests)."""

    __slots__ = ()

    @classmethod
    def parse(cls, text: object, where: str) -> Digest:
        """Check a digest that came from outside; `where` names its place in the error."""
        if not isinstance(text, str) or not DIGEST.match(text):
            raise ImageError(f"expected a digest such as 'sha256:…', got {text!r:.100} in {where}")
        return cls(text)

    @classmethod
    def of(cls, content: bytes, algorithm: str = "sha256") -> Digest:
        return cls(f"{algorithm}:{hashlib.new(algorithm, content).hexdigest()}")

    @property
    def algorithm(self) -> str:
        return self.partition(":")[0]

    @property
    def hex(self) -> str:
        return self.partition(":")[2]

    @property
    def short(self) -> str:
        """The first twelve hexadecimal digits, as Docker prints them."""
        return self.hex[:12]


@dataclass(frozen=True, slots=True)
class Platform:
    """What an image runs on (OCI `image-index.md`, platform).

    >>> slimmer.Platform.parse("linux/arm64")
    Platform(os='linux', architecture='arm64', variant='')
    """

    os: str
    architecture: str
    variant: str = ""

    @classmethod
    def parse(cls, text: str) -> Platform:
        """Read `linux/arm64` or `linux/arm/v7`, as the `--platform` of other tools does."""
        parts = text.lower().split("/")
        if len(parts) not in (2, 3) or not all(parts):
            raise ImageError(
                f"expected a platform such as 'linux/amd64', got {text!r}",
                hint="name the operating system and the architecture: --platform linux/arm64",
            )
        architecture, variant = _ALIASES.get(parts[1], (parts[1], ""))
        return cls(parts[0], architecture, parts[2] if len(parts) > 2 else variant)

    def accepts(self, other: Platform) -> bool:
        """Whether an image for `other` is one that was asked for as `self`: of the same
        architecture and, where a variant is asked for, of none that is newer."""
        mine, its = self._plain(), other._plain()
        if mine != its or not self.variant:
            return mine == its
        asked, given = self.rank(self), self.rank(other)
        return self.variant == other.variant or (asked > 0 and 0 < given <= asked)

    def rank(self, other: Platform) -> float:
        """How new the variant of `other` is: 7 for `arm/v7`, and for `arm`, which means it; 0
        where it tells nothing (containerd's `platforms.Normalize` has the same defaults)."""
        architecture, told = _ALIASES.get(other.architecture, (other.architecture, ""))
        variant = other.variant or told or _VARIANTS.get(architecture, "")
        match = _VARIANT(variant)
        return float(match[1]) if match else 0

    def _plain(self) -> tuple[str, str]:
        return self.os, _ALIASES.get(self.architecture, (self.architecture, ""))[0]

    def __str__(self) -> str:
        return "/".join(part for part in (self.os, self.architecture, self.variant) if part)


@dataclass(frozen=True, slots=True)
class Descriptor:
    """A reference to a blob (OCI `descriptor.md`)."""

    media_type: str
    digest: Digest
    size: int
    """Length of the blob in bytes."""
    annotations: tuple[tuple[str, str], ...] = ()

    @classmethod
    def parse(cls, value: object, where: str) -> Descriptor:
        fields = json_object(value, where)
        size = fields.get("size")
        if not isinstance(size, int) or isinstance(size, bool) or size < 0:
            raise ImageError(f"expected a size in bytes, got {size!r:.60} in {where}.size")
        annotations = json_object(fields.get("annotations") or {}, f"{where}.annotations")
        return cls(
            str(fields.get("mediaType", "")),
            Digest.parse(fields.get("digest"), f"{where}.digest"),
            size,
            tuple(sorted((key, str(text)) for key, text in annotations.items())),
        )

    @property
    def compressed(self) -> bool:
        return self.media_type.endswith(("gzip", "zstd"))


@dataclass(frozen=True, slots=True)
class History:
    """How one layer, or one change of the config, came to be (OCI `config.md`, history)."""

    created_by: str = ""
    created: datetime | None = None
    empty_layer: bool = False
    """True for a change of the config alone, which added no layer."""


@dataclass(frozen=True, slots=True)
class Config:
    """An image's config: the exact bytes, and what slimmer reads out of them (OCI `config.md`)."""

    raw: bytes
    """The JSON as it is stored; its digest is the image ID."""
    platform: Platform
    diff_ids: tuple[Digest, ...]
    history: tuple[History, ...]
    environment: tuple[tuple[str, str], ...]
    working_directory: str
    labels: tuple[tuple[str, str], ...]
    entrypoint: tuple[str, ...]
    command: tuple[str, ...]
    user: str
    healthcheck: tuple[str, ...]
    volumes: tuple[str, ...]
    """Paths that an engine mounts a volume at, filled with what the image has there."""

    def __repr__(self) -> str:
        # Without the environment: it holds secrets, and a notebook's output is often shared.
        return f"Config({str(self.platform)!r}, {len(self.diff_ids)} layers)"

    @classmethod
    def parse(cls, raw: bytes) -> Config:
        """Read a config blob; raises ImageError that names the place of what is wrong."""
        fields = json_object(json_value(raw, "config"), "config")
        rootfs = json_object(fields.get("rootfs"), "config.rootfs")
        diff_ids = json_list(rootfs.get("diff_ids"), "config.rootfs.diff_ids")
        runtime = json_object(fields.get("config") or {}, "config.config")
        labels = json_object(runtime.get("Labels") or {}, "config.config.Labels")
        health = json_object(runtime.get("Healthcheck") or {}, "config.config.Healthcheck")
        volumes = json_object(runtime.get("Volumes") or {}, "config.config.Volumes")
        return cls(
            raw=raw,
            platform=Platform(
                str(fields.get("os") or ""),
                str(fields.get("architecture") or ""),
                str(fields.get("variant") or ""),
            ),
            diff_ids=tuple(
                Digest.parse(text, f"config.rootfs.diff_ids[{number}]")
                for number, text in enumerate(diff_ids)
            ),
            history=tuple(
                _history(entry, f"config.history[{number}]")
                for number, entry in enumerate(
                    json_list(fields.get("history") or [], "config.history")
                )
            ),
            environment=tuple(
                (name, value)
                for name, _, value in (text.partition("=") for text in _strings(runtime, "Env"))
            ),
            working_directory=str(runtime.get("WorkingDir") or ""),
            labels=tuple(sorted((key, str(text)) for key, text in labels.items())),
            entrypoint=_strings(runtime, "Entrypoint"),
            command=_strings(runtime, "Cmd"),
            user=str(runtime.get("User") or ""),
            healthcheck=_strings(health, "Test"),
            volumes=tuple(sorted(volumes)),
        )

    @property
    def id(self) -> Digest:
        """The image ID: the digest of the config."""
        return Digest.of(self.raw)


class LayerContent(Protocol):
    """The one hole through which a layer's bytes enter; each store makes it as cheap as it can."""

    @property
    def cache_key(self) -> str | None:
        """What makes a scan of this content valid for another run, or None to scan anew.

        The diff_id alone where the medium vouches for it or the bytes are checked against it;
        otherwise together with the identity of the file that the bytes come from.
        """
        ...

    def members(self, want: Want) -> Iterator[tuple[Header, bytes | None]]:
        """Every member in the tar's order, with as much of its content as is wanted.

        Raises ImageError where the tar, the compression or a digest is wrong. Content of members
        that upper layers hide may be missing (None) where the medium only shows the merged tree.
        """
        ...

    def files(self, headers: Iterable[Header]) -> Iterator[tuple[Header, Read]]:
        """Random access to the content of some regular files of this layer, in the tar's order.

        Each reader is valid until the next one is asked for. Media without random access copy one
        file at a time to an unlinked temporary file.
        """
        ...

    @property
    def random_access(self) -> bool:
        """Whether `files` costs no more than what is read through it."""
        ...

    def walkable(self) -> AbstractContextManager[Forward]:
        """The uncompressed tar for whoever reads its headers, as cheaply as the medium can: what is
        skipped need not be read, and contents may be zeros where they would cost a read."""
        ...

    def open(self) -> AbstractContextManager[BinaryIO]:
        """The uncompressed tar, first byte to last, checked against diff_id at its end."""
        ...

    def tar_length(self) -> int | None:
        """Bytes of the uncompressed tar, where the medium tells them without reading all of it."""
        ...

    def open_blob(self) -> AbstractContextManager[BinaryIO] | None:
        """The blob as it is stored, checked at its end; None where the medium keeps no blob."""
        ...


class Origin(Protocol):
    """Where an image on disk lies."""

    @property
    def files(self) -> tuple[str, ...]:
        """Paths of the files that hold its layers: what must not be written over."""
        ...

    def document(self, path: str) -> bytes | None:
        """A JSON document beside it, by its path in the layout (OCI `image-layout.md`)."""
        ...


if TYPE_CHECKING:
    Read = Callable[[int, int], bytes]
    """`read(offset, length)`: that range of a file's content, shorter only at its end."""


@dataclass(frozen=True, slots=True)
class Layer:
    """One tar of filesystem changes (OCI `layer.md`)."""

    diff_id: Digest
    """Digest of the *uncompressed* tar."""
    content: LayerContent
    descriptor: Descriptor | None = None
    """The blob that holds the tar, where the medium has one."""
    packed: int | None = None
    """Compressed size of the blob in bytes; None where it is not known."""
    history: History = History()
    seconds: float | None = None
    """Time it took to build by the timestamps of the history, where they tell."""

    def __repr__(self) -> str:
        return f"Layer({self.diff_id[:19]!r}, packed={self.packed})"


@dataclass(frozen=True, slots=True)
class Image:
    """A container image: one config and its layers, lowest first.

    >>> slimmer.open("app.tar").layers[0].diff_id[:10]
    'sha256:07a'
    """

    reference: str
    """What the user called it."""
    config: Config
    layers: tuple[Layer, ...]
    manifest: bytes | None = None
    """The manifest as it is stored, where the medium has one."""
    route: str = ""
    """How the bytes are reached, for people: `archive`, `engine's folders`, `engine's API` …"""
    problems: tuple[str, ...] = ()
    """What is odd about the image but does not stop it from being read."""
    origin: Origin | None = None
    """Where it lies, for an image that lies in files."""

    def __repr__(self) -> str:
        platform = str(self.platform)
        return f"Image({self.reference!r}, {platform!r}, {len(self.layers)} layers)"

    @classmethod
    def of(
        cls,
        reference: str,
        config: Config,
        contents: Iterable[tuple[LayerContent, Descriptor | None, int | None]],
        manifest: bytes | None = None,
        route: str = "",
    ) -> Image:
        """Join a config with the layers' contents, and tell each layer its part of the history.

        Raises ImageError where the config does not list as many layers as there are.
        """
        parts = tuple(contents)
        if len(parts) != len(config.diff_ids):
            raise ImageError(
                f"the config of {reference} lists {len(config.diff_ids)} layers, "
                f"the manifest {len(parts)}",
                hint="the image is damaged; pull or save it again",
            )
        told = tuple(_layer_history(config.history))
        problems: tuple[str, ...] = ()
        if len(told) != len(parts):
            if told:
                problems = (f"the history tells of {len(told)} layers, there are {len(parts)}",)
            told = ((History(), None),) * len(parts)
        return cls(
            reference,
            config,
            tuple(
                Layer(diff_id, content, descriptor, packed, history, seconds)
                for diff_id, (content, descriptor, packed), (history, seconds) in zip(
                    config.diff_ids, parts, told, strict=True
                )
            ),
            manifest,
            route,
            problems,
        )

    @property
    def id(self) -> Digest:
        """The image ID: the digest of the config, the same in every medium."""
        return self.config.id

    @property
    def platform(self) -> Platform:
        return self.config.platform

    @property
    def packed(self) -> int | None:
        """Σ compressed blob sizes in bytes, or None where one is not known."""
        total = 0
        for layer in self.layers:
            if layer.packed is None:
                return None
            total += layer.packed
        return total


def json_value(raw: bytes, where: str) -> Any:
    try:
        return json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise ImageError(f"expected JSON in {where}: {error}") from None


def json_object(value: object, where: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise ImageError(f"expected an object, got {type(value).__name__} in {where}")
    return value


def json_list(value: object, where: str) -> list[Any]:
    if not isinstance(value, list):
        raise ImageError(f"expected a list, got {type(value).__name__} in {where}")
    return value


def _strings(runtime: Mapping[str, Any], key: str) -> tuple[str, ...]:
    value = runtime.get(key) or []
    if isinstance(value, str):  # Docker has accepted a bare string here since its first days
        value = [value]
    return tuple(str(item) for item in json_list(value, f"config.config.{key}"))


def _history(value: object, where: str) -> History:
    fields = json_object(value, where)
    created = fields.get("created")
    return History(
        str(fields.get("created_by") or fields.get("comment") or ""),
        _timestamp(created) if isinstance(created, str) else None,
        bool(fields.get("empty_layer")),
    )


def _timestamp(text: str) -> datetime | None:
    # Go prints nanoseconds (RFC 3339); Python reads at most microseconds.
    try:
        return datetime.fromisoformat(re.sub(r"(\.\d{6})\d+", r"\1", text))
    except ValueError:
        return None


_FIRST_YEAR = 2013
"""Docker's first; what is dated earlier (1970, 1980, year 1) was dated for reproducibility."""


def _layer_history(history: Iterable[History]) -> Iterator[tuple[History, float | None]]:
    """Each layer's own entry, and the seconds since the entry before it was made."""
    before: datetime | None = None
    for entry in history:
        seconds = None
        created = entry.created
        if created is not None and created.year < _FIRST_YEAR:
            created = None
        if before is not None and created is not None:
            try:
                seconds = max(0.0, (created - before).total_seconds())
            except TypeError:  # one of them tells its time zone, the other does not
                seconds = None
        before = created or before
        if not entry.empty_layer:
            yield entry, seconds
