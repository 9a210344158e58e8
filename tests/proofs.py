"""Images with plans for proofs, and an engine that says what it is told to say."""

from __future__ import annotations

import io
import json
import struct
import tarfile
from typing import TYPE_CHECKING

from tiny import Bytes, config, layer

from slimmer import owners
from slimmer.analysis.dependencies import DependencyGraph
from slimmer.analysis.facts import Facts
from slimmer.attribution import Attribution
from slimmer.image import Config, Digest, Image
from slimmer.index import Index
from slimmer.plan.budget import Sizes
from slimmer.plan.combining import settle
from slimmer.plan.plan import Plan
from slimmer.plan.steps import Step
from slimmer.policy import Safety
from slimmer.proof.trials import Outcome, Probed, Served
from slimmer.proof.verify import static
from slimmer.rewrite import apply

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from slimmer.proof.faults import Verdict
    from slimmer.proof.trials import Probe, Trials
    from slimmer.rewrite import Mode


def image(*tars: bytes, runtime: Mapping[str, object] | None = None) -> Image:
    raw = config(tars, runtime=runtime)
    return Image.of("tiny:latest", Config.parse(raw), [(Bytes(tar), None, None) for tar in tars])


def looked(source: Image) -> Facts:
    ledger = Attribution.of(Index.scan(source, owners.evidence()), owners.default)
    return Facts(ledger, DependencyGraph.of(ledger))


def step(*removes: bytes, **fields: object) -> Step:
    told = {
        "rule": "rule",
        "action": "remove",
        "target": "target",
        "safety": Safety.SAFE,
        "why": "why",
    }
    return Step(**{**told, **fields}, removes=removes)  # type: ignore[arg-type]


def plan_of(before: Facts, *steps: Step) -> Plan:
    changes = settle(before, steps, ())
    index = before.index
    sizes = Sizes.of(index), Sizes.of(changes.after)
    return Plan(index.image.id, "test", None, steps, (), (), (), *sizes, changes, before)


def written(plan: Plan, mode: Mode = "rewrite") -> Image:
    """The image that a plan makes, in memory."""
    draft = apply(plan.facts.index.image, plan, mode)
    tars = [b"".join(one.chunks()) for one in draft.layers]
    found = draft.finish([Digest.of(tar) for tar in tars])
    return Image.of("tiny:slim", found, [(Bytes(tar), None, None) for tar in tars])


def altered(source: Image, change: Callable[[tarfile.TarInfo], tarfile.TarInfo | None]) -> Image:
    """An image with every member put through `change`, and the config of the first."""
    tars = []
    for one in source.layers:
        buffer = io.BytesIO()
        with (
            one.content.open() as file,
            tarfile.open(fileobj=file) as old,
            tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as new,
        ):
            for member in old:
                content = old.extractfile(member).read() if member.isreg() else b""  # type: ignore[union-attr]
                kept = change(member)
                if kept is not None:
                    if kept.isreg():
                        content = content[: kept.size].ljust(kept.size, b"!")
                    new.addfile(kept, io.BytesIO(content))
        tars.append(buffer.getvalue())
    raw = json.loads(source.config.raw)
    raw["rootfs"]["diff_ids"] = [Digest.of(tar) for tar in tars]
    parsed = Config.parse(json.dumps(raw).encode())
    return Image.of("tiny:slim", parsed, [(Bytes(tar), None, None) for tar in tars])


def elf(*needed: str, soname: str = "") -> bytes:
    """The smallest shared library that asks for others."""
    strings = b"\0" + b"".join(name.encode() + b"\0" for name in (*needed, soname))
    places = [strings.index(name.encode() + b"\0") for name in (*needed, soname)]
    tags = [(1, place) for place in places[:-1]]
    tags += [(14, places[-1])] if soname else []
    start = 64 + 2 * 56
    tags += [(5, start + 16 * (len(tags) + 3)), (10, len(strings)), (0, 0)]
    dynamic = b"".join(struct.pack("<QQ", *tag) for tag in tags)
    total = start + len(dynamic) + len(strings)
    ident = b"\x7fELF\x02\x01\x01" + bytes(9)
    header = struct.pack("<16sHHIQQQIHHHHHH", ident, 3, 62, 1, 0, 64, 0, 0, 64, 56, 2, 0, 0, 0)
    load = struct.pack("<IIQQQQQQ", 1, 4, 0, 0, 0, total, total, 4096)
    where = struct.pack("<IIQQQQQQ", 2, 4, start, start, start, len(dynamic), len(dynamic), 8)
    return header + load + where + dynamic + strings


def compared(
    before: Facts, after: Facts, plan: Plan | None = None, mode: Mode = "rewrite"
) -> Verdict:
    """The static part of a proof."""
    return static(before, after, plan, mode=mode)


def kinds(verdict: Verdict, *only: str) -> list[tuple[str, str]]:
    """Kind and subject of each fault, or of those of some kinds."""
    return [
        (fault.kind, fault.subject) for fault in verdict.faults if not only or fault.kind in only
    ]


SITE = "usr/lib/python3.11/site-packages/"


def distribution(name: str, *requires: str, files: Iterable[str] = ()) -> dict[str, bytes]:
    told = f"{name}-1.dist-info"
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: 1\n"
    metadata += "".join(f"Requires-Dist: {one}\n" for one in requires)
    listed = [*files, f"{told}/METADATA", f"{told}/RECORD"]
    return {
        **{SITE + path: b"" for path in files},
        f"{SITE}{told}/METADATA": metadata.encode(),
        f"{SITE}{told}/RECORD": "".join(f"{path},,\n" for path in listed).encode(),
    }


PYTHON = {
    "usr/local/bin/python3.11": b"x" * 300,
    "bin/sh": b"",
    **distribution("one", files=["one.py"]),
}


def executable(files: dict[str, bytes], **more: object) -> Image:
    def change(member: tarfile.TarInfo) -> tarfile.TarInfo:
        member.mode = 0o755
        return member

    return altered(image(layer(files, **more)), change)  # type: ignore[arg-type]


class Told:
    """An engine that says what it was told to say, and remembers what it was asked."""

    def __init__(self, **says: object) -> None:
        self.says = says
        self.asked: list[tuple[str, object]] = []

    def _next(self, what: str, image: Image, asked: object) -> object:
        self.asked.append((image.reference, asked))
        said = self.says.get(what, [Served()])
        assert isinstance(said, list)
        return said.pop(0)

    def probe(self, image: Image, interpreter: str, probe: Probe, trials: Trials, done: object):
        return self._next("probe", image, probe)

    def run(self, image: Image, command: str, trials: Trials):
        return self._next("run", image, command)

    def serve(self, image: Image, interpreter: str, trials: Trials):
        return self._next("serve", image, interpreter)


def probed(*outcomes: Outcome, libraries: Iterable[Outcome] = ()) -> Probed:
    return Probed(
        "3.11.0",
        {outcome.name: outcome for outcome in outcomes},
        {outcome.name: outcome for outcome in libraries},
        {"one": "one"},
    )


ONE = Outcome("one", origin="/" + SITE + "one.py")
TWO = Outcome("two", origin="/" + SITE + "two/__init__.py")
