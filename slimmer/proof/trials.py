"""What is tried in both images, and what an engine tells of it.

Nothing here talks to an engine; one is handed in as `Engine`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, Protocol

from slimmer.errors import SlimmerError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from slimmer.image import Image


class TrialError(SlimmerError):
    """An image that cannot be tried as was asked."""


@dataclass(frozen=True, slots=True)
class Request:
    """Something to ask a started container over HTTP, from within it.

    >>> slimmer.Request.parse("8000/health")
    Request(port=8000, path='/health')
    """

    port: int
    path: str

    @classmethod
    def parse(cls, text: str) -> Request:
        """Read `8000/health`; raises TrialError for anything else."""
        match = re.fullmatch(r":?(\d{1,5})(/.*)?", text)
        if match is None or not 0 < int(match[1]) < 65536:
            raise TrialError(
                f"expected a port and a path such as '8000/health', got {text!r}",
                hint="the container is asked on its own loopback: --http 8000/health",
            )
        return cls(int(match[1]), match[2] or "/")

    def __str__(self) -> str:
        return f"GET :{self.port}{self.path}"


@dataclass(frozen=True, slots=True)
class Trials:
    """What to try in both images.

    >>> slimmer.Trials(runs=("python -m app --self-test",)).timeout
    120
    """

    imports: bool = True
    """Import every top-level module of every Python distribution."""
    deep_imports: bool = False
    """And every submodule of the distributions that the plan took something from."""
    libraries: Literal["changed", "all", "none"] = "changed"
    """Shared libraries to load: those that the plan wrote anew, every one, or none."""
    runs: tuple[str, ...] = ()
    """Shell commands whose exit code and output must be the same."""
    requests: tuple[Request, ...] = ()
    """Asked of the container as it starts by itself."""
    start: bool = True
    """Start the container as its image says, and look whether it lives or how it ends."""
    settle: float = 10
    """Seconds after which a container that still runs is alive."""
    health: bool = True
    """Run the image's own HEALTHCHECK, if it has one."""
    memory: int = 0
    """Bytes that a container may use; 0 for three quarters of the machine's."""
    network: bool = False
    """Whether the containers may reach anything but themselves."""
    timeout: float = 120
    """Seconds for one module, one library, one command, and for the service to answer."""
    limit: float = 3600
    """Seconds for all modules and libraries of one interpreter."""
    workers: int = 0
    """Modules that are tried at a time; 0 for as many as there are processors."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one module or library."""

    name: str
    error: str = ""
    """Type of the exception, `killed` or `timeout`; empty where it went well."""
    message: str = ""
    module: str = ""
    """The module that was not found, where one was not."""
    file: str = ""
    """The file that was not found."""
    origin: str = ""
    """The file that it was loaded from."""
    seconds: float = 0

    def __str__(self) -> str:
        return f"{self.error}: {self.message}" if self.message else self.error


@dataclass(frozen=True, slots=True)
class Probe:
    """What an interpreter of an image was asked to load."""

    modules: tuple[str, ...] | None = None
    """Each in a process of its own; None for the top-level modules of all distributions."""
    together: tuple[str, ...] = ()
    """Modules that may share a process with others of the same top-level package."""
    deep: tuple[str, ...] = ()
    """Distributions of which every submodule is wanted, where `modules` is None."""
    libraries: tuple[str, ...] = ()
    workers: int = 0
    timeout: float = 120


@dataclass(frozen=True, slots=True)
class Probed:
    """What an interpreter of an image could load."""

    version: str
    modules: Mapping[str, Outcome] = field(default_factory=dict)
    libraries: Mapping[str, Outcome] = field(default_factory=dict)
    distribution_of: Mapping[str, str] = field(default_factory=dict)
    together: frozenset[str] = frozenset()
    """The modules that shared a process."""
    problem: str = ""
    """Why the interpreter did not come to its end, if it did not."""


@dataclass(frozen=True, slots=True)
class Finished:
    """A command that came to its end."""

    code: int | None
    """Its exit code; None where it ran out of time."""
    stdout: bytes = b""
    stderr: bytes = b""
    refused: str = ""
    """Why the engine did not start it, if it did not."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a service said over HTTP."""

    status: int
    """0 where it did not answer in time."""
    body: bytes = b""
    kind: str = ""
    """Its media type."""


@dataclass(frozen=True, slots=True)
class Served:
    """A container that was started as its image says."""

    answers: tuple[Answer, ...] = ()
    healthy: bool | None = None
    """What the health check came to; None without one."""
    code: int | None = None
    """The exit code, where it ended by itself before all was answered."""
    stdout: bytes = b""
    """What it wrote by then, as much as is kept."""
    stderr: bytes = b""
    refused: str = ""
    """Why the engine did not start it, if it did not."""
    log: str = ""
    """The end of what it wrote."""
    seconds: float = 0
    """Until all was answered."""


class Engine(Protocol):
    """Something that runs images; a store hands one in."""

    def probe(
        self,
        image: Image,
        interpreter: str,
        probe: Probe,
        trials: Trials,
        done: Callable[[int], None],
    ) -> Probed: ...

    def run(self, image: Image, command: str, trials: Trials) -> Finished: ...

    def serve(self, image: Image, interpreter: str, trials: Trials) -> Served: ...
