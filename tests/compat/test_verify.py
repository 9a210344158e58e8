"""Both images at work in real engines: a Python image made of this very interpreter."""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys
import sysconfig
import tarfile
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tiny import Bytes, config

from slimmer import owners
from slimmer.analysis.dependencies import DependencyGraph
from slimmer.analysis.facts import Facts
from slimmer.attribution import Attribution
from slimmer.image import Config, Digest, Image
from slimmer.index import Index
from slimmer.plan.budget import Sizes
from slimmer.plan.combining import settle
from slimmer.plan.plan import Plan
from slimmer.plan.steps import Rewrite, Step
from slimmer.policy import Safety
from slimmer.proof.trials import Probe, Request, TrialError, Trials
from slimmer.proof.verify import verify
from slimmer.rewrite import apply
from slimmer.splice import Copy, Splice
from slimmer.stores.engine.containers import LABEL, Containers

if TYPE_CHECKING:
    from collections.abc import Iterator

    from slimmer.proof.faults import Verdict

pytestmark = pytest.mark.compat

STDLIB = Path(sysconfig.get_path("stdlib"))
PYTHON = Path(sys.base_prefix) / "bin" / f"python{sys.version_info[0]}.{sys.version_info[1]}"
LEFT_OUT = {"site", "test", "tests", "idlelib", "tkinter", "lib2to3", "__pycache__"}
LEFT_OUT |= {"ensurepip", "pydoc_data", "turtledemo", "config"}
# Where that very program looks for distributions: Debian's own calls it dist-packages.
ASKED_SITE = [str(PYTHON), "-c", "import site; print(site.getsitepackages()[0])"]
SITE = subprocess.run(ASKED_SITE, capture_output=True, text=True, check=False).stdout.strip()
SERVICE = """
import http.server, json, os, sys
import good.extra
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = json.dumps({"path": self.path, "answer": good.extra.ANSWER}).encode()
        self.send_response(200 if self.path == "/health" else 404)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(body)
http.server.HTTPServer(("0.0.0.0", 8000), Handler).serve_forever()
"""
ASK = "import urllib.request as u; u.urlopen('http://127.0.0.1:8000/health')"


def _libraries(program: str) -> set[str]:
    told = subprocess.run(["ldd", program], capture_output=True, text=True, check=False).stdout
    return {os.path.normpath(path) for path in re.findall(r"(/\S+) \(0x", told)}


def _base() -> bytes:
    """A layer with Python, its standard library, a shell, and the libraries of all of them."""
    if not PYTHON.exists():
        pytest.skip(f"no program {PYTHON}")
    files = {str(PYTHON), "/bin/sh"}
    for path in STDLIB.rglob("*"):
        parts = path.relative_to(STDLIB).parts
        # `site-packages`, `config-3.11-…`
        if path.is_file() and not any(part.partition("-")[0] in LEFT_OUT for part in parts[:-1]):
            files.add(str(path))
    for path in [one for one in files if ".so" in one or one in (str(PYTHON), "/bin/sh")]:
        files |= _libraries(path)
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for path in sorted(files):
            real = Path(path).resolve()
            member = tarfile.TarInfo(path.lstrip("/"))
            member.size = real.stat().st_size
            member.mode = 0o755
            with real.open("rb") as file:
                tar.addfile(member, file)
    return buffer.getvalue()


def _own() -> bytes:
    """A layer with three distributions and a service."""
    files = {
        "app/serve.py": SERVICE,
        "app/noise.py": "import os; print(os.urandom(8).hex())",
        f"{SITE}/good/__init__.py": "",
        f"{SITE}/good/extra.py": "ANSWER = 42\n",
        f"{SITE}/uses/__init__.py": "import good.extra\n",
        f"{SITE}/never/__init__.py": "raise ImportError('no GPU')\n",
    }
    for name in ("good", "uses", "never"):
        modules = [path for path in files if path.startswith(f"{SITE}/{name}/")]
        told = f"{name}-1.dist-info"
        record = [path.removeprefix(f"{SITE}/") for path in modules]
        record += [f"{told}/METADATA", f"{told}/RECORD"]
        files[f"{SITE}/{told}/METADATA"] = f"Metadata-Version: 2.1\nName: {name}\nVersion: 1\n"
        files[f"{SITE}/{told}/RECORD"] = "".join(f"{path},,\n" for path in record)
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for path, text in files.items():
            member = tarfile.TarInfo(path.lstrip("/"))
            member.size = len(text)
            member.mode = 0o644
            tar.addfile(member, io.BytesIO(text.encode()))
    return buffer.getvalue()


class Original:
    """The image to compare with. Not a dataclass: pytest shows arguments by their repr."""

    def __init__(self, facts: Facts) -> None:
        self.facts = facts
        self.image = facts.index.image


@pytest.fixture(scope="module")
def original() -> Original:
    tars = [_base(), _own()]
    runtime = {
        "Env": [f"PATH={PYTHON.parent}:/bin"],
        "Cmd": [str(PYTHON), "/app/serve.py"],
        "Healthcheck": {"Test": ["CMD", str(PYTHON), "-c", ASK]},
    }
    parsed = Config.parse(config(tars, runtime=runtime))
    return Original(
        looked(Image.of("tiny:python", parsed, [(Bytes(tar), None, None) for tar in tars]))
    )


def looked(image: Image) -> Facts:
    ledger = Attribution.of(Index.scan(image, owners.evidence()), owners.default)
    return Facts(ledger, DependencyGraph.of(ledger))


def plan_of(original: Original, *removes: str, rewrites: tuple[Rewrite, ...] = ()) -> Plan:
    before = original.facts
    paths = tuple(path.lstrip("/").encode() for path in removes)
    step = Step("rule", "remove", "t", Safety.SAFE, "why", removes=paths, rewrites=rewrites)
    changes = settle(before, (step,), ())
    sizes = Sizes.of(before.index), Sizes.of(changes.after)
    return Plan(before.index.image.id, "p", None, (step,), (), (), (), *sizes, changes, before)


def slimmed(plan: Plan) -> Facts:
    draft = apply(plan.facts.index.image, plan)
    tars = [b"".join(one.chunks()) for one in draft.layers]
    parsed = draft.finish([Digest.of(tar) for tar in tars])
    return looked(Image.of("tiny:slim", parsed, [(Bytes(tar), None, None) for tar in tars]))


@pytest.fixture(scope="module", params=["docker", "podman"])
def engine(request: pytest.FixtureRequest, original: Original) -> Iterator[Containers]:
    """An engine that can run the image; nothing of ours is left in it afterwards."""
    name = {"docker": "DOCKER_HOST", "podman": "CONTAINER_HOST"}[request.param]
    socket = request.getfixturevalue(f"{request.param}_socket")
    with Containers.connect({name: socket}, request.param) as running:
        there = {image["Id"] for image in running.client.images()}
        try:
            ended = running.run(original.image, "echo works", Trials())
        except TrialError as error:
            pytest.skip(f"{request.param} runs no container here: {error.message}")
        if ended.code != 0:
            pytest.skip(f"{request.param} runs no container here: {ended}")
        yield running
        assert [] == running.client.containers(all=True, filters={"label": LABEL})
        client = running.client
        running.client = Containers.connect({name: socket}, request.param).client
        running.__exit__(None, None, None)  # takes the loaded images away
        running.client = client
        assert there == {image["Id"] for image in client.images()}


TRIALS = Trials(
    requests=(Request(8000, "/health"),),
    runs=(f"{PYTHON} -c 'import good.extra; print(good.extra.ANSWER, object())'",),
    timeout=60,
    settle=1,
)


def proved(engine: Containers, plan: Plan, trials: Trials = TRIALS) -> Verdict:
    return verify(plan.facts, slimmed(plan), plan, engine=engine, trials=trials)


def test_a_result_that_works_holds(engine: Containers, original: Original):
    verdict = proved(engine, plan_of(original, "app/noise.py"))

    assert () == verdict.faults
    expected = {"modules": 2, "commands": 1, "requests": 1, "health checks": 1}
    assert expected.items() <= dict(verdict.checked).items()
    assert any("1 modules do not import in the original either" in one for one in verdict.notes)


def test_everything_that_breaks_names_the_file_and_the_step(engine: Containers, original: Original):
    verdict = proved(engine, plan_of(original, f"{SITE}/good/extra.py"))

    found = {
        (fault.kind, fault.subject, fault.step, fault.keep)
        for fault in verdict.faults
        if fault.kind != "record"
    }
    assert {
        ("import", "uses (uses)", "rule:t", f"{SITE}/good/extra.py"),
        ("command", TRIALS.runs[0], "rule:t", f"{SITE}/good/extra.py"),
        ("start", "the container", "rule:t", f"{SITE}/good/extra.py"),
    } == found


def test_a_service_that_answers_otherwise_is_found(engine: Containers, original: Original):
    path = f"{SITE}/good/extra.py".lstrip("/").encode()
    rewrite = Rewrite(path, Splice((Copy(0, 10),)), 12)  # ANSWER = 4
    trials = replace(TRIALS, imports=False, runs=(), libraries="none")

    (fault,) = proved(engine, plan_of(original, rewrites=(rewrite,)), trials).faults

    assert ("answer", "GET :8000/health") == (fault.kind, fault.subject)
    assert '"answer": 42' in fault.lost


def test_libraries_are_loaded_in_both(engine: Containers, original: Original):
    # A library that ends after its headers still looks right to who reads only those.
    paths = [path for path in original.facts.index.visible if b"lib-dynload/_json" in path]
    if not paths:
        pytest.skip("this Python has no extension modules of its own")
    size = original.facts.index.visible[paths[0]].size
    zeros = Splice((Copy(0, 64),))
    plan = plan_of(original, rewrites=(Rewrite(paths[0], zeros, size),))
    trials = replace(TRIALS, imports=False, runs=(), requests=(), health=False)

    faults = [fault for fault in proved(engine, plan, trials).faults if fault.kind == "load"]

    assert [("/" + paths[0].decode(), "rule:t")] == [(one.subject, one.step) for one in faults]


def test_a_command_that_varies_by_itself_is_held_to_its_exit_code(
    engine: Containers, original: Original
):
    trials = replace(
        TRIALS, imports=False, requests=(), health=False, runs=(f"{PYTHON} /app/noise.py",)
    )

    verdict = proved(engine, plan_of(original, f"{SITE}/never/__init__.py"), trials)

    assert [] == [fault for fault in verdict.faults if fault.kind == "command"]
    assert any("were not compared" in note for note in verdict.notes)


def test_containers_reach_no_network(engine: Containers, original: Original):
    ended = engine.run(
        original.image,
        f"{PYTHON} -c 'import socket; print(sorted(n for _, n in socket.if_nameindex()))'",
        Trials(),
    )

    assert b"['lo']" == ended.stdout.strip()


def test_what_does_not_end_is_ended(engine: Containers, original: Original):
    begun = time.monotonic()

    ended = engine.run(original.image, "while :; do :; done", Trials(timeout=1))

    assert ended.code is None
    assert time.monotonic() - begun < 20


def test_an_interrupt_leaves_no_container(engine: Containers, original: Original):
    def interrupt(done: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        engine.probe(original.image, str(PYTHON), Probe(), Trials(), interrupt)

    assert [] == engine.client.containers(all=True, filters={"label": LABEL})


def started(original: Original, *command: str, user: str = "") -> Facts:
    """The same image with another command."""
    raw = json.loads(original.image.config.raw)
    raw["config"] |= {"Cmd": list(command), "Healthcheck": None, "User": user}
    parsed = Config.parse(json.dumps(raw).encode())
    contents = [(layer.content, None, None) for layer in original.image.layers]
    return looked(Image.of("tiny:other", parsed, contents))


STARTED = Trials(imports=False, libraries="none", settle=5, timeout=30)


@pytest.mark.parametrize(
    ("before", "after", "lost"),
    [
        ("print(1)", "print(1)", ""),
        ("print(1)", "print(2)", "stdout differs in line 1: '1' before, '2' after"),
        ("print(1)", "1/0", "exit code 0 before, exit code 1 after: ZeroDivisionError"),
        ("import time; time.sleep(60)", "print(1)", "ended with exit code 0: 1"),
        ("print(1)", "import time; time.sleep(60)", "ended with exit code 0 before, goes on after"),
        ("import os; print(1, os.urandom(9))", "import os; print(1, os.urandom(9))", ""),
    ],
)
def test_the_images_own_command_must_behave_alike(
    engine: Containers, original: Original, before: str, after: str, lost: str
):
    one, two = (started(original, str(PYTHON), "-c", code) for code in (before, after))

    faults = verify(one, two, engine=engine, trials=STARTED).faults

    told = [fault.lost for fault in faults if fault.kind == "start"]
    assert bool(lost) == bool(told)
    assert all(lost in text for text in told)


def test_a_command_that_is_not_there_does_not_start(engine: Containers, original: Original):
    one, two = started(original, str(PYTHON), "-c", ""), started(original, "/nope")

    found = {fault.kind for fault in verify(one, two, engine=engine, trials=STARTED).faults}

    assert {"config", "entry", "start"} <= found


def test_nobody_asks_a_container_that_has_ended(engine: Containers, original: Original):
    facts = started(original, str(PYTHON), "-c", "raise SystemExit(3)")
    trials = replace(STARTED, requests=(Request(8000, "/"),), timeout=120)
    begun = time.monotonic()

    with pytest.raises(TrialError, match="it ended with exit code 3"):
        verify(facts, facts, engine=engine, trials=trials)

    assert time.monotonic() - begun < 60


STATUS = "import re; s = open('/proc/self/status').read(); print(re.findall(r'NoNewPrivs.*', s), "
STATUS += "int(re.search(r'CapBnd:\\s*(.*)', s)[1], 16).bit_count())"


def test_containers_may_do_little(engine: Containers, original: Original):
    ended = engine.run(original.image, f'{PYTHON} -c "{STATUS}"', Trials())

    assert b"['NoNewPrivs:\\t1'] 1" == ended.stdout.strip(), ended


def test_a_start_that_needs_more_gets_more_and_no_other_does(
    engine: Containers, original: Original
):
    # As a service does that begins as root and becomes somebody else.
    facts = started(original, str(PYTHON), "-c", "import os; os.setgid(9); os.setuid(9)")

    engine._wide.clear()
    served = engine.serve(facts.index.image, str(PYTHON), STARTED)
    engine._wide.clear()

    assert 0 == served.code, served


def test_output_without_an_end_is_bounded(engine: Containers, original: Original):
    ended = engine.run(original.image, "while :; do echo aaaaaaaaaaaaaaaa; done", Trials(timeout=3))

    assert ended.code is None
    assert len(ended.stdout) <= 1 << 20


def test_an_image_without_a_shell_is_told(engine: Containers, original: Original):
    bare = looked(
        Image.of(
            "tiny:bare",
            original.image.config,
            [(layer.content, None, None) for layer in original.image.layers],
        )
    )
    members = dict(bare.index.visible)
    del members[b"bin/sh"]
    bare = Facts(replace(bare.ledger, index=replace(bare.index, visible=members)), bare.graph)

    with pytest.raises(TrialError, match="the image has no /bin/sh"):
        verify(bare, bare, engine=engine, trials=replace(STARTED, start=False, runs=("true",)))


@pytest.mark.skipif(
    "SLIMMER_REFERENCE_IMAGE" not in os.environ,
    reason="takes minutes; SLIMMER_REFERENCE_IMAGE names an image of the local engine to run",
)
def test_a_real_image_compared_with_itself_has_no_faults(tmp_path: Path):
    name = os.environ["SLIMMER_REFERENCE_IMAGE"]
    command = [sys.executable, "-m", "slimmer", "verify", name, name, "--format", "json"]

    ended = subprocess.run(command, capture_output=True, text=True, check=False)

    verdict = json.loads(ended.stdout)
    assert (0, []) == (ended.returncode, verdict["faults"])
    assert verdict["checked"]["modules"] > 0
