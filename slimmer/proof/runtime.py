"""Both images run side by side: what to try, what was seen, and what of it is worse than before.

Nothing here talks to an engine; one is handed in as `Engine`. What failed before may fail after:
only what went well in the original and does not in the result is a fault.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, Protocol

from packaging.utils import canonicalize_name

from slimmer.errors import SlimmerError
from slimmer.names import one_line, printable
from slimmer.proof.verdict import Culprits, Fault, Verdict, counted
from slimmer.tar.reading import FILE, HARDLINK

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from slimmer.analysis.facts import Facts
    from slimmer.edits.edits import Changes
    from slimmer.image import Image
    from slimmer.index import Index

    Told = Callable[[str, int, int], None]


class TrialError(SlimmerError):
    """An image that cannot be tried as was asked."""


@dataclass(frozen=True, slots=True)
class Request:
    """Something to ask a started container over HTTP, from within it."""

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
    """What to try in both images."""

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
    health: bool = True
    """Run the image's own HEALTHCHECK, if it has one."""
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


def compare(
    before: Facts,
    after: Facts,
    changes: Changes | None,
    culprits: Culprits,
    engine: Engine,
    trials: Trials,
    told: Told = lambda what, done, total: None,
) -> Verdict:
    """Try both images and judge what got worse. Raises TrialError where nothing can be told."""
    pair = _Pair(before, after, changes, culprits, engine, trials, told)
    verdict = Verdict()
    found = interpreters(before.index)
    if trials.imports or trials.libraries != "none":
        verdict += pair.imports(found)
    for command in trials.runs:
        verdict += pair.command(command)
    if trials.requests or (trials.health and _has_health(before.index)):
        verdict += pair.service(found)
    return verdict


def _has_health(index: Index) -> bool:
    test = index.image.config.healthcheck
    return len(test) > 1 and test[0] in ("CMD", "CMD-SHELL")


_PYTHON = re.compile(rb"(?:.*/)?bin/(?:python|pypy)(?:3(?:\.\d+)?t?)?\Z").match


def interpreters(index: Index) -> tuple[str, ...]:
    """Every Python of an image, by the path to call it: the one on PATH first, each once.

    A virtual environment is one of its own, though its program is mostly a symlink to another.
    """
    path = dict(index.image.config.environment).get("PATH", "/usr/local/bin:/usr/bin:/bin")
    folders = [folder.strip("/").encode() for folder in path.split(":")]
    found: dict[tuple[bytes, bytes], bytes] = {}

    def rank(name: bytes) -> tuple[int, int, bytes]:
        folder, _, last = name.rpartition(b"/")
        place = folders.index(folder) if folder in folders else len(folders)
        return place, len(last), name

    for name, header in index.visible.items():
        if b"bin/p" not in name or not _PYTHON(name):
            continue
        real = index.resolve(name)
        program = index.visible.get(real)
        if program is None or program.kind not in (FILE, HARDLINK) or not program.mode & 0o111:
            continue
        if program.kind is FILE and program.size < 256 and header.kind is FILE:
            continue  # a wrapper script, not a program
        home = name.rpartition(b"/bin/")[0]
        environment = home if home + b"/pyvenv.cfg" in index.visible else b""
        held = program.link if program.kind is HARDLINK else real
        # `python` and `python3` of one environment lead to the same program.
        key = (environment, held)
        if key not in found or rank(name) < rank(found[key]):
            found[key] = name
    return tuple(
        "/" + name.decode("utf-8", "surrogateescape") for name in sorted(found.values(), key=rank)
    )


def changed_libraries(changes: Changes) -> list[bytes]:
    """The shared libraries that a plan writes anew."""
    found = set()
    for layer, edit in zip(changes.before.layers, changes.edits, strict=True):
        for header in layer.headers if edit.splices else ():
            if header.start in edit.splices and is_library(header.path):
                found.add(edit.promotions.get(header.start, header.path))
    return sorted(found)


def is_library(path: bytes) -> bool:
    name = path.rpartition(b"/")[2]
    return name.endswith(b".so") or b".so." in name


@dataclass(frozen=True, slots=True)
class _Pair:
    """The two images, and how to try them."""

    before: Facts
    after: Facts
    changes: Changes | None
    culprits: Culprits
    engine: Engine
    trials: Trials
    told: Told

    # -- modules and libraries --

    def imports(self, found: Sequence[str]) -> Verdict:
        if not found:
            return Verdict(notes=("no Python interpreter in the image: nothing was imported",))
        libraries = self._libraries()
        deep = self._touched() if self.trials.deep_imports else ()
        verdict = Verdict()
        for interpreter in found:
            gone = self._left(interpreter)
            if gone is not None:
                verdict += gone
                continue
            verdict += self._interpreter(interpreter, deep, libraries)
            libraries = ()  # one interpreter loads them all
        return verdict

    def _left(self, interpreter: str) -> Verdict | None:
        """What to say of an interpreter that the result does not have."""
        index = self.before.index
        real = index.resolve(interpreter.encode("utf-8", "surrogateescape"))
        path = self.culprits.gone(interpreter)
        if path is None or self.after.index.resolve(real) in self.after.index.visible:
            return None
        step = self.culprits.step(path)
        if step is not None:
            return Verdict(notes=(f"{interpreter} left with the step {step.id}",))
        return Verdict((Fault("interpreter", interpreter, "is not there any more", path),))

    def _libraries(self) -> tuple[str, ...]:
        visible = self.after.index.visible
        if self.trials.libraries == "none":
            return ()
        if self.trials.libraries == "changed":
            paths: Iterable[bytes] = changed_libraries(self.changes) if self.changes else ()
        else:
            paths = [
                path
                for path, header in self.before.index.visible.items()
                if header.kind in (FILE, HARDLINK) and is_library(path)
            ]
        return tuple(
            "/" + path.decode("utf-8", "surrogateescape") for path in paths if path in visible
        )

    def _touched(self) -> tuple[str, ...]:
        """Python distributions of which something left or changed."""
        touched = set(self.culprits.removed)
        one, two = self.before.index.visible, self.after.index.visible
        touched.update(path for path in one.keys() & two.keys() if one[path].size != two[path].size)
        owners = {self.before.ledger.owner(path) for path in touched}
        return tuple(sorted(owner.name for owner in owners if owner.kind == "pip"))

    def _probe(self, image: Image, interpreter: str, probe: Probe, what: str, total: int) -> Probed:
        self.told(what, 0, total)
        return self.engine.probe(
            image, interpreter, probe, self.trials, lambda done: self.told(what, done, total)
        )

    def _interpreter(
        self, interpreter: str, deep: tuple[str, ...], libraries: tuple[str, ...]
    ) -> Verdict:
        one, two = self.before.index.image, self.after.index.image
        timeout, workers = self.trials.timeout, self.trials.workers
        asked = Probe(None if self.trials.imports else (), (), deep, libraries, workers, timeout)
        what = f"{interpreter} in the original"
        first = self._probe(one, interpreter, asked, what, 0)
        if first.problem:
            note = f"{interpreter} does not work in the original: {one_line(first.problem)}"
            return Verdict(notes=(note,))
        well = [name for name, outcome in first.modules.items() if not outcome.error]
        loaded = tuple(name for name, outcome in first.libraries.items() if not outcome.error)
        asked = Probe(
            tuple(name for name in well if name not in first.together),
            tuple(name for name in well if name in first.together),
            (),
            loaded,
            workers,
            timeout,
        )
        total = len(well) + len(loaded)
        second = self._probe(two, interpreter, asked, f"{interpreter} in the result", total)
        if second.problem and not second.modules:
            path = self.culprits.said(second.problem)
            return Verdict((self.culprits.fault("interpreter", interpreter, second.problem, path),))
        modules = {name: second.modules.get(name, _NOT_REACHED) for name in well}
        opened = {name: second.libraries.get(name, _NOT_REACHED) for name in loaded}
        again = Probe(
            tuple(name for name, outcome in modules.items() if outcome.error),
            libraries=tuple(name for name, outcome in opened.items() if outcome.error),
            workers=1,
            timeout=2 * timeout,
        )
        if again.modules or again.libraries:
            # Alone and with more time: a busy machine is no fault of the image.
            count = len(again.modules or ()) + len(again.libraries)
            third = self._probe(two, interpreter, again, f"{interpreter}, once more", count)
            modules.update(third.modules)
            opened.update(third.libraries)
        notes = []
        planned: Counter[str] = Counter()
        faults = []
        for name, outcome in sorted(modules.items()):
            if not outcome.error:
                continue
            origin = self.culprits.gone(first.modules[name].origin)
            step = self.culprits.step(origin or self._left_with(first.distribution_of.get(name)))
            if step is not None:
                planned[step.id] += 1
                continue
            subject = name
            if distribution := first.distribution_of.get(name):
                subject = f"{name} ({distribution})"
            faults.append(self._fault("import", subject, outcome))
        faults += [
            self._fault("load", name, outcome)
            for name, outcome in sorted(opened.items())
            if outcome.error
        ]
        for identifier, count in sorted(planned.items()):
            notes.append(f"{count} modules left with the step {identifier}")
        failing = sorted(first.modules.keys() - set(well))
        if failing:
            names = ", ".join(map(printable, failing[:5])) + (", …" if len(failing) > 5 else "")
            notes.append(
                f"{interpreter}: {len(failing)} modules do not import in the original either: "
                f"{names}"
            )
        spent = [
            sum(outcomes[name].seconds for name in well if name in outcomes)
            for outcomes in (first.modules, second.modules)
        ]
        if well:
            notes.append(
                f"{interpreter} (Python {first.version}): importing {len(well)} modules took "
                f"{spent[0]:.1f} s of its processes' time before, {spent[1]:.1f} s after"
            )
        return Verdict(
            tuple(faults),
            counted({"modules": len(well), "libraries loaded": len(loaded)}),
            tuple(notes),
        )

    def _left_with(self, distribution: str | None) -> bytes | None:
        """The metadata of a distribution that left as a whole: its modules left with it."""
        if distribution is None:
            return None
        name = canonicalize_name(distribution)
        for claim in self.before.ledger.claims:
            if claim.owner.kind == "pip" and canonicalize_name(claim.owner.name) == name:
                metadata = tuple(self.before.below(claim.metadata)) if claim.metadata else ()
                if metadata and self.culprits.removed.issuperset(metadata):
                    return metadata[0]
        return None

    def _fault(self, kind: Literal["import", "load"], subject: str, outcome: Outcome) -> Fault:
        culprits = self.culprits
        path = culprits.module(outcome.module) if outcome.module else None
        if path is None and outcome.file:
            path = culprits.gone(outcome.file)
        if path is None:
            path = culprits.said(outcome.message)
        if path is None and kind == "load":
            path = subject.lstrip("/").encode("utf-8", "surrogateescape")
        return culprits.fault(kind, printable(subject), normal_text(str(outcome)), path)

    # -- commands --

    def command(self, command: str) -> Verdict:
        shown = one_line(command)
        self.told(f"running {shown} in the original", 0, 0)
        one, two = self.before.index.image, self.after.index.image
        first = self.engine.run(one, command, self.trials)
        if first.code is None:
            raise TrialError(
                f"`{shown}` does not end in the original within {self.trials.timeout:.0f} s",
                hint="give it more time with --timeout, or run something that ends",
            )
        self.told(f"running {shown} in the result", 0, 0)
        second = self.engine.run(two, command, self.trials)
        counts = (("commands", 1),)
        text = (second.stderr + b"\n" + second.stdout).decode("utf-8", "replace")
        if first.code != second.code:
            ended = "ran out of time" if second.code is None else f"exit code {second.code}"
            last = _last_line(second.stderr) or _last_line(second.stdout)
            lost = f"exit code {first.code} before, {ended} after" + (f": {last}" if last else "")
            return Verdict(
                (self.culprits.fault("command", shown, lost, self.culprits.said(text)),), counts
            )
        difference = _difference(first, second)
        if not difference:
            return Verdict(checked=counts)
        if _difference(first, self.engine.run(one, command, self.trials)):
            note = f"`{shown}` says something else on every run: only its exit code was compared"
            return Verdict(checked=counts, notes=(note,))
        fault = self.culprits.fault("command", shown, difference, self.culprits.said(text))
        return Verdict((fault,), counts)

    # -- the service --

    def service(self, found: Sequence[str]) -> Verdict:
        trials = self.trials
        interpreter = found[0] if found else ""
        if trials.requests and not interpreter:
            raise TrialError(
                "the image has no Python to ask its service from within",
                hint="use --run with a program that the image has",
            )
        one, two = self.before.index.image, self.after.index.image
        self.told("starting the original", 0, 0)
        first = self.engine.serve(one, interpreter, trials)
        for request, answer in zip(trials.requests, first.answers, strict=True):
            if answer.status == 0:
                ended = f"; it ended with exit code {first.code}" if first.code is not None else ""
                last = _last_line(first.log.encode())
                raise TrialError(
                    f"the original does not answer {request} within {trials.timeout:.0f} s{ended}"
                    + (f": {last}" if last else ""),
                    hint="more time with --timeout, the network with --network, or another path",
                )
        notes = []
        asked = trials.requests or first.healthy
        if first.healthy is False:
            notes.append("the original's own HEALTHCHECK fails here: it was not compared")
        if not asked:
            return Verdict(notes=tuple(notes))
        self.told("starting the result", 0, 0)
        second = self.engine.serve(two, interpreter, trials)
        faults = []
        path = self.culprits.said(second.log)
        if second.code is not None and first.code is None:
            lost = f"ended with exit code {second.code}: {_last_line(second.log.encode())}"
            faults.append(self.culprits.fault("start", "the container", lost, path))
        else:
            again: Served | None = None
            for number, (request, was, now) in enumerate(
                zip(trials.requests, first.answers, second.answers, strict=True)
            ):
                lost = _answered(was, now)
                if lost and now.status == was.status and self.culprits.swapped:
                    notes.append(f"{request}: {lost}; a swap may change what a program tells")
                    continue
                if lost and now.status == was.status:
                    again = again or self.engine.serve(one, interpreter, trials)
                    if _answered(was, again.answers[number]):
                        notes.append(f"{request} answers differently each time: status compared")
                        continue
                if lost:
                    where = path or self.culprits.said(now.body.decode("utf-8", "replace"))
                    faults.append(self.culprits.fault("answer", str(request), lost, where))
            if first.healthy and not second.healthy:
                lost = "succeeds before, fails after"
                faults.append(self.culprits.fault("health", "the HEALTHCHECK", lost, path))
            if not faults:
                notes.append(
                    f"the service was ready after {first.seconds:.1f} s before, "
                    f"{second.seconds:.1f} s after"
                )
        counts = {"requests": len(trials.requests), "health checks": int(bool(first.healthy))}
        return Verdict(tuple(faults), counted(counts), tuple(notes))


_NOT_REACHED = Outcome("", "stopped", "there was no time left for it")


def _answered(was: Answer, now: Answer) -> str:
    """How an answer differs, or nothing."""
    if now.status == 0:
        return f"status {was.status} before, no answer after"
    if was.status != now.status:
        last = _last_line(now.body)
        return f"status {was.status} before, {now.status} after" + (f": {last}" if last else "")
    if was.kind != now.kind:
        return f"a body of type {was.kind} before, of type {now.kind} after"
    if normal(was.body) != normal(now.body):
        return _first_difference("the body", normal(was.body), normal(now.body))
    return ""


def _difference(was: Finished, now: Finished) -> str:
    """How a command's end differs, or nothing."""
    if was.code != now.code:
        return f"exit code {was.code} before, {now.code} after"
    for name in ("stdout", "stderr"):
        one, two = normal(getattr(was, name)), normal(getattr(now, name))
        if one != two:
            return _first_difference(name, one, two)
    return ""


def _first_difference(what: str, was: bytes, now: bytes) -> str:
    one, two = was.splitlines(), now.splitlines()
    for number in range(max(len(one), len(two))):
        old = one[number] if number < len(one) else b"(nothing)"
        new = two[number] if number < len(two) else b"(nothing)"
        if old != new:
            return (
                f"{what} differs in line {number + 1}: {_line(old)!r} before, {_line(new)!r} after"
            )
    return f"{what} differs"


def _line(line: bytes) -> str:
    return one_line(line.decode("utf-8", "replace"))[:200]


def _last_line(text: bytes) -> str:
    lines = [line for line in text.splitlines() if line.strip()]
    return _line(lines[-1]) if lines else ""


_NORMAL = (
    (rb"\b0x[0-9a-fA-F]{4,}\b", b"0x(address)"),
    (rb"\b\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:[.,]\d+)?(?:Z|[+-]\d\d:?\d\d)?", b"(time)"),
    (rb"\b\d\d:\d\d:\d\d(?:[.,]\d+)?\b", b"(time)"),
    (rb"\b\d+(?:\.\d+)?(?:e-?\d+)? ?(?:ns|us|\xc2\xb5s|ms|s|sec|secs|seconds?)\b", b"(duration)"),
    (rb"/tmp/[\w.-]*[\w]{6,}", b"/tmp/(name)"),
    (rb"(?i)\b(?:pid|process)[ =:]+\[?\d+\]?", b"(pid)"),
)
_NORMALISERS = tuple((re.compile(pattern).sub, new) for pattern, new in _NORMAL)


def normal(text: bytes) -> bytes:
    """A program's output without what differs on every run: addresses, times, temporary names."""
    for substitute, new in _NORMALISERS:
        text = substitute(new, text)
    return text


def normal_text(text: str) -> str:
    return normal(text.encode("utf-8", "surrogateescape")).decode("utf-8", "replace")
