"""What runs inside a container, run here."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
import time
from importlib import resources
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

DRIVER = resources.files("slimmer.stores.engine").joinpath("probe.py").read_text()


def test_the_driver_is_python_3_6():
    ast.parse(DRIVER, feature_version=(3, 6))


def drive(tmp_path: Path, request: dict[str, object]) -> list[dict[str, object]]:
    told = {"modules": None, "deep": [], "libraries": [], "workers": 2, "timeout": 20, "limit": 60}
    (tmp_path / "request.json").write_text(json.dumps(told | request))
    (tmp_path / "inside.py").write_text(DRIVER)
    start = f"REQUEST = '{tmp_path}/request.json'; exec(open('{tmp_path}/inside.py').read())"
    ran = subprocess.run(
        [sys.executable, "-S", "-c", start],
        capture_output=True,
        check=True,
        timeout=60,
        env={"PYTHONPATH": str(tmp_path)},
    )
    lines = [json.loads(line) for line in ran.stdout.splitlines()]
    assert "end" == lines[-1]["is"]
    return lines


def test_each_module_is_tried_by_itself_whatever_the_others_do(tmp_path: Path):
    sources = {
        "well": "print('noise')",
        "aborts": "import os, sys; sys.stderr.write('alas\\n'); sys.stderr.flush(); os.abort()",
        "hangs": "import time; time.sleep(60)",
        "leaves": "raise SystemExit(3)",
        "misses": "import well.tests",
        "opens": "open('/nowhere/at/all')",
        "forks": "import os, time\nif os.fork() == 0:\n    time.sleep(60)",
    }
    for name, source in sources.items():
        (tmp_path / f"{name}.py").write_text(source)

    lines = drive(
        tmp_path,
        {
            "modules": {"single": list(sources), "several": ["well", "hangs", "leaves"]},
            "timeout": 2,
        },
    )

    found = {str(line["name"]): line for line in lines if line["is"] == "module"}
    assert {
        "well": "",
        "aborts": "killed",
        "hangs": "timeout",
        "leaves": "SystemExit",
        "misses": "ModuleNotFoundError",
        "opens": "FileNotFoundError",
        "forks": "",
    } == {name: line["error"] for name, line in found.items()}
    assert "signal 6: alas" == found["aborts"]["message"]
    assert "well.tests" == found["misses"]["module"]
    assert "/nowhere/at/all" == found["opens"]["file"]
    assert str(tmp_path / "well.py") == found["well"]["origin"]
    assert 10 == sum(line["is"] == "module" for line in lines)


def test_a_process_that_a_module_leaves_behind_is_not_waited_for(tmp_path: Path):
    (tmp_path / "forks.py").write_text("import os, time\nif os.fork() == 0:\n    time.sleep(60)")
    begun = time.monotonic()

    drive(tmp_path, {"modules": {"single": ["forks"], "several": []}, "timeout": 40})

    assert time.monotonic() - begun < 20


def test_top_level_modules_come_from_records(tmp_path: Path):
    def put(name: str, *files: str, top: str = "") -> None:
        folder = tmp_path / f"{name}-1.0.dist-info"
        folder.mkdir()
        (folder / "RECORD").write_text("".join(f"{path},sha256=x,1\n" for path in files))
        if top:
            (folder / "top_level.txt").write_text(top)

    put("plain", "plain/__init__.py", "plain/sub.py", "plain/data/x.py", "../../bin/plain")
    put("My.Native", "_native.cpython-311-x86_64-linux-gnu.so", "mod.py", "mod-stubs/__init__.pyi")
    put("space", "ns/one/__init__.py", "ns/two/__init__.py", "ns/two/deep.py")
    put("bare", "ns2/mod.py")
    put("named", top="wanted\n_also\n")

    (first, *_) = drive(tmp_path, {"deep": ["plain"]})

    assert {
        "plain": "plain",
        "_native": "my-native",
        "mod": "my-native",
        "ns.one": "space",
        "ns.two": "space",
        "ns2.mod": "bare",
        "wanted": "named",
        "_also": "named",
        "plain.sub": "plain",
        "plain.data.x": "plain",
    } == first["modules"]
    assert ["plain.data.x", "plain.sub"] == first["several"]


def test_a_library_is_loaded_as_dlopen_does(tmp_path: Path):
    lines = drive(
        tmp_path,
        {"modules": {"single": [], "several": []}, "libraries": ["libc.so.6", "/nowhere/lib.so"]},
    )

    found = {line["name"]: line for line in lines if line["is"] == "library"}
    assert "" == found["libc.so.6"]["error"]
    assert "cannot open shared object file" in str(found["/nowhere/lib.so"]["message"])
