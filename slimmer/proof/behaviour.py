"""Both images at work, side by side: what of it is worse than before.

Nothing here talks to an engine; one is handed in as `Engine`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from slimmer.proof.faults import Verdict
from slimmer.proof.loading import Loading, interpreters
from slimmer.proof.running import Running

if TYPE_CHECKING:
    from collections.abc import Callable

    from slimmer.analysis.facts import Facts
    from slimmer.edits.changes import Changes
    from slimmer.proof.losses import Losses
    from slimmer.proof.trials import Engine, Trials

    Told = Callable[[str, int, int], None]


def compare(
    before: Facts,
    after: Facts,
    changes: Changes | None,
    losses: Losses,
    engine: Engine,
    trials: Trials,
    told: Told = lambda what, done, total: None,
) -> Verdict:
    """Try both images and judge what got worse. Raises TrialError where nothing can be told."""
    verdict = Verdict()
    found = interpreters(before.index)
    if trials.imports or trials.libraries != "none":
        loading = Loading(before, after, changes, losses, engine, trials, told)
        verdict += loading.imports(found)
    running = Running(before, after, losses, engine, trials, told)
    for command in trials.runs:
        verdict += running.command(command)
    if running.serves:
        verdict += running.service(found)
    return verdict
