"""One image, opened: everything that can be asked about it, each answer found once.

What is expensive to find out is kept between runs too, where the session has a cache folder.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property, partial
from typing import TYPE_CHECKING, NamedTuple, Self

from slimmer.app.events import Reporter

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from slimmer.analysis.dependencies import DependencyGraph
    from slimmer.analysis.facts import Facts
    from slimmer.attribution import Attribution
    from slimmer.evidence import Evidence
    from slimmer.gate.dive import Score
    from slimmer.image import Image
    from slimmer.index import Index
    from slimmer.policy import Globs
    from slimmer.report.reasons import Reasons
    from slimmer.report.report import Report
    from slimmer.report.tree import Tree
    from slimmer.stores.cache import Cache


@dataclass(frozen=True, slots=True)
class Context:
    """What a session needs to know of the world around it; it never looks for itself.

    >>> slimmer.Context(platform="linux/amd64").cache is None
    True
    """

    platform: str = ""
    """Which image of a multi-platform one, `linux/arm64`; this machine's if empty."""
    cache: Path | None = None
    """Folder to keep answers in; None to keep none."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """Where an engine is found by: `DOCKER_HOST`, `XDG_RUNTIME_DIR`, `HOME` …"""
    reporter: Reporter = field(default_factory=Reporter, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Inspection:
    """Every byte of an image on one owner, and who requires whom.

    >>> session.inspect().problems
    ()
    """

    facts: Facts
    """What is expensive to find out of the image, shared by plans and proofs."""

    @property
    def ledger(self) -> Attribution:
        return self.facts.ledger

    @property
    def graph(self) -> DependencyGraph:
        return self.facts.graph

    @property
    def index(self) -> Index:
        return self.ledger.index

    @property
    def problems(self) -> tuple[str, ...]:
        """What is odd about the image."""
        return tuple(self.ledger.index.problems)


class _Opened(NamedTuple):
    image: Image
    evidence: Evidence
    cache: Cache | None


class OpenedImage:
    """One image, and what can be found out about it; each answer is found once.

    >>> slimmer.OpenedImage("app.tar").problems
    ()
    """

    def __init__(self, reference: str, context: Context | None = None, *, deep: bool = False):
        """`deep` is whether to look into large libraries even where a layer must be decompressed
        once more for it."""
        self.reference = reference
        self.context = context or Context()
        self.reporter = self.context.reporter
        self._deep = deep
        self._inspections: dict[bool, Inspection] = {}
        self._reports: dict[str | None, Report] = {}

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.reference!r})"

    def another(self, reference: str) -> Self:
        """Another image in the same context."""
        return type(self)(reference, self.context)

    # --- what the image is -----------------------------------------------------------------

    @property
    def image(self) -> Image:
        """The image; of its layers nothing is read yet."""
        return self._opened.image

    @cached_property
    def _opened(self) -> _Opened:
        from slimmer import owners, stores
        from slimmer.image import ImageError, Platform
        from slimmer.stores.cache import Cache

        context = self.context
        with self.reporter.working():
            self.reporter.stage("opening the image")
            platform = Platform.parse(context.platform) if context.platform else None
            cache = None if context.cache is None else Cache(context.cache)
            evidence = owners.evidence()
            image = stores.open(
                self.reference,
                platform,
                evidence=evidence,
                environment=context.environment,
                cache=cache,
            )
        if platform is not None and not platform.accepts(image.platform):
            raise ImageError(
                f"{image.reference} is an image for {image.platform}, not for {platform}",
                hint=f"--platform {image.platform}, or leave it out",
            )
        return _Opened(image, evidence, cache)

    @cached_property
    def index(self) -> Index:
        """Every member of every layer, and what hides what."""
        from slimmer.index import Index
        from slimmer.stores.cache import Scans

        with self.reporter.working():
            image, evidence, cache = self._opened
            scans = Scans(cache) if cache else None
            return Index.scan(image, evidence, scans, self.reporter.stage("reading layers"))

    def inspect(self, *, libraries: bool = True) -> Inspection:
        """Every byte on an owner; `libraries` is whether to look into large libraries too.

        >>> session.inspect().ledger.owner(b"usr/lib/os-release").kind
        'deb'
        """
        from slimmer import owners
        from slimmer.analysis.dependencies import DependencyGraph
        from slimmer.analysis.facts import Facts
        from slimmer.attribution import Attribution
        from slimmer.elf import contents

        known = self._inspections.get(True) or self._inspections.get(libraries)
        if known is not None:
            return known
        with self.reporter.working():
            index = self.index
            found = {}
            if libraries:
                self.reporter.stage("looking into libraries")
                found = contents.look(index, self._deep)
            self.reporter.stage("putting bytes on owners")
            ledger = Attribution.of(index, owners.default, found)
            made = Inspection(Facts(ledger, DependencyGraph.of(ledger)))
        self._inspections[libraries] = made
        return made

    # --- answers ---------------------------------------------------------------------------

    def report(self, pattern: str | None = None) -> Report:
        """Where the bytes went; `pattern` narrows it to files whose path or owner fits.

        >>> session.report()
        Report('app.tar', 28 owners, unpacked=3979071, rootfs=3357449, packed=None)
        >>> session.report("*/tests/*").filter.pattern
        '*/tests/*'
        """
        if pattern not in self._reports:
            self._reports[pattern] = self._report(pattern)
        return self._reports[pattern]

    def _report(self, pattern: str | None) -> Report:
        from slimmer.errors import SlimmerError
        from slimmer.formats.json import parse, render
        from slimmer.report.report import Report

        with self.reporter.working():
            cache, key = self._opened.cache, self._key(pattern)
            kept = cache.get(key) if cache and key else None
            if kept is not None:
                try:
                    return parse(kept.decode(), "the cache")
                except (SlimmerError, ValueError):
                    pass  # another edition's, or damaged: made anew and overwritten
            inspection = self.inspect()
            made = Report.of(inspection.ledger, inspection.graph, pattern)
            if cache and key:
                cache.put(key, render(made).encode())
            return made

    def tree(self, pattern: str | None = None, report: Report | None = None) -> Tree:
        """The bytes of a report (this session's by default) as a tree of folders, for pictures."""
        from slimmer.report.tree import Tree

        return Tree.of(report or self.report(pattern), self.inspect().ledger, pattern)

    def why(self, name: str) -> tuple[Reasons, ...]:
        """What brings the owners of that name in: `torch`, `pip:torch`, `cache:pip`, `app`.

        Raises OwnerError where there is none, with names that are close.

        >>> session.why("anyio")[0].chains
        (('pip:fastapi 0.99.1', 'pip:starlette 0.27.0', 'pip:anyio 3.7.1'),)
        """
        from slimmer.report.reasons import reasons

        inspection = self.inspect(libraries=False)
        return reasons(inspection.ledger, inspection.graph, name)

    # --- figures that limits are held against ----------------------------------------------

    def size_of(self, globs: Globs) -> int:
        """Bytes of the visible files that fit a pattern."""

        def add_up() -> str:
            sizes = self.inspect().ledger.size_of
            return str(sum(size for path, size in sizes.items() if path in globs))

        return int(self.cached(("size of", globs.patterns), add_up))

    @property
    def problems(self) -> tuple[str, ...]:
        """What is odd about the image."""
        return tuple(self.index.problems)

    @property
    def files(self) -> Mapping[str, int]:
        """Bytes of every visible file, by the name that reports show."""
        from slimmer.names import printable

        return {printable(path): size for path, size in self.inspect().ledger.size_of.items()}

    @property
    def score(self) -> Score:
        """dive's score, without the paths that it rests on."""
        from slimmer.gate.dive import Score

        def work_out() -> str:
            made = replace(Score.of(self.inspect().index), repeated=())
            return json.dumps(asdict(made))

        return Score(**json.loads(self.cached("dive", work_out)))

    def wasted(self) -> Score:
        """dive's score with the paths that it rests on; these are not kept between runs."""
        from slimmer.gate.dive import Score

        return Score.of(self.inspect(libraries=False).index)

    @property
    def packed(self) -> tuple[int, ...]:
        """Compressed bytes of each layer: its blob's, or measured by compressing it with gzip."""
        from slimmer.stores.compression import Packing

        layers = self.image.layers

        def measure() -> str:
            sizes: list[int] = []
            with self.reporter.working():
                tell = self.reporter.stage("compressing layers to measure them")
                for number, layer in enumerate(layers):
                    tell(number, len(layers))
                    size = layer.packed
                    if size is None:
                        with layer.content.open() as tar:
                            blob = Packing.of("gzip").compressed(
                                iter(partial(tar.read, 1 << 20), b"")
                            )
                            size = sum(map(len, blob))
                    sizes.append(size)
            return json.dumps(sizes)

        return tuple(json.loads(self.cached("packed by gzip", measure)))

    def cached(self, question: object, make: Callable[[], str]) -> str:
        """The answer to a question about this image; `question` names all that it depends on."""
        cache, key = self._opened.cache, self._key(None)
        if cache is None or key is None:
            return make()
        kept = cache.get(repr((key, question)))
        if kept is not None:
            return kept.decode()
        made = make()
        cache.put(repr((key, question)), made.encode())
        return made

    def _key(self, pattern: str | None) -> str | None:
        """What a report depends on: the image, how it is reached, what is asked, this program."""
        from slimmer.app.edition import edition

        image = self.image
        layers = [layer.content.cache_key for layer in image.layers]
        if None in layers:
            return None
        asked = (image.reference, image.route, image.id, image.packed, image.problems, layers)
        return repr(("report", edition(), asked, self._deep, pattern))
