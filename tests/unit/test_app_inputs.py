"""What is read is never written over, by whichever name and whichever command."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from media import docker_archive, folder

from slimmer.cli import main

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

COMMANDS: dict[str, Callable[[str, str], list[str]]] = {
    "inspect": lambda image, out: ["inspect", image, "-o", out],
    "plan": lambda image, out: ["plan", image, "-o", out],
    "budget": lambda image, out: ["budget", image, "--max", "4GB", "-o", out],
    "diff": lambda image, out: ["diff", image, image, "-o", out],
    "verify": lambda image, out: ["verify", image, image, "--static", "-o", out],
}


def other_names(path: Path) -> dict[str, str]:
    """The file by its own name, through a symlink, a folder's symlink, and as a hard link."""
    (path.parent / "symlink.json").symlink_to(path.name)
    (path.parent / "folder").symlink_to(".")
    (path.parent / "link.json").hardlink_to(path)
    return {
        "its name": str(path),
        "another spelling": f"{path.parent}/./{path.name}",
        "a symlink": str(path.parent / "symlink.json"),
        "a folder's symlink": str(path.parent / "folder" / path.name),
        "a hard link": str(path.parent / "link.json"),
    }


@pytest.mark.parametrize("command", COMMANDS)
def test_no_command_writes_over_its_image(
    tmp_path: Path, command: str, capsys: pytest.CaptureFixture[str]
):
    path = tmp_path / "app.tar"
    path.write_bytes(docker_archive())
    before = path.read_bytes()

    for how, out in other_names(path).items():
        assert 2 == main([*COMMANDS[command](str(path), out), "--no-cache"]), how
        assert "is what is being read" in capsys.readouterr().err
    assert before == path.read_bytes()


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("name", ["index.json", "oci-layout"])
def test_no_command_writes_over_a_file_of_its_layout(tmp_path: Path, command: str, name: str):
    layout = folder(tmp_path / "layout")
    before = (layout / name).read_bytes()

    for image in (str(layout), f"oci:{layout}:latest"):
        words = COMMANDS[command](image, str(layout / name))
        assert 2 == main([*words, "--no-cache"])
    assert before == (layout / name).read_bytes()


def test_a_report_beside_the_image_is_written(tmp_path: Path):
    path = tmp_path / "app.tar"
    path.write_bytes(docker_archive())

    assert 0 == main(["inspect", str(path), "-o", str(tmp_path / "app.json"), "--no-cache"])
    assert (tmp_path / "app.json").read_bytes().startswith(b"{")
