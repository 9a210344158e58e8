"""The verdict of a proof: text for people, JSON for programs."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from rich.text import Text

from slimmer.formats.console import Display, Renderer, rendered
from slimmer.names import printable

if TYPE_CHECKING:
    from rich.console import RenderableType

    from slimmer.proof.faults import Verdict

GROUPS = {
    "tar": "layers that engines refuse or read otherwise",
    "unplanned": "not as planned",
    "lost": "lost",
    "changed": "changed",
    "config": "not carried over",
    "layer": "layers that no step touches",
    "content": "other contents",
    "entry": "what the image starts",
    "symlink": "symlinks that lead nowhere",
    "library": "libraries that are not found",
    "requirement": "requirements that are not met",
    "record": "records that name what left",
    "interpreter": "interpreters",
    "import": "modules that do not import",
    "load": "libraries that do not load",
    "command": "commands",
    "start": "start",
    "answer": "answers",
    "health": "health",
}
SHOWN = 20
"""Faults of one kind that are shown to people; JSON has them all."""


def text(verdict: Verdict, display: Display) -> str:
    """The verdict for people."""
    renderer = Renderer(display)
    blocks: list[RenderableType] = []
    for kind, title in GROUPS.items():
        faults = [fault for fault in verdict.faults if fault.kind == kind]
        if not faults:
            continue
        blocks.append(Text(f"{title} ({len(faults)})", style="bold red"))
        for fault in faults[:SHOWN]:
            blocks.append(renderer.indented(f"{fault.subject}: {fault.lost}"))
            if fault.step:
                blocks.append(renderer.indented(f"  by the step {fault.step}", "dim"))
            if fault.keep:
                blocks.append(renderer.indented(f"  hint: --keep '{fault.keep}'", "dim"))
            elif fault.path is not None:
                blocks.append(renderer.indented(f"  see /{printable(fault.path)}", "dim"))
        if len(faults) > SHOWN:
            blocks.append(
                renderer.indented(f"and {len(faults) - SHOWN} more: --format json", "dim")
            )
        blocks.append("")
    blocks += [renderer.text(f"note: {note}", "dim") for note in verdict.notes]
    checked = ", ".join(f"{count:,} {what}" for what, count in verdict.checked)
    blocks.append(renderer.text(f"checked: {checked or 'nothing'}"))
    if verdict.holds:
        blocks.append(renderer.text("nothing is worse than before", "green"))
    else:
        count = len(verdict.faults)
        blocks.append(
            renderer.text(f"{count} fault{'s' * (count > 1)}: worse than before", "bold red")
        )
    return rendered(blocks, display)


def render(verdict: Verdict, before: str, after: str) -> str:
    """The verdict as JSON; `before` and `after` are what the images are called."""
    return json.dumps(verdict.to_dict(before, after), indent=1, ensure_ascii=True) + "\n"
