"""What a session tells while it works."""

from __future__ import annotations

from slimmer.app.events import Idle, Note, Progress, Reporter


def test_nothing_is_done_any_more_only_once_the_outermost_piece_of_work_is_over():
    told: list[object] = []
    reporter = Reporter(told.append)
    with reporter.working():
        with reporter.working():
            reporter.stage("inner")(1, 2)
        reporter.stage("outer", "bytes")

    assert [
        Progress("inner"),
        Progress("inner", 1, 2),
        Progress("outer", unit="bytes"),
        Idle(),
    ] == told


def test_work_that_fails_is_over_too():
    told: list[object] = []
    reporter = Reporter(told.append)
    try:
        with reporter.working():
            raise ValueError
    except ValueError:
        reporter.notes("one", "two")

    assert [Idle(), Note("one"), Note("two")] == told


def test_a_total_of_nothing_is_one_that_nobody_knows():
    told: list[object] = []
    reporter = Reporter(told.append)
    reporter.step("importing", 3, 0)
    reporter.step("importing", 3, 9)

    assert [Progress("importing"), Progress("importing", 3, 9)] == told
