"""Finding an engine and understanding its answers; an engine of our own plays the other side."""

from __future__ import annotations

import json
import socketserver
import threading
import time
from http.server import BaseHTTPRequestHandler
from typing import TYPE_CHECKING, Any

import pytest
from media import LAYERS, docker_archive, folder, in_tar
from tiny import config, image

from slimmer import stores
from slimmer.errors import SlimmerError
from slimmer.evidence import Evidence
from slimmer.image import Digest, Platform
from slimmer.index import Index
from slimmer.stores.cache import Cache, Scans
from slimmer.stores.engine import reader as daemon

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

EVIDENCE = Evidence([("**/RECORD", 1000), ("etc/os-release", 4)])
CONTAINERD = [["driver-type", "io.containerd.snapshotter.v1"]]


class Engine(socketserver.ThreadingUnixStreamServer):
    """As much of an engine's API as is asked for without a container."""

    daemon_threads = True

    def __init__(self, path: Path, export: bytes, found: dict[str, Any], info: dict[str, Any]):
        self.export, self.found, self.information = export, found, info
        self.asked: list[str] = []
        super().__init__(str(path), _Handler)


class _Handler(BaseHTTPRequestHandler):
    server: Engine
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        path = self.path.partition("?")[0].split("/", 2)[-1]
        self.server.asked.append(path)
        answers: dict[str, object] = {
            "version": {"ApiVersion": "1.41"},
            "info": self.server.information,
            "images/app:1/json": self.server.found,
            "images/json": [{"RepoTags": ["app:1", "base:2"]}],
        }
        if self.path == "/version":
            path = "version"
        if path == f"images/{self.server.found.get('Id')}/get":
            self.answer(200, self.server.export, "application/x-tar")
        elif path in answers:
            self.answer(200, json.dumps(answers[path]).encode())
        else:
            self.answer(404, b'{"message": "No such image: x"}')

    def answer(self, status: int, body: bytes, kind: str = "application/json") -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def address_string(self) -> str:
        return "unix"

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass


@pytest.fixture
def serve(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    engines: list[Engine] = []

    def start(export: bytes, identity: str, driver: str = "overlayfs", status: object = CONTAINERD):
        path = tmp_path_factory.mktemp("e") / "s"
        info = {"Driver": driver, "DriverStatus": status, "DockerRootDir": "/nowhere"}
        engine = Engine(path, export, {"Id": identity, "Os": "linux"}, info)
        engines.append(engine)
        threading.Thread(target=engine.serve_forever, args=(0.02,), daemon=True).start()
        return engine, {"DOCKER_HOST": f"unix://{path}"}

    yield start
    for engine in engines:
        engine.shutdown()
        engine.server_close()


def assert_same(expected: Index, found: Index) -> None:
    for ours, theirs in zip(expected.layers, found.layers, strict=True):
        assert list(ours.headers) == list(theirs.headers)
    assert dict(expected.evidence) == dict(found.evidence)


@pytest.mark.parametrize("pack", ["gzip", "zstd", "plain"])
def test_the_containerd_store_exports_blobs_with_the_index_last(
    tmp_path: Path, serve: Any, pack: str
):
    layout = folder(tmp_path / "layout", pack)
    manifest = json.loads((layout / "index.json").read_text())["manifests"][0]["digest"]
    engine, environment = serve(in_tar(layout), manifest)

    opened = stores.open("docker:app:1", environment=environment, evidence=EVIDENCE)

    assert "export" in opened.route
    assert_same(Index.scan(image(*LAYERS), EVIDENCE), Index.scan(opened, EVIDENCE))
    assert 1 == sum(path.endswith("/get") for path in engine.asked)


def test_a_second_run_asks_for_no_export(tmp_path: Path, serve: Any):
    engine, environment = serve(docker_archive(), Digest.of(config(LAYERS)), "overlay", [])
    cache = Cache(tmp_path)
    results = [
        Index.scan(
            stores.open("app:1", environment=environment, cache=cache, evidence=EVIDENCE),
            EVIDENCE,
            Scans(cache),
        )
        for _ in range(2)
    ]

    assert_same(*results)
    assert 1 == sum(path.endswith("/get") for path in engine.asked)


def test_an_export_that_breaks_off_is_an_error(serve: Any):
    export = docker_archive()
    _, environment = serve(export[: len(export) // 2], Digest.of(config(LAYERS)))

    with pytest.raises(SlimmerError, match=r"ends too soon|is no image"):
        stores.open("app:1", environment=environment)


def test_an_image_that_is_not_there_is_told_with_those_that_are(serve: Any):
    _, environment = serve(b"", "sha256:" + "0" * 64)

    with pytest.raises(SlimmerError, match="no image called 'app:9' in the Docker engine") as error:
        stores.open("app:9", environment=environment)
    assert "there are: app:1" == error.value.hint


def test_another_platform_than_there_is_is_told(serve: Any):
    _, environment = serve(docker_archive(), Digest.of(config(LAYERS)))

    with pytest.raises(SlimmerError, match="no image for linux/arm64"):
        stores.open("app:1", Platform("linux", "arm64"), environment=environment)


@pytest.mark.parametrize("reference", ["docker:app", "podman:app", "app", "no/such/image:1"])
def test_no_engine_is_one_line_with_a_hint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reference: str
):
    nowhere = [daemon.Endpoint("Docker", f"unix://{tmp_path}/none")] * 2
    monkeypatch.setattr(daemon, "endpoints", lambda *_: iter(nowhere))

    with pytest.raises(SlimmerError, match=r"no .* running here|no .* engine answers") as error:
        stores.open(reference)
    assert "archive" in error.value.hint
    assert "\n" not in error.value.message


@pytest.mark.parametrize(
    "host", ["unix:///no/such.sock", "tcp://127.0.0.1:1", "nonsense://x", "unix://" + "x" * 200]
)
def test_a_named_engine_that_does_not_answer_is_told(host: str):
    started = time.monotonic()
    with pytest.raises(SlimmerError) as error:
        stores.open("docker:app", environment={"DOCKER_HOST": host})
    assert error.value.hint
    assert time.monotonic() - started < 20


def test_engines_are_looked_for_where_they_listen():
    environment = {"XDG_RUNTIME_DIR": "/run/user/7", "HOME": "/home/x"}

    found = [endpoint.url for endpoint in daemon.endpoints("any", environment)]

    assert [
        "unix:///var/run/docker.sock",
        "unix:///run/user/7/docker.sock",
        "unix:///home/x/.docker/run/docker.sock",
        "unix:///home/x/.docker/desktop/docker.sock",
        "unix:///run/user/7/podman/podman.sock",
        "unix:///run/podman/podman.sock",
    ] == found
    named = daemon.endpoints("docker", {"DOCKER_HOST": "tcp://127.0.0.1:2375"})
    assert ["tcp://127.0.0.1:2375"] == [endpoint.url for endpoint in named]
    named = daemon.endpoints("podman", {"CONTAINER_HOST": "unix:///x"})
    assert ["unix:///x"] == [endpoint.url for endpoint in named]


def test_a_docker_context_names_the_engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    (tmp_path / "config.json").write_text("{}")
    meta = tmp_path / "contexts" / "meta" / Digest.of(b"far").hex / "meta.json"
    meta.parent.mkdir(parents=True)
    host = {"docker": {"Host": "unix:///far.sock", "SkipTLSVerify": False}}
    meta.write_text(json.dumps({"Name": "far", "Metadata": {}, "Endpoints": host}))

    [found] = daemon.endpoints("docker", {"DOCKER_CONTEXT": "far"})
    assert ("unix:///far.sock", True) == (found.url, found.named)
    with pytest.raises(SlimmerError, match="no Docker context called 'near'"):
        list(daemon.endpoints("docker", {"DOCKER_CONTEXT": "near"}))
