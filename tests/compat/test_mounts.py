"""What an engine with overlay mounts shows of layers, against the model of it."""

from __future__ import annotations

import io
import os
import subprocess
import tarfile
from random import Random
from typing import TYPE_CHECKING

import pytest
from media import docker_archive
from thorough import examples
from tiny import image, layer, tar

from slimmer.evidence import Evidence
from slimmer.index import Index
from slimmer.placement import behind_symlinks, mounted

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.compat

NOTHING = Evidence(())
MADE = {".dockerenv", "dev", "etc", "proc", "sys"}
"""What an engine adds to a container."""


class Docker:
    """An engine whose images are overlay mounts."""

    def __init__(self, socket: str) -> None:
        self._environment = os.environ | {"DOCKER_HOST": socket}

    def _run(self, *arguments: str) -> bytes:
        done = subprocess.run(
            ["docker", *arguments], env=self._environment, capture_output=True, check=True
        )
        return done.stdout

    def shows(self, file: Path) -> dict[str, int] | None:
        """Files and symlinks of a container with their sizes; None for an image it refuses."""
        try:
            name = self._run("load", "-qi", str(file)).decode().strip().partition(": ")[2]
        except subprocess.CalledProcessError:
            return None
        container = self._run("create", name, "x").decode().strip()
        try:
            with tarfile.open(fileobj=io.BytesIO(self._run("export", container))) as tree:
                return {
                    member.name: 0 if member.issym() else member.size
                    for member in tree
                    if not member.isdir() and member.name.partition("/")[0] not in MADE
                }
        finally:
            self._run("rm", container)
            self._run("rmi", "-f", name)


@pytest.fixture(scope="module")
def docker(docker_socket: str) -> Docker:
    engine = Docker(docker_socket)
    driver = engine._run("info", "--format", "{{.Driver}}").decode().strip()
    if driver not in ("overlay2", "overlayfs"):
        pytest.skip(f"this engine mounts no overlays: {driver}")
    return engine


def by_model(tars: list[bytes]) -> dict[str, int]:
    """Files and symlinks that the model says a mount shows, with their sizes."""
    members = [
        [header for header, _ in one.content.members(lambda _: 0)] for one in image(*tars).layers
    ]
    own = [behind_symlinks([headers])[0][0] for headers in members]
    return {
        own[number][place].path.decode(): own[number][place].size
        for number, place in mounted(members)
        if own[number][place].kind != "directory"
    }


CASES = {
    "a member behind a symlink of a lower layer": [
        layer({"usr/lib/x": b"1", "usr/lib/y": b"22"}, symlinks={"lib": "usr/lib"}),
        layer({"lib/x": b"333"}),
    ],
    "an opaque root": [layer({"a": b"1", "d/b": b"22"}), layer({"c": b"3"}, opaque=[""])],
    "a whiteout beside the folder that it names": [
        layer({"d/a": b"1"}),
        tar(("file", ".wh.d", b""), ("folder", "d", ""), ("file", "d/b", b"22")),
    ],
    "a symlink over a folder of the same layer": [
        tar(("file", "d/x", b"1"), ("symlink", "d", "/tmp"), ("file", "e", b"1"))
    ],
    "a folder over a file over a folder": [
        layer({"d/a": b"1"}),
        layer({"d": b"22"}),
        layer({"d/b": b"333"}),
    ],
}


@pytest.mark.parametrize("name", CASES)
def test_an_engine_shows_what_the_model_says(docker: Docker, tmp_path: Path, name: str):
    file = tmp_path / "image.tar"
    file.write_bytes(docker_archive(CASES[name], ["mounts:1"]))

    assert by_model(CASES[name]) == docker.shows(file)


@pytest.mark.parametrize("name", ["a member behind a symlink of a lower layer", "an opaque root"])
def test_what_only_an_engine_shows_is_told_and_never_dropped_as_hidden(name: str):
    index = Index.scan(image(*CASES[name]), NOTHING)

    assert not list(index.droppable())
    assert any("specification hides" in problem for problem in index.problems)


NAMES = ["a", "b", "c", "lib"]


def members(random: Random) -> bytes:
    """A layer that engines mostly take: whiteouts first, and each path once."""
    found: dict[str, tuple[str, str, bytes | str]] = {}
    for _ in range(random.randrange(1, 7)):
        path = "/".join(random.choices(NAMES, k=random.choice([1, 1, 2, 2, 3])))
        directory, _, name = path.rpartition("/")
        inside = f"{directory}/" if directory else ""
        match random.choice("ffffddlwo"):
            case "f":
                found[path] = ("file", path, random.randbytes(random.randrange(1, 6)))
            case "d":
                found[path] = ("folder", path, "")
            case "l":
                found[path] = ("symlink", path, random.choice(["a", "/b", "../c", "a/b", "lib"]))
            case "w":
                found[f"!{inside}"] = ("file", f"{inside}.wh.{name}", b"")
            case _:
                found[f"!!{inside}"] = ("file", f"{inside}.wh..wh..opq", b"")
    return tar(*(found[key] for key in sorted(found, key=lambda key: not key.startswith("!"))))


def test_engines_show_what_the_model_says_of_layers_made_by_chance(docker: Docker, tmp_path: Path):
    file = tmp_path / "image.tar"
    compared = 0
    for seed in range(examples(200)):
        random = Random(seed)
        tars = [members(random) for _ in range(random.randrange(2, 5))]
        if len(set(tars)) < len(tars):
            continue
        file.write_bytes(docker_archive(tars, ["mounts:1"]))
        shown = docker.shows(file)
        if shown is None:
            continue
        compared += 1
        assert (seed, by_model(tars)) == (seed, shown)
    assert compared
