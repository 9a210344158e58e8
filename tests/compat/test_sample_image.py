"""The sample image: made again from its recipe, and read by tools that are not ours."""

import base64
import csv
import hashlib
import json
import os
import posixpath
import shutil
import stat
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import pytest

SAMPLES = Path(__file__).parents[2] / "sample_images"
IMAGE = SAMPLES / "small.tar"
EXPECTED: dict[str, Any] = json.loads((SAMPLES / "small/expected.json").read_text(encoding="utf-8"))
SITE = "usr/local/lib/python3.11/site-packages"

CAREFULLY = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}
"""Python 3.11.4 and later ask for a filter; Debian 12's 3.11.2 does not know the word."""


def run(*command: str | Path) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def needs(*programs: str) -> pytest.MarkDecorator:
    missing = [program for program in programs if shutil.which(program) is None]
    return pytest.mark.skipif(bool(missing), reason=f"not installed: {', '.join(missing)}")


def digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def read(archive: tarfile.TarFile, member: str | tarfile.TarInfo) -> bytes:
    content = archive.extractfile(member)
    assert content is not None
    return content.read()


def layers() -> Iterator[tarfile.TarFile]:
    """The layers, lowest first, by the standard library."""
    with tarfile.open(IMAGE) as archive:
        (image,) = json.loads(read(archive, "manifest.json"))
        for name in image["Layers"]:
            with tarfile.open(fileobj=archive.extractfile(name)) as layer:
                yield layer


@pytest.mark.compat
def test_the_recipe_makes_the_shipped_image_again(tmp_path: Path) -> None:
    output, expected = tmp_path / "small.tar", tmp_path / "expected.json"

    made = subprocess.run(
        [sys.executable, SAMPLES / "small/build.py", output, expected],
        check=False,
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONDONTWRITEBYTECODE": "1"},
    )

    if made.returncode == 2 and "DO NOT MATCH THE HASHES" not in made.stderr:
        errors = [line for line in made.stderr.splitlines() if line.startswith("ERROR")]
        pytest.skip(f"pip could not get the wheels: {' '.join(errors) or made.stderr}")
    assert made.returncode == 0, made.stderr
    assert digest(output.read_bytes()) == digest(IMAGE.read_bytes())
    assert expected.read_text(encoding="utf-8") == json.dumps(EXPECTED, indent=2) + "\n"


def test_the_archive_is_small_and_is_the_one_described() -> None:
    content = IMAGE.read_bytes()

    assert len(content) <= 5_000_000
    assert EXPECTED["archive"] == {"size": len(content), "digest": digest(content)}


def test_every_blob_has_the_digest_it_is_named_by() -> None:
    with tarfile.open(IMAGE) as archive:
        for member in archive:
            if member.isfile() and member.name.startswith("blobs/"):
                assert digest(read(archive, member)) == member.name[len("blobs/") :].replace(
                    "/", ":"
                )


def test_the_layers_have_the_sizes_and_members_expected() -> None:
    found = [
        (len(members), sum(member.size for member in members))
        for members in (layer.getmembers() for layer in layers())
    ]

    assert found == [(layer["members"], layer["size"]) for layer in EXPECTED["layers"]]


def test_every_record_has_the_size_and_hash_of_each_file_that_pip_installed() -> None:
    records = 0
    for layer in layers():
        members = {member.name: member for member in layer}
        for name in (name for name in members if name.endswith(".dist-info/RECORD")):
            records += 1
            for place, sha256, size in csv.reader(read(layer, members[name]).decode().splitlines()):
                content = read(layer, members[posixpath.normpath(f"{SITE}/{place}")])
                own = f"{SITE}/{place}" == name
                urlsafe = base64.urlsafe_b64encode(hashlib.sha256(content).digest())
                written = (
                    ("", "") if own else (f"sha256={urlsafe.decode()[:-1]}", str(len(content)))
                )
                assert (sha256, size) == written, place

    assert records == len(EXPECTED["distributions"]) + len(EXPECTED["hidden_distributions"])


def test_all_bytes_are_seen_overwritten_or_deleted() -> None:
    sizes, hidden = EXPECTED["sizes"], EXPECTED["hidden"]

    assert sizes["unpacked"] == sizes["rootfs"] + hidden["overwritten"] + hidden["deleted"]
    assert sizes["unpacked"] == sum(layer["size"] for layer in EXPECTED["layers"])
    for kind in ("overwritten", "deleted"):
        assert hidden[kind] == sum(layer[kind] for layer in EXPECTED["layers"])


def test_the_service_in_the_image_says_that_it_is_well(tmp_path: Path) -> None:
    if sys.version_info >= (3, 14):
        pytest.skip("pydantic 1 does not know this Python")
    for layer in layers():
        for member in layer:
            if member.isfile() and member.name.startswith(("app/", SITE)):
                layer.extract(member, tmp_path, **CAREFULLY)

    # Without the packages of this Python; the image's own native code is optional.
    script = (
        f"import sys; sys.path[:0] = [{str(tmp_path / 'app')!r}, {str(tmp_path / SITE)!r}]\n"
        "import asyncio, main\n"
        "print(asyncio.run(main.health()), asyncio.run(main.score('<a> b b')))\n"
        "print(sorted(route.path for route in main.app.routes))"
    )
    health, routes = run(sys.executable, "-I", "-S", "-W", "ignore", "-c", script).splitlines()

    assert health.startswith("{'status': 'ok'} <p>&lt;a&gt; b b: ")
    assert "'/health'" in routes


@pytest.mark.compat
@needs("skopeo")
@pytest.mark.parametrize("transport", ["docker-archive", "oci-archive"])
def test_skopeo_reads_the_image_in_both_its_forms(transport: str) -> None:
    seen = json.loads(run("skopeo", "inspect", f"{transport}:{IMAGE}"))

    assert [layer["diff_id"] for layer in EXPECTED["layers"]] == seen["Layers"]
    assert (seen["Architecture"], seen["Os"]) == ("amd64", "linux")


@pytest.mark.compat
@needs("skopeo", "umoci")
def test_umoci_unpacks_the_tree_expected(tmp_path: Path) -> None:
    root = os.geteuid() == 0
    run("skopeo", "copy", f"docker-archive:{IMAGE}", f"oci:{tmp_path}/oci:1")
    mode = () if root else ("--rootless",)
    run("umoci", "unpack", *mode, "--image", f"{tmp_path}/oci:1", tmp_path / "bundle")
    rootfs = tmp_path / "bundle/rootfs"

    found = {}
    for folder, folders, files in os.walk(rootfs):
        for path in (Path(folder, name) for name in (*folders, *files)):
            found[str(path.relative_to(rootfs))] = path.lstat()
    regular = {entry.st_ino: entry for entry in found.values() if stat.S_ISREG(entry.st_mode)}
    kinds = {
        "files": len(regular),
        "hard_links": sum(stat.S_ISREG(e.st_mode) for e in found.values()) - len(regular),
        "symlinks": sum(stat.S_ISLNK(entry.st_mode) for entry in found.values()),
        "directories": sum(stat.S_ISDIR(entry.st_mode) for entry in found.values()),
    }

    assert EXPECTED["sizes"]["rootfs"] == sum(entry.st_size for entry in regular.values())
    assert EXPECTED["visible"] == kinds
    assert not [name for name in found if PurePosixPath(name).name.startswith(".wh.")]
    if root:
        setuid = [name for name, entry in found.items() if entry.st_mode & stat.S_ISUID]
        owned = {name.partition("/")[0] for name, entry in found.items() if entry.st_uid == 1000}
        assert (EXPECTED["notable"]["setuid"], {"app"}) == (setuid, owned)


@pytest.mark.compat
@pytest.mark.usefixtures("docker_host")
def test_docker_loads_the_image() -> None:
    name = EXPECTED["image"]["reference"]
    run("docker", "load", "--input", IMAGE)
    try:
        (seen,) = json.loads(run("docker", "image", "inspect", name))
    finally:
        run("docker", "image", "rm", name)

    assert [layer["diff_id"] for layer in EXPECTED["layers"]] == seen["RootFS"]["Layers"]
    # The classic store's ID is the configuration's digest, containerd's is the manifest's.
    assert seen["Id"] in (EXPECTED["image"]["config"], EXPECTED["image"]["manifest"])
    if seen["GraphDriver"]["Name"] == "overlay2":
        # This store measures folders on its disk, where a symbolic link is as long as its target.
        links = sum(
            len(member.linkname) for layer in layers() for member in layer if member.issym()
        )
        assert seen["Size"] == EXPECTED["sizes"]["unpacked"] + links
