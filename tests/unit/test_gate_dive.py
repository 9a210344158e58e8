"""dive's numbers are dive's to the last digit, and where dive is wrong ours are right."""

from __future__ import annotations

import hashlib
import json
import math
from pathlib import Path

import pytest
import tiny

from slimmer import owners, stores
from slimmer.attribution import Attribution
from slimmer.evidence import Evidence
from slimmer.formats import dive as dive_format
from slimmer.gate.dive import DiveError, Repeated, Rule, Score, rules
from slimmer.index import Index
from slimmer.report.report import Report

FIXTURES = Path(__file__).parents[3] / "shared" / "fixtures" / "dive"
SNAPSHOT = "d40b6d89a7136a14fb79c60740e885d321832755fdc4d82512c7e04a6a8a1542"
"""SHA-256 of the JSON that dive's own test keeps for test-docker-image.tar (export_test.snap at
d6c6919), its keys sorted and without the layers' `id`."""


def scanned(name: str) -> Index:
    path = FIXTURES / name
    if not path.exists():
        pytest.skip("images made by others are not here (../shared/fixtures)")
    return Index.scan(stores.open(str(path)), owners.evidence())


def index(*layers: bytes) -> Index:
    return Index.scan(tiny.image(*layers), Evidence([]))


def both(*layers: bytes) -> tuple[Score, Score]:
    """dive's score, and the true one."""
    laid = index(*layers)
    return Score.of(laid), Score.true(Report.of(Attribution.of(laid, owners.default)))


def test_the_classic_image_has_dives_known_numbers():
    score = Score.of(scanned("test-docker-image.tar"))

    assert (1_220_598, 0.9844212134184309) == (score.size, score.efficiency)
    assert (32_025, 0.4834911001404049) == (score.wasted, score.user_wasted)
    assert (
        Repeated(b"/root/saved.txt", 2, 12_810),
        Repeated(b"/root/example/somefile1.txt", 2, 12_810),
        Repeated(b"/root/example/somefile3.txt", 2, 6_405),
    ) == score.repeated


def test_the_kaniko_image_has_dives_known_numbers():
    score = Score.of(scanned("test-kaniko-image.tar"))

    assert (1_326_410, 0.9793688490216431, 46_245) == (score.size, score.efficiency, score.wasted)


def test_the_json_is_dives_own_in_every_value():
    laid = scanned("test-docker-image.tar")
    made = json.loads(dive_format.render(laid, Score.of(laid)))
    for layer in made["layer"]:
        layer.pop("id")

    assert SNAPSHOT == hashlib.sha256(json.dumps(made, sort_keys=True).encode()).hexdigest()


@pytest.mark.parametrize(
    ("thresholds", "verdicts"),
    [
        (("0.99", "1B", "0.01"), (True, True, True)),
        (("0.9", "50kB", "0.5"), (False, False, False)),
        (("0.9", "1B", "0.5"), (False, True, False)),
    ],
)
def test_the_three_rule_sets_of_dives_tests_have_dives_verdicts(thresholds, verdicts):
    score = Score.of(scanned("test-docker-image.tar"))
    names = ("lowestEfficiency", "highestWastedBytes", "highestUserWastedPercent")
    text = "rules:\n" + "".join(
        f"  {name}: {value}\n" for name, value in zip(names, thresholds, strict=True)
    )

    assert verdicts == tuple(rule.broken_by(rule.value(score)) for rule in rules(text, ".dive-ci"))


def test_a_removed_directory_is_no_waste_to_dive_and_waste_in_truth():
    dive, true = both(
        tiny.layer({"keep": b"k" * 10, "d": None, "d/a": b"a" * 30, "d/b": b"b" * 60}),
        tiny.layer({}, removed=["d"]),
    )

    assert (0, 1.0) == (dive.wasted, dive.efficiency)
    assert (90, 0.1) == (true.wasted, true.efficiency)


def test_an_opaque_directory_is_nothing_to_dive_and_hides_bytes_in_truth():
    dive, true = both(
        tiny.layer({"d": None, "d/a": b"a" * 75}), tiny.layer({"d/new": b"n" * 25}, opaque=["d"])
    )

    assert (0, 1.0) == (dive.wasted, dive.efficiency)
    assert (75, 0.25) == (true.wasted, true.efficiency)


def test_a_changed_owner_counts_twice_to_dive_and_once_in_truth():
    dive, true = both(tiny.layer({"a": b"x" * 50}), tiny.layer({"a": b"x" * 50}))

    assert (100, 0.5) == (dive.wasted, dive.efficiency)
    assert (50, 0.5) == (true.wasted, true.efficiency)


def test_a_whiteout_of_nothing_ends_its_layer_for_dive_and_hides_nothing_in_truth():
    layers = (
        tiny.layer({"a/x": b"x" * 10, "z": b"z" * 40}),
        tiny.layer({"z": b"z" * 50}, removed=["a/missing"]),
    )
    dive, true = both(*layers)
    without, _ = both(layers[0], tiny.layer({"z": b"z" * 50}))

    assert (0, 90) == (dive.wasted, without.wasted)  # dive never came to see z
    assert 49 / 50 == dive.efficiency  # 10 + 40 bytes seen once, and -1 for the missing path
    assert (40, 0.6) == (true.wasted, true.efficiency)


def test_a_removed_file_costs_its_bytes_once_in_both():
    dive, true = both(tiny.layer({"a": b"a" * 30, "b": b"b" * 70}), tiny.layer({}, removed=["a"]))

    assert (30, 0.7) == (dive.wasted, dive.efficiency)
    assert (30, 0.7) == (true.wasted, true.efficiency)


def test_a_directory_that_a_layer_passes_through_is_none_any_more():
    named = [{"d": None, "d/a": b"a" * 30}, {"d": None, "d/b": b"b"}]
    passed = [{"d": None, "d/a": b"a" * 30}, {"d/b": b"b"}]
    gone = tiny.layer({}, removed=["d"])

    # A removed directory adds its bytes to what dive discovers; what is none adds nothing.
    assert (31 + 31) == _discovered(*map(tiny.layer, named), gone)
    assert 31 == _discovered(*map(tiny.layer, passed), gone)


def _discovered(*layers: bytes) -> int:
    score = Score.of(index(*layers, tiny.layer({"f": b"f" * 100}), tiny.layer({"f": b"f" * 100})))
    # smallest / all sizes, where one path of 100 bytes was named twice
    return round(100 / (1 - score.efficiency)) - 200


def test_layers_without_bytes_divide_as_go_divides():
    nothing = Score.of(index(tiny.layer({"a": b"a"}), tiny.layer({"d": None})))
    one = Rule("highestUserWastedPercent", 0.1)

    assert math.isnan(nothing.user_wasted)
    assert not one.broken_by(nothing.user_wasted)
    assert one.broken_by(float("inf"))


def test_a_path_deeper_than_pythons_stack_is_no_trouble():
    deep = "/".join("d" * 1500)

    assert 3 == Score.of(index(tiny.layer({f"{deep}/f": b"abc"}))).size


def test_rules_have_dives_defaults():
    assert (
        Rule("lowestEfficiency", 0.9),
        Rule("highestWastedBytes", None),
        Rule("highestUserWastedPercent", 0.1),
    ) == rules("# nothing\nrules:\n", ".dive-ci")


@pytest.mark.parametrize(
    ("text", "threshold"),
    [
        *[("20MB", 20_000_000), ("20Mb", 20_000_000), ("20M", 20_000_000), ("20MiB", 20 << 20)],
        *[("1B", 1), ("7", 7), ("1.5 kB", 1500), ("1,000", 1000), ("'5GB'", 5 * 10**9)],
        *[("disabled", None), ("off", None), ("false", None), ('""', None), ("Off # why", None)],
    ],
)
def test_wasted_bytes_are_read_as_dive_reads_them(text: str, threshold: int | None):
    assert threshold == rules(f"rules:\n  highestWastedBytes: {text}\n", "x")[1].threshold


def test_newer_names_of_the_rules_and_other_sections_are_known():
    text = "log:\n  level: info\nrules:\n    'lowest-efficiency-threshold': 0.5\n"

    assert 0.5 == rules(text, "x")[0].threshold


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("rules:\n  lowestEfficency: 1\n", "x, line 2: dive has no rule 'lowestEfficency'"),
        ("rules:\n  - a\n", "x, line 2: expected a rule"),
        ("rules:\n  lowestEfficiency: 95%\n", "lowestEfficiency: expected a ratio from 0 to 1"),
        ("rules:\n  lowestEfficiency: 1.1\n", "expected a ratio from 0 to 1, got '1.1'"),
        ("rules:\n  lowestEfficiency: nan\n", "expected a ratio"),
        ("rules:\n  highestWastedBytes: -1\n", "expected a size such as 20MB, got '-1'"),
    ],
)
def test_rules_that_dive_would_not_take_name_their_place(text: str, message: str):
    with pytest.raises(DiveError, match=message):
        rules(text, "x")
