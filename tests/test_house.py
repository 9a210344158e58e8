"""The house plan holds: who may import whom, and what importing the command line costs."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import slimmer

PACKAGE = Path(slimmer.__file__).parent

FLOORS = (
    *("errors", "names", "toml", "units", "signals", "categories", "splice", "ecosystems"),
    *("tar", "files", "placement", "elf", "evidence", "image", "index", "attribution", "policy"),
    *("analysis", "edits", "plan", "rewrite", "proof", "report", "gate"),
)
"""The ground and the spine, from the bottom up: each stands on those before it."""
RIBS = ("stores", "owners", "actions", "dockerfile", "formats", "tui")
"""They stand on the spine, and know nothing of each other."""
ABOVE = ("app", "cli", "__init__", "__main__")
"""`app` knows everything; the others know it."""


def module(path: Path) -> str:
    return ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix(".__init__")


MODULES = {module(path): path for path in sorted(PACKAGE.rglob("*.py"))}


def part(name: str) -> str:
    """The module or package of slimmer that a module belongs to."""
    return name.partition(".")[0] or "__init__"


def imports(path: Path, *, types: bool = False) -> set[str]:
    """Modules of slimmer that a module imports when it runs, wherever the import stands; with
    `types` those too that only a type checker imports."""
    found: set[str] = set()
    todo: list[ast.AST] = [ast.parse(path.read_text(encoding="utf-8"))]
    while todo:
        node = todo.pop()
        match node:
            case ast.If(test=ast.Name(id="TYPE_CHECKING")) if not types:
                todo += node.orelse
                continue
            case ast.Import():
                found.update(alias.name for alias in node.names)
            case ast.ImportFrom(module=str(source), level=0):
                found.add(source)
                found.update(f"{source}.{alias.name}" for alias in node.names)
            case ast.ImportFrom():
                raise AssertionError(f"{path}:{node.lineno}: import from slimmer by its full name")
            case _:
                pass
        todo += ast.iter_child_nodes(node)
    names = {name.removeprefix("slimmer.") for name in found if name.startswith("slimmer.")}
    return {name for name in names if name in MODULES}


IMPORTS = {name: imports(path) for name, path in MODULES.items()}


def reached(name: str) -> set[str]:
    """Everything that a module stands on."""
    seen: set[str] = set()
    todo = [name]
    while todo:
        for other in IMPORTS[todo.pop()] - seen:
            seen.add(other)
            todo.append(other)
    return seen


def test_no_circle_not_even_of_types():
    outside = {
        name: imports(path, types=True) - {name}
        for name, path in MODULES.items()
        if not path.name.startswith("__init__")
    }

    assert set(outside) <= set(TopologicalSorter(outside).static_order())


def test_no_module_stands_on_itself():
    parts: dict[str, set[str]] = {}
    for name, others in IMPORTS.items():
        parts.setdefault(part(name), set()).update({part(other) for other in others})
    outside = {name: others - {name} for name, others in parts.items() if name not in ABOVE}

    assert set(outside) <= set(TopologicalSorter(outside).static_order())


@pytest.mark.parametrize("name", [name for name in FLOORS if name in MODULES])
def test_a_floor_stands_on_those_below_it(name: str):
    below = FLOORS[FLOORS.index(name) + 1 :]

    assert not {part(other) for other in reached(name)} & {*below, *RIBS, *ABOVE}


@pytest.mark.parametrize("name", [name for name in MODULES if part(name) not in (*RIBS, *ABOVE)])
def test_what_is_no_rib_knows_no_rib(name: str):
    assert not {part(other) for other in IMPORTS[name]} & {*RIBS, *ABOVE}


@pytest.mark.parametrize("name", [name for name in MODULES if part(name) in ABOVE[:2]])
def test_the_application_stands_on_what_comes_before_it(name: str):
    after = ABOVE[ABOVE.index(part(name)) + 1 :]

    # Its version is the one thing that the package itself tells.
    assert not {part(other) for other in IMPORTS[name]} & {*after} - {"__init__"}


@pytest.mark.parametrize("name", [name for name in MODULES if part(name) == "cli"])
def test_a_command_knows_the_application_the_formats_and_no_more(name: str):
    ground = FLOORS[: FLOORS.index("ecosystems")]

    assert {part(other) for other in IMPORTS[name]} <= {
        *ground,
        "formats",
        "app",
        "cli",
        "__init__",
    }


@pytest.mark.parametrize("name", [name for name in MODULES if part(name) in RIBS])
def test_a_rib_knows_no_other_rib(name: str):
    assert not {part(other) for other in IMPORTS[name]} & {*RIBS, *ABOVE} - {part(name)}


LISTING = re.compile(r"^ +(\w+)/? {2,}\S|← +(\w+)/", re.MULTILINE)


def test_the_picture_in_contributing_is_the_listing_in_its_order():
    text = (PACKAGE.parent / "CONTRIBUTING.md").read_text(encoding="utf-8")
    lines = text.split("```")[1].splitlines()
    floors = [match[1] for line in lines if (match := LISTING.match(line))]
    ribs = [match[2] for line in lines for match in LISTING.finditer(line) if match[2]]

    assert [*FLOORS, "app", "cli"] == floors
    assert {part(name) for name in MODULES} - {"__init__", "__main__"} == {*floors, *ribs}


CHEAP = """
import sys
import slimmer.cli
slimmer.cli.parser()
print(*sorted({name.partition(".")[0] for name in sys.modules}))
print(*sorted(name for name in sys.modules if name.startswith("slimmer.")))
"""


def test_the_command_line_waits_for_nothing_that_it_does_not_need():
    out = subprocess.run(
        [sys.executable, "-c", CHEAP],
        capture_output=True,
        text=True,
        check=True,
        cwd=PACKAGE.parent,
    ).stdout
    packages, own = (set(line.split()) for line in out.splitlines())

    assert not packages & {
        *("textual", "docker", "requests", "urllib3", "rich", "packaging", "humanize"),
        *("platformdirs", "isal", "backports", "plotly", "json", "email", "http", "asyncio"),
    }
    light = {
        "slimmer.errors",
        "slimmer.names",
        "slimmer.units",
        "slimmer.formats",
        "slimmer.signals",
    }
    assert own <= light | {
        name
        for name in own
        if name.startswith(("slimmer.cli", "slimmer.formats.tables", "slimmer.formats.forms"))
    }


LAZY = """
import sys, slimmer
print(any(name.startswith("slimmer.") for name in sys.modules))
print(*(getattr(slimmer, name) is not None for name in slimmer.__all__))
"""


def test_the_package_imports_a_name_when_it_is_asked_for():
    out = subprocess.run(
        [
            sys.executable,
            "-c",
            LAZY,
        ],
        capture_output=True,
        text=True,
        check=True,
        cwd=PACKAGE.parent,
    ).stdout

    assert {"False", "True"} == set(out.split())
    assert out.startswith("False\n")


READS_THE_WORLD = {"environ", "getenv", "argv", "now", "utcnow", "today", "time"}
"""Names of the standard library that tell where, for whom and when a program runs."""
WAITS_FOR_AN_ENGINE = {
    "stores.engine.api_layers",
    "stores.engine.containers",
    "stores.engine.probe",
}
"""They look at the clock to give up on an engine, on what runs in it, and on what a process that
was killed left in it. No other module does, and no size, step or digest depends on it."""


def read_of_the_world(path: Path) -> set[str]:
    """What a module takes from the world around it, however it is imported."""
    read: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        match node:
            case ast.Import():
                read.update(alias.name for alias in node.names)
            case ast.ImportFrom(module=str(source)):
                read.update((source, *(alias.name for alias in node.names)))
            case ast.Attribute(attr=name):
                read.add(name)
            case _:
                pass
    return read & READS_THE_WORLD


@pytest.mark.parametrize("name", [name for name in MODULES if part(name) != "cli"])
def test_only_the_command_line_reads_argv_environment_and_clock(name: str):
    allowed = {"time"} if name in WAITS_FOR_AN_ENGINE else set()

    assert read_of_the_world(MODULES[name]) <= allowed


def test_whoever_may_look_at_the_clock_does():
    assert {name for name in MODULES if "time" in read_of_the_world(MODULES[name])} == {
        *WAITS_FOR_AN_ENGINE,
        "cli.progress",
    }
