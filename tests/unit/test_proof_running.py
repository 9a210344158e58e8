"""Both images at work, by an engine that is told what to say."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from proofs import (
    ONE,
    PYTHON,
    SITE,
    TWO,
    Told,
    distribution,
    executable,
    image,
    kinds,
    looked,
    plan_of,
    probed,
    step,
    written,
)
from tiny import layer

from slimmer.edits.layer_edit import Addition
from slimmer.image import Config
from slimmer.proof.loading import interpreters
from slimmer.proof.losses import Losses
from slimmer.proof.outputs import normal
from slimmer.proof.trials import (
    Answer,
    Finished,
    Outcome,
    Probed,
    Request,
    Served,
    TrialError,
    Trials,
)
from slimmer.proof.verify import verify

if TYPE_CHECKING:
    from slimmer.proof.faults import Verdict


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


NOTHING = Trials(imports=False, libraries="none", health=False, start=False)


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
    assert ["ended with exit code 1: ImportError: no"] == lost(well, ended, well)


STARTS = replace(NOTHING, start=True)


def ended(code: int | None, said: bytes = b"") -> Served:
    return Served((), code=code, stdout=said, log=said.decode())


def start_of(*says: Served) -> tuple[list[str], tuple[str, ...]]:
    """What is wrong with the result's own start, and what is noted."""
    source = executable(PYTHON)
    raw = json.loads(source.config.raw)
    raw["config"] = {"Cmd": ["/usr/local/bin/python3.11"]}
    facts = looked(replace(source, config=Config.parse(json.dumps(raw).encode())))
    engine = Told(serve=list(says))
    verdict = verify(facts, facts, engine=engine, trials=STARTS)
    return [fault.lost for fault in verdict.faults], verdict.notes


def test_the_images_own_start_must_be_alike():
    alive = ended(None)

    assert [] == start_of(alive, alive)[0]
    assert [] == start_of(ended(0, b"a"), ended(0, b"a"))[0]
    assert ["ended with exit code 1: oh"] == start_of(alive, ended(1, b"oh"), alive)[0]
    assert ["exit code 0 before, exit code 2 after: oh"] == (
        start_of(ended(0), ended(2, b"oh"), ended(0))[0]
    )
    assert 1 == len(start_of(ended(0, b"a"), ended(0, b"b"), ended(0, b"a"))[0])
    goes_on = "ended with exit code 0 before, goes on after"
    assert [goes_on] == start_of(ended(0), alive, ended(0), alive)[0]


def test_what_differs_between_two_starts_of_the_original_is_no_fault():
    assert [] == start_of(ended(0, b"a"), ended(0, b"b"), ended(0, b"c"))[0]
    assert [] == start_of(ended(3), ended(4), ended(5))[0]
    assert [] == start_of(ended(None), ended(0, b"a"), ended(0, b"a"))[0]  # slow, the first time
    assert [] == start_of(ended(0), ended(None), ended(0), ended(0))[0]


def test_a_start_that_the_engine_refuses_is_a_fault_only_where_it_did_not_before():
    refused = Served((), None, 126, refused='exec: "/nope": no such file or directory')

    (lost,) = start_of(ended(None), refused)[0]
    assert lost.startswith('does not start any more: exec: "/nope"')
    assert any("does not start here" in note for note in start_of(refused)[1])


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
    losses = Losses.of(before.index, looked(image(layer({"y": b""}))).index)

    assert b"a/x/tests.py" == losses.module("x.tests")
    assert b"a/x/lib.so.1" == losses.library("lib.so.1")
    assert losses.module("other") is None
