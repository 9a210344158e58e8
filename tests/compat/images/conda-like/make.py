"""Lays out /opt/conda from this machine's Python and from wheels, and packs it with its links."""

import hashlib
import json
import os
import shutil
import subprocess
import zipfile
from pathlib import Path

PREFIX = Path("/opt/conda")
PKGS = PREFIX / "pkgs"
META = PREFIX / "conda-meta"
SITE = "lib/python3.11/site-packages"
LARGE = 20_000_000


def install(name, version, folder):
    """Hard links from a package's folder into the prefix, and what conda notes about it."""
    files = []
    for path in sorted(folder.rglob("*")):
        inside = path.relative_to(folder)
        if (path.is_dir() and not path.is_symlink()) or inside.parts[0] == "info":
            continue
        there = PREFIX / inside
        there.parent.mkdir(parents=True, exist_ok=True)
        if not there.exists():
            os.link(path, there, follow_symlinks=False)
        files.append(str(inside))
    paths = [{"_path": one, "path_type": "hardlink"} for one in files]
    (folder / "info").mkdir(exist_ok=True)
    (folder / "info/paths.json").write_text(json.dumps({"paths": paths, "paths_version": 1}))
    (folder / "info/index.json").write_text(json.dumps({"name": name, "version": version}))
    note = {
        "name": name,
        "version": version,
        "build": "0",
        "build_number": 0,
        "files": files,
        "channel": "local",
        "depends": [],
        "extracted_package_dir": str(folder),
        "link": {"source": str(folder), "type": 1},
        "paths_data": {"paths": paths},
    }
    (META / f"{name}-{version}-0.json").write_text(json.dumps(note))


META.mkdir(parents=True)
python = PKGS / "python-3.11-0"
shutil.copytree(
    "/usr/local",
    python,
    symlinks=True,
    ignore=shutil.ignore_patterns(
        "site-packages", "__pycache__", "pip*", "share", "sbin", "man", "games", "src", "etc"
    ),
)
(python / SITE).mkdir()
(python / "etc/conda/activate.d").mkdir(parents=True)
(python / "etc/conda/activate.d/proj.sh").write_text(
    'export APP_DATA="$CONDA_PREFIX/share/app/test/points.csv"\n'
)
(python / "share/app/test").mkdir(parents=True)
(python / "share/app/test/points.csv").write_text("13.4,52.5\n2.35,48.85\n")
subprocess.check_call(["patchelf", "--set-rpath", "$ORIGIN/../lib", python / "bin/python3.11"])
install("python", "3.11", python)
for wheel in sorted(Path("/work/wheels").glob("*.whl")):
    name, version = wheel.name.split("-")[:2]
    folder = PKGS / f"{name.lower()}-{version}-0"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / SITE)
    for info in (folder / SITE).glob("*.dist-info"):
        (info / "INSTALLER").write_text("conda")
    install(name.lower(), version, folder)
    # The tarball stays beside its folder, as after `conda install` without `conda clean`.
    (PKGS / f"{name.lower()}-{version}-0.conda").write_bytes(wheel.read_bytes()[:LARGE])
(META / "history").write_text("==> 2024-01-01 00:00:00 <==\n# cmd: conda install\n")
subprocess.check_call(["tar", "-cf", "/opt/conda.tar", "opt/conda"], cwd="/")
print(hashlib.sha256(b"done").hexdigest()[:8])
