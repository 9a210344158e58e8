"""One image, and everything that can be asked about it: what command line and programs use."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Self

from slimmer.app.events import Listener, Reporter, ignore
from slimmer.app.opened import Context, OpenedImage

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from slimmer.app.options import BudgetOptions, PlanOptions, SlimOptions, VerifyOptions
    from slimmer.app.planner import Planner
    from slimmer.app.slim import Slimmed
    from slimmer.gate.gate import Gate
    from slimmer.plan.plan import Plan
    from slimmer.proof.faults import Verdict
    from slimmer.report.comparison import Comparison
    from slimmer.report.report import Report


class Session(OpenedImage):
    """One image, and what can be asked about it. Nothing is read before it is asked for.

    >>> slimmer.Session("app.tar").report().problems
    ()
    """

    @classmethod
    def open(
        cls,
        reference: str,
        *,
        platform: str = "",
        cache: Path | None = None,
        environment: Mapping[str, str] | None = None,
        listener: Listener = ignore,
        deep: bool = False,
    ) -> Self:
        """The session of the image that a reference means; see `slimmer.open` for references.

        Raises SlimmerError, with a hint, where there is no such image.

        >>> session = slimmer.Session.open("app.tar")
        >>> session.image
        Image('app.tar', 'linux/amd64', 9 layers)
        >>> slimmer.Session.open("./none.tar")
        Traceback (most recent call last):
        slimmer.stores.content.MediumError: there is no file or folder ./none.tar
        """
        session = cls(
            reference, Context(platform, cache, environment or {}, Reporter(listener)), deep=deep
        )
        session.image  # noqa: B018 - where there is none, it is said here
        return session

    def plan(self, options: PlanOptions | None = None) -> Plan:
        """Which steps would shrink the image, and how far; nothing is written.

        >>> budget = slimmer.parse_budget("3.9MB")
        >>> plan = session.plan(slimmer.PlanOptions(policy="balanced", budget=budget))
        >>> plan.shortfall, plan.after.unpacked <= 3_900_000
        (0, True)
        """
        from slimmer.app.options import PlanOptions

        return self.planner.plan(options or PlanOptions())

    def read_plan(self, path: str, options: PlanOptions | None = None) -> Plan:
        """The plan of a file; its sizes are worked out anew.

        Raises PlanError where it is a plan for another image, or says what cannot be.

        >>> made = session.plan()
        >>> with open("plan.json", "w") as file:
        ...     _ = file.write(made.to_json())
        >>> session.read_plan("plan.json").digest == made.digest
        True
        """
        from slimmer.app.options import PlanOptions

        return self.planner.read(path, options or PlanOptions())

    @cached_property
    def planner(self) -> Planner:
        """Makes the plans of this image; what several share is found once."""
        from slimmer.app.planner import Planner

        return Planner(self)

    def slim(self, to: str, options: SlimOptions | None = None) -> Slimmed:
        """Write a smaller image to a destination such as `docker-archive:slim.tar`, and check it.

        The source stays as it is, and where the check fails so does the destination.

        >>> options = slimmer.SlimOptions(static=True)
        >>> session.slim("docker-archive:slim.tar", options).written
        Written('docker-archive:slim.tar', 'sha256:...', unpacked=..., packed=None)
        """
        from slimmer.app.options import SlimOptions
        from slimmer.app.slim import slim

        return slim(self.planner, to, options or SlimOptions())

    def verify(self, other: OpenedImage | str, options: VerifyOptions | None = None) -> Verdict:
        """The proof that another image still does what this one does, or what it lost.

        >>> session.verify("app.tar", slimmer.VerifyOptions(static=True)).holds
        True
        """
        from slimmer.app.options import VerifyOptions
        from slimmer.app.verify import verify

        after = self.another(other) if isinstance(other, str) else other
        return verify(self.planner, after, options or VerifyOptions())

    def budget(self, options: BudgetOptions) -> Gate:
        """Whether the image keeps its limits, and what would bring it back under them.

        >>> session.budget(slimmer.BudgetOptions(maximum=3_900_000)).verdict
        'over its limit by 79.1 kB'
        """
        from slimmer.app.budget import judged

        return judged(self.planner, options)

    def diff(self, other: OpenedImage | Report | str) -> Comparison:
        """What changed from this image to another one, or to a report.

        >>> session.diff("app.tar").same
        True
        """
        from slimmer.app.diff import compare

        return compare(self, self.another(other) if isinstance(other, str) else other)
