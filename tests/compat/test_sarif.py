"""What the gate writes is SARIF by the official schema.

The schema (sarif-schema-2.1.0.json of github.com/oasis-tcs/sarif-spec, with errata 01)
is not in any Python package and not copied here: SLIMMER_SARIF_SCHEMA names the file.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from gated import FITTING, GATE, HOSTILE, SOURCE_FILES, hostile

from slimmer.formats import sarif
from slimmer.gate.locations import SourceFiles

pytestmark = pytest.mark.compat


@pytest.fixture(scope="module")
def schema() -> Any:
    path = os.environ.get("SLIMMER_SARIF_SCHEMA")
    if not path:
        pytest.skip("SLIMMER_SARIF_SCHEMA names no sarif-schema-2.1.0.json")
    return json.loads(Path(path).read_text(encoding="utf-8"))


@pytest.mark.parametrize("files", [SOURCE_FILES, SourceFiles()])
@pytest.mark.parametrize("told", [GATE, FITTING, *map(hostile, HOSTILE)])
def test_the_log_is_valid(schema, told, files):
    made = json.loads(sarif.render(told, files, "1.0"))
    checker = jsonschema.Draft4Validator.FORMAT_CHECKER

    jsonschema.Draft4Validator(schema, format_checker=checker).validate(made)


def test_the_schema_would_say_no(schema):
    made = json.loads(sarif.render(GATE, SOURCE_FILES, "1.0"))
    made["runs"][0]["results"][0]["level"] = "fatal"

    with pytest.raises(jsonschema.ValidationError):
        jsonschema.Draft4Validator(schema).validate(made)
