"""From a reference to a ledger: the stages every command begins with, in one place."""

from __future__ import annotations

from argparse import ArgumentParser, ArgumentTypeError, RawDescriptionHelpFormatter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from slimmer.cli.progress import Progress

if TYPE_CHECKING:
    from argparse import Namespace

    from slimmer.attribution import Attribution
    from slimmer.cli.rim import Rim
    from slimmer.dependencies import DependencyGraph

Commands = Any
"""What `add_subparsers` returns; argparse keeps the type to itself."""


def command(commands: Commands, name: str, summary: str, text: str) -> ArgumentParser:
    """A command that looks at one image, with the arguments that all of them share.

    `text` is the description and, from its line `examples:` on, what stands below the arguments.
    """
    description, _, examples = text.partition("\nexamples:\n")
    parser: ArgumentParser = commands.add_parser(
        name,
        help=summary,
        description=description,
        epilog="examples:\n" + examples,
        formatter_class=RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "image", metavar="IMAGE", help="archive, folder or name; see slimmer --help"
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


@dataclass(frozen=True, slots=True)
class Looked:
    """What looking at an image tells."""

    ledger: Attribution
    graph: DependencyGraph


def look(options: Namespace, rim: Rim) -> Looked:
    """Open the image, scan it, put its bytes on owners, and see who requires whom."""
    from slimmer import owners, stores
    from slimmer.attribution import Attribution
    from slimmer.dependencies import DependencyGraph
    from slimmer.image import Platform
    from slimmer.index import Index
    from slimmer.stores.cache import Cache, Scans

    platform = Platform.parse(options.platform) if options.platform else None
    cache = None if options.no_cache else Cache(rim.cache_folder)
    with Progress(rim) as progress:
        progress.stage("opening the image")
        evidence = owners.evidence()
        image = stores.open(
            options.image,
            platform,
            evidence=evidence,
            environment=rim.environment,
            cache=cache,
        )
        index = Index.scan(
            image, evidence, Scans(cache) if cache else None, progress.stage("reading layers")
        )
        progress.stage("putting bytes on owners")
        ledger = Attribution.of(index, owners.default)
        return Looked(ledger, DependencyGraph.of(ledger))


def count(text: str) -> int:
    """The argument of options such as `--top`."""
    if not text.isdecimal() or int(text) < 1:
        raise ArgumentTypeError(f"expected a number from 1 on, got {text!r}")
    return int(text)
