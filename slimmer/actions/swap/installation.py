"""A wheel installed into a layer: what pip would have written, as additions to the image.

The `installer` library does the installing, as the binary-distribution-format specification has
it; this module is its source, which checks every member against RECORD, and its destination,
which writes nothing but remembers where each content lies. The contents are streamed from the
wheel when the layer is written.
"""

from __future__ import annotations

import csv
import hashlib
import io
import os
import posixpath
import tempfile
import zipfile
import zlib
from base64 import urlsafe_b64encode
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO, cast

import installer
from installer.destinations import WheelDestination
from installer.exceptions import InstallerError
from installer.records import Hash, InvalidRecordEntry, RecordEntry, parse_record_file
from installer.scripts import Script
from installer.sources import WheelSource

from slimmer.actions.swap.wheels import CHUNK, WheelError
from slimmer.edits.layer_edit import Addition
from slimmer.elf.file import DEVICE_CODE, Elf, ElfError
from slimmer.names import one_line
from slimmer.splice import Splice
from slimmer.splice import stream as spliced
from slimmer.tar.reading import DIRECTORY, FILE, Header, normalised

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from contextlib import AbstractContextManager

    from installer.scripts import ScriptSection
    from installer.sources import WheelContentElement
    from installer.utils import Scheme

    from slimmer.actions.swap.wheels import Wheel
    from slimmer.splice import Read

    Trim = Callable[[Read, int], Splice | None]
    """What may leave of an ELF file, by `read(offset, length)` and its size."""

INSTALLER = b"slimmer\n"
SIGNATURES = ("RECORD.jws", "RECORD.p7s")
SCRIPT_LIMIT = 1 << 20
"""Longest script, in bytes, that is looked at for an interpreter's name to be filled in."""


@dataclass(frozen=True, slots=True)
class InstallScheme:
    """Where in an image a wheel goes, and how its files are to look there."""

    layer: int
    site: bytes
    """`purelib` and `platlib`: where the distribution's packages are."""
    scripts: bytes
    headers: bytes
    data: bytes
    interpreter: str
    """What the first line of a script names."""
    uid: int
    gid: int
    mode: int
    """Of a file that is no program."""
    folder_mode: int
    mtime: int
    """Of everything: when the old distribution was installed. Nanoseconds."""

    def root(self, scheme: str) -> bytes:
        return {"scripts": self.scripts, "headers": self.headers, "data": self.data}.get(
            scheme, self.site
        )

    def header(self, path: bytes, size: int, *, program: bool) -> Header:
        mode = self.mode | ((self.mode & 0o444) >> 2) if program else self.mode
        return self._member(path, FILE, size, mode)

    def folder(self, path: bytes) -> Header:
        return self._member(path, DIRECTORY, 0, self.folder_mode)

    def _member(self, path: bytes, kind: str, size: int, mode: int) -> Header:
        return Header(
            path,
            kind,
            size,
            mode,
            self.uid,
            self.gid,
            self.mtime,
            b"",
            (0, 0),
            (),
            0,
            0,
            size,
            sparse=False,
        )


@dataclass(frozen=True, slots=True)
class Installed:
    """The files that installing a wheel makes."""

    additions: tuple[Addition, ...]
    left_out: tuple[bytes, ...]
    """Paths that the wheel has and that were not wanted."""
    device_code: tuple[str, ...]
    """Members of the wheel with code for a GPU."""
    trimmed: int
    """Bytes by which the files are smaller than in the wheel."""


def install(
    wheel: Wheel,
    place: InstallScheme,
    *,
    requested: bool,
    wanted: Callable[[bytes], bool] = lambda path: True,
    trim: Trim | None = None,
) -> Installed:
    """Install a wheel; every member is read once and checked against the wheel's RECORD.

    `wanted` says of a path whether it is to be there; what is left out is not in RECORD either.
    Raises WheelError for a wheel that is damaged, or that writes outside of its places.
    """
    destination = _Collected(wheel, place, wanted, trim)
    # PEP 610: a wheel that was found by its name and version has no direct_url.json.
    notes = {"INSTALLER": INSTALLER} | ({"REQUESTED": b""} if requested else {})
    try:
        installer.install(_WheelMembers(wheel), destination, notes)
    except _BAD as error:
        raise WheelError(f"{wheel.file_name} cannot be installed: {one_line(str(error))}") from None
    return Installed(
        tuple(destination.additions),
        tuple(destination.left_out),
        tuple(destination.device_code),
        destination.trimmed,
    )


_BAD = (
    AssertionError,
    EOFError,
    InstallerError,
    InvalidRecordEntry,
    KeyError,
    OSError,
    ValueError,
    zipfile.BadZipFile,
    zlib.error,
)
"""What `installer` and `zipfile` raise over a wheel that is not well made."""


class _Member:
    """The content of a wheel's member, and what RECORD says of it."""

    def __init__(
        self, wheel: Wheel, info: zipfile.ZipInfo, record: tuple[str, str, str] | None
    ) -> None:
        self.info = info
        self._wheel = wheel
        self._record = record

    def open(self) -> AbstractContextManager[BinaryIO]:
        return cast("AbstractContextManager[BinaryIO]", self._wheel.zip.open(self.info))

    def chunks(self) -> Iterator[bytes]:
        """The content; raises WheelError at its end where it is not what RECORD says."""
        algorithm, _, expected = (self._record or ("", "", ""))[1].partition("=")
        signature = posixpath.basename(self.info.filename) in SIGNATURES
        if not signature and algorithm not in ("sha256", "sha384", "sha512"):
            raise WheelError(
                f"{self._wheel.file_name}: its RECORD has no hash of {one_line(self.info.filename)}"
            )
        hasher = hashlib.new(algorithm or "sha256")
        size = 0
        with self.open() as file:
            while chunk := file.read(CHUNK):
                hasher.update(chunk)
                size += len(chunk)
                yield chunk
        told = self._record[2] if self._record else ""
        if not signature and (encoded(hasher.digest()) != expected or told not in ("", str(size))):
            raise WheelError(
                f"{self._wheel.file_name}: {one_line(self.info.filename)} is not what its RECORD"
                " says",
                hint="the wheel is damaged or was changed; get it again",
            )


def encoded(digest: bytes) -> str:
    """A hash as RECORD writes it."""
    return urlsafe_b64encode(digest).rstrip(b"=").decode()


class _WheelMembers(WheelSource):
    """The members of a wheel, in its order."""

    def __init__(self, wheel: Wheel) -> None:
        stem = wheel.dist_info.removesuffix(".dist-info")
        name, _, version = stem.partition("-")
        super().__init__(name, version)
        self._wheel = wheel

    @property
    def dist_info_filenames(self) -> list[str]:
        prefix = self.dist_info_dir + "/"
        return [
            name.removeprefix(prefix)
            for name in self._wheel.zip.namelist()
            if name.startswith(prefix) and not name.endswith("/")
        ]

    def read_dist_info(self, filename: str) -> str:
        return self._wheel.read(f"{self.dist_info_dir}/{filename}").decode()

    def get_contents(self) -> Iterator[WheelContentElement]:
        rows = parse_record_file(self.read_dist_info("RECORD").splitlines())
        records = {row[0]: row for row in rows}
        for info in self._wheel.zip.infolist():
            name = info.filename
            # Bytecode in a wheel is nobody's: no installer takes it.
            if name.endswith("/") or "__pycache__" in name.split("/")[:-1]:
                continue
            record = records.get(name)
            member = _Member(self._wheel, info, record)
            mode = info.external_attr >> 16
            program = (mode & 0o170000) == 0o100000 and bool(mode & 0o111)
            yield record or (name, "", ""), cast("BinaryIO", member), program


class _Collected(WheelDestination):
    """Remembers what is written, instead of writing it."""

    def __init__(
        self, wheel: Wheel, place: InstallScheme, wanted: Callable[[bytes], bool], trim: Trim | None
    ) -> None:
        self._wheel = wheel
        self._place = place
        self._wanted = wanted
        self._trim = trim
        self._omitted: set[tuple[str, str]] = set()
        self._paths: set[bytes] = set()
        self.additions: list[Addition] = []
        self.left_out: list[bytes] = []
        self.device_code: list[str] = []
        self.trimmed = 0

    def write_script(
        self, name: str, module: str, attr: str, section: ScriptSection
    ) -> RecordEntry:
        name, content = Script(name, module, attr, section).generate(
            self._place.interpreter, "posix"
        )
        return self._put("scripts", name, content, program=True)

    def write_file(
        self,
        scheme: Scheme,
        path: str | os.PathLike[str],
        stream: BinaryIO,
        is_executable: bool,
    ) -> RecordEntry:
        name = os.fspath(path)
        if not isinstance(stream, _Member):
            return self._put(scheme, name, stream.read(), program=is_executable)
        if scheme == "scripts" and stream.info.file_size <= SCRIPT_LIMIT:
            content = b"".join(stream.chunks())
            if content.startswith(b"#!python"):
                _, newline, rest = content.partition(b"\n")
                content = b"#!" + self._place.interpreter.encode() + newline + rest
                return self._put(scheme, name, content, program=is_executable)
        digest, size, splice = self._read(stream)
        opened = stream.open if splice is None else _spliced(stream.open, splice)
        return self._add(scheme, name, digest, size, opened, program=is_executable)

    def finalize_installation(
        self,
        scheme: Scheme,
        record_file_path: str,
        records: Iterable[tuple[Scheme, RecordEntry]],
    ) -> None:
        site = "/" + os.fsdecode(self._place.site)
        text = io.StringIO()
        rows: list[tuple[str, str, str]] = []
        for other, record in records:
            if (other, record.path) not in self._omitted:
                root = "/" + os.fsdecode(self._place.root(other))
                rows.append(
                    record.to_row(None if root == site else posixpath.relpath(root, site) + "/")
                )
        csv.writer(text, lineterminator="\n").writerows(sorted(rows))
        content = text.getvalue().encode("utf-8", "surrogateescape")
        self._put(scheme, record_file_path, content, program=False)

    def _read(self, member: _Member) -> tuple[bytes, int, Splice | None]:
        """SHA-256 and size of what a member becomes, and how it becomes that."""
        chunks = member.chunks()
        hasher = hashlib.sha256()
        size = 0
        first = next(chunks, b"")
        if not first.startswith(b"\x7fELF"):
            for chunk in _chain(first, chunks):
                hasher.update(chunk)
                size += len(chunk)
            return hasher.digest(), size, None
        # Section headers stand at the end: one library at a time lies in a file without a name.
        with tempfile.TemporaryFile(prefix="slimmer-") as file:
            for chunk in _chain(first, chunks):
                hasher.update(chunk)
                size += len(chunk)
                file.write(chunk)
            file.flush()
            descriptor = file.fileno()

            def read(offset: int, length: int) -> bytes:
                return os.pread(descriptor, max(0, min(length, size - offset)), offset)

            if _has_device_code(read, size):
                self.device_code.append(member.info.filename)
            splice = _trimmed(self._trim, read, size)
            if splice is None:
                return hasher.digest(), size, None
            hasher = hashlib.sha256()
            file.seek(0)
            for chunk in spliced(file, splice):
                hasher.update(chunk)
        self.trimmed += size - splice.size
        return hasher.digest(), splice.size, splice

    def _put(self, scheme: str, path: str, content: bytes, *, program: bool) -> RecordEntry:
        digest = hashlib.sha256(content).digest()

        def opened() -> AbstractContextManager[BinaryIO]:
            return io.BytesIO(content)

        return self._add(scheme, path, digest, len(content), opened, program=program)

    def _add(
        self,
        scheme: str,
        path: str,
        digest: bytes,
        size: int,
        opened: Callable[[], AbstractContextManager[BinaryIO]],
        *,
        program: bool,
    ) -> RecordEntry:
        name = path.encode("utf-8", "surrogateescape")
        if name.startswith(b"/") or b".." in name.split(b"/") or not normalised(name):
            raise WheelError(
                f"{self._wheel.file_name} writes outside of its place: {one_line(path)}"
            )
        root = self._place.root(scheme)
        target = normalised(root + b"/" + name)
        if target in self._paths:
            raise WheelError(f"{self._wheel.file_name} writes {one_line(path)} twice")
        self._paths.add(target)
        if self._wanted(target):
            header = self._place.header(target, size, program=program)
            self.additions.append(Addition(self._place.layer, header, opened))
        else:
            self.left_out.append(target)
            self._omitted.add((scheme, path))
        return RecordEntry(path, Hash("sha256", encoded(digest)), size)


def _chain(first: bytes, rest: Iterable[bytes]) -> Iterator[bytes]:
    yield first
    yield from rest


def _has_device_code(read: Read, size: int) -> bool:
    try:
        elf = Elf.parse(read, size)
    except ElfError:
        return False
    return any(section.name in DEVICE_CODE and section.size for section in elf.sections)


def _trimmed(trim: Trim | None, read: Read, size: int) -> Splice | None:
    if trim is None:
        return None
    try:
        splice = trim(read, size)
    except ElfError:
        return None
    return splice if splice is not None and splice.size < size else None


class _Spliced:
    """A spliced member as a file that is read forwards."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._held = b""

    def read(self, length: int, /) -> bytes:
        while not self._held:
            chunk = next(self._chunks, None)
            if chunk is None:
                return b""
            self._held = chunk
        part, self._held = self._held[:length], self._held[length:]
        return part


def _spliced(
    opened: Callable[[], AbstractContextManager[BinaryIO]], splice: Splice
) -> Callable[[], AbstractContextManager[BinaryIO]]:
    @contextmanager
    def reopened() -> Iterator[BinaryIO]:
        with opened() as file:
            yield cast("BinaryIO", _Spliced(spliced(file, splice)))

    return reopened


def folders(
    place: InstallScheme,
    additions: Iterable[Addition],
    there: Mapping[bytes, Header],
    before: Mapping[bytes, Header],
) -> list[Addition]:
    """The folders that the additions need and that are not there, outermost first; one that was
    there before looks as it did."""
    missing: set[bytes] = set()
    for addition in additions:
        folder = addition.header.path
        while b"/" in folder:
            folder = folder[: folder.rfind(b"/")]
            if folder in missing or folder in there:
                break
            missing.add(folder)
    found: list[Addition] = []
    for folder in sorted(missing):
        old = before.get(folder)
        header = place.folder(folder)
        if old is not None and old.kind == DIRECTORY:
            header = old._replace(start=0, data=0)
        found.append(Addition(place.layer, header))
    return found
