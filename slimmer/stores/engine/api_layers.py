"""Layers as an engine shows them through its API, with no export and nothing run.

A container is created, never started. What the engine keeps of the image's layers is mounted into
it read-only, each tar-split and each wanted file by itself below one folder, so that a single
request brings them all: a request costs 50 to 100 ms whatever it asks for, a mount 0.2 ms.
The engine follows symlinks of a mount's source on its own host, so an image could have it mount a
file of that host: `straight` says which files may be named at all.
Measured on an image of 65,895 entries: all headers in 0.14 s, 415 files of evidence in 0.23 s.
"""

from __future__ import annotations

import contextlib
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple

from slimmer.files import parent
from slimmer.signals import unwinding
from slimmer.stores.content import MediumError, as_file, copied, members
from slimmer.stores.decompression import PACKED, verified
from slimmer.stores.engine.folder_layers import Split, nothing, zeros
from slimmer.tar.reading import DIRECTORY, FILE, Forward, Header, Stream, walk

if TYPE_CHECKING:
    from collections.abc import Collection, Generator, Iterable, Iterator, Sequence

    from docker import APIClient

    from slimmer.image import Digest, Read, Want

FOLDER = "/.slimmer"
"""Where things are mounted in the temporary container."""
LABEL = "slimmer.temporary"
MOUNTS = 1000
"""Mounts of one temporary container at most."""
RECORD = 1 << 30
"""Bytes that the engine's record of a layer may have: 40 bytes for each of its members."""
ALONE = 100
"""Files that no mount can name, asked for one by one, at most."""
WHOLE = 24 << 20
"""A larger file of which only the beginning is wanted takes a request of its own: a request costs
as much time as so many bytes do."""
CONTAINERS = 3
"""Containers that such requests are spread over."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where an engine keeps one layer, in its own file system."""

    record: str
    """Folder of the layer in `layerdb`."""
    folder: str
    """Folder with the layer's files."""
    diff_id: Digest


def request(client: APIClient, resource: str, **parameters: object) -> Any:
    """A streamed answer of an engine's API, to be closed."""
    try:
        response = client.get(
            f"{client.base_url}/v{client.api_version}{resource}",
            params=parameters,
            headers={"Accept-Encoding": "identity"},  # gzip would cost more than the socket does
            stream=True,
            timeout=None,  # an engine may write all of an export to its own disk before it answers
        )
    except OSError as error:  # as `requests` has them
        raise broken_off(error) from None
    if response.status_code != 200:
        with closing(response):
            try:
                text = response.json().get("message", "")
            except ValueError:
                text = response.reason
        raise MediumError(
            f"the engine refuses: {text}"[:400].replace("\n", " "),
            hint="save the image to an archive and name that",
        )
    return response


def chunks(response: Any) -> Generator[bytes]:
    """The body of a streamed answer."""
    from urllib3.exceptions import HTTPError

    with closing(response):
        try:
            yield from response.raw.stream(PACKED, decode_content=False)
        except (HTTPError, OSError) as error:
            raise broken_off(error) from None


def broken_off(error: Exception) -> MediumError:
    """What an error on the way to an engine means to people."""
    text = " ".join(str(error).split())[:300]
    return MediumError(f"the engine broke off: {text}", hint="see the engine's own log")


@contextmanager
def temporary(client: APIClient, image: str, mounts: Sequence[tuple[str, str]]) -> Iterator[str]:
    """The id of a container with these (source, target) mounts, removed whatever happens."""
    from docker.errors import APIError
    from docker.types import Mount

    def remove(container: str) -> None:
        with contextlib.suppress(APIError):
            client.remove_container(container, v=True, force=True)

    with unwinding():
        for left in client.containers(all=True, filters={"label": LABEL, "status": "created"}):
            # Only a process that was killed outright leaves one. Another may be at work just now.
            if left["Created"] < time.time() - 3600:
                remove(left["Id"])
        host = client.create_host_config(
            network_mode="none",
            mounts=[
                Mount(target, source, type="bind", read_only=True) for source, target in mounts
            ],
        )
        try:
            container = client.create_container(
                image, ["never-run"], entrypoint=[], labels={LABEL: ""}, host_config=host
            )["Id"]
        except (APIError, OSError) as error:
            text = " ".join(str(error).split())[:300]
            raise MediumError(
                f"the engine creates no container to look at the image: {text}",
                hint="save the image to an archive and name that",
            ) from None
        try:
            yield container
        finally:
            remove(container)


def archived(
    client: APIClient, container: str, path: str | bytes
) -> Generator[tuple[str, Header, Stream]]:
    """The regular files below a path of a container, in the order of their names."""
    body = chunks(request(client, f"/containers/{container}/archive", path=path))
    with closing(body):
        stream = Stream(body)
        for header, _ in walk(stream):
            if header.kind == FILE:
                yield header.path.decode("utf-8", "surrogateescape"), header, stream


class _Wanted(NamedTuple):
    """A member whose content, or its beginning, is wanted."""

    number: int
    """Number of its layer."""
    at: int
    """Number of the member in it."""
    header: Header
    limit: int
    """Bytes that are wanted."""
    source: str
    """Path in the engine's own file system; empty where none can be named."""


@dataclass(slots=True)
class Shown:
    """All layers of one image, fetched together: few requests, whichever layer asks first."""

    client: APIClient
    image: str
    places: tuple[Place, ...]
    _records: list[bytes] = field(default_factory=list)
    _scans: dict[int, list[tuple[Header, bytes | None]]] = field(default_factory=dict)
    _want: Want | None = None
    complete: bool = True
    """False once something wanted could not be had, so that the scan is not kept."""
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def config(self, source: str) -> bytes:
        """The image's config, which lies at `source`; the records come with it."""
        return self._open((source,))[0]

    def records(self) -> list[bytes]:
        """Each layer's tar-split, compressed."""
        if not self._records:
            self._open(())
        return self._records

    def _open(self, more: tuple[str, ...]) -> list[bytes]:
        count = len(self.places)
        sources = [*(f"{place.record}/tar-split.json.gz" for place in self.places), *more]
        found = self._fetch(sources, [RECORD] * len(sources))
        if len(found) < len(sources):
            raise MediumError("the engine does not hand out its records of the image")
        self._records = [found[number] for number in range(count)]
        return [found[number] for number in range(count, len(sources))]

    def scan(self, number: int, want: Want) -> list[tuple[Header, bytes | None]]:
        with self._lock:
            if number not in self._scans or self._want != want:
                self._scan(want)
            return self._scans[number]

    def _scan(self, want: Want) -> None:
        self._scans.clear()
        together: list[_Wanted] = []
        beginnings: list[_Wanted] = []
        others: list[_Wanted] = []
        for number, place in enumerate(self.places):
            headers = self._headers(number)
            scan: list[tuple[Header, bytes | None]] = [(header, None) for header in headers]
            self._scans[number] = scan
            named = straight(headers)
            for at, header in enumerate(headers):
                limit = min(want(header), header.stored)
                if not limit:
                    if want(header):
                        scan[at] = header, b""
                    continue
                source = _source(place, header, named)
                one = _Wanted(number, at, header, limit, source)
                if not source:
                    others.append(one)
                elif header.stored > max(WHOLE, limit):
                    beginnings.append(one)
                else:
                    together.append(one)
        found = self._fetch([one.source for one in together], [one.limit for one in together])
        contents = [(together[place], content) for place, content in found.items()]
        contents += self._beginnings(beginnings)
        if len(others) > ALONE:
            contents += self._in_folders(others)
        else:
            for one in others:
                for file, stream in self._alone(one.number, one.header):
                    contents.append((one, stream.at(file.data, one.limit)))
        for one, content in contents:
            if len(content) == one.limit:
                self._scans[one.number][one.at] = one.header, content
        self.complete = all(
            self._scans[one.number][one.at][1] is not None
            for one in (*together, *beginnings, *others)
        )
        self._want = want

    def _fetch(self, sources: Sequence[str], limits: Sequence[int]) -> dict[int, bytes]:
        """The beginnings of files of the engine's own file system, by their place in `sources`."""
        result: dict[int, bytes] = {}
        for first in range(0, len(sources), MOUNTS):
            mounts = [
                (source, f"{FOLDER}/{number}")
                for number, source in enumerate(sources[first : first + MOUNTS], first)
            ]
            with (
                temporary(self.client, self.image, mounts) as container,
                closing(archived(self.client, container, FOLDER)) as files,
            ):
                for name, header, stream in files:
                    number = int(name.rpartition("/")[2])
                    length = min(limits[number], header.stored)
                    result[number] = stream.at(header.data, length)
        return result

    def _beginnings(self, wanted: Sequence[_Wanted]) -> list[tuple[_Wanted, bytes]]:
        """The beginnings of large files: a request for each, broken off when it has come.

        An engine serves one request at a time for each container, so there are several.
        """
        count = min(CONTAINERS, len(wanted))
        mounts = [(place.folder, f"{FOLDER}/{number}") for number, place in enumerate(self.places)]
        with ExitStack() as stack:
            containers = [
                stack.enter_context(temporary(self.client, self.image, mounts))
                for _ in range(count)
            ]

            def read(first: int) -> list[tuple[_Wanted, bytes]]:
                result = []
                for one in wanted[first::count]:
                    path = f"{FOLDER}/{one.number}/{one.header.path.decode()}"
                    with closing(archived(self.client, containers[first], path)) as files:
                        for _, header, stream in files:
                            result.append((one, stream.at(header.data, one.limit)))
                            break
                return result

            with ThreadPoolExecutor(max(1, count)) as pool:
                return [found for part in pool.map(read, range(count)) for found in part]

    def _alone(self, number: int, header: Header) -> Iterator[tuple[Header, Stream]]:
        """A file that no mount can name, found by the engine from the layer's folder on."""
        mounts = [(self.places[number].folder, f"{FOLDER}/layer")]
        with temporary(self.client, self.image, mounts) as container:
            path = f"{FOLDER}/layer/".encode() + header.path
            try:
                with closing(archived(self.client, container, path)) as files:
                    for _, file, stream in files:
                        if file.stored == header.stored:
                            yield file, stream
                        return
            except MediumError:
                return  # it lies behind a symlink that leads out of the layer

    def _in_folders(self, wanted: Sequence[_Wanted]) -> Iterator[tuple[_Wanted, bytes]]:
        """Files that no mount can name, where they are many: all of their layers' folders go by,
        in which the engine follows no symlink."""
        by_layer: dict[int, dict[str, _Wanted]] = {}
        for one in wanted:
            path = one.header.path.decode("utf-8", "surrogateescape")
            by_layer.setdefault(one.number, {})[f"layer/{path}"] = one
        for number, by_path in by_layer.items():
            mounts = [(self.places[number].folder, f"{FOLDER}/layer")]
            with (
                temporary(self.client, self.image, mounts) as container,
                closing(archived(self.client, container, f"{FOLDER}/layer")) as files,
            ):
                for name, header, stream in files:
                    found = by_path.get(name)
                    if found is not None and header.stored == found.header.stored:
                        yield found, stream.at(header.data, found.limit)

    def copies(self, number: int, headers: Iterable[Header]) -> Iterator[tuple[Header, Read]]:
        """Files of one layer, one at a time in a temporary file."""
        name = f"layer {self.places[number].diff_id}"
        for header, found, stream in self._streams(number, headers):
            for _, read in copied(stream, [found], name):
                yield header, read

    def _streams(
        self, number: int, headers: Iterable[Header]
    ) -> Generator[tuple[Header, Header, Stream]]:
        """Files of one layer in the tar's order, each with where it is in which stream."""
        place = self.places[number]
        named = straight(self._headers(number))
        batch: list[Header] = []
        for header in sorted(headers, key=lambda header: header.data):
            if _source(place, header, named):
                batch.append(header)
                if len(batch) < MOUNTS:
                    continue
                yield from self._together(place, batch)
            else:
                yield from self._together(place, batch)
                for found, stream in self._alone(number, header):
                    yield header, found, stream
            batch = []
        yield from self._together(place, batch)

    def _together(
        self, place: Place, batch: Sequence[Header]
    ) -> Iterator[tuple[Header, Header, Stream]]:
        if not batch:
            return
        # The engine hands them out in the order of their names.
        mounts = [
            (f"{place.folder}/{header.path.decode()}", f"{FOLDER}/{at:06}")
            for at, header in enumerate(batch)
        ]
        with (
            temporary(self.client, self.image, mounts) as container,
            closing(archived(self.client, container, FOLDER)) as files,
        ):
            for name, found, stream in files:
                yield batch[int(name.rpartition("/")[2])], found, stream

    def _headers(self, number: int) -> list[Header]:
        split = Split(
            iter([self.records()[number]]), nothing, f"layer {self.places[number].diff_id}"
        )
        return [header for header, _ in members(split, lambda _: 0, split.name)]

    def _whole(self, number: int) -> Generator[tuple[Header, Header, Stream]]:
        """All files of one layer in the tar's order, by one request where that is possible."""
        headers = [header for header in self._headers(number) if header.stored]
        names = [header.path.split(b"/") for header in headers]
        if names != sorted(names):
            yield from self._streams(number, headers)
            return
        # This is the order that Docker itself writes layers in, and hands out a folder's files.
        by_path = {header.path: header for header in headers}
        mounts = [(self.places[number].folder, f"{FOLDER}/layer")]
        with (
            temporary(self.client, self.image, mounts) as container,
            closing(archived(self.client, container, f"{FOLDER}/layer")) as files,
        ):
            for name, found, stream in files:
                header = by_path.get(name.partition("/")[2].encode("utf-8", "surrogateescape"))
                if header is not None:
                    yield header, found, stream

    def tar_length(self, number: int) -> int:
        """Bytes of one layer's tar, from its record alone."""
        record = self.records()[number]
        return Split(iter([record]), nothing, f"layer {self.places[number].diff_id}").end()

    def tar(self, number: int) -> Generator[bytes]:
        """One layer's tar, put together from its record and its files."""
        name = f"layer {self.places[number].diff_id}"
        with closing(self._whole(number)) as files:
            now: tuple[Header, Header, Stream] | None = None

            def content(path: bytes, offset: int, length: int) -> bytes:
                nonlocal now
                while now is None or now[0].path != path:
                    now = next(files, None)
                    if now is None:
                        raise MediumError(
                            f"the engine does not hand out {path!r:.200} of {name}",
                            hint="save the image to an archive and name that",
                        )
                _, found, stream = now
                return stream.at(found.data + offset, min(length, found.stored - offset))

            yield from Split(iter([self.records()[number]]), content, name).chunks()


def straight(headers: Sequence[Header]) -> frozenset[bytes]:
    """Paths of the regular files that lie in a layer's folder just where its tar says.

    Each of them is named once, and below plain folders only. A layer that puts anything behind
    what is no folder (a symlink, a hard link to one) can put anything anywhere that way, a symlink
    to the engine's host in place of a file too: of such a layer no path can be vouched for.
    """
    kinds: dict[bytes, str] = {}
    for header in headers:
        again = header.path in kinds and not header.kind is kinds[header.path] is DIRECTORY
        kinds[header.path] = "several" if again else header.kind
    plain: dict[bytes, bool] = {b"": True}

    def is_plain(folder: bytes) -> bool:
        """Whether a folder, and every one around it, is a folder; the tar need not name it."""
        chain = []
        while folder not in plain:
            chain.append(folder)
            folder = parent(folder)
        known = plain[folder]
        for folder in reversed(chain):
            known = plain[folder] = known and kinds.get(folder, DIRECTORY) is DIRECTORY
        return known

    if not all(is_plain(parent(path)) for path in kinds):
        return frozenset()
    return frozenset(path for path, kind in kinds.items() if kind is FILE)


def _source(place: Place, header: Header, named: Collection[bytes]) -> str:
    """Path of a file's content in the engine's file system; empty where none may be named.

    JSON cannot carry a name that is not UTF-8.
    """
    if header.path not in named:
        return ""
    try:
        return f"{place.folder}/{header.path.decode()}"
    except UnicodeDecodeError:
        return ""


@dataclass(frozen=True, slots=True)
class ShownContent:
    """One layer of an image that an engine shows through its API."""

    shown: Shown
    number: int

    random_access = False

    @property
    def diff_id(self) -> Digest:
        return self.shown.places[self.number].diff_id

    @property
    def cache_key(self) -> str | None:
        # the engine checked the tar against it when the layer came in
        return self.diff_id if self.shown.complete else None

    def members(self, want: Want) -> Iterator[tuple[Header, bytes | None]]:
        yield from self.shown.scan(self.number, want)

    def files(self, headers: Iterable[Header]) -> Iterator[tuple[Header, Read]]:
        yield from self.shown.copies(self.number, headers)

    @contextmanager
    def walkable(self) -> Iterator[Forward]:
        record = iter([self.shown.records()[self.number]])
        yield Split(record, zeros, f"layer {self.diff_id}")

    def open(self) -> AbstractContextManager[BinaryIO]:
        what = "is a tar with the digest"
        tar = self.shown.tar(self.number)
        return as_file(verified(tar, f"layer {self.diff_id}", what, self.diff_id))

    def tar_length(self) -> int:
        return self.shown.tar_length(self.number)

    def open_blob(self) -> AbstractContextManager[BinaryIO] | None:
        return None
