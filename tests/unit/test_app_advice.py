"""What to type to get an image that fits."""

from __future__ import annotations

from pathlib import Path

import pytest

from slimmer.app.advice import _target


@pytest.mark.parametrize(
    ("image", "target"),
    [
        ("app:latest", ["-t", "app:latest-slim"]),
        ("app", ["-t", "app:slim"]),
        ("docker:host:5000/app:1", ["-t", "host:5000/app:1-slim"]),
        ("host:5000/app", ["-t", "host:5000/app:slim"]),
        ("app@sha256:0", ["-t", "app:slim"]),
        ("oci:folder:tag", ["-o", "oci:slim:latest"]),
        ("mine.tar", ["-o", "mine-slim.tar"]),
    ],
)
def test_the_slim_image_goes_beside_the_one_it_is_made_of(
    image: str, target: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    Path("mine.tar").touch()

    assert target == _target(image)
