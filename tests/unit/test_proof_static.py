"""Proofs: law 3 and law 8 on written images, and both images at work, by an engine that is told."""

from __future__ import annotations

import ast
import io
import json
import struct
import subprocess
import sys
import tarfile
import time
from dataclasses import replace
from importlib import resources
from typing import TYPE_CHECKING

import pytest
from tiny import Bytes, config, layer, oci

from slimmer import cli, owners
from slimmer.analysis.dependencies import DependencyGraph
from slimmer.analysis.facts import Facts
from slimmer.attribution import Attribution
from slimmer.cli import main
from slimmer.edits.edits import Addition
from slimmer.image import Config, Digest, Image
from slimmer.index import Index
from slimmer.plan.plan import Plan, settle
from slimmer.plan.steps import Rewrite, Step
from slimmer.policy import Safety
from slimmer.proof.runtime import (
    Answer,
    Finished,
    Outcome,
    Probed,
    Request,
    Served,
    TrialError,
    Trials,
    interpreters,
    normal,
)
from slimmer.proof.static import compare, compare_contents, verify
from slimmer.proof.verdict import Culprits
from slimmer.rewrite import apply
from slimmer.splice import Copy, Splice

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

    from slimmer.proof.runtime import Probe
    from slimmer.proof.verdict import Verdict
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
    sizes = (index.unpacked, index.rootfs), (changes.after.unpacked, changes.after.rootfs)
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


def kinds(verdict: Verdict) -> list[tuple[str, str]]:
    return [(fault.kind, fault.subject) for fault in verdict.faults]


# --- law 3 ------------------------------------------------------------------------------------

PLAIN = image(
    layer({"opt": None, "opt/a": b"a" * 10, "opt/b": b"b" * 20}, links={"opt/c": "opt/a"}),
    layer({"srv/d": b"d"}, symlinks={"srv/e": "d"}),
)


def test_a_result_that_is_what_the_plan_says_holds():
    before = looked(PLAIN)
    plan = plan_of(before, step(b"opt/b"))

    verdict = verify(before, looked(written(plan)), plan, contents=True)

    assert () == verdict.faults
    assert verdict.holds
    assert {
        "paths": 5,
        "untouched layers": 1,
        "config fields": 6,
        "symlinks": 1,
        "contents": 3,
    } == (dict(verdict.checked))


@pytest.mark.parametrize("mode", ["rewrite", "flatten", "overlay"])
def test_it_holds_in_each_mode_when_a_first_name_leaves(mode: Mode):
    before = looked(PLAIN)
    plan = plan_of(before, step(b"opt/a"))

    verdict = verify(before, looked(written(plan, mode)), plan, contents=True, mode=mode)

    assert () == verdict.faults


def _set(**fields: object) -> Callable[[tarfile.TarInfo], tarfile.TarInfo]:
    def change(member: tarfile.TarInfo) -> tarfile.TarInfo:
        if member.name == "opt/a":
            for name, value in fields.items():
                setattr(member, name, value)
        return member

    return change


@pytest.mark.parametrize(
    ("fields", "lost"),
    [
        ({"mode": 0o600}, "mode"),
        ({"uid": 7}, "uid"),
        ({"gid": 7}, "gid"),
        ({"mtime": 7}, "mtime"),
        ({"size": 9}, "size"),
        ({"pax_headers": {"SCHILY.xattr.user.x": "1"}}, "xattrs"),
        ({"type": tarfile.SYMTYPE, "size": 0, "linkname": "b"}, "kind"),
        ({"type": tarfile.CHRTYPE, "size": 0, "devmajor": 1}, "device"),
    ],
)
def test_every_field_of_every_header_is_compared(fields: dict[str, object], lost: str):
    before = looked(PLAIN)
    plan = plan_of(before, step(b"opt/b"))

    verdict = compare(before, looked(altered(written(plan), _set(**fields))), plan.changes, plan)

    faults = [fault for fault in verdict.faults if fault.kind == "unplanned"]
    assert any(one.subject == "opt/a" and one.lost.startswith(f"its {lost} is") for one in faults)


def test_what_is_missing_or_left_or_new_is_a_fault():
    before = looked(PLAIN)
    plan = plan_of(before, step(b"opt/b"))
    after = image(
        layer({"opt": None, "opt/b": b"b" * 20, "new": b""}), layer({}, symlinks={"srv/e": "d"})
    )

    faults = compare(before, looked(after), plan.changes, plan).faults

    told = {(fault.subject, fault.lost) for fault in faults if fault.kind == "unplanned"}
    assert ("opt/a", "is missing, and no step removes it") in told
    assert ("opt/b", "is still there") in told
    assert ("new", "was not there before") in told


def _named(member: tarfile.TarInfo) -> tarfile.TarInfo:
    member.uname = "somebody"
    return member


def test_an_untouched_layer_must_be_the_very_same():
    before = looked(PLAIN)
    plan = plan_of(before, step(b"opt/b"))
    after = written(plan)
    same = altered(after, _named)  # the same members, other bytes

    assert ("layer", "layer 1") in kinds(compare(before, looked(same), plan.changes, plan))
    assert () == compare(before, looked(after), plan.changes, plan).faults


def test_a_config_that_was_not_carried_over_is_a_fault():
    one = image(layer({"a": b""}), runtime={"Env": ["A=1"], "Cmd": ["x"], "Labels": {"l": "1"}})
    two = image(layer({"a": b""}), runtime={"Env": ["A=2"], "Cmd": ["y"]})
    before = looked(one)
    plan = plan_of(before)

    assert [("config", "environment"), ("config", "command"), ("config", "label l")] == kinds(
        compare(before, looked(two), plan.changes, plan)
    )


def test_other_bytes_of_the_same_size_are_found_by_their_contents():
    before = looked(PLAIN)
    plan = plan_of(before, step(b"opt/b"))
    tar = layer({"opt": None, "opt/a": b"A" * 10}, links={"opt/c": "opt/a"})
    good = written(plan)
    bad = image(tar, PLAIN.layers[1].content.tar)  # type: ignore[attr-defined]

    assert [] == kinds(compare_contents(before.index, looked(good).index, plan.changes, plan))
    assert [("content", "opt/a"), ("content", "opt/c")] == kinds(
        compare_contents(before.index, looked(bad).index, plan.changes, plan)
    )


def test_planned_new_contents_are_no_fault_and_their_size_is_held():
    before = looked(PLAIN)
    rewrite = Rewrite(b"opt/a", Splice((Copy(0, 4),)), 10)
    plan = plan_of(before, step(rewrites=(rewrite,)))
    after = written(plan)

    assert () == verify(before, looked(after), plan, contents=True).faults
    wrong = altered(after, _set(size=5))
    assert ("unplanned", "opt/a") in kinds(compare(before, looked(wrong), plan.changes, plan))


# --- law 8 ------------------------------------------------------------------------------------


def broken(source: Image, *removes: bytes, safety: Safety = Safety.SAFE, action: str = "remove"):
    before = looked(source)
    plan = plan_of(before, step(*removes, safety=safety, action=action))
    return compare(before, looked(written(plan)), plan.changes, plan)


NAMED = layer({"d/a": b"A" * 1000, "d/z": b"z"}, links={"d/b": "d/a", "d/c": "d/b"})
"""One file by three names, the last of them a link to a link."""


@pytest.mark.parametrize("mode", ["rewrite", "flatten", "overlay"])
@pytest.mark.parametrize(
    "above",
    [
        [layer({}, removed=["d/a"])],
        [layer({}, removed=["d/b"])],
        [layer({"d/a": b"B" * 10})],
        [layer({"d/b": b"B" * 10})],
        [layer({}, removed=["d/a"]), layer({"d/b": b"B" * 10})],
    ],
    ids=["first-removed", "second-removed", "first-replaced", "second-replaced", "both"],
)
def test_names_of_a_file_whose_other_names_are_hidden_stay_the_file(above: list[bytes], mode: Mode):
    before = looked(image(NAMED, *above))
    hidden = [(one.number, gone.header.start) for one in before.index.layers for gone in one.hidden]
    for steps in ([step(b"d/z")], [step(b"d/z", drops=tuple(hidden))], [step(b"d/z", b"d/c")]):
        plan = plan_of(before, *steps)
        verdict = compare(before, looked(written(plan, mode)), plan.changes, plan, mode)

        assert () == verdict.faults


def test_a_name_that_leads_to_another_file_is_a_fault():
    before = looked(image(NAMED, layer({"d/a": b"B" * 10})))
    plan = plan_of(before, step(b"d/z"))
    other = layer({"d/a": b"A" * 999}, links={"d/b": "d/a", "d/c": "d/b"})
    after = looked(image(other, layer({"d/a": b"B" * 10})))

    faults = compare(before, after, plan.changes, plan).faults
    sizes = [(one.path, one.lost) for one in faults if "size" in one.lost]

    assert [(b"d/b", lost := "its size is 999, the plan says 1000"), (b"d/c", lost)] == sizes


def test_a_symlink_that_loses_its_target_names_the_file_and_the_step():
    source = image(
        layer({"lib/x.1": b"", "lib/y": b""}, symlinks={"lib/x": "x.1", "lib/gone": "nowhere"})
    )

    (fault,) = broken(source, b"lib/x.1").faults

    assert ("symlink", "lib/x", b"lib/x.1") == (fault.kind, fault.subject, fault.path)
    assert ("rule:target", "/lib/x.1") == (fault.step, fault.keep)
    assert () == broken(source, b"lib/y").faults
    assert () == broken(source, b"lib/x.1", b"lib/x").faults


def test_a_symlink_to_a_folder_that_no_tar_names_still_leads_there():
    source = image(layer({"usr/lib/x": b"", "y": b""}, symlinks={"lib": "usr/lib"}))

    assert () == broken(source, b"y").faults
    assert [("symlink", "lib")] == kinds(broken(source, b"usr/lib/x"))


def test_an_elf_file_that_loses_a_library_names_both_and_the_step():
    source = image(
        layer(
            {
                "usr/lib/libfoo.so.1": elf(soname="libfoo.so.1"),
                "usr/lib/libbar.so": elf("libfoo.so.1", "libnever.so"),
                "opt/z": b"",
            }
        )
    )

    (fault,) = broken(source, b"usr/lib/libfoo.so.1").faults

    assert ("library", "usr/lib/libbar.so") == (fault.kind, fault.subject)
    assert (b"usr/lib/libfoo.so.1", "rule:target") == (fault.path, fault.step)
    assert "libfoo.so.1" in fault.lost
    assert () == broken(source, b"opt/z").faults
    assert () == broken(source, b"usr/lib/libbar.so").faults


def test_what_the_loader_found_by_itself_must_not_need_luck_from_now_on():
    library = elf(soname="libfoo.so.1")
    source = image(
        layer(
            {
                "usr/lib/libfoo.so.1": library,
                "opt/elsewhere/libfoo.so.1": library,
                "usr/lib/libbar.so": elf("libfoo.so.1"),
            }
        )
    )

    assert [("library", "usr/lib/libbar.so")] == kinds(broken(source, b"usr/lib/libfoo.so.1"))
    assert [] == kinds(broken(source, b"opt/elsewhere/libfoo.so.1"))


def test_a_rewritten_elf_file_is_read_again():
    needing = elf("libfoo.so.1")
    files = {"usr/lib/libfoo.so.1": elf(soname="libfoo.so.1"), "usr/lib/libbar.so": needing}
    before = looked(image(layer(files)))
    asks = files | {"usr/lib/libbar.so": elf("libnew.so.1")}
    damaged = files | {"usr/lib/libbar.so": b"\x7fELF" + needing[4:60]}

    assert [] == kinds(compare(before, looked(image(layer(files)))))
    assert [("library", "usr/lib/libbar.so")] == kinds(compare(before, looked(image(layer(asks)))))
    assert [("library", "usr/lib/libbar.so")] == kinds(
        compare(before, looked(image(layer(damaged))))
    )


def test_another_file_in_the_same_place_has_needs_of_its_own():
    files = {
        "usr/lib/libfoo.so.1": elf(soname="libfoo.so.1"),
        "usr/lib/libbar.so": elf("libfoo.so.1"),
    }
    swapped = {"usr/lib/libbar.so": elf(soname="libbar.so")}

    assert [] == kinds(compare(looked(image(layer(files))), looked(image(layer(swapped)))))


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


def test_a_python_distribution_that_loses_a_requirement():
    source = image(layer(distribution("one", "two>=1", "three") | distribution("two")))
    gone = tuple(path.encode() for path in distribution("two"))

    (fault,) = broken(source, *gone).faults

    assert ("requirement", "pip:one 1") == (fault.kind, fault.subject)
    assert "two>=1" in fault.lost
    assert (gone[0], "rule:target") == (fault.path, fault.step)


def test_a_risky_step_whose_aim_it_is_may_take_a_requirement_away():
    source = image(layer(distribution("one", "two") | distribution("two")))
    gone = tuple(path.encode() for path in distribution("two"))

    verdict = broken(source, *gone, safety=Safety.RISKY, action="remove-distribution")

    assert () == verdict.faults
    assert any("as agreed" in note for note in verdict.notes)
    assert 1 == len(broken(source, *gone, safety=Safety.RISKY, action="remove").faults)
    assert 1 == len(broken(source, *gone, action="remove-distribution").faults)


def test_a_debian_package_that_loses_a_dependency():
    def stanza(name: str, depends: str = "") -> str:
        return (
            f"Package: {name}\nStatus: install ok installed\nVersion: 1\nArchitecture: amd64\n"
            f"{depends}\n"
        )

    def status(*stanzas: str) -> dict[str, bytes]:
        return {"var/lib/dpkg/status": "\n".join(stanzas).encode()}

    def files(name: str) -> dict[str, bytes]:
        return {f"var/lib/dpkg/info/{name}.list": f"/opt/{name}\n".encode(), f"opt/{name}": b""}

    one, two = stanza("one", "Depends: two (>= 1)\n"), stanza("two")
    before = looked(image(layer(files("one") | files("two") | status(one, two))))
    after = looked(image(layer(files("one") | status(one))))

    assert [("requirement", "deb:one 1")] == kinds(compare(before, after))
    assert [] == kinds(compare(before, before))


def test_a_record_that_names_what_left_is_a_fault():
    source = image(layer(distribution("one", files=["one.py", "two.py"])))

    (fault,) = broken(source, (SITE + "two.py").encode()).faults

    assert ("record", "pip:one 1", "rule:target") == (fault.kind, fault.subject, fault.step)


def test_without_a_plan_differences_are_told_and_not_judged():
    before = looked(PLAIN)
    after = looked(image(layer({"opt": None, "opt/a": b"other"})))

    verdict = compare(before, after)

    assert verdict.holds
    assert "4 paths left, 0 came, 1 changed" in verdict.notes[0]


# --- run-time, as an engine tells it ----------------------------------------------------------

PYTHON = {"usr/local/bin/python3.11": b"x" * 300, **distribution("one", files=["one.py"])}


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
        said = self.says[what]
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


def tried(engine: Told, trials: Trials, *removes: bytes) -> Verdict:
    extra = {SITE + "two/__init__.py": b"", SITE + "two/tests.py": b"", "usr/lib/libq.so.1": b""}
    before = looked(executable(PYTHON | extra))
    plan = plan_of(before, step(*removes))
    return verify(before, looked(written(plan)), plan, engine=engine, trials=trials)


@pytest.mark.parametrize(
    ("failure", "gone"),
    [
        (
            Outcome("one", "ModuleNotFoundError", "No module named 'two.tests'", "two.tests"),
            SITE + "two/tests.py",
        ),
        (
            Outcome("one", "ImportError", "cannot import name 'tests' from 'two' (x)"),
            SITE + "two/tests.py",
        ),
        (
            Outcome("one", "ImportError", "libq.so.1: cannot open shared object file: No such"),
            "usr/lib/libq.so.1",
        ),
        (
            Outcome("one", "FileNotFoundError", "gone", file="/" + SITE + "two/tests.py"),
            SITE + "two/tests.py",
        ),
        (
            Outcome("one", "RuntimeError", f"cannot read '/{SITE}two/tests.py', sorry"),
            SITE + "two/tests.py",
        ),
    ],
)
def test_a_module_that_does_not_import_any_more_names_file_and_step(failure: Outcome, gone: str):
    engine = Told(probe=[probed(ONE), probed(failure), probed(failure)])

    verdict = tried(engine, Trials(), gone.encode())

    (fault,) = verdict.faults
    assert ("import", "one (one)", "rule:target") == (fault.kind, fault.subject, fault.step)
    assert "/" + gone == fault.keep
    assert {"modules": 1}.items() <= dict(verdict.checked).items()


def test_what_failed_before_is_no_fault_and_is_not_tried_again():
    bad = Outcome("bad", "ImportError", "no GPU")
    engine = Told(probe=[probed(ONE, bad), probed(ONE)])

    verdict = tried(engine, Trials())

    assert () == verdict.faults
    assert ("one",) == engine.asked[1][1].modules  # type: ignore[attr-defined]
    assert any("1 modules do not import in the original either" in one for one in verdict.notes)


def test_a_failure_that_passes_when_it_is_tried_alone_is_no_fault():
    slow = Outcome("one", "timeout", "still busy")
    engine = Told(probe=[probed(ONE), probed(slow), probed(ONE)])

    assert () == tried(engine, Trials()).faults
    assert 2 * Trials().timeout == engine.asked[2][1].timeout  # type: ignore[attr-defined]


def test_a_module_that_a_step_took_away_whole_is_only_noted():
    lost = Outcome("two", "ModuleNotFoundError", "No module named 'two'", "two")
    engine = Told(probe=[probed(ONE, TWO), probed(ONE, lost), probed(lost)])

    verdict = tried(engine, Trials(), (SITE + "two/__init__.py").encode())

    assert () == verdict.faults
    assert "1 modules left with the step rule:target" in verdict.notes


def test_modules_of_a_distribution_that_left_as_a_whole_left_with_it():
    files = distribution("one.name", files=["space/one/a.py"])
    before = looked(executable(PYTHON | files))
    plan = plan_of(before, step(*(path.encode() for path in files)))
    first = Probed("3.11.0", {"space": Outcome("space")}, {}, {"space": "one-name"})
    lost = Outcome("space", "ModuleNotFoundError", "No module named 'space'", "space")
    engine = Told(probe=[first, probed(lost), probed(lost)])

    verdict = verify(before, looked(written(plan)), plan, engine=engine, trials=Trials())

    assert [] == kinds(verdict)
    assert "1 modules left with the step rule:target" in verdict.notes


def test_a_module_that_was_never_reached_is_a_fault():
    engine = Told(probe=[probed(ONE), probed(), probed()])

    assert [("import", "one (one)")] == kinds(tried(engine, Trials()))


def test_an_interpreter_that_breaks_is_one_fault():
    broken = replace(
        probed(), problem="it ended with exit code 127: libq.so.1: cannot open shared object file"
    )
    engine = Told(probe=[probed(ONE), broken])

    (fault,) = tried(engine, Trials(), b"usr/lib/libq.so.1").faults

    assert ("interpreter", "/usr/local/bin/python3.11") == (fault.kind, fault.subject)
    assert b"usr/lib/libq.so.1" == fault.path


def test_an_interpreter_that_is_gone_is_a_fault_unless_a_step_took_it():
    engine = Told(probe=[])

    verdict = tried(engine, Trials(), b"usr/local/bin/python3.11")

    assert () == verdict.faults
    assert any("left with the step rule:target" in note for note in verdict.notes)
    before = looked(executable(PYTHON))
    after = looked(image(layer({"x": b""})))
    assert ("interpreter", "/usr/local/bin/python3.11") in kinds(
        verify(before, after, engine=engine)
    )


def test_libraries_that_load_no_more_name_themselves():
    path = "/usr/lib/libq.so.1"
    bad = Outcome(path, "OSError", f"{path}: undefined symbol: q")
    engine = Told(
        probe=[
            probed(libraries=[Outcome(path)]),
            probed(libraries=[bad]),
            probed(libraries=[bad]),
        ]
    )

    (fault,) = tried(engine, Trials(libraries="all")).faults

    assert ("load", path, b"usr/lib/libq.so.1") == (fault.kind, fault.subject, fault.path)
    assert (path,) == engine.asked[0][1].libraries  # type: ignore[attr-defined]


NOTHING = Trials(imports=False, libraries="none", health=False)


def ran(*says: Finished, removes: tuple[bytes, ...] = ()) -> Verdict:
    return tried(Told(run=list(says)), replace(NOTHING, runs=("go",)), *removes)


def test_a_command_must_end_with_the_same_exit_code():
    gone = b"No module named 'two.tests'"

    (fault,) = ran(
        Finished(0), Finished(1, b"", b"..\n" + gone), removes=((SITE + "two/tests.py").encode(),)
    ).faults

    assert "exit code 0 before, exit code 1 after: No module named 'two.tests'" == fault.lost
    assert ("command", "go", "rule:target") == (fault.kind, fault.subject, fault.step)
    assert () == ran(Finished(3, b"x"), Finished(3, b"x")).faults


def test_a_command_must_say_the_same_where_it_does_so_on_every_run():
    one, two = Finished(0, b"a\n7 files"), Finished(0, b"a\n8 files")

    assert ["stdout differs in line 2: '7 files' before, '8 files' after"] == [
        fault.lost for fault in ran(one, two, one).faults
    ]
    assert () == ran(one, two, Finished(0, b"a\n9 files")).faults
    assert [] != [
        fault.lost for fault in ran(Finished(0), Finished(0, b"", b"!"), Finished(0)).faults
    ]


def test_a_command_that_does_not_end_in_the_original_proves_nothing():
    with pytest.raises(TrialError, match="does not end in the original"):
        ran(Finished(None))
    assert (
        "exit code 0 before, ran out of time after"
        in ran(Finished(0), Finished(None)).faults[0].lost
    )


ASKED = replace(NOTHING, requests=(Request(80, "/x"),))


def served(*says: Served, trials: Trials = ASKED) -> Verdict:
    return tried(Told(serve=list(says)), trials)


def test_a_service_must_answer_the_same():
    well = Served((Answer(200, b'{"ok": 1}', "application/json"),))

    def lost(*says: Served) -> list[str]:
        return [fault.lost for fault in served(*says).faults]

    assert [] == lost(well, well)
    assert ["status 200 before, 500 after: oh"] == lost(well, Served((Answer(500, b"oh"),)))
    assert ["status 200 before, no answer after"] == lost(well, Served((Answer(0),)))
    other = Served((Answer(200, b"{}", "application/json"),))
    assert 1 == len(lost(well, other, well))
    assert [] == lost(well, other, other)  # it answers differently by itself
    ended = Served((Answer(0),), code=1, log="Traceback\nImportError: no")
    assert ["ended with exit code 1: ImportError: no"] == lost(well, ended)


def test_a_service_may_tell_another_version_of_itself_after_a_swap():
    before = looked(executable(PYTHON))
    path = (SITE + "new.py").encode()
    header = next(iter(before.index.visible.values()))._replace(
        path=path, kind="file", size=0, stored=0, link=b""
    )
    plan = plan_of(before, step(additions=(Addition(0, header),)))
    was = Served((Answer(200, b'"2.0+cu130"', "application/json"),))
    now = Served((Answer(200, b'"2.0+cpu"', "application/json"),))
    broken = Served((Answer(500, b"oh"),))

    def judged(after: Served) -> Verdict:
        engine = Told(serve=[was, after])
        return verify(before, looked(written(plan)), plan, engine=engine, trials=ASKED)

    assert [] == kinds(judged(now))
    assert any("a swap may change what a program tells" in note for note in judged(now).notes)
    assert [("answer", "GET :80/x")] == kinds(judged(broken))


def test_an_original_that_does_not_answer_proves_nothing():
    with pytest.raises(TrialError, match="does not answer GET :80/x within"):
        served(Served((Answer(0),), code=3))


def test_a_health_check_that_fails_only_after_is_a_fault():
    trials = replace(NOTHING, health=True)
    source = image(layer({"x": b""}), runtime={"Healthcheck": {"Test": ["CMD", "true"]}})

    def judged(*says: bool) -> Verdict:
        engine = Told(serve=[Served(healthy=healthy) for healthy in says])
        return verify(looked(source), looked(source), engine=engine, trials=trials)

    assert () == judged(True, True).faults
    assert [("health", "the HEALTHCHECK")] == kinds(judged(True, False))
    assert "it was not compared" in judged(False).notes[-1]


def test_requests_are_read_with_care():
    assert Request(8000, "/health") == Request.parse("8000/health")
    assert Request(80, "/") == Request.parse(":80")
    for text in ("health", "0/x", "70000/x", "80x", ""):
        with pytest.raises(TrialError):
            Request.parse(text)


def test_what_differs_on_every_run_is_not_compared():
    def one(address: str, time: str, name: str) -> bytes:
        return f"<object at {address}> at {time} in 0.{address[-2:]}s {name} v1.2".encode()

    first = one("0x7f0011223344", "2026-01-02T03:04:05.678Z", "/tmp/tmpab12cd34")
    assert normal(first) == normal(one("0x7f0055667788", "2026-01-02 13:14:15", "/tmp/tmpzz99yy88"))
    assert normal(b"version 1.2") != normal(b"version 1.3")


def test_interpreters_are_found_once_each_and_the_one_on_path_first():
    program = b"x" * 300
    source = executable(
        {
            "usr/bin/python3.9": program,
            "usr/local/bin/python3.11": program,
            "usr/local/bin/python3.11-config": program,
            "opt/venv/pyvenv.cfg": b"",
            "usr/bin/python2": program,
            "usr/local/lib/bin/python3": b"#!/bin/sh\nexec python3.11",
        },
        symlinks={
            "usr/bin/python3": "python3.9",
            "usr/local/bin/python": "python3.11",
            "opt/venv/bin/python": "/usr/local/bin/python",
            "opt/venv/bin/python3": "python",
            "opt/old/bin/python": "/nowhere",
        },
    )
    raw = json.loads(source.config.raw)
    raw["config"] = {"Env": ["PATH=/usr/local/bin:/usr/bin"]}
    source = replace(source, config=Config.parse(json.dumps(raw).encode()))

    found = interpreters(looked(source).index)

    assert ("/usr/local/bin/python", "/usr/bin/python3", "/opt/venv/bin/python") == found


def test_the_shortest_source_is_the_likeliest_culprit():
    before = looked(
        image(layer({"a/x/tests.py": b"", "a/b/x/tests/__init__.py": b"", "a/x/lib.so.1": b""}))
    )
    culprits = Culprits.of(before.index, looked(image(layer({"y": b""}))).index)

    assert b"a/x/tests.py" == culprits.module("x.tests")
    assert b"a/x/lib.so.1" == culprits.library("lib.so.1")
    assert culprits.module("other") is None


# --- what runs inside a container -------------------------------------------------------------

DRIVER = resources.files("slimmer.stores.engine").joinpath("probe.py").read_text()


def test_the_driver_is_python_3_6():
    ast.parse(DRIVER, feature_version=(3, 6))


def drive(tmp_path: Path, request: dict[str, object]) -> list[dict[str, object]]:
    told = {"modules": None, "deep": [], "libraries": [], "workers": 2, "timeout": 20, "limit": 60}
    (tmp_path / "request.json").write_text(json.dumps(told | request))
    (tmp_path / "inside.py").write_text(DRIVER)
    start = f"REQUEST = '{tmp_path}/request.json'; exec(open('{tmp_path}/inside.py').read())"
    ran = subprocess.run(
        [sys.executable, "-S", "-c", start],
        capture_output=True,
        check=True,
        timeout=60,
        env={"PYTHONPATH": str(tmp_path)},
    )
    lines = [json.loads(line) for line in ran.stdout.splitlines()]
    assert "end" == lines[-1]["is"]
    return lines


def test_each_module_is_tried_by_itself_whatever_the_others_do(tmp_path: Path):
    sources = {
        "well": "print('noise')",
        "aborts": "import os, sys; sys.stderr.write('alas\\n'); sys.stderr.flush(); os.abort()",
        "hangs": "import time; time.sleep(60)",
        "leaves": "raise SystemExit(3)",
        "misses": "import well.tests",
        "opens": "open('/nowhere/at/all')",
        "forks": "import os, time\nif os.fork() == 0:\n    time.sleep(60)",
    }
    for name, source in sources.items():
        (tmp_path / f"{name}.py").write_text(source)

    lines = drive(
        tmp_path,
        {
            "modules": {"single": list(sources), "several": ["well", "hangs", "leaves"]},
            "timeout": 2,
        },
    )

    found = {str(line["name"]): line for line in lines if line["is"] == "module"}
    assert {
        "well": "",
        "aborts": "killed",
        "hangs": "timeout",
        "leaves": "SystemExit",
        "misses": "ModuleNotFoundError",
        "opens": "FileNotFoundError",
        "forks": "",
    } == {name: line["error"] for name, line in found.items()}
    assert "signal 6: alas" == found["aborts"]["message"]
    assert "well.tests" == found["misses"]["module"]
    assert "/nowhere/at/all" == found["opens"]["file"]
    assert str(tmp_path / "well.py") == found["well"]["origin"]
    assert 10 == sum(line["is"] == "module" for line in lines)


def test_a_process_that_a_module_leaves_behind_is_not_waited_for(tmp_path: Path):
    (tmp_path / "forks.py").write_text("import os, time\nif os.fork() == 0:\n    time.sleep(60)")
    begun = time.monotonic()

    drive(tmp_path, {"modules": {"single": ["forks"], "several": []}, "timeout": 40})

    assert time.monotonic() - begun < 20


def test_top_level_modules_come_from_records(tmp_path: Path):
    def put(name: str, *files: str, top: str = "") -> None:
        folder = tmp_path / f"{name}-1.0.dist-info"
        folder.mkdir()
        (folder / "RECORD").write_text("".join(f"{path},sha256=x,1\n" for path in files))
        if top:
            (folder / "top_level.txt").write_text(top)

    put("plain", "plain/__init__.py", "plain/sub.py", "plain/data/x.py", "../../bin/plain")
    put("My.Native", "_native.cpython-311-x86_64-linux-gnu.so", "mod.py", "mod-stubs/__init__.pyi")
    put("space", "ns/one/__init__.py", "ns/two/__init__.py", "ns/two/deep.py")
    put("bare", "ns2/mod.py")
    put("named", top="wanted\n_also\n")

    (first, *_) = drive(tmp_path, {"deep": ["plain"]})

    assert {
        "plain": "plain",
        "_native": "my-native",
        "mod": "my-native",
        "ns.one": "space",
        "ns.two": "space",
        "ns2.mod": "bare",
        "wanted": "named",
        "_also": "named",
        "plain.sub": "plain",
        "plain.data.x": "plain",
    } == first["modules"]
    assert ["plain.data.x", "plain.sub"] == first["several"]


def test_a_library_is_loaded_as_dlopen_does(tmp_path: Path):
    lines = drive(
        tmp_path,
        {"modules": {"single": [], "several": []}, "libraries": ["libc.so.6", "/nowhere/lib.so"]},
    )

    found = {line["name"]: line for line in lines if line["is"] == "library"}
    assert "" == found["libc.so.6"]["error"]
    assert "cannot open shared object file" in str(found["/nowhere/lib.so"]["message"])


# --- the command ------------------------------------------------------------------------------


def test_the_command_says_what_is_worse_and_exits_with_1(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(cli, "COMMANDS", tuple(dict.fromkeys((*cli.COMMANDS, "verify"))))
    before = oci([layer({"lib/x.1": b""}, symlinks={"lib/\x1bx": "x.1"})], str(tmp_path / "before"))
    after = oci([layer({"y": b""}, symlinks={"lib/\x1bx": "x.1"})], str(tmp_path / "after"))
    arguments = ["--static", "--no-cache", "--contents"]

    assert 1 == main(["verify", before, after, *arguments])
    out = capsys.readouterr().out
    assert "lib/\\x1bx: leads to lib/x.1, which left" in out
    assert "\x1b" not in out
    assert 1 == main(["verify", before, after, *arguments, "--format", "json"])
    fields = json.loads(capsys.readouterr().out)
    assert (1, False) == (fields["schema_version"], fields["holds"])
    assert ["symlink"] == [fault["kind"] for fault in fields["faults"]]
    assert 0 == main(["verify", before, before, *arguments])
    assert "nothing is worse than before" in capsys.readouterr().out
    assert 2 == main(["verify", before, str(tmp_path / "no.tar"), *arguments])
    assert 2 == main(["verify", before, after, "--http", "nonsense"])
