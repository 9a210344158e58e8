"""Puts the CPU wheel of a distribution in the place of its CUDA build.

The wheel is of the same version, for the image's interpreter, C library and machine, and goes
into the same folders. What was there for CUDA alone leaves with the old build: by the dependency
graph as it is once the new wheel's own requirements are in it. Bytecode of the new files is not
made; Python compiles them when they are first imported, or each time where it may not write.

Where the wheel comes from: a file that was named, or whatever this host's pip finds by its own
configuration, with the links and the index that were given. torch's CPU builds are not on the
default index but on PyTorch's own index for the CPU, which the install page of pytorch.org names.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, NamedTuple

from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from slimmer.actions import symbols
from slimmer.actions.installation import Installed, Place, folders, install
from slimmer.actions.wheels import (
    CUDA_NAME,
    Target,
    Wheel,
    WheelError,
    Wheels,
    applies,
    prefix_of,
    requirement_of,
    site_of,
)
from slimmer.attribution import Claim, Owner
from slimmer.changes import Changes
from slimmer.dependencies import DependencyGraph
from slimmer.guards import dangling
from slimmer.names import one_line, printable
from slimmer.plan import PlanError, Refusal, Step
from slimmer.policy import Globs, Safety, Selector, find
from slimmer.subject import LICENCES
from slimmer.tarstream import DIRECTORY
from slimmer.units import size_text

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

    from slimmer.changes import Addition
    from slimmer.policy import Rule
    from slimmer.subject import Subject


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


FAMILIES = (
    # torchvision's and torchaudio's operators are registered by libraries that link torch's.
    Family("torch", "torch", "cpu", ("torchvision", "torchaudio")),
    Family("xgboost", "xgboost-cpu"),
    Family("tensorflow", "tensorflow-cpu"),
    Family("onnxruntime-gpu", "onnxruntime"),
)
_PLUGIN = re.compile(r"jax-cuda\d+-(?:plugin|pjrt)").fullmatch
"""jax finds its CUDA back end in plugins, and goes to the CPU where there are none."""
_STAYS = ("pip", "setuptools", "wheel")
"""What nothing may require and yet everybody counts on."""
_EXTRAS = re.compile(r"\bextra\b").search


class Request(NamedTuple):
    """What `--swap NAME=cpu` or `--swap NAME=FILE` asks for."""

    name: str
    """Normalised name of the distribution; `jax` for its CUDA plugins."""
    file: str = ""
    """A wheel file, or nothing where one is to be found."""
    sha256: str = ""
    """The hash that it must have, where one was given (`FILE#sha256=…`)."""

    @classmethod
    def parse(cls, text: str) -> Request:
        name, equals, value = text.partition("=")
        file, _, fragment = value.partition("#sha256=")
        if not equals or not name.strip() or not value:
            raise PlanError(
                f"expected a swap such as 'torch=cpu', got {text!r:.100}",
                hint="--swap torch=cpu, or the wheel itself: --swap torch=FILE.whl",
            )
        return cls(canonicalize_name(name.strip()), "" if value == "cpu" else file, fragment)


class _No(Exception):  # noqa: N818 - it becomes a Refusal, which is no error
    """What forbids a swap: the guard, and the evidence."""

    def __init__(self, guard: str, evidence: str) -> None:
        super().__init__(evidence)
        self.guard = guard
        self.evidence = evidence


class _Old(NamedTuple):
    """A distribution that is swapped: its claim, and what takes its place."""

    claim: Claim
    family: Family
    request: Request


class _Swap(NamedTuple):
    """A swap in all its parts."""

    removes: tuple[bytes, ...]
    additions: tuple[Addition, ...]
    wheels: tuple[tuple[_Old, Wheel | None], ...]
    leaves: tuple[Owner, ...]
    """Distributions that leave without a successor."""
    stays: tuple[str, ...]
    """What of them stays all the same, and why, for people."""
    added: int
    """Bytes of the new files."""
    left_out: int
    trimmed: int


def gpu_evidence(subject: Subject) -> tuple[str, ...]:
    """What in an image says that it is meant to meet a GPU; empty where nothing does."""
    found: list[str] = []
    for name, value in subject.index.image.config.environment:
        meets = name.startswith("NVIDIA_") and value not in ("", "void", "none")
        if meets or name in ("CUDA_VERSION", "CUDA_HOME"):
            found.append(f"{name}={value}")
    found += [
        str(claim.owner)
        for claim in subject.ledger.claims
        if claim.owner.kind in ("deb", "rpm", "conda")
        and re.match(r"(?:cuda-|libcudnn|libnccl|libcublas|cudatoolkit)", claim.owner.name)
    ]
    return tuple(one_line(text)[:80] for text in found)


@dataclass(frozen=True, slots=True)
class SwapWheel:
    """One step for each CUDA build, with everything that leaves with it.

    Options of the rule: `swaps`, a list of `NAME=cpu` or `NAME=FILE`, for what the user asks;
    `gpus = "none"`, for which every CUDA build is swapped; `find_links` and `index_url`, where to
    look beside pip's own configuration; `strip`, to leave symbol tables of the new libraries out;
    `exclude`, globs of paths that are not to be installed.

    Without `swaps` and `gpus = "none"` a swap is proposed as risky, if nothing in the image says
    that it is to meet a GPU and the wheel is at hand: no index is asked for what nobody asked for.
    """

    name: str = "swap"
    find_links: tuple[str, ...] = ()
    """Where `restore` looks for wheels beside pip's own configuration."""
    index_url: str | None = None
    wheels: Wheels = field(default_factory=Wheels)

    def propose(self, subject: Subject, rule: Rule) -> Iterator[Step | Refusal]:
        options = dict(rule.options)
        asked = [Request.parse(text) for text in _texts(options.get("swaps"))]
        unused = set(asked)
        told = bool(asked) or options.get("gpus") == "none"
        if not told and gpu_evidence(subject):
            return
        wheels = replace(
            self.wheels,
            find_links=(*self.find_links, *_texts(options.get("find_links"))),
            index_url=options.get("index_url") or self.index_url,
            offline=not told,
        )
        for olds in _candidates(subject, asked, everything=options.get("gpus") == "none"):
            unused.difference_update(old.request for old in olds)
            yield _outcome(subject, rule, olds, wheels, told=told)
        for request in sorted(unused):
            raise PlanError(
                f"there is no {request.name} to swap in this image"
                if _known(subject, request.name)
                else f"no CPU build of {request.name} is known",
                hint="the known ones: "
                + ", ".join([*(family.name for family in FAMILIES), "jax"])
                + "; of another one the wheel can be given: --swap NAME=FILE.whl",
            )

    def restore(self, subject: Subject, step: Step) -> Step:
        """The step with the wheels of its plan found again, by name and hash."""
        options = dict(step.options)
        wheels = replace(
            self.wheels,
            find_links=(*self.find_links, *self.wheels.find_links),
            index_url=self.index_url or self.wheels.index_url,
        )
        entries = [options, *options.get("companions", ())]
        olds = [_old_again(subject, entry, step.target) for entry in entries]
        try:
            swap = _swap(subject, olds, wheels, options)
        except _No as no:
            raise PlanError(
                f"{step.target} cannot be swapped any more: {no.evidence}",
                hint="give the folder that holds the wheel of the plan: --find-links FOLDER",
            ) from None
        added = {addition.header.path for addition in swap.additions}
        removes = dict.fromkeys(step.removes)
        removes.update(dict.fromkeys(path for path in swap.removes if path in added))
        return replace(step, removes=tuple(removes), additions=swap.additions)


def _texts(value: object) -> tuple[str, ...]:
    if isinstance(value, (list, tuple)):
        return tuple(str(one) for one in value)
    return (value,) if isinstance(value, str) else ()


def _known(subject: Subject, name: str) -> bool:
    return (
        name == "jax"
        or any(family.name == name for family in FAMILIES)
        or bool(subject.graph.find(f"pip:{name}"))
    )


def _python(subject: Subject) -> list[Claim]:
    return [claim for claim in subject.ledger.claims if claim.owner.kind == "pip" and claim.trees]


def _candidates(
    subject: Subject, asked: Sequence[Request], *, everything: bool
) -> Iterator[list[_Old]]:
    """What is to be swapped together: a distribution with its companions in the same folder."""
    requests = {request.name: request for request in asked}
    families = {family.name: family for family in FAMILIES}
    proposed = everything or not asked
    plugins: dict[bytes, list[_Old]] = {}
    together = {
        companion
        for family in FAMILIES
        if proposed or family.name in requests
        for companion in family.companions
    }
    for claim in _python(subject):
        name = claim.owner.name
        if name in together:
            continue
        request = requests.get(name)
        if _PLUGIN(name):
            if proposed or "jax" in requests or request:
                swap = _Old(claim, Family(name, ""), request or requests.get("jax", Request(name)))
                plugins.setdefault(site_of(claim), []).append(swap)
            continue
        family = families.get(name)
        if request is None and (family is None or not proposed or not _is_cuda(subject, claim)):
            continue
        if family is None:
            if request is None or not request.file:
                continue
            family = Family(name, name)
        olds = [_Old(claim, family, request or Request(name))]
        for other in _python(subject):
            companion = other.owner.name
            if companion in family.companions and site_of(other) == site_of(claim):
                if other.owner.version.endswith(f"+{family.local}"):
                    continue
                olds.append(
                    _Old(
                        other,
                        Family(companion, companion, family.local),
                        requests.get(companion, Request(companion)),
                    )
                )
        yield olds
    yield from plugins.values()


def _is_cuda(subject: Subject, claim: Claim) -> bool:
    """Whether a distribution is a CUDA build, by its version, requirements and libraries."""
    if re.search(r"\+cu\d", claim.owner.version) or claim.owner.name == "onnxruntime-gpu":
        return True
    for text in claim.requires:
        requirement = requirement_of(text)
        if requirement is not None and CUDA_NAME(canonicalize_name(requirement.name)):
            return True
    binaries = subject.ledger.binaries
    return any(path in binaries and binaries[path].device_code for path in claim.files)


def _outcome(
    subject: Subject, rule: Rule, olds: Sequence[_Old], wheels: Wheels, *, told: bool
) -> Step | Refusal:
    old = olds[0].claim
    several = sum(claim.owner == old.owner for claim in _python(subject)) > 1
    target = printable(str(old.owner)) + (f" in {printable(site_of(old))}" if several else "")
    options = dict(rule.options)
    try:
        swap = _swap(subject, olds, wheels, options)
    except _No as no:
        return Refusal(rule.name, target, no.guard, one_line(no.evidence), _at_stake(subject, olds))
    except WheelError as error:
        evidence = error.message + (f" ({error.hint})" if error.hint else "")
        return Refusal(rule.name, target, "wheel", one_line(evidence), _at_stake(subject, olds))
    changes = Changes.of(subject.index, swap.removes, additions=swap.additions, stays=subject.stays)
    size_of = subject.ledger.size_of
    entries = [_entry(one, wheel, several=several) for one, wheel in swap.wheels]
    chosen: dict[str, Any] = dict(entries[0])
    if len(entries) > 1:
        chosen["companions"] = entries[1:]
    chosen |= {key: options[key] for key in ("strip", "exclude") if options.get(key)}
    return Step(
        rule.name,
        rule.action,
        target,
        Safety.CAUTION if told else Safety.RISKY,
        rule.why,
        _told(subject, swap),
        removes=swap.removes,
        additions=swap.additions,
        unpacked=subject.index.unpacked - changes.after.unpacked,
        rootfs=subject.index.rootfs - changes.after.rootfs,
        disturbs=sum(size_of.get(path, 0) for path in swap.removes),
        options=tuple(sorted(chosen.items())),
    )


def _entry(old: _Old, wheel: Wheel | None, *, several: bool) -> dict[str, str]:
    """What a plan file says of one distribution that is swapped."""
    entry = {"distribution": old.claim.owner.name, "version": old.claim.owner.version}
    if several:
        entry["site"] = printable(site_of(old.claim))
    if wheel is not None:
        entry |= {
            "to": f"{wheel.name} {wheel.version}",
            "wheel": wheel.file_name,
            "sha256": wheel.sha256,
        }
    return entry


def _told(subject: Subject, swap: _Swap) -> str:
    came = [wheel.file_name for _, wheel in swap.wheels if wheel is not None]
    size_of = subject.ledger.size_of
    parts: list[str] = []
    if came:
        parts.append(f"{', '.join(came)} bring {size_text(swap.added)}")
    parts.append(f"{size_text(sum(size_of.get(path, 0) for path in swap.removes))} leave")
    if swap.leaves:
        first = sorted(swap.leaves, key=lambda owner: -subject.graph.distributions[owner].size)
        rest = len(first) - 3
        parts[-1] += f", with {', '.join(map(str, first[:3]))}" + (
            f" and {rest} more that only CUDA needs" if rest > 0 else " that only CUDA needs"
        )
    if came:
        parts.append("the first import compiles its bytecode")
    if swap.trimmed:
        parts.append(f"without {size_text(swap.trimmed)} of symbols")
    if swap.left_out:
        parts.append(f"{swap.left_out} files of the wheel are left out")
    return one_line("; ".join([*parts, *swap.stays]))


def _at_stake(subject: Subject, olds: Iterable[_Old]) -> int:
    """Bytes that a refused swap would have set free, without what would have come."""
    owners: set[Owner] = set()
    for old in olds:
        owners.add(old.claim.owner)
        owners.update(
            owner for owner in subject.graph.leaves_with(old.claim.owner) if CUDA_NAME(owner.name)
        )
    return sum(subject.graph.distributions[owner].size for owner in owners)


def _swap(
    subject: Subject, olds: Sequence[_Old], wheels: Wheels, options: Mapping[str, Any]
) -> _Swap:
    """Work a swap out, or raise _No with what forbids it."""
    first, family, request = olds[0]
    if family.cpu and not request.file and not _is_cuda(subject, first):
        raise _No("cuda-build", f"{first.owner} is no CUDA build")
    for old in olds:
        _must_be_whole(subject, old.claim)
    read = _Read.of(subject, [old.claim for old in olds])
    found: list[tuple[_Old, Wheel | None, Target]] = []
    for old in olds:
        target = Target.of(subject, old.claim, read.tags[old.claim])
        try:
            wheel = _find(old, target, wheels, read.tags[old.claim]) if old.family.cpu else None
        except _No as no:
            if old is olds[0]:
                raise
            together = f"{old.claim.owner} only works with its own kind of {first.owner.name}"
            raise _No(no.guard, f"{together}, and {no.evidence}") from None
        found.append((old, wheel, target))
    heirs = {
        old.claim: replace(
            old.claim,
            owner=Owner("pip", wheel.name, str(wheel.version)),
            requires=wheel.requires,
            provides=wheel.provides,
        )
        for old, wheel, _ in found
        if wheel is not None
    }
    excluded = Globs(_texts(options.get("exclude")))
    installed: list[Installed] = []
    additions: list[Addition] = []
    places: list[Place] = []
    for old, wheel, _ in found:
        if wheel is None:
            continue
        place = _place(subject, old.claim, wheel, read)
        above = _Above.of(subject, place.layer)
        done = install(
            wheel,
            place,
            requested=old.claim.trees[0] + b"/REQUESTED" in subject.index.visible,
            wanted=lambda path, above=above: path not in excluded and not above.hides(path),  # type: ignore[misc]
            trim=symbols.strip if options.get("strip") else None,
        )
        if done.device_code:
            raise _No("cpu-build", f"{wheel.file_name} holds GPU code: {done.device_code[0]}")
        installed.append(done)
        additions += done.additions
        places.append(place)
    added = {addition.header.path for addition in additions}
    leaving, stays = _leaving(subject, olds, heirs, added)
    removes = _removed(subject, [*(old.claim for old in olds), *leaving], added)
    kept = _kept(subject)
    held = sorted(path for path in removes if path not in added and _is_kept(kept, path))
    if held:
        raise _No("keep", f"{printable(held[0])} is to be kept")
    _must_not_meet(subject, added, removes)
    _must_resolve(subject, heirs, [*(old.claim for old in olds), *leaving], found[0][2])
    lost = subject.linkage.lost(removes, added)
    if lost:
        need, _ = lost[0]
        raise _No(
            "nothing-links",
            f"{need} and would not find it any more"
            + (f", and {len(lost) - 1} more" if len(lost) > 1 else ""),
        )
    for link, end in dangling(subject, removes - added):
        raise _No("nothing-links", f"{printable(link)} leads to {printable(end)}")
    # Folders that are emptied are named, too, so that a plan file can name them as a whole.
    removed = Changes.of(subject.index, removes, stays=subject.stays).removed
    after = Changes.of(subject.index, removed, additions=additions, stays=subject.stays).after
    for place, done in zip(places, installed, strict=True):
        there = {**after.visible, **{one.header.path: one.header for one in additions}}
        additions += folders(place, done.additions, there, subject.index.visible)
    return _Swap(
        tuple(sorted(removed)),
        tuple(additions),
        tuple((old, wheel) for old, wheel, _ in found),
        tuple(claim.owner for claim in leaving),
        tuple(stays),
        sum(addition.header.size for addition in additions),
        sum(len(done.left_out) for done in installed),
        sum(done.trimmed for done in installed),
    )


def _must_be_whole(subject: Subject, claim: Claim) -> None:
    """Only what an installer recorded, and nobody changed since, can be put in place again."""
    record = claim.trees[0] + b"/RECORD"
    if not claim.files or subject.ledger.claim_of.get(record) is not claim:
        raise _No("recorded", f"{claim.owner} has no RECORD of its files ({claim.evidence})")
    if Selector(owners=subject.keep_owners).owner(claim.owner) and subject.keep_owners:
        raise _No("keep", f"{claim.owner} is to be kept")
    layer = subject.index.layer_of[record]
    changed = [
        path
        for path in claim.files
        if subject.index.layer_of.get(path, layer) > layer and not path.endswith(b".pyc")
    ]
    if changed:
        raise _No(
            "unchanged",
            f"{printable(changed[0])} was changed in layer {subject.index.layer_of[changed[0]]},"
            f" after {claim.owner} was installed"
            + (f", and {len(changed) - 1} more" if len(changed) > 1 else ""),
        )


class _Read(NamedTuple):
    """What has to be read of the old distributions: the tags of their wheels, a script."""

    tags: Mapping[Claim, tuple[str, ...]]
    scripts: Mapping[bytes, bytes]
    """Path → content, of small files in a folder of programs."""

    @classmethod
    def of(cls, subject: Subject, claims: Iterable[Claim]) -> _Read:
        about: dict[bytes, Claim] = {}
        scripts: list[bytes] = []
        visible = subject.index.visible
        for claim in claims:
            about[claim.trees[0] + b"/WHEEL"] = claim
            inside = site_of(claim) + b"/"
            scripts += [
                path
                for path in claim.files
                if path.rpartition(b"/")[0].endswith((b"bin", b"Scripts"))
                and not path.startswith(inside)
                and path in visible
                and visible[path].size <= 1 << 16
            ]
        wanted = [*(path for path in about if path in visible), *scripts]
        contents = dict(subject.contents(wanted))
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


def _find(old: _Old, target: Target, wheels: Wheels, tags: Sequence[str]) -> Wheel:
    """The wheel that takes the place of a distribution; raises _No or WheelError."""
    claim, family, request = old
    try:
        version = Version(claim.owner.version)
    except InvalidVersion:
        raise _No("version", f"{claim.owner} has no version that a wheel could have") from None
    wanted = version.public + (f"+{family.local}" if family.local else "")
    if request.file:
        wheel = wheels.given(request.file, request.sha256)
    else:
        found = wheels.get(family.cpu, wanted, target, request.sha256)
        if found is None:
            missing = _file_name(family.cpu, wanted, target, tags)
            where = "here" if wheels.offline else "for this image"
            raise _No(
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
        raise _No("wheel", f"{wheel.file_name} is no wheel of {family.cpu}")
    if wheel.version.public != version.public:
        raise _No(
            "wheel", f"{wheel.file_name} is not of the version in the image, {version.public}"
        )
    if not wheel.fits(target):
        raise _No("wheel", f"{wheel.file_name} does not fit this image: {target}")
    cuda = wheel.cuda(target)
    if cuda:
        raise _No("cpu-build", f"{wheel.file_name} is no CPU build: {cuda}")
    return wheel


def _file_name(name: str, version: str, target: Target, tags: Sequence[str]) -> str:
    """The name of the wheel that would do, tagged as the one that is in the image."""
    fitting = {str(tag) for tag in target.tags()}
    fit = [tag for tag in tags if tag in fitting]
    best = fit[0] if fit else f"{target.abi}-{target.abi}-{target.platforms[0]}"
    return f"{name.replace('-', '_')}-{version}-{best}.whl"


def _place(subject: Subject, claim: Claim, wheel: Wheel, read: _Read) -> Place:
    """Where a new wheel goes, and how its files look: as those of the old one did."""
    index = subject.index
    visible = index.visible
    site = site_of(claim)
    record = visible[claim.trees[0] + b"/RECORD"]
    plain = visible.get(claim.trees[0] + b"/METADATA", record)
    folder = visible.get(claim.trees[0])
    prefix = prefix_of(site)
    data = site if prefix is None else prefix
    library = site.rpartition(b"/")[0].rpartition(b"/")[2]
    between = b"site/" if data + b"/pyvenv.cfg" in visible else b""
    inside = site + b"/"
    old = [path for path in claim.files if path in read.scripts and not path.startswith(inside)]
    scripts = old[0].rpartition(b"/")[0] if old else index.resolve(data + b"/bin")
    header = wheel.name.encode()
    include = (
        (b"include/" + between + library if prefix is not None else b"include") + b"/" + header
    )
    return Place(
        layer=index.layer_of[record.path],
        site=site,
        scripts=scripts,
        headers=index.resolve(data + b"/" + include),
        data=data,
        interpreter=_interpreter(subject, data, library, [read.scripts[path] for path in old]),
        uid=record.uid,
        gid=record.gid,
        mode=plain.mode,
        folder_mode=folder.mode if folder is not None and folder.kind == DIRECTORY else 0o755,
        mtime=record.mtime,
    )


def _interpreter(subject: Subject, prefix: bytes, library: bytes, scripts: Iterable[bytes]) -> str:
    """What scripts name as their interpreter: what those of the old distribution do."""
    for content in scripts:
        match = re.match(rb"#!(/[^\s'\"]*python[^\s'\"]*)[ \t]*\r?\n", content) or re.match(
            rb"#!/bin/sh\r?\n'''exec' ['\"]?(/[^'\"\n]*python[^\s'\"]*)", content
        )
        if match:
            return match[1].decode("utf-8", "surrogateescape")
    visible = subject.index.visible
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
    def of(cls, subject: Subject, number: int) -> _Above:
        gone: set[bytes] = set()
        opaque: set[bytes] = set()
        for layer in subject.index.layers[number + 1 :]:
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


def _graphs(
    subject: Subject, claims: Sequence[Claim], heirs: Mapping[Claim, Claim], gone: Collection[Claim]
) -> tuple[DependencyGraph, DependencyGraph]:
    """Who requires whom in one site folder, before and after."""
    ledger = subject.ledger
    whole = len(claims) == len(_python(subject))
    before = subject.graph if whole else DependencyGraph.of(replace(ledger, claims=tuple(claims)))
    new = [heirs.get(claim, claim) for claim in claims if claim in heirs or claim not in gone]
    return before, DependencyGraph.of(replace(ledger, claims=_with_interpreters(subject, new)))


def _with_interpreters(subject: Subject, claims: Iterable[Claim]) -> tuple[Claim, ...]:
    """Claims with those of the interpreters, whose versions markers are evaluated for."""
    kinds = ("python", "pypy")
    return (*claims, *(one for one in subject.ledger.claims if one.owner.kind in kinds))


def _leaving(
    subject: Subject, olds: Sequence[_Old], heirs: Mapping[Claim, Claim], added: Collection[bytes]
) -> tuple[list[Claim], list[str]]:
    """Distributions that nothing requires any more once the new wheels are in; and what stays
    of them because it is to be kept."""
    site = site_of(olds[0].claim)
    claims = [claim for claim in _python(subject) if site_of(claim) == site]
    gone = {old.claim for old in olds}
    before, after = _graphs(subject, claims, heirs, gone)
    keep = (
        Selector(owners=subject.keep_owners).owner if subject.keep_owners else lambda owner: False
    )
    roots = {
        owner
        for owner in after.distributions
        if owner.name in _STAYS or keep(owner) or owner in {heir.owner for heir in heirs.values()}
    }
    roots.update(owner for owner in after.roots if owner in before.roots)
    kept = _kept(subject)
    stays: list[str] = []
    while True:
        reached = set(roots)
        todo = list(roots)
        while todo:
            for other in after.distributions[todo.pop()].requires:
                if other not in reached:
                    reached.add(other)
                    todo.append(other)
        leaving = [
            claim
            for claim in claims
            if claim not in gone
            and claim.owner in after.distributions
            and claim.owner not in reached
        ]
        held = {
            claim.owner: path
            for claim in leaving
            for path in claim.files
            if path not in added and path in subject.index.visible and _is_kept(kept, path)
        }
        if not held:
            return leaving, stays
        roots.update(held)
        stays += [
            f"{owner} stays, {printable(path)} is to be kept"
            for owner, path in sorted(held.items())
        ]


def _kept(subject: Subject) -> Globs:
    """The paths that hold a distribution in the image: those that a user or a policy of their own
    names. What the shipped policies keep are files of distributions that stay; `ptxas`, which
    triton starts, has no use without triton."""
    shipped = frozenset(find("safe", "").keep.patterns)
    return Globs(pattern for pattern in subject.keep.patterns if pattern not in shipped)


def _is_kept(kept: Globs, path: bytes) -> bool:
    """Licences and metadata have no use without the files, bytecode none without its source."""
    if b".dist-info/" in path or path.endswith(b".pyc") or path in LICENCES:
        return False
    return path in kept


def _removed(
    subject: Subject, claims: Sequence[Claim], added: Collection[bytes]
) -> frozenset[bytes]:
    """The files of distributions that leave: what their RECORD names, their bytecode and their
    metadata, without what another owner names too."""
    leaving = {id(claim): (frozenset(claim.files), claim.trees[0] + b"/") for claim in claims}
    visible = subject.index.visible
    removed: set[bytes] = set()
    for path, claim in subject.ledger.claim_of.items():
        known = leaving.get(id(claim))
        if known is None or visible[path].kind is DIRECTORY:
            continue
        files, metadata = known
        if path in files or path.endswith(b".pyc") or path.startswith(metadata):
            removed.add(path)
    for claim in subject.ledger.claims:
        if id(claim) not in leaving:
            removed.difference_update([path for path in claim.files if path in removed])
    return frozenset(removed)


def _must_not_meet(subject: Subject, added: Collection[bytes], removes: Collection[bytes]) -> None:
    """New files take nobody's place but that of what leaves."""
    visible = subject.index.visible
    for path in sorted(added):
        if path in visible and path not in removes:
            raise _No(
                "nothing-overwritten",
                f"{printable(path)} is there already, of {subject.ledger.owner(path)}",
            )
    checked: set[bytes] = set()
    for path in added:
        while b"/" in path:
            path = path[: path.rfind(b"/")]
            if path in checked:
                break
            checked.add(path)
            header = visible.get(path)
            if header is not None and header.kind != DIRECTORY and path not in removes:
                raise _No("nothing-overwritten", f"{printable(path)} is no folder")


def _must_resolve(
    subject: Subject, heirs: Mapping[Claim, Claim], gone: Sequence[Claim], target: Target
) -> None:
    """What remains finds what it requires, as `pip check` has it."""
    claims = _python(subject)
    site = site_of(gone[0])
    environment = target.environment()
    after = [heirs.get(claim, claim) for claim in claims if claim in heirs or claim not in gone]
    known = _broken(claims, site, environment)
    for (name, text), what in _broken(after, site, environment).items():
        if (name, text) not in known:
            raise _No("requirements", f"{name} requires {one_line(text)}, {what}")


def _broken(
    claims: Sequence[Claim], site: bytes, environment: Mapping[str, str]
) -> dict[tuple[str, str], str]:
    """Requirements that do not hold: who requires what → what there is."""
    installed: dict[str, str] = {}
    for claim in claims:
        if site_of(claim) == site or claim.owner.name not in installed:
            installed[claim.owner.name] = claim.owner.version
    broken: dict[tuple[str, str], str] = {}
    for claim in claims:
        for text in claim.requires:
            if _EXTRAS(text):
                continue  # what an extra asks for, nobody is known to have asked for
            requirement = requirement_of(text)
            if requirement is None or not applies(requirement, environment):
                continue
            version = installed.get(canonicalize_name(requirement.name))
            if version is None:
                broken[claim.owner.name, text] = "which is not there"
            else:
                try:
                    fits = requirement.specifier.contains(version, prereleases=True)
                except InvalidVersion:
                    continue
                if not fits:
                    broken[claim.owner.name, text] = f"there is {version}"
    return broken


def _old_again(subject: Subject, entry: Mapping[str, Any], target: str) -> _Old:
    """The distribution that an entry of a plan file is about."""
    name, version = str(entry.get("distribution")), str(entry.get("version"))
    site = entry.get("site")
    for claim in _python(subject):
        if (claim.owner.name, claim.owner.version) == (name, version) and site in (
            None,
            printable(site_of(claim)),
        ):
            cpu = str(entry.get("to", "")).partition(" ")[0]
            _, _, local = str(entry.get("to", "")).partition("+")
            return _Old(
                claim, Family(name, cpu, local), Request(name, "", str(entry.get("sha256", "")))
            )
    raise PlanError(f"the image has no {name} {version}, which the step {target} is about")
