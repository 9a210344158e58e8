"""Where libraries are found, and who loses one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from systems import facts, library

if TYPE_CHECKING:
    from slimmer.analysis.linkage import Linkage

LIB = "usr/lib/x86_64-linux-gnu"


def linkage(files: dict[str, bytes], **others: object) -> Linkage:
    return facts(files, **others).linkage


def needs(files: dict[str, bytes], path: str, **others: object) -> dict[str, str | None]:
    found = linkage(files, **others).needs(path.encode())
    return {name: place.decode() if place else None for name, place in found}


@pytest.mark.parametrize(
    ("needing", "place", "runtime"),
    [
        (library("libx.so.1"), f"{LIB}/libx.so.1", {}),
        (library("libx.so.1"), "usr/local/lib/libx.so.1", {}),
        (library("libx.so.1", runpath="$ORIGIN/../libs"), "opt/libs/libx.so.1", {}),
        (library("libx.so.1", rpath="/opt/own:${ORIGIN}"), "opt/own/libx.so.1", {}),
        (library("libx.so.1", rpath="/opt/$LIB"), "opt/lib64/libx.so.1", {}),
        (library("libx.so.1"), "srv/libx.so.1", {"Env": ["LD_LIBRARY_PATH=/x:/srv"]}),
    ],
)
def test_a_library_is_found_where_the_loader_looks(needing: bytes, place: str, runtime):
    files = {"opt/bin/program.so": needing, place: library(soname="libx.so.1")}
    found = linkage(files, runtime=runtime)

    assert found.needs(b"opt/bin/program.so") == (("libx.so.1", place.encode()),)
    assert [str(need) for need, _ in found.lost([place.encode()])] == [
        "opt/bin/program.so links libx.so.1"
    ]


def test_ld_so_conf_adds_folders():
    files = {
        "p.so": library("libx.so"),
        "opt/x/libx.so": library(),
        "other/libx.so": library(),
        "etc/ld.so.conf.d/x.conf": b"# own\n/opt/x  # here\n",
    }

    assert needs(files, "p.so") == {"libx.so": "opt/x/libx.so"}


def test_runpath_puts_rpath_out_of_force_and_comes_behind_the_environment():
    both = library("libx.so", rpath="/opt/r", runpath="/opt/run")
    files = {"p.so": both, **{f"opt/{at}/libx.so": library() for at in ("r", "run", "env")}}

    assert needs(files, "p.so") == {"libx.so": "opt/run/libx.so"}
    env = {"Env": ["LD_LIBRARY_PATH=/opt/env"]}
    assert needs(files, "p.so", runtime=env) == {"libx.so": "opt/env/libx.so"}


def test_a_library_for_another_machine_is_passed_over():
    files = {"p.so": library("libx.so"), f"{LIB}/libx.so": library(machine=183)}

    assert needs(files, "p.so") == {"libx.so": None}


def test_symlinks_are_followed_and_missed():
    files = {"p.so": library("libx.so.1"), f"{LIB}/libx.so.1.2": library(soname="libx.so.1")}
    found = linkage(files, symlinks={f"{LIB}/libx.so.1": "libx.so.1.2"})

    assert len(found.lost([f"{LIB}/libx.so.1".encode()])) == 1
    assert len(found.lost([f"{LIB}/libx.so.1.2".encode()])) == 1
    assert found.lost([b"p.so", f"{LIB}/libx.so.1.2".encode()]) == ()


def test_what_was_loaded_before_is_found_by_its_name():
    files = {
        "site/torch/lib/libtorch.so": library("libcudart.so.12"),
        "site/nvidia/lib/libcudart.so.12": library(soname="libcudart.so.12"),
    }
    found = linkage(files)

    assert found.needs(b"site/torch/lib/libtorch.so")[0][1] == b"site/nvidia/lib/libcudart.so.12"
    assert found.lost([b"site/nvidia/lib/libcudart.so.12"])


def test_another_library_of_the_name_elsewhere_is_no_substitute_for_one_that_was_found():
    files = {
        "p.so": library("libx.so"),
        f"{LIB}/libx.so": library(),
        "site/other.libs/libx.so": library(),
    }

    assert linkage(files).lost([f"{LIB}/libx.so".encode()])
    assert not linkage(files).lost([f"{LIB}/libx.so".encode()], added=[b"usr/lib/libx.so"])
    assert not linkage(files).lost([b"site/other.libs/libx.so"])


def test_the_interpreter_is_needed_too():
    loader = "lib64/ld-linux-x86-64.so.2"
    files = {"usr/bin/p": library(interpreter="/" + loader), loader: library()}
    found = linkage(files, executable=["usr/bin/p"])

    assert [str(need) for need, _ in found.lost([loader.encode()])] == [
        "usr/bin/p is run by /lib64/ld-linux-x86-64.so.2"
    ]


def test_a_name_in_a_program_is_doubt():
    files = {
        "plugin.so": library(more=b"\0libssl.so\0"),
        "tool.py": b"ctypes.CDLL('libjpeg.so.8')\nfind_library('xml2')",
        f"{LIB}/libssl.so.3": library(soname="libssl.so.3", more=b"libssl.so.3\0"),
        f"{LIB}/libjpeg.so.8": library(soname="libjpeg.so.8"),
        f"{LIB}/libxml2.so.2": library(soname="libxml2.so.2"),
        f"{LIB}/libz.so.1": library(soname="libz.so.1"),
        "site/own.libs/libz-01234567.so.1": library(more=b"libz.so.1\0"),
    }
    found = linkage(files)
    libraries = [path.encode() for path in files if path.startswith(LIB)]

    assert {path.decode(): str(need) for path, need in found.named(libraries).items()} == {
        f"{LIB}/libssl.so.3": "plugin.so names libssl.so",
        f"{LIB}/libjpeg.so.8": "tool.py names libjpeg.so.8",
        f"{LIB}/libxml2.so.2": "tool.py names libxml2.so",
    }
    assert found.named(libraries, [b"plugin.so", b"tool.py"]) == {}


def test_damaged_files_are_told_and_do_no_harm():
    whole = library("libx.so", interpreter="/x")
    files = {f"cut/{length}.so": whole[:length] for length in range(0, len(whole), 7)}
    files |= {"32.so": b"\x7fELF\x01\x01\x01" + bytes(100), "text.so": b"INPUT(libx.so.1)"}
    found = linkage(files)

    assert b"32.so" in found.unread
    assert b"text.so" not in found.unread
    assert found.lost([b"cut/0.so"]) == ()
