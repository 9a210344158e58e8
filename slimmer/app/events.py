"""What a session tells while it works: frozen events, each given to one listener.

A terminal draws a bar from them, a notebook a widget, a program logs them. A listener is called in
the thread that does the work, or in one of its helpers, and must not take long.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from slimmer.plan.plan import Plan
    from slimmer.proof.faults import Verdict
    from slimmer.stores.destination import Written


@dataclass(frozen=True, slots=True)
class Progress:
    """How far the work of a stage is.

    >>> told = []
    >>> _ = slimmer.Session.open("app.tar", listener=told.append).index
    >>> sorted({event.stage for event in told if isinstance(event, slimmer.Progress)})
    ['opening the image', 'reading layers']
    """

    stage: str
    """What is being done, for people: `reading layers`."""
    done: int = 0
    total: int | None = None
    """How much there is to do; None where nobody knows."""
    unit: Literal["", "bytes"] = ""


@dataclass(frozen=True, slots=True)
class Idle:
    """Nothing is being done until progress is told again.

    >>> told = []
    >>> _ = slimmer.Session.open("app.tar", listener=told.append)
    >>> told[-1]
    Idle()
    """


@dataclass(frozen=True, slots=True)
class Note:
    """Something that may be of interest, in one line.

    >>> told = []
    >>> options = slimmer.PlanOptions(keep=("pip:none",))
    >>> _ = slimmer.Session.open("app.tar", listener=told.append).plan(options)
    >>> [event.text for event in told if isinstance(event, slimmer.Note)]
    ['--keep pip:none fits nothing in this image']
    """

    text: str


@dataclass(frozen=True, slots=True)
class Problems:
    """What is odd about an image whose result does not say so itself.

    >>> told = []
    >>> listening = slimmer.Session.open("app.tar", listener=told.append)
    >>> _ = listening.slim("docker-archive:slim.tar", slimmer.SlimOptions(static=True))
    >>> sum(isinstance(event, slimmer.Problems) for event in told)
    1
    """

    reference: str
    texts: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class PlanMade:
    """The plan that is going to be carried out.

    >>> told = []
    >>> listening = slimmer.Session.open("app.tar", listener=told.append)
    >>> _ = listening.slim("docker-archive:slim.tar", slimmer.SlimOptions(static=True))
    >>> sum(isinstance(event, slimmer.PlanMade) for event in told)
    1
    """

    plan: Plan


@dataclass(frozen=True, slots=True)
class ImageWritten:
    """The result is written, and not yet checked.

    >>> told = []
    >>> listening = slimmer.Session.open("app.tar", listener=told.append)
    >>> _ = listening.slim("docker-archive:slim.tar", slimmer.SlimOptions(static=True))
    >>> sum(isinstance(event, slimmer.ImageWritten) for event in told)
    1
    """

    written: Written


@dataclass(frozen=True, slots=True)
class Verified:
    """The result was checked; where it does not hold it is going to be removed again.

    >>> told = []
    >>> listening = slimmer.Session.open("app.tar", listener=told.append)
    >>> _ = listening.slim("docker-archive:slim.tar", slimmer.SlimOptions(static=True))
    >>> sum(isinstance(event, slimmer.Verified) for event in told)
    1
    """

    verdict: Verdict


Event = Progress | Idle | Note | Problems | PlanMade | ImageWritten | Verified
Listener = Callable[[Event], None]


def ignore(event: Event) -> None:
    """The listener of who wants to hear nothing."""


class Reporter:
    """Tells a listener how far the work is; `Idle` once the outermost piece of it is over.

    >>> told = []
    >>> reporter = slimmer.Reporter(told.append)
    >>> with reporter.working():
    ...     reporter.stage("reading")(1, 2)
    >>> told[1:]
    [Progress(stage='reading', done=1, total=2, unit=''), Idle()]
    """

    __slots__ = ("_depth", "tell")

    def __init__(self, listener: Listener = ignore) -> None:
        self.tell = listener
        self._depth = 0

    @contextmanager
    def working(self) -> Iterator[None]:
        """Around a piece of work; pieces within it belong to it."""
        self._depth += 1
        try:
            yield
        finally:
            self._depth -= 1
            if not self._depth:
                self.tell(Idle())

    def stage(self, name: str, unit: Literal["", "bytes"] = "") -> Callable[[int, int], None]:
        """Begin a stage; call what comes back with how much is done, and of how much."""
        self.tell(Progress(name, unit=unit))
        return lambda done, total: self.tell(Progress(name, done, total, unit))

    def step(self, stage: str, done: int, total: int) -> None:
        """For work that names its stages itself; a `total` of 0 is one that nobody knows."""
        self.tell(Progress(stage, done, total) if total else Progress(stage))

    def notes(self, *texts: str) -> None:
        for text in texts:
            self.tell(Note(text))
