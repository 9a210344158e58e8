"""What a log has to do with what left: text for people, JSON for programs."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from slimmer.formats.console import Display, Renderer, rendered
from slimmer.names import one_line, printable

if TYPE_CHECKING:
    from rich.console import RenderableType

    from slimmer.proof.blame import Blame, Cause

TEXT = 400
"""Characters of a reason or of evidence that are shown to people; JSON has all of it."""


def text(blame: Blame, display: Display) -> str:
    """The files that left and are named, for people."""
    renderer = Renderer(display)
    blocks: list[RenderableType] = []
    for cause in blame.causes:
        blocks.append(renderer.text(f"line {cause.line}: {cause.message}", "bold"))
        blocks += [renderer.indented(line) for line in _told(cause)]
        blocks.append(renderer.indented(f"hint: --keep '{cause.keep}' brings it back", "green"))
        blocks.append("")
    if blame.more:
        blocks.append(renderer.text(f"and {blame.more} more files that left", "dim"))
    if not blame.causes:
        blocks.append(renderer.text("nothing that left is named here"))
    return rendered(blocks, display)


def _told(cause: Cause) -> list[str]:
    path, reason = printable(cause.path), cause.reason
    how = "was changed" if cause.changed else "left" if cause.certain else "is missing"
    if reason is None:
        return [f"/{path} {how}; no step is known that did it"]
    by = "by the step" if cause.changed else "with the step"
    if not cause.certain:
        how, by = f"{how}: files beside it left", "with the step"
    lines = [
        f"/{path} {how} {by} {one_line(reason.id)}",
        f"rule {one_line(reason.rule)} ({reason.safety}): {one_line(reason.why)[:TEXT]}",
    ]
    if reason.evidence:
        lines.append(f"known of it: {one_line(reason.evidence)[:TEXT]}")
    return lines


def render(blame: Blame) -> str:
    """The same as JSON."""
    return json.dumps(blame.to_dict(), indent=1, ensure_ascii=True) + "\n"
