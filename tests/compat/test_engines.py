"""Real engines and tools: whatever an image comes through, its index is the same."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from media import LAYERS, docker_archive, folder
from tiny import image, layer, tar

from slimmer import stores
from slimmer.errors import SlimmerError
from slimmer.evidence import Evidence
from slimmer.index import Index
from slimmer.stores.cache import Cache, Scans
from slimmer.stores.engine import reader as daemon

pytestmark = pytest.mark.compat

EVIDENCE = Evidence([("**/RECORD", 1000), ("etc/os-release", 4), ("**/*.bin", 100)])
BEHIND = layer(
    {"usr/lib/x/RECORD": b"x", "\udcff/RECORD": b"y", "large.bin": b"0" * (2 << 20)},
    symlinks={"lib": "usr/lib"},
)
MANY = layer({f"p{number}.dist-info/RECORD": b"%d" % number for number in range(1500)})
REPOSITORY = Path(__file__).parents[2]


def assert_same(expected: Index, found: Index) -> None:
    for ours, theirs in zip(expected.layers, found.layers, strict=True):
        assert list(ours.headers) == list(theirs.headers)
    assert dict(expected.evidence) == dict(found.evidence)


@pytest.fixture(scope="module")
def loaded(docker_socket: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment of an engine that holds `app:1` and `app:2`."""
    file = tmp_path_factory.mktemp("images") / "app.tar"
    for tag, tars in (("app:1", LAYERS), ("app:2", (*LAYERS, BEHIND, MANY))):
        file.write_bytes(docker_archive(tars, [tag]))
        command = ["docker", "load", "-qi", str(file)]
        environment = os.environ | {"DOCKER_HOST": docker_socket}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.skip(f"this engine loads no image: {done.stderr[-300:]}")
    return {"DOCKER_HOST": docker_socket}


def route(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave only this route to the bytes."""
    if name == "API":
        monkeypatch.setattr(daemon, "_readable", lambda *_: None)
    if name == "export":
        monkeypatch.setattr(daemon._Opening, "_places", lambda *_: ())


@pytest.mark.parametrize("name", ["folders", "API", "export"])
@pytest.mark.parametrize("tag", ["app:1", "app:2"])
def test_every_route_reads_the_same(
    loaded: dict[str, str], monkeypatch: pytest.MonkeyPatch, name: str, tag: str
):
    tars = LAYERS if tag == "app:1" else (*LAYERS, BEHIND, MANY)
    route(name, monkeypatch)

    opened = stores.open(f"docker:{tag}", environment=loaded)

    assert name in opened.route
    assert_same(Index.scan(image(*tars), EVIDENCE), Index.scan(opened, EVIDENCE))
    assert stores.open(tag, environment=loaded).id == opened.id
    for one, original in zip(opened.layers, tars, strict=True):
        with one.content.open() as file:
            assert original == file.read()
        wanted = [h for h, _ in one.content.members(lambda _: 0) if h.size][:50]
        for header, read in one.content.files(wanted):
            assert original[header.data : header.data + header.size] == read(0, 1 << 30)


def containers(environment: dict[str, str]) -> str:
    return subprocess.run(
        ["docker", "ps", "-aq"],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=True,
    ).stdout


INTERRUPTED = """
import sys, time
from slimmer import stores
from slimmer.stores.engine import api_layers as container
from slimmer.stores.engine import reader as daemon
daemon._readable = lambda *_: None
def archived(*_):
    print("created", flush=True)
    time.sleep(60)
    yield
container.archived = archived
stores.open("app:1", environment={"DOCKER_HOST": sys.argv[1]})
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_temporary_container_is_removed_when_stopped(
    loaded: dict[str, str], number: signal.Signals
):
    command = [sys.executable, "-c", INTERRUPTED, loaded["DOCKER_HOST"]]
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"created\n"
        assert containers(loaded)
        process.send_signal(number)
        process.wait(30)

    assert process.returncode != 0
    assert not containers(loaded)


def test_a_second_run_creates_no_container(
    loaded: dict[str, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    route("API", monkeypatch)
    cache = Cache(tmp_path)
    first = Index.scan(
        stores.open("app:1", environment=loaded, cache=cache), EVIDENCE, Scans(cache)
    )

    def temporary(*_: object) -> None:
        raise AssertionError("a container is created")

    monkeypatch.setattr("slimmer.stores.engine.api_layers.temporary", temporary)
    again = stores.open("app:1", environment=loaded, cache=cache)

    assert_same(first, Index.scan(again, EVIDENCE, Scans(cache)))


def test_an_image_that_is_not_there_is_told_with_those_that_are(loaded: dict[str, str]):
    with pytest.raises(SlimmerError, match="no image called 'app:3'") as error:
        stores.open("docker:app:3", environment=loaded)
    assert error.value.hint == "there are: app:1, app:2"
    with pytest.raises(SlimmerError):
        stores.open("docker:No Name!", environment=loaded)


def test_a_socket_of_others_is_told(loaded: dict[str, str]):
    code = (
        "import os, sys, docker, requests; from slimmer import stores\n"
        "from slimmer.errors import SlimmerError\n"
        "from slimmer.stores.engine import reader as daemon\n"
        "os.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
        "try: stores.open('app:1', environment={'DOCKER_HOST': sys.argv[1]})\n"
        "except SlimmerError as error: print(error.message, '|', error.hint)"
    )
    out = subprocess.run(
        [sys.executable, "-c", code, loaded["DOCKER_HOST"]],
        env={"PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        check=True,
    ).stdout

    assert out.startswith("no permission to talk to the Docker engine")
    assert "sudo" in out


def test_podman_reads_the_same(podman_socket: str, tmp_path: Path):
    file = tmp_path / "app.tar"
    file.write_bytes(docker_archive(LAYERS, ["localhost/app:1"]))
    command = ["podman", "--url", podman_socket, "load", "-qi", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"this Podman loads no image: {done.stderr[-300:]}")

    opened = stores.open("podman:localhost/app:1", environment={"CONTAINER_HOST": podman_socket})

    assert "export" in opened.route
    assert_same(Index.scan(image(*LAYERS), EVIDENCE), Index.scan(opened, EVIDENCE))


@pytest.mark.parametrize(
    "target",
    ["docker-archive:{}/f.tar:app:1", "oci-archive:{}/f.tar:app", "oci:{}/f:app"],
)
@pytest.mark.parametrize("pack", ["plain", "gzip", "zstd"])
def test_what_skopeo_writes_reads_the_same(tmp_path: Path, target: str, pack: str):
    if not shutil.which("skopeo"):
        pytest.skip("needs skopeo")
    source = folder(tmp_path / "source", pack)
    reference = target.format(tmp_path)
    done = subprocess.run(
        ["skopeo", "--insecure-policy", "copy", "-q", f"oci:{source}:latest", reference],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        pytest.skip(f"this skopeo does not write it: {done.stderr[-300:]}")

    opened = stores.open(reference)

    assert_same(Index.scan(image(*LAYERS), EVIDENCE), Index.scan(opened, EVIDENCE))
    assert_same(
        Index.scan(image(*LAYERS), EVIDENCE),
        Index.scan(stores.open(reference.partition(":")[2]), EVIDENCE),
    )


TRAPS = {
    "through a symlink": [
        ("file", "x/p.dist-info/RECORD", b"?" * 40),
        ("symlink", "d", "x"),
        ("symlink", "d/p.dist-info/RECORD", "{secret}"),
    ],
    "through a hard link to a symlink": [
        ("symlink", "s", "{folder}"),
        ("link", "a", "s"),
        ("file", "a/RECORD", b"?" * 40),
    ],
    "in place of its folder": [
        ("file", "b/RECORD", b"?" * 40),
        ("symlink", "b", "{folder}"),
    ],
}


@pytest.mark.parametrize("trap", TRAPS)
def test_no_image_reads_a_file_of_the_engines_host(
    docker_socket: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, trap: str
):
    secret = tmp_path / "host" / "RECORD"
    secret.parent.mkdir()
    secret.write_bytes(b"a secret of the engine's host, long enough to be taken for the content")
    members = [
        (kind, name, more.format(secret=secret, folder=secret.parent) if kind != "file" else more)
        for kind, name, more in TRAPS[trap]
    ]
    file = tmp_path / "trap.tar"
    file.write_bytes(docker_archive([tar(*members)], ["trap:1"]))
    environment = os.environ | {"DOCKER_HOST": docker_socket}
    done = subprocess.run(
        ["docker", "load", "-qi", str(file)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        return  # this engine does not even take the layer in
    route("API", monkeypatch)

    opened = stores.open("docker:trap:1", environment={"DOCKER_HOST": docker_socket})
    index = Index.scan(opened, EVIDENCE)
    contents = [*index.evidence.values()]
    for one, laid in zip(opened.layers, index.layers, strict=True):
        with contextlib.suppress(SlimmerError):
            contents += [read(0, 1 << 20) for _, read in one.content.files(laid.headers)]

    assert b"API" in opened.route.encode()
    assert not [content for content in contents if b"secret" in content]
