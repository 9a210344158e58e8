"""Who imports which tests."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest
from systems import SITE, facts

if TYPE_CHECKING:
    from slimmer.analysis.imports import Importers

TESTS = f"{SITE}/pkg/tests".encode()
PACKAGE = {
    f"{SITE}/pkg/__init__.py": b"",
    f"{SITE}/pkg/tests/__init__.py": b"",
    f"{SITE}/pkg/tests/helpers.py": b"",
}


def importers(files: dict[str, bytes], **others: object) -> Importers:
    return facts({**PACKAGE, **files}, **others).importers


def needing(source: str, path: str = f"{SITE}/pkg/core.py") -> list[str]:
    found = importers({path: source.encode()})
    return [str(mention) for mention in found.mentions(TESTS)]


@pytest.mark.parametrize(
    "source",
    [
        "import pkg.tests",
        "import os, pkg.tests.helpers as h",
        "from pkg import tests",
        "from pkg import (\n    os,\n    # a comment\n    tests,\n)",
        "from pkg.tests import helpers",
        "from pkg.tests.helpers import *",
        "from . import tests",
        "from .tests import helpers",
        "def late():\n    from .tests.helpers import thing",
        "if True: from .tests import helpers",
        "x = 1; import pkg.tests",
        "from pkg import \\\n    tests",
        "import importlib\nimportlib.import_module('pkg.tests.helpers')",
        "import_module('.tests', __package__)",
        "import_module(f'{__package__}.tests.helpers')",
        'pytest_plugins = ["pkg.tests.helpers"]',
        "where = 'pkg.tests.helpers:function'",
        "try:\n    import pkg.tests\nexcept ImportError:\n    pass",
    ],
)
def test_whatever_reaches_for_tests_is_found(source: str):
    found = needing(source)

    assert found
    assert found[0].startswith(f"{SITE}/pkg/core.py:")


@pytest.mark.parametrize(
    "source",
    [
        "from pkg import testing",
        "import other.tests",
        "from other.tests import helpers",
        '"""Run it with pkg.tests.helpers."""',
        'def f():\n    """pkg.tests.helpers"""',
        "# from pkg.tests import helpers",
        "def tests(): pass\ntests()",
        "self.test()",
        "import numpy.testing as test",
        "parts = {'train': 1, 'test': 2}",
        "os.path.join(here, 'tests')",  # no data in it: nothing to open
    ],
)
def test_what_only_sounds_like_it_is_not(source: str):
    assert needing(source) == []


def test_python_2_and_templates_are_searched_as_text():
    assert needing("print 'x'\nfrom pkg.tests import helpers\n") == [
        f"{SITE}/pkg/core.py:2 names pkg.tests",
        f"{SITE}/pkg/core.py:2 names pkg.tests.helpers",
    ]
    assert needing("{% if x %}\nimport pkg.tests\n{% endif %}\n")


def test_a_program_may_read_data_of_the_tests():
    data = {f"{SITE}/pkg/tests/data.json": b"{}"}
    joined = {f"{SITE}/pkg/core.py": b"open(os.path.join(here, 'tests', 'data.json'))"}
    divided = {f"{SITE}/pkg/core.py": b"(HERE / 'tests/data.json').read_text()"}

    assert importers({**data, **joined}).mentions(TESTS)
    assert importers({**data, **divided}).mentions(TESTS)


def test_data_of_other_tests_is_no_data_of_these():
    files = {
        f"{SITE}/pkg/sub/tests/test_x.py": b"",
        f"{SITE}/pkg/sub/tests/data.json": b"{}",
        f"{SITE}/pkg/core.py": b"frames_below(os.path.join(here, 'tests'))",
    }

    assert not importers(files).mentions(TESTS)


def test_a_lazy_package_names_its_modules_as_texts():
    lazy = b"def __getattr__(name): ...\n_MODULES = ['core', 'tests']"

    assert importers({f"{SITE}/pkg/__init__.py": lazy}).mentions(TESTS)
    assert not importers({f"{SITE}/pkg/__init__.py": b"__all__ = ['tests']"}).mentions(TESTS)


def test_entry_points_path_files_and_scripts_count():
    points = {f"{SITE}/pkg-1.dist-info/entry_points.txt": b"[x]\nrun = pkg.tests.helpers:main\n"}
    path_file = {f"{SITE}/x.pth": b"import pkg.tests\n"}
    script = {"usr/bin/run": b"#!/usr/bin/python3\nfrom pkg.tests import helpers\n"}
    shell = {"usr/bin/run": b"#!/bin/sh\n# from pkg.tests import helpers\n"}

    assert importers(points).mentions(TESTS)
    assert importers(path_file).mentions(TESTS)
    assert importers(script, executable=["usr/bin/run"]).mentions(TESTS)
    assert not importers(shell, executable=["usr/bin/run"]).mentions(TESTS)


def test_what_only_pytest_loads_does_not_count():
    assert not needing("from pkg.tests import helpers", f"{SITE}/pkg/conftest.py")


def test_tests_that_leave_need_nothing_and_tests_that_stay_need_what_they_import():
    other = f"{SITE}/other/tests".encode()
    third = f"{SITE}/third/tests".encode()
    found = importers(
        {
            f"{SITE}/other/__init__.py": b"",
            f"{SITE}/other/tests/test_it.py": b"from pkg.tests import helpers",
            f"{SITE}/third/__init__.py": b"",
            f"{SITE}/third/tests/test_it.py": b"import other.tests.test_it",
        }
    )

    assert found.needed([TESTS, other, third]) == {}
    assert found.needed([TESTS, other]).keys() == {TESTS, other}  # the third stays
    assert found.needed([TESTS, third]).keys() == {TESTS}


def test_names_are_looked_up_where_python_would_import_from():
    app = {
        "app/main.py": b"from tests import fixtures",
        "app/tests/__init__.py": b"",
        "app/tests/fixtures.py": b"",
        f"{SITE}/tests/__init__.py": b"",
        f"{SITE}/pkg/vendored/tests/x.py": b"",
    }
    found = importers(app)

    assert found.mentions(b"app/tests")
    assert found.mentions(f"{SITE}/tests".encode())  # a distribution that was packed badly
    assert not found.mentions(f"{SITE}/pkg/vendored/tests".encode())
    assert not found.mentions(TESTS)


def test_the_folder_in_which_the_image_starts_is_one_of_them():
    files = {"srv/tests/a.py": b"", "opt/tool/run.py": b"import tests.a"}

    assert not importers(files).mentions(b"srv/tests")
    assert importers(files, runtime={"WorkingDir": "/srv"}).mentions(b"srv/tests")
    assert importers(files, runtime={"Env": ["PYTHONPATH=/x:/srv"]}).mentions(b"srv/tests")


@pytest.mark.parametrize(
    ("folder", "importing", "source"),
    [
        ("tables/tests", "tables/__init__.py", "from .tests import print_versions, test"),
        (
            "numpy/_core/tests",
            "numpy/testing/_private/utils.py",
            "from numpy._core.tests._natype import pd_NA",
        ),
        ("networkx/utils/tests", "networkx/convert.py", "from networkx.utils.tests import x"),
    ],
)
def test_known_cases_are_told_by_evidence_and_not_by_name(folder, importing, source):
    package = {f"{SITE}/{folder}/{name}": b"" for name in ("__init__.py", "_natype.py")}
    package |= {f"{SITE}/{folder.split('/')[0]}/__init__.py": b""}
    path = f"{SITE}/{folder}".encode()
    with_import = importers({**package, f"{SITE}/{importing}": source.encode()})

    assert with_import.needed([path])[path].path == f"{SITE}/{importing}".encode()
    assert importers(package).needed([path]) == {}


def test_modules_are_found_by_their_imports():
    found = importers(
        {
            f"{SITE}/user.py": b"import os\nimport yaml.loader\n",
            f"{SITE}/late.py": b"x = importlib.import_module('attr')",
            f"{SITE}/doc.py": b'"""import requests"""\nfrom .yaml import x\n# import requests',
        }
    )

    told = found.importing(["yaml", "attr", "requests"])
    assert {name: str(mention) for name, mention in told.items()} == {
        "yaml": f"{SITE}/user.py:2 imports yaml.loader",
        "attr": f"{SITE}/late.py:1 names attr",
    }
    assert not found.importing(["yaml"], [f"{SITE}/user.py".encode()])


def test_odd_sources_do_no_harm():
    deep = b"(" * 5000 + b"'tests.'" + b")" * 5000
    odd = {f"{SITE}/pkg/core.py": deep, f"{SITE}/pkg/\xff.py": b"\x00import pkg.tests\x00"}

    importers(odd).needed([TESTS])


@pytest.mark.parametrize(
    "source",
    [
        b"x = {" + b"'a': test, " * 200_000 + b"}",
        b"x = " + b"test + \\\n" * 100_000 + b"1",
        b"(" * 1000 + b"test " * 500_000,
        b"{% if %}\n" + b"import pkg.tests\n" * 200_000,
    ],
)
def test_sources_made_to_be_slow_are_not(source: bytes):
    image = facts({**PACKAGE, f"{SITE}/pkg/core.py": source})
    start = time.process_time()
    found = image.importers

    assert time.process_time() - start < 5
    assert len(found.mentions(TESTS)) <= 50
