"""What an image does by itself, and what it is told to do, in both images.

What failed before may fail after: only what went well in the original and does not in the result
is a fault, and nothing that differs between two runs of the original.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from slimmer.names import one_line
from slimmer.proof.faults import Fault, Verdict, counted
from slimmer.proof.messages import said
from slimmer.proof.outputs import answered, difference, last_line
from slimmer.proof.trials import Finished, TrialError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from slimmer.analysis.facts import Facts
    from slimmer.image import Image
    from slimmer.index import Index
    from slimmer.proof.losses import Losses
    from slimmer.proof.trials import Engine, Served, Trials

    Told = Callable[[str, int, int], None]

SHELL = "/bin/sh"


@dataclass(frozen=True, slots=True)
class Running:
    """The two images, and what to run in them."""

    before: Facts
    after: Facts
    losses: Losses
    engine: Engine
    trials: Trials
    told: Told

    @property
    def one(self) -> Image:
        return self.before.index.image

    @property
    def two(self) -> Image:
        return self.after.index.image

    def said(self, text: str) -> bytes | None:
        return said(text, self.losses)

    # -- commands --

    def command(self, command: str) -> Verdict:
        shown = one_line(command)
        if not _has_shell(self.before.index):
            raise TrialError(
                f"the image has no {SHELL} to run `{shown}` with",
                hint="--http asks its service; its own command is started without a shell",
            )
        counts = (("commands", 1),)
        if not _has_shell(self.after.index):
            path = self.losses.gone(SHELL)
            lost = f"there is no {SHELL} any more"
            return Verdict((self.losses.fault("command", shown, lost, path),), counts)
        self.told(f"running {shown} in the original", 0, 0)
        first = self.engine.run(self.one, command, self.trials)
        if first.refused:
            raise TrialError(
                f"the engine does not run the original: {one_line(first.refused)}",
                hint="is it an image for this machine? Without run-time checks: --static",
            )
        if first.code is None:
            raise TrialError(
                f"`{shown}` does not end in the original within {self.trials.timeout:.0f} s",
                hint="give it more time with --timeout, or run something that ends",
            )
        self.told(f"running {shown} in the result", 0, 0)
        second = self.engine.run(self.two, command, self.trials)
        lost = difference(first, second)
        if not lost:
            return Verdict(checked=counts)
        text = _text(second)
        if first.code == second.code:
            again = self.engine.run(self.one, command, self.trials)
            lost = difference(first, second, again)
            if not lost:
                return Verdict(checked=counts, notes=(_varies(f"`{shown}`"),))
        fault = self.losses.fault("command", shown, lost, self.said(text))
        return Verdict((fault,), counts)

    # -- the image's own start --

    @property
    def starts(self) -> bool:
        """Whether its own start is to be compared, and it has one."""
        config = self.one.config
        return self.trials.start and bool(config.entrypoint or config.command)

    @property
    def serves(self) -> bool:
        """Whether the container is to be started as the image says."""
        trials = self.trials
        checked = trials.health and _has_health(self.before.index)
        return self.starts or checked or bool(trials.requests)

    def service(self, found: Sequence[str]) -> Verdict:
        """Start both as they start by themselves, ask them, and compare."""
        trials = self.trials
        interpreter = found[0] if found else ""
        if trials.requests and not interpreter:
            raise TrialError(
                "the image has no Python to ask its service from within",
                hint="use --run with a program that the image has",
            )
        self.told("starting the original", 0, 0)
        first = self.engine.serve(self.one, interpreter, trials)
        self._answers(first)
        notes = []
        if first.refused:
            notes.append(f"the original does not start here: {one_line(first.refused)}")
        if first.healthy is False:
            notes.append("the original's own HEALTHCHECK fails here: it was not compared")
        if first.refused or not (trials.requests or first.healthy or self.starts):
            return Verdict(notes=tuple(notes))
        self.told("starting the result", 0, 0)
        second = self.engine.serve(self.two, interpreter, trials)
        counts = {
            "starts": int(self.starts),
            "requests": len(trials.requests),
            "health checks": int(bool(first.healthy)),
        }
        verdict = Verdict(checked=counted(counts), notes=tuple(notes))
        verdict += self._alike(first, second, interpreter)
        if not any(fault.kind == "start" for fault in verdict.faults):
            verdict += self._answered(first, second, interpreter)
        if verdict.holds and (trials.requests or first.healthy):
            note = (
                f"the service was ready after {first.seconds:.1f} s before, "
                f"{second.seconds:.1f} s after"
            )
            verdict += Verdict(notes=(note,))
        return verdict

    def _answers(self, first: Served) -> None:
        """Raises TrialError where the original leaves a request without an answer."""
        for request, answer in zip(self.trials.requests, first.answers, strict=True):
            if answer.status:
                continue
            ended = f"; it ended with exit code {first.code}" if first.code is not None else ""
            last = one_line(first.refused) or last_line(first.log.encode())
            raise TrialError(
                f"the original does not answer {request} within {self.trials.timeout:.0f} s{ended}"
                + (f": {last}" if last else ""),
                hint="more time with --timeout, the network with --network, or another path",
            )

    def _alike(self, first: Served, second: Served, interpreter: str) -> Verdict:
        """Alive after a while in both, or ended with the same exit code and output."""
        path = self.said(f"{second.refused}\n{second.log}")
        if second.refused:
            lost = f"does not start any more: {one_line(second.refused)}"
            return Verdict((self._start(lost, path),))
        if first.code is not None and not self.starts:
            return Verdict()
        lost = _unlike(first, second)
        if not lost:
            return Verdict()
        # Once more: what is slow to end, or ends otherwise each time, is no fault of the image.
        again = self.engine.serve(self.one, interpreter, self.trials)
        if (again.code is None) == (second.code is None):
            lost = _unlike(again, second)
        if lost and first.code is not None and second.code is None:
            lost = _unlike(first, self.engine.serve(self.two, interpreter, self.trials))
        elif lost and first.code is not None and again.code == first.code == second.code:
            lost = difference(_ended(first), _ended(second), _ended(again))
        elif lost and first.code != again.code and None not in (first.code, again.code):
            return Verdict(notes=("the original ends otherwise on every run: not compared",))
        if not lost:
            return Verdict(notes=(_varies("the container"),))
        return Verdict((self._start(lost, path),))

    def _start(self, lost: str, path: bytes | None) -> Fault:
        return self.losses.fault("start", "the container", lost, path)

    def _answered(self, first: Served, second: Served, interpreter: str) -> Verdict:
        """The same answers and the same health."""
        faults = []
        notes = []
        path = self.said(second.log)
        again: Served | None = None
        asked = zip(self.trials.requests, first.answers, second.answers, strict=True)
        for number, (request, was, now) in enumerate(asked):
            lost = answered(was, now)
            if lost and now.status == was.status and self.losses.swapped:
                notes.append(f"{request}: {lost}; a swap may change what a program tells")
                continue
            if lost and now.status == was.status:
                again = again or self.engine.serve(self.one, interpreter, self.trials)
                if answered(was, again.answers[number]):
                    notes.append(f"{request} answers differently each time: status compared")
                    continue
            if lost:
                where = path or self.said(now.body.decode("utf-8", "replace"))
                faults.append(self.losses.fault("answer", str(request), lost, where))
        if first.healthy and not second.healthy:
            lost = "succeeds before, fails after"
            faults.append(self.losses.fault("health", "the HEALTHCHECK", lost, path))
        return Verdict(tuple(faults), (), tuple(notes))


def _has_health(index: Index) -> bool:
    test = index.image.config.healthcheck
    return len(test) > 1 and test[0] in ("CMD", "CMD-SHELL")


def _has_shell(index: Index) -> bool:
    return index.resolve(SHELL.encode()) in index.visible


def _text(ended: Finished) -> str:
    return (ended.stderr + b"\n" + ended.stdout).decode("utf-8", "replace")


def _unlike(was: Served, now: Served) -> str:
    """How the start of a container differs, or nothing."""
    if was.code is None and now.code is None:
        return ""
    if was.code is None:
        last = last_line(now.log.encode())
        return f"ended with exit code {now.code}" + (f": {last}" if last else "")
    if now.code is None:
        return f"ended with exit code {was.code} before, goes on after"
    return difference(_ended(was), _ended(now))


def _ended(served: Served) -> Finished:
    return Finished(served.code, served.stdout, served.stderr)


def _varies(what: str) -> str:
    return f"{what} says something else on every run: the lines that do were not compared"
