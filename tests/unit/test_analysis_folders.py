"""Folders that stay when nothing is left in them."""

from __future__ import annotations

import io
import tarfile

import pytest
from systems import facts_of
from tiny import image

from slimmer.edits.changes import Changes

PASSWD = b"root:x:0:0::/root:/bin/sh\nweb:x:33:33::/srv/web:/bin/sh\n"


def tar(mode: int = 0o755, owner: tuple[int, int] = (0, 0)) -> bytes:
    """A folder at each of several places, with one file in it, and all around it."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as opened:

        def add(path: str, kind: bytes, content: bytes = b"") -> None:
            member = tarfile.TarInfo(path)
            member.type, member.size = kind, len(content)
            member.mode = 0o755
            if path == "opt/data":
                member.mode = mode
                member.uid, member.gid = owner
            opened.addfile(member, io.BytesIO(content))

        for folder in ("etc", "opt", "opt/data", "var", "var/tmp", "srv", "srv/web"):
            add(folder, tarfile.DIRTYPE)
        add("opt/link", tarfile.SYMTYPE)
        add("etc/passwd", tarfile.REGTYPE, PASSWD)
        for folder in ("opt/data", "var/tmp", "srv/web"):
            add(f"{folder}/file", tarfile.REGTYPE, b"x")
    return buffer.getvalue()


def leaves(folder: bytes, runtime: dict[str, object] | None = None, **made: object) -> bool:
    """Whether a folder leaves with its only file."""
    facts = facts_of(image(tar(**made), runtime=runtime))  # type: ignore[arg-type]
    changes = Changes.of(facts.index, [folder + b"/file"], stays=facts.stays)
    assert folder + b"/file" in changes.removed
    return folder in changes.removed


def test_an_emptied_folder_of_no_meaning_leaves():
    assert leaves(b"opt/data")


@pytest.mark.parametrize("mode", [0o1777, 0o2755, 0o3770])
def test_one_that_is_sticky_or_hands_on_its_group_stays(mode: int):
    assert not leaves(b"opt/data", mode=mode)


@pytest.mark.parametrize("owner", [(1000, 1000), (0, 4)])
def test_one_that_is_not_roots_stays(owner: tuple[int, int]):
    assert not leaves(b"opt/data", owner=owner)


@pytest.mark.parametrize(
    "runtime",
    [
        {"Volumes": {"/opt/data": {}}},
        {"Volumes": {"/opt/data/": {}, "/other": {}}},
        {"WorkingDir": "/opt/data"},
        {"Env": ["HOME=/opt/data"]},
    ],
)
def test_one_that_the_config_names_stays(runtime: dict[str, object]):
    assert not leaves(b"opt/data", runtime)


def test_a_system_folder_and_a_users_home_stay():
    assert not leaves(b"var/tmp")
    assert not leaves(b"srv/web")


def test_folders_around_one_that_stays_stay():
    facts = facts_of(image(tar(), runtime={"Volumes": {"/opt/data": {}}}))

    removed = Changes.of(facts.index, [b"opt/data/file", b"opt/link"], stays=facts.stays).removed

    assert {b"opt/data/file", b"opt/link"} == removed
