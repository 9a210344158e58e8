"""A progress bar on stderr for whoever watches, once it takes more than a second."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from rich.progress import Progress as Bar

    from slimmer.cli.rim import Rim

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
        self._tell(words, 0, None)
        return lambda done, total: self._tell(words, done, total)

    def _tell(self, words: str, done: int, total: int | None) -> None:
        with self._lock:
            self._now = (words, done, total)
            if self._bar is not None:
                self._update(self._bar)

    def _show(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
        from rich.progress import TimeElapsedColumn as Elapsed

        with self._lock:
            if self._timer is None:  # it is over already
                return
            console = Console(file=self._rim.stderr, markup=False, emoji=False, highlight=False)
            self._bar = Progress(
                TextColumn("{task.description}", markup=False),
                BarColumn(),
                MofNCompleteColumn(),
                Elapsed(),
                console=console,
                transient=True,
            )
            self._bar.add_task("", total=None)
            self._update(self._bar)
            self._bar.start()

    def _update(self, bar: Bar) -> None:
        words, done, total = self._now
        bar.update(bar.task_ids[0], description=words, completed=done, total=total)
