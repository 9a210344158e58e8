"""Packages of systems and of other languages: dpkg, apk, rpm, conda, npm."""

from __future__ import annotations

import json
import sqlite3
import struct

import pytest
from tiny import image, layer

from slimmer import owners
from slimmer.analysis.dependencies import DependencyGraph
from slimmer.attribution import Attribution, Owner
from slimmer.index import Index

INFO = "var/lib/dpkg/info"
STATUS = b"""Package: libc6
Status: install ok installed
Architecture: amd64
Multi-Arch: same
Version: 2.36-9

Package: dpkg
Status: install ok installed
Architecture: amd64
Version: 1.21
Pre-Depends: libc6 (>= 2.15),
 tar (>= 1.28)
Depends: libzstd1 | libzstd2
Description: manager
 Depends: not a field

Package: libc6
Status: install ok installed
Architecture: i386
Version: 2.36-8
"""


def ledger(*tars: bytes) -> Attribution:
    return Attribution.of(Index.scan(image(*tars), owners.evidence()), owners.default)


def owner(ledger: Attribution, path: str) -> str:
    return str(ledger.owner(path.encode()))


def test_a_list_names_files_and_the_status_tells_version_and_requirements():
    held = ledger(
        layer(
            {
                "var/lib/dpkg/status": STATUS,
                f"{INFO}/dpkg.list": b"/.\n/usr\n/usr/bin\n/usr/bin/dpkg\n",
                "usr/bin": None,
                "usr/bin/dpkg": b"1",
            }
        )
    )

    assert "deb:dpkg 1.21" == owner(held, "usr/bin/dpkg")
    assert "deb:dpkg 1.21" == owner(held, "var/lib/dpkg/status")
    assert "deb:dpkg 1.21" == owner(held, "usr/bin")
    assert ("libc6 (>= 2.15)", "tar (>= 1.28)", "libzstd1 | libzstd2") == held.claim_of[
        b"usr/bin/dpkg"
    ].requires


def test_lists_of_several_architectures_are_told_apart():
    held = ledger(
        layer(
            {
                "var/lib/dpkg/status": STATUS,
                f"{INFO}/libc6:amd64.list": b"/lib/x86_64-linux-gnu/libc.so.6\n",
                f"{INFO}/libc6:i386.list": b"/lib/i386-linux-gnu/libc.so.6\n",
                "usr/lib/x86_64-linux-gnu/libc.so.6": b"1",
                "usr/lib/i386-linux-gnu/libc.so.6": b"22",
            },
            symlinks={"lib": "usr/lib"},
        )
    )

    assert "deb:libc6 2.36-9" == owner(held, "usr/lib/x86_64-linux-gnu/libc.so.6")
    assert "deb:libc6:i386 2.36-8" == owner(held, "usr/lib/i386-linux-gnu/libc.so.6")


def test_a_folder_of_many_packages_is_the_base_system_s_without_a_dispute():
    held = ledger(
        layer(
            {
                f"{INFO}/a.list": b"/usr\n/usr/bin\n",
                f"{INFO}/base-files.list": b"/usr\n/usr/bin\n",
                "usr": None,
                "usr/bin": None,
            }
        )
    )

    assert "deb:base-files" == owner(held, "usr/bin")
    assert () == held.disputes


def test_merged_usr_is_no_dispute_about_its_symlinks():
    held = ledger(
        layer(
            {
                f"{INFO}/a.list": b"/bin\n/bin/a\n",
                f"{INFO}/b.list": b"/bin\n/bin/b\n",
                "usr/bin/a": b"1",
                "usr/bin/b": b"22",
            },
            symlinks={"bin": "usr/bin"},
        )
    )

    assert ("deb:a", "deb:b") == (owner(held, "usr/bin/a"), owner(held, "usr/bin/b"))
    assert () == held.disputes


def test_a_diverted_file_stays_with_the_package_it_came_from():
    held = ledger(
        layer(
            {
                f"{INFO}/bash.list": b"/usr/bin/sh\n",
                f"{INFO}/dash.list": b"/usr/bin/sh\n",
                "var/lib/dpkg/diversions": b"/usr/bin/sh\n/usr/bin/sh.distrib\ndash\n",
                "usr/bin/sh": b"1",
                "usr/bin/sh.distrib": b"22",
            }
        )
    )

    assert "deb:dash" == owner(held, "usr/bin/sh")
    assert "deb:bash" == owner(held, "usr/bin/sh.distrib")
    assert () == held.disputes


def test_a_system_package_beats_the_python_distribution_inside_it():
    site = "usr/lib/python3/dist-packages"
    held = ledger(
        layer(
            {
                f"{INFO}/python3-six.list": f"/{site}/six.py\n".encode(),
                f"{site}/six.py": b"1",
                f"{site}/__pycache__/six.cpython-311.pyc": b"22",
                f"{site}/six-1.0.dist-info/METADATA": b"Name: six\nVersion: 1.0\n",
                f"{site}/six-1.0.dist-info/top_level.txt": b"six\n",
            }
        )
    )

    assert "deb:python3-six" == owner(held, f"{site}/six.py")
    assert "deb:python3-six" == owner(held, f"{site}/__pycache__/six.cpython-311.pyc")


def test_distroless_keeps_a_control_file_and_sums_by_package():
    held = ledger(
        layer(
            {
                "var/lib/dpkg/status.d/libssl3": b"Package: libssl3\nVersion: 3.0\n",
                "var/lib/dpkg/status.d/libssl3.md5sums": b"0123  usr/lib/libssl.so.3\n",
                "usr/lib/libssl.so.3": b"1",
            }
        )
    )

    assert "deb:libssl3 3.0" == owner(held, "usr/lib/libssl.so.3")
    assert "deb:libssl3 3.0" == owner(held, "var/lib/dpkg/status.d/libssl3.md5sums")


def test_apk_names_files_below_their_folders():
    installed = (
        b"C:Q1=\nP:musl\nV:1.2.4-r2\np:so:libc.musl-x86_64.so.1=1\nF:lib\nR:ld-musl.so\na:0:0:755\n"
        b"\nP:curl\nV:8\nD:so:libc.musl-x86_64.so.1 !bad\nF:usr/bin\nR:curl\n\n"
    )
    held = ledger(
        layer({"lib/apk/db/installed": installed, "lib/ld-musl.so": b"1", "usr/bin/curl": b"22"})
    )

    assert ("apk:musl 1.2.4-r2", "apk:curl 8", "apk:apk-tools") == (
        owner(held, "lib/ld-musl.so"),
        owner(held, "usr/bin/curl"),
        owner(held, "lib/apk/db/installed"),
    )
    assert (Owner("apk", "musl", "1.2.4-r2"),) == DependencyGraph.of(held).distributions[
        Owner("apk", "curl", "8")
    ].requires


def rpm_header(tags: dict[int, object]) -> bytes:
    """A header as rpm stores it: a number is INT32, a list of texts STRING_ARRAY, a text STRING."""
    entries, store = b"", b""
    for tag, value in tags.items():
        if isinstance(value, str):
            kind, count, content = 6, 1, value.encode() + b"\0"
        elif isinstance(value, list) and value and isinstance(value[0], int):
            store += bytes(-len(store) % 4)
            kind, count, content = 4, len(value), struct.pack(f">{len(value)}I", *value)
        else:
            assert isinstance(value, list)
            kind, count = 8, len(value)
            content = b"".join(text.encode() + b"\0" for text in value)
        entries += struct.pack(">IIiI", tag, kind, len(store), count)
        store += content
    return struct.pack(">II", len(tags), len(store)) + entries + store


def rpm_database(*headers: bytes, journal: str = "delete") -> bytes:
    connection = sqlite3.connect(":memory:")
    connection.execute("CREATE TABLE Packages (hnum INTEGER PRIMARY KEY, blob BLOB NOT NULL)")
    connection.executemany("INSERT INTO Packages (blob) VALUES (?)", [(h,) for h in headers])
    connection.commit()
    database = bytes(connection.serialize())
    connection.close()
    return database[:18] + b"\x02\x02" + database[20:] if journal == "wal" else database


BASH = {
    1000: "bash",
    1001: "5.1",
    1002: "6.el9",
    1003: [2],
    1049: ["libc.so.6()(64bit)", "rpmlib(X)"],
    1116: [0, 1],
    1117: ["bash", "README"],
    1118: ["/bin/", "/usr/share/doc/bash/"],
}
GLIBC = {1000: "glibc", 1001: "2", 1002: "1", 1047: ["libc.so.6()(64bit)"]}


@pytest.mark.parametrize("journal", ["delete", "wal"])
@pytest.mark.parametrize("folder", ["var/lib/rpm", "usr/lib/sysimage/rpm"])
def test_rpm_headers_are_read_out_of_the_sqlite_database(folder: str, journal: str):
    database = rpm_database(rpm_header(BASH), rpm_header(GLIBC), b"\0\0", journal=journal)
    held = ledger(
        layer(
            {
                f"{folder}/rpmdb.sqlite": database,
                "usr/bin/bash": b"1",
                "usr/share/doc/bash/README": b"22",
            },
            symlinks={"bin": "usr/bin"},
        )
    )

    assert "rpm:bash 2:5.1-6.el9" == owner(held, "usr/bin/bash")
    assert "rpm:bash 2:5.1-6.el9" == owner(held, "usr/share/doc/bash/README")
    assert "rpm:rpm" == owner(held, f"{folder}/rpmdb.sqlite")
    (bash,) = DependencyGraph.of(held).find("bash")
    assert ["glibc"] == [one.name for one in DependencyGraph.of(held).distributions[bash].requires]


@pytest.mark.parametrize(
    "damage", [b"", b"SQLite format 3\0", b"x" * 5000, b"SQLite format 3\0" + bytes(8000)]
)
def test_a_damaged_rpm_database_claims_only_itself(damage: bytes):
    held = ledger(layer({"var/lib/rpm/rpmdb.sqlite": damage, "bin/x": b"1"}))

    assert "unowned" == owner(held, "bin/x")


def test_a_truncated_rpm_database_does_no_harm():
    whole = rpm_database(*[rpm_header(BASH)] * 50)
    for length in range(0, len(whole), 509):
        ledger(layer({"var/lib/rpm/rpmdb.sqlite": whole[:length]}))


def test_npm_packages_are_trees_and_the_copies_of_a_version_one_owner():
    package = json.dumps({"name": "ms", "version": "2.0.0"}).encode()
    app = json.dumps({"name": "@a/b", "version": "1.0", "dependencies": {"ms": "*"}}).encode()
    held = ledger(
        layer(
            {
                "srv/node_modules/ms/package.json": package,
                "srv/node_modules/ms/lib/x.js": b"1",
                "srv/node_modules/@a/b/package.json": app,
                "srv/node_modules/@a/b/node_modules/ms/package.json": package,
                "srv/node_modules/@a/b/node_modules/ms/y.js": b"22",
                "srv/node_modules/broken/package.json": b"[1, {",
                "srv/node_modules/broken/z.js": b"333",
            }
        )
    )

    assert "npm:ms 2.0.0" == owner(held, "srv/node_modules/ms/lib/x.js")
    assert "npm:ms 2.0.0" == owner(held, "srv/node_modules/@a/b/node_modules/ms/y.js")
    assert "npm:@a/b 1.0" == owner(held, "srv/node_modules/@a/b/package.json")
    assert "npm:broken" == owner(held, "srv/node_modules/broken/z.js")
    graph = DependencyGraph.of(held)
    assert (Owner("npm", "ms", "2.0.0"),) == graph.distributions[
        Owner("npm", "@a/b", "1.0")
    ].requires


def test_node_is_told_by_its_header():
    header = b"#define NODE_MAJOR_VERSION 20\n#define NODE_MINOR_VERSION 1\n"
    held = ledger(
        layer(
            {
                "usr/local/include/node/node_version.h": header,
                "usr/local/bin/node": b"1",
                "usr/local/bin/nodemon": b"22",
            }
        )
    )

    assert "node 20.1.0" == owner(held, "usr/local/bin/node")
    assert "unowned" == owner(held, "usr/local/bin/nodemon")


def test_conda_records_name_files_of_their_own_environment():
    record = {
        "name": "zlib",
        "version": "1.3",
        "depends": ["libgcc-ng >=12", "__glibc >=2.17"],
        "files": ["lib/libz.so.1", "include/zlib.h"],
    }
    held = ledger(
        layer(
            {
                "opt/conda/conda-meta/zlib-1.3-0.json": json.dumps(record).encode(),
                "opt/conda/conda-meta/history": b"==>",
                "opt/conda/lib/libz.so.1": b"1",
                "opt/conda/pkgs/zlib-1.3-0/lib/libz.so.1": b"22",
                "lib/libz.so.1": b"333",
            }
        )
    )

    assert "conda:zlib 1.3" == owner(held, "opt/conda/lib/libz.so.1")
    assert "conda:conda" == owner(held, "opt/conda/conda-meta/history")
    assert "cache:conda" == owner(held, "opt/conda/pkgs/zlib-1.3-0/lib/libz.so.1")
    assert "unowned" == owner(held, "lib/libz.so.1")
    (claim,) = [claim for claim in held.claims if claim.owner.name == "zlib"]
    assert ("libgcc-ng >=12",) == claim.requires
