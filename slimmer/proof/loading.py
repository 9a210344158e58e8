"""Modules that are imported and libraries that are loaded, in both images.

What failed before may fail after: only what went well in the original and does not in the result
is a fault.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from packaging.utils import canonicalize_name

from slimmer.names import one_line, printable
from slimmer.proof.faults import Fault, Verdict, counted
from slimmer.proof.messages import said
from slimmer.proof.outputs import normal_text
from slimmer.proof.trials import Outcome, Probe, Probed
from slimmer.tar.reading import FILE, HARDLINK

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from slimmer.analysis.facts import Facts
    from slimmer.edits.changes import Changes
    from slimmer.image import Image
    from slimmer.index import Index
    from slimmer.proof.losses import Losses
    from slimmer.proof.trials import Engine, Trials

    Told = Callable[[str, int, int], None]


_PYTHON = re.compile(rb"(?:.*/)?bin/(?:python|pypy)(?:3(?:\.\d+)?t?)?\Z").match


def interpreters(index: Index) -> tuple[str, ...]:
    """Every Python of an image, by the path to call it: the one on PATH first, each once.

    A virtual environment is one of its own, though its program is mostly a symlink to another.
    """
    path = dict(index.image.config.environment).get("PATH", "/usr/local/bin:/usr/bin:/bin")
    folders = [folder.strip("/").encode() for folder in path.split(":")]
    found: dict[tuple[bytes, bytes], bytes] = {}

    def rank(name: bytes) -> tuple[int, int, bytes]:
        folder, _, last = name.rpartition(b"/")
        place = folders.index(folder) if folder in folders else len(folders)
        return place, len(last), name

    for name, header in index.visible.items():
        if b"bin/p" not in name or not _PYTHON(name):
            continue
        real = index.resolve(name)
        program = index.visible.get(real)
        if program is None or program.kind not in (FILE, HARDLINK) or not program.mode & 0o111:
            continue
        if program.kind is FILE and program.size < 256 and header.kind is FILE:
            continue  # a wrapper script, not a program
        home = name.rpartition(b"/bin/")[0]
        environment = home if home + b"/pyvenv.cfg" in index.visible else b""
        held = program.link if program.kind is HARDLINK else real
        # `python` and `python3` of one environment lead to the same program.
        key = (environment, held)
        if key not in found or rank(name) < rank(found[key]):
            found[key] = name
    return tuple(
        "/" + name.decode("utf-8", "surrogateescape") for name in sorted(found.values(), key=rank)
    )


def changed_libraries(changes: Changes) -> list[bytes]:
    """The shared libraries that a plan writes anew."""
    found = set()
    for layer, edit in zip(changes.before.layers, changes.edits, strict=True):
        for header in layer.headers if edit.splices else ():
            if header.start in edit.splices and is_library(header.path):
                found.add(edit.promotions.get(header.start, header.path))
    return sorted(found)


def is_library(path: bytes) -> bool:
    name = path.rpartition(b"/")[2]
    return name.endswith(b".so") or b".so." in name


@dataclass(frozen=True, slots=True)
class Loading:
    """The two images, and what to load in them."""

    before: Facts
    after: Facts
    changes: Changes | None
    losses: Losses
    engine: Engine
    trials: Trials
    told: Told

    def said(self, text: str) -> bytes | None:
        return said(text, self.losses)

    def imports(self, found: Sequence[str]) -> Verdict:
        if not found:
            return Verdict(notes=("no Python interpreter in the image: nothing was imported",))
        libraries = self._libraries()
        deep = self._touched() if self.trials.deep_imports else ()
        verdict = Verdict()
        for interpreter in found:
            gone = self._left(interpreter)
            if gone is not None:
                verdict += gone
                continue
            verdict += self._interpreter(interpreter, deep, libraries)
            libraries = ()  # one interpreter loads them all
        return verdict

    def _left(self, interpreter: str) -> Verdict | None:
        """What to say of an interpreter that the result does not have."""
        index = self.before.index
        real = index.resolve(interpreter.encode("utf-8", "surrogateescape"))
        path = self.losses.gone(interpreter)
        if path is None or self.after.index.resolve(real) in self.after.index.visible:
            return None
        reason = self.losses.reason(path)
        if reason is not None:
            return Verdict(notes=(f"{interpreter} left with the step {reason.id}",))
        return Verdict((Fault("interpreter", interpreter, "is not there any more", path),))

    def _libraries(self) -> tuple[str, ...]:
        visible = self.after.index.visible
        if self.trials.libraries == "none":
            return ()
        if self.trials.libraries == "changed":
            paths: Iterable[bytes] = changed_libraries(self.changes) if self.changes else ()
        else:
            paths = [
                path
                for path, header in self.before.index.visible.items()
                if header.kind in (FILE, HARDLINK) and is_library(path)
            ]
        return tuple(
            "/" + path.decode("utf-8", "surrogateescape") for path in paths if path in visible
        )

    def _touched(self) -> tuple[str, ...]:
        """Python distributions of which something left or changed."""
        touched = set(self.losses.left)
        one, two = self.before.index.visible, self.after.index.visible
        touched.update(path for path in one.keys() & two.keys() if one[path].size != two[path].size)
        owners = {self.before.ledger.owner(path) for path in touched}
        return tuple(sorted(owner.name for owner in owners if owner.kind == "pip"))

    def _probe(self, image: Image, interpreter: str, probe: Probe, what: str, total: int) -> Probed:
        self.told(what, 0, total)
        return self.engine.probe(
            image, interpreter, probe, self.trials, lambda done: self.told(what, done, total)
        )

    def _interpreter(
        self, interpreter: str, deep: tuple[str, ...], libraries: tuple[str, ...]
    ) -> Verdict:
        one, two = self.before.index.image, self.after.index.image
        timeout, workers = self.trials.timeout, self.trials.workers
        asked = Probe(None if self.trials.imports else (), (), deep, libraries, workers, timeout)
        what = f"{interpreter} in the original"
        first = self._probe(one, interpreter, asked, what, 0)
        if first.problem:
            note = f"{interpreter} does not work in the original: {one_line(first.problem)}"
            return Verdict(notes=(note,))
        well = [name for name, outcome in first.modules.items() if not outcome.error]
        loaded = tuple(name for name, outcome in first.libraries.items() if not outcome.error)
        asked = Probe(
            tuple(name for name in well if name not in first.together),
            tuple(name for name in well if name in first.together),
            (),
            loaded,
            workers,
            timeout,
        )
        total = len(well) + len(loaded)
        second = self._probe(two, interpreter, asked, f"{interpreter} in the result", total)
        if second.problem and not second.modules:
            path = self.said(second.problem)
            return Verdict((self.losses.fault("interpreter", interpreter, second.problem, path),))
        modules = {name: second.modules.get(name, _NOT_REACHED) for name in well}
        opened = {name: second.libraries.get(name, _NOT_REACHED) for name in loaded}
        again = Probe(
            tuple(name for name, outcome in modules.items() if outcome.error),
            libraries=tuple(name for name, outcome in opened.items() if outcome.error),
            workers=1,
            timeout=2 * timeout,
        )
        if again.modules or again.libraries:
            # Alone and with more time: a busy machine is no fault of the image.
            count = len(again.modules or ()) + len(again.libraries)
            third = self._probe(two, interpreter, again, f"{interpreter}, once more", count)
            modules.update(third.modules)
            opened.update(third.libraries)
        notes = []
        planned: Counter[str] = Counter()
        faults = []
        for name, outcome in sorted(modules.items()):
            if not outcome.error:
                continue
            origin = self.losses.gone(first.modules[name].origin)
            reason = self.losses.reason(origin or self._left_with(first.distribution_of.get(name)))
            if reason is not None:
                planned[reason.id] += 1
                continue
            subject = name
            if distribution := first.distribution_of.get(name):
                subject = f"{name} ({distribution})"
            faults.append(self._fault("import", subject, outcome))
        faults += [
            self._fault("load", name, outcome)
            for name, outcome in sorted(opened.items())
            if outcome.error
        ]
        for identifier, count in sorted(planned.items()):
            notes.append(f"{count} modules left with the step {identifier}")
        failing = sorted(first.modules.keys() - set(well))
        if failing:
            names = ", ".join(map(printable, failing[:5])) + (", …" if len(failing) > 5 else "")
            notes.append(
                f"{interpreter}: {len(failing)} modules do not import in the original either: "
                f"{names}"
            )
        spent = [
            sum(outcomes[name].seconds for name in well if name in outcomes)
            for outcomes in (first.modules, second.modules)
        ]
        if well:
            notes.append(
                f"{interpreter} (Python {first.version}): importing {len(well)} modules took "
                f"{spent[0]:.1f} s of its processes' time before, {spent[1]:.1f} s after"
            )
        return Verdict(
            tuple(faults),
            counted({"modules": len(well), "libraries loaded": len(loaded)}),
            tuple(notes),
        )

    def _left_with(self, distribution: str | None) -> bytes | None:
        """The metadata of a distribution that left as a whole: its modules left with it."""
        if distribution is None:
            return None
        name = canonicalize_name(distribution)
        for claim in self.before.ledger.claims:
            if claim.owner.kind == "pip" and canonicalize_name(claim.owner.name) == name:
                metadata = tuple(self.before.below(claim.metadata)) if claim.metadata else ()
                if metadata and set(metadata) <= self.losses.left.keys():
                    return metadata[0]
        return None

    def _fault(self, kind: Literal["import", "load"], subject: str, outcome: Outcome) -> Fault:
        losses = self.losses
        path = losses.module(outcome.module) if outcome.module else None
        if path is None and outcome.file:
            path = losses.gone(outcome.file)
        if path is None:
            path = self.said(outcome.message)
        if path is None and kind == "load":
            path = subject.lstrip("/").encode("utf-8", "surrogateescape")
        return losses.fault(kind, printable(subject), normal_text(str(outcome)), path)


_NOT_REACHED = Outcome("", "stopped", "there was no time left for it")
