"""Generated images in which hard links cross folders and layers in every order.

With symlinked parents, whiteouts, folders that stand before, behind or nowhere, paths named twice,
and the headers that real tools write: pax, GNU, numbers that fill their field, sparse files,
extended attributes, devices.
"""

from __future__ import annotations

import io
import tarfile
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from hypothesis import strategies as st
from unpacked import Tree, Unsound

if TYPE_CHECKING:
    from collections.abc import Iterator

    from unpacked import Node

TOPS = ("a", "b", "lib")
NAMES = ("x", "y", "c\udcff", "l" * 120)
PATHS = st.one_of(
    st.tuples(st.sampled_from(TOPS), st.sampled_from(NAMES)).map("/".join),
    st.tuples(st.sampled_from(TOPS), st.sampled_from(NAMES)).map("/".join),
    st.tuples(st.sampled_from(TOPS), st.sampled_from(TOPS), st.sampled_from(NAMES)).map("/".join),
    st.sampled_from((*TOPS, *NAMES)),
)
END = bytes(1024)
SIZES = (0, 1, 511, 512, 513, 1500)
FORMATS = (tarfile.PAX_FORMAT, tarfile.PAX_FORMAT, tarfile.GNU_FORMAT)


@dataclass(frozen=True)
class Oddities:
    """What the generated layers may do that plain ones do not."""

    across: bool = True
    """Links to files of lower layers; engines with overlay folders take none."""
    twice: bool = True
    """A path that one layer names twice."""
    behind: bool = True
    """Folders that stand behind what lies in them, or nowhere."""
    through: bool = True
    """Names that go through a symlink."""
    filled: bool = True
    """Numbers that leave no room for the byte that ends a field."""

    sparse: bool = True
    """Sparse files as pax writes them."""


ALL = Oddities()
PLAIN = Oddities(across=False, twice=False, behind=False, through=False, sparse=False)
"""What every engine loads."""


class Tars(list[bytes]):
    """Layers that a failing test tells in few words.

    Hypothesis warns of a longer representation, pytest makes an error of the warning, and what is
    then seen of the counterexample is that it was "flaky".
    """

    def __repr__(self) -> str:
        told = []
        for tar in self:
            with tarfile.open(fileobj=io.BytesIO(tar), errors="surrogateescape") as opened:
                told.append([f"{one.type!r} {one.name} {one.linkname}" for one in opened])
        return ascii(told)


@st.composite
def layers(draw: st.DrawFn, odd: Oddities = ALL, most: int = 4) -> list[bytes]:
    """The tars of an image, lowest first; sound, so that all unpackers make one tree of them."""
    tree = Tree()
    tars = Tars()
    if odd.through and draw(st.booleans()):
        tars.append(_merged_folders())
        tree.add(tars[0])
    tars += [_Layer(draw, tree, odd).tar() for _ in range(draw(st.integers(1, most)))]
    return tars


def _merged_folders() -> bytes:
    """A base whose `lib` leads to another folder, as in a distribution with a merged /usr."""
    folder, link = tarfile.TarInfo("a"), tarfile.TarInfo("lib")
    folder.type, folder.mode = tarfile.DIRTYPE, 0o755
    link.type, link.linkname = tarfile.SYMTYPE, "a"
    return _raw(folder) + _raw(link) + END


@dataclass
class _Layer:
    draw: st.DrawFn
    tree: Tree
    odd: Oddities
    members: list[bytes] = field(default_factory=list)
    names: set[str] = field(default_factory=set)
    """Real paths that this layer has named."""
    marked: set[str] = field(default_factory=set)
    """Folders on the way to this layer's whiteouts: they stay folders in it."""
    nodes: list[Node] = field(default_factory=list)
    """What this layer has put into the tree."""

    def tar(self) -> bytes:
        draw = self.draw
        marks = list(self.whiteouts())
        style = draw(st.sampled_from(("before", "before", "behind", "nowhere")))
        if not self.odd.behind:
            style = "before"
        for path in draw(st.lists(PATHS, min_size=1, max_size=9)):
            self.member(path, style)
        if style == "behind":
            for path in sorted(self.names):
                self.parents(path)
        for mark in marks:
            at = draw(st.integers(0, len(self.members))) if self.odd.behind else 0
            self.members.insert(at, mark)
        return b"".join(self.members) + END

    def whiteouts(self) -> Iterator[bytes]:
        """Of what lower layers show; they act before anything else does."""
        there = [path for path, _ in self.tree.nodes()]
        for path in (
            self.draw(st.lists(st.sampled_from(there), max_size=2, unique=True)) if there else ()
        ):
            node = self.tree.at(path)
            if node is None or path in self.marked:
                continue
            directory, _, name = path.rpartition("/")
            marker = f"{directory}/.wh.{name}" if directory else f".wh.{name}"
            if node.kind == "directory" and self.draw(st.booleans()):
                marker = f"{path}/.wh..wh..opq"
            parts = marker.split("/")
            self.marked.update("/".join(parts[:depth]) for depth in range(1, len(parts)))
            tar = _raw(tarfile.TarInfo(marker))
            self.tree.add(tar + END)
            yield tar

    def member(self, path: str, style: str) -> None:
        directory = path.rpartition("/")[0]
        real = self.real(directory)
        if real is None or (real != directory and not self.odd.through):
            return
        place = f"{real}/{path.rpartition('/')[2]}" if real else path.rpartition("/")[2]
        old = self.tree.at(place)
        if place in self.names and not (self.odd.twice and old is not None):
            return
        kind = self.draw(st.sampled_from("ds" if path in TOPS else "ffffllllldsp"))
        if kind != "d" and (
            place in self.marked
            or (old is not None and old.kind == "directory" and bool(old.children))
        ):
            return
        info, content = self.made(kind, path, old)
        if info is None:
            return
        if style == "before" and real == directory:
            self.parents(path)
        self.put(info, content)
        self.names.add(place)

    def real(self, directory: str) -> str | None:
        """Where a folder really is; None where something else stands in the way."""
        tree = self.tree
        done: list[str] = []
        for part in directory.split("/") if directory else ():
            node = tree.at("/".join([*done, part]))
            if node is not None and node.kind == "symlink":
                target = tree.at(node.target)
                if target is None or target.kind != "directory" or "/" in node.target:
                    return None
                done = [node.target]
            elif node is not None and node.kind != "directory":
                return None
            else:
                done.append(part)
        return "/".join(done)

    def made(self, kind: str, path: str, old: Node | None) -> tuple[tarfile.TarInfo | None, bytes]:
        draw = self.draw
        info = tarfile.TarInfo(path)
        info.mode = draw(st.sampled_from((0o755, 0o640, 0o4711)))
        info.uid, info.gid = draw(st.sampled_from(((0, 0), (1000, 50), (3_000_000, 7))))
        info.mtime = draw(st.sampled_from((1_700_000_000, 1_600_000_001)))
        if kind == "f":
            return self.file(info)
        if kind == "l":
            return self.link(info, old), b""
        if kind == "s":
            info.type = tarfile.SYMTYPE
            info.mode = 0o777
            info.linkname = draw(st.sampled_from((*TOPS, *TOPS, "nowhere")))
            target = self.tree.at(info.linkname)
            if info.linkname == path or target is None or target.kind != "directory":
                info.linkname = "nowhere"
        elif kind == "d":
            info.type = tarfile.DIRTYPE
        else:
            info.type = draw(st.sampled_from((tarfile.FIFOTYPE, tarfile.CHRTYPE)))
            info.devmajor, info.devminor = 1, 3
        return info, b""

    def file(self, info: tarfile.TarInfo) -> tuple[tarfile.TarInfo, bytes]:
        draw = self.draw
        content = draw(st.sampled_from((b"x", b"y"))) * draw(st.sampled_from(SIZES))
        extra = draw(st.sampled_from(("", "", "xattr", "time", "sparse")))
        if extra == "xattr":
            info.pax_headers = {"SCHILY.xattr.user.note": "x"}
        elif extra == "time":
            info.pax_headers = {"mtime": f"{info.mtime}.123456789"}
        elif extra == "sparse" and content and self.odd.sparse:
            size = len(content) + 5000
            info.pax_headers = {
                "GNU.sparse.major": "1",
                "GNU.sparse.minor": "0",
                "GNU.sparse.name": info.name,
                "GNU.sparse.realsize": str(size),
            }
            content = f"1\n5000\n{len(content)}\n".encode().ljust(512, b"\0") + content
        info.size = len(content)
        return info, content

    def link(self, info: tarfile.TarInfo, old: Node | None) -> tarfile.TarInfo | None:
        """To a file of this layer or of a lower one, with the file's own attributes."""
        mine = {id(node) for node in self.nodes}
        files = [
            path
            for path, node in self.tree.nodes()
            if node.kind == "file" and node is not old and (self.odd.across or id(node) in mine)
        ]
        if not files:
            return None
        path = self.draw(st.sampled_from(files))
        node = self.tree.at(path)
        assert node is not None
        info.type = tarfile.LNKTYPE
        info.linkname = path
        info.mode = node.mode
        info.uid, info.gid = node.owner
        info.mtime = int(node.mtime)
        return info

    def parents(self, path: str) -> None:
        parts = path.split("/")
        for depth in range(1, len(parts)):
            folder = "/".join(parts[:depth])
            if folder in self.names or self.real(folder) != folder:
                continue
            info = tarfile.TarInfo(folder)
            info.type = tarfile.DIRTYPE
            info.mode = self.draw(st.sampled_from((0o755, 0o2775)))
            info.mtime = 1_650_000_000
            self.put(info, b"")
            self.names.add(folder)

    def put(self, info: tarfile.TarInfo, content: bytes) -> None:
        raw = _raw(info, self.draw(st.sampled_from(FORMATS)))
        if self.odd.filled and info.isreg() and not info.pax_headers and self.draw(st.booleans()):
            raw = _filled(raw)
        raw += content.ljust(len(content) + -len(content) % 512, b"\0")
        try:
            self.tree.add(raw + END)
        except Unsound:
            return
        self.members.append(raw)
        node = self.tree.at(info.name.strip("/"))
        if node is not None:
            self.nodes.append(node)


def _raw(info: tarfile.TarInfo, form: int = tarfile.PAX_FORMAT) -> bytes:
    if info.pax_headers:
        form = tarfile.PAX_FORMAT
    return info.tobuf(form, "utf-8", "surrogateescape")


def _filled(raw: bytes) -> bytes:
    """A header whose size and time fill their fields to the last digit, as busybox writes them."""
    block = bytearray(raw[-512:])
    for at, width in ((124, 12), (136, 12)):
        if block[at] & 0x80:
            return raw
        block[at : at + width] = block[at : at + width].strip(b" \0").rjust(width, b"0")
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return raw[:-512] + bytes(block)
