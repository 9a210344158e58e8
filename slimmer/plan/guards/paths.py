"""Files in the system's own places that something names by their path.

Everybody knows where documents and logs lie: that a tool of the system names `/usr/share/doc` says
nothing, that the application does, says that it serves or copies it. What lies below is named for
its own sake, whoever names it.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from typing import TYPE_CHECKING

from slimmer.analysis.texts import Kind
from slimmer.names import printable
from slimmer.plan.guards.finding import Finding
from slimmer.plan.guards.programs import APPLICATION, only_built_or_tested, owner_kind
from slimmer.tar.reading import DIRECTORY

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from slimmer.analysis.facts import Facts
    from slimmer.analysis.paths_named import Mention
    from slimmer.policy import Rule

_PLACE = re.compile(
    rb"((?:usr/local|usr|var)/[^/]+/[^/]+|tmp/[^/]+|[^/]+)(?:/.*)?\Z", re.DOTALL
).match
_SYSTEM = ("deb", "apk", "rpm")
_READERS: tuple[tuple[bytes, bytes], ...] = (
    (b"usr/share/man", b"usr/bin/man"),
    (b"usr/local/share/man", b"usr/bin/man"),
    (b"usr/local/man", b"usr/bin/man"),
    (b"usr/share/info", b"usr/bin/info"),
    (b"usr/local/share/info", b"usr/bin/info"),
    (b"usr/share/doc-base", b"usr/sbin/install-docs"),
)
"""Where a program reads what people ask it for."""
_OWN_DATA = ("lintian", "gtk-doc-tools", "doc-base", "linda")
"""Packages whose programs read what lies in a folder of documents."""
_WRITTEN = (b"var/log/",)
"""What tools of the system write and turn over, and nobody reads in order to run."""
_CHAPTERS = (b"usr/share/man/", b"usr/share/info/", b"usr/local/share/man/", b"usr/local/man/")
_INTERPRETERS = ("python", "pypy")
_SERVERS = (b"etc/nginx/", b"etc/apache2/", b"etc/httpd/", b"etc/lighttpd/", b"etc/caddy/")
_LANGUAGES = ("LANG", "LC_ALL", "LC_MESSAGES", "LANGUAGE")
_LOCALES = b"usr/share/locale/"


def nothing_names(facts: Facts, rule: Rule, paths: Sequence[bytes]) -> Iterator[Finding]:
    """Files or folders of these that the start, the application, a configuration or a script
    names; in doubt where a distribution does, or a program is there to show them."""
    ordered = sorted(paths)
    roots = {match[1] for path in ordered if (match := _PLACE(path)) is not None}
    yield from _started(facts, ordered, roots)
    yield from _of_packages(facts, ordered)
    yield from _languages(facts, ordered)
    leaving = frozenset(paths)
    told: dict[bytes, tuple[bool, str]] = {}
    for mention in facts.naming.paths(roots):
        doubt = _doubt(facts, mention, mention.named in roots)
        if doubt is None or mention.path in leaving:
            continue
        known = told.get(mention.named)
        if known is None or (known[0] and not doubt):
            told[mention.named] = doubt, str(mention)
    for named, (doubt, evidence) in sorted(told.items()):
        against = _at(ordered, named)
        if against:
            yield Finding(printable(named), evidence, against, doubt)


def _at(ordered: Sequence[bytes], named: bytes) -> list[bytes]:
    """The path itself, or all that lies below it."""
    start = bisect_left(ordered, named)
    if start < len(ordered) and ordered[start] == named:
        return [named]
    found: list[bytes] = []
    for place in range(bisect_left(ordered, named + b"/"), len(ordered)):
        if not ordered[place].startswith(named + b"/"):
            break
        found.append(ordered[place])
    return found


def _doubt(facts: Facts, mention: Mention, is_root: bool) -> bool | None:
    """Whether a place is doubt or proof that what it names is read; None where it is neither."""
    if mention.for_people or only_built_or_tested(mention.path):
        return None
    kind = owner_kind(facts, mention.path)
    if kind in APPLICATION:
        return not mention.whole
    if kind in _SYSTEM:
        if is_root:
            # The shipped configuration of a server may show it to the world.
            served = mention.kind is Kind.CONFIG and mention.path.startswith(_SERVERS)
            return True if served else None
        if mention.named.startswith(_WRITTEN):
            return None
        if mention.named.startswith(_CHAPTERS) and _is_folder(facts, mention.named):
            return None
        return not mention.whole
    return None if is_root or kind in _INTERPRETERS else True


def _is_folder(facts: Facts, path: bytes) -> bool:
    header = facts.index.visible.get(path)
    return header is None or header.kind is DIRECTORY


def _started(facts: Facts, ordered: Sequence[bytes], roots: set[bytes]) -> Iterator[Finding]:
    """What the image's start names, at one of the places or below it."""
    tops = tuple(root + b"/" for root in roots)
    for path, named in sorted(facts.starts.files.items()):
        if path in roots or path.startswith(tops):
            against = _at(ordered, path)
            if against:
                yield Finding(printable(path), str(named), against)


def _of_packages(facts: Facts, ordered: Sequence[bytes]) -> Iterator[Finding]:
    """What programs of the image are there to show, and data in a folder of documents."""
    visible = facts.index.visible
    for folder, program in _READERS:
        if program in visible:
            against = _at(ordered, folder)
            if against:
                evidence = f"{printable(program)} shows them to who asks"
                yield Finding(printable(folder), evidence, against, doubt=True)
    owned: dict[str, list[bytes]] = {}
    for path in ordered:
        owner = facts.ledger.owner(path)
        if owner.kind == "deb" and owner.name in _OWN_DATA:
            owned.setdefault(owner.name, []).append(path)
        elif owner.kind in ("pip", "conda") and b"/share/doc/" in path:
            owned.setdefault(str(owner), []).append(path)
    for name, against in sorted(owned.items()):
        if name in _OWN_DATA:
            yield Finding(printable(name), "its own programs read them", against)
        else:
            evidence = "data files of a distribution, which it may find by sys.prefix"
            yield Finding(printable(name), evidence, against, doubt=True)


def _languages(facts: Facts, ordered: Sequence[bytes]) -> Iterator[Finding]:
    """Translations into the language that the image's environment asks for."""
    for variable, value in facts.index.image.config.environment:
        if variable not in _LANGUAGES:
            continue
        for locale in value.split(":"):
            name = locale.partition(".")[0].partition("@")[0]
            if name in ("", "C", "POSIX") or "/" in name:
                continue
            for folder in dict.fromkeys((name, name.partition("_")[0])):
                against = _at(ordered, _LOCALES + folder.encode("utf-8", "surrogateescape"))
                if against:
                    yield Finding(printable(folder), f"Env {variable} asks for it", against)


def nothing_edits(facts: Facts, rule: Rule, paths: Sequence[bytes]) -> Iterator[Finding]:
    """Files that the image's start names: it may write to one of several that look alike."""
    files = facts.starts.files
    for path in paths:
        if path in files:
            yield Finding(printable(path), str(files[path]), (path,))
