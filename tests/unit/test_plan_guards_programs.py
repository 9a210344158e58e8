"""Programs and libraries that something which stays names: each way of naming, at each place."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from systems import SITE, debian, distribution, facts, library, package

from slimmer.plan.guards import GUARDS, Finding
from slimmer.policy import Rule, Safety

if TYPE_CHECKING:
    from collections.abc import Mapping

RULE = Rule("r", "remove-debian-package", Safety.CAUTION, "nobody builds")
LIB = "usr/lib/x86_64-linux-gnu"
TOOLS = ("make", "m4", "gcc", "g++", "ld", "strings", "size", "patch")


def found(
    guard: str,
    files: Mapping[str, bytes | None],
    runtime: Mapping[str, object] | None = None,
    symlinks: Mapping[str, str] | None = None,
    executable: tuple[str, ...] = (),
) -> dict[str, Finding]:
    """What a guard says of the tools and of libfoo, by target."""
    held = debian(
        package("tools", {f"usr/bin/{name}": b"tool" for name in TOOLS}),
        package("libc-dev", {"usr/include/stdio.h": b"h", f"{LIB}/libfoo.so.0": b"no ELF file"}),
        package("libfoo1", {f"{LIB}/libfoo.so.1": library(soname="libfoo.so.1")}),
        package("libwand", {f"{LIB}/libWand-6.Q16.so.6": library(soname="libWand-6.Q16.so.6")}),
        package("libpng16", {f"{LIB}/libpng16.so.16": library(soname="libpng16.so.16")}),
    )
    known = facts({**held, **files}, runtime=runtime, symlinks=symlinks, executable=executable)
    paths = sorted(
        path
        for path, claim in known.ledger.claim_of.items()
        if claim.owner.kind == "deb"
        and claim.owner.name != "dpkg"
        and path in known.index.visible
        and path.startswith(b"usr/")
    )
    return {one.target: one for one in GUARDS[guard](known, RULE, paths)}


def app(text: str, name: str = "app/main.py") -> dict[str, bytes]:
    return {name: text.encode()}


SPAWNS = [
    'import subprocess\nsubprocess.run(["make", "all"])',
    "import subprocess\nsubprocess.check_output(['make'])",
    'import subprocess\nsubprocess.Popen(\n    ["make", "-j"],\n)',
    'import subprocess\nsubprocess.run(args=["/usr/bin/make"])',
    'import subprocess\nsubprocess.run(f"make {x}", shell=True)',
    'import os\nos.system("make all")',
    'import os\nos.execvp("make", argv)',
    'import shutil\nif shutil.which("make"): pass',
    'import asyncio\nawait asyncio.create_subprocess_exec("make")',
    "import subprocess\ndef out(*a): return subprocess.run(a)\nprint(out('make', '-v'))",
    'import subprocess\ncommand = ["make", "-s", target]\nsubprocess.run(command)',
    'import subprocess\nsubprocess.run("cd /app && make all", shell=True)',
    'import subprocess\nsubprocess.run("cat rules | exec make -f -", shell=True)',
    'import subprocess\nsubprocess.run(["bash", "-lc", "make all"])',
    'import shlex, subprocess\nsubprocess.run(shlex.split("make -s all"))',
    "from invoke import task\n@task\ndef build(c):\n    c.run('make all')",
]


@pytest.mark.parametrize("text", SPAWNS)
def test_what_the_application_calls_stays(text: str):
    finding = found("nothing-calls", app(text))["make"]

    assert not finding.doubt
    assert [b"usr/bin/make"] == finding.paths
    assert finding.evidence.startswith("app/main.py:")


@pytest.mark.parametrize("text", SPAWNS)
def test_what_a_distribution_calls_is_doubt(text: str):
    files = distribution("tool", {"tool/__init__.py": text.encode()})

    assert found("nothing-calls", files)["make"].doubt


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("app/run.pl", "#!/usr/bin/perl\nsystem('make', 'all');"),
        ("app/run.rb", "system('make all')"),
        ("app/run.js", "require('child_process').execSync('make all')"),
        ("app/run.mjs", "import {execa} from 'execa'\nawait execa('make', ['all'])"),
        ("app/run.pl", "my $x = qx{make all};"),
        ("app/run.php", "<?php shell_exec('make all');"),
        ("app/run.lua", "os.execute('make all')"),
        ("app/a.ipynb", '{"cells": [{"cell_type": "code", "source": ["!make all"]}]}'),
        ("app/run.sh", "#!/bin/sh\nmake all"),
        ("app/run.sh", "cd x && exec make"),
        ("app/run.sh", "X=$(make -v)"),
    ],
)
def test_other_languages_call_too(name: str, text: str):
    assert not found("nothing-calls", app(text, name))["make"].doubt


@pytest.mark.parametrize(
    "runtime",
    [
        {"Cmd": ["make", "run"]},
        {"Cmd": ["sh", "-c", "make run"]},
        {"Entrypoint": ["/app/go"]},
        {"Env": ["BUILDER=/usr/bin/make"]},
    ],
)
def test_what_the_start_calls_stays(runtime: Mapping[str, object]):
    files = {"app/go": b"#!/bin/sh\nexec make\n"}

    finding = found("nothing-calls", files, runtime)["make"]

    assert not finding.doubt
    assert next(iter(runtime)) in finding.evidence


DECOYS = {
    "app/words.py": "import subprocess\nx = d['size']\ny = d.get('make')\nif z == 'patch': pass",
    "app/help.py": 'import subprocess\n"""\nsubprocess.run(["make"])\n"""\n',
    "app/comment.py": 'import subprocess\n# subprocess.run(["make"])\n',
    "app/no.py": 'requests.patch("x")\nrouter.call("make")\n',
    "app/setup.py": 'import subprocess\nsubprocess.run(["make"])',
    "app/tests/a.py": 'import subprocess\nsubprocess.run(["make"])',
    "app/Makefile": "all:\n\tmake sub\n",
    "app/doc.sh": "#!/bin/sh\necho run make all\n# make\ncat make.txt\n",
    "app/README.md": "run `make`",
}


@pytest.mark.parametrize("name", DECOYS)
def test_a_word_where_no_program_is_expected_holds_nothing(name: str):
    assert not found("nothing-calls", {name: DECOYS[name].encode()})


def test_a_table_of_words_in_a_distribution_holds_nothing():
    files = distribution("a", {"a/b.py": b'import subprocess\nNAMES = {"make": 1, "size": 2}\n'})

    assert not found("nothing-calls", files)


def test_a_system_package_tells_by_its_dependencies_what_it_calls():
    files = debian(package("cpan", {"usr/bin/cpan": b"#!/usr/bin/perl\nsystem('make');\n"}))

    known = facts({**files, "usr/bin/make": b"x"}, executable=["usr/bin/cpan"])

    assert not list(GUARDS["nothing-calls"](known, RULE, [b"usr/bin/make"]))


def test_a_program_is_called_by_the_name_of_a_link_to_it():
    found_ = found(
        "nothing-calls",
        app('import subprocess\nsubprocess.run(["cc", "-o", "x"])'),
        symlinks={"usr/bin/cc": "/etc/alternatives/cc", "etc/alternatives/cc": "/usr/bin/gcc"},
    )

    assert [b"usr/bin/gcc"] == found_["cc"].paths
    # What compiles needs what it compiles against.
    assert b"usr/include/stdio.h" in found_["what a compiler reads"].paths


@pytest.mark.parametrize(
    "text",
    [
        "from cffi import FFI\nffi = FFI()\nlib = ffi.verify('int f();')",
        "import torch\nf = torch.compile(model)",
        "import pyximport; pyximport.install()",
        "b = FFI()\nb.set_source('_x', '')\nb.compile(tmpdir='/tmp')",
    ],
)
def test_code_that_compiles_when_it_runs_keeps_the_compiler(text: str):
    assert not found("nothing-calls", app(text))["gcc"].doubt


def test_a_script_that_builds_when_it_is_run_by_itself_is_doubt():
    text = "f = FFI()\nf.set_source('_x', '')\nif __name__ == '__main__':\n    f.compile()"

    assert found("nothing-calls", app(text))["gcc"].doubt


def test_find_library_asks_the_compiler_where_the_cache_of_the_loader_knows_nothing():
    text = "from ctypes.util import find_library\nfind_library('mine')"

    assert found("nothing-calls", app(text))["ld"].doubt


LOADS = [
    "from ctypes.util import find_library\nfind_library('foo')",
    "import ctypes\nctypes.CDLL('libfoo.so.1')",
    "import ctypes\nfor n in ('foo', 'bar'):\n    ctypes.CDLL(find_library(n))",
    "NAMES = ['libfoo']\nimport ctypes\nctypes.cdll.LoadLibrary(NAMES[0] + '.so.1')",
    "from cffi import FFI\nffi.dlopen('libfoo.so')",
    'X = {"linux": "libfoo.so.1"}\nimport ctypes\nctypes.CDLL(X[sys.platform])',
]


@pytest.mark.parametrize("text", LOADS)
@pytest.mark.parametrize("place", ["app/main.py", f"{SITE}/pyfoo/api.py"])
def test_a_library_that_a_source_opens_by_name_stays(text: str, place: str):
    finding = found("nothing-loads", app(text, place))[f"{LIB}/libfoo.so.1"]

    assert not finding.doubt
    assert place in finding.evidence


@pytest.mark.parametrize(
    ("files", "runtime"),
    [
        ({"app/a.lua": b'local f = ffi.load("foo")'}, {}),
        ({"app/a.js": b"ffi.Library('libfoo', {})"}, {}),
        ({}, {"Env": [f"LD_PRELOAD=/{LIB}/libfoo.so.1"]}),
        ({}, {"Env": ["LD_PRELOAD=libfoo.so.1"]}),
        ({"etc/ld.so.preload": f"/{LIB}/libfoo.so.1\n".encode()}, {}),
        ({}, {"Env": [f"FOO_LIBRARY=/{LIB}/libfoo.so.1"]}),
        ({}, {"Env": ["FOO_LIBRARY=libfoo.so.1"]}),
        ({"etc/foo.conf": b"module = libfoo.so.1\n"}, {}),
        ({"app/a.sh": f"LD_PRELOAD=/{LIB}/libfoo.so.1 run\n".encode()}, {}),
    ],
)
def test_a_library_that_something_else_names_stays(
    files: Mapping[str, bytes], runtime: Mapping[str, object]
):
    assert not found("nothing-loads", files, runtime)[f"{LIB}/libfoo.so.1"].doubt


@pytest.mark.parametrize("place", ["app", f"{SITE}/pyfoo"])
def test_a_name_in_another_module_than_what_opens_it_is_doubt(place: str):
    opener = {f"{place}/load.py": b"from ctypes.util import find_library\nfind_library(name)\n"}
    names = {f"{place}/names.py": b"NAMES = ('bar', 'foo')\n"}

    assert found("nothing-loads", {**opener, **names})[f"{LIB}/libfoo.so.1"].doubt
    assert not found("nothing-loads", names)
    other = distribution("other", {"other/load.py": next(iter(opener.values()))})
    assert not found("nothing-loads", {**names, **other})


def test_a_name_in_the_environment_is_doubt_where_the_application_opens_libraries():
    runtime = {"Env": ["LIBRARIES=bar,foo"]}
    opener = app("import ctypes\nctypes.CDLL(f'lib{name}.so.1')")

    assert found("nothing-loads", opener, runtime)[f"{LIB}/libfoo.so.1"].doubt
    assert not found("nothing-loads", {}, runtime)


def test_a_notebook_opens_libraries_too():
    cell = '{"cells": [{"source": ["import ctypes\\n", "ctypes.CDLL(\\"libfoo.so.1\\")"]}]}'

    assert not found("nothing-loads", app(cell, "app/a.ipynb"))[f"{LIB}/libfoo.so.1"].doubt


def test_a_name_that_only_lacks_its_version_is_evidence_and_a_word_is_doubt():
    text = "from ctypes.util import find_library\n"

    wand = found("nothing-loads", app(text + "find_library('Wand' + suffix)"))
    png = found("nothing-loads", app(text + "find_library(f)\nkinds = ['png', 'gif']"))

    assert not wand[f"{LIB}/libWand-6.Q16.so.6"].doubt
    assert png[f"{LIB}/libpng16.so.16"].doubt


@pytest.mark.parametrize(
    "text",
    [
        "NAMES = ['foo', 'png16']",
        "import ctypes\n# ctypes.CDLL('libfoo.so.1')\n",
        'import ctypes\ndef f():\n    """CDLL("libfoo.so.1")"""\n',
        "import ctypes\nx = ctypes.c_int\nNAMES = ('foo', 'ctypes')",
        "import ctypes\nctypes.CDLL('libfoobar.so.1')",
        "import ctypes\nctypes.CDLL('libfoo.so.12')",
    ],
)
def test_a_word_that_opens_nothing_holds_no_library(text: str):
    assert not found("nothing-loads", app(text))


def links(files: Mapping[str, bytes | None], **runtime: object) -> dict[str, Finding]:
    """What the guard says where a package for developers alone brings the link to libfoo."""
    held = debian(
        package("libfoo1", {f"{LIB}/libfoo.so.1": library(soname="libfoo.so.1")}),
        package("libfoo-dev", {f"{LIB}/libfoo.so": None, "usr/include/foo.h": b"h"}),
    )
    link = {f"{LIB}/libfoo.so": "libfoo.so.1"}
    known = facts({**held, **files}, runtime=runtime, symlinks=link)
    return {
        one.target: one for one in GUARDS["nothing-loads"](known, RULE, [*map(str.encode, link)])
    }


OPENING_THE_LINK = {
    "LuaJIT": ("a.lua", 'local f = require("ffi").load("foo")'),
    "LuaJIT's name": ("a.lua", 'local ffi = require("ffi")\nlocal f = ffi.load("foo")'),
    "LuaJIT's file": ("a.lua", "local f = ffi.load('libfoo.so')"),
    "LuaJIT's path": ("a.lua", f"local f = ffi.load('/{LIB}/libfoo.so')"),
    "ctypes": ("a.py", "import ctypes\nctypes.CDLL('libfoo.so')"),
    "ctypes, by a path": ("a.py", f"import ctypes\nctypes.CDLL('/{LIB}/libfoo.so')"),
    "ctypes, put together": ("a.py", "import ctypes\nf = 'foo'\nctypes.CDLL(f'lib{f}.so')"),
    "ctypes, added": ("a.py", "import ctypes\nctypes.CDLL('lib' + 'foo' + '.so')"),
    "cffi": ("a.py", "from cffi import FFI\nFFI().dlopen('libfoo.so')"),
    "node-ffi": ("a.js", "const f = ffi.Library('libfoo', {})"),
    "koffi": ("a.js", "const f = koffi.load('libfoo.so')"),
    "Ruby's ffi": ("a.rb", "module F\n  extend FFI::Library\n  ffi_lib 'foo'\nend"),
    "Fiddle": ("a.rb", "f = Fiddle.dlopen('libfoo.so')"),
    "Julia": ("a.jl", 'ccall((:version, "libfoo"), Cstring, ())'),
    "Julia's macro": ("a.jl", 'const lib = "libfoo"\n@ccall lib.version()::Cstring'),
    "Julia's Libdl": ("a.jl", 'using Libdl\nLibdl.dlopen("libfoo")'),
    "Tcl": ("a.tcl", "load libfoo.so"),
    "Tcl, by a path": ("a.tcl", f"load /{LIB}/libfoo.so Foo"),
    "Tcl's ending": ("a.tcl", "load libfoo[info sharedlibextension]"),
    "Perl": ("a.pl", "my $f = FFI::Platypus->new(lib => find_lib_or_die(lib => 'foo'));"),
    "Perl's file": ("a.pl", "my $f = DynaLoader::dl_load_file('libfoo.so');"),
    "PHP": ("a.php", "$f = FFI::cdef('int f();', 'libfoo.so');"),
    "R": ("a.r", 'dyn.load("libfoo.so")'),
    "configuration": ("a.conf", "module = libfoo.so"),
    "a shell script": ("a.sh", "LD_PRELOAD=libfoo.so exec run"),
}


@pytest.mark.parametrize("how", OPENING_THE_LINK)
def test_the_link_that_only_a_package_for_developers_brings_stays_where_it_is_opened(how: str):
    name, text = OPENING_THE_LINK[how]
    finding = links({f"app/{name}": text.encode()})[f"{LIB}/libfoo.so"]

    assert not finding.doubt
    assert finding.evidence.startswith(f"app/{name}:")


def test_the_environment_may_name_a_link():
    assert not links({}, Env=["LD_PRELOAD=libfoo.so"])[f"{LIB}/libfoo.so"].doubt


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.py", "import ctypes, ctypes.util\nctypes.CDLL(ctypes.util.find_library('foo'))"),
        ("a.py", "import ctypes\nctypes.CDLL('libfoo.so.1')"),
        ("a.py", "from cffi import FFI\nFFI().dlopen('foo')"),
        ("a.lua", "-- ffi.load('foo')"),
        ("a.lua", "local f = ffi.load('libfoo.so.1')"),
        ("a.lua", "local f = ffi.load('food')"),
        ("a.lua", "local kinds = {'foo'}"),
        ("a.lua", "local foo = require('foo')\nlocal bar = require('ffi').load('bar')"),
        ("a.jl", '# ccall((:f, "libfoo"), Cint, ())'),
        ("a.tcl", "load libfoo.so.1"),
        ("a.tcl", "puts libfoo"),
    ],
)
def test_who_opens_the_library_itself_or_nothing_needs_no_link(name: str, text: str):
    assert not links({f"app/{name}": text.encode()})


def test_what_leaves_with_a_library_does_not_hold_it():
    held = debian(
        package("libfoo1", {f"{LIB}/libfoo.so.1": library(soname="libfoo.so.1")}),
        package("foo-tools", {"usr/share/foo/a.py": b"import ctypes\nctypes.CDLL('libfoo.so.1')"}),
    )
    known = facts(held)
    library_path = f"{LIB}/libfoo.so.1".encode()

    assert not list(GUARDS["nothing-loads"](known, RULE, [library_path, b"usr/share/foo/a.py"]))
