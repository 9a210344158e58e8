"""Shows events on stderr: notes as lines, progress as a bar once it takes more than a second."""

from __future__ import annotations

import threading
from time import monotonic
from typing import TYPE_CHECKING

from slimmer.app.events import Idle, Note, Problems, Progress

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.progress import Progress as Bar

    from slimmer.app.events import Event
    from slimmer.cli.terminal import Terminal

PATIENCE = 1.0
"""Seconds in which nothing is shown."""


class Listener:
    """What a command shows of a session's events; `show` hears each of them too."""

    def __init__(self, terminal: Terminal, show: Callable[[Event], None]) -> None:
        self._terminal = terminal
        self._show = show
        self._bar = ProgressBar(terminal)

    def __call__(self, event: Event) -> None:
        match event:
            case Progress():
                self._bar.update(event)
            case Idle():
                self._bar.stop()
            case Note(text):
                self._terminal.notes([text])
            case Problems(_, texts):
                self._terminal.problems(texts)
            case _:
                pass
        self._show(event)


class ProgressBar:
    """What is being done, and how much of it; silent where nobody watches."""

    def __init__(self, terminal: Terminal) -> None:
        self._terminal = terminal
        self._lock = threading.Lock()
        self._timer: threading.Timer | None = None
        self._bar: Bar | None = None
        self._now = Progress("")
        self._since = 0.0

    def update(self, now: Progress) -> None:
        """Show how far the work is, once it takes long."""
        if not self._terminal.progress:
            return
        with self._lock:
            if (now.stage, now.unit) != (self._now.stage, self._now.unit):
                self._since = monotonic()
            self._now = now
            if self._bar is not None:
                self._draw(self._bar)
            elif self._timer is None:
                self._timer = threading.Timer(PATIENCE, self._begin)
                self._timer.daemon = True
                self._timer.start()

    def stop(self) -> None:
        """Clear the bar away: what was told is over."""
        with self._lock:
            self._now = Progress("")
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None
            if self._bar is not None:
                self._bar.stop()
                self._bar = None

    def _begin(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn
        from rich.progress import TimeElapsedColumn as Elapsed

        with self._lock:
            if self._timer is None:  # it is over already
                return
            console = Console(
                file=self._terminal.stderr, markup=False, emoji=False, highlight=False
            )
            self._bar = Progress(
                TextColumn("{task.description}", markup=False),
                BarColumn(),
                TextColumn("{task.fields[told]}", markup=False),
                Elapsed(),
                console=console,
                transient=True,
            )
            self._bar.add_task("", total=None, told="")
            self._draw(self._bar)
            self._bar.start()

    def _draw(self, bar: Bar) -> None:
        now = self._now
        told = self._rate(now) if now.unit == "bytes" else f"{now.done}/{now.total or '?'}"
        bar.update(
            bar.task_ids[0], description=now.stage, completed=now.done, total=now.total, told=told
        )

    def _rate(self, now: Progress) -> str:
        from slimmer.units import seconds_text, size_text

        if not now.total:
            return ""
        rate = now.done / max(monotonic() - self._since, 0.001)
        told = f"{size_text(now.done)} of {size_text(now.total)}, {size_text(int(rate))}/s"
        return f"{told}, {seconds_text((now.total - now.done) / rate)} left" if rate else told
