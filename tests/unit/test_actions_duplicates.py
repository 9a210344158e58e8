"""Identical files of one layer become one file, where nobody can tell the difference."""

from __future__ import annotations

import io
import tarfile
from typing import TYPE_CHECKING

import pytest
from systems import facts, facts_of, planned, proposed, system
from tiny import image, layer
from unpacked import Tree

from slimmer.actions.duplicates import LinkDuplicates
from slimmer.edits.changes import Changes
from slimmer.image import Digest
from slimmer.plan.budget import PlanError
from slimmer.plan.protection import Protection
from slimmer.policy import ActionName, Globs, Rule, Safety, Selector
from slimmer.rewrite import rewritten

if TYPE_CHECKING:
    from collections.abc import Mapping

BIG = b"s" * 20000


def rule(**match: object) -> Rule:
    return Rule("d", ActionName.LINK_DUPLICATES, Safety.SAFE, "w", Selector(**match))  # type: ignore[arg-type]


def test_files_with_the_same_bytes_become_one():
    files = {"opt/a": BIG, "opt/b": BIG, "opt/c": BIG[:-1] + b"t", "opt/small1": b"s"}
    [step], _ = proposed(LinkDuplicates(), facts({**files, "opt/small2": b"s"}), rule())

    assert ((b"opt/a", b"opt/b"),) == step.twins
    assert (20000, 20000) == (step.unpacked, step.rootfs)


def test_what_differs_in_its_first_or_last_byte_alone_is_not_joined():
    files = {"a": BIG, "b": b"t" + BIG[1:], "c": BIG[:-1] + b"t"}

    assert [] == proposed(LinkDuplicates(), facts(files), rule())[0]


def test_files_of_two_layers_are_not_joined():
    both = facts_of(image(layer({"a": BIG}), layer({"b": BIG})))

    assert [] == proposed(LinkDuplicates(), both, rule())[0]


def test_what_the_policy_keeps_is_not_joined():
    held = system({"a": BIG, "b": BIG, "c": BIG}, keep=["/b"])
    [step], _ = proposed(LinkDuplicates(), held, rule())

    assert ((b"a", b"c"),) == step.twins
    few = rule(paths=Globs(["/a"]))
    assert [] == proposed(LinkDuplicates(), held, few)[0]


def test_a_plan_is_held_to_the_files_being_the_same():
    image = facts({"a": BIG, "b": BIG, "c": BIG[:-1] + b"t"})
    [step] = planned(image, LinkDuplicates(), rule()).steps
    forged = type(step)(**{name: getattr(step, name) for name in step.__slots__} | {
        "twins": ((b"a", b"c"),)
    })  # fmt: skip

    assert step == LinkDuplicates().restore(image, Protection(image), step)
    with pytest.raises(PlanError, match="not the same"):
        LinkDuplicates().restore(image, Protection(image), forged)


def tar(**second: object) -> bytes:
    """Two files of the same content; `second` are fields in which the other one differs."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as opened:
        for name in ("one", "two"):
            member = tarfile.TarInfo(name)
            member.size, member.mode, member.mtime = 20_000, 0o644, 1_700_000_000
            for key, value in second.items() if name == "two" else ():
                setattr(member, key, value)
            opened.addfile(member, io.BytesIO(b"s" * 20_000))
    return buffer.getvalue()


def written(source: bytes) -> Mapping[bytes, tuple[object, ...]]:
    """What an unpacker makes of an image whose identical files were joined."""
    found = facts_of(image(source))
    twins = [twin for step in proposed(LinkDuplicates(), found, rule())[0] for twin in step.twins]
    draft = rewritten(found.index.image, Changes.of(found.index, twins=twins), Digest.of(b""), "x")
    return Tree(b"".join(layer.chunks()) for layer in draft.layers).rows()


def test_files_that_agree_in_all_become_one():
    assert ("one", "two") == written(tar())[b"two"][-1]


@pytest.mark.parametrize(
    "second",
    [
        {"mtime": 1_700_000_001},
        {"pax_headers": {"mtime": "1700000000.5"}},
        {"mode": 0o600},
        {"uid": 1},
        {"gid": 1},
        {"pax_headers": {"SCHILY.xattr.user.note": "x"}},
    ],
)
def test_a_file_of_another_time_mode_owner_or_attribute_stays_as_it_is(second: dict[str, object]):
    source = tar(**second)

    assert Tree([source]).rows() == written(source)
