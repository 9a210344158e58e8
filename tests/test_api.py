"""What a program can do with slimmer: every public name has an example, and each comes true."""

from __future__ import annotations

import csv
import doctest
import inspect
import io
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import jsonschema
import pytest
import tiny

import slimmer
from slimmer import cli
from slimmer.report.comparison import ComparisonTable
from slimmer.report.report import ReportTable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

ROOT = Path(__file__).parents[1]
SMALL = ROOT / "sample_images" / "small.tar"
SCHEMAS = ROOT / "slimmer" / "formats"
OPTIONS = doctest.ELLIPSIS | doctest.IGNORE_EXCEPTION_DETAIL
PUBLIC = [name for name in slimmer.__all__ if name not in ("__version__", "Event")]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder as the examples have it: the sample image is `app.tar`."""
    shutil.copy(SMALL, tmp_path / "app.tar")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def session(folder: Path) -> slimmer.Session:
    return slimmer.Session.open("app.tar")


def examples(name: str) -> list[doctest.DocTest]:
    """The examples of a public name; of a class those of its own members too."""
    public = getattr(slimmer, name)
    found = doctest.DocTestFinder().find(public, name, module=False, extraglobs={})
    return [test for test in found if test.examples]


@pytest.mark.parametrize("name", PUBLIC)
def test_every_public_name_has_an_example_that_comes_true(name: str, folder: Path):
    public = getattr(slimmer, name)
    tests = examples(name)
    runner = doctest.DocTestRunner(optionflags=OPTIONS)

    assert inspect.getdoc(public)
    assert name in {test.name for test in tests}
    opened = slimmer.Session("app.tar")
    for test in tests:
        test.globs.update(slimmer=slimmer, session=opened, saved_report=slimmer.saved_report)
        told: list[str] = []
        assert 0 == runner.run(test, out=told.append).failed, "".join(told)


METHODS = [
    name
    for name, member in inspect.getmembers(slimmer.Session, inspect.isfunction)
    if not name.startswith("_") and name not in ("another", "tree", "wasted", "size_of", "cached")
]


@pytest.mark.parametrize("name", METHODS)
def test_every_question_to_a_session_has_an_example(name: str):
    named = {test.name for test in (*examples("Session"), *examples("OpenedImage"))}

    assert named & {f"Session.{name}", f"OpenedImage.{name}"}


# What a session gives is what the command line prints


def printed(capsys: pytest.CaptureFixture[str], *argv: str) -> Any:
    capsys.readouterr()
    assert cli.main([*argv, "--no-cache"]) in (0, 1)
    return json.loads(capsys.readouterr().out)


def as_json(value: Mapping[str, Any]) -> Any:
    return json.loads(json.dumps(value))


def test_results_as_values_are_the_json_of_the_commands(
    session: slimmer.Session, capsys: pytest.CaptureFixture[str]
):
    options = slimmer.PlanOptions(policy="balanced")
    session.slim("docker-archive:slim.tar", slimmer.SlimOptions(plan=options, static=True))
    gate = session.budget(slimmer.BudgetOptions(maximum=3_900_000))
    verdict = session.verify("slim.tar", slimmer.VerifyOptions(static=True))
    form = ("--format", "json")

    assert as_json(session.report().to_dict()) == printed(capsys, "inspect", "app.tar", *form)
    assert as_json(session.plan(options).to_dict()) == printed(
        capsys, "plan", "app.tar", "--policy", "balanced", *form
    )
    assert as_json(gate.to_dict()) == printed(capsys, "budget", "app.tar", "--max", "3.9MB", *form)
    assert as_json(session.diff("slim.tar").to_dict()) == printed(
        capsys, "diff", "app.tar", "slim.tar", *form
    )
    assert as_json(verdict.to_dict("app.tar", "slim.tar")) == printed(
        capsys, "verify", "app.tar", "slim.tar", "--static", *form
    )


@pytest.mark.parametrize(
    ("schema", "ask"),
    [
        ("report", lambda session: session.report()),
        ("gate", lambda session: session.budget(slimmer.BudgetOptions(maximum=1))),
        ("changes", lambda session: session.diff("app.tar")),
    ],
)
def test_results_as_values_follow_the_published_schemas(
    session: slimmer.Session, schema: str, ask: Callable[[slimmer.Session], Any]
):
    described = json.loads((SCHEMAS / f"{schema}.schema.json").read_text(encoding="utf-8"))

    jsonschema.validate(as_json(ask(session).to_dict()), described)


# Tables as records


def tables(session: slimmer.Session) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    report, comparison = session.report(), session.diff("slim.tar")
    for name in get_args(ReportTable):
        yield f"report.{name}", report.records(name)
    for name in get_args(ComparisonTable):
        yield f"comparison.{name}", comparison.records(name)
    yield "plan", session.plan(slimmer.PlanOptions(policy="balanced")).records()
    yield "gate", session.budget(slimmer.BudgetOptions(maximum=1)).records()
    yield "why", session.why("starlette")[0].records()
    yield "verdict", session.verify("slim.tar", slimmer.VerifyOptions(static=True)).records()


def test_tables_are_plain_records_that_csv_pandas_and_polars_take(session: slimmer.Session):
    pandas, polars = pytest.importorskip("pandas"), pytest.importorskip("polars")
    session.slim("docker-archive:slim.tar", slimmer.SlimOptions(static=True))
    seen = 0
    for name, records in tables(session):
        columns = list(records[0]) if records else []
        for record in records:
            assert columns == list(record), name
            assert all(
                value is None or type(value) in (str, int, float, bool) for value in record.values()
            ), name
        writer = csv.DictWriter(io.StringIO(), columns)
        writer.writerows(records)
        frames = pandas.DataFrame(records), polars.DataFrame(records)
        for frame in frames:
            assert (len(records), columns) == (len(frame), list(frame.columns)), name
        seen += len(records)
    assert seen > 400


def test_the_owners_of_a_frame_add_up_to_the_rootfs(session: slimmer.Session):
    polars = pytest.importorskip("polars")
    frame = polars.DataFrame(session.report().records("owners"))

    assert session.report().rootfs == frame["size"].sum()


# Reprs


SECRET = "hunter2"


def told_by(value: object, seen: dict[int, object], depth: int = 4) -> None:
    """Collect every value of slimmer's own that can be reached from one."""
    if id(value) in seen:
        return
    if type(value).__module__.startswith("slimmer."):
        seen[id(value)] = value
    if depth == 0:
        return
    parts: list[object] = []
    if isinstance(value, tuple | list):
        parts = list(value[:50])
    elif isinstance(value, dict):
        parts = list(value.values())[:50]
    elif type(value).__module__.startswith("slimmer."):
        names = getattr(type(value), "__dataclass_fields__", {})
        parts = [getattr(value, name) for name in names]
    for part in parts:
        told_by(part, seen, depth - 1)


def test_the_repr_of_whatever_a_session_gives_is_one_short_line_without_the_environment(
    tmp_path: Path,
):
    files = {f"opt/{number // 100}/{number:05}.py": b"x" * number for number in range(2000)}
    reference = tiny.oci(
        [tiny.layer(files | {"root/.cache/pip/x": b"x" * 3000}), tiny.layer({}, removed=["opt/3"])],
        str(tmp_path / "image"),
        runtime={"Env": [f"PASSWORD={SECRET}"]},
    )
    session = slimmer.Session.open(reference)
    slimmed = session.slim(f"oci:{tmp_path}/slim:latest", slimmer.SlimOptions(static=True))
    seen: dict[int, object] = {}
    for value in (
        session,
        session.image,
        session.inspect(),
        session.report(),
        session.why("unowned"),
        session.plan(),
        slimmed,
        session.verify(f"oci:{tmp_path}/slim:latest", slimmer.VerifyOptions(static=True)),
        session.budget(slimmer.BudgetOptions(maximum=1)),
        session.diff(reference),
        session.tree(),
    ):
        told_by(value, seen)
    kinds = {type(value) for value in seen.values()}

    assert SECRET in dict(session.image.config.environment).values()
    assert {slimmer.Index, slimmer.Attribution, slimmer.Plan, slimmer.Image} <= kinds
    for value in seen.values():
        shown = repr(value)
        assert SECRET not in shown
        assert len(shown) < 1200, (type(value), len(shown))
        assert "\n" not in shown


# The reference page


def test_the_reference_page_tells_every_public_name_and_every_question(tmp_path: Path):
    pytest.importorskip("pdoc")
    subprocess.run([sys.executable, ROOT / "docs" / "reference.py", tmp_path], check=True, cwd=ROOT)
    page = (tmp_path / "slimmer.html").read_text(encoding="utf-8")

    told = set(re.findall(r'id="([\w.]+)"', page))
    assert {*PUBLIC} - {"owners"} <= told
    assert all(told & {f"Session.{name}", f"OpenedImage.{name}"} for name in METHODS)
