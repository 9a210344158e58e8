"""The command `verify`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from tiny import layer, oci

from slimmer import cli
from slimmer.cli import main

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def test_the_command_says_what_is_worse_and_exits_with_1(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(cli, "COMMANDS", tuple(dict.fromkeys((*cli.COMMANDS, "verify"))))
    before = oci([layer({"lib/x.1": b""}, symlinks={"lib/\x1bx": "x.1"})], str(tmp_path / "before"))
    after = oci([layer({"y": b""}, symlinks={"lib/\x1bx": "x.1"})], str(tmp_path / "after"))
    arguments = ["--static", "--no-cache", "--contents"]

    assert 1 == main(["verify", before, after, *arguments])
    out = capsys.readouterr().out
    assert "lib/\\x1bx: leads to lib/x.1, which left" in out
    assert "\x1b" not in out
    assert 1 == main(["verify", before, after, *arguments, "--format", "json"])
    fields = json.loads(capsys.readouterr().out)
    assert (1, False) == (fields["schema_version"], fields["holds"])
    assert ["lost", "symlink"] == [fault["kind"] for fault in fields["faults"]]
    assert 0 == main(["verify", before, before, *arguments])
    assert "nothing is worse than before" in capsys.readouterr().out
    assert 2 == main(["verify", before, str(tmp_path / "no.tar"), *arguments])
    assert 2 == main(["verify", before, after, "--http", "nonsense"])
