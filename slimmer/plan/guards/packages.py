"""What is read when packages are installed, while the container runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from slimmer.analysis.spots import is_comment
from slimmer.analysis.texts import Kind, Search
from slimmer.names import printable
from slimmer.plan.guards.finding import Finding
from slimmer.plan.guards.programs import APPLICATION, only_built_or_tested, owner_kind

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from slimmer.analysis.facts import Facts
    from slimmer.analysis.texts import Hit, Text
    from slimmer.policy import Rule

_PROGRAMS = ("apt-get", "apt", "aptitude")
_INSTALLING = ("install", "build-dep", "source", "download", "upgrade", "dist-upgrade")
_UPDATES = (b"apt-get update", b"apt update", b"apt-get -y update", b"apt-get -q update")


def nothing_installs(facts: Facts, rule: Rule, paths: Sequence[bytes]) -> Iterator[Finding]:
    """Package lists, where the start installs without fetching them anew; in doubt where another
    script of the application does."""
    installing = None
    for words, named in facts.starts.commands:
        if words[0].rpartition("/")[2] in _PROGRAMS:
            if "update" in words:
                return
            if any(word in _INSTALLING for word in words):
                installing = installing or named
    if installing is not None:
        evidence = f"{installing} to install, and nothing fetches the lists before"
        yield Finding("the lists of packages", evidence, list(paths))
        return
    scripts: list[str] = []

    def look(text: Text, hits: Sequence[Hit]) -> None:
        if owner_kind(facts, text.path) not in APPLICATION or only_built_or_tested(text.path):
            return
        if any(update in text.content for update in _UPDATES):
            return
        for hit in hits:
            line = text.content[hit.start : text.content.find(b"\n", hit.start)]
            installs = any(word.encode() in line for word in _INSTALLING)
            if installs and not is_comment(text, hit.start):
                scripts.append(f"{text.name}:{text.line(hit.start)} calls {printable(hit.needle)}")
                return

    kinds = frozenset((Kind.SHELL, Kind.PYTHON, Kind.SCRIPT))
    facts.texts.scan([Search((b"apt-get", b"aptitude"), look, kinds)])
    if scripts:
        yield Finding("the lists of packages", min(scripts), list(paths), doubt=True)
