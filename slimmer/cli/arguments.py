"""Arguments that several commands share, and the options and sessions that they come to."""

from __future__ import annotations

from argparse import ArgumentParser, ArgumentTypeError
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Callable

    from slimmer.app.events import Event
    from slimmer.app.options import PlanOptions
    from slimmer.app.session import Session
    from slimmer.app.settings import Settings
    from slimmer.app.verify import Trials
    from slimmer.cli.terminal import Terminal

Commands = Any
"""What `add_subparsers` returns; argparse keeps the type to itself."""


def command(
    commands: Commands, name: str, summary: str, text: str, *, configured: bool = False
) -> ArgumentParser:
    """A command that looks at one image, with the arguments that all of them share.

    `text` is the description and, from its line `examples:` on, what stands below the arguments.
    `configured` is whether the project's settings may name the image instead.
    """
    description, _, examples = text.partition("\nexamples:\n")
    parser: ArgumentParser = commands.add_parser(
        name,
        help=summary,
        description=description,
        epilog="examples:\n" + examples,
    )
    parser.add_argument(
        "image",
        metavar="IMAGE",
        nargs="?" if configured else None,
        help="archive, folder or name; see slimmer --help"
        + ("; the one that slimmer.toml names by default" if configured else ""),
    )
    parser.add_argument(
        "--platform",
        metavar="OS/ARCH",
        help="which image of a multi-platform one, such as linux/arm64; this machine's by default",
    )
    parser.add_argument(
        "--no-cache", action="store_true", help="neither use nor keep scans of layers"
    )
    return parser


def add_pair(parser: ArgumentParser) -> None:
    """How the images are opened, for commands that look at two of them."""
    parser.add_argument("--platform", metavar="OS/ARCH", help="as for slimmer inspect")
    parser.add_argument(
        "--no-cache", action="store_true", help="neither use nor keep scans of layers"
    )


def count(text: str) -> int:
    """The argument of options such as `--top`."""
    if not text.isdecimal() or int(text) < 1:
        raise ArgumentTypeError(f"expected a number from 1 on, got {text!r}")
    return int(text)


def session(
    options: Namespace,
    terminal: Terminal,
    reference: str,
    show: Callable[[Event], None] = lambda event: None,
) -> Session:
    """The session of an image as the arguments say; `show` hears every event too."""
    from slimmer.app.events import Reporter
    from slimmer.app.opened import Context
    from slimmer.app.session import Session
    from slimmer.cli.progress import Listener

    context = Context(
        options.platform or "",
        None if options.no_cache else terminal.cache_folder,
        terminal.environment,
        Reporter(Listener(terminal, show)),
    )
    return Session(reference, context, deep=getattr(options, "deep", False))


def add_plan(parser: ArgumentParser, *, bounded: bool = True) -> None:
    """The arguments that say what a plan may do.

    `bounded` adds those that set the budget.
    """
    group = parser.add_argument_group("what may be done")
    if bounded:
        group.add_argument(
            "--max", metavar="SIZE", help="the budget, such as 4GB (10⁹) or 4GiB (2³⁰)"
        )
        group.add_argument(
            "--metric",
            choices=("unpacked", "rootfs"),
            default="unpacked",
            help="what the budget bounds: all layers (the default), or the merged tree",
        )
    group.add_argument(
        "--policy", metavar="NAME|FILE", help="safe (the default), balanced, aggressive, or a file"
    )
    group.add_argument(
        "--accept",
        choices=("safe", "caution", "risky"),
        help="the most that a step may risk; the policy's own level by default",
    )
    group.add_argument(
        "--keep",
        action="append",
        default=[],
        metavar="GLOB|OWNER",
        help="what must stay as it is: a path, or an owner such as pip:scipy; may repeat",
    )
    group.add_argument(
        "--gpu",
        metavar="NAMES",
        help="GPUs that the image will meet, such as sm_90 or a100,l4, or none: device code for"
        " others may leave; NVIDIA's licence on modifying its libraries is yours to read",
    )
    group.add_argument(
        "--gpu-mode",
        choices=("shrink", "zero"),
        help="give the bytes back (the default), or only zero them, which shrinks what is packed",
    )
    group.add_argument(
        "--swap",
        action="append",
        default=[],
        metavar="NAME=cpu|WHEEL",
        help="replace a CUDA build by the CPU wheel of the same version; may repeat",
    )
    add_wheels(group)
    add_settings(group)


def add_wheels(parser: Any) -> None:
    """Where a plan finds the wheels that it installs."""
    parser.add_argument(
        "--find-links", action="append", default=[], metavar="FOLDER", help="where wheels are"
    )
    parser.add_argument("--index-url", metavar="URL", help="package index to find wheels in")


def add_settings(parser: Any) -> None:
    parser.add_argument(
        "--settings",
        metavar="FILE",
        help="instead of ./slimmer.toml, or [tool.slimmer] in ./pyproject.toml",
    )


def plan_options(options: Namespace, settings: Settings, *, bounded: bool = True) -> PlanOptions:
    """What the arguments of `add_plan`, or some of them, and the project's settings say."""
    from slimmer.app.options import PlanOptions, accepted, parse_budget

    given = vars(options)
    return PlanOptions(
        policy=given.get("policy") or "",
        budget=parse_budget(options.max, options.metric, "--max")
        if bounded and given.get("max") is not None
        else None,
        accept=accepted(given.get("accept")),
        keep=tuple(given.get("keep", ())),
        gpu=given.get("gpu") or "",
        gpu_mode=given.get("gpu_mode") or "",
        swap=tuple(given.get("swap", ())),
        find_links=tuple(options.find_links),
        index_url=options.index_url or "",
    ).with_settings(settings)


def add_trials(parser: Any) -> None:
    """The arguments that say what to try; every command that proves its result has them."""
    parser.add_argument(
        "--run",
        dest="commands",
        action="append",
        default=[],
        metavar="COMMAND",
        help="a shell command: equal exit code and output (may repeat)",
    )
    parser.add_argument(
        "--http",
        dest="requests",
        action="append",
        default=[],
        metavar="PORT/PATH",
        help="start the container and ask it, from within: equal status and body (may repeat)",
    )
    parser.add_argument(
        "--libraries",
        choices=("changed", "all", "none"),
        default="changed",
        metavar="changed|all|none",
        help="shared libraries to load: those that a plan changed (the default), or every one",
    )
    parser.add_argument(
        "--deep-imports",
        action="store_true",
        help="import every submodule of the distributions that lost or changed a file",
    )
    parser.add_argument("--no-imports", action="store_true", help="import nothing")
    parser.add_argument(
        "--no-start", action="store_true", help="do not start the image's own command"
    )
    parser.add_argument(
        "--settle",
        type=_seconds,
        default=10.0,
        metavar="SECONDS",
        help="a container that still runs after so long is alive (10)",
    )
    parser.add_argument("--no-health", action="store_true", help="leave HEALTHCHECK out")
    parser.add_argument(
        "--network", action="store_true", help="let the containers reach the network"
    )
    parser.add_argument(
        "--timeout",
        type=_seconds,
        default=120.0,
        metavar="SECONDS",
        help="for one module, one command, one answer (120)",
    )


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0
    if not 0 < seconds < 1e6:
        raise ArgumentTypeError(f"expected seconds, got {text!r}")
    return seconds


def trials(options: Namespace) -> Trials:
    """What the arguments of `add_trials` ask to try."""
    from slimmer.app.verify import Request, Trials

    return Trials(
        imports=not options.no_imports,
        deep_imports=options.deep_imports,
        libraries=options.libraries,
        runs=tuple(options.commands),
        requests=tuple(Request.parse(text) for text in options.requests),
        start=not options.no_start,
        settle=options.settle,
        health=not options.no_health,
        network=options.network,
        timeout=options.timeout,
    )
