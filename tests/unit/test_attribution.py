"""Whose claim holds: by name, by tree, by layer; and what is kept of the others."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tiny import image, layer

from slimmer.attribution import UNOWNED, Attribution, Claim, Owner
from slimmer.categories import Category
from slimmer.elf.contents import Binary
from slimmer.evidence import Evidence
from slimmer.index import Index

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

A, B, CACHE = Owner("pip", "a", "1"), Owner("deb", "b"), Owner("cache", "c")


@dataclass(frozen=True)
class Says:
    """A rule that claims what the test says."""

    said: tuple[Claim, ...]
    globs: Sequence[tuple[str, int]] = field(default=())

    def claims(self, index: Index) -> Iterator[Claim]:
        yield from self.said


def ledger(
    *claims: Claim, tars: Sequence[bytes], binaries: dict[bytes, Binary] | None = None
) -> Attribution:
    return Attribution.of(Index.scan(image(*tars), Evidence([])), [Says(claims)], binaries)


def test_a_claim_by_name_beats_every_tree_and_the_deepest_tree_wins():
    held = ledger(
        Claim(B, "tree", trees=(b"", b"d/e")),
        Claim(A, "name", files=(b"d/e/f",)),
        Claim(CACHE, "deeper", trees=(b"d",)),
        tars=[layer({"d/e/f": b"1", "d/e/g": b"2", "d/h": b"3", "i": b"4"})],
    )

    assert (A, B, CACHE, B) == tuple(map(held.owner, (b"d/e/f", b"d/e/g", b"d/h", b"i")))


def test_the_first_of_two_names_holds_and_the_other_is_kept_as_a_dispute():
    first, second = Claim(B, "one", files=(b"f",)), Claim(A, "two", files=(b"f", b"gone"))
    held = ledger(first, second, tars=[layer({"f": b"1"})])

    assert B == held.owner(b"f")
    assert [(b"f", first, (second,))] == [(d.path, d.kept, d.refused) for d in held.disputes]


def test_one_owner_that_names_a_file_twice_has_no_dispute():
    held = ledger(
        Claim(A, "one", files=(b"f",)), Claim(A, "two", files=(b"f",)), tars=[layer({"f": b"1"})]
    )

    assert () == held.disputes


def test_a_layer_s_owner_holds_what_nobody_else_speaks_for():
    held = ledger(
        Claim(A, "layer", layers=(1,)),
        Claim(B, "tree", trees=(b"d",)),
        tars=[layer({"x": b"1"}), layer({"d/y": b"2", "z": b"3"})],
    )

    assert (UNOWNED, B, A) == tuple(map(held.owner, (b"x", b"d/y", b"z")))


def test_a_tree_of_nobody_leaves_its_files_to_the_layer():
    held = ledger(
        Claim(B, "library", trees=(b"lib",)),
        Claim(UNOWNED, "no record", trees=(b"lib/site",)),
        Claim(A, "layer", layers=(1,)),
        tars=[layer({"lib/site/x": b"1"}), layer({"lib/site/y": b"2"})],
    )

    assert (UNOWNED, A) == tuple(map(held.owner, (b"lib/site/x", b"lib/site/y")))


def test_bytes_of_a_file_linked_from_a_cache_are_put_on_who_needs_them():
    held = ledger(
        Claim(CACHE, "cache", trees=(b"cache",)),
        Claim(A, "name", files=(b"site/f",)),
        tars=[layer({"cache/f": b"1234"}, links={"site/f": "cache/f"})],
    )

    assert (0, 4) == (held.size_of[b"cache/f"], held.size_of[b"site/f"])


def test_a_cache_s_files_are_caches_but_weights_stay_weights():
    held = ledger(
        Claim(CACHE, "cache", trees=(b"c",)),
        tars=[layer({"c/a.py": b"1", "c/b.safetensors": b"2"})],
    )

    assert Category.CACHES is held.category_of[b"c/a.py"]
    assert Category.MODELS is held.category_of[b"c/b.safetensors"]


def test_a_file_s_inside_splits_its_bytes_and_never_makes_more_of_them():
    held = ledger(
        tars=[layer({"a.so": b"x" * 10, "tests/b.so": b"x" * 10})],
        binaries={
            b"a.so": Binary({"sm_90": 4, "sm_80": 3}, 2),
            b"tests/b.so": Binary({"sm_90": 99}, 99),
        },
    )

    assert {Category.DEVICE_CODE: 7, Category.DEBUG: 2, Category.NATIVE: 1} == dict(
        held.categories(b"a.so")
    )
    assert [(Category.TESTS, 10)] == list(held.categories(b"tests/b.so"))


def test_owners_are_printed_with_kind_name_and_version():
    assert ("pip:a 1", "deb:b", "python 3.11", "unowned") == tuple(
        map(str, (A, B, Owner("python", "", "3.11"), UNOWNED))
    )
