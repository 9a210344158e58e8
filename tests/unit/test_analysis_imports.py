"""Who imports which module."""

from __future__ import annotations

import pytest
from systems import SITE, facts


def test_modules_are_found_by_their_imports():
    found = facts(
        {
            f"{SITE}/user.py": b"import os\nimport yaml.loader\n",
            f"{SITE}/late.py": b"x = importlib.import_module('attr')",
            f"{SITE}/doc.py": b'"""import requests"""\nfrom .yaml import x\n# import requests',
        }
    ).importers

    told = found.importing(["yaml", "attr", "requests"])
    assert {name: str(mention) for name, mention in told.items()} == {
        "yaml": f"{SITE}/user.py:2 imports yaml.loader",
        "attr": f"{SITE}/late.py:1 names attr",
    }
    assert not found.importing(["yaml"], [f"{SITE}/user.py".encode()])


@pytest.mark.parametrize(
    ("path", "source"),
    [
        (f"{SITE}/x.pth", b"import yaml\n"),
        ("usr/bin/run", b"#!/usr/bin/python3\nimport yaml\n"),
        ("app/old.py", b"print 'x'\nimport yaml\n"),
    ],
)
def test_path_files_scripts_and_python_2_are_read_too(path: str, source: bytes):
    assert facts({path: source}).importers.importing(["yaml"]).keys() == {"yaml"}


@pytest.mark.parametrize("path", [f"{SITE}/pkg/tests/test_a.py", f"{SITE}/pkg/conftest.py"])
def test_what_only_a_test_runner_loads_does_not_count(path: str):
    assert not facts({path: b"import yaml"}).importers.importing(["yaml"])
