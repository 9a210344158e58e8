"""Runs PyInstaller's hooks for what is on PYTHONPATH first, and says what each names.

usage: hooks.py SITE PART PARTS      JSON on stdout: {hook: {"files": […], "modules": […]} | text}

A program of its own: hooks import what they ask about.
"""

from __future__ import annotations

import contextlib
import io
import json
import runpy
import sys
import warnings
from pathlib import Path

import _pyinstaller_hooks_contrib
import PyInstaller

SITE = Path(sys.argv[1])
PART, PARTS = int(sys.argv[2]), int(sys.argv[3])
FOLDERS = [
    Path(_pyinstaller_hooks_contrib.__file__).parent / "stdhooks",
    Path(PyInstaller.__file__).parent / "hooks",
]


class Api:
    """What a hook's own `hook(api)` may ask for and add to."""

    def __init__(self, name: str, place: Path) -> None:
        self.__name__ = self.name = name
        self.__file__ = str(place)
        self.__path__ = (str(place.parent),)
        self.analysis = self.module_graph = self.graph = None
        self.datas: list = []
        self.binaries: list = []
        self.imports: list = []

    def add_datas(self, more) -> None:
        self.datas += [(source, to) for to, source, *_ in more]

    def add_binaries(self, more) -> None:
        self.binaries += [(source, to) for to, source, *_ in more]

    def add_imports(self, *names) -> None:
        self.imports += names

    def del_imports(self, *names) -> None:
        """What is left out of a frozen program says nothing."""

    def set_module_collection_mode(self, *_) -> None:
        """How it is packed says nothing either."""


def place_of(name: str) -> Path | None:
    """The file of a module in the folder; found by its name, without importing anything."""
    path = SITE.joinpath(*name.split("."))
    if (path / "__init__.py").exists():
        return path / "__init__.py"
    if path.with_name(path.name + ".py").exists():
        return path.with_name(path.name + ".py")
    return next(iter(path.parent.glob(f"{path.name}.*.so")), None)


def told_by(hook: Path, name: str, place: Path) -> dict[str, list[str]]:
    told = runpy.run_path(str(hook), run_name=hook.stem)
    api = Api(name, place)
    if callable(told.get("hook")):
        told["hook"](api)
    pairs = [*told.get("datas", ()), *told.get("binaries", ()), *api.datas, *api.binaries]
    modules = [*told.get("hiddenimports", ()), *api.imports]
    files = {str(path) for pair in pairs for path in files_of(Path(pair[0]))}
    return {"files": sorted(files), "modules": sorted({str(one) for one in modules})}


def files_of(source: Path) -> list[Path]:
    """A hook names a file, a pattern, or a folder with all that it holds."""
    found = [source] if source.exists() else list(source.parent.glob(source.name))
    return [
        path
        for one in found
        for path in (one.rglob("*") if one.is_dir() else [one])
        if path.is_file()
    ]


def main() -> None:
    told: dict[str, object] = {}
    hooks = sorted(
        {path.name: path for folder in FOLDERS for path in folder.glob("hook-*.py")}.items()
    )
    wanted = [(path, path.stem.removeprefix("hook-")) for _, path in hooks]
    wanted = [(path, name, place_of(name)) for path, name in wanted]
    wanted = [(path, name, place) for path, name, place in wanted if place]
    for path, name, place in wanted[PART::PARTS]:
        with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                told[name] = told_by(path, name, place)
            except BaseException as error:  # noqa: BLE001  (a hook may even exit)
                told[name] = f"{type(error).__name__}: {error}"
    print(json.dumps(told))


main()
