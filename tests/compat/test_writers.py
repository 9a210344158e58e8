"""What is written, read by tools that are not ours; and writing that fails half-way."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import tarfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import crossing
import odd
import pytest
import tiny
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from slimmer import stores
from slimmer.edits.changes import Changes
from slimmer.errors import SlimmerError
from slimmer.evidence import Evidence
from slimmer.image import Digest, Image
from slimmer.index import Index
from slimmer.rewrite import flattened, overlaid, rewritten
from slimmer.stores.engine import writer as daemon_writer
from slimmer.stores.layout import writer as layout_writer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from slimmer.edits.drafts import Draft

ROOT = Path(__file__).parents[2]
SMALL = ROOT / "sample_images/small.tar"
PLAN = Digest.of(b"plan")
SITE = b"usr/local/lib/python3.11/site-packages/"
COMPRESSIONS = ("none", "gzip", "zstd")
MODES: dict[str, Callable[[Image, Changes], Draft]] = {
    "rewrite": lambda image, changes: rewritten(image, changes, PLAN, "test"),
    "flatten": lambda image, changes: flattened(image, changes, PLAN, "test"),
    "flatten-from-1": lambda image, changes: flattened(image, changes, PLAN, "test", 1),
    "overlay": lambda image, changes: overlaid(image, changes, PLAN, "test"),
}


def needs(*programs: str) -> pytest.MarkDecorator:
    missing = [program for program in programs if shutil.which(program) is None]
    return pytest.mark.skipif(bool(missing), reason=f"not installed: {', '.join(missing)}")


def run(*command: str | Path, **options: Any) -> str:
    done = subprocess.run(command, check=False, capture_output=True, text=True, **options)
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
    return done.stdout


root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to unpack owners and devices")


def scan(image: Image) -> Index:
    return Index.scan(image, Evidence([]))


def source(folder: Path, name: str) -> Image:
    """A source in an OCI layout with gzip layers."""
    if name == "small":
        stores.write(stores.open(str(SMALL)), f"oci:{folder}/before:before", compression="gzip")
    else:
        tiny.oci(odd.layers(), str(folder / "plain"), ["FROM", "A", "B", "C"])
        image = stores.open(f"oci:{folder}/plain")
        stores.write(image, f"oci:{folder}/before:before", compression="gzip")
    return stores.open(f"oci:{folder}/before:before")


def removed(index: Index) -> list[bytes]:
    """What is to leave: the odd image's list, or every other file of the small one's packages."""
    if b"was-link" in index.visible:
        return odd.REMOVED
    files = [path for path in sorted(index.visible) if path.startswith(SITE)]
    return [path for path in files if index.visible[path].kind in ("file", "hardlink")][::2]


@contextmanager
def unpacked(layout: Path, tag: str, folder: Path) -> Iterator[dict[bytes, tuple[object, ...]]]:
    """The tree that umoci makes of an image: everything that the file system can tell."""
    run("umoci", "unpack", "--image", f"{layout}:{tag}", folder)
    try:
        yield _tree(os.fsencode(folder / "rootfs"))
    finally:
        shutil.rmtree(folder)


def _tree(top: bytes) -> dict[bytes, tuple[object, ...]]:
    rows: dict[bytes, tuple[object, ...]] = {}
    names: dict[int, list[bytes]] = {}
    for folder, folders, files in os.walk(top):
        for name in (*folders, *files):
            path = folder + b"/" + name
            status = os.lstat(path)
            kind = stat.S_IFMT(status.st_mode)
            content: object = None
            if kind == stat.S_IFREG:
                names.setdefault(status.st_ino, []).append(os.path.relpath(path, top))
                with open(path, "rb") as file:
                    content = hashlib.file_digest(file, "sha256").hexdigest()
            elif kind == stat.S_IFLNK:
                content = os.readlink(path)  # noqa: PTH115 - names are bytes here
            rows[os.path.relpath(path, top)] = (
                status.st_mode,
                status.st_uid,
                status.st_gid,
                status.st_mtime_ns if kind != stat.S_IFDIR else 0,
                status.st_rdev,
                content,
                tuple((one, os.getxattr(path, one, follow_symlinks=False)) for one in xattrs(path)),
            )
    return rows


def xattrs(path: bytes) -> list[str]:
    return sorted(
        name
        for name in os.listxattr(path, follow_symlinks=False)
        if not name.startswith("user.rootl")
    )


@pytest.mark.compat
@needs("umoci")
@root
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", ["small", "odd"])
def test_unpacked_by_umoci_it_differs_by_exactly_the_plan(
    tmp_path: Path, name: str, mode: str
) -> None:
    image = source(tmp_path, name)
    index = scan(image)
    changes = Changes.of(index, removed(index))
    draft = MODES[mode](image, changes)

    written = stores.write(draft, f"oci:{tmp_path}/after:after")

    with (
        unpacked(tmp_path / "before", "before", tmp_path / "one") as before,
        unpacked(tmp_path / "after", "after", tmp_path / "two") as after,
    ):
        assert changes.removed
        assert {path: row for path, row in before.items() if path not in changes.removed} == after
    found = scan(stores.open(f"oci:{tmp_path}/after:after"))
    assert (written.unpacked, written.id) == (found.unpacked, found.image.id)
    assert written.packed == found.image.packed
    assert written.stored == sum(layer.descriptor.size for layer in found.image.layers)


@pytest.mark.compat
@needs("skopeo", "umoci")
@root
@pytest.mark.parametrize("compression", COMPRESSIONS)
@pytest.mark.parametrize("transport", ["oci", "oci-archive", "docker-archive"])
def test_skopeo_and_umoci_read_every_output(
    tmp_path: Path, transport: str, compression: Any
) -> None:
    image = source(tmp_path, "odd")
    draft = rewritten(image, Changes.of(scan(image), odd.REMOVED), PLAN, "test")
    place = f"{transport}:{tmp_path}/out{'' if transport == 'oci' else '.tar'}"

    written = stores.write(draft, f"{place}:app:slim", compression=compression)

    run("skopeo", "copy", f"{place}:app:slim", f"oci:{tmp_path}/copy:slim")
    copied = stores.open(f"oci:{tmp_path}/copy:slim")
    assert written.diff_ids == copied.config.diff_ids
    if transport == "oci":
        layout = tmp_path / "out"
        tag = "app:slim"
    else:
        layout, tag = tmp_path / "opened", "slim" if transport == "docker-archive" else "app:slim"
        layout.mkdir()
        run("tar", "-xf", f"{tmp_path}/out.tar", "-C", layout)
    if compression != "zstd" or _umoci_knows_zstd():
        (layout / "index.json").write_text(
            (layout / "index.json").read_text().replace(f'"{tag}"', '"it"')
        )  # umoci takes no colon in a tag
        with unpacked(layout, "it", tmp_path / "tree") as tree:
            assert b"app/server" in tree
            assert b"app/drop" not in tree


def _umoci_knows_zstd() -> bool:
    version = run("umoci", "--version").split()[-1].partition("+")[0]
    return tuple(int(part) for part in version.split(".")[:2]) >= (0, 5)


@pytest.mark.compat
@pytest.mark.usefixtures("docker_host")
@pytest.mark.parametrize("compression", ["none", "gzip"])
def test_docker_load_takes_the_archive(tmp_path: Path, compression: Any) -> None:
    image = source(tmp_path, "small")
    index = scan(image)
    draft = rewritten(image, Changes.of(index, removed(index)), PLAN, f"test-{compression}")
    written = stores.write(
        draft, f"docker-archive:{tmp_path}/a.tar:slimmer-test:load", compression=compression
    )
    try:
        run("docker", "load", "-i", tmp_path / "a.tar")

        found = json.loads(run("docker", "inspect", "slimmer-test:load"))[0]
        assert (written.id, list(written.diff_ids)) == (found["Id"], found["RootFS"]["Layers"])
    finally:
        run("docker", "rmi", "slimmer-test:load")


@pytest.mark.compat
@needs("podman")
@root
@pytest.mark.parametrize("compression", COMPRESSIONS)
@pytest.mark.parametrize("transport", ["docker-archive", "oci-archive", "oci"])
def test_podman_takes_every_output(
    tmp_path: Path, short: Path, transport: str, compression: Any
) -> None:
    image = source(tmp_path, "small")
    index = scan(image)
    draft = rewritten(image, Changes.of(index, removed(index)), PLAN, "test")
    place = tmp_path / ("out" if transport == "oci" else "out.tar")
    written = stores.write(draft, f"{transport}:{place}:slimmer-test:pod", compression=compression)
    podman = ["podman", "--root", short / "storage", "--runroot", short / "run"]
    podman += ["--storage-driver", "vfs"]
    try:
        if transport == "oci":
            run(*podman, "pull", f"oci:{place}:slimmer-test:pod")
        else:
            run(*podman, "load", "-i", place)

        (found,) = json.loads(run(*podman, "images", "--format", "json"))
        assert written.id == f"sha256:{found['Id']}"
    finally:
        run(*podman, "rmi", "--all", "--force")


@pytest.mark.compat
@pytest.mark.usefixtures("docker_host")
def test_an_engine_gets_the_image_and_only_the_layers_that_it_lacks(tmp_path: Path) -> None:
    image = source(tmp_path, "small")
    index = scan(image)
    hidden = {one.header.path for layer in index.layers for one in layer.hidden}
    files = [path for path, header in index.visible.items() if header.kind == "file"]
    path = max(set(files) - hidden, key=lambda path: (index.layer_of[path], path))
    draft = rewritten(image, Changes.of(index, [path]), PLAN, "test")
    try:
        first = stores.write(image, "docker:slimmer-test:one", environment=os.environ)
        second = stores.write(draft, "docker:slimmer-test:two", environment=os.environ)

        found = json.loads(run("docker", "inspect", "slimmer-test:two"))[0]
        assert (second.id, list(second.diff_ids)) == (found["Id"], found["RootFS"]["Layers"])
        assert second.stored < first.stored / 10
        run("docker", "save", "-o", tmp_path / "back.tar", "slimmer-test:two")
        back = scan(stores.open(str(tmp_path / "back.tar")))
        assert draft.unpacked == back.unpacked
    finally:
        subprocess.run(
            ["docker", "rmi", "slimmer-test:one", "slimmer-test:two"],
            check=False,
            capture_output=True,
        )


def generated(count: int) -> list[tuple[Image, Changes]]:
    """Images of hard links across folders, and what is to leave them; the same on every run."""
    found: list[tuple[Image, Changes]] = []

    @settings(
        max_examples=200,
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(crossing.layers(crossing.PLAIN), st.data())
    def collect(tars: list[bytes], data: st.DataObject) -> None:
        if len(found) >= count:
            return
        image = tiny.image(*tars)
        index = scan(image)
        files = sorted(path for path, one in index.visible.items() if one.kind == "file")
        firsts = [path for path in files if path in index.files.by_path]
        if not firsts:
            return
        removed = {data.draw(st.sampled_from(firsts))} | data.draw(st.sets(st.sampled_from(files)))
        hidden = [(number, one.header.start) for number, one in index.droppable()]
        changes = Changes.of(index, removed, hidden)
        if any(edit.promotions for edit in changes.edits) and len(tars) > 1:
            found.append((image, changes))

    collect()
    assert count == len(found)
    return found


def archives(folder: Path, count: int = 12) -> Iterator[tuple[Path, Path, Changes]]:
    """Layouts of generated images before and after slimming, in all modes by turns."""
    for number, (image, changes) in enumerate(generated(count)):
        mode = sorted(MODES)[number % len(MODES)]
        before, after = folder / f"{number}-before", folder / f"{number}-after"
        stores.write(image, f"oci:{before}:it")
        stores.write(MODES[mode](image, changes), f"oci:{after}:it")
        stores.write(stores.open(f"oci:{after}:it"), f"docker-archive:{after}.tar:slimmer-test:g")
        yield before, after, changes


@pytest.mark.compat
@needs("umoci", "skopeo")
@root
def test_generated_images_unpack_to_what_was_planned(tmp_path: Path) -> None:
    for before, after, changes in archives(tmp_path):
        run("skopeo", "copy", f"docker-archive:{after}.tar", f"oci:{after}-copy:it")
        with (
            unpacked(before, "it", tmp_path / "one") as one,
            unpacked(Path(f"{after}-copy"), "it", tmp_path / "two") as two,
        ):
            assert {path: row for path, row in one.items() if path not in changes.removed} == two


@pytest.mark.compat
@pytest.mark.usefixtures("docker_host")
def test_docker_loads_generated_images(tmp_path: Path) -> None:
    for _, after, _ in archives(tmp_path):
        run("docker", "load", "-i", f"{after}.tar")
        run("docker", "rmi", "slimmer-test:g")


@pytest.mark.compat
@needs("podman")
@root
def test_podman_loads_generated_images(tmp_path: Path, short: Path) -> None:
    podman = ["podman", "--root", short / "storage", "--runroot", short / "run"]
    podman += ["--storage-driver", "vfs"]
    for _, after, _ in archives(tmp_path):
        run(*podman, "load", "-i", f"{after}.tar")
        run(*podman, "rmi", "--all", "--force")


@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_an_untouched_layer_keeps_its_very_blob(tmp_path: Path, compression: Any) -> None:
    stores.write(stores.open(str(SMALL)), f"oci:{tmp_path}/in:a", compression=compression)
    image = stores.open(f"oci:{tmp_path}/in:a")
    index = scan(image)
    changes = Changes.of(index, [path for path in removed(index) if index.layer_of[path] == 5])
    untouched = [not edit for edit in changes.edits]
    assert 0 < sum(untouched) < len(untouched)

    written = stores.write(rewritten(image, changes, PLAN, "test"), f"oci:{tmp_path}/out:b")

    after = stores.open(f"oci:{tmp_path}/out:b")
    for old, new, same in zip(image.layers, after.layers, untouched, strict=True):
        assert same == (old.descriptor == new.descriptor)
        blobs = [
            tmp_path / part / "blobs/sha256" / old.descriptor.digest.hex for part in ("in", "out")
        ]
        assert not same or blobs[0].read_bytes() == blobs[1].read_bytes()
    assert (written.reused, written.written) == (sum(untouched), len(untouched) - sum(untouched))


def test_an_image_that_nothing_changed_keeps_every_digest(tmp_path: Path) -> None:
    stores.write(stores.open(str(SMALL)), f"oci:{tmp_path}/in:a")
    image = stores.open(f"oci:{tmp_path}/in:a")

    written = stores.write(image, f"oci:{tmp_path}/out:b")

    assert Digest.of(image.manifest or b"") == written.manifest


def test_a_layout_that_is_there_keeps_its_other_images(tmp_path: Path) -> None:
    image = stores.open(str(SMALL))
    stores.write(image, f"oci:{tmp_path}/out:one")
    again = stores.write(image, f"oci:{tmp_path}/out:two", compression="zstd")
    stores.write(image, f"oci:{tmp_path}/out:one", compression="none")

    entries = json.loads((tmp_path / "out/index.json").read_text())["manifests"]
    tags = [entry["annotations"]["org.opencontainers.image.ref.name"] for entry in entries]
    assert ["one", "two"] == sorted(tags)
    two = stores.open(f"oci:{tmp_path}/out:two")
    assert again.manifest == Digest.of(two.manifest or b"")
    assert stores.open(f"oci:{tmp_path}/out:one").packed is None
    assert ["blobs", "index.json", "oci-layout"] == listed(tmp_path / "out")


@pytest.mark.parametrize("destination", ["docker-archive", "oci-archive"])
def test_twice_gives_the_same_bytes(tmp_path: Path, destination: str) -> None:
    for name in ("one.tar", "two.tar"):
        stores.write(stores.open(str(SMALL)), f"{destination}:{tmp_path}/{name}:a:b")
        time.sleep(0.01)

    assert (tmp_path / "one.tar").read_bytes() == (tmp_path / "two.tar").read_bytes()


WRITE = """
import sys
from slimmer import stores
from slimmer.edits.changes import Changes
from slimmer.image import Digest
from slimmer.evidence import Evidence
from slimmer.index import Index
from slimmer.rewrite import rewritten
source, destination, compression = sys.argv[1:]
image = stores.open(source)
index = Index.scan(image, Evidence([]))
gone = sorted(path for path in index.visible if path.startswith(b"usr/local/lib"))[::3]
draft = rewritten(image, Changes.of(index, gone), Digest.of(b"plan"), "test")
written = stores.write(draft, destination, compression=compression)
print(written.id, written.manifest, *written.diff_ids)
"""


def pythons() -> list[Path]:
    places = [Path(part) for part in os.environ.get("PATH", "").split(os.pathsep)]
    places += sorted(Path.home().glob(".pyenv/versions/3.*/bin"))
    found = {}
    for place in places:
        for name in ("python3.11", "python3.12", "python3.13"):
            if (place / name).is_file() and os.access(place / name, os.X_OK):
                version = subprocess.run(
                    [place / name, "-c", "import sys; print(sys.version_info[:2])"],
                    check=False,
                    capture_output=True,
                    text=True,
                )
                if version.returncode == 0:
                    found.setdefault(version.stdout, place / name)
    return list(found.values())


@pytest.mark.compat
@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_other_pythons_write_the_same_digests(tmp_path: Path, compression: str) -> None:
    answers: dict[str, set[str]] = {}
    for number, python in enumerate([Path(sys.executable), *pythons()]):
        done = subprocess.run(
            [python, "-c", WRITE, SMALL, f"oci:{tmp_path}/{number}", compression],
            check=False,
            capture_output=True,
            text=True,
            env=os.environ | {"PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"},
        )
        if done.returncode == 0:
            answers.setdefault(done.stdout, set()).add(str(python))
        else:
            assert "ModuleNotFoundError" in done.stderr, done.stderr
    if sum(len(who) for who in answers.values()) < 2:
        pytest.skip("no other Python here has the packages that slimmer needs")
    assert len(answers) == 1, answers


def test_the_number_of_cores_does_not_show(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = set()
    for cores in (1, 3, 16):
        monkeypatch.setattr(os, "cpu_count", lambda cores=cores: cores)
        for compression in ("gzip", "zstd"):
            out = f"oci:{tmp_path}/{compression}-{cores}"
            image = stores.open(str(SMALL))
            found.add((compression, stores.write(image, out, compression=compression).manifest))

    assert len(found) == 2


# Faults: a clear error, and nothing left.

FAULT = """
import os, resource, signal, sys, time
from slimmer import stores
from slimmer.errors import SlimmerError
source, destination, limit = sys.argv[1:]
if int(limit):
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(limit), int(limit)))
said = False
def tell(done, total):
    global said
    if not said and done > 200_000:
        said = True
        print("going", flush=True)
        if not int(limit):
            time.sleep(30)
try:
    stores.write(stores.open(source), destination, progress=tell, environment=dict(os.environ))
except SlimmerError as error:
    print(error.message, error.hint, sep=" | ")
    sys.exit(2)
"""


def start(destination: str, limit: int = 0, image: Path = SMALL) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", FAULT, str(image), destination, str(limit)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )


def destinations(folder: Path) -> dict[str, str]:
    return {
        "docker-archive": f"docker-archive:{folder}/out.tar:app:slim",
        "oci-archive": f"oci-archive:{folder}/out.tar",
        "oci": f"oci:{folder}/out:tag",
        "oci-added": f"oci:{folder}/there:tag",
    }


def listed(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def snapshot(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.fixture
def prepared(tmp_path: Path) -> Path:
    """A folder with a layout and an older output in it."""
    folder = tmp_path / "out"
    folder.mkdir()
    tiny.oci([tiny.layer({"a": b"1"})], str(folder / "there"))
    (folder / "out.tar").write_bytes(b"what was there before")
    return folder


@pytest.mark.parametrize("kind", ["docker-archive", "oci-archive", "oci", "oci-added"])
def test_a_full_disk_leaves_nothing_behind(prepared: Path, kind: str) -> None:
    before = snapshot(prepared)

    writer = start(destinations(prepared)[kind], limit=300_000)
    out, errors = writer.communicate(timeout=60)

    assert (2, "") == (writer.returncode, errors)
    assert "cannot write" in out
    assert before == snapshot(prepared)
    assert ["out.tar", "there"] == listed(prepared)


def test_an_index_that_cannot_be_written_leaves_a_layout_as_it_was(
    prepared: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = snapshot(prepared)

    def full(self: object, name: str, raw: bytes) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(layout_writer.Folder, "document", full)
    with pytest.raises(SlimmerError, match="No space left on device"):
        stores.write(stores.open(str(SMALL)), f"oci:{prepared}/there:tag")

    assert before == snapshot(prepared)


@pytest.mark.compat
@root
@needs("mount")
def test_a_disk_that_is_really_full(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", disk], check=False, capture_output=True
    )
    if mounted.returncode:
        pytest.skip("tmpfs cannot be mounted here")
    try:
        for destination in destinations(disk).values():
            with pytest.raises(SlimmerError, match="No space left on device") as caught:
                stores.write(stores.open(str(SMALL)), destination)
            assert "free some space" in caught.value.hint
            assert [] == listed(disk)
    finally:
        run("umount", disk)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("kind", ["docker-archive", "oci-archive", "oci", "oci-added"])
def test_an_interrupt_leaves_nothing_behind(
    prepared: Path, kind: str, number: signal.Signals
) -> None:
    before = snapshot(prepared)
    writer = start(destinations(prepared)[kind])
    assert writer.stdout is not None
    assert "going\n" == writer.stdout.readline()

    writer.send_signal(number)
    writer.communicate(timeout=60)

    assert writer.returncode
    assert before == snapshot(prepared)
    assert ["out.tar", "there"] == listed(prepared)


@pytest.mark.parametrize("kind", ["docker-archive", "oci-archive"])
def test_even_a_kill_leaves_no_file_behind(prepared: Path, kind: str) -> None:
    before = snapshot(prepared)
    writer = start(destinations(prepared)[kind])
    assert writer.stdout is not None
    assert "going\n" == writer.stdout.readline()

    writer.kill()
    writer.communicate(timeout=60)

    assert before == snapshot(prepared)


@pytest.mark.parametrize("edited", [False, True])
@pytest.mark.parametrize("when", ["before", "while"])
@pytest.mark.parametrize("kind", ["docker-archive", "oci-archive", "oci", "oci-added"])
def test_a_source_that_changes_is_noticed(
    prepared: Path, kind: str, when: str, edited: bool
) -> None:
    changing = prepared.parent / "source.tar"
    shutil.copy(SMALL, changing)
    before = snapshot(prepared)
    image = stores.open(str(changing))
    index = scan(image)
    changes = Changes.of(index, removed(index)[:1] if edited else [])
    draft = rewritten(image, changes, PLAN, "test")
    assert edited == draft.changed
    changed = False

    def change() -> None:
        with changing.open("r+b") as file:
            with tarfile.open(changing) as archive:
                large = next(member for member in archive if member.size > 1 << 20)
            file.seek(large.offset_data + (2 << 20))
            file.write(b"something else")

    def tell(done: int, total: int) -> None:
        nonlocal changed
        if not changed and when == "while":
            changed = True
            change()

    if when == "before":
        change()
    with pytest.raises(SlimmerError) as caught:
        stores.write(draft, destinations(prepared)[kind], progress=tell)

    assert any(word in caught.value.message for word in ("has changed", "with the digest"))
    assert before == snapshot(prepared)
    assert ["out.tar", "there"] == listed(prepared)


def test_the_source_is_never_its_own_destination(tmp_path: Path) -> None:
    shutil.copy(SMALL, tmp_path / "a.tar")
    image = stores.open(f"{tmp_path}/a.tar")

    with pytest.raises(SlimmerError, match="is the image that is being read"):
        stores.write(image, f"docker-archive:{tmp_path}/a.tar")


@pytest.mark.parametrize(
    ("destination", "message"),
    [
        ("nowhere", "does not say what to write"),
        ("oci:", "names nothing"),
        ("docker-archive:/no/such/folder/a.tar", "no folder"),
        ("docker-archive:/dev/null", "no regular file"),
        ("oci:{there}:-bad-", "no tag"),
        ("docker:Not/A/Name", "no name for an image"),
        ("oci:{file}:a", "no OCI layout"),
    ],
)
def test_a_destination_that_cannot_be_is_told_at_once(
    tmp_path: Path, destination: str, message: str
) -> None:
    (tmp_path / "file").write_bytes(b"")
    place = destination.format(there=tmp_path / "x", file=tmp_path / "file")

    with pytest.raises(SlimmerError, match=message):
        stores.write(stores.open(str(SMALL)), place)


def test_signatures_and_attestations_are_dropped_with_a_word(tmp_path: Path) -> None:
    tiny.oci([tiny.layer({"a": b"1", "b": b"2"})], str(tmp_path / "in"))
    image = stores.open(f"oci:{tmp_path}/in")
    own = Digest.of(image.manifest or b"")
    index = json.loads((tmp_path / "in/index.json").read_text())
    other = {"mediaType": "application/vnd.oci.image.manifest.v1+json", "size": 1}
    index["manifests"] += [
        other
        | {
            "digest": "sha256:" + "1" * 64,
            "platform": {"os": "unknown", "architecture": "unknown"},
            "annotations": {
                "vnd.docker.reference.type": "attestation-manifest",
                "vnd.docker.reference.digest": own,
            },
        },
        other
        | {
            "digest": "sha256:" + "2" * 64,
            "annotations": {"org.opencontainers.image.ref.name": f"sha256-{own.hex}.sig"},
        },
    ]
    (tmp_path / "in/index.json").write_text(json.dumps(index))
    draft = rewritten(image, Changes.of(scan(image), [b"a"]), PLAN, "test")

    written = stores.write(draft, f"oci:{tmp_path}/out:x")

    assert [
        "the attestation (sha256:111111111111) is of the original alone",
        f"the cosign signature (sha256-{own.hex}.sig) is of the original alone",
    ] == list(written.notices)


# The engine goes away.


@contextmanager
def own_engine(folder: Path) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """A Docker engine of our own, its address and its process."""
    address = f"unix://{folder}/s"
    command = ["dockerd", "--data-root", folder / "data", "--exec-root", folder / "exec"]
    command += ["--pidfile", folder / "pid", "--host", address, "--storage-driver", "vfs"]
    command += ["--bridge", "none", "--iptables=false", "--ip6tables=false"]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        for _ in range(150):
            asked = subprocess.run(
                ["docker", "-H", address, "info"], check=False, capture_output=True
            )
            if asked.returncode == 0:
                break
            if process.poll() is not None:
                pytest.skip("a second engine does not start here")
            time.sleep(0.2)
        else:
            pytest.skip("a second engine does not start here")
        yield address, process
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        # An engine that is killed leaves its own bind mount of the folder behind.
        subprocess.run(["umount", folder / "data"], check=False, capture_output=True)


@pytest.mark.compat
@needs("dockerd", "docker")
@root
@pytest.mark.parametrize("fault", ["gone", "interrupt", "late interrupt", "changed", "tag moves"])
def test_an_engine_has_all_or_nothing(
    tmp_path: Path, fault: str, short: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with own_engine(short) as (address, process):
        environment = {"DOCKER_HOST": address}
        if fault == "tag moves":
            first = stores.write(stores.open(str(SMALL)), "docker:app:x", environment=environment)
            image = stores.open(str(SMALL))
            draft = rewritten(image, Changes.of(scan(image), removed(scan(image))), PLAN, "test")
            second = stores.write(draft, "docker:app:x", environment=environment)
            assert first.id != second.id
            assert second.id == _id(address, "app:x")
            return
        changing = tmp_path / "source.tar"
        shutil.copy(SMALL, changing)
        image = stores.open(str(changing))
        done = False

        def tell(count: int, total: int) -> None:
            nonlocal done
            if done or count < 1_000_000 or fault == "late interrupt":
                return
            done = True
            if fault == "gone":
                process.kill()
                process.wait()
            elif fault == "interrupt":
                os.kill(os.getpid(), signal.SIGINT)
                time.sleep(1)
            else:
                with changing.open("r+b") as file:
                    file.seek(3_500_000)
                    file.write(b"something else")

        answer = daemon_writer._Loading._answer

        def late(self: Any, response: Any) -> None:
            """The engine has all of it; Ctrl-C comes before it has said so."""
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.5)
            answer(self, response)

        if fault == "late interrupt":
            monkeypatch.setattr(daemon_writer._Loading, "_answer", late)
        expected = {"gone": "broke off", "changed": "with the digest|has changed"}
        if fault.endswith("interrupt"):
            with pytest.raises(KeyboardInterrupt):
                stores.write(image, "docker:app:x", progress=tell, environment=environment)
        else:
            with pytest.raises(SlimmerError, match=expected[fault]):
                stores.write(image, "docker:app:x", progress=tell, environment=environment)
        if fault != "gone":
            assert "" == run("docker", "-H", address, "images", "-aq")
            assert "" == run("docker", "-H", address, "ps", "-aq")


def _id(address: str, name: str) -> str:
    return run("docker", "-H", address, "inspect", "-f", "{{.Id}}", name).strip()


@pytest.fixture
def short() -> Iterator[Path]:
    """A folder whose path is short enough for a socket."""
    import tempfile

    folder = Path(tempfile.mkdtemp(prefix="sl-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def own_podman(folder: Path) -> Iterator[str]:
    """A Podman service of our own, its address."""
    address = f"unix://{folder}/p"
    command: list[str | Path] = [
        "podman",
        "--root",
        folder / "storage",
        "--runroot",
        folder / "run",
    ]
    command += ["--storage-driver", "vfs", "system", "service", "--time", "0", address]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        for _ in range(100):
            if (folder / "p").exists():
                break
            time.sleep(0.1)
        else:
            pytest.skip("a Podman service does not start here")
        yield address
    finally:
        process.terminate()
        process.wait(20)


@pytest.mark.compat
@needs("podman")
@root
def test_podmans_service_gets_all_layers_and_the_tag(short: Path) -> None:
    image = stores.open(str(SMALL))
    index = scan(image)
    draft = rewritten(image, Changes.of(index, removed(index)), PLAN, "test")
    with own_podman(short) as address:
        environment = {"CONTAINER_HOST": address}
        stores.write(image, "podman:slimmer-test:one", environment=environment)
        second = stores.write(draft, "podman:slimmer-test:two", environment=environment)

        podman = ["podman", "--root", str(short / "storage"), "--runroot", str(short / "run")]
        podman += ["--storage-driver", "vfs"]
        (found,) = json.loads(run(*podman, "inspect", "slimmer-test:two"))
        assert (second.id, list(second.diff_ids)) == (
            f"sha256:{found['Id']}",
            found["RootFS"]["Layers"],
        )
        names = run(*podman, "images", "--all", "--format", "{{.Repository}}:{{.Tag}}")
        assert 2 == len(names.split()), names
