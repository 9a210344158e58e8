"""A CUDA build and the CPU wheel that takes its place, worked out to the last file."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from slimmer.actions import symbols
from slimmer.actions.swap.dependents import (
    Forbidden,
    is_held,
    leaving_with,
    must_be_whole,
    must_not_meet,
    must_resolve,
    removed_with,
)
from slimmer.actions.swap.installation import Installed, InstallScheme, folders, install
from slimmer.actions.swap.wheels import (
    CUDA_NAME,
    Target,
    Wheel,
    Wheels,
)
from slimmer.analysis.symlinks import dangling
from slimmer.attribution import Claim, Owner
from slimmer.ecosystems import scripts
from slimmer.ecosystems.python import Requirement, Site
from slimmer.edits.changes import Changes
from slimmer.names import printable
from slimmer.plan.budget import PlanError
from slimmer.policy import Globs
from slimmer.tar.reading import DIRECTORY

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from slimmer.analysis.facts import Facts
    from slimmer.edits.layer_edit import Addition
    from slimmer.plan.protection import Protection


class Family(NamedTuple):
    """A distribution that comes as a CUDA build, and its counterpart without."""

    name: str
    """Of the CUDA build, normalised."""
    cpu: str
    """Distribution that takes its place; empty where it leaves for nothing."""
    local: str = ""
    """Local version (PEP 440) by which the CPU build is told from the other."""
    companions: tuple[str, ...] = ()
    """Distributions that only work with a build of their own kind, and so go with it."""


class SwapRequest(NamedTuple):
    """What `--swap NAME=cpu` or `--swap NAME=FILE` asks for."""

    name: str
    """Normalised name of the distribution; `jax` for its CUDA plugins."""
    file: str = ""
    """A wheel file, or nothing where one is to be found."""
    sha256: str = ""
    """The hash that it must have, where one was given (`FILE#sha256=…`)."""

    @classmethod
    def parse(cls, text: str) -> SwapRequest:
        name, equals, value = text.partition("=")
        file, _, fragment = value.partition("#sha256=")
        if not equals or not name.strip() or not value:
            raise PlanError(
                f"expected a swap such as 'torch=cpu', got {text!r:.100}",
                hint="--swap torch=cpu, or the wheel itself: --swap torch=FILE.whl",
            )
        return cls(canonicalize_name(name.strip()), "" if value == "cpu" else file, fragment)


class Old(NamedTuple):
    """A distribution that is swapped: its claim, and what takes its place."""

    claim: Claim
    family: Family
    request: SwapRequest


class Replacement(NamedTuple):
    """A swap in all its parts."""

    removes: tuple[bytes, ...]
    additions: tuple[Addition, ...]
    wheels: tuple[tuple[Old, Wheel | None], ...]
    leaves: tuple[Owner, ...]
    """Distributions that leave without a successor."""
    stays: tuple[str, ...]
    """What of them stays all the same, and why, for people."""
    added: int
    """Bytes of the new files."""
    left_out: int
    trimmed: int


def texts(value: object) -> tuple[str, ...]:
    if isinstance(value, (list, tuple)):
        return tuple(str(one) for one in value)
    return (value,) if isinstance(value, str) else ()


def is_cuda(facts: Facts, claim: Claim) -> bool:
    """Whether a distribution is a CUDA build, by its version, requirements and libraries."""
    if re.search(r"\+cu\d", claim.owner.version) or claim.owner.name == "onnxruntime-gpu":
        return True
    for text in claim.requires:
        requirement = Requirement.parse(text)
        if requirement is not None and CUDA_NAME(requirement.name):
            return True
    binaries = facts.ledger.binaries
    return any(path in binaries and binaries[path].device_code for path in claim.files)


def replacement(
    protection: Protection, olds: Sequence[Old], wheels: Wheels, options: Mapping[str, Any]
) -> Replacement:
    """Work a swap out, or raise Forbidden with what forbids it."""
    facts = protection.facts
    first, family, request = olds[0]
    if family.cpu and not request.file and not is_cuda(facts, first):
        raise Forbidden("cuda-build", f"{first.owner} is no CUDA build")
    for old in olds:
        must_be_whole(protection, old.claim)
    read = _Read.of(facts, [old.claim for old in olds])
    found = _found(facts, olds, wheels, read)
    heirs = {old.claim: _heir(old.claim, wheel) for old, wheel, _ in found if wheel is not None}
    made = [
        _installed(facts, old.claim, wheel, read, options)
        for old, wheel, _ in found
        if wheel is not None
    ]
    additions = [addition for _, done in made for addition in done.additions]
    added = {addition.header.path for addition in additions}
    leaving, stays = leaving_with(protection, [old.claim for old in olds], heirs, added)
    gone = [*(old.claim for old in olds), *leaving]
    removes = removed_with(facts, gone, added)
    must_not_meet(facts, added, removes)
    must_resolve(facts, heirs, gone, found[0][2])
    _must_be_missed_by_nothing(protection, removes, added)
    # Folders that are emptied are named, too, so that a plan file can name them as a whole.
    removed = Changes.of(facts.index, removes, stays=facts.stays).removed
    after = Changes.of(facts.index, removed, additions=additions, stays=facts.stays).after
    for scheme, done in made:
        there = {**after.visible, **{one.header.path: one.header for one in additions}}
        additions += folders(scheme, done.additions, there, facts.index.visible)
    return Replacement(
        tuple(sorted(removed)),
        tuple(additions),
        tuple((old, wheel) for old, wheel, _ in found),
        tuple(claim.owner for claim in leaving),
        tuple(stays),
        sum(addition.header.size for addition in additions),
        sum(len(done.left_out) for _, done in made),
        sum(done.trimmed for _, done in made),
    )


def _found(
    facts: Facts, olds: Sequence[Old], wheels: Wheels, read: _Read
) -> list[tuple[Old, Wheel | None, Target]]:
    """The wheel for each distribution, None for what leaves without one, and what it has to fit."""
    found: list[tuple[Old, Wheel | None, Target]] = []
    for old in olds:
        target = Target.of(facts, old.claim, read.tags[old.claim])
        try:
            wheel = _find(old, target, wheels, read.tags[old.claim]) if old.family.cpu else None
        except Forbidden as no:
            if old is olds[0]:
                raise
            first = olds[0].claim.owner.name
            together = f"{old.claim.owner} only works with its own kind of {first}"
            raise Forbidden(no.guard, f"{together}, and {no.evidence}") from None
        found.append((old, wheel, target))
    return found


def _heir(claim: Claim, wheel: Wheel) -> Claim:
    """What the ledger will say in the place of a claim."""
    owner = Owner("pip", wheel.name, str(wheel.version))
    return replace(claim, owner=owner, requires=wheel.requires, provides=wheel.provides)


def _installed(
    facts: Facts, claim: Claim, wheel: Wheel, read: _Read, options: Mapping[str, Any]
) -> tuple[InstallScheme, Installed]:
    """A wheel installed to where a distribution is, without what is not wanted there."""
    scheme = _scheme(facts, claim, wheel, read)
    excluded = Globs(texts(options.get("exclude")))
    above = _Above.of(facts, scheme.layer)
    done = install(
        wheel,
        scheme,
        requested=claim.metadata + b"/REQUESTED" in facts.index.visible,
        wanted=lambda path: path not in excluded and not above.hides(path),
        trim=symbols.strip if options.get("strip") else None,
    )
    if done.device_code:
        raise Forbidden("cpu-build", f"{wheel.file_name} holds GPU code: {done.device_code[0]}")
    return scheme, done


def _must_be_missed_by_nothing(
    protection: Protection, removes: frozenset[bytes], added: Collection[bytes]
) -> None:
    """What leaves is neither kept, nor linked, nor what a symlink leads to."""
    facts = protection.facts
    held = sorted(path for path in removes if path not in added and is_held(protection, path))
    if held:
        raise Forbidden("keep", f"{printable(held[0])} is to be kept")
    lost = facts.linkage.lost(removes, added)
    if lost:
        need, _ = lost[0]
        more = f", and {len(lost) - 1} more" if len(lost) > 1 else ""
        raise Forbidden("nothing-links", f"{need} and would not find it any more{more}")
    for link, end, _ in dangling(facts, removes.difference(added)):
        raise Forbidden("nothing-links", f"{printable(link)} leads to {printable(end)}")


class _Read(NamedTuple):
    """What has to be read of the old distributions: the tags of their wheels, a script."""

    tags: Mapping[Claim, tuple[str, ...]]
    scripts: Mapping[bytes, bytes]
    """Path → content, of small files in a folder of programs."""

    @classmethod
    def of(cls, facts: Facts, claims: Iterable[Claim]) -> _Read:
        about: dict[bytes, Claim] = {}
        scripts: list[bytes] = []
        visible = facts.index.visible
        for claim in claims:
            about[claim.metadata + b"/WHEEL"] = claim
            inside = claim.site + b"/"
            scripts += [
                path
                for path in claim.files
                if path.rpartition(b"/")[0].endswith((b"bin", b"Scripts"))
                and not path.startswith(inside)
                and path in visible
                and visible[path].size <= 1 << 16
            ]
        wanted = [*(path for path in about if path in visible), *scripts]
        contents = dict(facts.contents(wanted))
        tags = {
            claim: tuple(
                re.findall(
                    r"^Tag:\s*([\w.-]+)",
                    contents.get(path, b"").decode("utf-8", "replace"),
                    re.MULTILINE,
                )
            )
            for path, claim in about.items()
        }
        return cls(tags, {path: contents[path] for path in scripts if path in contents})


def _find(old: Old, target: Target, wheels: Wheels, tags: Sequence[str]) -> Wheel:
    """The wheel that takes the place of a distribution; raises Forbidden or WheelError."""
    claim, family, request = old
    try:
        version = Version(claim.owner.version)
    except InvalidVersion:
        raise Forbidden(
            "version", f"{claim.owner} has no version that a wheel could have"
        ) from None
    wanted = version.public + (f"+{family.local}" if family.local else "")
    if request.file:
        wheel = wheels.given(request.file, request.sha256)
    else:
        found = wheels.get(family.cpu, wanted, target, request.sha256)
        if found is None:
            missing = _file_name(family.cpu, wanted, target, tags)
            where = "here" if wheels.offline else "for this image"
            raise Forbidden(
                "wheel",
                f"pip finds no {family.cpu}=={wanted} {where} ({target}): it needs {missing},"
                f" by --swap {claim.owner.name}=FILE, --find-links FOLDER or --index-url URL"
                + (
                    "; PyTorch's index for the CPU has it, see the install page of pytorch.org"
                    if family.local
                    else ""
                ),
            )
        wheel = found
    if wheel.name not in (family.cpu, claim.owner.name):
        raise Forbidden("wheel", f"{wheel.file_name} is no wheel of {family.cpu}")
    if wheel.version.public != version.public:
        raise Forbidden(
            "wheel", f"{wheel.file_name} is not of the version in the image, {version.public}"
        )
    if not wheel.fits(target):
        raise Forbidden("wheel", f"{wheel.file_name} does not fit this image: {target}")
    cuda = wheel.cuda(target)
    if cuda:
        raise Forbidden("cpu-build", f"{wheel.file_name} is no CPU build: {cuda}")
    return wheel


def _file_name(name: str, version: str, target: Target, tags: Sequence[str]) -> str:
    """The name of the wheel that would do, tagged as the one that is in the image."""
    fitting = {str(tag) for tag in target.tags()}
    fit = [tag for tag in tags if tag in fitting]
    best = fit[0] if fit else f"{target.abi}-{target.abi}-{target.platforms[0]}"
    return f"{name.replace('-', '_')}-{version}-{best}.whl"


def _scheme(facts: Facts, claim: Claim, wheel: Wheel, read: _Read) -> InstallScheme:
    """Where a new wheel goes, and how its files look: as those of the old one did."""
    index = facts.index
    visible = index.visible
    site = claim.site
    record = visible[claim.metadata + b"/RECORD"]
    plain = visible.get(claim.metadata + b"/METADATA", record)
    folder = visible.get(claim.metadata)
    told = Site.parse(site)
    data = told.prefix if told else site
    library = site.rpartition(b"/")[0].rpartition(b"/")[2]
    between = b"site/" if data + b"/pyvenv.cfg" in visible else b""
    inside = site + b"/"
    old = [path for path in claim.files if path in read.scripts and not path.startswith(inside)]
    scripts = old[0].rpartition(b"/")[0] if old else index.resolve(data + b"/bin")
    header = wheel.name.encode()
    include = (b"include/" + between + library if told else b"include") + b"/" + header
    return InstallScheme(
        layer=index.layer_of[record.path],
        site=site,
        scripts=scripts,
        headers=index.resolve(data + b"/" + include),
        data=data,
        interpreter=_interpreter(facts, data, library, [read.scripts[path] for path in old]),
        uid=record.uid,
        gid=record.gid,
        mode=plain.mode,
        folder_mode=folder.mode if folder is not None and folder.kind == DIRECTORY else 0o755,
        mtime=record.mtime,
    )


def _interpreter(facts: Facts, prefix: bytes, library: bytes, contents: Iterable[bytes]) -> str:
    """What scripts name as their interpreter: what those of the old distribution do."""
    for content in contents:
        named = scripts.python(content)
        if named:
            return named.decode("utf-8", "surrogateescape")
    visible = facts.index.visible
    folders = (prefix + b"/bin/", b"usr/local/bin/", b"usr/bin/")
    for folder in folders:
        for name in (library, b"python3", b"python"):
            if (folder + name).lstrip(b"/") in visible:
                return "/" + (folder + name).lstrip(b"/").decode("utf-8", "surrogateescape")
    return "/usr/bin/python3"


class _Above(NamedTuple):
    """What later layers take away of what lies below them."""

    gone: Collection[bytes]
    opaque: Collection[bytes]

    @classmethod
    def of(cls, facts: Facts, number: int) -> _Above:
        gone: set[bytes] = set()
        opaque: set[bytes] = set()
        for layer in facts.index.layers[number + 1 :]:
            for header in layer.whiteouts:
                folder, _, name = header.path.rpartition(b"/")
                if name == b".wh..wh..opq":
                    opaque.add(folder)
                else:
                    gone.add((folder + b"/" if folder else b"") + name[4:])
        return cls(gone, opaque)

    def hides(self, path: bytes) -> bool:
        """Whether a file put there would be deleted again: what the image's maker took away
        after the installation stays away."""
        if path in self.gone:
            return True
        while path:
            path = path[: max(path.rfind(b"/"), 0)]
            if path in self.gone or path in self.opaque:
                return True
        return False
