"""What is read when packages are installed, while the container runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from slimmer.analysis.texts import Kind
from slimmer.analysis.words import INSTALLERS, UPDATES
from slimmer.names import printable
from slimmer.plan.guards.finding import Finding
from slimmer.plan.guards.programs import APPLICATION, only_built_or_tested, owner_kind

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from slimmer.analysis.facts import Facts
    from slimmer.policy import Rule

_PROGRAMS = ("apt-get", "apt", "aptitude")
_INSTALLING = ("install", "build-dep", "source", "download", "upgrade", "dist-upgrade")
_SCRIPTS = (Kind.SHELL, Kind.PYTHON, Kind.SCRIPT)


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
    fetching = {(word.path, word.text) for word in facts.naming.said(UPDATES)}
    scripts = sorted(
        f"{word.place} calls {printable(word.word)}"
        for word in facts.naming.said(INSTALLERS)
        if word.kind in _SCRIPTS
        and (word.path, word.text) not in fetching
        and any(what.encode() in word.rest for what in _INSTALLING)
        and owner_kind(facts, word.path) in APPLICATION
        and not only_built_or_tested(word.path)
    )
    if scripts:
        yield Finding("the lists of packages", scripts[0], list(paths), doubt=True)
