"""`slimmer slim` on disk: a result appears whole in its place, or nothing of it is left."""

from __future__ import annotations

from pathlib import Path

import pytest
from tiny import layer, oci

from slimmer import stores
from slimmer.cli import main
from slimmer.stores import staging as provisional
from slimmer.stores.staging import Provisional

LISTS = layer({"var/lib/apt/lists/Packages": b"p" * 4000, "srv/app": b"kept"})


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SLIMMER_CACHE_DIR", str(tmp_path / "cache"))
    return oci([LISTS], "source")


def slim(source: str, destination: str, *more: str) -> int:
    return main(["slim", source, "--static", "-o", destination, *more])


def left() -> set[str]:
    return {path.name for path in Path().iterdir()} - {"cache", "source"}


@pytest.mark.parametrize(
    ("destination", "there"),
    [
        ("docker-archive:out.tar:app:latest", "out.tar"),
        ("docker-archive:out.tar:host.example/team/app:1.2", "out.tar"),
        ("docker-archive:out.tar", "out.tar"),
        ("out.tar", "out.tar"),
        ("oci-archive:out.tar:app:latest", "out.tar"),
        ("oci:out:app:1", "out"),
        ("oci:out", "out"),
    ],
)
def test_a_result_with_any_name_lies_where_it_was_to(source: str, destination: str, there: str):
    assert 0 == slim(source, destination)
    assert {there} == left()
    stores.open(there)


@pytest.mark.parametrize(
    ("destination", "said"),
    [
        ("oci:", "names nothing"),
        ("oci::tag", "names nothing"),
        ("oci-archive:", "names nothing"),
        ("docker-archive:", "names nothing"),
        ("elsewhere", "does not say what to write"),
        ("gone/out.tar", "to write out.tar to"),
        ("oci:gone/out", "to write out to"),
        ("oci:full", "is no OCI layout"),
        ("docker-archive:full", "no regular file"),
    ],
)
def test_a_destination_that_cannot_be_is_refused_before_the_work(
    source: str, destination: str, said: str, capsys: pytest.CaptureFixture[str]
):
    Path("full").mkdir()
    Path("full/file").write_bytes(b"")

    assert 2 == slim("no such image", destination)
    assert said in capsys.readouterr().err
    assert {"full"} == left()


@pytest.mark.parametrize("written", ["out.tar", "oci-archive:./out.tar", "docker-archive:link.tar"])
def test_a_source_is_never_written_over(
    source: str, written: str, capsys: pytest.CaptureFixture[str]
):
    assert 0 == slim(source, "oci-archive:out.tar")
    Path("link.tar").symlink_to("out.tar")
    before = Path("out.tar").read_bytes()
    capsys.readouterr()

    assert 2 == slim("oci-archive:out.tar:latest", written)
    said = capsys.readouterr().err
    assert "cannot be written over" in said or "is what is being read" in said
    assert before == Path("out.tar").read_bytes()


def test_nothing_is_left_of_a_result_that_cannot_be_put_in_its_place(
    source: str, monkeypatch: pytest.MonkeyPatch
):
    accept = Provisional.accept

    def late(self: Provisional, environment: dict[str, str]) -> None:
        Path("out.tar").mkdir()
        accept(self, environment)

    monkeypatch.setattr(provisional.Provisional, "accept", late)

    assert 2 == slim(source, "out.tar")
    assert {"out.tar"} == left()


def test_nothing_is_left_where_nobody_hears_the_verdict(
    source: str, monkeypatch: pytest.MonkeyPatch
):
    def closed(verdict: object, rim: object) -> str:
        raise BrokenPipeError

    monkeypatch.setattr("slimmer.formats.verdict.text", closed)

    slim(source, "out.tar")

    assert set() == left()


def test_a_plan_that_is_no_text_is_no_plan(source: str, capsys: pytest.CaptureFixture[str]):
    Path("plan.json").write_bytes(b"\xff\xfe\x00")

    assert 2 == slim(source, "out.tar", "--plan", "plan.json")
    assert "expected a plan in JSON" in capsys.readouterr().err


def test_a_policy_that_is_no_text_is_no_policy(source: str, capsys: pytest.CaptureFixture[str]):
    Path("policy.toml").write_bytes(b"\xff\xfe\x00")

    assert 2 == slim(source, "out.tar", "--policy", "policy.toml")
    assert "the file is TOML" in capsys.readouterr().err


def test_a_layout_gets_another_image_only_once_it_is_proved(source: str):
    blobs = sorted(path.name for path in Path("source/blobs/sha256").iterdir())
    index = Path("source/index.json").read_bytes()
    place = Provisional.of("oci:source:slim")
    stores.write(stores.open("oci:source:latest"), place.target)
    place.discard({})

    assert blobs == sorted(path.name for path in Path("source/blobs/sha256").iterdir())
    assert index == Path("source/index.json").read_bytes()
    assert set() == left()

    assert 0 == slim("oci:source:latest", "oci:source:slim")
    assert stores.open("oci:source:latest").id != stores.open("oci:source:slim").id
    assert set() == left()


@pytest.mark.parametrize("reference", ["oci:source:latest", "oci:source", "source"])
def test_the_tag_that_is_read_never_moves(
    source: str, reference: str, capsys: pytest.CaptureFixture[str]
):
    before = Path("source/index.json").read_bytes()

    assert 2 == slim(reference, "oci:source:latest")
    assert "cannot be written over" in capsys.readouterr().err
    assert before == Path("source/index.json").read_bytes()
