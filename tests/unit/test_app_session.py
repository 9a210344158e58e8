"""A session: each answer is found once, told while it is found, and kept for the next run."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import tiny

from slimmer.app.events import Idle, ImageWritten, PlanMade, Problems, Progress, Verified
from slimmer.app.options import PlanOptions, SlimOptions, VerifyOptions
from slimmer.app.session import Session
from slimmer.errors import SlimmerError
from slimmer.index import Index

if TYPE_CHECKING:
    from pathlib import Path

    from slimmer.app.events import Event

STATIC = SlimOptions(static=True)


@pytest.fixture
def image(tmp_path: Path) -> str:
    return tiny.oci(
        [tiny.layer({"root/.cache/pip/x": b"x" * 3000, "opt/app/main.py": b"m" * 30})],
        str(tmp_path / "image"),
    )


def test_an_image_is_scanned_once_however_much_is_asked(
    image: str, monkeypatch: pytest.MonkeyPatch
):
    scan, scanned = Index.scan, []

    def counted(*given: object) -> Index:
        scanned.append(given)
        return scan(*given)  # type: ignore[arg-type]

    monkeypatch.setattr(Index, "scan", counted)
    session = Session.open(image)
    session.report()
    session.why("unowned")
    session.plan()
    session.plan(PlanOptions(policy="balanced"))
    session.verify(session, VerifyOptions(static=True))

    assert 1 == len(scanned)


def test_another_session_takes_the_report_from_the_cache(
    image: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    first = Session.open(image, cache=tmp_path / "cache").report()
    monkeypatch.setattr(Index, "scan", None)

    assert first == Session.open(image, cache=tmp_path / "cache").report()


def test_no_cache_folder_keeps_nothing(image: str, tmp_path: Path):
    before = sorted(tmp_path.iterdir())
    Session.open(image).report()

    assert before == sorted(tmp_path.iterdir())


def test_slim_tells_in_order_what_it_does(image: str, tmp_path: Path):
    told: list[Event] = []
    Session.open(image, listener=told.append).slim(f"oci:{tmp_path}/slim:latest", STATIC)
    kinds = [type(event) for event in told if not isinstance(event, Progress | Idle)]

    assert [Problems, PlanMade, ImageWritten, Verified] == kinds
    assert isinstance(told[-1], Idle | Verified)


@pytest.mark.parametrize("event", [PlanMade, ImageWritten, Verified])
def test_a_listener_that_fails_leaves_nothing_behind(image: str, tmp_path: Path, event: type):
    def failing(told: Event) -> None:
        if isinstance(told, event):
            raise RuntimeError("the notebook is gone")

    before = sorted(tmp_path.iterdir())
    with pytest.raises(RuntimeError, match="the notebook is gone"):
        Session.open(image, listener=failing).slim(f"oci:{tmp_path}/slim:latest", STATIC)

    assert before == sorted(tmp_path.iterdir())


def test_what_was_written_is_where_it_was_asked_for(image: str, tmp_path: Path):
    result = Session.open(image).slim(f"oci:{tmp_path}/slim:latest", STATIC)

    assert result.holds
    assert result.written is not None
    assert f"oci:{tmp_path}/slim:latest" == result.written.reference == result.destination
    assert result.written.unpacked == Session.open(result.destination).report().unpacked


def test_where_nothing_fits_nothing_is_written(image: str, tmp_path: Path):
    from slimmer.app.options import parse_budget

    options = SlimOptions(plan=PlanOptions(budget=parse_budget("1B")), static=True)
    result = Session.open(image).slim(f"oci:{tmp_path}/slim:latest", options)

    assert (False, None) == (result.holds, result.written)
    assert not (tmp_path / "slim").exists()


def test_an_image_that_is_not_there_is_said_when_it_is_opened():
    with pytest.raises(SlimmerError, match=r"there is no file or folder \./none\.tar"):
        Session.open("./none.tar")
