"""Images written to a local engine: an archive that is made while the engine reads it.

Docker looks at `manifest.json` first, and never at the file of a layer that it has already, known
by the chain of digests up to it. So the lowest layers that it has are not sent. Podman and
Docker's containerd image store want all files.
"""

from __future__ import annotations

import contextlib
import json
import threading
from contextlib import closing
from typing import TYPE_CHECKING, Any

from slimmer.errors import SlimmerError
from slimmer.image import Digest
from slimmer.stores.archive.writer import tar_header
from slimmer.stores.atomic import WriteError
from slimmer.stores.content import MediumError
from slimmer.stores.decompression import Hasher, ahead
from slimmer.stores.engine.reader import answering, connect
from slimmer.stores.manifests import compact, image_name
from slimmer.tar.reading import END, padded

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Mapping

    from docker import APIClient

    from slimmer.edits.drafts import AnyLayer, Draft
    from slimmer.image import Config
    from slimmer.stores.blobs import Meter
    from slimmer.stores.engine.reader import Endpoint, Kind


def write_engine(
    name: str, kind: Kind, draft: Draft, meter: Meter, environment: Mapping[str, str]
) -> tuple[Config, int, int]:
    """Load the image and tag it; its config, how many layers were not sent, the bytes sent.

    Raises SlimmerError where there is no engine or it refuses; it has the image and the tag then,
    or neither.
    """
    name = image_name(name)
    client, endpoint = answering(kind, environment)
    with closing(client):
        loading = _Loading(client, endpoint, draft, meter, _present(client, draft))
        loading.run()
        repository, _, tag = name.rpartition(":")
        try:
            client.tag(loading.loaded, repository, tag)
        except BaseException as error:
            loading.discard()
            from docker.errors import APIError

            if isinstance(error, APIError):
                raise WriteError(
                    f"the engine refuses the tag {name}: {error.explanation}"
                ) from None
            raise
        assert loading.config is not None
        return loading.config, loading.present, loading.sent


def _present(client: APIClient, draft: Draft) -> int:
    """How many of the lowest layers the engine has, and will not look at."""
    from docker.errors import APIError

    try:
        if any(
            "Podman" in str(part.get("Name")) for part in client.version().get("Components", ())
        ):
            return 0
        status = client.info().get("DriverStatus") or ()
        if any("io.containerd" in str(value) for value in status):
            return 0
        wanted: list[Digest] = []
        for layer in draft.layers:
            if layer.kept is None:
                break
            wanted.append(layer.kept.diff_id)
        best = 0
        for row in client.images() if wanted else ():
            with contextlib.suppress(APIError):
                found = client.inspect_image(row["Id"]).get("RootFS", {}).get("Layers") or []
                same = 0
                for ours, theirs in zip(wanted, found, strict=False):
                    if ours != theirs:
                        break
                    same += 1
                best = max(best, same)
        return best
    except APIError:
        return 0


class _Loading:
    """One image on its way into an engine."""

    def __init__(
        self, client: APIClient, endpoint: Endpoint, draft: Draft, meter: Meter, present: int
    ) -> None:
        self.client = client
        self.present = present
        self.config: Config | None = None
        self.loaded = ""
        """By what the engine knows the image, once it has it."""
        self.sent = 0
        self._endpoint = endpoint
        self._draft = draft
        self._meter = meter
        self._there_before = False
        self._error: BaseException | None = None
        self._stopped = False

    def run(self) -> None:
        """Send the image on a thread of its own, so that an interrupt leaves the engine in order.

        Once an engine has all of an archive it goes on even when nobody waits for it; so an
        interrupt waits for what the engine makes of it, and takes that away again.
        """
        # Not `join`: one that is interrupted takes its thread for ended (CPython before 3.13).
        ended = threading.Event()

        def load() -> None:
            try:
                self._run()
            finally:
                ended.set()

        threading.Thread(target=load, daemon=True).start()
        try:
            ended.wait()
        except BaseException:
            self._stopped = True
            ended.wait()
            self.discard()
            raise
        if self._error is not None:
            self.discard()
            raise self._error

    def discard(self) -> None:
        """Take away what was loaded, unless it was there before or has a name."""
        from docker.errors import APIError

        if self.loaded and not self._there_before:
            with contextlib.suppress(APIError, OSError):
                self.client.remove_image(self.loaded, noprune=False)

    def _run(self) -> None:
        from docker.errors import APIError, DockerException
        from requests.exceptions import RequestException

        failure: list[BaseException] = []
        try:
            with closing(self._noted(failure)) as body:
                client = self.client
                url = f"{client.base_url}/v{client.api_version}/images/load"
                headers = {"Content-Type": "application/x-tar"}
                response = client.post(url, data=body, headers=headers, stream=True, timeout=None)
                with closing(response):
                    self._answer(response)
        except BaseException as error:  # noqa: BLE001 - handed to the thread that waits
            if failure:
                self._error = failure[0]
            elif isinstance(error, SlimmerError):
                self._error = error
            elif isinstance(error, (RequestException, APIError, DockerException, OSError)):
                text = f"the engine at {self._endpoint.url} broke off: {_cause(error)}"
                self._error = MediumError(text[:400], hint="see the engine's own log")
            else:
                self._error = error

    def _noted(self, failure: list[BaseException]) -> Generator[bytes]:
        """The archive; what goes wrong in making it is not the engine's fault."""
        try:
            yield from self._archive()
        except GeneratorExit:
            raise
        except BaseException as error:
            failure.append(error)
            raise

    def _answer(self, response: Any) -> None:
        if response.status_code != 200:
            raise WriteError(f"the engine refuses the image: {_plain(response.text)}"[:400])
        for line in response.iter_lines():
            try:
                fields = json.loads(line)
            except ValueError:
                continue
            if "error" in fields:
                text = _plain(str(fields["error"]))
                full = "no space left" in text
                raise WriteError(
                    f"the engine cannot load the image: {text}"[:400],
                    hint="free some space on the engine's disk" if full else "",
                )
            text = str(fields.get("stream", ""))
            if text.startswith("Loaded image"):
                self.loaded = text.partition(": ")[2].strip().splitlines()[0]
        if not self.loaded:
            raise WriteError("the engine did not say that it has loaded the image")
        if self.loaded.startswith("localhost/") or ":" not in self.loaded:
            self.loaded = self.client.inspect_image(self.loaded)["Id"]

    def _archive(self) -> Iterator[bytes]:
        diff_ids: list[Digest] = []
        paths: list[str] = []
        for number, layer in enumerate(self._draft.layers):
            path = f"layers/{number}.tar"
            paths.append(path)
            if number < self.present:
                assert layer.kept is not None
                diff_ids.append(layer.kept.diff_id)
                continue
            length = length_of(layer)
            yield tar_header(path, length)
            hasher = Hasher("sha256")
            made = 0
            try:
                with closing(ahead(_chunks(layer))) as chunks:
                    for chunk in hasher.tee(self._meter.count(chunks)):
                        made += len(chunk)
                        if made > length:
                            break
                        if self._stopped:
                            raise WriteError("interrupted")
                        yield chunk
            finally:
                found = Digest("sha256:" + hasher.close())
            if made != length:
                raise MediumError(
                    f"layer {number} has changed while it was being read", hint="run it again"
                )
            kept = layer.kept
            other = kept is not None and kept.diff_id.algorithm != found.algorithm
            diff_ids.append(kept.diff_id if kept is not None and other else found)
            yield bytes(padded(length) - length)
            self.sent += length
        config = self._draft.finish(diff_ids)
        self._there_before = self._has(config.id)
        self.config = config
        manifest = [{"Config": f"{config.id.hex}.json", "RepoTags": None, "Layers": paths}]
        for name, raw in (
            (f"{config.id.hex}.json", config.raw),
            ("manifest.json", compact(manifest)),
        ):
            yield tar_header(name, len(raw)) + raw + bytes(padded(len(raw)) - len(raw))
        if self._stopped:
            raise WriteError("interrupted")
        yield END

    def _has(self, image: str) -> bool:
        """Asked on a connection of its own: the client's is in use by the load."""
        from docker.errors import ImageNotFound

        with closing(connect(self._endpoint)) as client:
            try:
                client.inspect_image(image)
            except ImageNotFound:
                return False
            return True


def _chunks(layer: AnyLayer) -> Generator[bytes]:
    yield from layer.chunks()


def length_of(layer: AnyLayer) -> int:
    """Bytes of a layer's tar, by the cheapest way there is; by reading it once where none is."""
    if layer.length is not None:
        return layer.length
    known = layer.kept.content.tar_length() if layer.kept is not None else None
    return sum(len(chunk) for chunk in layer.chunks()) if known is None else known


def _plain(text: str) -> str:
    try:
        text = json.loads(text)["message"]
    except (ValueError, KeyError, TypeError):
        pass
    return " ".join(text.split())


def _cause(error: BaseException) -> str:
    while error.__cause__ is not None or error.__context__ is not None:
        error = error.__cause__ or error.__context__  # type: ignore[assignment]
    return " ".join(str(error).split())


__all__ = ["length_of", "write_engine"]
