"""Every output of the gate says the same, and no name in any of them acts."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

import gated
import golden
import jsonschema
import pytest
from gated import FITTING, GATE, HOSTILE, SOURCE_FILES, hostile, rendered, schema
from rich.cells import cell_len

from slimmer.formats import findings, gate, github, junit, sarif
from slimmer.formats.console import Display
from slimmer.gate.gate import Gate
from slimmer.gate.judge import judge
from slimmer.gate.limits import Limit
from slimmer.gate.locations import SourceFiles
from slimmer.units import exact_text, size_text

if TYPE_CHECKING:
    from collections.abc import Callable

NOWHERE = SourceFiles()
FORMS: dict[str, Callable[[Gate], str]] = {
    "text": lambda told: gate.text(told, Display(200)),
    "markdown": gate.markdown,
    "json": gate.render,
    "sarif": lambda told: sarif.render(told, SOURCE_FILES, "1.0"),
    "junit": junit.render,
    "github": lambda told: github.log(gate.text(told, Display(200)), told, SOURCE_FILES),
}


@pytest.mark.parametrize("width", [80, 200])
def test_text_looks_as_it_was_approved(width: int):
    golden.check(f"gate-{width}.txt", gate.text(GATE, Display(width)))


def test_what_fits_is_told_in_a_few_lines():
    golden.check("gate-fits.txt", gate.text(FITTING, Display(80)))


def test_markdown_looks_as_it_was_approved():
    golden.check("gate.md", gate.markdown(GATE))


@pytest.mark.parametrize("form", FORMS)
def test_the_same_gate_gives_the_same_bytes(form: str):
    assert FORMS[form](GATE) == FORMS[form](gated.replace(GATE))


@pytest.mark.parametrize("form", ["text", "markdown", "sarif", "junit", "github"])
def test_every_format_has_the_numbers_of_the_json(form: str):
    told = json.loads(gate.render(GATE))
    made = FORMS[form](GATE)

    for limit in told["limits"]:
        if limit["fits"] and form in ("sarif",):
            continue  # SARIF tells what is wrong only
        assert size_text(limit["actual"]) in made
        if not limit["fits"] and limit["bounds"] != "forbidden":
            assert size_text(limit["maximum"]) in made
            assert size_text(limit["over"]) in made
            assert exact_text(limit["over"]) in made


@pytest.mark.parametrize("form", ["text", "markdown"])
def test_what_people_read_has_the_growth_and_the_ladder_of_the_json(form: str):
    told = json.loads(gate.render(GATE))
    made = FORMS[form](GATE)

    for change in told["baseline"]["owners"]:
        assert size_text(change["growth"]).lstrip("-") in made
        assert change["after_version"] in made
    for remedy in told["ladders"]:
        assert f"{size_text(remedy['before'])} → {size_text(remedy['after'])}" in made
    for step in told["ladders"][-1]["largest"]:
        assert size_text(step["saves"]) in made
    assert told["command"] in made


def validator() -> jsonschema.Draft202012Validator:
    import referencing

    changes = schema("changes.schema.json", strict=True)
    resource = referencing.Resource.from_contents(changes)
    registry: Any = referencing.Registry().with_resource("changes.schema.json", resource)
    return jsonschema.Draft202012Validator(
        schema("gate.schema.json", strict=True), registry=registry
    )


def test_the_schema_is_a_schema():
    jsonschema.Draft202012Validator.check_schema(schema("gate.schema.json"))


@pytest.mark.parametrize("told", [GATE, FITTING, *map(hostile, HOSTILE)])
def test_json_is_what_its_schema_says_and_nothing_else(told: Gate):
    validator().validate(json.loads(gate.render(told)))


def test_json_has_no_number_that_json_has_not():
    odd = replace(GATE.ruling.dive[2], score=float("nan"), true=float("inf"))
    told = replace(GATE, ruling=replace(GATE.ruling, dive=(odd,)))
    made = json.loads(gate.render(told), parse_constant=pytest.fail)

    assert (None, None) == (made["dive"][0]["dive"], made["dive"][0]["true"])
    assert "not a number" in gate.text(told, Display(200))


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", HOSTILE)
def test_no_name_reaches_any_output_as_control_characters(name: bytes | str, form: str):
    assert all(line.isprintable() for line in FORMS[form](hostile(name)).split("\n"))


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("width", [40, 80, 200])
def test_no_name_acts_in_text(name: bytes | str, width: int):
    made = gate.text(hostile(name), Display(width))
    table = made.split("\n\n")[1].splitlines()

    assert "Limits" == table[0]
    assert all(cell_len(line) <= max(width, 60) for line in table[1:7])


ORDINARY = rendered(gate.markdown(hostile("plain")))


@pytest.mark.parametrize("name", HOSTILE)
def test_no_name_acts_in_markdown(name: bytes | str):
    made = rendered(gate.markdown(hostile(name)))

    assert ORDINARY == made
    assert 1 == made[0].count("html_block")  # the marker


def test_the_markers_line_comes_first_in_every_state():
    lines = [gate.markdown(told).splitlines()[:2] for told in (GATE, FITTING)]

    assert ["<!-- slimmer:budget -->", "### ❌ `app:1.1` breaks 8 of 11 limits"] == lines[0]
    assert ["<!-- slimmer:budget -->", "### ✅ `app:1.1` fits its limit"] == lines[1]


@pytest.mark.parametrize("count", [100, 400, 5000])
def test_markdown_fits_into_a_comment_whatever_there_is_to_say(count: int):
    limits = [Limit("owner", 1, f"{'n' * 150}{number}*") for number in range(count)]
    rows = tuple(
        replace(gated.REPORT.owners[0], name=f"{'n' * 150}{number}") for number in range(300)
    )
    told = Gate(replace(gated.REPORT, owners=rows), judge(limits, replace(gated.REPORT)))
    made = gate.markdown(told, 300)

    assert made.startswith(gate.MARKER)
    assert len(made.encode()) <= 60_000


# SARIF


def log(told: Gate = GATE, files: SourceFiles = SOURCE_FILES) -> Any:
    return json.loads(sarif.render(told, files, "1.0"))


def test_sarif_has_one_result_for_each_broken_limit_and_each_large_owner():
    results = log()["runs"][0]["results"]

    assert [
        *("budget/image", "budget/owner", "budget/category", "budget/layer", "budget/hidden"),
        *("budget/forbidden", "budget/growth", "dive/highestWastedBytes"),
        *("largest-owner", "largest-owner", "largest-owner"),
    ] == [result["ruleId"] for result in results]


def test_sarif_points_to_requirements_and_to_the_dockerfile():
    places = {
        (result["ruleId"], result["locations"][0]["logicalLocations"][0]["name"]): (
            result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"],
            result["locations"][0]["physicalLocation"]["region"]["startLine"],
        )
        for result in log()["runs"][0]["results"]
    }

    assert ("requirements.txt", 3) == places["budget/owner", "owner torch"]
    assert ("requirements.txt", 2) == places["largest-owner", "pip:scipy"]
    assert ("docker/Dockerfile", 3) == places["largest-owner", "deb:gcc-12"]
    assert ("docker/Dockerfile", 8) == places["budget/image", "image (unpacked)"]


def test_sarif_results_follow_the_structure_of_the_standard():
    # The official schema is checked by tests/compat/test_sarif.py; this much holds everywhere.
    for told in (GATE, FITTING, *map(hostile, HOSTILE)):
        for files in (SOURCE_FILES, NOWHERE):
            made = log(told, files)
            (run,) = made["runs"]
            rules = [rule["id"] for rule in run["tool"]["driver"]["rules"]]
            assert "2.1.0" == made["version"]
            assert len(set(rules)) == len(rules)
            prints = [result["partialFingerprints"]["slimmer/v1"] for result in run["results"]]
            assert all(re.fullmatch("[0-9a-f]{32}", one) for one in prints)
            for result in run["results"]:
                assert rules[result["ruleIndex"]] == result["ruleId"]
                assert result["level"] in ("error", "warning")
                assert result["message"]["text"]
                for location in result["locations"]:
                    assert location["logicalLocations"]


def test_fingerprints_outlive_other_numbers():
    grown = replace(gated.REPORT, unpacked=gated.REPORT.unpacked + 1)
    later = Gate(grown, judge(gated.LIMITS[:1], grown))
    first, second = (
        log(told)["runs"][0]["results"][0]
        for told in (replace(GATE, ruling=judge(gated.LIMITS[:1], gated.REPORT)), later)
    )

    assert first["message"] != second["message"]
    assert first["partialFingerprints"] == second["partialFingerprints"]


def test_nothing_over_is_a_log_without_results():
    assert [] == log(FITTING)["runs"][0]["results"]


@pytest.mark.parametrize(
    ("path", "uri"),
    [
        ("docker/Dockerfile", "docker/Dockerfile"),
        ("a b#c%.txt", "a%20b%23c%25.txt"),
        ("x:y", "x%3Ay"),
        ("./x", "x"),
        ("/abs/x", "file:///abs/x"),
    ],
)
def test_paths_become_uris(path: str, uri: str):
    assert uri == sarif.uri(path)


def test_messages_of_sarif_hold_no_links_and_no_placeholders():
    assert r"\[x\](1) {{0}} \\" == sarif.plain("[x](1) {0} \\")


# JUnit


def test_junit_has_a_case_for_each_limit_and_each_rule_of_dive():
    suite = ElementTree.fromstring(junit.render(GATE)).find("testsuite")
    assert suite is not None
    broken = [
        case.get("name") for case in suite.findall("testcase") if case.find("failure") is not None
    ]

    assert ("11", "8") == (suite.get("tests"), suite.get("failures"))
    assert "owner torch" in broken
    assert "image (rootfs)" not in broken


@pytest.mark.parametrize("name", HOSTILE)
def test_junit_stays_well_formed(name: bytes | str):
    shape = [part.tag for part in ElementTree.fromstring(junit.render(hostile("plain"))).iter()]

    made = ElementTree.fromstring(junit.render(hostile(name)))
    assert shape == [part.tag for part in made.iter()]


# GitHub


def commands(made: str) -> list[str]:
    """What GitHub's runner takes for commands: it looks behind spaces, and for ##[ anywhere."""
    found: list[str] = []
    stopped = ""
    for line in made.splitlines():
        bare = line.strip()
        if stopped:
            if bare == f"::{stopped}::":
                stopped = ""
        elif bare.startswith("::stop-commands::"):
            stopped = bare.removeprefix("::stop-commands::")
        elif bare.startswith("::") or "##[" in bare:
            found.append(bare)
    assert not stopped
    return found


def test_annotations_point_to_lines_and_escape_what_would_end_them():
    made = commands(FORMS["github"](GATE))

    assert 10 == len(made)
    assert made[1] == (
        "::error file=requirements.txt,line=3,title=slimmer%3A over budget%3A owner torch::"
        "owner torch: 1.8 GB of 800.0 MB, over by 973.0 MB (973,000,000 bytes)"
        "%0Apip:torch 2.9.0: 1.8 GB"
    )


@pytest.mark.parametrize("name", HOSTILE)
def test_no_name_is_a_command_to_github(name: bytes | str):
    plain = commands(FORMS["github"](hostile("plain")))
    made = commands(FORMS["github"](hostile(name)))

    assert len(plain) == len(made)
    for line in made:
        match = re.fullmatch(r"::(error|warning) ([^:]*)::(.*)", line)
        assert match
        keys = [part.partition("=")[0] for part in match[2].split(",")]
        assert keys in (["file", "line", "title"], ["title"])


def test_an_annotation_escapes_percent_lines_colons_and_commas():
    finding = findings.Finding("budget/image", "x", "error", "a,b:c%", "1%\r\n2:,", None)

    assert "::error title=slimmer%3A a%2Cb%3Ac%25::1%25%0D%0A2:," == github.annotation(finding)
