"""Where a command's result goes: stdout, or a file that appears whole or not at all."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING

from slimmer.errors import SlimmerError

if TYPE_CHECKING:
    from argparse import Namespace

    from slimmer.cli.terminal import Terminal
    from slimmer.formats.console import Display


def write(text: str, path: str | None, terminal: Terminal) -> None:
    """Write a result as UTF-8; `-` and None mean stdout."""
    content = text.encode()
    if path is None or path == "-":
        terminal.stdout.flush()
        terminal.stdout.buffer.write(content)
        terminal.stdout.buffer.flush()
    else:
        replace(Path(path), content)


def display(terminal: Terminal, path: str | None = None) -> Display:
    """What a text for that path is made for; a file has neither colour nor a narrow encoding."""
    from slimmer.formats.console import Display

    to_file = path not in (None, "-")
    return Display(terminal.width, terminal.colour and not to_file, terminal.unicode or to_file)


INPUTS = ("image", "old", "new", "before", "after", "baseline", "plan", "log", "dockerfile")
"""Options that name what a command reads."""


def keep_inputs(options: Namespace, *more: str) -> None:
    """Raise SlimmerError where an output of the options would take the place of what they read.

    `more` are references that the options do not hold.
    """
    outputs = getattr(options, "outputs", None) or getattr(options, "output", None) or ()
    outputs = [outputs] if isinstance(outputs, str) else outputs
    if outputs:
        from slimmer.app.inputs import keep_apart

        read = [getattr(options, name, None) for name in INPUTS]
        keep_apart(
            (name for name in outputs if name != "-"),
            (*more, *(name for name in read if isinstance(name, str))),
        )


def replace(path: Path, content: bytes) -> None:
    """Put a file in place in one step: write beside, sync, rename."""
    if not path.parent.is_dir():
        raise SlimmerError(
            f"there is no folder {path.parent}", hint="make it, or write somewhere else"
        )
    path = path.resolve()  # a symlink stays, and so does what is no file: a pipe, a terminal
    if path.exists() and not path.is_file():
        path.write_bytes(content)
        return
    beside = path.with_name(f".{path.name[:100]}.{os.urandom(4).hex()}.part")
    mode = stat.S_IMODE(path.stat().st_mode) if path.exists() else None
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    try:
        with os.fdopen(descriptor, "wb") as file:
            if mode is not None:
                os.fchmod(descriptor, mode)
            file.write(content)
            file.flush()
            os.fsync(descriptor)
        beside.replace(path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
