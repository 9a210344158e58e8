"""Tiny wheels, and tiny images that have them installed: real files, made in the test."""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import subprocess
import tarfile
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

from systems import facts_of

from slimmer.plan.protection import Protection
from slimmer.policy import Globs, Policy, Rule, Safety

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from slimmer.image import Image

SITE = "usr/local/lib/python3.11/site-packages"
TAG = "cp311-cp311-manylinux_2_28_x86_64"
MTIME = 1_700_000_000
STATUS = b"""\
Package: libc6
Status: install ok installed
Architecture: amd64
Version: 2.36-9+deb12u14

"""


def metadata(name: str, version: str, requires: Iterable[str] = ()) -> bytes:
    lines = ["Metadata-Version: 2.1", f"Name: {name}", f"Version: {version}"]
    lines += [f"Requires-Dist: {text}" for text in requires]
    return "\n".join([*lines, "", "A long description."]).encode()


def members(
    name: str,
    version: str,
    files: Mapping[str, bytes],
    requires: Iterable[str] = (),
    tag: str = TAG,
    entry_points: str = "",
) -> dict[str, bytes]:
    """What a wheel holds, without its RECORD."""
    info = f"{name.replace('-', '_')}-{version}.dist-info"
    held = dict(files)
    held[f"{info}/METADATA"] = metadata(name, version, requires)
    held[f"{info}/WHEEL"] = (
        f"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: false\nTag: {tag}\n".encode()
    )
    if entry_points:
        held[f"{info}/entry_points.txt"] = entry_points.encode()
    return held


def row(path: str, content: bytes) -> tuple[str, str, str]:
    digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
    return path, f"sha256={digest}", str(len(content))


def record(files: Mapping[str, bytes], own: str) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerows(row(path, content) for path, content in files.items())
    writer.writerow((own, "", ""))
    return text.getvalue().encode()


def wheel(
    folder: Path,
    name: str,
    version: str,
    files: Mapping[str, bytes],
    requires: Iterable[str] = (),
    *,
    tag: str = TAG,
    entry_points: str = "",
    programs: Iterable[str] = (),
    told: Mapping[str, bytes] | None = None,
) -> Path:
    """Write a wheel; `told` are contents that its RECORD tells in place of the real ones."""
    stem = f"{name.replace('-', '_')}-{version}"
    held = members(name, version, files, requires, tag, entry_points)
    own = f"{stem}.dist-info/RECORD"
    listed = held | dict(told or {})
    path = folder / f"{stem}-{tag}.whl"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for member, content in [*held.items(), (own, record(listed, own))]:
            info = zipfile.ZipInfo(member, (2026, 7, 3, 22, 22, 0))
            info.external_attr = (0o100755 if member in set(programs) else 0o100644) << 16
            archive.writestr(info, content)
    return path


def installed(
    name: str,
    version: str,
    files: Mapping[str, bytes],
    requires: Iterable[str] = (),
    *,
    scripts: Mapping[str, bytes] | None = None,
    requested: bool = False,
    site: str = SITE,
    bytecode: bool = True,
) -> dict[str, bytes]:
    """The files of an installed distribution, as pip leaves them: path in the image → content."""
    info = f"{name.replace('-', '_')}-{version}.dist-info"
    held = members(name, version, files, requires)
    held[f"{info}/INSTALLER"] = b"pip\n"
    if requested:
        held[f"{info}/REQUESTED"] = b""
    compiled = {}
    for path in files:
        folder, _, last = path.rpartition("/")
        if bytecode and last.endswith(".py"):
            compiled[f"{folder}/__pycache__/{last[:-3]}.cpython-311.pyc"] = b"bytecode"
    outer = {f"../../../bin/{script}": content for script, content in (scripts or {}).items()}
    listed = held | compiled | outer
    found = {f"{site}/{path}": content for path, content in (held | compiled).items()}
    found[f"{site}/{info}/RECORD"] = record(listed, f"{info}/RECORD")
    bin_folder = site.rpartition("/lib/")[0] + "/bin"
    for script, content in (scripts or {}).items():
        found[f"{bin_folder}/{script}"] = content
    return found


LIBC = {
    "var/lib/dpkg/status": STATUS,
    "var/lib/dpkg/info/libc6:amd64.list": b"/usr/lib/x86_64-linux-gnu/libc.so.6\n",
    "usr/lib/x86_64-linux-gnu/libc.so.6": b"\x7fELFlibc",
}
BASE: dict[str, bytes] = LIBC | {
    "usr/local/lib/python3.11/os.py": b"# os",
    "usr/local/bin/python3.11": b"\x7fELFpython",
    "etc/keep": b"kept",
}


def tar(
    files: Mapping[str, bytes],
    *,
    uid: int = 0,
    mtime: int = MTIME,
    modes: Mapping[str, int] | None = None,
    links: Mapping[str, str] | None = None,
    removed: Sequence[str] = (),
) -> bytes:
    """A layer with all its folders, as engines write them."""
    buffer = io.BytesIO()
    seen: set[str] = set()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:

        def add(name: str, kind: bytes, content: bytes = b"", link: str = "") -> None:
            member = tarfile.TarInfo(name)
            member.type, member.size, member.linkname = kind, len(content), link
            member.uid = member.gid = uid
            member.mtime = mtime
            member.mode = (modes or {}).get(name, 0o755 if kind == tarfile.DIRTYPE else 0o644)
            archive.addfile(member, io.BytesIO(content))

        def parents(path: str) -> None:
            for count in range(1, path.count("/") + 1):
                folder = "/".join(path.split("/")[:count])
                if folder not in seen:
                    seen.add(folder)
                    add(folder, tarfile.DIRTYPE)

        for path in removed:
            parents(path)
            folder, _, name = path.rpartition("/")
            add(f"{folder}/.wh.{name}", tarfile.REGTYPE)
        for path in sorted(files):
            parents(path)
            add(path, tarfile.REGTYPE, files[path])
        for path, target in (links or {}).items():
            parents(path)
            add(path, tarfile.SYMTYPE, link=target)
    return buffer.getvalue()


def system_of(
    source: Image, keep: Iterable[str] = (), keep_owners: tuple[str, ...] = ()
) -> Protection:
    return Protection(facts_of(source), Globs(tuple(keep)), keep_owners)


def rule(**options: object) -> Rule:
    return Rule(
        "cpu-wheels",
        "swap",
        Safety.RISKY,
        "nothing here meets a GPU",
        options=tuple(sorted(options.items())),
    )


def policy(one: Rule) -> Policy:
    return Policy("test", (one,), Globs(()), safety=Safety.RISKY)


def pip_finding(folder: Path) -> Callable[[Sequence[str]], subprocess.CompletedProcess[str]]:
    """A pip that finds what lies in a folder, and remembers in `asked.txt` what it was asked."""

    def run(arguments: Sequence[str]) -> subprocess.CompletedProcess[str]:
        with (folder / "asked.txt").open("a") as file:
            file.write(" ".join(arguments) + "\n")
        name, _, version = arguments[-1].partition("==")
        target = Path(arguments[arguments.index("--dest") + 1])
        for path in sorted(folder.glob(f"{name.replace('-', '_')}-{version}-*.whl")):
            (target / path.name).write_bytes(path.read_bytes())
            return subprocess.CompletedProcess(arguments, 0, "", "")
        error = f"ERROR: No matching distribution found for {arguments[-1]}\n"
        return subprocess.CompletedProcess(arguments, 1, "", error)

    return run
