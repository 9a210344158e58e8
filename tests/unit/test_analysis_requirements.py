"""What owners require, what meets it, and what was asked for by name."""

from __future__ import annotations

import pytest
from tiny import config, image, layer

from slimmer import owners
from slimmer.analysis.dependencies import DependencyGraph
from slimmer.attribution import Attribution, Owner
from slimmer.image import Config, Image
from slimmer.index import Index

SITE = "usr/local/lib/python3.11/site-packages"


def installed(
    name: str, *requires: str, version: str = "1", site: str = SITE, size: int = 10
) -> dict[str, bytes]:
    """A distribution of one file of `size` bytes; a requirement per text."""
    folder = f"{site}/{name}-{version}.dist-info"
    lines = [f"Name: {name}", f"Version: {version}", *(f"Requires-Dist: {r}" for r in requires)]
    return {
        f"{site}/{name}.so": bytes(size),
        f"{folder}/METADATA": "\n".join([*lines, "", ""]).encode(),
        f"{folder}/RECORD": f"{name}.so,,\n{folder.rpartition('/')[2]}/METADATA,,\n".encode(),
    }


PYTHON = {
    "usr/local/lib/python3.11/os.py": b"",
    "usr/local/include/python3.11/patchlevel.h": b'#define PY_VERSION "3.11.9"\n',
}


def graph(*parts: dict[str, bytes], architecture: str = "amd64") -> DependencyGraph:
    files: dict[str, bytes | None] = dict(PYTHON)
    for part in parts:
        files.update(part)
    built = image(layer(files), created_by=["COPY x /srv"])
    if architecture != "amd64":
        raw = config([layer(files)], ["COPY x /srv"]).replace(
            b'"amd64"', f'"{architecture}"'.encode()
        )
        content = built.layers[0].content
        built = Image.of("tiny:latest", Config.parse(raw), [(content, None, None)])
    index = Index.scan(built, owners.evidence())
    return DependencyGraph.of(Attribution.of(index, owners.default))


def names(owners: object) -> list[str]:
    return [owner.name for owner in owners]  # type: ignore[attr-defined]


def requires(graph: DependencyGraph, name: str) -> list[str]:
    (owner,) = graph.find(name)
    return sorted(names(graph.distributions[owner].requires))


def test_names_are_compared_in_their_normalised_form():
    held = graph(installed("Top", "Ruamel_YAML >= 0.1"), installed("ruamel.yaml"))

    assert ["ruamel-yaml"] == requires(held, "top")
    assert ["top"] == names(held.roots)


@pytest.mark.parametrize(
    ("marker", "holds"),
    [
        ('python_version < "3.11"', False),
        ('python_version >= "3.11"', True),
        ('python_full_version == "3.11.9"', True),
        ('platform_machine == "x86_64" and sys_platform == "linux"', True),
        ('platform_system == "Windows"', False),
        ('os_name == "posix" and implementation_name == "cpython"', True),
        ('platform_python_implementation == "PyPy"', False),
        ("not a marker", True),
    ],
)
def test_markers_are_evaluated_for_the_image(marker: str, holds: bool):
    held = graph(installed("top", f"low >= 1 ; {marker}"), installed("low"))

    assert (["low"] if holds else []) == requires(held, "top")


def test_markers_know_the_image_s_machine():
    parts = installed("top", 'low ; platform_machine == "aarch64"'), installed("low")

    assert ([], ["low"]) == (
        requires(graph(*parts), "top"),
        requires(graph(*parts, architecture="arm64"), "top"),
    )


def test_extras_count_where_a_dependent_asks_for_them():
    low = installed(
        "low",
        'plain ; extra == "Big_Extra"',
        'both ; python_version > "3" and extra == "other"',
        'chained[more] ; extra == "big-extra"',
    )
    chained = installed("chained", 'deep ; extra == "more"')
    rest = (installed("plain"), installed("both"), installed("deep"), chained)

    without = graph(installed("top", "low"), low, *rest)
    asked = graph(installed("top", "low[big.extra]"), low, *rest)

    assert [] == requires(without, "low")
    assert ["chained", "plain"] == requires(asked, "low")
    assert ["deep"] == requires(asked, "chained")


def test_an_extra_may_ask_for_others_of_its_own():
    low = installed("low", 'low[a] ; extra == "all"', 'deep ; extra == "a"')

    assert ["deep"] == requires(graph(installed("top", "low[all]"), low, installed("deep")), "low")


def test_a_requirement_by_address_is_told_by_its_name():
    held = graph(
        installed("top", 'low @ https://x.example/a;b.whl ; python_version > "3"'), installed("low")
    )

    assert ["low"] == requires(held, "top")


def test_what_is_missing_is_told_as_it_is_written():
    held = graph(installed("top", "gone (>=2)", 'windows ; sys_platform == "win32"'))

    assert {Owner("pip", "top", "1"): ("gone (>=2)",)} == held.unmet


def test_uv_marks_everything_as_requested_so_its_marks_do_not_count():
    marked = {f"{SITE}/{name}-1.dist-info/REQUESTED": b"" for name in ("top", "low")}
    by_uv = {f"{SITE}/{name}-1.dist-info/INSTALLER": b"uv" for name in ("top", "low")}
    held = graph(installed("top", "low"), installed("low"), marked, by_uv)

    assert ["top"] == names(held.roots)


def test_the_application_s_own_lists_ask_by_name_and_with_extras():
    asked = {
        "srv/requirements.txt": b"-r other.txt\nlow[x]==1 ; python_version > '3'  # why\n\n--pre\n",
        "srv/pyproject.toml": b'[project]\ndependencies = ["mid>=1"]\n',
    }
    held = graph(
        installed("top", "low", "mid"),
        installed("low", 'deep ; extra == "x"'),
        installed("mid"),
        installed("deep"),
        asked,
    )

    assert {"top", "low", "mid"} == set(names(held.roots))
    assert ["deep"] == requires(held, "low")


def test_a_neighbour_meets_a_requirement_before_another_environment_does():
    venv = "opt/venv/lib/python3.11/site-packages"
    held = graph(
        installed("low", version="1"),
        installed("low", version="2", site=venv),
        installed("top", "low", site=venv),
    )
    (top,) = held.find("top")

    assert (Owner("pip", "low", "2"),) == held.distributions[top].requires


DEBIAN = {
    "var/lib/dpkg/status": b"""Package: cmake
Version: 1
Depends: libc6 (>= 2), make | ninja, gone, virtual-thing:any

Package: libc6
Version: 2

Package: make
Version: 3

Package: real
Version: 4
Provides: virtual-thing (= 1)
""",
    **{
        f"var/lib/dpkg/info/{name}.list": f"/usr/share/{name}\n".encode()
        for name in ("cmake", "libc6", "make", "real")
    },
    **{f"usr/share/{name}": b"x" for name in ("cmake", "libc6", "make", "real")},
}


def test_debian_packages_require_by_name_alternative_and_virtual_name():
    held = graph(DEBIAN)

    assert ["libc6", "make", "real"] == requires(held, "deb:cmake")
    assert {Owner("deb", "cmake", "1"): ("gone",)} == held.unmet
    assert 4 == held.retained(Owner("deb", "cmake", "1"))


def test_apt_s_marks_tell_what_somebody_asked_for():
    states = b"".join(
        b"Package: %s\nArchitecture: amd64\nAuto-Installed: 1\n\n" % name
        for name in (b"make", b"real")
    )
    held = graph(DEBIAN, {"var/lib/apt/extended_states": states})

    assert {"cmake", "libc6", "dpkg"} == set(names(held.roots))  # dpkg: of its own database
    assert 3 == held.retained(Owner("deb", "cmake", "1"))
