"""A real Debian system without its compiler: apt and dpkg themselves say that it is consistent.

Needs debootstrap, an engine and the network; SLIMMER_TEST_DEBIAN names an image of the engine that
is running to use instead of a fresh Debian.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from slimmer import owners, stores
from slimmer.actions.debian.remove import RemoveDebianPackage
from slimmer.analysis.dependencies import DependencyGraph
from slimmer.analysis.facts import Facts
from slimmer.attribution import Attribution
from slimmer.index import Index
from slimmer.plan.plan import Plan
from slimmer.policy import Policy
from slimmer.rewrite import apply
from slimmer.stores.destination import write

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.compat

DEBIAN = os.environ.get("SLIMMER_TEST_DEBIAN", "")
WITH_TOOLS = "slimmer-test-debian:tools"
WITHOUT = "slimmer-test-debian:slim"
POLICIES = Path(__file__).parents[2] / "policies"


def docker(*arguments: str) -> str:
    ran = subprocess.run(["docker", *arguments], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, f"docker {arguments[0]}: {ran.stdout[-2000:]}{ran.stderr[-2000:]}"
    return ran.stdout


def said(image: str, script: str, network: str = "none") -> str:
    return docker("run", "--rm", "--network", network, image, "sh", "-c", script)


@pytest.fixture(scope="module")
def archive(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Path]:
    """Debian with a compiler, and something of a user's that needs part of what came with it."""
    if not shutil.which("docker"):
        pytest.skip("needs docker")
    base = DEBIAN or request.getfixturevalue("debian")
    with pytest.MonkeyPatch.context() as patch:
        if not DEBIAN:
            patch.setenv("DOCKER_HOST", request.getfixturevalue("docker_socket"))
        yield from _archive(base, tmp_path_factory)


def _archive(base: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    name = f"slimmer-test-debian-{os.getpid()}"
    script = (
        "apt-get update && apt-get install -y gcc make git patch "
        "&& echo 'int omp_get_max_threads(); int main(){return !omp_get_max_threads();}' "
        "> /tmp/a.c "
        "&& gcc -fopenmp -o /usr/local/bin/own /tmp/a.c"
    )
    run = ["docker", "run", "--name", name, "--network", "host", base, "sh", "-c", script]
    try:
        if subprocess.run(run, capture_output=True, check=False).returncode:
            pytest.skip("the container cannot install packages (no network?)")
        # What the container ran would else be what the image starts, and needs gcc for.
        docker("commit", "--change", 'CMD ["own"]', name, WITH_TOOLS)
        path = tmp_path_factory.mktemp("debian") / "tools.tar"
        docker("save", "-o", str(path), WITH_TOOLS)
        yield path
    finally:
        subprocess.run(["docker", "rm", "-f", name], capture_output=True, check=False)
        subprocess.run(
            ["docker", "rmi", "-f", WITH_TOOLS, WITHOUT], capture_output=True, check=False
        )


def plan_for(path: Path) -> Plan:
    def find(name: str, source: str) -> Policy:
        text = (POLICIES / f"{name}.toml").read_text()
        return Policy.parse(text, name, find)

    index = Index.scan(stores.open(str(path)), owners.evidence())
    ledger = Attribution.of(index, owners.default)
    shipped = find("balanced", "")
    rules = tuple(rule for rule in shipped.rules if rule.name == "build-tools")
    policy = Policy("tools", rules, shipped.keep, safety=shipped.safety)
    facts = Facts(ledger, DependencyGraph.of(ledger))
    return Plan.of(facts, policy, {"remove-debian-package": RemoveDebianPackage()}, ())


def test_apt_and_dpkg_agree_that_the_compiler_was_never_there(archive):
    plan = plan_for(archive)
    slim = archive.parent / "slim.tar"
    write(apply(plan.facts.index.image, plan), f"docker-archive:{slim}:{WITHOUT}")
    docker("load", "-i", str(slim))

    gone = {name for step in plan.steps for name in dict(step.options)["packages"]}
    assert {"gcc", "make", "binutils", "libc6-dev", "cpp"} <= gone
    assert set() == gone & {"git", "libgomp1", "libc6", "perl", "dpkg", "apt"}
    listed = "dpkg-query -W -f '${Package} ${db:Status-Abbrev}\\n' | grep 'ii' | cut -d' ' -f1"
    before = set(said(WITH_TOOLS, listed).split())
    after = set(said(WITHOUT, listed).split())
    assert before - after == gone
    assert after <= before

    assert said(WITHOUT, "dpkg --audit") == ""
    said(WITHOUT, "apt-get check")
    assert "libgomp1" not in said(WITHOUT, "apt-get -s autoremove")
    assert said(WITHOUT, "find /etc/alternatives /usr/bin -xtype l") == said(
        WITH_TOOLS, "find /etc/alternatives /usr/bin -xtype l"
    )
    assert said(
        WITHOUT, "update-alternatives --get-selections | cut -c1-3 | grep -c '^cc '; :"
    ) == ("0\n")
    said(WITHOUT, "own && git --version && perl -e 'print 1'")
    assert said(WITHOUT, "dpkg --verify") == said(WITH_TOOLS, "dpkg --verify")


def test_what_left_can_be_installed_again(archive):
    plan = plan_for(archive)
    slim = archive.parent / "again.tar"
    write(apply(plan.facts.index.image, plan), f"docker-archive:{slim}:{WITHOUT}")
    docker("load", "-i", str(slim))

    said(
        WITHOUT,
        "apt-get update && apt-get install -y gcc && dpkg --audit"
        " && printf 'int main(){}' > /tmp/b.c && cc -o /tmp/b /tmp/b.c && /tmp/b",
        network="host",
    )
