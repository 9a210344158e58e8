"""The policies that come with slimmer: that they parse, explain themselves, and take no more than
they may (FIELD, what may go and what must stay)."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from systems import SITE, debian, distribution, facts, package

from slimmer.plan.protection import Protection
from slimmer.policy import GUARDS, Policy, Safety

if TYPE_CHECKING:
    from slimmer.analysis.facts import Facts

FOLDER = Path(__file__).parents[2] / "policies"
NAMES = ("safe", "balanced", "aggressive")


def policy(name: str, source: str = "") -> Policy:
    return Policy.parse((FOLDER / f"{name}.toml").read_text(), f"policies/{name}.toml", policy)


@pytest.mark.parametrize("name", NAMES)
def test_every_rule_says_why_and_on_which_figure_it_rests(name: str):
    for rule in policy(name).rules:
        assert len(rule.why.split()) > 5, rule.name
        assert rule.why.endswith("."), rule.name
        assert rule.evidence, rule.name
        assert set(rule.guards) <= set(GUARDS)
        assert (
            rule.selector.owners
            or rule.selector.paths
            or rule.action
            in (
                "drop-hidden",
                "drop-bytecode",
                "link-duplicates",
                "symbols",
                "device-code",
                "swap",
            )
        ), f"{rule.name} would take everything"


def test_each_policy_takes_no_more_than_its_safety_and_all_that_the_one_before_it_takes():
    safe, balanced, aggressive = map(policy, NAMES)

    assert {rule.safety for rule in safe.rules} == {Safety.SAFE}
    # A swap is proposed by balanced, and only taken where somebody asks for it.
    unasked = [rule.safety for rule in balanced.rules if rule.action != "swap"]
    assert set(unasked) == {Safety.SAFE, Safety.CAUTION}
    assert {rule.safety for rule in aggressive.rules} == set(Safety)
    assert (Safety.SAFE, Safety.CAUTION, Safety.RISKY) == (
        safe.safety,
        balanced.safety,
        aggressive.safety,
    )
    assert safe.rules == balanced.rules[: len(safe.rules)]
    assert balanced.rules == aggressive.rules[: len(balanced.rules)]
    assert set(safe.keep.patterns) <= set(aggressive.keep.patterns)


NEVER = (
    "numpy/testing/__init__.py",
    "numpy/testing/tests/test_x.py",
    "torch/testing/_internal/common.py",
    "pandas/_testing/__init__.py",
    "skimage/filters/__init__.pyi",
    "thinc/backends/_custom_kernels.cu",
    "spacy/tokens/doc.pyx",
    "torch/bin/torch_shm_manager",
    "triton/backends/nvidia/bin/ptxas",
    "triton/backends/nvidia/include/cuda.h",
    "matplotlib/mpl-data/stylelib/x.mplstyle",
    "dateutil/zoneinfo/dateutil-zoneinfo.tar.gz",
    "tzdata/zoneinfo/Europe/Berlin",
    "babel/locale-data/en.dat",
    "certifi/cacert.pem",
    "pkg/LICENSE",
    "pkg/NOTICE.txt",
    "pkg/COPYING",
    "pkg/core.py",
    "pkg/native.so",
    "pkg/fast.cpython-311-x86_64-linux-gnu.so",
    "pkg/setup.exe",
    "docutils/parsers/rst/include/isonum.txt",
    "pkg/data.json",
    "botocore/data/s3/2006-03-01/service-2.json.gz",
    "botocore/data/endpoints.json",
    "pkg-1.0.dist-info/METADATA",
    "pkg-1.0.dist-info/RECORD",
    "pkg-1.0.dist-info/entry_points.txt",
    "pkg-1.0.dist-info/licenses/tests/LICENSE",
)
SYSTEM = (
    "usr/share/doc/thing/copyright",
    "usr/share/zoneinfo/Europe/Berlin",
    "usr/share/common-licenses/GPL",
    "usr/share/ca-certificates/x.crt",
    "etc/ssl/certs/ca-certificates.crt",
    "etc/passwd",
    "usr/lib/locale/C.utf8/LC_CTYPE",
    "var/lib/dpkg/status",
    "var/log/nginx/access.log",
    "app/tests/test_app.py",
    "app/docs/index.md",
    "root/.cache/huggingface/hub/models--x--y/blobs/abc",
    "root/.cache/pypoetry/virtualenvs/app/lib/python3.11/site-packages/x.py",
    "usr/lib/python3.11/config-3.11-x86_64-linux-gnu/Makefile",
    "usr/lib/python3.11/os.py",
    "usr/bin/test",
)
GOES = {
    "safe": (
        f"{SITE}/pkg/tests/test_x.py",
        f"{SITE}/pkg/lib/libpkg.a",
        f"{SITE}/pkg/t64.exe",
        "usr/lib/python3.11/idlelib/idle_test/test_x.py",
        "usr/lib/python3.11/config-3.11-x86_64-linux-gnu/libpython3.11.a",
        "usr/lib/python3.11/config-3.11-x86_64-linux-gnu/python.o",
        "root/.cache/pip/http/0/1",
        "root/.cache/uv/wheels/x",
        "var/lib/apt/lists/mirror_dists",
        "usr/share/man/man1/thing.1.gz",
        "usr/share/doc/thing/changelog.gz",
        "usr/lib/python3/dist-packages/thing/tests/test_thing.py",
        "var/log/dpkg.log",
        "var/cache/debconf/templates.dat-old",
    ),
    "balanced": (
        "usr/share/locale/de/LC_MESSAGES/thing.mo",
        f"{SITE}/pkg/fast.pyx",
        "tmp/pip-install-x/setup.py",
    ),
    "aggressive": (
        f"{SITE}/torch/include/torch/torch.h",
        "usr/lib/python3.11/ensurepip/_bundled/pip-24.0-py3-none-any.whl",
        f"{SITE}/botocore/data/braket/2019-09-01/service-2.json.gz",
    ),
}


def image() -> Facts:
    """One file for each sentence of the field notes."""
    by_distribution: dict[str, dict[str, bytes]] = {"pkg": {}}
    everything = [
        *NEVER,
        *(
            path.removeprefix(SITE + "/")
            for paths in GOES.values()
            for path in paths
            if path.startswith(SITE)
        ),
    ]
    for path in everything:
        top = path.partition("/")[0]
        if not top.endswith(".dist-info"):
            by_distribution.setdefault(top, {})[path] = path.encode()
    files: dict[str, bytes] = {}
    for name, content in by_distribution.items():
        files |= distribution(name, content)
    files |= {f"{SITE}/{path}": path.encode() for path in NEVER if ".dist-info/" in path}
    files[f"{SITE}/pkg-1.0.dist-info/METADATA"] = b"Name: pkg\nVersion: 1.0\n"
    files[f"{SITE}/pkg-1.0.dist-info/RECORD"] = (
        b"pkg/core.py,,\npkg/tests/test_x.py,,\n"
        + b"".join(
            path.removeprefix(SITE + "/").encode() + b",,\n"
            for paths in GOES.values()
            for path in paths
            if "/pkg/" in path
        )
    )
    thing = {
        path: path.encode()
        for path in (
            "usr/share/man/man1/thing.1.gz",
            "usr/share/doc/thing/changelog.gz",
            "usr/share/doc/thing/copyright",
            "usr/share/locale/de/LC_MESSAGES/thing.mo",
            "usr/lib/python3/dist-packages/thing/tests/test_thing.py",
            "usr/bin/test",
        )
    }
    files |= debian(package("thing", thing))
    for path in [*SYSTEM, *(path for paths in GOES.values() for path in paths)]:
        files.setdefault(path, path.encode())
    return facts(files, runtime={"WorkingDir": "/app"})


def taken(name: str, image: Facts) -> set[str]:
    """What the rules of a policy would remove file by file."""
    told = policy(name)
    protection = Protection.of(image, told)
    gone: set[str] = set()
    for rule in told.rules:
        if rule.action == "remove":
            gone |= {path.decode() for path in protection.selected(rule.selector)}
    return gone


@pytest.mark.parametrize("name", NAMES)
def test_what_broke_real_programs_never_leaves(name: str):
    gone = taken(name, image())

    assert gone & {f"{SITE}/{path}" for path in NEVER} == set()
    assert gone & set(SYSTEM) == set()


def test_each_policy_takes_what_it_is_for():
    held = image()
    expected: set[str] = set()
    for name in NAMES:
        gone = taken(name, held)
        assert set(GOES[name]) <= gone
        assert not gone & expected - set().union(*(GOES[one] for one in NAMES))
        expected |= set(GOES[name])
    later = {*GOES["balanced"], *GOES["aggressive"]}
    assert not taken("safe", held) & later


def test_build_tools_take_no_interpreter_and_no_library_by_name():
    [rule] = [rule for rule in policy("balanced").rules if rule.name == "build-tools"]
    owners = facts(
        debian(
            *(
                package(name, {f"usr/share/x/{name}": b"x"})
                for name in (
                    "gcc",
                    "gcc-12",
                    "g++",
                    "cpp-12",
                    "make",
                    "cmake",
                    "libssl-dev",
                    "binutils-common",
                    "perl",
                    "python3",
                    "libgomp1",
                    "libstdc++6",
                    "git",
                    "curl",
                    "openssl",
                    "bash",
                )
            )
        )
    )
    named = {
        claim.owner.name
        for claim in owners.ledger.claims
        if claim.owner.kind == "deb" and rule.selector.owner(claim.owner)
    }

    assert named == {
        "gcc",
        "gcc-12",
        "g++",
        "cpp-12",
        "make",
        "cmake",
        "libssl-dev",
        "binutils-common",
    }
