"""Small systems for tests of guards and actions: libraries that need one another, packages."""

from __future__ import annotations

import base64
import hashlib
import struct
from typing import TYPE_CHECKING, Any

from tiny import image, layer

from slimmer import owners
from slimmer.analysis.dependencies import DependencyGraph
from slimmer.analysis.facts import Facts
from slimmer.attribution import Attribution
from slimmer.index import Index
from slimmer.plan.plan import Plan
from slimmer.plan.proposals import Proposals
from slimmer.plan.protection import Protection
from slimmer.plan.steps import Refusal, Step
from slimmer.policy import Globs, Policy, Rule, Safety

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from slimmer.image import Image
    from slimmer.plan.proposals import Action
    from slimmer.plan.steps import Bookkeeper

SITE = "usr/lib/python3.11/site-packages"


def library(
    *needed: str,
    soname: str = "",
    rpath: str = "",
    runpath: str = "",
    interpreter: str = "",
    machine: int = 62,
    more: bytes = b"",
) -> bytes:
    """An ELF file with nothing but what a loader asks for; `more` stands at its end."""
    strings = bytearray(b"\0")
    tags: list[tuple[int, int]] = []
    texts = [*((1, name) for name in needed), (14, soname), (15, rpath), (29, runpath)]
    for tag, text in texts:
        if text:
            tags.append((tag, len(strings)))
            strings += text.encode() + b"\0"
    count = 2 + bool(interpreter)
    start = 64 + 56 * count
    program = interpreter.encode() + b"\0" if interpreter else b""
    at = start + len(program)
    tags += [(5, at), (10, len(strings)), (0, 0)]
    dynamic = b"".join(struct.pack("<QQ", *tag) for tag in tags)
    body = program + bytes(strings) + dynamic + more
    size = start + len(body)
    rows = [(1, 4, 0, 0, 0, size, size, 4096)]
    place = at + len(strings)
    rows.append((2, 4, place, place, place, len(dynamic), len(dynamic), 8))
    if interpreter:
        rows.append((3, 4, start, start, start, len(program), len(program), 1))
    header = struct.pack(
        "<16sHHIQQQIHHHHHH",
        b"\x7fELF\x02\x01\x01",
        *(3, machine, 1, 0, 64, 0, 0, 64, 56, count, 0, 0, 0),
    )
    return header + b"".join(struct.pack("<IIQQQQQQ", *row) for row in rows) + body


def distribution(
    name: str, files: Mapping[str, bytes], requires: Iterable[str] = (), version: str = "1.0"
) -> dict[str, bytes]:
    """What pip installs: paths below site-packages, with METADATA and RECORD."""
    info = f"{name.replace('-', '_')}-{version}.dist-info"
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
    metadata += "".join(f"Requires-Dist: {one}\n" for one in requires)
    told = {**files, f"{info}/METADATA": metadata.encode()}
    record = "".join(f"{path},{summed(content)},{len(content)}\n" for path, content in told.items())
    told[f"{info}/RECORD"] = (record + f"{info}/RECORD,,\n").encode()
    return {f"{SITE}/{path}": content for path, content in told.items()}


def summed(content: bytes) -> str:
    """A hash as RECORD has it."""
    digest = hashlib.sha256(content).digest()
    return "sha256=" + base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def package(
    name: str,
    files: Mapping[str, bytes],
    depends: str = "",
    *,
    recommends: str = "",
    provides: str = "",
    automatic: bool = False,
    fields: str = "",
) -> tuple[str, Mapping[str, bytes], str, bool]:
    """A Debian package for `debian`."""
    text = f"Package: {name}\nStatus: install ok installed\nArchitecture: amd64\nVersion: 1\n"
    for key, value in (("Depends", depends), ("Recommends", recommends), ("Provides", provides)):
        text += f"{key}: {value}\n" if value else ""
    return name, files, text + fields, automatic


def debian(*packages: tuple[str, Mapping[str, bytes], str, bool]) -> dict[str, bytes]:
    """The files of a system with these packages, dpkg's and apt's books included."""
    held: dict[str, bytes] = {}
    status, states = [], []
    dpkg = package("dpkg", {"usr/bin/dpkg": b"dpkg"}, fields="Essential: yes\n")
    for name, files, text, automatic in (dpkg, *packages):
        held |= files
        listed = "".join(f"/{path}\n" for path in files)
        held[f"var/lib/dpkg/info/{name}.list"] = ("/.\n" + listed).encode()
        held[f"var/lib/dpkg/info/{name}.md5sums"] = b""
        status.append(text)
        if automatic:
            states.append(f"Package: {name}\nArchitecture: amd64\nAuto-Installed: 1\n")
    held["var/lib/dpkg/status"] = "\n".join(status).encode() + b"\n"
    held["var/lib/apt/extended_states"] = "\n".join(states).encode() + b"\n"
    return held


def system(
    files: Mapping[str, bytes | None],
    *,
    keep: Iterable[str] = (),
    keep_owners: Iterable[str] = (),
    symlinks: Mapping[str, str] | None = None,
    links: Mapping[str, str] | None = None,
    executable: Iterable[str] = (),
    runtime: Mapping[str, object] | None = None,
) -> Protection:
    """The image of one layer with these files, and what is to be kept of it."""
    tar = layer(files, symlinks=symlinks, links=links)
    source = image(_executable(tar, set(executable)), runtime=runtime)
    return Protection(facts_of(source), Globs(keep), tuple(keep_owners))


def facts(files: Mapping[str, bytes | None], **others: Any) -> Facts:
    """The image of one layer with these files; `others` as for `system`."""
    return system(files, **others).facts


def facts_of(source: Image) -> Facts:
    """What actions, guards and proofs look at of an image."""
    ledger = Attribution.of(Index.scan(source, owners.evidence()), owners.default)
    return Facts(ledger, DependencyGraph.of(ledger))


def _executable(tar: bytes, paths: set[str]) -> bytes:
    import io
    import tarfile

    if not paths:
        return tar
    buffer = io.BytesIO()
    with (
        tarfile.open(fileobj=io.BytesIO(tar)) as old,
        tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as new,
    ):
        for member in old:
            member.mode = 0o755 if member.name in paths else member.mode
            new.addfile(member, old.extractfile(member) if member.isreg() else None)
    return buffer.getvalue()


def proposed(
    action: Action, given: Facts | Protection, rule: Rule
) -> tuple[list[Step], list[Refusal]]:
    """Steps and refusals of an action, and what the guards of its rule refuse."""
    protection = given if isinstance(given, Protection) else Protection(given)
    found = Proposals(protection.facts, {rule.action: action}).of(rule, protection)
    return (
        [one for one in found if isinstance(one, Step)],
        [one for one in found if isinstance(one, Refusal)],
    )


def planned(
    given: Facts | Protection, action: Action, rule: Rule, bookkeeping: Iterable[Bookkeeper] = ()
) -> Plan:
    """The plan of one rule, everything accepted."""
    protection = given if isinstance(given, Protection) else Protection(given)
    policy = Policy("test", (rule,), protection.keep, protection.keep_owners, Safety.RISKY)
    return Plan.of(protection.facts, policy, {rule.action: action}, bookkeeping)
