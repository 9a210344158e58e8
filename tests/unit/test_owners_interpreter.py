"""An interpreter owns its standard library, wherever it was installed to."""

from __future__ import annotations

import pytest
from tiny import image, layer

from slimmer import owners
from slimmer.attribution import Attribution
from slimmer.index import Index


def ledger(*tars: bytes, **about: object) -> Attribution:
    built = image(*tars, **about)  # type: ignore[arg-type]
    return Attribution.of(Index.scan(built, owners.evidence()), owners.default)


def owner(ledger: Attribution, path: str) -> str:
    return str(ledger.owner(path.encode()))


def python(prefix: str, minor: str = "3.11", patch: str = "3.11.9") -> dict[str, bytes]:
    return {
        f"{prefix}/lib/python{minor}/os.py": b"1",
        f"{prefix}/lib/python{minor}/json/decoder.py": b"22",
        f"{prefix}/lib/python{minor}/site-packages/README.txt": b"333",
        f"{prefix}/lib/python{minor}/site-packages/stray.py": b"stray",
        f"{prefix}/bin/python{minor}": b"4444",
        f"{prefix}/lib/libpython{minor}.so.1.0": b"55555",
        f"{prefix}/include/python{minor}/patchlevel.h": f'#define PY_VERSION "{patch}"\n'.encode(),
    }


def test_an_interpreter_built_from_source_owns_its_library_but_not_site_packages():
    held = ledger(layer({**python("usr/local"), "usr/local/bin/other": b"x"}))

    assert {"python 3.11.9"} == {
        owner(held, path) for path in python("usr/local") if "stray" not in path
    }
    assert "unowned" == owner(held, "usr/local/lib/python3.11/site-packages/stray.py")
    assert "unowned" == owner(held, "usr/local/bin/other")


@pytest.mark.parametrize(
    "prefix",
    [
        "root/.pyenv/versions/3.11.9",
        "root/.local/share/uv/python/cpython-3.11.9-linux-x86_64-gnu",
        "opt/hostedtoolcache/Python/3.11.9/x64",
    ],
)
def test_an_interpreter_with_a_prefix_of_its_own_owns_all_of_it(prefix: str):
    files = {path: text for path, text in python(prefix).items() if "patchlevel" not in path}
    held = ledger(layer({**files, f"{prefix}/share/terminfo/x": b"1"}))

    assert "python 3.11.9" == owner(held, f"{prefix}/share/terminfo/x")
    assert "unowned" == owner(held, f"{prefix}/lib/python3.11/site-packages/stray.py")


def test_two_interpreters_of_one_prefix_are_told_apart():
    held = ledger(layer({**python("usr/local"), **python("usr/local", "3.12", "3.12.1")}))

    assert "python 3.11.9" == owner(held, "usr/local/lib/libpython3.11.so.1.0")
    assert "python 3.12.1" == owner(held, "usr/local/lib/libpython3.12.so.1.0")


def test_without_headers_the_environment_of_the_official_images_tells_the_version():
    files = {path: text for path, text in python("usr/local").items() if "include" not in path}
    held = ledger(layer(files), runtime={"Env": ["PYTHON_VERSION=3.11.4"]})

    assert "python 3.11.4" == owner(held, "usr/local/bin/python3.11")


def test_without_any_other_hint_the_minor_version_is_told():
    held = ledger(layer({"usr/local/lib/python3.11/os.py": b"1"}))

    assert "python 3.11" == owner(held, "usr/local/lib/python3.11/os.py")
