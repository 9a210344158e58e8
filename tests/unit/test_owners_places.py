"""Owners that are told by place: the interpreter, caches, models, the system, the application."""

from __future__ import annotations

import json

import pytest
from tiny import image, layer

from slimmer import owners
from slimmer.attribution import Attribution
from slimmer.categories import Category
from slimmer.index import Index


def ledger(*tars: bytes, **about: object) -> Attribution:
    built = image(*tars, **about)  # type: ignore[arg-type]
    return Attribution.of(Index.scan(built, owners.evidence()), owners.default)


def owner(ledger: Attribution, path: str) -> str:
    return str(ledger.owner(path.encode()))


def safetensors(size: int) -> bytes:
    header = json.dumps({"w": {"dtype": "F32"}}).encode()
    return (len(header).to_bytes(8, "little") + header).ljust(size, b"\0")


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


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("root/.cache/pip/http-v2/a", "cache:pip"),
        ("home/me/.cache/pypoetry/artifacts/a", "cache:poetry"),
        ("root/.cache/uv/wheels-v1/a", "cache:uv"),
        ("root/.cache/something/a", "cache:something"),
        ("opt/app/.cache/pip/a", "cache:pip"),
        ("root/.camel_tools/data/a", "cache:camel_tools"),
        ("root/nltk_data/corpora/a", "cache:nltk"),
        ("root/.npm/_cacache/a", "cache:npm"),
        ("root/.cache/torch/hub/checkpoints/a", "cache:torch"),
        ("var/cache/apt/archives/a.deb", "cache:apt"),
        ("var/lib/apt/lists/a", "cache:apt"),
        ("var/cache/apk/a", "cache:apk"),
        ("tmp/left/over", "cache:tmp"),
        ("var/log/dpkg.log", "cache:logs"),
        ("srv/home/.keras/models/a", "cache:keras"),
        ("models/hub/x", "cache:huggingface"),
        ("root/.cache/huggingface/hub/models--org--net/blobs/a", "model:org/net"),
        ("models/models--net/snapshots/a", "model:net"),
        ("root/data/a", "unowned"),
    ],
)
def test_caches_are_told_by_where_their_programs_keep_them(path: str, expected: str):
    held = ledger(
        layer({"etc/passwd": b"me:x:1000:1000::/srv/home:/bin/sh\n", path: b"1"}),
        runtime={"Env": ["HF_HOME=/models", "TORCH_HOME=/", "PIP_CACHE_DIR=relative"]},
    )

    assert expected == owner(held, path)
    if expected.startswith("cache:"):
        assert Category.CACHES is held.category_of[path.encode()]


def test_weights_that_nobody_brought_are_a_model_by_their_format():
    held = ledger(layer({"opt/net/weights.bin": safetensors(1 << 20), "opt/net/notes.txt": b"1"}))

    assert "model:weights.bin" == owner(held, "opt/net/weights.bin")
    assert Category.MODELS is held.category_of[b"opt/net/weights.bin"]
    assert "unowned" == owner(held, "opt/net/notes.txt")


def test_a_folder_with_weights_and_their_config_is_a_model():
    held = ledger(
        layer({"opt/net/model.safetensors": safetensors(1 << 20), "opt/net/config.json": b"{}"})
    )

    assert "model:net" == owner(held, "opt/net/config.json")


def test_a_saved_model_is_a_folder_by_its_definition():
    held = ledger(
        layer(
            {"srv/net/1/saved_model.pb": b"\x08\x01", "srv/net/1/variables/variables.index": b"1"}
        )
    )

    assert "model:net" == owner(held, "srv/net/1/variables/variables.index")


def test_weights_in_a_cache_stay_the_cache_s():
    held = ledger(layer({"root/.cache/torch/hub/checkpoints/a.pth": safetensors(1 << 20)}))

    assert "cache:torch" == owner(held, "root/.cache/torch/hub/checkpoints/a.pth")
    assert Category.MODELS is held.category_of[b"root/.cache/torch/hub/checkpoints/a.pth"]


@pytest.mark.parametrize(
    "command",
    [
        "/bin/sh -c #(nop) COPY dir:0123abc in /srv ",
        "COPY . /srv # buildkit",
        "COPY . /srv",
        "|1 A=b /bin/sh -c #(nop) ADD file:0123 in /srv",
        "ADD --chown=app:app https://example.org/a.tar /srv # buildkit",
    ],
)
def test_what_a_copying_layer_brought_is_the_application_s(command: str):
    held = ledger(
        layer({"bin/sh": b"1"}),
        layer({"srv/main.py": b"22", "var/cache/apt/a": b"333"}),
        created_by=["ADD rootfs.tar / # buildkit", command],
    )

    assert ("unowned", "app", "cache:apt") == (
        owner(held, "bin/sh"),
        owner(held, "srv/main.py"),
        owner(held, "var/cache/apt/a"),
    )
    assert held.claim_of[b"srv/main.py"].evidence.startswith(("COPY", "ADD"))


def test_what_a_run_step_left_is_not_the_application_s():
    for command in ("RUN /bin/sh -c COPY # buildkit", "|1 A=b /bin/sh -c echo COPY x"):
        held = ledger(layer({"opt/x": b"1"}), created_by=[command])

        assert "unowned" == owner(held, "opt/x")


def test_a_copied_binary_on_an_empty_base_is_an_application():
    held = ledger(layer({"server": b"1"}), created_by=["COPY /server / # buildkit"])

    assert "app" == owner(held, "server")


def test_the_working_directory_is_the_application_s_unless_it_is_everybody_s():
    held = ledger(layer({"srv/app/made.db": b"1"}), runtime={"WorkingDir": "/srv/app"})
    other = ledger(layer({"usr/lib/x": b"1"}), runtime={"WorkingDir": "/usr"})

    assert "app" == owner(held, "srv/app/made.db")
    assert "unowned" == owner(other, "usr/lib/x")


def test_bytecode_made_later_belongs_to_the_source_that_was_copied():
    held = ledger(
        layer({"srv/main.py": b"1"}),
        layer({"srv/__pycache__/main.cpython-311.pyc": b"22"}),
        created_by=["COPY . /srv # buildkit", "RUN /bin/sh -c python -m compileall /srv"],
    )

    assert "app" == owner(held, "srv/__pycache__/main.cpython-311.pyc")


def test_evidence_is_a_short_line_without_control_characters():
    command = "ADD https://me:secret@x.example/a \x1b[31m" + "x" * 999 + " /srv"
    held = ledger(layer({"srv/a": b"1"}), created_by=[command])

    evidence = held.claim_of[b"srv/a"].evidence
    assert "secret" not in evidence
    assert len(evidence) <= 120
    assert evidence.isprintable()


def test_generated_files_of_the_base_are_the_system_s():
    held = ledger(
        layer(
            {
                "etc/ld.so.cache": b"1",
                "var/cache/debconf": None,
                "var/cache/debconf/templates.dat": b"22",
                "etc/mine.conf": b"333",
            }
        )
    )

    assert ("system", "system", "unowned") == (
        owner(held, "etc/ld.so.cache"),
        owner(held, "var/cache/debconf/templates.dat"),
        owner(held, "etc/mine.conf"),
    )
