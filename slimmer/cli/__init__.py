"""The command line: argv, environment, stdout and exit code. Nothing else touches them.

One command, one module: a name in COMMANDS is a module of this package with `add(commands)`, which
describes its arguments, and `run(options, terminal)`, which makes options of them, asks a session
and returns the exit code. It imports what it needs inside `run`, so that `slimmer --help` waits for
none of it.

Exit codes: 0 done or fits, 1 the gate says no, 2 cannot go on.
"""

from __future__ import annotations

import argparse
import gc
import os
import sys
import threading
from importlib import import_module
from typing import TYPE_CHECKING, Any, NoReturn

from slimmer.cli.help import Help
from slimmer.cli.output import keep_inputs
from slimmer.cli.terminal import Terminal
from slimmer.errors import SlimmerError
from slimmer.signals import unwinding

if TYPE_CHECKING:
    from collections.abc import Sequence

COMMANDS = (
    *("inspect", "why", "plan", "slim", "verify", "blame", "budget", "diff", "policy"),
    "completion",
)
"""In the order in which `slimmer --help` lists them."""

CANNOT_GO_ON = 2
INTERRUPTED = 130
"""128 + SIGINT, as a shell says it."""
BROKEN_PIPE = 141
"""128 + SIGPIPE."""

DESCRIPTION = """\
Takes a container image apart to the byte, and says who put every byte there.

An IMAGE is an archive (`docker save`, OCI), a folder with an OCI layout, or the name of an image of
a local Docker or Podman engine. Say which where it is not clear: docker:app:latest, podman:app,
docker-archive:app.tar, oci:folder:tag, oci-archive:app.tar.
"""
EPILOG = """\
examples:
  slimmer inspect app:latest                 where the bytes went
  slimmer inspect app.tar --by directory     the same, by place
  slimmer why app:latest nvidia-cudnn-cu12   what brings a distribution in

exit codes:
  0  done, or it fits        1  a gate says no        2  cannot go on

environment:
  SLIMMER_CACHE_DIR  keep scans of layers here, not in the user's cache folder
  DOCKER_HOST        the engine to ask, as for docker
  NO_COLOR, COLUMNS  no colour; width of the output
"""


class Parser(argparse.ArgumentParser):
    """A parser whose complaints are errors like any other, and whose help reads as `Help` says."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings | {"formatter_class": Help})

    def error(self, message: str) -> NoReturn:
        raise SlimmerError(message, hint=f"see: {self.prog} --help")


def parser(only: str | None = None) -> argparse.ArgumentParser:
    """The parser of all commands, or of one of them; `options.run` is what to call."""
    top = Parser(
        prog="slimmer",
        description=DESCRIPTION,
        epilog=EPILOG,
    )
    top.add_argument("--version", action=_Version, help="print the version and exit")
    commands = top.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for name in (only,) if only in COMMANDS else COMMANDS:
        import_module(f"{__name__}.{name}").add(commands)
    return top


class _Version(argparse.Action):
    def __init__(self, option_strings: Sequence[str], dest: str, help: str) -> None:  # noqa: A002 - argparse's name
        super().__init__(option_strings, dest, nargs=0, help=help)

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        from slimmer import __version__

        print(f"slimmer {__version__}")
        parser.exit()


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return the exit code; never a traceback for what is not a bug."""
    # What a scan makes has no cycles: looking for them would cost it a tenth of its time.
    gc.set_threshold(500_000, 50, 50)
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed by whoever started us: nobody listens
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115
    terminal = Terminal.of(os.environ, sys.stdout, sys.stderr)
    words = sys.argv[1:] if argv is None else argv
    try:
        options = parser(words[0] if words else None).parse_args(words)
        keep_inputs(options)
        with unwinding():
            code: int = options.run(options, terminal)
        sys.stdout.flush()
    except SlimmerError as error:
        terminal.error(error.message, error.hint)
        return CANNOT_GO_ON
    except BrokenPipeError:
        # Whoever reads had enough. Python would complain once more when it closes stdout.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return BROKEN_PIPE
    except KeyboardInterrupt:
        return INTERRUPTED
    except OSError as error:
        terminal.error(": ".join(str(part) for part in (error.filename, error.strerror) if part))
        return CANNOT_GO_ON
    except MemoryError:
        terminal.error("out of memory", hint="look at the image on a larger machine")
        return CANNOT_GO_ON
    if argv is None and threading.active_count() == 1:
        # The process is this command's own and done. Taking a scan apart object by object would
        # cost it 5 % of its time.
        sys.stderr.flush()
        os._exit(code)
    return code
