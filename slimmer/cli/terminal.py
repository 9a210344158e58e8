"""The two streams of a command and what the environment says about them; error lines."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from slimmer.names import one_line

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

PIPE_WIDTH = 100
"""Cells in a line where no terminal tells: what most places that show a log have room for."""


@dataclass(frozen=True, slots=True)
class Terminal:
    """The two streams, and what may be written to them."""

    environment: Mapping[str, str]
    stdout: TextIO
    stderr: TextIO
    width: int
    """Terminal cells in a line of stdout."""
    colour: bool
    unicode: bool
    """Whether stdout can show more than ASCII."""
    progress: bool
    """Whether somebody watches stderr."""

    @classmethod
    def of(cls, environment: Mapping[str, str], stdout: TextIO, stderr: TextIO) -> Terminal:
        dumb = environment.get("TERM") == "dumb"
        encoding = (getattr(stdout, "encoding", None) or "ascii").lower().replace("-", "")
        return cls(
            environment,
            stdout,
            stderr,
            width=_width(environment, stdout, stderr),
            # https://no-color.org: any value but the empty one
            colour=stdout.isatty() and not dumb and not environment.get("NO_COLOR"),
            unicode=encoding.startswith("utf"),
            progress=stderr.isatty() and not dumb,
        )

    @property
    def cache_folder(self) -> Path:
        """Where this user's scans are kept."""
        chosen = self.environment.get("SLIMMER_CACHE_DIR")
        if chosen:
            return Path(chosen)
        import platformdirs

        return platformdirs.user_cache_path("slimmer")

    def error(self, message: str, hint: str = "") -> None:
        """Say on stderr why there is no going on, and what may help."""
        lines = [f"slimmer: error: {one_line(message)}"]
        if hint:
            lines.append(f"hint: {one_line(hint)}")
        self._say(lines)

    def problems(self, problems: tuple[str, ...], limit: int = 20) -> None:
        """Say on stderr what is odd about the image."""
        lines = [f"slimmer: problem: {one_line(problem)}" for problem in problems[:limit]]
        if len(problems) > limit:
            lines.append(f"slimmer: {len(problems) - limit} more problems stand in the report")
        self._say(lines)

    def notes(self, notes: Iterable[str]) -> None:
        """Say on stderr what may be of interest."""
        self._say([f"slimmer: note: {one_line(note)}" for note in notes])

    def _say(self, lines: list[str]) -> None:
        encoding = self.stderr.encoding or "ascii"
        for line in lines:
            text = line.encode(encoding, "backslashreplace").decode(encoding)
            print(text, file=self.stderr)


def _width(environment: Mapping[str, str], stdout: TextIO, stderr: TextIO) -> int:
    columns = environment.get("COLUMNS", "")
    if columns.isdecimal() and int(columns) > 0:
        return int(columns)
    # `slimmer … | less` still has the terminal behind stderr.
    for stream in (stdout, stderr):
        try:
            if stream.isatty():
                return os.get_terminal_size(stream.fileno()).columns or PIPE_WIDTH
        except (OSError, ValueError):
            continue
    return PIPE_WIDTH
