"""What several steps do together."""

from __future__ import annotations

from systems import facts

from slimmer.plan.combining import settle, without_overlap
from slimmer.plan.steps import Rewrite, Step
from slimmer.policy import Safety
from slimmer.splice import Copy, Literal, Splice

FILES = {"a": b"0123456789", "b": b"x" * 20}


def step(name: str, safety: Safety = Safety.SAFE, **fields: object) -> Step:
    return Step("r", "remove", name, safety, "w", **fields)  # type: ignore[arg-type]


def test_a_path_is_counted_for_the_least_risky_step_that_takes_it():
    bold = step("bold", Safety.RISKY, removes=(b"a", b"b"), unpacked=30, rootfs=30, disturbs=30)
    meek = step("meek", removes=(b"a",), unpacked=10, rootfs=10, disturbs=10)
    found = without_overlap(facts(FILES), [bold, meek])

    assert [("meek", (b"a",), 10), ("bold", (b"b",), 20)] == [
        (one.target, one.removes, one.unpacked) for one in found
    ]


def test_a_step_of_which_nothing_is_left_is_no_step():
    twice = [step(name, removes=(b"a",), unpacked=10, rootfs=10) for name in ("one", "two")]

    assert ["one"] == [one.target for one in without_overlap(facts(FILES), twice)]


def shortened(read, size):  # type: ignore[no-untyped-def]
    """The file without its first byte."""
    return Splice.of((Copy(1, size - 1),))


def test_the_second_rewrite_of_a_file_works_on_what_the_first_one_made():
    rewrite = Rewrite(b"a", shortened(None, 10), 10, shortened)
    image = facts(FILES)
    changes = settle(
        image, [step("one", rewrites=(rewrite,)), step("two", rewrites=(rewrite,))], ()
    )

    assert 8 == changes.after.visible[b"a"].size
    assert 28 == changes.after.rootfs


def test_records_are_settled_with_what_left_and_never_twice():
    told: list[frozenset[bytes]] = []

    def keeper(image, removed, splices):  # type: ignore[no-untyped-def]
        told.append(removed)
        yield Rewrite(b"b", Splice.of((Literal(b"new"),)), 20)

    changes = settle(facts(FILES), [step("one", removes=(b"a",))], (keeper, keeper))

    assert [frozenset({b"a"})] * 2 == told
    assert 3 == changes.after.visible[b"b"].size
