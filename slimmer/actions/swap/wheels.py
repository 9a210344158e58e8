"""Wheels for an image: which ones fit it, where they are found, and what is inside of them.

Sources: the binary-distribution-format, platform-compatibility-tags and core-metadata
specifications of the PyPA; `pip download` for where this host finds its packages. The tags are
those of the image's interpreter, C library and machine; those of the host play no part.
"""

from __future__ import annotations

import hashlib
import importlib.util
import re
import shutil
import subprocess
import sys
import tempfile
import weakref
import zipfile
from dataclasses import dataclass, field
from email.parser import HeaderParser
from pathlib import Path
from typing import TYPE_CHECKING

from packaging.tags import Tag, compatible_tags, cpython_tags
from packaging.utils import (
    InvalidWheelFilename,
    canonicalize_name,
    canonicalize_version,
    parse_wheel_filename,
)
from packaging.version import InvalidVersion, Version

from slimmer.ecosystems.machines import machine as machine_of
from slimmer.ecosystems.python import Requirement, Site, environment
from slimmer.errors import SlimmerError
from slimmer.names import one_line

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from slimmer.analysis.facts import Facts
    from slimmer.attribution import Claim

CHUNK = 1 << 20
"""Bytes of a wheel that are held at a time."""
CUDA_NAME = re.compile(
    r"(?:nvidia|cuda)-.+|(?:pytorch-)?triton|jax-cuda\d+-(?:plugin|pjrt)|cupy(?:-cuda\d+x)?"
).fullmatch
"""Distributions, by their normalised names, that are of no use without an NVIDIA GPU."""
CUDA_LIBRARY = re.compile(
    r"(?:.*/)?lib(?:torch_cuda|c10_cuda|cudart|cublas|cudnn|cufft|cusparse|cusolver|curand|nvrtc"
    r"|nvJitLink|nccl|nvshmem_host|onnxruntime_providers_(?:cuda|tensorrt))[^/]*\.so[^/]*",
    re.DOTALL,
).fullmatch
_LEGACY = {17: "manylinux2014", 12: "manylinux2010", 5: "manylinux1"}
"""glibc 2.x that an older spelling of a tag stands for (PEP 600)."""


class WheelError(SlimmerError):
    """A wheel that cannot be found, read or trusted, or an image that no tag is known for."""


@dataclass(frozen=True, slots=True)
class Target:
    """What a wheel must fit: the interpreter, the C library and the machine of an image."""

    python: tuple[int, int]
    full: str
    """The interpreter's whole version, such as `3.11.2`."""
    abi: str
    """Such as `cp311`, or `cp313t` for an interpreter without the global lock."""
    platforms: tuple[str, ...]
    """Platform tags, best first."""
    machine: str
    libc: str
    """For people: `glibc 2.36`."""

    @classmethod
    def of(cls, facts: Facts, claim: Claim, tags: Sequence[str] = ()) -> Target:
        """Where a distribution of the image is installed; `tags` are those of its own wheel.

        Raises WheelError where the image does not tell.
        """
        python, threads = _python(facts, claim, tags)
        architecture = facts.index.image.platform.architecture
        machine = machine_of(architecture)
        platforms, libc = _platforms(facts, machine, tags)
        minor = f"{python[0]}.{python[1]}"
        full = [
            one.owner.version
            for one in facts.ledger.claims
            if one.owner.kind == "python" and one.owner.version.startswith(minor + ".")
        ]
        abi = f"cp{python[0]}{python[1]}{threads}"
        return cls(python, full[0] if full else f"{minor}.0", abi, platforms, machine, libc)

    def tags(self) -> Iterator[Tag]:
        """The tags of the wheels that fit, best first."""
        yield from cpython_tags(self.python, [self.abi], self.platforms)
        interpreter = f"cp{self.python[0]}{self.python[1]}"
        yield from compatible_tags(self.python, interpreter, self.platforms)

    def environment(self) -> Mapping[str, str]:
        """The variables of environment markers (PEP 508)."""
        return environment(self.full, self.machine)

    def __str__(self) -> str:
        return f"{self.abi} on {self.libc} {self.machine}"


def _python(facts: Facts, claim: Claim, tags: Sequence[str]) -> tuple[tuple[int, int], str]:
    """Version of the interpreter that a distribution is for, and `t` for free threads."""
    site = Site.parse(claim.site)
    if site and site.pypy:
        raise WheelError("the interpreter is PyPy, for which no CUDA build is known")
    if site and site.minor.startswith("3."):
        return (3, int(site.minor[2:])), "t" if site.threads else ""
    for tag in tags:
        binary = re.match(r"cp3(\d+)-cp3\d+(t?)-", tag)
        if binary:
            return (3, int(binary[1])), binary[2]
    versions = {one.owner.version for one in facts.ledger.claims if one.owner.kind == "python"}
    minors = {tuple(version.split(".")[:2]) for version in versions if version.count(".")}
    if len(minors) == 1:
        major, minor = minors.pop()
        return (int(major), int(re.sub(r"\D.*", "", minor))), ""
    raise WheelError("nothing tells which Python these distributions are for")


def _platforms(facts: Facts, machine: str, tags: Sequence[str]) -> tuple[tuple[str, ...], str]:
    """Platform tags for the image's C library (PEP 600, PEP 656), best first, and its name."""
    for claim in facts.ledger.claims:
        kind, name, version = claim.owner
        match = re.match(r"(?:\d+:)?(\d+)\.(\d+)", version)
        if match is None:
            continue
        if kind in ("apk", "conda") and name == "musl":
            return _musllinux(int(match[2]), machine), f"musl {match[1]}.{match[2]}"
        if (kind == "deb" and name.partition(":")[0] in ("libc6", "libc6.1")) or (
            kind == "rpm" and name == "glibc"
        ):
            return _manylinux(int(match[2]), machine), f"glibc {match[1]}.{match[2]}"
    # No package database: what runs in the image today says what its C library can do.
    for tag in tags:
        many = re.search(r"(manylinux|musllinux)_(\d+)_(\d+)_" + re.escape(machine), tag)
        if many:
            make, libc = (_manylinux, "glibc") if many[1] == "manylinux" else (_musllinux, "musl")
            return make(int(many[3]), machine), f"{libc} {many[2]}.{many[3]} or newer"
        for minor, name in _LEGACY.items():
            if tag.endswith(f"{name}_{machine}"):
                return _manylinux(minor, machine), f"glibc 2.{minor} or newer"
    raise WheelError("nothing tells which C library the image has")


def _manylinux(minor: int, machine: str) -> tuple[str, ...]:
    oldest = 5 if machine in ("x86_64", "i686") else 17
    found: list[str] = []
    for number in range(minor, oldest - 1, -1):
        found.append(f"manylinux_2_{number}_{machine}")
        if number in _LEGACY:
            found.append(f"{_LEGACY[number]}_{machine}")
    return (*found, f"linux_{machine}")


def _musllinux(minor: int, machine: str) -> tuple[str, ...]:
    found = [f"musllinux_1_{number}_{machine}" for number in range(minor, -1, -1)]
    return (*found, f"linux_{machine}")


class Wheel:
    """A wheel file that is held open, so that what was checked is what will be written."""

    def __init__(self, path: Path, *, unlink: bool = False) -> None:
        """Open a wheel; `unlink` takes its name away once that is done."""
        self.file_name = path.name
        try:
            name, version, _, tags = parse_wheel_filename(path.name)
            self._file = path.open("rb")
            weakref.finalize(self, self._file.close)
            self.sha256 = hashlib.file_digest(self._file, "sha256").hexdigest()
            self.zip = zipfile.ZipFile(self._file)
        except InvalidWheelFilename as error:
            raise WheelError(f"no wheel by its name: {one_line(str(error))}") from None
        except (OSError, zipfile.BadZipFile) as error:
            raise WheelError(f"the wheel {path.name} cannot be read: {error}") from None
        if unlink:
            path.unlink()
        self.name: str = name
        """Normalised name of the distribution."""
        self.version: Version = version
        self.tags: frozenset[Tag] = tags
        names = self.zip.namelist()
        if len(set(names)) != len(names):
            raise WheelError(f"{path.name} holds two files of the same name")
        folders = {one.partition("/")[0] for one in names if ".dist-info/" in one}
        wanted = {
            folder
            for folder in folders
            if canonicalize_name(folder.removesuffix(".dist-info").partition("-")[0]) == name
        }
        if len(folders) != 1 or not wanted:
            raise WheelError(f"{path.name} does not hold the one .dist-info folder of {name}")
        self.dist_info = wanted.pop()
        text = self.read(f"{self.dist_info}/METADATA").decode("utf-8", "replace")
        metadata = HeaderParser().parsestr(text)
        told = canonicalize_name(metadata["Name"] or ""), metadata["Version"] or ""
        if told[0] != name or canonicalize_version(told[1]) != canonicalize_version(version):
            raise WheelError(
                f"{path.name} says in its METADATA that it is {one_line(' '.join(told))}"
            )
        self.requires: tuple[str, ...] = tuple(metadata.get_all("Requires-Dist", ()))
        self.provides: tuple[str, ...] = tuple(metadata.get_all("Provides-Extra", ()))

    def read(self, member: str) -> bytes:
        """A small member as a whole."""
        try:
            return self.zip.read(member)
        except (KeyError, zipfile.BadZipFile, OSError, EOFError) as error:
            raise WheelError(f"{self.file_name}: {member} cannot be read: {error}") from None

    def fits(self, target: Target) -> bool:
        return any(tag in self.tags for tag in target.tags())

    def cuda(self, target: Target) -> str:
        """What speaks against this being a CPU build, by its requirements and its members' names;
        empty where nothing does."""
        for text in self.requires:
            requirement = Requirement.parse(text)
            if (
                requirement is not None
                and CUDA_NAME(requirement.name)
                and requirement.holds(target.environment())
            ):
                return f"it requires {one_line(text)}"
        for name in self.zip.namelist():
            if CUDA_LIBRARY(name):
                return f"it holds {one_line(name)}"
        return ""


@dataclass(frozen=True, slots=True)
class Wheels:
    """Where wheels are found: files that were named, then what this host's pip finds."""

    find_links: tuple[str, ...] = ()
    """Folders or pages, beside those of pip's own configuration."""
    index_url: str | None = None
    """Package index in place of the one of pip's own configuration."""
    offline: bool = False
    """Ask no index: only what `find_links` and pip's own configuration name."""
    run: Callable[[Sequence[str]], subprocess.CompletedProcess[str]] | None = None
    """Runs pip with these arguments; None for the pip of this host."""
    found: dict[tuple[str, ...], Wheel] = field(default_factory=dict, repr=False, compare=False)

    def given(self, path: str, sha256: str = "") -> Wheel:
        """The wheel in a file; raises WheelError where it is another one than `sha256` says."""
        key = ("file", path)
        if key not in self.found:
            self.found[key] = Wheel(Path(path))
        return _same(self.found[key], sha256)

    def get(self, name: str, version: str, target: Target, sha256: str = "") -> Wheel | None:
        """The wheel of exactly that version for the target, or None where there is none.

        Raises WheelError where it cannot be looked for, or is another one than `sha256` says.

        Name and version may come from a plan file or from the image, and pip builds what a URL,
        a path or an option names: they are a name and a version, or pip never sees them.
        """
        name, version = _checked(name, version)
        key = ("name", name, version, target.abi, *target.platforms, str(self.offline))
        wheel = self.found.get(key)
        if wheel is None:
            wheel = self._download(name, version, target)
            if wheel is None:
                return None
            self.found[key] = wheel
        return _same(wheel, sha256)

    def _download(self, name: str, version: str, target: Target) -> Wheel | None:
        with tempfile.TemporaryDirectory(prefix="slimmer-") as folder:
            arguments = ["download", "--dest", folder, "--no-deps"]
            arguments += ["--only-binary=:all:", "--no-input", "--disable-pip-version-check"]
            arguments += ["--progress-bar=off", "--quiet", "--implementation=cp"]
            arguments += [f"--abi={target.abi}", f"--python-version={_plain(target.full)}"]
            arguments += [f"--platform={platform}" for platform in target.platforms]
            arguments += [f"--find-links={place}" for place in self.find_links]
            arguments += [f"--index-url={self.index_url}"] if self.index_url else []
            arguments += ["--no-index"] if self.offline else []
            arguments += ["--", f"{name}=={version}"]
            done = (self.run or _pip)(arguments)
            wheels = sorted(Path(folder).glob("*.whl"))
            if done.returncode or len(wheels) != 1:
                errors = [line for line in done.stderr.splitlines() if line.startswith("ERROR")]
                if not errors or any("No matching distribution" in line for line in errors):
                    return None
                reason = one_line(errors[0].removeprefix("ERROR:").strip())
                raise WheelError(
                    f"pip could not get {name}=={version}: {reason:.200}",
                    hint="pip download says more; a wheel file can be given as it is",
                )
            return Wheel(wheels[0], unlink=True)


def _checked(name: str, version: str) -> tuple[str, str]:
    """A distribution's name and version in their normal forms (PEP 503, PEP 440)."""
    normal = canonicalize_name(name)
    try:
        if not _NAME(name):
            raise InvalidVersion
        return normal, str(Version(version))
    except InvalidVersion:
        raise WheelError(
            f"expected the name and version of a distribution, got {f'{name}=={version}'!r:.120}",
            hint="if a plan file says so, it was forged: make the plan again",
        ) from None


_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,200}[A-Za-z0-9])?\Z").match
"""PyPA's name format (Names and normalization)."""


def _same(wheel: Wheel, sha256: str) -> Wheel:
    if sha256 and wheel.sha256 != sha256.lower():
        raise WheelError(
            f"{wheel.file_name} is not the wheel that was asked for: its SHA-256 is "
            f"{wheel.sha256[:12]}…, not {sha256[:12]}…",
            hint="give the folder with the right one: --find-links FOLDER",
        )
    return wheel


def _plain(version: str) -> str:
    match = re.match(r"\d+(?:\.\d+){0,2}", version)
    return match[0] if match else version


def _pip(arguments: Sequence[str]) -> subprocess.CompletedProcess[str]:
    """Run this host's pip, whose configuration says where packages come from."""
    if importlib.util.find_spec("pip") is not None:
        command = [sys.executable, "-m", "pip"]
    elif (pip := shutil.which("pip") or shutil.which("pip3")) is not None:
        command = [pip]
    else:
        raise WheelError(
            "there is no pip on this host to find wheels with",
            hint="install pip, or give the wheel as a file: --swap NAME=FILE",
        )
    return subprocess.run(
        [*command, *arguments],
        check=False,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        errors="replace",
    )
