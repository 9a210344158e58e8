"""Bytes by owner, against what pip's own library and dpkg's own tool say of the same files."""

from __future__ import annotations

import io
import json
import os
import platform
import shutil
import subprocess
import sys
import tarfile
from collections import Counter
from importlib.metadata import distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from tiny import image, layer

from slimmer import owners, stores
from slimmer.analysis.dependencies import DependencyGraph
from slimmer.attribution import Attribution
from slimmer.index import Index

pytestmark = pytest.mark.compat

SITE = next(path for path in sys.path if path.endswith("site-packages"))
SAMPLES = Path(__file__).parents[2] / "sample_images"


def ledger_of(*tars: bytes) -> Attribution:
    return Attribution.of(Index.scan(image(*tars), owners.evidence()), owners.default)


def sizes(ledger: Attribution, kind: str) -> dict[str, int]:
    counted: Counter[str] = Counter()
    for path, claim in ledger.claim_of.items():
        if claim.owner.kind == kind:
            counted[claim.owner.name] += ledger.size_of.get(path, 0)
    return dict(counted)


def test_a_real_environment_agrees_with_importlib_metadata():
    """This very environment, put into an image as it lies on the disk."""
    site, prefix = Path(SITE), Path(SITE).parents[2]
    if not (prefix / "pyvenv.cfg").exists():
        pytest.skip("the tests do not run in a virtual environment")
    tree = set(prefix.rglob("*"))
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for path in sorted(tree):
            member = tar.gettarinfo(path, f"opt/venv/{path.relative_to(prefix)}")
            member.type = tarfile.REGTYPE if member.type == tarfile.LNKTYPE else member.type
            if member.isreg():
                member.size = path.stat().st_size
                tar.addfile(member, io.BytesIO(path.read_bytes()))
            else:
                tar.addfile(member)
    expected: dict[str, dict[Path, int]] = {}
    for found in distributions(path=[str(site)]):
        mine = expected.setdefault(canonicalize_name(found.metadata["Name"]), {})
        for file in found.files or ():
            real = Path(os.path.normpath(str(found.locate_file(file))))
            # pytest keeps the modules that it rewrites beside the others, under its own tag.
            compiled = (real.parent / "__pycache__").glob(f"{real.stem}.*.pyc")
            for path in (real, *(compiled if real.suffix == ".py" else ())):
                if path in tree and path.is_file():
                    mine[path] = path.stat().st_size
    ledger = ledger_of(buffer.getvalue())

    assert {name: sum(files.values()) for name, files in expected.items()} == sizes(ledger, "pip")
    assert () == ledger.disputes


@pytest.mark.skipif(platform.machine() != "x86_64", reason="the tiny image is for linux/amd64")
def test_requirements_of_a_real_environment_agree_with_packaging():
    found = {canonicalize_name(one.metadata["Name"]): one for one in distributions(path=[SITE])}
    metadata = {
        f"opt/venv/lib/python3/site-packages/{name}-{one.version}.dist-info/{file}": text.encode()
        for name, one in found.items()
        for file in ("METADATA", "RECORD")
        if (text := one.read_text(file))
    }
    venv = {"opt/venv/pyvenv.cfg": f"version = {platform.python_version()}\n".encode()}
    graph = DependencyGraph.of(ledger_of(layer({**metadata, **venv})))

    for name, one in found.items():
        wanted = [Requirement(text) for text in one.requires or ()]
        plain = {
            canonicalize_name(requirement.name)
            for requirement in wanted
            if not requirement.marker or requirement.marker.evaluate({"extra": ""})
        }
        every = {canonicalize_name(requirement.name) for requirement in wanted}
        (owner,) = graph.find(f"pip:{name}")
        actual = {other.name for other in graph.distributions[owner].requires}
        assert plain & found.keys() <= actual
        assert actual <= every


@pytest.mark.skipif(not shutil.which("dpkg-query"), reason="dpkg is not installed here")
def test_this_system_agrees_with_dpkg_query():
    """A few packages of the machine the tests run on, with dpkg's own database."""
    names = [
        name
        for name in ("bash", "coreutils", "dpkg", "libc-bin", "tar", "util-linux", "grep", "gzip")
        if subprocess.run(["dpkg-query", "-L", name], capture_output=True, check=False).returncode
        == 0
    ]
    buffer = io.BytesIO()
    expected: dict[str, int] = {}
    added: set[Path] = set()
    with tarfile.open(fileobj=buffer, mode="w") as tar:

        def add(path: Path) -> int:
            real = path.parent.resolve() / path.name
            if real in added or not (real.is_file() or real.is_symlink()):
                return 0
            added.add(real)
            member = tar.gettarinfo(real, str(real).lstrip("/"))
            if member.issym():
                tar.addfile(member)
                return 0
            member.type, member.size = tarfile.REGTYPE, real.stat().st_size
            with real.open("rb") as file:
                tar.addfile(member, file)
            return member.size

        for alias in map(Path, ("/bin", "/sbin", "/lib", "/lib64")):
            if alias.is_symlink():
                tar.addfile(tar.gettarinfo(alias, alias.name))
        for name in names:
            listed = subprocess.run(
                ["dpkg-query", "-L", name], capture_output=True, text=True, check=True
            ).stdout.splitlines()
            paths = [Path(line) for line in listed if line.startswith("/")]
            expected[name] = sum(add(path) for path in paths)
        database = Path("/var/lib/dpkg")
        own = sum(
            add(path)
            for path in [
                database / "status",
                *(database / "info").glob("*.list"),
                database / "diversions",
            ]
        )
    expected["dpkg"] = expected.get("dpkg", 0) + own
    actual = sizes(ledger_of(buffer.getvalue()), "deb")

    assert expected == {name: actual[name] for name in names}


def test_the_shipped_sample_agrees_with_the_truth_its_recipe_tells():
    archive, truth = SAMPLES / "small.tar", SAMPLES / "small" / "expected.json"
    if not archive.exists() or not truth.exists():
        pytest.skip("the sample image is not there")
    expected = json.loads(truth.read_text())
    index = Index.scan(stores.open(str(archive)), owners.evidence())
    ledger = Attribution.of(index, owners.default)

    assert {one["name"]: one["size"] for one in expected["distributions"]} == sizes(ledger, "pip")
    packages = {one["name"]: one["size"] for one in expected["packages"]}
    actual = sizes(ledger, "deb")
    assert packages == {name: actual[name] for name in packages}
    versions = {(one["name"], one["version"]) for one in expected["distributions"]}
    assert versions == {
        (owner.name, owner.version) for owner in ledger.paths() if owner.kind == "pip"
    }
    unowned = sum(
        ledger.size_of.get(path, 0)
        for path in index.visible
        if ledger.owner(path).kind == "unowned"
    )
    assert unowned <= 0.01 * index.unpacked
    graph = DependencyGraph.of(ledger)
    assert not [owner for owner in graph.unmet if owner.kind == "pip"]
