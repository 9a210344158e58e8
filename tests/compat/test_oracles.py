"""Oracles that are not ours: what freezers have learnt that distributions need, and imports.

PyInstaller's hooks and Nuitka's package configuration name data, libraries and modules that
no import shows. Of an environment with some forty requirements, `safe` and `balanced` may take
nothing that they name outside test folders, and every module imports as before.
`SLIMMER_ORACLES=all` takes twice as many requirements.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.compat

HERE = Path(__file__).parent / "oracles"
TESTS = {"test", "tests", "idle_test"}
CYTHON = (".pyx", ".pxd", ".pxi")
"""A rule of `balanced` takes these, and says so."""


@dataclass(frozen=True, slots=True)
class Environment:
    """A virtual environment, as a folder and as an image."""

    folder: Path
    site: Path
    archive: Path
    plans: dict[str, dict[str, Any]]
    """By policy."""

    def leaving(self, policy: str) -> frozenset[str]:
        """Paths below site-packages that a policy removes."""
        start = f"opt/venv/{self.site.relative_to(self.folder).as_posix()}/"
        return frozenset(
            path.removeprefix(start)
            for step in self.plans[policy]["steps"]
            for path in step.get("removes", ())
            if path.startswith(start)
        )

    def inside(self, path: str | Path) -> str | None:
        """A path below site-packages, or None where it lies elsewhere."""
        real = Path(os.path.normpath(path))
        return real.relative_to(self.site).as_posix() if real.is_relative_to(self.site) else None


def environ(**more: str) -> dict[str, str]:
    return os.environ | {"MPLBACKEND": "Agg"} | more


def archived(folder: Path, place: Path) -> Path:
    """An archive as `docker save` writes it: the folder as /opt/venv, in one layer."""
    layer = place / "layer.tar"
    with tarfile.open(layer, "w") as tar:
        tar.add(folder, "opt/venv")
    with layer.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    config = {
        "architecture": "amd64",
        "os": "linux",
        "config": {"Env": ["PATH=/opt/venv/bin"], "Cmd": ["python"]},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest}"]},
    }
    (place / "config.json").write_text(json.dumps(config))
    told = [{"Config": "config.json", "RepoTags": ["oracles:latest"], "Layers": ["layer.tar"]}]
    (place / "manifest.json").write_text(json.dumps(told))
    with tarfile.open(place / "image.tar", "w") as tar:
        for name in ("layer.tar", "config.json", "manifest.json"):
            tar.add(place / name, name)
    layer.unlink()
    return place / "image.tar"


def slimmer(*arguments: str | Path, scans: Path) -> None:
    program = Path(sys.executable).with_name("slimmer")
    done = subprocess.run(
        [program, *arguments],
        env=environ(SLIMMER_CACHE_DIR=str(scans), NO_COLOR="1"),
        capture_output=True,
        text=True,
        check=False,
    )
    assert not done.returncode, done.stderr


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Environment]:
    place = tmp_path_factory.mktemp("oracles")
    folder = place / "venv"
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    lists = ["requirements.txt"]
    if os.environ.get("SLIMMER_ORACLES") == "all":
        lists.append("requirements-more.txt")
    wanted = [argument for name in lists for argument in ("-r", HERE / name)]
    pip = [folder / "bin/python", "-m", "pip", "install", "-q", "--no-compile", *wanted]
    done = subprocess.run(pip, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"pip installs no requirements here: {done.stderr.strip()[-300:]}")
    site = next(folder.glob("lib/python3*/site-packages"))
    image = archived(folder, place)
    plans = {}
    for policy in ("safe", "balanced"):
        plan = place / f"{policy}.json"
        slimmer(
            *("plan", image, "--policy", policy, "--format", "json", "-o", plan),
            scans=place / "scans",
        )
        plans[policy] = json.loads(plan.read_text())
    yield Environment(folder, site, image, plans)
    shutil.rmtree(place)


def source_of(site: Path, name: str) -> str | None:
    """The file of a module, below site-packages."""
    path = site.joinpath(*name.split("."))
    for found in (path / "__init__.py", path.with_name(path.name + ".py")):
        if found.is_file():
            return found.relative_to(site).as_posix()
    binary = next(iter(sorted(path.parent.glob(f"{path.name}.*.so"))), None)
    return binary.relative_to(site).as_posix() if binary else None


def needed(named: dict[str, set[str]], leaving: frozenset[str]) -> list[str]:
    """What leaves though somebody names it: not in a test folder, no Cython source."""
    return sorted(
        f"{who}: {path}"
        for who, paths in named.items()
        for path in paths & leaving
        if not TESTS & set(Path(path).parts[:-1]) and not path.endswith(CYTHON)
    )


def needs(*modules: str) -> None:
    for module in modules:
        if not importlib.util.find_spec(module):
            pytest.skip(f"needs {module}: pip install -e '.[oracles]'")


@pytest.fixture(scope="module")
def hooks(environment: Environment) -> dict[str, set[str]]:
    """By hook, the files below site-packages that it names."""
    needs("PyInstaller", "_pyinstaller_hooks_contrib")

    def part(number: int) -> dict[str, Any]:
        done = subprocess.run(
            [sys.executable, HERE / "hooks.py", environment.site, str(number), "2"],
            env=environ(
                PYTHONPATH=str(environment.site),
                PYTHONPYCACHEPREFIX=str(environment.archive.parent / "bytecode"),
            ),
            cwd=environment.archive.parent,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        assert not done.returncode, done.stderr
        told: dict[str, Any] = json.loads(done.stdout)
        return told

    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(part, range(2))
    named = {}
    failed = {hook: told for hook, told in (first | second).items() if isinstance(told, str)}
    # A few ask for libraries of the system that are not here.
    assert len(failed) <= len(first | second) // 10, failed
    for hook, told in (first | second).items():
        if hook in failed:
            continue
        files = {environment.inside(path) for path in told["files"]}
        files |= {source_of(environment.site, module) for module in told["modules"]}
        named[hook] = {path for path in files if path}
    return named


@pytest.mark.parametrize("policy", ["safe", "balanced"])
def test_nothing_leaves_that_a_hook_of_pyinstaller_names(
    environment: Environment, hooks: dict[str, set[str]], policy: str
):
    assert len([hook for hook, files in hooks.items() if files]) >= 30

    assert [] == needed(hooks, environment.leaving(policy))


def rows_of_nuitka(site: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Nuitka's configuration of the modules that are installed; read, never run."""
    needs("yaml", "nuitka")
    import yaml

    spec = importlib.util.find_spec("nuitka")
    assert spec
    assert spec.origin
    path = Path(spec.origin).parent / "plugins/standard/standard.nuitka-package.config.yml"
    for row in yaml.load(path.read_text(), getattr(yaml, "CSafeLoader", yaml.SafeLoader)):
        if source_of(site, row["module-name"]):
            yield row["module-name"], row


def listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]


def package_of(site: Path, module: str) -> tuple[str, Path]:
    """The package that a module is, or is in, and its folder."""
    source = source_of(site, module)
    assert source
    name = module if source.endswith("/__init__.py") else module.rpartition(".")[0]
    return name, site / Path(source).parent


def data_of(site: Path, module: str, row: dict[str, Any]) -> Iterator[Path]:
    _, folder = package_of(site, module)
    for data in listed(row.get("data-files")):
        for name in [*listed(data.get("dirs")), *listed(data.get("raw_dirs"))]:
            yield from (folder / name).rglob("*")
        for pattern in listed(data.get("patterns")):
            yield from folder.glob(pattern)
    for library in listed(row.get("dlls")):
        told = library.get("from_filenames", {})
        place = folder / told.get("relative_path", ".")
        for prefix in listed(told.get("prefixes")):
            for suffix in listed(told.get("suffixes")) or ["so*"]:
                yield from place.glob(f"{prefix}*.{suffix}")


def modules_of(site: Path, module: str, row: dict[str, Any]) -> Iterator[str]:
    package, _ = package_of(site, module)
    for implicit in listed(row.get("implicit-imports")):
        for name in listed(implicit.get("depends")):
            full = package + name if name.startswith(".") else name
            if not full.endswith("*"):
                yield full


def own_imports(site: Path, module: str, row: dict[str, Any]) -> Iterator[str]:
    """Modules of its own that a module imports in a line which Nuitka knows, and cuts out."""
    source = source_of(site, module)
    assert source
    if not source.endswith(".py"):
        return
    text = (site / source).read_text(errors="replace")
    package, _ = package_of(site, module)
    for bloat in listed(row.get("anti-bloat")):
        for line in bloat.get("replacements_plain", {}):
            if re.search(rf"^[ \t]*{re.escape(line.strip())}", text, re.MULTILINE):
                yield from imported_by(line.strip(), package)


def imported_by(line: str, package: str) -> Iterator[str]:
    try:
        statements = ast.parse(line).body
    except SyntaxError:
        return
    for statement in statements:
        if isinstance(statement, ast.Import):
            yield from (alias.name for alias in statement.names)
        elif isinstance(statement, ast.ImportFrom):
            above = package.split(".")
            above = above[: len(above) + 1 - statement.level] if statement.level else []
            name = ".".join([*above, *listed(statement.module)])
            yield name
            yield from (f"{name}.{alias.name}" for alias in statement.names)


@pytest.mark.parametrize("policy", ["safe", "balanced"])
def test_nothing_leaves_that_nuitkas_configuration_names(environment: Environment, policy: str):
    site = environment.site
    named: dict[str, set[str]] = {}
    for module, row in rows_of_nuitka(site):
        files = {environment.inside(path) for path in data_of(site, module, row)}
        files |= {source_of(site, name) for name in modules_of(site, module, row)}
        named.setdefault(module, set()).update(path for path in files if path)
    assert len([module for module, files in named.items() if files]) >= 20

    assert [] == needed(named, environment.leaving(policy))


@pytest.mark.parametrize("policy", ["safe", "balanced"])
def test_tests_stay_that_their_own_package_imports(environment: Environment, policy: str):
    """As Nuitka knows them: it has to cut these lines out."""
    site = environment.site
    named = {
        f"{module}: {source}"
        for module, row in rows_of_nuitka(site)
        for name in own_imports(site, module, row)
        if (source := source_of(site, name))
    }
    in_tests = {one for one in named if TESTS & set(Path(one.partition(": ")[2]).parts)}
    assert len(in_tests) >= 3

    leaving = environment.leaving(policy)
    assert [] == sorted(one for one in named if one.partition(": ")[2] in leaving)


def modules(site: Path) -> dict[str, list[str]]:
    """Every module outside test folders, by its first name; parents first."""
    found: dict[str, list[str]] = {}
    for path in sorted([*site.rglob("*.py"), *site.rglob("*.so")]):
        parts = list(path.relative_to(site).parts)
        parts[-1] = parts[-1].partition(".")[0]
        if parts[-1] == "__init__":
            parts.pop()
        proper = all(part.isidentifier() for part in parts) and parts and parts[-1] != "__main__"
        if proper and not TESTS & set(parts):
            found.setdefault(parts[0], []).append(".".join(parts))
    return found


def outcomes(folder: Path, names: dict[str, list[str]], place: Path) -> dict[str, str]:
    """What came of importing each module in an environment; one process for each first name."""

    def imported(first: str) -> list[tuple[str, str]]:
        path = place / f"{first}.names"
        path.write_text("\n".join(names[first]))
        with subprocess.Popen(
            [folder / "bin/python", HERE / "imports.py", path],
            env=environ(
                HOME=str(place),
                PYTHONWARNINGS="ignore",
                PYTHONPYCACHEPREFIX=str(folder.parent / "bytecode"),
            ),
            cwd=place,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            start_new_session=True,
        ) as process:
            try:
                said, _ = process.communicate(timeout=300)
            except subprocess.TimeoutExpired:
                process.kill()
                said, _ = process.communicate()
        lines = [json.loads(line) for line in said.splitlines()]
        return [(name, outcome) for name, outcome in lines]

    with ThreadPoolExecutor(2) as pool:
        return dict(pair for pairs in pool.map(imported, sorted(names)) for pair in pairs)


def unpacked(archive: Path, folder: Path) -> Path:
    """The environment in an image, on the disk."""
    with tarfile.open(archive) as outer:
        told = json.load(outer.extractfile("manifest.json") or [])
        for name in told[0]["Layers"]:
            with tarfile.open(fileobj=outer.extractfile(name)) as layer:
                layer.extractall(folder, filter="fully_trusted")
    return folder / "opt/venv"


def test_every_module_imports_as_before(environment: Environment, tmp_path: Path):
    """Under `balanced`, which takes all that `safe` takes."""
    assert environment.leaving("safe") <= environment.leaving("balanced")
    names = modules(environment.site)
    assert sum(map(len, names.values())) > 3000
    slim = tmp_path / "slim.tar"
    plan = environment.archive.parent / "balanced.json"
    slimmer(
        *("slim", environment.archive, "--plan", plan, "--static", "-o", f"docker-archive:{slim}"),
        scans=environment.archive.parent / "scans",
    )
    before = outcomes(environment.folder, names, tmp_path)
    aside = environment.folder.with_name("before")
    environment.folder.rename(aside)
    try:
        # At the very same place: messages name it.
        unpacked(slim, tmp_path / "after").rename(environment.folder)
        after = outcomes(environment.folder, names, tmp_path)
    finally:
        shutil.rmtree(environment.folder, ignore_errors=True)
        aside.rename(environment.folder)

    assert sum(outcome == "imported" for outcome in before.values()) > 3000
    different = {
        name: (outcome, after.get(name))
        for name, outcome in before.items()
        if after.get(name) != outcome
    }
    assert {} == different


def test_an_oracle_sees_what_leaves(environment: Environment, hooks: dict[str, set[str]]):
    """The same questions of a plan that takes data: they must not stay silent."""
    data = frozenset(path for files in hooks.values() for path in files if path.endswith(".json"))

    assert needed(hooks, data)
