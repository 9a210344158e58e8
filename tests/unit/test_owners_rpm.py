"""RPM packages own what the headers of rpm's database name."""

from __future__ import annotations

import sqlite3
import struct

import pytest
from tiny import image, layer

from slimmer import owners
from slimmer.analysis.dependencies import DependencyGraph
from slimmer.attribution import Attribution
from slimmer.index import Index


def ledger(*tars: bytes) -> Attribution:
    return Attribution.of(Index.scan(image(*tars), owners.evidence()), owners.default)


def owner(ledger: Attribution, path: str) -> str:
    return str(ledger.owner(path.encode()))


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
