"""Which file that left a log speaks of, from a plan, a slimmed image, or the image and its base."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from slimmer.errors import SlimmerError
from slimmer.plan.record import Record
from slimmer.proof.blame import Blame
from slimmer.proof.losses import Losses
from slimmer.rewrite import RECORD_LABEL

if TYPE_CHECKING:
    from slimmer.app.opened import OpenedImage


class BlameError(SlimmerError):
    """Nothing says what left."""


def blame(
    text: str,
    plan: str = "",
    image: OpenedImage | None = None,
    base: OpenedImage | None = None,
) -> Blame:
    """Read a log. `plan` is the path of a plan file, `image` what was written, `base` what it was
    written from; a plan or an image is enough. Raises BlameError where none says what left.

    >>> with open("plan.json", "w") as file:
    ...     _ = file.write(session.plan().to_json())
    >>> tests = "/usr/local/lib/python3.11/site-packages/toolz/tests/test_curried.py"
    >>> found = slimmer.blame(f"No such file or directory: '{tests}'", "plan.json")
    >>> found.causes[0].reason.rule
    'tests'
    """
    return Blame.of(text, _losses(plan, image, base))


def _losses(plan: str, image: OpenedImage | None, base: OpenedImage | None) -> Losses:
    record = None
    if plan:
        record = Record.parse(Path(plan).read_text(encoding="utf-8", errors="replace"), plan)
    elif image is not None:
        label = dict(image.image.config.labels).get(RECORD_LABEL)
        if label is not None:
            record = Record.parse(label, f"the label {RECORD_LABEL} of {image.reference}")
    if image is not None and base is not None:
        record = record or Record(())
        return Losses.recorded(record, base.index, image.index)
    if record is None:
        raise BlameError(
            f"{image.reference} does not say what left it" if image else "what left is not said",
            hint="--plan FILE names the plan that was carried out; --base IMAGE what it was before"
            if image
            else "--plan FILE names the plan that was carried out, or --image IMAGE its result",
        )
    return Losses.recorded(record)
