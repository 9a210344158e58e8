"""Documents, caches, package lists, static libraries: what names them, and what does not."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from systems import SITE, debian, distribution, facts, package
from thorough import examples

from slimmer.plan.guards import GUARDS, Finding
from slimmer.policy import Rule, Safety

if TYPE_CHECKING:
    from collections.abc import Mapping

RULE = Rule("r", "remove", Safety.SAFE, "nobody reads them")
DOC = "usr/share/doc/ca/schema.sql.gz"


def found(
    guard: str,
    leaving: Mapping[str, bytes],
    files: Mapping[str, bytes | None],
    runtime: Mapping[str, object] | None = None,
    symlinks: Mapping[str, str] | None = None,
) -> dict[str, tuple[bool, set[str]]]:
    """What a guard says of the leaving files: target → whether in doubt, and the paths."""
    known = facts({**leaving, **files}, runtime=runtime, symlinks=symlinks)
    told = list(GUARDS[guard](known, RULE, sorted(path.encode() for path in leaving)))
    for one in told:
        assert isinstance(one, Finding)
        assert one.evidence
        assert {path.decode() for path in one.paths} <= leaving.keys()
    return {one.target: (one.doubt, {path.decode() for path in one.paths}) for one in told}


def held(told: Mapping[str, tuple[bool, set[str]]]) -> set[str]:
    return {path for doubt, paths in told.values() for path in paths if not doubt}


def doubted(told: Mapping[str, tuple[bool, set[str]]]) -> set[str]:
    return {path for doubt, paths in told.values() for path in paths if doubt}


DOCUMENTS = {
    DOC: b"x",
    "usr/share/doc/ca/changelog.gz": b"x",
    "usr/share/doc/other/README": b"x",
    "usr/share/man/man1/ca.1.gz": b"x",
}


@pytest.mark.parametrize(
    ("files", "runtime"),
    [
        ({"usr/sbin/ca-init": f"#!/bin/sh\nzcat /{DOC}\n".encode()}, {}),
        ({"app/main.py": f'open("/{DOC}")\n'.encode()}, {}),
        ({"app/main.py": f'P = b"/{DOC}"\n'.encode()}, {}),
        ({"app/conf.yaml": f"schema: /{DOC}\n".encode()}, {}),
        ({"etc/ca.conf": f"schema = /{DOC}\n".encode()}, {}),
        ({"app/run.sh": f"gunzip -c <'/{DOC}' >x\n".encode()}, {}),
        ({}, {"Cmd": ["cat", f"/{DOC}"]}),
        ({}, {"Env": [f"SCHEMA=/{DOC}"]}),
        ({}, {"Cmd": ["sh", "-c", f"zcat /{DOC} | psql"]}),
        ({}, {"Healthcheck": {"Test": ["CMD-SHELL", f"test -f /{DOC}"]}}),
    ],
)
def test_a_document_that_something_names_stays_alone(
    files: Mapping[str, bytes | None], runtime: Mapping[str, object]
):
    assert {DOC} == held(found("nothing-names", DOCUMENTS, files, runtime))


@pytest.mark.parametrize(
    ("files", "runtime"),
    [
        ({"app/nginx.conf": b"location /m { alias /usr/share/doc/ca/; }\n"}, {}),
        ({"app/main.py": b"D = '/usr/share/doc/ca'\n"}, {}),
        ({}, {"Cmd": ["cp", "-r", "/usr/share/doc/ca", "/x"]}),
    ],
)
def test_a_folder_that_something_names_stays_whole(
    files: Mapping[str, bytes | None], runtime: Mapping[str, object]
):
    told = found("nothing-names", DOCUMENTS, files, runtime)

    assert {DOC, "usr/share/doc/ca/changelog.gz"} == held(told)


def test_documents_that_the_application_serves_stay():
    files = {"app/nginx.conf": b"location /doc/ { alias /usr/share/doc/; }\n"}

    told = found("nothing-names", DOCUMENTS, files)

    assert {path for path in DOCUMENTS if "/doc/" in path} == held(told)


@pytest.mark.parametrize(
    "files",
    [
        {"app/a.py": f"# /{DOC}\n".encode()},
        {"app/a.py": f'def f():\n    """Reads /{DOC}."""\n'.encode()},
        {"app/a.sh": f"echo see /{DOC}\n".encode()},
        {"app/a.sh": f"rm -f /{DOC}\n".encode()},
        {"app/README.md": f"/{DOC}\n".encode()},
        {"app/a.py": f'open("/opt/{DOC}")\n'.encode()},
        {"app/a.py": b'open("/usr/share/doc/ca/schema.sql.gzip")\n'},
        {"app/a.py": b'open("/usr/share/docs/ca")\n'},
        {"var/lib/dpkg/info/ca.list": f"/{DOC}\n".encode()},
    ],
)
def test_what_only_speaks_of_a_document_holds_nothing(files: Mapping[str, bytes | None]):
    assert not found("nothing-names", DOCUMENTS, files)


def test_a_tool_of_the_system_that_knows_where_documents_lie_holds_nothing():
    tool = debian(package("tool", {"usr/bin/tool.pl": b'open("/usr/share/doc"); "/usr/share/man"'}))

    assert not found("nothing-names", DOCUMENTS, tool)


def test_a_distribution_that_names_a_document_puts_it_in_doubt():
    files = distribution("a", {"a/b.py": f'open("/{DOC}")\n'.encode()})

    assert {DOC} == doubted(found("nothing-names", DOCUMENTS, files))


def test_manuals_are_in_doubt_where_somebody_can_read_them():
    told = found("nothing-names", DOCUMENTS, {"usr/bin/man": b"x"})

    assert {"usr/share/man/man1/ca.1.gz"} == doubted(told)


def test_what_lintian_reads_is_no_document():
    data = {"usr/share/lintian/checks/a.pm": b"x"}

    assert set(data) == held(
        found("nothing-names", data, debian(package("lintian", {**data, "usr/bin/lintian": b"x"})))
    )


def test_the_language_of_the_environment_stays():
    catalogues = {f"usr/share/locale/{name}/LC_MESSAGES/a.mo": b"x" for name in ("de", "pt_BR")}
    runtime = {"Env": ["LC_ALL=de_DE.UTF-8", "LANG=C.UTF-8"]}

    told = found("nothing-names", catalogues, {}, runtime)

    assert {"usr/share/locale/de/LC_MESSAGES/a.mo"} == held(told)


@settings(max_examples=examples(200), deadline=None)
@given(
    text=st.text(st.sampled_from("/usrhaedoc.\"'$~{}# \n")).map(lambda text: text * 3),
    place=st.sampled_from(["app/a.py", "app/a.sh", "etc/a.conf", "usr/share/doc/ca/a.pl"]),
)
def test_any_text_is_searched_without_error(text: str, place: str):
    found("nothing-names", DOCUMENTS, {place: f"{text}/usr/share/doc{text}".encode()})


# Caches

HOME = {"etc/passwd": b"root:x:0:0::/root:/bin/sh\n"}
ZIP = "root/.yarn/berry/cache/left-pad.zip"


@pytest.mark.parametrize(
    ("leaving", "files", "runtime", "symlinks"),
    [
        ({ZIP: b"x"}, {"app/.pnp.cjs": b'["../root/.yarn/berry/cache/left-pad.zip/a/"]'}, {}, {}),
        (
            {"app/.yarn/cache/a.zip": b"x"},
            {"app/.pnp.cjs": b'["./.yarn/cache/a.zip/node_modules/"]'},
            {"WorkingDir": "/app"},
            {},
        ),
        ({"root/.cache/pre-commit/r/py_env/lib/python3.11/site-packages/h.py": b"x"}, {}, {}, {}),
        (
            {"root/.cache/uv/environments-v2/a/b.py": b"x"},
            {"root/.cache/uv/environments-v2/a/pyvenv.cfg": b"x"},
            {},
            {},
        ),
        (
            {
                "root/.npm/_npx/1/node_modules/a.js": b"x",
                "root/.npm/_npx/1/node_modules/.bin/a": b"x",
            },
            {},
            {},
            {},
        ),
        ({"root/.cache/node/corepack/v1/yarn/4/yarn.js": b"x"}, {}, {}, {}),
        (
            {"root/.cache/pip/wheels/a.whl": b"x"},
            {},
            {"Env": ["PIP_FIND_LINKS=/root/.cache/pip/wheels"]},
            {},
        ),
        ({"root/.cache/pip/tool/run": b"x"}, {}, {"Cmd": ["/root/.cache/pip/tool/run"]}, {}),
        ({"root/.cache/pip/tool/run": b"x"}, {}, {"Env": ["PATH=/root/.cache/pip/tool:/bin"]}, {}),
        (
            {"root/.cache/pip/tool/run": b"x", "root/.cache/pip/tool/part": b"x"},
            {},
            {},
            {"usr/local/bin/run": "/root/.cache/pip/tool/run"},
        ),
        ({"root/.cache/pip/src/a.py": b"x"}, {f"{SITE}/e.pth": b"/root/.cache/pip/src\n"}, {}, {}),
        (
            {"root/.cache/pip/src/a.py": b"x"},
            {"app/a.sh": b"python ~/.cache/pip/src/a.py\n"},
            {},
            {},
        ),
    ],
)
def test_a_cache_that_something_leads_into_stays_whole(
    leaving: Mapping[str, bytes],
    files: Mapping[str, bytes | None],
    runtime: Mapping[str, object],
    symlinks: Mapping[str, str],
):
    told = found("nothing-points-into", leaving, {**HOME, **files}, runtime, symlinks)

    assert set(leaving) == held(told)


@pytest.mark.parametrize(
    ("files", "runtime"),
    [
        ({}, {"Env": ["PIP_CACHE_DIR=/root/.cache/pip"]}),
        ({}, {"Env": ["HOME=/root", "XDG_CACHE_HOME=/root/.cache"]}),
        ({"app/a.sh": b"rm -rf /root/.cache/pip\n"}, {}),
        ({"app/a.sh": b"#!/bin/sh\nrm -rf /root/.cache/pip/http\n"}, {"Cmd": ["/app/a.sh"]}),
        ({"app/a.py": b'CACHE = os.path.expanduser("~/.cache/pip")\n'}, {}),
        ({"app/a.py": b"# /root/.cache/pip/http/a\n"}, {}),
        ({"app/a.py": b'open("/home/u/.cache/pip/http/a")\n'}, {}),
    ],
)
def test_a_cache_that_is_only_known_may_leave(
    files: Mapping[str, bytes | None], runtime: Mapping[str, object]
):
    leaving = {"root/.cache/pip/http/a": b"x"}

    assert not found("nothing-points-into", leaving, {**HOME, **files}, runtime)


def test_what_lies_beside_an_environment_may_leave():
    leaving = {"root/.npm/_logs/a": b"x", "root/.npm/_npx/1/node_modules/.bin/a": b"x"}

    told = found("nothing-points-into", leaving, HOME)

    assert {"root/.npm/_npx/1/node_modules/.bin/a"} == held(told)
    assert not doubted(told)


def test_what_npx_looks_up_before_it_runs_an_environment_is_in_doubt():
    environment = {"root/.npm/_npx/1/node_modules/.bin/a": b"x"}
    downloads = {"root/.npm/_cacache/a": b"x"}

    told = found("nothing-points-into", {**downloads, **environment}, HOME)

    assert set(environment) == held(told)
    assert set(downloads) == doubted(told)
    assert not found("nothing-points-into", downloads, HOME), "nobody runs npx out of its cache"


def test_a_program_that_runs_out_of_its_cache_puts_it_in_doubt():
    leaving = {"root/.cache/uv/wheels/a": b"x"}

    told = found("nothing-points-into", leaving, HOME, {"Cmd": ["uvx", "ruff"]})

    assert set(leaving) == doubted(told)


def test_a_script_that_is_run_out_of_a_cache_or_a_hook_puts_it_in_doubt():
    leaving = {"root/.cache/uv/archive-v0/a/ruff.py": b"x"}
    script = {"app/s.py": b"#!/usr/bin/env -S uv run --script\n", "usr/bin/uv": b"\x7fELF"}
    hooks = {"root/.cache/pre-commit/db.db": b"x"}
    hook = {"app/.git/hooks/pre-commit": b"#!/bin/sh\nexec pre-commit hook-impl\n"}

    told = found("nothing-points-into", leaving, {**HOME, **script}, {"Cmd": ["/app/s.py"]})

    assert set(leaving) == doubted(told)
    assert set(hooks) == doubted(found("nothing-points-into", hooks, {**HOME, **hook}))


def test_what_go_reads_anew_whenever_it_starts_stays():
    leaving = {"root/go/pkg/mod/github.com/a/x.go": b"x"}

    told = found("nothing-points-into", leaving, HOME, {"Cmd": ["go", "run", "."]})

    assert set(leaving) == held(told)


def test_yarns_list_of_all_packages_is_read_however_long_it_is():
    leaving = {"root/.yarn/berry/cache/a.zip": b"x"}
    place = b'["packageLocation", "../root/.yarn/berry/cache/a.zip/node_modules/a/"]\n'
    files = {"app/.pnp.cjs": b"//" + b"x" * (3 << 20) + b"\n" + place}

    assert set(leaving) == held(found("nothing-points-into", leaving, {**HOME, **files}))


def test_a_program_that_names_its_own_cache_does_not_hold_it():
    leaving = {"var/cache/apt/archives/a.deb": b"x"}
    line = b"#!/bin/sh\nfind /var/cache/apt/archives/ -name '*.deb'\n"
    own = debian(package("apt", {"usr/lib/apt/daily.sh": line}))

    assert not found("nothing-points-into", leaving, own)
    assert set(leaving) == held(found("nothing-points-into", leaving, {"app/serve.sh": line}))


# Package lists

LISTS = {"var/lib/apt/lists/deb_Packages": b"x"}


@pytest.mark.parametrize(
    ("text", "start", "outcome"),
    [
        ("apt-get install -y curl", True, held),
        ("apt-get -q install curl && exec run", True, held),
        ("apt-get update && apt-get install -y curl", True, None),
        ("apt-get install -y curl", False, doubted),
        ("apt-get update\napt-get install -y curl", False, None),
        ("echo hello", True, None),
    ],
)
def test_lists_stay_where_something_installs_without_them(text: str, start: bool, outcome: object):
    files = {"app/run.sh": f"#!/bin/sh\n{text}\n".encode(), "usr/bin/apt-get": b"x"}

    told = found("nothing-installs", LISTS, files, {"Cmd": ["/app/run.sh"]} if start else {})

    assert bool(held(told)) == (outcome is held)
    assert bool(doubted(told)) == (outcome is doubted)


# What is read in builds

STATIC = {f"{SITE}/pkg/lib/libsund_cvodes.a": b"x"}
LINKER = {"usr/bin/ld": b"x"}


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("pkg/models.py", "E = Extension('m', libraries=['sund_cvodes'])"),
        ("pkg/models.py", "extra_link_args = ['-lsund_cvodes']"),
        ("pkg/models.py", "extra_objects=[os.path.join(d, 'libsund_cvodes.a')]"),
    ],
)
def test_a_static_library_that_a_text_links_stays_where_a_linker_is(name: str, text: str):
    files = distribution("pkg", {name: text.encode(), "pkg/lib/libsund_cvodes.a": b"x"})

    assert set(STATIC) == held(found("nothing-links-statically", STATIC, {**files, **LINKER}))
    assert not found("nothing-links-statically", STATIC, files)


@pytest.mark.parametrize(
    "program",
    [
        *("usr/bin/gcc-12", "usr/bin/x86_64-linux-gnu-g++-12", "usr/bin/c++", "usr/bin/clang++-14"),
        *("usr/bin/ld.lld-14", "usr/bin/tcc", "root/.cargo/bin/rustc", "usr/local/cuda/bin/nvcc"),
        *("opt/zig-linux-x86_64-0.11.0/zig", f"{SITE}/ziglang/zig", "opt/conda/bin/x-conda-ld"),
    ],
)
def test_every_linker_links(program: str):
    text = b"E = Extension('m', libraries=['sund_cvodes'])"
    files = distribution("pkg", {"pkg/models.py": text, "pkg/lib/libsund_cvodes.a": b"x"})

    assert set(STATIC) == held(found("nothing-links-statically", STATIC, {**files, program: b"x"}))


@pytest.mark.parametrize(
    ("name", "text", "doubt"),
    [
        ("pkg/a.cmake", "target_link_libraries(x libsund_cvodes.a)", True),
        ("pkg/a.cmake", "find_library(x NAMES sund_cvodes)", True),
        ("pkg/a.cmake", "# find_library(x NAMES sund_cvodes)", False),
        ("pkg/a.py", "x = 'sund_cvodes'", False),
        ("pkg/a.py", "# libraries=['sund_cvodes']", False),
        ("pkg/a.py", "libraries=['sund_cvodes_more']", False),
        ("pkg/a.py", "open('libsund_cvodes.bc')", False),
    ],
)
def test_a_build_file_is_doubt_and_a_word_is_nothing(name: str, text: str, doubt: bool):
    files = distribution("pkg", {name: text.encode(), "pkg/lib/libsund_cvodes.a": b"x"})

    told = found("nothing-links-statically", STATIC, {**files, **LINKER})

    assert not held(told)
    assert bool(doubted(told)) == doubt


def test_static_libraries_of_the_system_are_in_doubt_as_long_as_a_compiler_is_there():
    leaving = {"usr/lib/libc.a": b"x"}
    system = debian(package("libc6-dev", leaving))

    assert set(leaving) == doubted(found("nothing-links-statically", leaving, {**system, **LINKER}))
    assert not found("nothing-links-statically", leaving, system)


def test_static_libraries_of_the_system_stay_where_the_application_compiles():
    leaving = {"usr/lib/libc.a": b"x"}
    files = {
        **debian(package("libc6-dev", leaving)),
        **LINKER,
        "app/a.py": b"import subprocess\nsubprocess.run(['cc', '-static', 'x.c'])",
    }

    assert set(leaving) == held(found("nothing-links-statically", leaving, files))


def test_a_cython_source_stays_where_its_module_is_not_compiled():
    leaving = {f"{SITE}/a/{name}": b"x" for name in ("b.pyx", "c.pyx", "d.pxd")}
    leaving[f"{SITE}/e/f.pxd"] = b"x"

    told = found("compiled-beside", leaving, {f"{SITE}/a/b.cpython-311-x86_64-linux-gnu.so": b"x"})

    assert {f"{SITE}/a/c.pyx", f"{SITE}/e/f.pxd"} == held(told)


def executable(dotnet: bool, wide: bool = True) -> bytes:
    """A PE file of headers alone (ECMA-335, II.25)."""
    optional = bytearray(112 + 128 if wide else 96 + 128)
    optional[:2] = (0x20B if wide else 0x10B).to_bytes(2, "little")
    if dotnet:
        place = (112 if wide else 96) + 14 * 8
        optional[place : place + 8] = b"\x08\x20\0\0\x48\0\0\0"
    return b"MZ" + bytes(58) + (64).to_bytes(4, "little") + b"PE\0\0" + bytes(20) + bytes(optional)


@pytest.mark.parametrize("wide", [True, False])
def test_a_program_for_dotnet_is_no_launcher(wide: bool):
    leaving = {
        f"{SITE}/a/cli.exe": executable(True, wide),
        f"{SITE}/b/cli.exe": executable(False, wide),
        f"{SITE}/c/cli.exe": b"MZ",
    }

    assert {f"{SITE}/a/cli.exe"} == held(found("only-launches", leaving, {}))


def test_a_launcher_that_another_names_stays():
    leaving = {f"{SITE}/pip/t64.exe": executable(False)}
    own = distribution("pip", {"pip/t64.exe": executable(False), "pip/a.py": b"open('t64.exe')"})

    assert not found("only-launches", leaving, own)
    assert set(leaving) == held(
        found("only-launches", leaving, {**own, "app/a.py": b"send('t64.exe')"})
    )


def test_a_file_that_the_start_names_is_not_made_one_with_another():
    leaving = {"usr/lib/a/one.dat": b"x", "usr/lib/a/two.dat": b"x"}

    told = found("nothing-edits", leaving, {}, {"Cmd": ["edit", "/usr/lib/a/one.dat"]})

    assert {"usr/lib/a/one.dat"} == held(told)
