"""An image that commands ask several things about: each is found once, and kept between runs."""

from __future__ import annotations

import json
from argparse import Namespace
from dataclasses import asdict, replace
from functools import cached_property, partial
from typing import TYPE_CHECKING

from slimmer.cli import pipeline
from slimmer.cli.progress import Progress

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from slimmer.cli.pipeline import Looked
    from slimmer.cli.terminal import Rim
    from slimmer.gate.dive import Score
    from slimmer.policy import Globs
    from slimmer.report.report import Report


class Sight:
    """One image, opened; scanned only where the cache does not know the answer."""

    def __init__(self, options: Namespace, rim: Rim, reference: str) -> None:
        self._options = Namespace(**{**vars(options), "image": reference})
        self._rim = rim
        with Progress(rim) as progress:
            self._opened = pipeline.open_image(self._options, rim, progress)
        self._key = pipeline.report_key(self._opened, self._options, None)

    @cached_property
    def looked(self) -> Looked:
        with Progress(self._rim) as progress:
            return pipeline.looked_at(self._opened, self._options, progress, inside=True)

    @cached_property
    def report(self) -> Report:
        """Where the bytes went; the very report that `slimmer inspect` keeps."""
        from slimmer.errors import SlimmerError
        from slimmer.formats import json as form
        from slimmer.report.report import Report

        cache, key = self._opened.cache, self._key
        kept = cache.get(key) if cache and key else None
        if kept is not None:
            try:
                return form.parse(kept.decode(), "the cache")
            except (SlimmerError, ValueError):
                pass  # damaged: made anew and overwritten
        made = Report.of(self.looked.ledger, self.looked.graph)
        if cache and key:
            cache.put(key, form.render(made).encode())
        return made

    def kept(self, asked: object, make: Callable[[], str]) -> str:
        """The answer to a question about this image; `asked` names it with all it depends on."""
        cache, key = self._opened.cache, self._key
        if cache is None or key is None:
            return make()
        kept = cache.get(repr((key, asked)))
        if kept is not None:
            return kept.decode()
        made = make()
        cache.put(repr((key, asked)), made.encode())
        return made

    def size_of(self, globs: Globs) -> int:
        """Bytes of the visible files that fit a pattern."""

        def add_up() -> str:
            sizes = self.looked.ledger.size_of
            return str(sum(size for path, size in sizes.items() if path in globs))

        return int(self.kept(("size of", globs.patterns), add_up))

    @property
    def files(self) -> Mapping[str, int]:
        """Size of every visible file, by the name that reports show."""
        from slimmer.names import printable

        return {printable(path): size for path, size in self.looked.ledger.size_of.items()}

    @property
    def score(self) -> Score:
        """dive's score, without the paths that it rests on."""
        from slimmer.gate.dive import Score

        def work_out() -> str:
            made = replace(Score.of(self.looked.ledger.index), repeated=())
            return json.dumps(asdict(made))

        return Score(**json.loads(self.kept("dive", work_out)))

    @property
    def packed(self) -> tuple[int, ...]:
        """Compressed size of each layer: its blob's, or measured by compressing it with gzip."""
        from slimmer.stores.compression import Packing

        layers = self._opened.image.layers

        def measure() -> str:
            sizes: list[int] = []
            with Progress(self._rim) as progress:
                tell = progress.stage("compressing layers to measure them")
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

        return tuple(json.loads(self.kept("packed by gzip", measure)))
