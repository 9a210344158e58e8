"""Alpine packages own what apk's database names."""

from __future__ import annotations

from tiny import image, layer

from slimmer import owners
from slimmer.analysis.dependencies import DependencyGraph
from slimmer.attribution import Attribution, Owner
from slimmer.index import Index


def ledger(*tars: bytes) -> Attribution:
    return Attribution.of(Index.scan(image(*tars), owners.evidence()), owners.default)


def owner(ledger: Attribution, path: str) -> str:
    return str(ledger.owner(path.encode()))


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
