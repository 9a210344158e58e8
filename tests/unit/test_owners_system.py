"""What belongs to no package and is the base system's all the same."""

from __future__ import annotations

from tiny import image, layer

from slimmer import owners
from slimmer.attribution import Attribution
from slimmer.index import Index


def ledger(*tars: bytes, **about: object) -> Attribution:
    built = image(*tars, **about)  # type: ignore[arg-type]
    return Attribution.of(Index.scan(built, owners.evidence()), owners.default)


def owner(ledger: Attribution, path: str) -> str:
    return str(ledger.owner(path.encode()))


def test_generated_files_of_the_base_are_the_system_s():
    held = ledger(
        layer(
            {
                "etc/ld.so.cache": b"1",
                "var/cache/debconf": None,
                "var/cache/debconf/templates.dat": b"22",
                "etc/mine.conf": b"333",
            }
        )
    )

    assert ("system", "system", "unowned") == (
        owner(held, "etc/ld.so.cache"),
        owner(held, "var/cache/debconf/templates.dat"),
        owner(held, "etc/mine.conf"),
    )
