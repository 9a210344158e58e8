"""From a reference to a ledger: the stages every command begins with, in one place."""

from __future__ import annotations

import os
import sys
from argparse import ArgumentParser, ArgumentTypeError
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from slimmer.cli.progress import Progress

if TYPE_CHECKING:
    from argparse import Namespace

    from slimmer.analysis.dependencies import DependencyGraph
    from slimmer.attribution import Attribution
    from slimmer.cli.terminal import Rim
    from slimmer.evidence import Evidence
    from slimmer.image import Image
    from slimmer.report.report import Report
    from slimmer.stores.cache import Cache

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


@dataclass(frozen=True, slots=True)
class Looked:
    """What looking at an image tells."""

    ledger: Attribution
    graph: DependencyGraph


def look(options: Namespace, rim: Rim, *, inside: bool = True) -> Looked:
    """Open the image, scan it, put its bytes on owners, and see who requires whom.

    `inside` is whether to look into large libraries.
    """
    with Progress(rim) as progress:
        return looked_at(open_image(options, rim, progress), options, progress, inside=inside)


def report(options: Namespace, rim: Rim, pattern: str | None = None) -> Report:
    """Where an image's bytes went; from the cache, where this very report was made before.

    `pattern` narrows it, see `Report.of`.
    """
    from slimmer.errors import SlimmerError
    from slimmer.formats import json
    from slimmer.report.report import Report

    with Progress(rim) as progress:
        opened = open_image(options, rim, progress)
        key = report_key(opened, options, pattern)
        if opened.cache and key:
            kept = opened.cache.get(key)
            try:
                if kept is not None:
                    return json.parse(kept.decode(), "the cache")
            except (SlimmerError, ValueError):
                pass  # another edition's, or damaged: made anew and overwritten
        looked = looked_at(opened, options, progress, inside=True)
        made = Report.of(looked.ledger, looked.graph, pattern)
        if opened.cache and key:
            opened.cache.put(key, json.render(made).encode())
        return made


class Opened(NamedTuple):
    image: Image
    evidence: Evidence
    cache: Cache | None


def open_image(options: Namespace, rim: Rim, progress: Progress) -> Opened:
    from slimmer import owners, stores
    from slimmer.image import ImageError, Platform
    from slimmer.stores.cache import Cache

    progress.stage("opening the image")
    platform = Platform.parse(options.platform) if options.platform else None
    cache = None if options.no_cache else Cache(rim.cache_folder)
    evidence = owners.evidence()
    image = stores.open(
        options.image, platform, evidence=evidence, environment=rim.environment, cache=cache
    )
    if platform is not None and not platform.accepts(image.platform):
        raise ImageError(
            f"{image.reference} is an image for {image.platform}, not for {platform}",
            hint=f"--platform {image.platform}, or leave it out",
        )
    return Opened(image, evidence, cache)


def looked_at(opened: Opened, options: Namespace, progress: Progress, *, inside: bool) -> Looked:
    from slimmer import owners
    from slimmer.analysis.dependencies import DependencyGraph
    from slimmer.attribution import Attribution
    from slimmer.elf import contents as binaries
    from slimmer.index import Index
    from slimmer.stores.cache import Scans

    image, evidence, cache = opened
    index = Index.scan(
        image, evidence, Scans(cache) if cache else None, progress.stage("reading layers")
    )
    found = {}
    if inside:
        progress.stage("looking into libraries")
        found = binaries.look(index, getattr(options, "deep", False))
    progress.stage("putting bytes on owners")
    ledger = Attribution.of(index, owners.default, found)
    return Looked(ledger, DependencyGraph.of(ledger))


def report_key(opened: Opened, options: Namespace, pattern: str | None) -> str | None:
    """What a report depends on: the image, how it is reached, what was asked, and this program."""
    image = opened.image
    layers = [layer.content.cache_key for layer in image.layers]
    if None in layers:
        return None
    asked = (image.reference, image.route, image.id, image.packed, image.problems, layers)
    return repr(("report", _edition(), asked, getattr(options, "deep", False), pattern))


def _edition() -> tuple[object, ...]:
    """Changes whenever this program does, so that it never shows what another one found."""
    folders = [Path(__file__).parents[1]]
    newest = files = 0
    while folders:
        for entry in os.scandir(folders.pop()):
            if entry.is_dir():
                if entry.name != "__pycache__":
                    folders.append(Path(entry.path))
            else:
                newest = max(newest, entry.stat().st_mtime_ns)
                files += 1
    return newest, files, sys.version_info[:2]


def count(text: str) -> int:
    """The argument of options such as `--top`."""
    if not text.isdecimal() or int(text) < 1:
        raise ArgumentTypeError(f"expected a number from 1 on, got {text!r}")
    return int(text)
