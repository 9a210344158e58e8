"""Laws 3 and 4 on written images."""

from __future__ import annotations

import tarfile
from typing import TYPE_CHECKING

import pytest
from proofs import altered, compared, image, kinds, looked, plan_of, step, written
from tiny import layer

from slimmer.plan.steps import Rewrite
from slimmer.proof.verify import verify
from slimmer.splice import Copy, Splice

if TYPE_CHECKING:
    from collections.abc import Callable

    from slimmer.image import Image
    from slimmer.rewrite import Mode

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
        "paths": 6,
        "untouched layers": 1,
        "layers": 2,
        "config fields": 14,
        "symlinks": 1,
        "contents": 3,
    } == dict(verdict.checked)


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

    verdict = compared(before, looked(altered(written(plan), _set(**fields))), plan)

    faults = [fault for fault in verdict.faults if fault.kind == "unplanned"]
    assert any(one.subject == "opt/a" and one.lost.startswith(f"its {lost} is") for one in faults)


def test_what_is_missing_or_left_or_new_is_a_fault():
    before = looked(PLAIN)
    plan = plan_of(before, step(b"opt/b"))
    after = image(
        layer({"opt": None, "opt/b": b"b" * 20, "new": b""}), layer({}, symlinks={"srv/e": "d"})
    )

    faults = compared(before, looked(after), plan).faults

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

    assert ("layer", "layer 1") in kinds(compared(before, looked(same), plan))
    assert () == compared(before, looked(after), plan).faults


def test_a_config_that_was_not_carried_over_is_a_fault():
    one = image(layer({"a": b""}), runtime={"Env": ["A=1"], "Cmd": ["x"], "Labels": {"l": "1"}})
    two = image(layer({"a": b""}), runtime={"Env": ["A=2"], "Cmd": ["y"]})
    before = looked(one)
    plan = plan_of(before)

    assert [("config", "environment"), ("config", "command"), ("config", "label l")] == kinds(
        compared(before, looked(two), plan), "config"
    )


def test_other_bytes_of_the_same_size_are_found_by_their_contents():
    before = looked(PLAIN)
    plan = plan_of(before, step(b"opt/b"))
    tar = layer({"opt": None, "opt/a": b"A" * 10}, links={"opt/c": "opt/a"})
    good = written(plan)
    bad = image(tar, PLAIN.layers[1].content.tar)  # type: ignore[attr-defined]

    def judged(after: Image) -> list[tuple[str, str]]:
        return kinds(verify(before, looked(after), plan, contents=True))

    assert [] == judged(good)
    assert [("content", "opt/a"), ("content", "opt/c")] == judged(bad)


def test_planned_new_contents_are_no_fault_and_their_size_is_held():
    before = looked(PLAIN)
    rewrite = Rewrite(b"opt/a", Splice((Copy(0, 4),)), 10)
    plan = plan_of(before, step(rewrites=(rewrite,)))
    after = written(plan)

    assert () == verify(before, looked(after), plan, contents=True).faults
    wrong = altered(after, _set(size=5))
    assert ("unplanned", "opt/a") in kinds(compared(before, looked(wrong), plan))


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
        verdict = compared(before, looked(written(plan, mode)), plan, mode)

        assert () == verdict.faults


def test_a_name_that_leads_to_another_file_is_a_fault():
    before = looked(image(NAMED, layer({"d/a": b"B" * 10})))
    plan = plan_of(before, step(b"d/z"))
    other = layer({"d/a": b"A" * 999}, links={"d/b": "d/a", "d/c": "d/b"})
    after = looked(image(other, layer({"d/a": b"B" * 10})))

    faults = compared(before, after, plan).faults
    sizes = [(one.path, one.lost) for one in faults if "size" in one.lost]

    assert [(b"d/b", lost := "its size is 999, the plan says 1000"), (b"d/c", lost)] == sizes


def test_a_file_that_is_written_anew_and_becomes_another_name_of_its_twin_is_as_planned():
    before = looked(image(layer({"d/a": b"a" * 900, "d/b": b"a" * 900, "z": b"z"})))
    shorter = Splice((Copy(0, 400),))
    rewrites = tuple(Rewrite(path, shorter, 900) for path in (b"d/a", b"d/b"))
    plan = plan_of(before, step(rewrites=rewrites), step(twins=((b"d/a", b"d/b"),), target="twins"))

    verdict = verify(before, looked(written(plan)), plan)

    assert () == verdict.faults
    assert 2 == dict(verdict.checked)["rewritten"]


def test_a_result_that_names_its_plan_says_so_where_none_is_given():
    before = looked(PLAIN)
    plan = plan_of(before, step(b"opt/b"))

    verdict = verify(before, looked(written(plan)))

    assert [("lost", "opt/b")] == kinds(verdict)
    assert any(plan.digest[:19] in note for note in verdict.notes)
