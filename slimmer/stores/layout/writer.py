"""Images written to an OCI layout in a folder (OCI `image-layout.md`), new or grown by one."""

from __future__ import annotations

import fcntl
import os
import shutil
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from slimmer.image import Digest, json_list, json_object, json_value
from slimmer.stores.atomic import (
    WriteError,
    expect_room,
    sync_folder,
    temporary_folder,
    writing_to,
)
from slimmer.stores.content import Extent
from slimmer.stores.manifests import LAYOUT, compact, entry_of, index_of, manifest_of
from slimmer.stores.oci import DOCUMENT, REFERENCE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from slimmer.edits.drafts import Draft
    from slimmer.image import Config
    from slimmer.stores.blobs import Poured, Sink


class Folder:
    """The blobs of a layout that is built in `folder`; a `Sink`."""

    def __init__(self, folder: Path, there: Path | None) -> None:
        self._folder = folder
        self._there = there
        """The layout that it will be added to."""

    def size_of(self, digest: Digest) -> int | None:
        for root in (self._folder, self._there):
            if root is not None:
                try:
                    return self._path(root, digest).stat().st_size
                except FileNotFoundError:
                    pass
        return None

    def put(self, chunks: Iterator[bytes], digest: Callable[[], Digest]) -> tuple[Digest, int]:
        partial = self._folder / "partial"
        size = 0
        with partial.open("wb") as file:
            for chunk in chunks:
                file.write(chunk)
                size += len(chunk)
            file.flush()
            os.fsync(file.fileno())
        found = digest()
        path = self._path(self._folder, found)
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.rename(path)
        return found, size

    def document(self, name: str, raw: bytes) -> None:
        with (self._folder / name).open("wb") as file:
            file.write(raw)
            file.flush()
            os.fsync(file.fileno())

    @staticmethod
    def _path(root: Path, digest: Digest) -> Path:
        return root / "blobs" / digest.algorithm / digest.hex


def write_layout(
    path: Path,
    tag: str,
    draft: Draft,
    names: dict[str, str],
    fill: Callable[[Sink], tuple[Config, Sequence[Poured]]],
) -> tuple[Config, Sequence[Poured], Digest]:
    """Write a layout; one that is there keeps its other images, its tag moves at the very end."""
    path = Path(os.path.realpath(path))
    expect_room(path, file=False)
    there = path if is_layout(path) else None
    with (
        writing_to(str(path)),
        temporary_folder(path if there else path.parent, "slimmer" if there else path.name) as new,
    ):
        sink = Folder(new, there)
        config, layers = fill(sink)
        raw, media_type = manifest_of(draft, config, layers)
        digest = Digest.of(raw)
        for document, name in ((config.raw, config.id), (raw, digest)):
            if sink.size_of(name) != len(document):
                sink.put(iter([document]), lambda name=name: name)  # type: ignore[misc]
        entry = entry_of(raw, media_type, config, names)
        if there is None:
            sink.document("index.json", index_of([entry]))
            sink.document("oci-layout", LAYOUT)
            for folder in (*new.glob("blobs/*"), new / "blobs", new):
                sync_folder(folder)
            new.rename(path)
            sync_folder(path.parent)
        else:
            _add(there, new, sink, entry, tag)
    return config, layers, digest


def merge(new: Path, there: Path) -> None:
    """Move the image of a fresh layout into one that is there, under the tag that it has."""
    with writing_to(str(there)):
        where = f"{new}/index.json"
        raw = Extent.whole(where).read(DOCUMENT, where)
        [entry] = json_list(json_object(json_value(raw, where), where).get("manifests"), where)
        tag = json_object(entry.get("annotations") or {}, where).get(REFERENCE, "")
        _add(there, new, Folder(new, there), entry, tag)
        shutil.rmtree(new, ignore_errors=True)


def is_layout(path: Path) -> bool:
    """Whether an image can be added to what is there; False where a layout may be made."""
    if not path.exists():
        return False
    if path.is_dir() and (path / "index.json").is_file() and (path / "oci-layout").is_file():
        return True
    if path.is_dir() and not any(path.iterdir()):
        return False
    raise WriteError(
        f"{path} is there and is no OCI layout", hint="name a new folder, or one with an OCI layout"
    )


def _add(there: Path, new: Path, sink: Folder, entry: dict[str, Any], tag: str) -> None:
    """Move the blobs over, then let the index name them: in this order, so that it never lies."""
    moved: list[Path] = []
    staged = new / "index.json"
    written = False
    try:
        for blob in sorted(new.glob("blobs/*/*")):
            place = there / blob.relative_to(new)
            place.parent.mkdir(parents=True, exist_ok=True)
            if not place.exists():
                moved.append(place)
            blob.rename(place)
        for folder in there.glob("blobs/*"):
            sync_folder(folder)
        with _locked(there):
            where = f"{there}/index.json"
            raw = Extent.whole(where).read(DOCUMENT, where)
            fields = json_object(json_value(raw, where), where)
            others = [
                one
                for one in json_list(fields.get("manifests") or [], f"{where}, manifests")
                if (json_object(one, where).get("annotations") or {}).get(REFERENCE) != tag
            ]
            sink.document(staged.name, compact({**fields, "manifests": [*others, entry]}))
            written = True
            staged.rename(there / staged.name)
        sync_folder(there)
    finally:
        if not written or staged.exists():
            for place in moved:
                place.unlink(missing_ok=True)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """One writer at a time: each reads the index, adds to it, and puts it back."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)
