"""Real wheels: fetched by pip, and laid out as pip installs them."""

import base64
import csv
import hashlib
import io
import re
import subprocess
import sys
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from layers import Member, parents, whiteout
from stand_ins import binary

SITE = "usr/local/lib/python3.11/site-packages"
SCRIPT = """\
#!/usr/local/bin/python3.11
# -*- coding: utf-8 -*-
import re
import sys
from {module} import {name}
if __name__ == '__main__':
    sys.argv[0] = re.sub(r'(-script\\.pyw|\\.exe)?$', '', sys.argv[0])
    sys.exit({name}())
"""


@dataclass(frozen=True, slots=True)
class Wheel:
    """A wheel, packed and installed."""

    name: str
    version: str
    packed: bytes
    """The wheel file itself."""
    installed: tuple[Member, ...]
    """What pip leaves under /usr/local."""


def fetch(requirements: Path, folder: Path) -> tuple[Path, ...]:
    """The pinned wheels, by pip with whatever index it is set up for; pip checks the hashes."""
    options = ["--no-deps", "--only-binary=:all:", "--require-hashes", "--implementation=cp"]
    options += [
        "--platform=manylinux2014_x86_64",
        "--python-version=3.11",
        "--abi=cp311",
        "--abi=none",
    ]
    command = [sys.executable, "-m", "pip", "--quiet", "download", *options]
    command += [f"--dest={folder}", f"--requirement={requirements}"]
    subprocess.run(command, check=True, capture_output=True, text=True)
    return tuple(sorted(folder.glob("*.whl")))


def install(path: Path, requested: frozenset[str]) -> Wheel:
    """What `pip install --no-compile` makes of a wheel without a .data folder.

    Sources: the binary distribution format and "Recording installed projects" of the packaging
    specifications; that the rows are sorted, and what a script says, are pip's own ways.
    """
    with zipfile.ZipFile(path) as archive:
        names = [name for name in archive.namelist() if not name.endswith("/")]
        contents = {name: archive.read(name) for name in names}
    (metadata,) = (name for name in names if re.fullmatch(r"[^/]+\.dist-info/METADATA", name))
    folder = metadata.removesuffix("/METADATA")
    name, version = folder.removesuffix(".dist-info").split("-")
    name = name.lower().replace("_", "-")
    contents[f"{folder}/INSTALLER"] = b"pip\n"
    if name in requested:
        contents[f"{folder}/REQUESTED"] = b""
    entry_points = contents.get(f"{folder}/entry_points.txt", b"").decode()
    for script, content in console_scripts(entry_points).items():
        contents[f"../../../bin/{script}"] = content
    contents[f"{folder}/RECORD"] = record(contents, f"{folder}/RECORD")
    members = tuple(installed(place, content) for place, content in sorted(contents.items()))
    return Wheel(name, version, path.read_bytes(), members)


def record(contents: Mapping[str, bytes], own: str) -> bytes:
    rows = io.StringIO()
    writer = csv.writer(rows, lineterminator="\n")
    for place in sorted({*contents, own}):
        if place == own:
            writer.writerow((place, "", ""))
        else:
            digest = base64.urlsafe_b64encode(hashlib.sha256(contents[place]).digest())
            writer.writerow((place, f"sha256={digest.decode().rstrip('=')}", len(contents[place])))
    return rows.getvalue().encode()


def installed(place: str, content: bytes) -> Member:
    """`place` is relative to site-packages."""
    script = place.removeprefix("../../../bin/")
    if script != place:
        return Member(f"usr/local/bin/{script}", content=content, mode=0o755)
    return Member(
        f"{SITE}/{place}", content=content, mode=0o755 if place.endswith(".so") else 0o644
    )


def console_scripts(entry_points: str) -> dict[str, bytes]:
    section = re.search(r"^\[console_scripts\]\s*\n([^\[]*)", entry_points, re.MULTILINE)
    lines = re.findall(r"^(\S+)\s*=\s*([\w.]+):(\w+)", section[1], re.MULTILINE) if section else []
    return {
        script: SCRIPT.format(module=module, name=name).encode() for script, module, name in lines
    }


def pip_cache(wheel: Wheel) -> tuple[Member, ...]:
    """pip's HTTP cache of one download: the answer's headers, and the wheel once more."""
    key = hashlib.sha224(f"{wheel.name} {wheel.version}".encode()).hexdigest()
    path = f"root/.cache/pip/http-v2/{'/'.join(key[:5])}/{key}"
    body = Member(f"{path}.body", content=wheel.packed, mode=0o600)
    return binary(path, 600, b"cc=4,", mode=0o600), body


def leftovers(old: Wheel, new: Wheel) -> tuple[Member, ...]:
    """The whiteouts of an upgrade: what only the old version had, whole folders if they can go."""
    kept = {name for member in new.installed for name in (*parents(member.name), member.name)}
    gone = set()
    for member in old.installed:
        gone.update([name for name in (*parents(member.name), member.name) if name not in kept][:1])
    return tuple(whiteout(name) for name in sorted(gone))
