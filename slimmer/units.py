"""Sizes and times as people write and read them. Units appear only where text is made for people.

Decimal like Docker's own listings: `4GB` is 4 · 10⁹ bytes, `4GiB` is 4 · 2³⁰, and the two are
never mixed up.
"""

from __future__ import annotations

import re
from decimal import Decimal

from slimmer.errors import SlimmerError

_SIZE = re.compile(r"([0-9]+(?:\.[0-9]+)?)[ ]?([A-Za-z]*)\Z")
_FACTORS = {
    "": 1,
    "b": 1,
    **{
        f"{letter}{suffix}".lower(): base**power
        for power, letter in enumerate("KMGTP", start=1)
        for suffix, base in (("B", 1000), ("iB", 1024))
    },
}


class SizeError(SlimmerError):
    """A text that is no size."""


def parse_size(text: object, where: str) -> int:
    """Bytes of a size such as `4GB` (10⁹), `4GiB` (2³⁰), `1.5 MB` or `512`; raises SizeError.

    `where` names the place of the text in the error. A bare `4G` is refused: half the tools read it
    as 10⁹ and the other half as 2³⁰.

    >>> slimmer.parse_size("1.5 MB", "the example")
    1500000
    """
    match = _SIZE.match(text.strip()) if isinstance(text, str) else None
    factor = _FACTORS.get(match[2].lower()) if match else None
    if match is None or factor is None:
        raise SizeError(
            f"expected a size such as '4GB' or '2GiB', got {text!r:.60} in '{where}'",
            hint="GB is 10⁹ bytes, GiB is 2³⁰; kB, MB, TB and KiB, MiB, TiB work alike",
        )
    return int(Decimal(match[1]) * factor)


def size_text(size: int) -> str:
    """A size for people, decimal: `8.8 GB`, `12.3 MB`, `999 B`."""
    if abs(size) < 1000:
        return f"{size} B"
    import humanize

    return humanize.naturalsize(size)


def exact_text(size: int) -> str:
    """A size to the byte, for people: `8,812,345,678 bytes`."""
    return f"{size:,} byte" + ("" if size == 1 else "s")


def share_text(part: int, whole: int) -> str:
    """`part` of `whole` as a percentage that is never rounded up to all or down to nothing."""
    if not whole or not part:
        return "0 %"
    percent = 100 * part / whole
    if percent < 0.1:
        return "< 0.1 %"
    if part < whole:
        percent = min(percent, 99.9)
    return f"{percent:.1f} %" if percent < 100 else "100 %"


def seconds_text(seconds: float) -> str:
    """A time for people, short enough for a table: `0.2 s`, `14 s`, `3 min 3 s`, `1 h 2 min`."""
    if seconds < 0.1:
        return "< 0.1 s"
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    minutes = round(seconds / 60)
    if minutes < 48 * 60:
        return f"{minutes // 60} h {minutes % 60} min"
    return f"{round(seconds / 86400)} days"
