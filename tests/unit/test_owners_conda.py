"""Conda packages own what their records name."""

from __future__ import annotations

import json

from tiny import image, layer

from slimmer import owners
from slimmer.attribution import Attribution
from slimmer.index import Index


def ledger(*tars: bytes) -> Attribution:
    return Attribution.of(Index.scan(image(*tars), owners.evidence()), owners.default)


def owner(ledger: Attribution, path: str) -> str:
    return str(ledger.owner(path.encode()))


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
