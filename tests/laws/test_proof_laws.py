"""Nobody fools a proof: whatever is done to a written image beside the plan is a fault."""

from __future__ import annotations

import io
import json
import tarfile
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from proofs import image, looked, plan_of, step, written
from thorough import examples
from tiny import Bytes, layer

from slimmer.errors import SlimmerError
from slimmer.image import Config, Digest, Image, ImageError
from slimmer.proof.verify import verify

if TYPE_CHECKING:
    from collections.abc import Callable

RUNTIME = {
    "Env": ["PATH=/bin", "A=1"],
    "Entrypoint": ["/bin/run"],
    "Cmd": ["serve", "/srv/data"],
    "User": "nobody",
    "WorkingDir": "/srv",
    "Healthcheck": {"Test": ["CMD", "run", "health"]},
    "ExposedPorts": {"80/tcp": {}},
    "Volumes": {"/srv/volume": {}},
    "StopSignal": "SIGINT",
    "Labels": {"own": "label"},
    "OnBuild": ["RUN true"],
    "Shell": ["/bin/sh", "-c"],
}


def programs(info: tarfile.TarInfo) -> None:
    if info.name.startswith("bin/") and info.isreg():
        info.mode = 0o755


def remade(tar: bytes, change: Callable[[list[tuple[tarfile.TarInfo, bytes]]], None]) -> bytes:
    """A tar with its members changed, added to, or put in another order."""
    with tarfile.open(fileobj=io.BytesIO(tar)) as file:
        members = [
            (info, file.extractfile(info).read() if info.isreg() else b"")  # type: ignore[union-attr]
            for info in file
        ]
    change(members)
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as new:
        for info, content in members:
            info.size = len(content)
            new.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def original() -> Image:
    def change(members: list[tuple[tarfile.TarInfo, bytes]]) -> None:
        for info, _ in members:
            programs(info)

    first = layer(
        {
            "bin": None,
            "bin/run": b"#!/bin/sh\n",
            "bin/sh": b"\x7fELF?",
            "srv": None,
            "srv/data": b"some data",
            "srv/leaves": b"leaves",
        },
        links={"srv/hard": "srv/data"},
        symlinks={"srv/soft": "data"},
    )
    second = layer({"opt": None, "opt/a": b"aaaa", "opt/z": b""}, removed=["srv/nothing"])
    return image(remade(first, change), second, runtime=RUNTIME)


BEFORE = looked(original())
PLAN = plan_of(BEFORE, step(b"srv/leaves"))
RESULT = written(PLAN)


def tars() -> list[bytes]:
    return [one.content.tar for one in RESULT.layers]  # type: ignore[attr-defined]


class Checked(Bytes):
    """As media do it: whoever reads all of a layer hears that it is not what it is called."""

    def __init__(self, tar: bytes, diff_id: Digest) -> None:
        super().__init__(tar)
        self.diff_id = diff_id

    def open(self) -> Any:
        if Digest.of(self.tar) != self.diff_id:
            raise ImageError(f"no tar with the digest {self.diff_id}")
        return super().open()


def made(
    layers: list[bytes], config: dict[str, Any] | None = None, *, honest: bool = True
) -> Image:
    """An image of these layers; one that is not honest goes on naming the old diff_ids."""
    fields = json.loads(RESULT.config.raw) | (config or {})
    if honest:
        fields["rootfs"] = {"type": "layers", "diff_ids": [Digest.of(tar) for tar in layers]}
    parsed = Config.parse(json.dumps(fields).encode())
    contents = [Checked(*one) for one in zip(layers, parsed.diff_ids, strict=True)]
    return Image.of("tiny:fooled", parsed, [(one, None, None) for one in contents])


def caught(after: Image) -> bool:
    try:
        facts = looked(after)
    except SlimmerError:
        return True  # it cannot even be looked at, and the command says so
    return not verify(BEFORE, facts, PLAN, contents=True).holds


def test_what_was_written_holds():
    assert verify(BEFORE, looked(RESULT), PLAN, contents=True).holds


HEADER = {
    "mode": st.integers(0, 0o7777),
    "uid": st.integers(0, 70_000),
    "gid": st.integers(0, 70_000),
    "mtime": st.integers(0, 2_000_000_000),
    "linkname": st.sampled_from(("data", "/srv/data", "bin/run", "srv/soft", "nowhere")),
    "name": st.sampled_from(("srv/other", "x", "bin/run2")),
    "type": st.sampled_from((b"0", b"1", b"2", b"5", b"6")),
}


@given(st.data())
@settings(max_examples=examples(600), deadline=None)
def test_every_change_of_a_header_is_a_fault(data: st.DataObject):
    number = data.draw(st.integers(0, len(tars()) - 1))
    name = data.draw(st.sampled_from(sorted(HEADER)))
    value = data.draw(HEADER[name])
    honest = data.draw(st.booleans())
    changed = False

    def change(members: list[tuple[tarfile.TarInfo, bytes]]) -> None:
        nonlocal changed
        info, _ = members[data.draw(st.integers(0, len(members) - 1))]
        seen = name != "linkname" or info.issym() or info.islnk()
        old = getattr(info, name)
        # What a hard link names is a path of the image's root, with or without a slash ahead.
        same = old == value or (name == "linkname" and info.islnk() and f"/{old}" == value)
        changed = seen and not same and not info.name.startswith("srv/.wh")
        setattr(info, name, value)

    layers = tars()
    layers[number] = remade(layers[number], change)

    assert caught(made(layers, honest=honest)) or not changed


@given(st.data())
@settings(max_examples=examples(400), deadline=None)
def test_every_change_of_the_members_is_a_fault(data: st.DataObject):
    layers = tars()
    number = data.draw(st.integers(0, len(layers) - 1))
    how = data.draw(st.sampled_from(("drop", "byte", "cut", "add", "twice")))
    honest = data.draw(st.booleans())
    changed = True

    def change(members: list[tuple[tarfile.TarInfo, bytes]]) -> None:
        nonlocal changed
        place = data.draw(st.integers(0, len(members) - 1))
        info, content = members[place]
        match how:
            case "drop":
                changed = ".wh." not in info.name
                del members[place]
            case "byte" if content:
                at = data.draw(st.integers(0, len(content) - 1))
                other = bytes([content[at] ^ data.draw(st.integers(1, 255))])
                members[place] = info, content[:at] + other + content[at + 1 :]
            case "cut" if content:
                members[place] = info, content[: data.draw(st.integers(0, len(content) - 1))]
            case "add":
                new = tarfile.TarInfo(
                    data.draw(st.sampled_from(("srv/new", "etc/x", "bin/.wh.run")))
                )
                members.insert(place, (new, b""))
                changed = number > 0 or ".wh." not in new.name
            case "twice":
                members.append((info, content))
            case _:
                changed = False

    layers[number] = remade(layers[number], change)

    assert caught(made(layers, honest=honest)) or not changed


@given(st.data())
@settings(max_examples=examples(400), deadline=None)
def test_every_change_of_a_layers_bytes_is_a_fault(data: st.DataObject):
    layers = tars()
    number = data.draw(st.integers(0, len(layers) - 1))
    tar = layers[number]
    honest = data.draw(st.booleans())
    match data.draw(st.sampled_from(("end", "cut", "flip", "drop", "swap", "more"))):
        case "end":
            layers[number] = tar + bytes(512) + data.draw(st.binary(min_size=1)) + b"!"
        case "cut":
            layers[number] = tar[: data.draw(st.integers(0, len(tar.rstrip(b"\0")) - 1))]
        case "flip":
            at = data.draw(st.integers(0, len(tar.rstrip(b"\0")) - 1))
            layers[number] = tar[:at] + bytes([tar[at] ^ 1]) + tar[at + 1 :]
            honest = False
        case "drop":
            del layers[number]
            honest = True
        case "swap":
            layers.reverse()
        case "more":
            layers.append(layer({"opt/a": b"other"}))
            honest = True

    assert caught(made(layers, honest=honest))


@pytest.mark.parametrize("key", sorted(RUNTIME))
@pytest.mark.parametrize("gone", [False, True])
def test_every_change_of_the_config_is_a_fault(key: str, gone: bool):
    config = dict(json.loads(RESULT.config.raw)["config"])
    config[key] = None if gone else {"Labels": {"own": "2"}}.get(key, ["/nope"])
    if key in ("User", "WorkingDir", "StopSignal") and not gone:
        config[key] = "/nope"
    if key in ("ExposedPorts", "Volumes", "Healthcheck") and not gone:
        config[key] = {"Test": ["CMD", "x"]} if key == "Healthcheck" else {"/nope": {}}

    after = looked(made(tars(), {"config": config}))

    assert not verify(BEFORE, after, PLAN).holds
    assert not verify(BEFORE, after).holds


@pytest.mark.parametrize(("key", "value"), [("architecture", "arm64"), ("os", "windows")])
def test_another_platform_is_a_fault(key: str, value: str):
    assert caught(made(tars(), {key: value}))
