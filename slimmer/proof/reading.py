"""Layers read to the true end of their tars, by the standard library's tarfile.

A proof may not rest on the reader that made what it judges: this module shares no code with it.
Headers that are plain octal are taken apart here, for speed; all others by tarfile.
"""

from __future__ import annotations

import hashlib
import tarfile
from dataclasses import replace
from struct import Struct
from typing import TYPE_CHECKING, Any
from zlib import adler32

from slimmer.errors import SlimmerError
from slimmer.names import one_line, printable
from slimmer.proof.tree import LayerTree, Member, Tree

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

    from slimmer.image import Image, Layer

CHUNK = 1 << 20
LARGEST = 64 << 20
"""Bytes of one extension header at most."""
ODD = 20
"""Odd things of one layer that are told."""
KINDS = {
    tarfile.DIRTYPE: "directory",
    tarfile.SYMTYPE: "symlink",
    tarfile.LNKTYPE: "hardlink",
    tarfile.CHRTYPE: "character",
    tarfile.BLKTYPE: "block",
    tarfile.FIFOTYPE: "fifo",
}
"""All else is a file, as tarfile itself holds."""
UNREADABLE = "cannot be read"
"""How the odd thing of a layer begins that no engine could read."""
XATTR = "SCHILY.xattr."


class _Info(tarfile.TarInfo):
    """A header as tarfile reads it."""

    __slots__ = ()

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> _Info:
        found = super().frombuf(buf, encoding, errors)
        if bytes(buf[257:265]) == b"ustar  \0" and buf[345] and found.type not in _GNU:
            # GNU tar keeps times there, not the beginning of a name.
            prefix = bytes(buf[345:500]).partition(b"\0")[0].decode(encoding, errors)
            found.name = found.name.removeprefix(prefix + "/")
        return found


_GNU = (*tarfile.GNU_TYPES, tarfile.GNUTYPE_SPARSE)


def _plain(block: bytes) -> tuple[bytes, str, int, int, int, int, int, bytes] | None:
    """Path, kind, size, mode, owner, group, time and link of a header that is plain octal.

    None for all others, which are left to tarfile: it takes 33 µs for a header, this 4.
    """
    kind = _PLAIN.get(block[156:157])
    if kind is None or len(block) < 512 or block[257:263] != b"ustar\0" or not block[0]:
        return None
    name, mode, uid, gid, size, mtime, checksum, link = _FIELDS(block)
    try:
        # The low half of adler32 is one more than the sum of all bytes, modulo 65521.
        total = (adler32(block) & 0xFFFF) - 1 - sum(checksum) + 256
        if (total - int(checksum.rstrip(_END), 8)) % 65521:
            return None
        name = name.partition(b"\0")[0]
        if block[345]:
            name = block[345:500].partition(b"\0")[0] + b"/" + name
        link = link.partition(b"\0")[0]
        return (
            _path(name),
            kind,
            # To the last digit: some writers leave no room for an end.
            int(size.rstrip(_END), 8) if kind == "file" else 0,
            int(mode.rstrip(_END), 8),
            int(uid.rstrip(_END), 8),
            int(gid.rstrip(_END), 8),
            int(mtime.rstrip(_END), 8) * 1_000_000_000,
            link if kind == "symlink" else _path(link) if kind == "hardlink" else b"",
        )
    except ValueError:
        return None


_END = b"\0 "
_PLAIN = {b"0": "file", b"1": "hardlink", b"2": "symlink", b"5": "directory"}
_FIELDS = Struct("100s8s8s8s12s12s8sx100s").unpack_from


class _Tar(tarfile.TarFile):
    """Walked member by member; global pax headers are not applied, as no engine applies them."""

    tarinfo = _Info

    @property
    def pax_headers(self) -> dict[str, str]:
        return {}

    @pax_headers.setter
    def pax_headers(self, headers: Mapping[str, str]) -> None:
        pass


class _File:
    """What tarfile reads a single member's headers from."""

    mode = "rb"
    name = ""

    def __init__(self, at: Callable[[int, int], bytes], place: int, block: bytes) -> None:
        self.at = at
        self.place = place
        self.first = place, block
        """Where it begins, and the block there: a source does not go back for it."""

    def read(self, size: int) -> bytes:
        if size > LARGEST:
            raise tarfile.ReadError(f"an extension header of {size} bytes")
        place, block = self.first
        part = block if self.place == place and size == 512 else self.at(self.place, size)
        self.place += len(part)
        return part

    def seek(self, offset: int) -> int:
        self.place = offset
        return offset

    def tell(self) -> int:
        return self.place


def read_layer(layer: Layer, number: int, *, contents: bool = False) -> LayerTree:
    """Read one layer; with `contents` every byte, which checks it against its diff_id too."""
    if not contents:
        with layer.content.walkable() as source:
            return _Reading(source.at, number).whole()
    with layer.content.open() as file:
        held = b""
        begin = 0

        def at(offset: int, length: int) -> bytes:
            nonlocal held, begin
            while begin + len(held) < offset + length:
                part = file.read(max(CHUNK, length))
                if not part:
                    break
                kept = max(0, min(len(held), offset - begin))
                begin, held = begin + kept, held[kept:] + part
            return held[offset - begin : offset - begin + length] if offset >= begin else b""

        return _Reading(at, number, digests={}).whole()


_STUMBLES = (ValueError, LookupError, OverflowError, RecursionError)
"""What tarfile raises beside its own errors for headers that are made to hurt."""


class _Reading:
    """One layer on its way from bytes to members."""

    def __init__(
        self,
        at: Callable[[int, int], bytes],
        number: int,
        digests: dict[int, bytes] | None = None,
    ) -> None:
        self.at = at
        self.number = number
        self.digests = digests
        self.odd: list[str] = []
        self.members: list[Member] = []
        self.named: dict[bytes, Member] = {}
        self.later: dict[bytes, bytes] = {}
        """Paths that must have come before: what a link leads to, and the link."""
        self.folders: set[bytes] = set()
        """Where members lie."""
        self.size = 0

    def whole(self) -> LayerTree:
        offset = 0
        try:
            while True:
                # The last byte before a header too: a content that is cut short has none.
                part = self.at(offset - 1, 513) if offset else b"\0" + self.at(0, 512)
                if not part:
                    raise tarfile.ReadError("it ends within a member")
                block = part[1:]
                if len(block) < 512:  # a source may stop where a content does
                    block += self.at(offset + len(block), 512 - len(block))
                found = _plain(block)
                if found is not None:
                    offset += 512
                    self.add(*found, (0, 0), (), ((offset, found[2]),))
                    offset += (found[2] + 511) & ~511
                elif len(block) < 512 or not block.strip(b"\0"):
                    break
                else:
                    offset = self.other(offset, block)
            if offset or block:  # nothing at all is an empty layer
                self.finish(offset, block)
        except (tarfile.TarError, *_STUMBLES) as error:
            self.tell(f"is no whole tar behind byte {offset}: {one_line(str(error))}")
        for target, path in self.later.items():
            if target in self.named:
                self.tell(f"links {printable(path)} to {printable(target)}, which comes later")
        return LayerTree(self.members, self.size, tuple(self.odd), self.digests)

    def other(self, offset: int, block: bytes) -> int:
        """A member whose header tarfile reads; the offset behind it."""
        file: Any = _File(self.at, offset, block)
        tar: Any = _Tar(fileobj=file, encoding="utf-8", errors="surrogateescape")
        info = tar.next()
        if info is None:
            raise tarfile.ReadError("a damaged header")
        kind = KINDS.get(info.type, "file")
        records = info.pax_headers
        link = _bytes(info.linkname)
        self.add(
            _path(_bytes(info.name)),
            kind,
            info.size if kind == "file" else 0,
            info.mode,
            info.uid,
            info.gid,
            _nanoseconds(records.get("mtime"), int(info.mtime) * 1_000_000_000),
            link if kind == "symlink" else _path(link) if kind == "hardlink" else b"",
            (info.devmajor, info.devminor) if kind in ("character", "block") else (0, 0),
            tuple(
                sorted(
                    (_bytes(key[len(XATTR) :]), _bytes(value))
                    for key, value in records.items()
                    if key.startswith(XATTR)
                )
            ),
            _parts(info),
        )
        return int(tar.offset)

    def tell(self, what: str) -> None:
        if len(self.odd) < ODD:
            self.odd.append(what)

    def finish(self, end: int, block: bytes) -> None:
        """The true end: two blocks of zeros or nothing, and behind them nothing but zeros."""
        if block.strip(b"\0"):
            self.tell(f"has a damaged header at byte {end}: nothing behind it is read")
            return
        place = end + len(block)
        while part := self.at(place, CHUNK):
            if part.count(0) != len(part):
                self.tell(f"goes on behind its end, at byte {place}")
                return
            place += len(part)

    def add(
        self,
        path: bytes,
        kind: str,
        size: int,
        mode: int,
        uid: int,
        gid: int,
        mtime: int,
        link: bytes,
        device: tuple[int, int],
        xattrs: tuple[tuple[bytes, bytes], ...],
        parts: Sequence[tuple[int, int]],
    ) -> None:
        """One more member; `parts` is where its content stands: offset and bytes of each part,
        and between two of them as many zeros as are told by a negative offset."""
        number = len(self.members)
        held = self.number, number
        if kind == "file":
            self.size += size
            if self.digests is not None:
                self.digests[number] = self.sha256(parts)
        elif kind == "hardlink":
            holder = self.named.get(link)
            if holder is None:
                self.later.setdefault(link, path)
                held = self.number, -1
            else:
                size, held = holder.size, holder.held
        member = Member(
            *(path, kind, size, mode & 0o7777, uid, gid, mtime, link, device, xattrs, held)
        )
        if path in self.named:
            self.tell(f"names {printable(path)} twice")
        elif kind == "directory" and path in self.folders:
            self.tell(f"names {printable(path)} behind what lies in it")
        self.folders.add(path[: max(path.rfind(b"/"), 0)])
        self.named[path] = member
        self.members.append(member)

    def sha256(self, parts: Sequence[tuple[int, int]]) -> bytes:
        """Of a file's content as a reader sees it: the holes of a sparse file are zeros."""
        digest = hashlib.sha256()
        for place, length in parts:
            for piece in _pieces(length):
                digest.update(bytes(piece) if place < 0 else self.at(place, piece))
                place += piece if place >= 0 else 0
        return digest.digest()


def _parts(info: tarfile.TarInfo) -> list[tuple[int, int]]:
    """Where the content of a member stands, holes as parts at the offset -1."""
    sparse: Any = info.sparse
    if not sparse:
        return [(info.offset_data, info.size)]
    parts: list[tuple[int, int]] = []
    place, told = info.offset_data, 0
    for offset, length in (*sparse, (info.size, 0)):
        parts += [(-1, offset - told), (place, length)]
        place += length
        told = offset + length
    return parts


def _pieces(length: int) -> Iterator[int]:
    while length > 0:
        yield min(length, CHUNK)
        length -= CHUNK


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _path(name: bytes) -> bytes:
    """A name from the image's root, without `.` and `..`; nothing leads out of the root."""
    if name[:1] not in (b"/", b".", b"") and b"//" not in name and b"/." not in name:
        return name.rstrip(b"/")
    parts: list[bytes] = []
    for part in name.split(b"/"):
        if part == b"..":
            del parts[-1:]
        elif part not in (b"", b"."):
            parts.append(part)
    return b"/".join(parts)


def _nanoseconds(text: str | None, otherwise: int) -> int:
    """A pax time, exactly: decimal seconds, which a float cannot hold."""
    if text is None:
        return otherwise
    seconds, _, rest = text.partition(".")
    try:
        whole, part = int(seconds), int((rest + "0" * 9)[:9])
    except ValueError:
        return otherwise
    return whole * 1_000_000_000 + (-part if seconds.startswith("-") else part)


def read(
    image: Image,
    known: dict[str, LayerTree],
    *,
    contents: bool = False,
    judged: bool = False,
    lazy: Collection[str] = (),
    told: Callable[[int], None] = lambda size: None,
) -> Tree:
    """Read every layer of an image.

    `lazy` are the diff_ids of layers proved to be eStargz, whose table of contents is no file.

    `known` keeps, by diff_id, layers whose bytes were checked against it, here or by the medium:
    two images that share such a layer read it once. Where the image is `judged`, a layer that
    cannot be read is odd; otherwise raises SlimmerError. `told(size)` hears of the bytes of each
    layer that is done.
    """
    layers: list[LayerTree] = []
    for number, layer in enumerate(image.layers):
        checked = contents or layer.content.cache_key == layer.diff_id
        # What was read whole was checked against its diff_id: whoever names that means those bytes.
        found = known.get(layer.diff_id) if checked else None
        if found is not None:
            found = replace(
                found, members=[one._replace(held=(number, one.held[1])) for one in found.members]
            )
        else:
            try:
                found = read_layer(layer, number, contents=contents)
            except SlimmerError as error:
                if not judged:
                    raise
                found = LayerTree((), 0, (f"{UNREADABLE}: {error.message}",))
            else:
                if checked:
                    known[layer.diff_id] = found
        layers.append(_without_contents_table(found) if layer.diff_id in lazy else found)
        told(found.size)
    return Tree.of(layers)


_ESTARGZ = (b"stargz.index.json", b".prefetch.landmark", b".no.prefetch.landmark")


def _without_contents_table(layer: LayerTree) -> LayerTree:
    """A layer without what eStargz adds to it (stargz-snapshotter, `docs/estargz.md`)."""
    added = [one for one in layer.members if one.path in _ESTARGZ]
    return replace(
        layer,
        members=[one for one in layer.members if one.path not in _ESTARGZ],
        size=layer.size - sum(one.size for one in added),
    )
