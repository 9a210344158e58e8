"""What may be asked of a session: frozen options, with the project's settings merged in once.

Each says nothing by default. `with_settings` fills in what the project's settings say where the
options say nothing; lists add up, each item once. Doing it again changes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Self

from slimmer.app.settings import Settings
from slimmer.policy import Safety
from slimmer.units import parse_size

if TYPE_CHECKING:
    from collections.abc import Iterable

    from slimmer.plan.budget import Budget
    from slimmer.proof.trials import Trials
    from slimmer.rewrite import Mode
    from slimmer.stores.compression import Compression

NO_SETTINGS = Settings()


@dataclass(frozen=True, slots=True)
class PlanOptions:
    """What a plan may do.

    >>> session.plan(slimmer.PlanOptions(keep=("pip:toolz",))).policy
    'safe'
    """

    policy: str = ""
    """Name of a shipped policy, or the path of a file; the settings' or `safe` if empty."""
    budget: Budget | None = None
    """What the result must fit; None for every step that the policy allows."""
    accept: Safety | None = None
    """The most that a step may risk; None for the policy's own level."""
    keep: tuple[str, ...] = ()
    """What must stay as it is: globs of paths, and owners such as `pip:scipy`."""
    gpu: str = ""
    """GPUs that the image will meet: `sm_90`, `a100,l4`, or `none`."""
    gpu_mode: str = ""
    """`shrink` or `zero`; see the action `device-code`."""
    swap: tuple[str, ...] = ()
    """Distributions whose CUDA build is replaced: `torch=cpu`, `NAME=FILE.whl`."""
    find_links: tuple[str, ...] = ()
    """Folders with wheels."""
    index_url: str = ""
    """Package index to find wheels in."""
    settings: Settings = NO_SETTINGS
    """The project's, whose policy and rules apply too."""

    def with_settings(self, settings: Settings) -> Self:
        accept = self.accept
        if accept is None:
            accept = accepted(settings.accept, "accept")
        return replace(
            self,
            accept=accept,
            gpu=self.gpu or settings.gpu,
            gpu_mode=self.gpu_mode or settings.gpu_mode,
            index_url=self.index_url or settings.index_url,
            swap=_together(settings.swap, self.swap),
            find_links=_together(settings.find_links, self.find_links),
            settings=settings,
        )


@dataclass(frozen=True, slots=True)
class VerifyOptions:
    """What to check of a result, and what it was made by.

    >>> slimmer.VerifyOptions(trials=slimmer.Trials(runs=("python -V",))).must_run
    True
    """

    trials: Trials | None = None
    """What to try in containers; None for what can be tried without being told."""
    static: bool = False
    """Run nothing, even where an engine could."""
    contents: bool | None = None
    """Compare the content of every kept file too; None for where that takes seconds."""
    allow: tuple[str, ...] = ()
    """What may differ beside the plan: globs of paths, and fields of the config."""
    plan_file: str = ""
    """The plan that was carried out: nothing else may differ."""
    mode: Mode = "rewrite"
    """How it was carried out."""
    plan: PlanOptions = PlanOptions()
    """Where the wheels of `plan_file` are."""

    @property
    def must_run(self) -> bool:
        """Whether something is asked for that only an engine can tell."""
        return self.trials is not None and bool(self.trials.runs or self.trials.requests)


@dataclass(frozen=True, slots=True)
class SlimOptions:
    """How a smaller image is made, and how it is checked.

    >>> slimmer.SlimOptions(mode="flatten", static=True).mode
    'flatten'
    """

    plan: PlanOptions = PlanOptions()
    plan_file: str = ""
    """Carry out this plan instead of making one."""
    mode: Mode = "rewrite"
    from_layer: int = 0
    """First layer to flatten, in the mode `flatten`."""
    compression: Compression | None = None
    anyway: bool = False
    """Write the best there is where nothing fits."""
    verify: bool = True
    static: bool = False
    """Check without running anything."""
    trials: Trials | None = None
    keep_failed: bool = False
    """Keep a result that failed the check."""


@dataclass(frozen=True, slots=True)
class BudgetOptions:
    """Which limits an image is judged by, and where its findings point to.

    >>> session.budget(slimmer.BudgetOptions(maximum=4_000_000)).fits
    True
    """

    maximum: int | None = None
    """Bytes of `metric` that the image may have."""
    metric: str = ""
    """What `maximum` and `growth` bound: `unpacked` (the default), `rootfs` or `packed`."""
    growth: str = ""
    """How much it may grow from the baseline: `+5%`, `+50MB`."""
    platform_limits: tuple[str, ...] = ()
    """Names of platforms whose limits count."""
    baseline: str = ""
    """A saved report, or an image."""
    dive_ci: str = ""
    """File with dive's rules."""
    measure_packed: bool = False
    """Compress layers without a blob to learn their packed size."""
    dockerfile: str = ""
    requirements: tuple[str, ...] = ()
    """Files that findings point to."""
    plan: PlanOptions = PlanOptions()
    """What the way back under the limits may do."""

    def with_settings(self, settings: Settings) -> Self:
        def named(path: str) -> str:
            return beside(settings, path)

        return replace(
            self,
            metric=self.metric or settings.metric or "unpacked",
            platform_limits=_together(self.platform_limits, settings.platforms),
            baseline=self.baseline or named(settings.baseline),
            dive_ci=self.dive_ci or named(settings.dive_ci),
            dockerfile=self.dockerfile or named(settings.dockerfile),
            requirements=self.requirements or tuple(map(named, settings.requirements)),
            plan=self.plan.with_settings(settings),
        )


def parse_budget(maximum: str, metric: str = "unpacked", where: str = "budget") -> Budget:
    """A budget from text: `4GB` in units of 10⁹ bytes, `4GiB` of 2³⁰. Raises SlimmerError.

    >>> slimmer.parse_budget("4GiB")
    Budget(maximum=4294967296, metric='unpacked')
    """
    from slimmer.plan.budget import Budget

    return Budget.of(parse_size(maximum, where), metric)


def accepted(level: str | None, where: str = "--accept") -> Safety | None:
    """The most that a step may risk, from its name; None where nothing is said."""
    return Safety.parse(level, where) if level else None


def beside(settings: Settings, name: str) -> str:
    """A path that the settings name, from the folder of their file."""
    folder = Path(settings.source.partition(": ")[0]).parent
    return name if not name or folder == Path() else str(folder / name)


def _together(first: Iterable[str], then: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys((*first, *then)))
