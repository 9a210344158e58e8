"""From the images that a medium holds to the one that is meant: by tag, digest, number, platform.

A medium may list an image twice (Docker ≥ 25 writes `index.json` and `manifest.json`), list what it
does not hold (`docker save --platform` keeps the whole index and one platform's blobs), or list
several images without a name. None of them is ever taken because it comes first.
"""

from __future__ import annotations

import platform as host
import re
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from slimmer.ecosystems.machines import architecture
from slimmer.image import ImageError, Platform

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from slimmer.image import Digest, Image

SHOWN = 20
"""Images that a hint lists at most."""
_DIGEST = re.compile(r"(?:sha256:)?([0-9a-f]{7,128})\Z")


class Candidate(NamedTuple):
    """One image that a medium lists."""

    digests: tuple[Digest, ...]
    """What identifies it: the digest of its manifest where it has one, and of its config."""
    names: tuple[str, ...]
    """Tags and full names that the medium gives it."""
    platform: Platform | None
    """What it runs on, where the medium or its config tells."""
    open: Callable[[], Image]
    missing: ImageError | None = None
    """What of it is not there, if anything is not."""


def choose(
    candidates: Sequence[Candidate], where: str, tag: str = "", platform: Platform | None = None
) -> Image:
    """The one image that the tag and the platform mean.

    `tag` is a tag, a name, a digest (of a manifest or a config, or its first digits) or `@n`, the
    n-th image from 0 on. Raises ImageError that lists what there is where they mean none, or more
    than one.
    """
    if not candidates:
        raise ImageError(f"{where} holds no image", hint="it lists no manifest of one")
    named = _tagged(candidates, where, tag) if tag else candidates
    there = [one for one in named if one.missing is None]
    if not there:
        raise named[0].missing or ImageError(f"{where} holds no image")
    if not tag and len(set(_by_name(there).values())) > 1:
        raise _several(candidates, there, where)
    left = _distinct(_for_platform(there, where, platform))
    if len(left) > 1:
        raise _several(candidates, left, where)
    image = left[0].open()
    absent = sorted({str(one.platform) for one in named if one.missing and one.platform})
    if absent:
        note = f"{where} lists {', '.join(absent)} too, but does not hold it"
        image = replace(image, problems=(*image.problems, note))
    return image


def _by_name(candidates: Sequence[Candidate]) -> dict[frozenset[str], frozenset[Digest]]:
    """What each name leads to: one image, or one for each of several platforms."""
    found: dict[frozenset[str], set[Digest]] = {}
    for one in candidates:
        found.setdefault(frozenset(map(familiar, one.names)), set()).add(one.digests[0])
    return {names: frozenset(digests) for names, digests in found.items()}


def _distinct(candidates: Sequence[Candidate]) -> list[Candidate]:
    """The candidates without those that are an earlier one once more."""
    return list({one.digests[0]: one for one in reversed(candidates)}.values())[::-1]


def _tagged(candidates: Sequence[Candidate], where: str, tag: str) -> list[Candidate]:
    """The candidates that a tag, a name, a digest or a number means."""
    text = tag.removeprefix("@")
    if tag.startswith("@") and text.isdecimal() and len(text) < 7:
        found = [candidates[int(text)]] if int(text) < len(candidates) else []
    else:
        found = [] if tag.startswith("@") else [one for one in candidates if _called(one, tag)]
        digest = _DIGEST.match(text.rpartition("@")[2])
        if not found and digest:
            found = [
                one
                for one in candidates
                if any(each.hex.startswith(digest[1]) for each in one.digests)
            ]
    if not found:
        raise ImageError(f"no image called {tag!r} in {where}", hint=_listed(candidates))
    return found


def _called(candidate: Candidate, tag: str) -> bool:
    full = familiar(tag)
    return any(
        tag == name or full == familiar(name) or tag == name.rpartition(":")[2]
        for name in candidate.names
    )


def _for_platform(
    candidates: Sequence[Candidate], where: str, platform: Platform | None
) -> list[Candidate]:
    """Those that run on the platform, or on this machine where none is asked for."""
    wanted = platform or host_platform()
    fitting = [one for one in candidates if one.platform and wanted.accepts(one.platform)]
    if fitting:
        # The nearest variant: v7 before v6 where an ARMv7 is asked for.
        best = max(wanted.rank(one.platform) for one in fitting if one.platform)
        return [one for one in fitting if one.platform and wanted.rank(one.platform) == best]
    if platform is None:
        # Another platform's image is better than none, as long as it is clear which.
        if len({one.platform for one in candidates}) == 1:
            return list(candidates)
    elif all(one.platform is None for one in candidates):
        return list(candidates)
    there = sorted({str(one.platform) for one in candidates if one.platform})
    raise ImageError(
        f"{where} holds no image for {wanted}",
        hint=f"choose with --platform one of: {', '.join(there) or 'none is named'}",
    )


def host_platform() -> Platform:
    """Linux on this machine's processor: what an engine here would run."""
    return Platform("linux", architecture(host.machine().lower()))


def familiar(name: str) -> str:
    """An image's name in full but for Docker Hub's own parts: `app` is `app:latest`."""
    name = name.removeprefix("docker.io/").removeprefix("library/")
    return name if ":" in name.rpartition("/")[2] or "@" in name else f"{name}:latest"


def _several(candidates: Sequence[Candidate], meant: Sequence[Candidate], where: str) -> ImageError:
    named = all(one.names for one in meant) and len({one.names for one in meant}) == len(meant)
    by = "its tag" if named else "its digest or number"
    return ImageError(
        f"{where} holds several images: choose one by {by}", hint=_listed(candidates, meant)
    )


def _listed(candidates: Sequence[Candidate], meant: Sequence[Candidate] | None = None) -> str:
    """Tell which images there are, by their names or, without one, by number and digest."""
    told = _distinct(candidates if meant is None else meant)
    if all(one.names for one in told):
        return names_hint({name for one in told for name in one.names})
    lines = []
    for one in told[:SHOWN]:
        number = next(n for n, other in enumerate(candidates) if other is one)
        runs_on = f" ({one.platform})" if one.platform else ""
        name = one.names[0] if one.names else f"sha256:{one.digests[-1].short}"
        lines.append(f"@{number} {name}{runs_on}")
    more = f" and {len(told) - SHOWN} more" if len(told) > SHOWN else ""
    return f"write it behind the path, such as FILE:@0; there are: {', '.join(lines)}{more}"


def names_hint(names: set[str]) -> str:
    """Tell which tags there are."""
    if not names:
        return "no image in it has a tag"
    shown = ", ".join(repr(name).strip("'") for name in sorted(names)[:SHOWN])
    return f"there are: {shown}" + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")
