"""Which files of test folders something needs."""

from __future__ import annotations

import io
import json
import py_compile
import time
import zipfile
from typing import TYPE_CHECKING, NamedTuple

import pytest
from systems import SITE, facts

from slimmer.analysis.needs import needs

if TYPE_CHECKING:
    from pathlib import Path

    from slimmer.analysis.facts import Facts

TESTS = f"{SITE}/rossy/tests"
PACKAGE = {
    f"{SITE}/rossy/__init__.py": b"",
    f"{TESTS}/__init__.py": b"",
    f"{TESTS}/test_a.py": b"def test(): pass\n",
    f"{TESTS}/fakes.py": b"from . import base\nclass Model(base.Base): pass\n",
    f"{TESTS}/base.py": b"class Base: pass\n",
    f"{TESTS}/other.py": b"",
    f"{TESTS}/data/frf.csv": b"1,2\n",
    f"{TESTS}/more/x.json": b"{}",
}
MODULE = {"__init__.py", "base.py", "fakes.py"}
"""What `rossy.tests.fakes` needs."""
DATA = {"data/frf.csv"}
APP = "app/main.py"


class Answer(NamedTuple):
    """Files of the folder by what is known of them, named from there."""

    held: set[str]
    doubted: set[str]
    evidence: tuple[str, ...]

    @property
    def stays(self) -> set[str]:
        return self.held | self.doubted


def asked(image: Facts, folder: str = TESTS) -> Answer:
    prefix = folder.encode() + b"/"
    paths = [path for path in image.index.visible if path.startswith(prefix)]
    found = needs(image.mentions, paths)

    def names(doubt: bool) -> set[str]:
        told = [path for need in found if need.doubt is doubt for path in need.paths]
        return {path.removeprefix(prefix).decode() for path in told}

    return Answer(names(False), names(True), tuple(need.evidence for need in found))


def answer(files: dict[str, bytes], **others: object) -> Answer:
    return asked(facts({**PACKAGE, **files}, **others))


NAMING_THE_MODULE = [
    "import rossy.tests.fakes",
    "import os, rossy.tests.fakes as h",
    "from rossy.tests import fakes",
    "from rossy.tests import (\n    # a comment\n    fakes,\n)",
    "from rossy.tests.fakes import Model",
    "from rossy.tests.fakes import *",
    "from rossy.tests import \\\n    fakes",
    "def late():\n    from rossy.tests.fakes import Model",
    "if True: from rossy.tests import fakes",
    "x = 1; import rossy.tests.fakes",
    "try:\n    import rossy.tests.fakes\nexcept ImportError:\n    pass",
    "importlib.import_module('rossy.tests.fakes')",
    "__import__('rossy.tests.fakes')",
    "where = 'rossy.tests.fakes:Model'",
    "INSTALLED_APPS = ['rossy.tests.fakes']",
    "CLASS = 'rossy.tests.fakes.Model'",
    "subprocess.run([sys.executable, '-m', 'rossy.tests.fakes'])",
    "os.system('python -m rossy.tests.fakes')",
    "subprocess.run(['python', '-c', 'from rossy.tests.fakes import Model'])",
    "import_module('.'.join(['rossy', 'tests', 'fakes']))",
    "import_module('rossy' + '.tests' + '.fakes')",
    "import_module('{}.tests.fakes'.format('rossy'))",
    "NAME = 'rossy.tests'\nimport_module(NAME + '.fakes')",
    "import_module('.tests.fakes', 'rossy')",
    "importlib.import_module('.fakes', package='rossy.tests')",
    "importlib.import_module('..tests.fakes', 'rossy.core')",
]
PUTTING_A_NAME_TOGETHER = [
    "import_module('rossy.tests.' + name)",
    "import_module(f'rossy.tests.{name}')",
    "import_module('rossy.{}.{}'.format('tests', name))",
    "import_module('rossy.%s.%s' % ('tests', name))",
    "import_module('%s.%s' % ('rossy.tests', name))",
    "import_module('.'.join(['rossy', 'tests', name]))",
    "import_module('.'.join(('rossy.tests', name)))",
    "KIND = 'tests'\nimport_module(f'rossy.{KIND}.{name}')",
]
NAMING_THE_DATA = [
    "files('rossy').joinpath('tests/data/frf.csv').read_bytes()",
    "files('rossy') / 'tests' / 'data' / 'frf.csv'",
    "files(rossy) / 'tests' / 'data' / name",
    "files('rossy.tests.data').joinpath('frf.csv')",
    "open(os.path.join(os.path.dirname(rossy.__file__), 'tests', 'data', 'frf.csv'))",
    "open(os.path.join(os.path.dirname(os.path.abspath(rossy.__file__)), 'tests/data', name))",
    "Path(rossy.__file__).parent / 'tests' / 'data'",
    "Path(rossy.__file__).resolve().parents[0].joinpath('tests', 'data', 'frf.csv')",
    "Path(rossy.__path__[0], 'tests', 'data', 'frf.csv')",
    "pkg_resources.resource_filename('rossy', 'tests/data/frf.csv')",
    "pkg_resources.resource_string('rossy.tests', 'data/frf.csv')",
    "pkgutil.get_data('rossy', 'tests/data/frf.csv')",
    "importlib.resources.open_text('rossy.tests.data', 'frf.csv')",
    "open(f'{os.path.dirname(rossy.__file__)}/tests/data/{name}')",
    "open('%s/tests/data/%s' % (base, name)); rossy",
    "open('{}/tests/data/{}'.format(base, name)); rossy",
    "open(base + '/tests/data/' + name); rossy",
    f"open('/{TESTS}/data/frf.csv')",
    "open(os.path.join(site, 'rossy', 'tests', 'data', name))",
    "open(sysconfig.get_paths()['purelib'] + '/rossy/tests/data/frf.csv')",
    "PARTS = ['tests', 'data', name]\nfiles('rossy').joinpath(*PARTS)",
    "FOLDER = 'tests'\nopen(os.path.join(os.path.dirname(rossy.__file__), FOLDER, 'data'))",
    "glob.glob(os.path.join(os.path.dirname(rossy.__file__), 'tests', 'data', '*.csv'))",
    "Path(importlib.util.find_spec('rossy').origin).parent / 'tests' / 'data' / 'frf.csv'",
    "os.path.join(os.path.dirname(inspect.getfile(rossy)), 'tests', 'data')",
    "Path(rossy.__file__).with_name('tests') / 'data' / 'frf.csv'",
    "[one for one in files('rossy') if str(one).endswith('tests/data/frf.csv')]",
    "import rossy.tests.data as data\nfiles(data).joinpath(name)",
    "from rossy.tests import data\nfiles(data).joinpath(name)",
    "from rossy.tests.data import __file__ as where",
]
DECOYS = [
    "# import rossy.tests.fakes",
    '"""Run it with rossy.tests.fakes, or rossy/tests/data/frf.csv."""',
    "def f():\n    '''rossy.tests.fakes'''",
    "def f():\n    '''\n    >>> from rossy.tests import fakes\n    '''",
    "if TYPE_CHECKING:\n    from rossy.tests import fakes",
    "if typing.TYPE_CHECKING:\n    import rossy.tests.fakes",
    "if kind == 'tests': pass",
    "skip = name.startswith('rossy.tests')",
    "if 'rossy.tests.fakes' in sys.modules: pass",
    "logging.getLogger('rossy.tests.fakes').debug('x')",
    "del sys.modules['rossy.tests.fakes']",
    "raise ValueError('see the folder rossy/tests/data of the source')",
    "from rossy import testing",
    "import other.tests",
    "import rossy\nrossy.tests()",
    "parts = {'train': 1, 'tests': 2}['tests']",
    "url = 'https://example.org/tests/data/frf.csv'",
    "open('/tmp/tests/data/frf.csv')",
]


def zipped(source: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("__main__.py", source)
    return b"#!/usr/bin/python3\n" + buffer.getvalue()


def notebook(source: str) -> bytes:
    cells = [
        {"cell_type": "markdown", "source": "rossy.tests.other"},
        {"cell_type": "code", "source": ["%matplotlib inline\n", *source.splitlines(True)]},
    ]
    return json.dumps({"nbformat": 4, "cells": cells}).encode()


TEXTS_OF_CODE = {
    "a module": lambda source: {APP: source.encode()},
    "a script": lambda source: {"usr/bin/run": b"#!/usr/bin/env python3\n" + source.encode()},
    "a zip of modules": lambda source: {"app/tool.pyz": zipped(source)},
    "a notebook": lambda source: {"app/a.ipynb": notebook(source)},
    "another distribution": lambda source: {f"{SITE}/user/core.py": source.encode()},
    "its own package": lambda source: {f"{SITE}/rossy/core.py": source.encode()},
}


@pytest.mark.parametrize("kind", TEXTS_OF_CODE)
@pytest.mark.parametrize("source", NAMING_THE_MODULE)
def test_a_module_stays_with_what_it_imports_however_code_names_it(source: str, kind: str):
    found = answer(TEXTS_OF_CODE[kind](source))

    assert MODULE <= found.held
    assert not found.doubted


@pytest.mark.parametrize("kind", TEXTS_OF_CODE)
@pytest.mark.parametrize("source", PUTTING_A_NAME_TOGETHER)
def test_a_name_that_only_a_run_could_tell_leaves_doubt(source: str, kind: str):
    found = answer(TEXTS_OF_CODE[kind](source))

    assert found.stays == {path.removeprefix(TESTS + "/") for path in PACKAGE if TESTS in path}


@pytest.mark.parametrize("kind", TEXTS_OF_CODE)
@pytest.mark.parametrize("source", NAMING_THE_DATA)
def test_data_stays_however_code_names_it(source: str, kind: str):
    assert DATA <= answer(TEXTS_OF_CODE[kind]("import rossy\n" + source)).stays


@pytest.mark.parametrize("source", NAMING_THE_DATA)
def test_data_is_held_without_the_tests_beside_it(source: str):
    assert "test_a.py" not in answer({APP: b"import rossy\n" + source.encode()}).stays


@pytest.mark.parametrize("kind", [kind for kind in TEXTS_OF_CODE if kind != "a notebook"])
@pytest.mark.parametrize("source", DECOYS)
def test_what_only_sounds_like_it_holds_nothing(source: str, kind: str):
    assert answer(TEXTS_OF_CODE[kind](source)) == (set(), set(), ())


TEXTS = {
    "app/app.ini": "[app]\nmodule = {}\n",
    "app/conf.yaml": "handlers:\n  x:\n    class: {}\n",
    "app/conf.json": '{{"module": "{}"}}',
    "app/conf.toml": 'module = "{}"\n',
    "app/.env": "SETTINGS={}\n",
    "app/settings.properties": "module={}\n",
    "app/spring.xml": "<bean class='{}'/>",
    "app/Procfile": "web: python -m {}\n",
    "app/Makefile": "run:\n\tpython -m {}\n",
    "app/run.sh": "exec python -m {}\n",
    "app/bin/start": "#!/bin/sh\nexec python -m {}\n",
    "etc/cron.d/job": "* * * * * root python -m {}\n",
    "etc/supervisor/conf.d/a.conf": "[program:x]\ncommand=gunicorn {}:app\n",
    "etc/systemd/system/a.service": "[Service]\nExecStart=/usr/bin/python3 -m {}\n",
    "app/index.js": "spawn('python', ['-m', '{}'])\n",
    f"{SITE}/x.pth": "import {}\n",
    f"{SITE}/user-1.dist-info/entry_points.txt": "[console_scripts]\nuser = {}:main\n",
    f"{SITE}/user/logging.yaml": "class: {}\n",
}


@pytest.mark.parametrize("path", TEXTS)
def test_a_module_stays_whatever_text_names_it(path: str):
    text = TEXTS[path].format("rossy.tests.fakes").encode()
    found = answer({path: text})

    assert MODULE == found.held
    assert any(evidence.startswith(f"{path}:") for evidence in found.evidence)


@pytest.mark.parametrize("path", [path for path in TEXTS if not path.startswith(SITE)])
def test_a_path_stays_whatever_text_names_it(path: str):
    found = answer({path: TEXTS[path].format(f"/{TESTS}/data/frf.csv").encode()})

    assert DATA <= found.held
    assert "test_a.py" not in found.held


RUNTIMES = {
    "Entrypoint": {"Entrypoint": ["python", "-m", "{}"]},
    "Cmd": {"Cmd": ["sh", "-c", "exec python -m {} --port 80"]},
    "Healthcheck": {"Healthcheck": {"Test": ["CMD-SHELL", "python -m {} || exit 1"]}},
    "Env DJANGO_SETTINGS_MODULE": {"Env": ["DJANGO_SETTINGS_MODULE={}"]},
    "Label command": {"Labels": {"command": "python -m {}"}},
}


@pytest.mark.parametrize("key", RUNTIMES)
def test_a_module_stays_that_the_image_names(key: str):
    runtime = json.loads(json.dumps(RUNTIMES[key]).replace("{}", "rossy.tests.fakes"))
    found = answer({}, runtime=runtime)

    assert MODULE == found.held
    assert found.evidence[0].startswith(f"{key}:")


def test_what_stands_in_another_module_than_what_joins_it_leaves_doubt():
    base = {"app/base.py": b"import os, rossy\nBASE = os.path.dirname(rossy.__file__)\n"}

    for source in (
        "DATA = 'tests/data/frf.csv'",
        "from base import BASE\np = os.path.join(BASE, 'tests', 'data', 'frf.csv')",
        "from base import BASE\np = BASE / 'tests' / 'data' / 'frf.csv'",
    ):
        found = answer({**base, APP: source.encode()})
        assert DATA <= found.doubted, source
        assert "test_a.py" not in found.stays, source
        own = {"app/tests/data/frf.csv": b"its own"}
        assert not answer({**base, **own, APP: source.encode()}).stays, source


WAV = {
    f"{SITE}/rossy/__init__.py": b"",
    f"{SITE}/rossy/io/__init__.py": b"",
    f"{SITE}/rossy/io/core.py": b"",
    f"{SITE}/rossy/io/tests/__init__.py": b"",
    f"{SITE}/rossy/io/tests/test_a.py": b"def test(): pass\n",
    f"{SITE}/rossy/io/tests/data/x.wav": b"RIFF",
    f"{SITE}/rossy/io/tests/data/y.wav": b"RIFF",
}
PATH = "tests/data/x.wav"
SAYING_BOTH = {
    "a module before a colon": f"rossy.io:{PATH}",
    "a module before a bar": f"rossy.io|{PATH}",
    "a module before a hash": f"rossy.io#{PATH}",
    "a module beside the package": f"rossy.io.core:{PATH}",
    "a module with a dot before the path": f"rossy.io:./{PATH}",
    "a scheme": f"package://rossy/io/{PATH}",
}
TEXTS_OF_DATA = {
    "app/plan.ini": "[a]\nsound = {}\n",
    "app/plan.cfg": "[a]\nsound={}\n",
    "app/plan.yaml": "sound: {}\n",
    "app/plan.yml": "sounds:\n  - '{}'\n",
    "app/plan.json": '{{"sound": "{}"}}',
    "app/plan.toml": 'sound = "{}"\n',
    "app/.env": "SOUND={}\n",
    "app/sounds.txt": "{}\n",
    "app/run.sh": "exec play '{}'\n",
    "app/main.py": "SOUND = '{}'\n",
    "app/index.js": "const sound = '{}'\n",
    f"{SITE}/user/conf.yaml": "sound: {}\n",
    f"{SITE}/user/core.py": "def f(where='{}'): pass\n",
}
APART = {
    "app/plan.ini": "[a]\npackage = {}\npath = {}\n",
    "app/plan.yaml": "package: {}\npath: {}\n",
    "app/plan.json": '{{"package": "{}", "path": "{}"}}',
    "app/plan.toml": 'package = "{}"\npath = "{}"\n',
    "app/plan.xml": '<data package="{}" path="{}"/>',
    "app/.env": "PACKAGE={}\nSOUND={}\n",
    "app/run.sh": "PACKAGE={}\nexec play $PACKAGE {}\n",
    "app/table.csv": "{},{}\n",
    "app/main.py": "PACKAGE = '{}'\nPATH = '{}'\n",
    "app/import.py": "import {}\nPATH = '{}'\n",
    "app/pair.py": "f(('{}', '{}'))\n",
    "app/dict.py": "PLAN = {{'package': '{}', 'path': '{}'}}\n",
    f"{SITE}/user/conf.yaml": "package: {}\npath: {}\n",
    f"{SITE}/user/core.py": "import {}\nPATH = '{}'\n",
}


def wav(files: dict[str, bytes], **others: object) -> Answer:
    image = facts({**WAV, **files}, **others)
    return asked(image, f"{SITE}/rossy/io/tests")


@pytest.mark.parametrize("how", SAYING_BOTH)
@pytest.mark.parametrize("path", TEXTS_OF_DATA)
def test_data_stays_where_one_text_says_its_package_and_its_path(path: str, how: str):
    found = wav({path: TEXTS_OF_DATA[path].format(SAYING_BOTH[how]).encode()})

    assert "data/x.wav" in found.held
    assert not {"data/y.wav", "test_a.py"} & found.stays


@pytest.mark.parametrize("path", APART)
def test_data_stays_where_a_text_says_its_package_and_its_path_apart(path: str):
    found = wav({path: APART[path].format("rossy.io", PATH).encode()})

    assert "data/x.wav" in found.held
    assert not {"data/y.wav", "test_a.py"} & found.stays


def test_a_package_is_named_by_how_it_is_imported():
    for source in ("from rossy import io", "from rossy import (\n    a,\n    io as b,\n)"):
        assert "data/x.wav" in wav({APP: f"{source}\nPATH = '{PATH}'\n".encode()}).held, source


@pytest.mark.parametrize("path", TEXTS_OF_DATA)
def test_the_path_of_data_alone_leaves_doubt(path: str):
    found = wav({path: TEXTS_OF_DATA[path].format(PATH).encode()})

    assert found[:2] == (set(), {"__init__.py", "data/x.wav"})


def test_what_the_environment_says_of_data_counts():
    assert "data/x.wav" in wav({}, runtime={"Env": [f"SOUND=rossy.io:{PATH}"]}).held
    apart = wav({}, runtime={"Env": ["PACKAGE=rossy.io", f"SOUND={PATH}"]})
    assert "data/x.wav" in apart.doubted


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("app/plan.ini", "[a]\n# sound = rossy.io:{}\n"),
        ("app/plan.ini", "[a]\n; sound = rossy.io:{}\n"),
        ("app/plan.yaml", "# rossy.io:{}\na: 1\n"),
        ("app/main.py", "# rossy.io:{}\n"),
        ("app/main.py", '"""rossy.io:{}"""\n'),
        ("app/plan.ini", "[a]\nsound = rossy.io:{}.bak\n"),
        ("app/plan.ini", "[a]\nsound = https://example.org/{}\npackage = rossy.io\n"),
        ("app/plan.ini", "[a]\nsound = http://{}\npackage = rossy.io\n"),
        ("app/main.py", "import rossy.io\nSOUND = 'http://{}'\n"),
        ("app/README.md", "rossy.io:{}\n"),
        ("app/setup.cfg", "rossy.io:{}\n"),
        (f"{SITE}/rossy-1.dist-info/RECORD", "rossy/io/{},,\n"),
        (f"{SITE}/rossy/io/tests/test_b.py", "import rossy.io\nPATH = '{}'\n"),
        (f"{SITE}/rossy/io/tests/plan.ini", "[a]\nsound = rossy.io:{}\n"),
    ],
)
def test_what_only_looks_like_the_path_of_data_holds_nothing(path: str, text: str):
    assert not wav({path: text.format(PATH).encode()}).stays


def test_the_folder_in_which_the_image_starts_names_what_lies_in_it():
    assert DATA <= answer({}, runtime={"WorkingDir": f"/{TESTS}/data"}).held
    opening = {APP: b"open('tests/data/frf.csv')"}
    assert DATA <= answer(opening, runtime={"WorkingDir": f"/{SITE}/rossy"}).stays


def test_a_module_named_as_an_option_or_with_a_scheme_stays():
    assert MODULE == answer({}, runtime={"Cmd": ["python", "-mrossy.tests.fakes"]}).held
    assert MODULE == answer({"app/log.yaml": b"(): ext://rossy.tests.fakes.Model\n"}).held


def test_a_notebook_starts_what_its_shell_lines_say():
    assert MODULE == answer({"app/a.ipynb": notebook("!python -m rossy.tests.fakes\n")}).held


def test_a_module_stays_that_bytecode_without_a_source_names(tmp_path: Path):
    def compiled(source: str) -> bytes:
        file = tmp_path / "closed.py"
        file.write_text(source)
        return (tmp_path / py_compile.compile(str(file), str(tmp_path / "closed.pyc"))).read_bytes()

    for source in ("from rossy.tests.fakes import Model", "import rossy.tests.fakes"):
        assert MODULE <= answer({"app/closed.pyc": compiled(source)}).held, source
    assert MODULE <= answer({"app/closed.pyc": compiled("from rossy.tests import fakes")}).stays
    assert answer({"app/closed.pyc": compiled("from rossy import tests")}).doubted
    opening = compiled("import rossy; open(x + '/tests/data/frf.csv')")
    assert DATA <= answer({"app/closed.pyc": opening}).stays
    assert not answer({"app/closed.pyc": compiled("import rossy\nx = 'rossy.testing'")}).stays


@pytest.mark.parametrize(
    "path",
    [
        f"{SITE}/rossy-1.dist-info/METADATA",
        f"{SITE}/rossy-1.dist-info/RECORD",
        f"{SITE}/rossy/README.md",
        f"{SITE}/rossy/CHANGES.txt",
        f"{SITE}/rossy/core.pyi",
        f"{SITE}/rossy/conftest.py",
        f"{SITE}/rossy/setup.py",
        f"{SITE}/rossy/Makefile",
        f"{SITE}/rossy/pytest.ini",
        "app/conftest.py",
        "app/noxfile.py",
        "app/pyproject.toml",
        "usr/share/doc/rossy/examples/run.py",
        "usr/lib/python3.11/_sysconfigdata__linux_x86_64-linux-gnu.py",
    ],
)
def test_what_people_read_lists_files_or_is_run_by_builds_and_test_runners_counts_for_nothing(path):
    source = f"import rossy.tests.fakes\nx = '/{TESTS}/data/frf.csv'\n"

    assert answer({path: source.encode()}) == (set(), set(), ())


MAIN = b"if __name__ == '__main__':\n    from rossy.tests import fakes\n"


def test_a_main_block_counts_where_something_starts_it():
    module = {f"{SITE}/user/core.py": MAIN}

    assert not answer(module).stays
    assert MODULE == answer(module, runtime={"Cmd": ["python", "-m", "user.core"]}).held
    assert MODULE == answer({**module, "app/run.sh": b"python3 -m user.core\n"}).held
    assert MODULE == answer({**module, APP: b"run([python, '-m', 'user.core'])"}).held
    assert MODULE == answer({f"{SITE}/user/__main__.py": MAIN, "r.sh": b"python -m user"}).held
    assert MODULE == answer({APP: MAIN}).held  # an application's modules are there to be started
    assert MODULE == answer(module, executable=[f"{SITE}/user/core.py"]).held


def test_a_function_that_runs_tests_leaves_doubt():
    found = answer({f"{SITE}/rossy/core.py": b"def test():\n    from rossy.tests import fakes\n"})

    assert (set(), MODULE - {"base.py"}) == (found.held, found.doubted)


def test_one_of_many_names_in_a_table_leaves_doubt():
    names = ", ".join(f"'m{number}': 'rossy.m{number}'" for number in range(20))
    found = answer({f"{SITE}/rossy/core.py": f"M = {{{names}, 'f': 'rossy.tests.fakes'}}".encode()})

    assert not found.held
    assert "fakes.py" in found.doubted


def test_a_module_that_lists_files_holds_its_folder():
    everything = {path.removeprefix(TESTS + "/") for path in PACKAGE if TESTS in path}
    for source in ("os.listdir(here)", "import_module(name)", "open(f'{__file__}/../{name}')"):
        files = {f"{TESTS}/fakes.py": source.encode(), APP: b"import rossy.tests.fakes"}
        assert answer(files).held == everything, source


def test_a_module_holds_the_data_that_it_names():
    source = b"from pathlib import Path\nX = (Path(__file__).parent / 'more' / 'x.json').open()\n"
    found = answer({f"{TESTS}/fakes.py": source, APP: b"import rossy.tests.fakes"})

    assert found.held == {"__init__.py", "fakes.py", "more/x.json"}


def test_the_whole_name_of_a_folder_holds_all_of_it():
    everything = {path.removeprefix(TESTS + "/") for path in PACKAGE if TESTS in path}

    assert answer({APP: b"load('rossy.tests')"}).held == everything
    assert answer({}, runtime={"Env": [f"PYTHONPATH=/{TESTS}"]}).held == everything
    assert answer({APP: b"import rossy.tests"}).held == {"__init__.py"}


def test_a_path_that_leads_into_its_own_package_is_not_one_of_anothers():
    own = {f"{SITE}/user/sub/tests/{name}": b"x" for name in ("test_b.py", "data/x")}
    source = {f"{SITE}/user/core.py": b"import rossy\nopen(os.path.join(m, 'tests', 'data', n))"}
    image = facts({**PACKAGE, **own, **source})

    assert not asked(image).stays
    assert asked(image, f"{SITE}/user/sub/tests").held == {"data/x"}


def test_bytecode_stays_with_its_source():
    cached = f"{TESTS}/__pycache__"
    files = {f"{cached}/{name}.cpython-311.pyc": b"x" for name in ("fakes", "test_a")}
    found = answer({**files, APP: b"import rossy.tests.fakes"})

    assert found.held == MODULE | {"__pycache__/fakes.cpython-311.pyc"}


def test_a_package_may_name_its_folder_without_opening_anything_in_it():
    only = {path: content for path, content in PACKAGE.items() if path.endswith(".py")}
    source = b"frames = os.path.join(os.path.dirname(__file__), 'tests')"

    assert not asked(facts({**only, f"{SITE}/rossy/core.py": source})).stays
    assert asked(
        facts({**only, APP: b"import rossy\nsys.path.append(rossy.__path__[0] + '/tests')"})
    ).held


def test_a_lazy_package_names_its_modules_as_texts():
    lazy = b"def __getattr__(name): ...\n_MODULES = ['core', 'tests']"

    assert answer({f"{SITE}/rossy/__init__.py": lazy}).doubted


def test_tests_that_leave_need_nothing_and_tests_that_stay_need_what_they_import():
    other, third = f"{SITE}/other/tests", f"{SITE}/third/tests"
    image = facts(
        {
            **PACKAGE,
            f"{SITE}/other/__init__.py": b"",
            f"{other}/test_it.py": b"from rossy.tests import fakes",
            f"{SITE}/third/__init__.py": b"",
            f"{third}/test_it.py": b"import other.tests.test_it",
        }
    )

    def needed(*folders: str) -> set[bytes]:
        starts = tuple(folder.encode() + b"/" for folder in folders)
        paths = [path for path in image.index.visible if path.startswith(starts)]
        return {need.suite for need in needs(image.mentions, paths)}

    assert needed(TESTS, other, third) == set()
    assert needed(TESTS, other) == {TESTS.encode(), other.encode()}  # the third stays
    assert needed(TESTS, third) == {TESTS.encode()}


def test_folders_of_tests_without_a_test_are_plug_ins():
    files = {f"{SITE}/host/plugins/test/{name}.py": b"" for name in ("__init__", "core", "files")}
    found = asked(facts(files), f"{SITE}/host/plugins/test")

    assert found.held == {"__init__.py", "core.py", "files.py"}
    assert "no file in it is named as tests are" in found.evidence[0]


def test_what_lists_the_modules_of_its_package_leaves_doubt():
    plug = {f"{SITE}/host/plugins/{name}": b"" for name in ("__init__.py", "test/test_core.py")}
    for lists in (b"iter_modules(p.__path__)", b"walk_packages(__path__, 'host.')"):
        source = {f"{SITE}/host/__init__.py": b"import pkgutil\nfound = pkgutil." + lists}
        found = asked(facts({**plug, **source}), f"{SITE}/host/plugins/test")
        assert found.doubted == {"test_core.py"}
        assert found.evidence[0].startswith(f"{SITE}/host/__init__.py:2 lists modules by ")
    leaving_out = {f"{SITE}/host/__init__.py": b"if m != 'test': walk_packages(__path__)"}
    assert not asked(facts({**plug, **leaving_out}), f"{SITE}/host/plugins/test").stays
    elsewhere = {f"{SITE}/other/__init__.py": b"walk_packages(__path__)"}
    assert not asked(facts({**plug, **elsewhere}), f"{SITE}/host/plugins/test").stays


def test_the_application_is_no_distributions_waste():
    files = {"srv/app/__init__.py": b"", "srv/app/tests/test_a.py": b"x"}
    found = asked(facts(files), "srv/app/tests")

    assert found.held == {"test_a.py"}
    assert "the application's own" in found.evidence[0]


def test_what_pip_put_elsewhere_is_a_distribution_all_the_same():
    target = {
        "var/task/pkg/__init__.py": b"",
        "var/task/pkg/tests/test_a.py": b"x",
        "var/task/pkg-1.dist-info/RECORD": b"",
    }

    assert not asked(facts(target), "var/task/pkg/tests").stays


def test_an_environment_in_a_folder_called_test_is_no_test():
    site = "opt/test/lib/python3.11/site-packages"
    image = facts({f"{site}/pkg/core.py": b"x", f"{site}/pkg/tests/test_a.py": b"y"})
    paths = [path for path in image.index.visible if path.startswith(b"opt/test/")]

    assert [need.paths for need in needs(image.mentions, paths)] == [
        (f"{site}/pkg/core.py".encode(),)
    ]


def test_names_are_looked_up_where_python_would_import_from():
    task = "srv"
    files = {
        f"{task}/tests/test_a.py": b"",
        f"{task}/x-1.dist-info/RECORD": b"",
        "opt/tool/run.py": b"import tests.test_a",
    }

    assert asked(facts(files), "srv/tests").held  # a folder that pip filled is searched
    files = {f"{SITE}/tests/test_a.py": b"", f"{SITE}/pkg/vendored/tests/test_a.py": b""}
    image = facts({**files, APP: b"import tests.test_a"})
    assert asked(image, f"{SITE}/tests").held
    assert not asked(image, f"{SITE}/pkg/vendored/tests").stays


STANDARD = {
    "usr/lib/python3.11/test/__init__.py": b"",
    "usr/lib/python3.11/test/test_os.py": b"from test import support",
    "usr/lib/python3.11/test/support/__init__.py": b"x = __file__",
}


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("_compat_pickle.py", "IMPORT_MAPPING = {'test.test_support': 'test.support'}"),
        ("idlelib/macosx.py", "def f():\n    from test.support import requires"),
        ("multiprocessing/util.py", "def _cleanup_tests():\n    from test import support"),
        ("lib2to3/refactor.py", "pkgutil.iter_modules(package.__path__)"),
        (
            "lib2to3/fixes/fix_imports.py",
            "MAPPING = {" + "'a': 'test.support', " * 20 + "}",
        ),
    ],
)
def test_what_is_known_of_the_standard_library_holds_none_of_its_tests(path: str, source: str):
    files = {**STANDARD, f"usr/lib/python3.11/{path}": source.encode()}

    assert not asked(facts(files), "usr/lib/python3.11/test").stays


def test_a_program_that_imports_the_standard_librarys_tests_keeps_them():
    files = {**STANDARD, APP: b"from test.support import captured_stdout"}

    assert asked(facts(files), "usr/lib/python3.11/test").held == {
        *("__init__.py", "test_os.py", "support/__init__.py"),
    }


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
    package = {
        f"{SITE}/{folder}/{name}": b"" for name in ("__init__.py", "_natype.py", "test_a.py")
    }
    package |= {f"{SITE}/{folder.split('/')[0]}/__init__.py": b""}
    found = asked(facts({**package, f"{SITE}/{importing}": source.encode()}), f"{SITE}/{folder}")

    assert found.evidence[0].startswith(f"{SITE}/{importing}:1 imports ")
    assert not asked(facts(package), f"{SITE}/{folder}").stays


def test_python_2_and_templates_are_searched_as_text():
    assert MODULE == answer({APP: b"print 'x'\nfrom rossy.tests import fakes\n"}).held
    assert MODULE == answer({APP: b"{% if x %}\nimport rossy.tests.fakes\n{% endif %}\n"}).held


def test_odd_sources_do_no_harm():
    deep = b"(" * 5000 + b"'tests.'" + b")" * 5000
    surrogate = b"x = '\\ud800/tests/data'"
    odd = {APP: deep, f"{SITE}/rossy/\xff.py": b"\x00import rossy.tests\x00", "app/s.py": surrogate}

    answer({**odd, "app/a.ipynb": b"[tests", "app/b.ipynb": b'{"cells": [1, "tests"]}'})


@pytest.mark.parametrize(
    "source",
    [
        b"x = {" + b"'a': tests, " * 200_000 + b"}",
        b"x = " + b"tests + \\\n" * 100_000 + b"1",
        b"(" * 1000 + b"tests " * 500_000,
        b"(" * 1000 + b"tests " * 1_900,
        b"{% if %}\n" + b"import rossy.tests\n" * 200_000,
        b"x = [" + b"'tests', " * 200_000 + b"]",
        b"x = 'tests/data' " + b"+ 'tests/data'" * 5_000,
        b"x = '" + b"/tests" * 100_000 + b"'",
    ],
)
def test_sources_made_to_be_slow_are_not(source: bytes):
    image = facts({**PACKAGE, f"{SITE}/rossy/core.py": source})
    start = time.process_time()
    found = image.mentions.outside

    # Seconds of processor time on a machine of today; what is not linear takes minutes.
    assert time.process_time() - start < 30
    assert len(found) <= 60
