"""What an image says of the steps that made it."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from proofs import image, looked, plan_of, step, written
from thorough import examples
from tiny import layer

from slimmer.plan.record import LIMIT, Record, RecordedStep, RecordError, path_of
from slimmer.policy import Safety
from slimmer.proof.losses import Losses
from slimmer.rewrite import RECORD_LABEL


def test_a_written_image_tells_what_left_it_and_why():
    before = looked(image(layer({"d/x/a": b"a", "d/x/b": b"b", "d/y": b"y", "z": b"z"})))
    plan = plan_of(before, step(b"d/x/a", b"d/x/b", evidence="seen"), step(b"z", target="other"))

    label = dict(written(plan).config.labels)[RECORD_LABEL]

    losses = Losses.recorded(Record.parse(label, "label"))
    reason = losses.reason(losses.gone("/d/x/a"))
    assert reason is not None
    assert ("rule:target", "why", "seen") == (reason.id, reason.why, reason.evidence)
    assert "rule:other" == losses.reason(b"z").id  # type: ignore[union-attr]
    assert losses.gone("/d/y") is None


def test_a_folder_that_left_whole_is_one_name():
    before = looked(image(layer({"d": None, "d/x": None, "d/x/a": b"a", "d/y": b"y"})))

    (told,) = Record.of(plan_of(before, step(b"d/x/a"))).steps

    assert ("d/x/",) == told.removes
    assert (b"d/x", "whole") == path_of("d/x/")


def test_a_plan_file_tells_the_same():
    before = looked(image(layer({"a": b"a", "b": b"b"})))
    plan = plan_of(before, step(b"a", evidence="seen"))

    assert Record.of(plan) == Record.parse(plan.to_json(), "plan.json")


def steps(count: int, names: int) -> tuple[RecordedStep, ...]:
    return tuple(
        RecordedStep(
            *("rule", f"target-{number}", "remove", Safety.SAFE, "why", "evidence " * 5),
            tuple(f"usr/lib/{number}/very/deep/folder/{name}.txt" for name in range(names)),
        )
        for number in range(count)
    )


@given(st.integers(0, 1500), st.integers(0, 40))
@settings(max_examples=examples(100), deadline=None)
def test_a_label_is_bounded_and_can_be_read(count: int, names: int):
    record = Record(steps(count, names))

    label = record.label()

    assert len(label) <= LIMIT
    read = Record.parse(label, "label").steps
    assert [one.id for one in read] == [one.id for one in record.steps[: len(read)]]
    assert len(read) == count or count > 500


def test_many_names_are_told_by_their_folders():
    losses = Losses.recorded(Record.parse(Record(steps(20, 500)).label(), "label"))

    path = losses.gone("/usr/lib/7/very/deep/folder/3.txt")

    assert path is not None
    assert not losses.certain(path)
    assert "rule:target-7" == losses.reason(path).id  # type: ignore[union-attr]


@pytest.mark.parametrize("text", ["", "[]", "{", "null", '{"version": 2}', "[" * 100_000])
def test_what_is_no_record_is_refused(text: str):
    with pytest.raises(RecordError):
        Record.parse(text, "x")


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=6,
)


@given(st.lists(json_values), st.lists(json_values))
@settings(max_examples=examples(300), deadline=None)
def test_a_strangers_label_is_an_error_at_worst(rules: list[object], told: list[object]):
    text = json.dumps({"version": 1, "rules": rules, "steps": told})

    if told:
        with pytest.raises(RecordError):
            Record.parse(text, "label")
