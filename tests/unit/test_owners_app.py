"""The application is what a step copied in."""

from __future__ import annotations

import pytest
from tiny import image, layer

from slimmer import owners
from slimmer.attribution import Attribution
from slimmer.index import Index


def ledger(*tars: bytes, **about: object) -> Attribution:
    built = image(*tars, **about)  # type: ignore[arg-type]
    return Attribution.of(Index.scan(built, owners.evidence()), owners.default)


def owner(ledger: Attribution, path: str) -> str:
    return str(ledger.owner(path.encode()))


@pytest.mark.parametrize(
    "command",
    [
        "/bin/sh -c #(nop) COPY dir:0123abc in /srv ",
        "COPY . /srv # buildkit",
        "COPY . /srv",
        "|1 A=b /bin/sh -c #(nop) ADD file:0123 in /srv",
        "ADD --chown=app:app https://example.org/a.tar /srv # buildkit",
    ],
)
def test_what_a_copying_layer_brought_is_the_application_s(command: str):
    held = ledger(
        layer({"bin/sh": b"1"}),
        layer({"srv/main.py": b"22", "var/cache/apt/a": b"333"}),
        created_by=["ADD rootfs.tar / # buildkit", command],
    )

    assert ("unowned", "app", "cache:apt") == (
        owner(held, "bin/sh"),
        owner(held, "srv/main.py"),
        owner(held, "var/cache/apt/a"),
    )
    assert held.claim_of[b"srv/main.py"].evidence.startswith(("COPY", "ADD"))


def test_what_a_run_step_left_is_not_the_application_s():
    for command in ("RUN /bin/sh -c COPY # buildkit", "|1 A=b /bin/sh -c echo COPY x"):
        held = ledger(layer({"opt/x": b"1"}), created_by=[command])

        assert "unowned" == owner(held, "opt/x")


def test_a_copied_binary_on_an_empty_base_is_an_application():
    held = ledger(layer({"server": b"1"}), created_by=["COPY /server / # buildkit"])

    assert "app" == owner(held, "server")


def test_the_working_directory_is_the_application_s_unless_it_is_everybody_s():
    held = ledger(layer({"srv/app/made.db": b"1"}), runtime={"WorkingDir": "/srv/app"})
    other = ledger(layer({"usr/lib/x": b"1"}), runtime={"WorkingDir": "/usr"})

    assert "app" == owner(held, "srv/app/made.db")
    assert "unowned" == owner(other, "usr/lib/x")


def test_bytecode_made_later_belongs_to_the_source_that_was_copied():
    held = ledger(
        layer({"srv/main.py": b"1"}),
        layer({"srv/__pycache__/main.cpython-311.pyc": b"22"}),
        created_by=["COPY . /srv # buildkit", "RUN /bin/sh -c python -m compileall /srv"],
    )

    assert "app" == owner(held, "srv/__pycache__/main.cpython-311.pyc")


def test_evidence_is_a_short_line_without_control_characters():
    command = "ADD https://me:secret@x.example/a \x1b[31m" + "x" * 999 + " /srv"
    held = ledger(layer({"srv/a": b"1"}), created_by=[command])

    evidence = held.claim_of[b"srv/a"].evidence
    assert "secret" not in evidence
    assert len(evidence) <= 120
    assert evidence.isprintable()
