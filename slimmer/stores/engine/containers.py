"""Containers of a local engine that try what a result must still be able to do.

Every container is removed again, also after an error or Ctrl-C, and so is every image that had to
be loaded for it. Unless the network is asked for they reach nothing but their own loopback, so a
service is asked from within its container, by the image's own Python. What each may do is in
`limits`, and what it says is read by `answers`.
"""

from __future__ import annotations

import contextlib
import io
import json
import secrets
import tarfile
import threading
import time
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from importlib import resources
from typing import TYPE_CHECKING, Any, Self, TypeVar

from slimmer.names import one_line
from slimmer.proof.trials import (
    Answer,
    Finished,
    Probe,
    Probed,
    Served,
    TrialError,
    Trials,
)
from slimmer.signals import unwinding
from slimmer.stores.content import MediumError
from slimmer.stores.engine import limits
from slimmer.stores.engine import reader as daemon
from slimmer.stores.engine.answers import answer, objects, probed
from slimmer.stores.engine.api_layers import archived, chunks, request
from slimmer.stores.engine.handing_over import archive

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Mapping
    from types import TracebackType

    from docker import APIClient

    from slimmer.image import Digest, Image

T = TypeVar("T")

LABEL = "slimmer.temporary"
REPOSITORY = "slimmer.temporary"
FOLDER = ".slimmer"
"""Where the driver and what it is to do are put, in a container's root."""
OUTPUT = 1 << 20
"""Bytes of a command's output, of each stream, that are kept and compared."""
CHUNK = 1 << 20
LEFT_BEHIND = 24 * 3600
"""Seconds after which a container with our label belongs to a process that was killed outright."""

ASK = """
import base64, http.client, json, sys, time
port, path, deadline = int(sys.argv[1]), sys.argv[2], time.time() + float(sys.argv[3])
status, body, kind = 0, b"", ""
while True:
    for host in ("127.0.0.1", "::1"):
        try:
            link = http.client.HTTPConnection(host, port, timeout=max(1, deadline - time.time()))
            link.request("GET", path, headers={"Host": "localhost", "Accept": "*/*"})
            answer = link.getresponse()
            status, body = answer.status, answer.read(1 << 20)
            kind = answer.getheader("Content-Type") or ""
            break
        except (OSError, http.client.HTTPException):
            pass
    # A service that is still warming up may say so with a 5xx.
    if 0 < status < 500 or time.time() > deadline:
        break
    time.sleep(0.2)
with open(sys.argv[4], "w") as file:
    json.dump([status, kind, base64.b64encode(body).decode()], file)
"""
"""Leaves its answer in a file: an exec's output comes over a connection that nobody can close."""


@dataclass(slots=True)
class Containers:
    """An engine that runs images; use it in a `with` block, which takes all away that it made."""

    client: APIClient
    name: str
    """What kind of engine it is."""
    _memory: int | None = None
    _wide: dict[str, bool] = field(default_factory=dict)
    """What was tried → whether the original needed more than the fewest capabilities."""
    _references: dict[Digest, str] = field(default_factory=dict)
    _loaded: list[str] = field(default_factory=list)

    @classmethod
    def connect(cls, environment: Mapping[str, str], kind: daemon.Kind = "any") -> Self:
        """The first engine that answers; raises MediumError where none does."""
        client, endpoint = daemon.answering(kind, environment)
        return cls(client, endpoint.engine)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        from docker.errors import APIError

        for tag in self._loaded:
            with contextlib.suppress(APIError):
                self.client.remove_image(tag)
        self._loaded.clear()
        self._references.clear()
        self.client.close()

    # -- what a proof asks for --

    def probe(
        self,
        image: Image,
        interpreter: str,
        probe: Probe,
        trials: Trials,
        done: Callable[[int], None],
    ) -> Probed:
        """Import modules and load libraries in the image's own interpreter."""
        told = {
            "modules": None
            if probe.modules is None
            else {"single": list(probe.modules), "several": list(probe.together)},
            "deep": list(probe.deep),
            "libraries": list(probe.libraries),
            "workers": probe.workers,
            "timeout": probe.timeout,
            "limit": trials.limit,
        }
        driver = resources.files("slimmer.stores.engine").joinpath("probe.py").read_bytes()
        files = {"inside.py": driver, "request.json": json.dumps(told).encode()}
        # By -c and not by name: that would put the driver's folder first on the module path.
        start = f"REQUEST = '/{FOLDER}/request.json'; exec(open('/{FOLDER}/inside.py').read())"
        with self._container(image, trials, [interpreter], ["-c", start], files) as container:
            refused = self._begin(container)
            if refused:
                return Probed("", problem=refused)
            result = probed(self._lines(container, trials.limit + 60), done)
            if not result.problem:
                return result
            code = self._code(container)
            said = self._log(container, stderr=True)[-2000:].decode("utf-8", "replace")
            last = one_line(said.strip().rpartition("\n")[2])
            ended = f"it ended with exit code {code}" + (f": {last}" if last else "")
            return replace(result, problem=ended)

    def run(self, image: Image, command: str, trials: Trials) -> Finished:
        """Run a shell command."""

        def attempt(capabilities: tuple[str, ...]) -> Finished:
            argv = ["/bin/sh"], ["-c", command]
            with self._container(image, trials, *argv, capabilities=capabilities) as container:
                refused = self._begin(container)
                if refused:
                    return Finished(126, b"", refused.encode(), refused)
                code = self._wait(container, trials.timeout)
                out, err = self._outputs(container)
                return Finished(code, out, err)

        return self._with_least(f"run {command}", attempt, lambda ended: ended.code == 0)

    def serve(self, image: Image, interpreter: str, trials: Trials) -> Served:
        """Start the container as its image says, ask it, and check its health."""
        return self._with_least(
            "serve",
            lambda capabilities: self._served(image, interpreter, trials, capabilities),
            _well,
        )

    def _with_least(
        self,
        what: str,
        attempt: Callable[[tuple[str, ...]], T],
        well: Callable[[T], bool],
    ) -> T:
        """What comes of an attempt with as few capabilities as the first image that it was made
        with, the original, needs; whatever that fails at either way is compared as it is."""
        wide = self._wide.get(what)
        if wide is not None:
            return attempt(limits.WIDE if wide else limits.NARROW)
        ended = attempt(limits.NARROW)
        if not well(ended):
            again = attempt(limits.WIDE)
            if well(again):
                self._wide[what] = True
                return again
        self._wide[what] = False
        return ended

    def _served(
        self, image: Image, interpreter: str, trials: Trials, capabilities: tuple[str, ...]
    ) -> Served:
        answers = []
        healthy = None
        with self._container(image, trials, None, None, {}, capabilities=capabilities) as container:
            refused = self._begin(container)
            if refused:
                nothing = (Answer(0),) * len(trials.requests)
                return Served(nothing, None, 126, log=refused, refused=refused)
            begun = time.monotonic()
            deadline = begun + trials.timeout
            for number, asked in enumerate(trials.requests):
                left = max(1.0, deadline - time.monotonic())
                file = f"/{FOLDER}/answer-{number}"
                argv = [interpreter, "-c", ASK, str(asked.port), asked.path, f"{left:.1f}", file]
                self._exec(container, argv, deadline + 30)
                answers.append(answer(self._content(container, file)))
            if trials.health:
                healthy = self._healthy(container, image, deadline)
            seconds = time.monotonic() - begun
            # Where it does not answer, it may be about to end.
            least = 0 if all(one.status for one in answers) else time.monotonic() + 1
            self._settle(container, max(least, begun + trials.settle * trials.start))
            code = self._code(container)
            out, err = self._outputs(container)
        log = (err + out)[-4000:].decode("utf-8", "replace")
        return Served(tuple(answers), healthy, code, out, err, log=log, seconds=seconds)

    # -- containers --

    @contextmanager
    def _container(
        self,
        image: Image,
        trials: Trials,
        entrypoint: list[str] | None,
        command: list[str] | None,
        files: Mapping[str, bytes] | None = None,
        capabilities: tuple[str, ...] = limits.NARROW,
    ) -> Iterator[str]:
        """A created container that is removed whatever happens."""
        from docker.errors import APIError

        reference = self._reference(image)
        if self._memory is None:
            self._memory = limits.memory(self.client, trials.memory)
        host = limits.host_config(self.client, trials, capabilities, self._memory)
        with unwinding():
            self._sweep()
            try:
                container = self.client.create_container(
                    reference,
                    command,
                    entrypoint=entrypoint,
                    hostname=None if trials.network else "slimmer",
                    labels={LABEL: ""},
                    host_config=host,
                    healthcheck={"test": ["NONE"]},
                )["Id"]
            except APIError as error:
                raise _refused(image, error) from None
            try:
                if files is not None:
                    self.client.put_archive(container, "/", _folder(files))
                yield container
            except APIError as error:
                raise _refused(image, error) from None
            finally:
                self._remove(container)

    def _remove(self, container: str) -> None:
        from docker.errors import APIError

        with contextlib.suppress(APIError):
            self.client.remove_container(container, v=True, force=True)

    def _sweep(self) -> None:
        """Take away what a process that was killed outright left behind."""
        for left in self.client.containers(all=True, filters={"label": LABEL}):
            if left["Created"] < time.time() - LEFT_BEHIND:
                self._remove(left["Id"])

    def _begin(self, container: str) -> str:
        """Start a container; why the engine does not, where it does not."""
        from docker.errors import APIError

        try:
            self.client.start(container)
        except APIError as error:
            return one_line(error.explanation or str(error))[:500]
        return ""

    def _settle(self, container: str, until: float) -> None:
        """Wait for a container to end, so long as it may still be starting."""
        while self._code(container) is None and time.monotonic() < until:
            time.sleep(0.1)

    def _code(self, container: str) -> int | None:
        """The exit code of a container, None while it runs."""
        state = self.client.inspect_container(container)["State"]
        return None if state.get("Running") else int(state.get("ExitCode", 0))

    def _wait(self, container: str, seconds: float) -> int | None:
        deadline = time.monotonic() + seconds
        pause = 0.02
        while (code := self._code(container)) is None:
            if time.monotonic() > deadline:
                self.client.kill(container)
                return None
            time.sleep(pause)
            pause = min(0.5, pause * 1.5)
        return code

    def _log(self, container: str, *, stdout: bool = False, stderr: bool = False) -> bytes:
        """What a container wrote so far; only as much as is kept."""
        held = bytearray()
        with closing(self._written(container, stdout=stdout, stderr=stderr)) as parts:
            for part in parts:
                held += part
                if len(held) > 4 * OUTPUT:
                    break
        return bytes(held)

    def _outputs(self, container: str) -> tuple[bytes, bytes]:
        """The beginning of both streams, as much as is compared."""
        out = self._log(container, stdout=True)[:OUTPUT]
        return out, self._log(container, stderr=True)[:OUTPUT]

    def _written(
        self, container: str, *, stdout: bool = False, stderr: bool = False, follow: bool = False
    ) -> Generator[bytes]:
        """A container's output. Engines frame it: stream, three zeros, length (attach's format)."""
        response = request(
            self.client,
            f"/containers/{container}/logs",
            stdout=int(stdout),
            stderr=int(stderr),
            follow=int(follow),
        )
        held = b""
        with closing(chunks(response)) as parts:
            for part in parts:
                held += part
                while len(held) >= 8 and len(held) >= 8 + (
                    size := int.from_bytes(held[4:8], "big")
                ):
                    yield held[8 : 8 + size]
                    held = held[8 + size :]

    def _lines(self, container: str, limit: float) -> Iterator[Mapping[str, Any]]:
        """Follow the objects that a started container writes, one a line."""
        watch = threading.Timer(limit, self._remove, (container,))
        watch.daemon = True
        watch.start()
        try:
            with closing(self._written(container, stdout=True, follow=True)) as parts:
                yield from objects(parts)
        except MediumError:
            return  # it was taken away, or the engine broke off: the missing end tells
        finally:
            watch.cancel()

    def _exec(self, container: str, argv: list[str], deadline: float) -> int | None:
        """The exit code of a program run in a started container; None where it has none."""
        from docker.errors import APIError

        try:
            made = self.client.exec_create(container, argv, stdout=False, stderr=False)["Id"]
            # Detached, so that a program that hangs does not keep us.
            self.client.exec_start(made, detach=True)
            while (state := self.client.exec_inspect(made))["Running"]:
                # An engine may go on calling a program running whose container has ended.
                if time.monotonic() > deadline or self._code(container) is not None:
                    return None
                time.sleep(0.05)
        except APIError:  # the container is gone, or has no such program
            return None
        code: int | None = state["ExitCode"]
        return code

    def _content(self, container: str, path: str) -> bytes:
        """A small file of a container; empty where there is none."""
        try:
            with closing(archived(self.client, container, path)) as files:
                for _, header, stream in files:
                    return stream.at(header.data, min(header.stored, 2 * OUTPUT))
        except MediumError:
            pass
        return b""

    def _healthy(self, container: str, image: Image, deadline: float) -> bool | None:
        """Whether the image's own check succeeds before time is up; None where it has none."""
        kind, *rest = image.config.healthcheck or ("NONE",)
        if kind == "CMD-SHELL":
            argv = ["/bin/sh", "-c", " ".join(rest)]
        elif kind == "CMD" and rest:
            argv = rest
        else:
            return None
        while True:
            code = self._exec(container, argv, deadline)
            if code == 0:
                return True
            if time.monotonic() > deadline or self._code(container) is not None:
                return False
            time.sleep(0.5)

    # -- images --

    def _reference(self, image: Image) -> str:
        """What the engine calls an image; one that it does not have is loaded for a while."""
        from docker.errors import APIError, ImageNotFound

        known = self._references.get(image.id)
        if known is not None:
            return known
        try:
            self.client.inspect_image(image.id)
            reference: str = image.id
        except ImageNotFound:
            # The containerd store calls an image by its manifest, not by its config.
            reference = image.reference if image.route.startswith("the engine") else ""
        except APIError as error:
            raise _refused(image, error) from None
        if not reference:
            reference = self._load(image)
        self._references[image.id] = reference
        return reference

    def _load(self, image: Image) -> str:
        """Hand an image over under a name of our own."""
        from docker.errors import APIError
        from requests.exceptions import RequestException

        tag = f"{REPOSITORY}:{secrets.token_hex(8)}"
        self._loaded.append(tag)
        try:
            for event in self.client.load_image(archive(image, tag)) or ():
                if "error" in event:
                    raise MediumError(
                        f"the engine does not load {image.reference}: {event['error']}"[:400]
                    )
            self.client.inspect_image(tag)
        except (APIError, RequestException) as error:
            raise MediumError(
                f"the engine does not load {image.reference}: {error}"[:400].replace("\n", " "),
                hint="load it yourself and name its tag",
            ) from None
        return tag


def _well(served: Served) -> bool:
    """Whether a start left nothing to wish for."""
    alive = not served.refused and served.code in (None, 0)
    return alive and served.healthy is not False and all(one.status for one in served.answers)


def _refused(image: Image, error: Exception) -> TrialError:
    text = getattr(error, "explanation", None) or str(error)
    return TrialError(
        f"the engine does not run {image.reference}: {text}"[:500].replace("\n", " "),
        hint="is it an image for this machine? Without run-time checks: --static",
    )


def _folder(files: Mapping[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        folder = tarfile.TarInfo(FOLDER)
        folder.type = tarfile.DIRTYPE
        folder.mode = 0o777  # the image's user may be anybody
        tar.addfile(folder)
        for name, content in files.items():
            member = tarfile.TarInfo(f"{FOLDER}/{name}")
            member.size = len(content)
            member.mode = 0o644
            tar.addfile(member, io.BytesIO(content))
    return buffer.getvalue()
