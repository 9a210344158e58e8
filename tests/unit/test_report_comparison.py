"""What changed between two images, and what a saved report cannot tell."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import gated
import golden
import jsonschema
import pytest
from gated import BEFORE, HOSTILE, MB, REPORT, hostile, rendered, schema

from slimmer.formats import comparison as changes
from slimmer.formats.console import Display
from slimmer.formats.tables import BY
from slimmer.report.comparison import Change, Comparison
from slimmer.report.report import DIRECTORIES
from slimmer.report.rows import DirectoryRow, OwnerRow

COMPARISON = Comparison.of(BEFORE, REPORT)


def owner(name: str, version: str, size: int) -> OwnerRow:
    return OwnerRow("pip", name, version, size, None, 1, {"source": size}, {0: size})


def owners(before: list[OwnerRow], after: list[OwnerRow]) -> list[tuple[Any, ...]]:
    made = Comparison.of(
        replace(REPORT, owners=tuple(before)), replace(REPORT, owners=tuple(after))
    )
    return [(one.name, one.before, one.after, one.version) for one in made.owners]


def test_owners_tell_versions_and_the_largest_change_comes_first():
    assert [
        ("pip:torch", 1_500 * MB, 1_773 * MB, "2.8.0 → 2.9.0"),
        ("pip:scipy", None, 98 * MB, "1.16"),
        ("pip:six", 33_000, None, "1.17"),
    ] == [(one.name, one.before, one.after, one.version) for one in COMPARISON.owners]


def test_a_new_version_of_the_same_size_is_a_change():
    assert [("pip:a", 5, 5, "1 → 2")] == owners([owner("a", "1", 5)], [owner("a", "2", 5)])


def test_an_owner_without_bytes_that_leaves_is_a_change():
    assert [("pip:a", 0, None, "1")] == owners([owner("a", "1", 0)], [])


def test_several_versions_of_one_name_are_told_one_by_one():
    before = [owner("a", "1", 5), owner("a", "2", 6)]
    after = [owner("a", "2", 6), owner("a", "3", 9)]

    assert [("pip:a", None, 9, "3"), ("pip:a", 5, None, "1")] == owners(before, after)


def test_layers_are_the_same_by_digest_and_people_know_them_by_command():
    base, top = REPORT.layers
    after = replace(REPORT, layers=(base, replace(top, diff_id="sha256:x", size=top.size + 1)))
    made = Comparison.of(REPORT, after)

    assert (Change(top.command, top.size, top.size + 1),) == made.layers
    assert () == Comparison.of(REPORT, REPORT).layers


def listing(count: int, **more: int) -> tuple[DirectoryRow, ...]:
    rows = {**{f"d{number}": 1000 + number for number in range(count)}, **more}
    return tuple(DirectoryRow(path, size, 1) for path, size in rows.items())


def test_a_full_list_says_nothing_of_what_it_leaves_out():
    before = replace(REPORT, directories=listing(DIRECTORIES), files=())
    after = replace(REPORT, directories=listing(0, tiny=999, new=5000, d7=1007), files=())
    made = Comparison.of(before, after)
    found = {one.name: one for one in made.directories}

    assert made.partial
    assert "tiny" not in found  # it may well have been there: smaller than all that were listed
    assert (None, 5000, 4000) == (found["new"].before, found["new"].after, found["new"].growth)
    assert "d7" not in found
    assert -1008 == found["d8"].growth


def test_lists_that_tell_all_are_compared_as_they_are():
    made = Comparison.of(
        replace(REPORT, directories=listing(2), files=()),
        replace(REPORT, directories=listing(1, new=1), files=()),
    )

    assert not made.partial
    assert [("d1", -1001), ("new", 1)] == [(one.name, one.growth) for one in made.directories]


def test_with_every_file_at_hand_folders_and_files_are_exact():
    made = Comparison.of(BEFORE, REPORT, ({"a/b/x": 5, "y": 1}, {"a/b/x": 9, "a/z": 2, "y": 1}))

    assert [("a/b/x", 4), ("a/z", 2)] == [(one.name, one.growth) for one in made.files]
    assert [("", 6), ("a", 6), ("a/b", 4)] == [(one.name, one.growth) for one in made.directories]
    assert ["a", "a/b"] == [one.name for one in changes.rows(made, "directory")]


def test_the_same_image_is_the_same_whatever_it_is_called():
    renamed = replace(REPORT, reference="other", route="archive")

    assert Comparison.of(REPORT, renamed).same
    assert not COMPARISON.same
    assert not Comparison.of(REPORT, replace(REPORT, digest=gated.OTHER, rootfs=1)).same


def test_a_file_that_moved_is_a_change():
    made = Comparison.of(REPORT, replace(REPORT, digest=gated.OTHER), ({"a": 5}, {"b": 5}))

    assert not made.same


@pytest.mark.parametrize("width", [80, 200])
def test_text_looks_as_it_was_approved(width: int):
    golden.check(f"diff-{width}.txt", changes.text(COMPARISON, Display(width)))


def test_markdown_looks_as_it_was_approved():
    golden.check("diff.md", changes.markdown(COMPARISON))


@pytest.mark.parametrize("by", BY)
def test_one_table_can_be_had_alone(by: Any):
    made = changes.text(COMPARISON, Display(200), by)

    assert {"owner": "Owners", "directory": "Directories"}.get(by, "") in made
    assert made.count("before") <= 2


def test_the_schema_is_a_schema():
    jsonschema.Draft202012Validator.check_schema(schema("changes.schema.json"))


@pytest.mark.parametrize("name", ["plain", *HOSTILE])
def test_json_is_what_its_schema_says_and_nothing_else(name: bytes | str):
    comparison = hostile(name).comparison
    assert comparison is not None
    strict = jsonschema.Draft202012Validator(schema("changes.schema.json", strict=True))

    for one in (comparison, COMPARISON):
        strict.validate(json.loads(changes.render(one)))


def test_every_format_has_the_numbers_of_the_json():
    told = json.loads(changes.render(COMPARISON))
    text, markdown = changes.text(COMPARISON, Display(200)), changes.markdown(COMPARISON)

    for kind in ("sizes", "owners", "categories", "layers"):
        for change in told[kind]:
            assert changes.signed(change["growth"]) in text
            assert changes.signed(change["growth"]) in markdown


SHAPE = {by: rendered(changes.markdown(hostile("plain").comparison, by)) for by in BY}  # type: ignore[arg-type]


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("by", BY)
def test_no_name_acts(name: bytes | str, by: Any):
    comparison = hostile(name).comparison
    assert comparison is not None
    outputs = (
        changes.text(comparison, Display(80), by),
        changes.markdown(comparison, by),
        changes.render(comparison),
    )

    assert all(line.isprintable() for made in outputs for line in made.split("\n"))
    assert SHAPE[by] == rendered(outputs[1])
