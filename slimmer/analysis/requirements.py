"""What the owners of an image require, what of it the image holds, and what was asked for by name.

Python requirements by PEP 508, names by PEP 503, markers evaluated for the image's own Python and
platform; Debian's by deb-control(5); those of apk, rpm, conda and npm by their names.
"""

from __future__ import annotations

import re
from collections import defaultdict, deque
from typing import TYPE_CHECKING

from slimmer.ecosystems import debian
from slimmer.ecosystems.machines import machine
from slimmer.ecosystems.python import Requirement, Site, environment

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from slimmer.attribution import Attribution, Claim, Owner


class PythonRequirements:
    """Requirements of Python distributions, followed until no new extra is asked for."""

    def __init__(
        self,
        ledger: Attribution,
        claims: Sequence[Claim],
        edges: Mapping[Owner, dict[Owner, None]],
        unmet: Mapping[Owner, dict[str, None]],
    ) -> None:
        self._edges = edges
        self._unmet = unmet
        self._claims = claims
        self._by_name: defaultdict[str, list[Claim]] = defaultdict(list)
        for claim in claims:
            self._by_name[claim.owner.name].append(claim)
        self._requirements: dict[Claim, list[Requirement]] = {}
        self._wanted: defaultdict[Claim, set[str]] = defaultdict(set)
        self._environments = _environments(ledger)
        self._evaluated: dict[tuple[str, str, str], bool] = {}

    def connect(self, requested: Mapping[Owner, set[str]]) -> None:
        todo: deque[tuple[Claim, str]] = deque((claim, "") for claim in self._claims)
        for claim in self._claims:
            for extra in sorted(requested.get(claim.owner, ())):
                self._want(claim, extra, todo)
        while todo:
            claim, extra = todo.popleft()
            for requirement in self._required(claim, extra):
                found = self._installed(requirement.name, claim)
                if found is None:
                    self._unmet[claim.owner][requirement.text] = None
                    continue
                self._edges[claim.owner][found.owner] = None
                for wanted in requirement.extras:
                    self._want(found, wanted, todo)

    def _want(self, claim: Claim, extra: str, todo: deque[tuple[Claim, str]]) -> None:
        if extra not in self._wanted[claim]:
            self._wanted[claim].add(extra)
            todo.append((claim, extra))

    def _required(self, claim: Claim, extra: str) -> Iterator[Requirement]:
        """What the distribution requires without an extra (`""`), or because of that one."""
        requirements = self._requirements.get(claim)
        if requirements is None:
            parsed = [Requirement.parse(text) for text in claim.requires]
            requirements = [one for one in parsed if one is not None]
            self._requirements[claim] = requirements
        minor = _minor(claim)
        for requirement in requirements:
            if requirement.concerns(extra) and self._holds(requirement, minor, extra):
                yield requirement

    def _holds(self, requirement: Requirement, minor: str, extra: str) -> bool:
        if not requirement.marker:
            return True
        key = (requirement.marker, minor, extra)
        holds = self._evaluated.get(key)
        if holds is None:
            environment = self._environments.get(minor) or self._environments[""]
            holds = self._evaluated[key] = requirement.holds(environment, extra)
        return holds

    def _installed(self, name: str, claim: Claim) -> Claim | None:
        """The distribution of that name that `claim` would import: its neighbour, if it has one."""
        candidates = self._by_name.get(name, ())
        if len(candidates) > 1:
            site = claim.site
            for candidate in candidates:
                if candidate.site == site:
                    return candidate
        return candidates[0] if candidates else None


def _minor(claim: Claim) -> str:
    site = Site.parse(claim.site)
    return site.minor if site else ""


def _environments(ledger: Attribution) -> dict[str, Mapping[str, str]]:
    """Marker variables (PEP 508) of each Python of the image, by its minor version.

    Under the empty name that of the newest one, for distributions whose folder does not tell.
    """
    platform = ledger.index.image.platform
    versions = {
        claim.owner.version: claim.owner.kind
        for claim in ledger.claims
        if claim.owner.kind in ("python", "pypy") and claim.owner.version
    }
    ordered = sorted(versions, key=lambda version: [int(n) for n in re.findall(r"\d+", version)])
    environments: dict[str, Mapping[str, str]] = {}
    for version in ordered or ["3.11"]:
        full = version if version.count(".") > 1 else f"{version}.0"
        told = environment(
            full, machine(platform.architecture), pypy=versions.get(version) == "pypy"
        )
        environments[told["python_version"]] = environments[""] = told
    return environments


def requested(ledger: Attribution, python: Sequence[Claim]) -> dict[Owner, set[str]]:
    """Owners that somebody asked for by name, with the extras that were asked for.

    pip marks such distributions with a file `REQUESTED` (PEP 376), apt the others as installed
    automatically; the application says so in its own files. uv marks every distribution
    (astral-sh/uv#13278), which tells nothing.
    """
    index = ledger.index
    requested: defaultdict[Owner, set[str]] = defaultdict(set)
    names: defaultdict[str, list[Owner]] = defaultdict(list)
    for claim in python:
        names[claim.owner.name].append(claim.owner)
        by_uv = index.evidence.get(claim.metadata + b"/INSTALLER", b"").strip() == b"uv"
        if claim.metadata + b"/REQUESTED" in index.visible and not by_uv:
            requested[claim.owner] |= set()
    for path, content in index.evidence.items():
        name = path.rpartition(b"/")[2]
        if name.startswith(b"requirements") and name.endswith(b".txt"):
            lines = _lines(content)
        elif name == b"pyproject.toml":
            lines = _pyproject(content)
        else:
            continue
        if ledger.claim_of[path].owner.kind not in ("app", "unowned", "cache"):
            continue  # a distribution's own list is for those who develop it
        for line in lines:
            requirement = Requirement.parse(line)
            if requirement is not None:
                for owner in names.get(requirement.name, ()):
                    requested[owner] |= set(requirement.extras)
    states = index.evidence.get(debian.STATES)
    if states is not None:  # else apt keeps no book
        automatic = {debian.text(name) for name, _ in debian.automatic(states)}
        for claim in ledger.claims:
            if claim.owner.kind == "deb" and claim.owner.name not in automatic:
                requested[claim.owner] |= set()
    return requested


def _lines(content: bytes) -> list[str]:
    """Requirement strings of a requirements file; its options are left out."""
    lines = content.decode("utf-8", "replace").replace("\\\n", " ").splitlines()
    lines = [line.partition(" #")[0].strip() for line in lines]
    return [line.partition(" --")[0] for line in lines if line and line[0] not in "-#"]


def _pyproject(content: bytes) -> list[str]:
    import tomllib

    try:
        document = tomllib.loads(content.decode("utf-8", "replace"))
        listed = [str(text) for text in document.get("project", {}).get("dependencies", ())]
        poetry = document.get("tool", {}).get("poetry", {}).get("dependencies", {})
        return [*listed, *map(str, poetry)]
    except (tomllib.TOMLDecodeError, AttributeError, TypeError, RecursionError):
        return []


_APK_NAME = re.compile(r"\s*([^!<>=~@\s][^<>=~@\s]*)").match
_WORD = re.compile(r"\s*(?:[\w.-]+::)?([^\s<>=!~]+)").match


def _apk(text: str) -> list[str]:
    match = _APK_NAME(text)
    return [match[1]] if match else []


def _word(text: str) -> list[str]:
    match = _WORD(text)
    return [match[1]] if match else []


def _whole(text: str) -> list[str]:
    return [text]


_NAMES: Mapping[str, Callable[[str], Sequence[str]]] = {
    "deb": debian.alternatives,
    "apk": _apk,
    "rpm": _whole,
    "conda": _word,
    "npm": _whole,
}
"""How each kind writes a requirement: the names of which any one meets it."""


def connect_by_name(
    claims: Sequence[Claim],
    edges: Mapping[Owner, dict[Owner, None]],
    unmet: Mapping[Owner, dict[str, None]],
) -> None:
    """Requirements that are met by a name alone; the first alternative that is there is taken."""
    found: dict[tuple[str, str], Owner] = {}
    for claim in claims:
        kind, name, _ = claim.owner
        found.setdefault((kind, name), claim.owner)
        if kind == "deb" and ":" in name:
            found.setdefault((kind, name.partition(":")[0]), claim.owner)
    for claim in claims:
        kind = claim.owner.kind
        if kind in _NAMES:
            for text in claim.provides:
                for name in _NAMES[kind](text):
                    found.setdefault((kind, name), claim.owner)
    for claim in claims:
        kind = claim.owner.kind
        if kind not in _NAMES:
            continue
        for text in claim.requires:
            names = _NAMES[kind](text)
            owner = next((found[kind, name] for name in names if (kind, name) in found), None)
            if owner is not None:
                edges[claim.owner][owner] = None
            elif names:
                unmet[claim.owner][text] = None
