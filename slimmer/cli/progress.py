"""A progress bar on stderr for whoever watches, once it takes more than a second."""

from __future__ import annotations

import threading
from time import monotonic
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from rich.progress import Progress as Bar

    from slimmer.cli.terminal import Rim

PATIENCE = 1.0
"""Seconds in which nothing is shown."""


class Progress:
    """What is being done, and how much of it is; silent where nobody watches."""

    def __init__(self, rim: Rim) -> None:
        self._rim = rim
        self._lock = threading.Lock()
        self._timer: threading.Timer | None = None
        self._bar: Bar | None = None
        self._now: tuple[str, int, int | None] = ("", 0, None)
        self._counts_bytes = False
        self._since = 0.0

    def __enter__(self) -> Self:
        if self._rim.progress:
            self._timer = threading.Timer(PATIENCE, self._show)
            self._timer.daemon = True
            self._timer.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with self._lock:
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None
            if self._bar is not None:
                self._bar.stop()
                self._bar = None

    def stage(self, words: str) -> Callable[[int, int], None]:
        """Begin something new; call what comes back with how much is done, and of how much."""
        self._counts_bytes = False
        self._tell(words, 0, None)
        return lambda done, total: self._tell(words, done, total)

    def bytes(self, words: str) -> Callable[[int, int], None]:
        """The same for something that is counted in bytes: shows the rate and the time left."""
        self.stage(words)
        self._counts_bytes = True
        self._since = monotonic()
        return lambda done, total: self._tell(words, done, total)

    def _tell(self, words: str, done: int, total: int | None) -> None:
        with self._lock:
            self._now = (words, done, total)
            if self._bar is not None:
                self._update(self._bar)

    def _show(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn
        from rich.progress import TimeElapsedColumn as Elapsed

        with self._lock:
            if self._timer is None:  # it is over already
                return
            console = Console(file=self._rim.stderr, markup=False, emoji=False, highlight=False)
            self._bar = Progress(
                TextColumn("{task.description}", markup=False),
                BarColumn(),
                TextColumn("{task.fields[told]}", markup=False),
                Elapsed(),
                console=console,
                transient=True,
            )
            self._bar.add_task("", total=None, told="")
            self._update(self._bar)
            self._bar.start()

    def _update(self, bar: Bar) -> None:
        words, done, total = self._now
        told = self._rate(done, total) if self._counts_bytes else f"{done}/{total or '?'}"
        bar.update(bar.task_ids[0], description=words, completed=done, total=total, told=told)

    def _rate(self, done: int, total: int | None) -> str:
        from slimmer.units import seconds_text, size_text

        if not total:
            return ""
        rate = done / max(monotonic() - self._since, 0.001)
        told = f"{size_text(done)} of {size_text(total)}, {size_text(int(rate))}/s"
        return f"{told}, {seconds_text((total - done) / rate)} left" if rate else told
