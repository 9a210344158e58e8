"""Laws 1 and 2: `visible` is the tree that an unpacker makes, and no byte is lost or counted twice.

Two second opinions: a simulator that lays one layer over the next like an unpacker does, member
by member, written without a look at the index; and umoci itself, where it is installed.
"""

from __future__ import annotations

import io
import os
import shutil
import stat
import subprocess
import tarfile
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

import crossing
import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st
from thorough import examples
from tiny import image, oci
from unpacked import Tree

from slimmer import stores
from slimmer.evidence import Evidence
from slimmer.index import Index
from slimmer.tar.reading import DIRECTORY, FILE, HARDLINK, SYMLINK

if TYPE_CHECKING:
    from collections.abc import Iterator

NOTHING = Evidence([])
REPOSITORY = Path(__file__).parents[2]
FIXTURES = REPOSITORY.parent / "shared" / "fixtures" / "dive"

NAMES = st.sampled_from(["a", "b", "c", "lib"])
PATHS = st.lists(NAMES, min_size=1, max_size=3).map("/".join)


@st.composite
def member(draw: st.DrawFn) -> tuple[tarfile.TarInfo, bytes]:
    path = draw(PATHS)
    kind = draw(st.sampled_from("fffddlhwo"))
    entry = tarfile.TarInfo(path)
    entry.mode = draw(st.sampled_from([0o755, 0o700, 0o4755]))
    entry.uid, entry.gid = draw(st.sampled_from([(0, 0), (7, 8)]))
    entry.mtime = 1_700_000_000
    content = b""
    if kind == "f":
        content = draw(st.binary(max_size=5))
        entry.size = len(content)
    elif kind == "d":
        entry.type = tarfile.DIRTYPE
    elif kind == "l":
        entry.type = tarfile.SYMTYPE
        entry.mode = 0o777
        entry.linkname = draw(st.sampled_from(["a", "/b", "../c", "a/b", "none", "lib"]))
    elif kind == "h":
        entry.type = tarfile.LNKTYPE
        entry.linkname = draw(PATHS)
    elif kind == "w":
        directory, _, name = path.rpartition("/")
        entry.name = f"{directory}/.wh.{name}" if directory else f".wh.{name}"
    else:
        entry.name = f"{path}/.wh..wh..opq"
    return entry, content


def layer_of(members: list[tuple[tarfile.TarInfo, bytes]]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for entry, content in members:
            tar.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


class Unsound(Exception):  # noqa: N818 - a layer that no tool writes
    """A layer that means nothing, so that unpackers may do as they like."""


@dataclass
class Inode:
    kind: str
    mode: int
    owner: tuple[int, int]
    content: bytes = b""
    target: str = ""
    children: dict[str, Inode] = field(default_factory=dict)
    layer: int = -1


def unpack(layers: list[list[tuple[tarfile.TarInfo, bytes]]]) -> Inode:
    """A naive unpacker over a tree in memory: what `tar x` and rm would do."""
    root = Inode("d", 0o755, (0, 0))

    def walk_to(path: str, number: int) -> Inode:
        """The directory of that path, made where it is missing, symlinks followed."""
        stack = [root]
        todo = path.split("/")[::-1] if path else []
        hops = 0
        while todo:
            part = todo.pop()
            if part in ("", "."):
                continue
            if part == "..":
                del stack[1:][-1:]
                stack = stack[:-1] or [root]
                continue
            below = stack[-1].children.get(part)
            if below is None:
                below = stack[-1].children[part] = Inode("d", 0o755, (0, 0), layer=number)
            if below.kind == "l":
                hops += 1
                if hops > 20:
                    raise Unsound("symlinks in a circle")
                if below.target.startswith("/"):
                    stack = [root]
                todo += below.target.split("/")[::-1]
                continue
            if below.kind != "d":
                raise Unsound("below a file")
            stack.append(below)
        return stack[-1]

    def exists(path: str) -> Inode | None:
        *directories, name = path.split("/")
        now = root
        for part in directories:
            below = now.children.get(part)
            if below is None:
                return None
            if below.kind != "d":
                raise Unsound("a whiteout or link through something else than directories")
            now = below
        return now.children.get(name)

    def prune(inode: Inode, number: int) -> None:
        """Remove what lower layers put into a directory."""
        for name, below in list(inode.children.items()):
            if below.kind == "d" and below.layer == number:
                prune(below, number)
            elif below.layer < number:
                if below.kind == "d" and holds(below, number):
                    raise Unsound("an opaque directory with new files in old directories")
                del inode.children[name]

    def holds(inode: Inode, number: int) -> bool:
        return inode.layer == number or any(holds(b, number) for b in inode.children.values())

    for number, members in enumerate(layers):
        whiteouts = [entry.name for entry, _ in members if ".wh." in entry.name]
        ordinary = [(entry, content) for entry, content in members if ".wh." not in entry.name]
        # Whatever their place in the tar, they act on lower layers only: so they may act first.
        for path in whiteouts:
            directory, _, name = path.rpartition("/")
            if name == ".wh..wh..opq":
                inode = exists(directory)
                if inode is not None and inode.kind == "d":
                    inode.children.clear()
            else:
                gone = name.removeprefix(".wh.")
                target = f"{directory}/{gone}" if directory else gone
                if exists(target) is not None:
                    above = root
                    for part in directory.split("/") if directory else ():
                        above = above.children[part]
                    del above.children[gone]
        for entry, content in ordinary:
            directory, _, name = entry.name.rpartition("/")
            parent = walk_to(directory, number)
            old = parent.children.get(name)
            owner = (entry.uid, entry.gid)
            if entry.isdir():
                if old is not None and old.kind == "d":
                    old.mode, old.owner, old.layer = entry.mode, owner, number
                else:
                    parent.children[name] = Inode("d", entry.mode, owner, layer=number)
            elif entry.issym():
                new = Inode("l", 0o777, owner, target=entry.linkname, layer=number)
                parent.children[name] = new
            elif entry.islnk():
                first = exists(entry.linkname)
                if first is None or first.kind != "f" or first is old:
                    raise Unsound("a hard link to nothing")
                parent.children[name] = first
            else:
                parent.children[name] = Inode("f", entry.mode, owner, content, layer=number)
    return root


def paths(inode: Inode, above: str = "") -> Iterator[tuple[str, Inode]]:
    for name, below in inode.children.items():
        yield above + name, below
        if below.kind == "d":
            yield from paths(below, f"{above}{name}/")


def sound(layers: list[list[tuple[tarfile.TarInfo, bytes]]]) -> bool:
    """Whether every layer is one that a tool would write: unique names, parents, first names."""
    for members in layers:
        names = [entry.name for entry, _ in members]
        kinds = {entry.name: entry for entry, _ in members}
        if len(set(names)) < len(names):
            return False
        for entry, _ in members:
            parts = entry.name.split("/")
            for depth in range(1, len(parts)):
                above = kinds.get("/".join(parts[:depth]))
                if above is not None and not above.isdir():
                    return False
            if entry.islnk():
                first = kinds.get(entry.linkname)
                if first is None or not first.isreg():
                    return False
                if names.index(first.name) > names.index(entry.name):
                    return False
    return True


LAYERS = st.lists(st.lists(member(), max_size=8), min_size=1, max_size=4).filter(sound)


def with_parents(
    layers: list[list[tuple[tarfile.TarInfo, bytes]]],
) -> list[list[tuple[tarfile.TarInfo, bytes]]]:
    """Every layer with the directories above its members, as all real tools write them."""
    result = []
    for members in layers:
        done: set[str] = set()
        whole: list[tuple[tarfile.TarInfo, bytes]] = []
        named = {entry.name for entry, _ in members}
        for entry, content in members:
            parts = entry.name.split("/")
            for depth in range(1, len(parts)):
                above = "/".join(parts[:depth])
                if above not in done and above not in named:
                    directory = tarfile.TarInfo(above)
                    directory.type, directory.mode = tarfile.DIRTYPE, 0o755
                    whole.append((directory, b""))
                done.add(above)
            whole.append((entry, content))
        result.append(whole)
    return result


SLOW = [HealthCheck.filter_too_much, HealthCheck.too_slow]
"""What a machine with more to do than this may look like."""


@settings(max_examples=examples(600), suppress_health_check=SLOW, deadline=None)
@given(LAYERS)
def test_visible_is_what_a_naive_unpacker_makes(
    layers: list[list[tuple[tarfile.TarInfo, bytes]]],
):
    layers = with_parents(layers)
    try:
        root = unpack(layers)
    except Unsound as reason:
        event(f"unsound: {str(reason)[:60]}")
        return
    index = Index.scan(image(*map(layer_of, layers)), NOTHING)

    expected = {
        path.encode(): (inode.kind, inode.mode, inode.owner, inode.target.encode())
        for path, inode in paths(root)
    }
    assert {
        path: (
            {DIRECTORY: "d", SYMLINK: "l", FILE: "f", HARDLINK: "f"}[header.kind],
            0o777 if header.kind == SYMLINK else _first(index, path).mode,
            (_first(index, path).uid, _first(index, path).gid),
            header.link if header.kind == SYMLINK else b"",
        )
        for path, header in index.visible.items()
    } == expected
    inodes = {id(inode): len(inode.content) for _, inode in paths(root)}
    assert sum(inodes.values()) == index.rootfs


def _first(index: Index, path: bytes):
    """The header whose attributes a name has: a hard link has those of its first name."""
    header = index.visible[path]
    if header.kind != HARDLINK:
        return header
    layer = index.layers[index.layer_of[path]]
    return next(other for other in layer.headers if other.path == header.link)


@settings(max_examples=examples(300), suppress_health_check=SLOW, deadline=None)
@given(LAYERS)
def test_every_byte_is_visible_overwritten_or_deleted(
    layers: list[list[tuple[tarfile.TarInfo, bytes]]],
):
    index = Index.scan(image(*map(layer_of, layers)), NOTHING)

    assert sum(entry.size for members in layers for entry, _ in members) == index.unpacked
    assert sum(header.size for header in index.visible.values()) == index.rootfs
    for layer in index.layers:
        shown = sum(header.size for header in layer.visible)
        assert layer.size == shown + layer.overwritten + layer.deleted


ODD = crossing.Oddities(filled=True, sparse=True)


def rows(index: Index) -> dict[bytes, tuple[object, ...]]:
    """All that a user of the image sees, in the words of the tree that judges it."""
    found: dict[bytes, tuple[object, ...]] = {}
    for path in index.visible:
        file = index.file(path)
        assert file is not None
        held = file.holder
        content = index.layers[file.layer].layer.content.tar[held.data : held.data + held.stored]
        found[path] = (
            *(held.kind, held.mode, (held.uid, held.gid), Fraction(held.mtime, 10**9)),
            b"" if held.sparse else content,
            held.link.decode("utf-8", "surrogateescape") if held.kind == SYMLINK else "",
            held.device,
            tuple((key.decode(), value.decode()) for key, value in held.xattrs),
            tuple(sorted(os.fsdecode(name) for name in file.names)),
        )
    return found


@settings(max_examples=examples(1500), suppress_health_check=SLOW, deadline=None)
@given(crossing.layers(ODD))
def test_visible_is_what_the_standard_library_unpacks_of_odd_layers(tars: list[bytes]):
    tree = Tree(tars)
    index = Index.scan(image(*tars), NOTHING)

    sparse = {path for path in index.visible if index.file(path).holder.sparse}  # type: ignore[union-attr]
    expected = {
        path: (*row[:4], b"", *row[5:]) if path in sparse else row
        for path, row in tree.rows().items()
    }
    assert expected == rows(index)
    assert tree.size == index.rootfs == sum(header.size for header in index.visible.values())
    assert index.unpacked == index.rootfs + index.overwritten + index.deleted


def unpacked_by_umoci(layout: str, place: Path) -> Path:
    """The merged tree as umoci unpacks it."""
    command = ["umoci", "unpack", "--image", layout, str(place)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Unsound(done.stderr)
    return place / "rootfs"


def assert_is(root: Path, index: Index) -> None:
    """Law 2: paths, types, modes, owners, link targets, sizes."""
    found: dict[bytes, tuple[object, ...]] = {}
    inodes: dict[tuple[int, int], int] = {}
    base = os.fsencode(root)
    for folder, directories, files in os.walk(base):
        for name in (*directories, *files):
            path = os.path.join(folder, name)  # noqa: PTH118 - names are bytes
            status = os.lstat(path)
            link = os.readlink(path) if stat.S_ISLNK(status.st_mode) else b""  # noqa: PTH115
            if stat.S_ISREG(status.st_mode):
                inodes[status.st_dev, status.st_ino] = status.st_size
            found[os.path.relpath(path, base)] = (
                stat.S_IFMT(status.st_mode),
                0 if link else stat.S_IMODE(status.st_mode),
                (status.st_uid, status.st_gid),
                link,
                status.st_size if stat.S_ISREG(status.st_mode) else 0,
            )
    types = {"file": stat.S_IFREG, "hardlink": stat.S_IFREG, "directory": stat.S_IFDIR}
    types |= {"symlink": stat.S_IFLNK, "character": stat.S_IFCHR, "block": stat.S_IFBLK}
    types |= {"fifo": stat.S_IFIFO}
    expected = {}
    for path, header in index.visible.items():
        if not path:
            continue
        first = _first(index, path)
        link = header.kind == SYMLINK
        expected[path] = (
            types[header.kind],
            0 if link else first.mode,
            (first.uid, first.gid),
            header.link if link else b"",
            first.size,
        )
    assert expected == {path: row for path, row in found.items() if path in expected}
    made = {path for path in found if path not in expected}
    # An unpacker makes parents that no layer names.
    assert all(found[path][0] == stat.S_IFDIR for path in made)
    assert all(any(named.startswith(path + b"/") for named in expected) for path in made)
    assert sum(inodes.values()) == index.rootfs


needs_umoci = pytest.mark.skipif(
    not shutil.which("umoci") or os.geteuid() != 0, reason="needs umoci and root"
)


@pytest.mark.compat
@needs_umoci
@settings(
    max_examples=examples(60),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.filter_too_much],
)
@given(layers=LAYERS, parents=st.booleans())
def test_visible_is_what_umoci_unpacks(
    tmp_path: Path, layers: list[list[tuple[tarfile.TarInfo, bytes]]], parents: bool
):
    if parents:
        layers = with_parents(layers)
    for left in ("l", "u"):
        shutil.rmtree(tmp_path / left, ignore_errors=True)
    layout = oci(map(layer_of, layers), str(tmp_path / "l"))
    try:
        root = unpacked_by_umoci(f"{layout}:latest", tmp_path / "u")
    except Unsound as reason:
        event(f"unsound: {str(reason)[:60]}")
        return

    assert_is(root, Index.scan(stores.open(layout), NOTHING))


@pytest.mark.compat
@needs_umoci
@pytest.mark.parametrize(
    "name",
    [
        "sample_images/small.tar",
        "test-docker-image.tar",
        "test-kaniko-image.tar",
        *(f"test-oci-{form}-image.tar" for form in ("gzip", "zstd", "estargz", "uncompressed")),
    ],
)
def test_real_images_are_what_umoci_unpacks(tmp_path: Path, name: str):
    file = REPOSITORY / name if "/" in name else FIXTURES / name
    if not file.is_file():
        pytest.skip(f"{name} is not here")
    opened = stores.open(str(file))
    tars = []
    for layer in opened.layers:  # umoci knows neither zstd nor docker-archives
        with layer.content.open() as tar:
            tars.append(tar.read())
    layout = oci(tars, str(tmp_path / "layout"))

    root = unpacked_by_umoci(f"{layout}:latest", tmp_path / "bundle")

    assert_is(root, Index.scan(opened, NOTHING))


@pytest.mark.compat
@needs_umoci
def test_a_reference_image_is_what_umoci_unpacks(tmp_path: Path):
    layout = os.environ.get("SLIMMER_TEST_LAYOUT")
    if not layout:
        pytest.skip("SLIMMER_TEST_LAYOUT names no OCI layout of a large image (folder:tag)")

    root = unpacked_by_umoci(layout, tmp_path / "bundle")

    assert_is(root, Index.scan(stores.open(f"oci:{layout}"), NOTHING))
    shutil.rmtree(tmp_path)
