"""slimmer takes a container image apart to the byte, and makes it fit its size budget.

A `Session` of one image answers everything that the command line answers:

    import slimmer

    session = slimmer.Session.open("app.tar")
    session.report()                                         # where the bytes went
    session.why("torch")                                     # what brings a distribution in
    options = slimmer.PlanOptions(policy="balanced", budget=slimmer.parse_budget("4GB"))
    session.plan(options)                                    # what may leave, and at what risk
    session.slim("docker-archive:slim.tar", slimmer.SlimOptions(plan=options))
    session.verify("slim.tar")                               # proof that it still works
    session.budget(slimmer.BudgetOptions(maximum=4 * 10**9)) # whether it fits
    session.diff("app-1.1.tar")                              # what changed

Each result is a frozen value with `to_dict()` (the JSON of the command, by its published schema)
and, where it has tables, `records()` (plain records that pandas and polars take). While a session
works it tells a `listener` its events. Nothing reads argv, environment or clock: a cache folder and
the environment that an engine is found by are arguments.

The stages beneath can be had one by one:

    image = slimmer.open("app.tar")
    index = slimmer.Index.scan(image, slimmer.owners.evidence())
    ledger = slimmer.Attribution.of(index, slimmer.owners.default)
    graph = slimmer.DependencyGraph.of(ledger)
    report = slimmer.Report.of(ledger, graph)

Each name is imported when it is first asked for.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from slimmer import owners
    from slimmer.analysis.dependencies import DependencyGraph
    from slimmer.app.blame import blame
    from slimmer.app.diff import saved_report
    from slimmer.app.events import (
        Event,
        Idle,
        ImageWritten,
        Note,
        PlanMade,
        Problems,
        Progress,
        Reporter,
        Verified,
    )
    from slimmer.app.opened import Context, Inspection, OpenedImage
    from slimmer.app.options import (
        BudgetOptions,
        PlanOptions,
        SlimOptions,
        VerifyOptions,
        parse_budget,
    )
    from slimmer.app.policies import named_policy, policy_for, shipped_policies
    from slimmer.app.session import Session
    from slimmer.app.settings import Settings, load_settings
    from slimmer.app.slim import Slimmed
    from slimmer.app.verify import Request, Trials
    from slimmer.attribution import Attribution
    from slimmer.errors import SlimmerError
    from slimmer.gate.gate import Gate
    from slimmer.image import Image, Platform
    from slimmer.index import Index
    from slimmer.plan.budget import Budget
    from slimmer.plan.plan import Plan
    from slimmer.plan.steps import Step
    from slimmer.policy import Policy, Safety
    from slimmer.proof.faults import Verdict
    from slimmer.report.comparison import Comparison
    from slimmer.report.reasons import Reasons
    from slimmer.report.report import Report
    from slimmer.stores import open  # noqa: A004 - `slimmer.open` reads as what it does
    from slimmer.units import parse_size

__version__ = "0.1.0"

_HOMES = {
    "Attribution": "attribution",
    "Budget": "plan.budget",
    "BudgetOptions": "app.options",
    "Comparison": "report.comparison",
    "Context": "app.opened",
    "DependencyGraph": "analysis.dependencies",
    "Event": "app.events",
    "Gate": "gate.gate",
    "Idle": "app.events",
    "Image": "image",
    "ImageWritten": "app.events",
    "Index": "index",
    "Inspection": "app.opened",
    "Note": "app.events",
    "OpenedImage": "app.opened",
    "Plan": "plan.plan",
    "PlanMade": "app.events",
    "PlanOptions": "app.options",
    "Platform": "image",
    "Policy": "policy",
    "Problems": "app.events",
    "Progress": "app.events",
    "Reasons": "report.reasons",
    "Report": "report.report",
    "Reporter": "app.events",
    "Request": "app.verify",
    "Safety": "policy",
    "Session": "app.session",
    "Settings": "app.settings",
    "SlimOptions": "app.options",
    "Slimmed": "app.slim",
    "SlimmerError": "errors",
    "Step": "plan.steps",
    "Trials": "app.verify",
    "Verdict": "proof.faults",
    "Verified": "app.events",
    "VerifyOptions": "app.options",
    "parse_budget": "app.options",
    "blame": "app.blame",
    "load_settings": "app.settings",
    "named_policy": "app.policies",
    "open": "stores",
    "parse_size": "units",
    "policy_for": "app.policies",
    "saved_report": "app.diff",
    "shipped_policies": "app.policies",
}
"""Public name → the module that it is imported from when it is first asked for."""


def __getattr__(name: str) -> object:
    if name == "owners":
        return import_module("slimmer.owners")
    if name in _HOMES:
        return getattr(import_module(f"slimmer.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'slimmer' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__


__all__ = [
    "Attribution",
    "Budget",
    "BudgetOptions",
    "Comparison",
    "Context",
    "DependencyGraph",
    "Event",
    "Gate",
    "Idle",
    "Image",
    "ImageWritten",
    "Index",
    "Inspection",
    "Note",
    "OpenedImage",
    "Plan",
    "PlanMade",
    "PlanOptions",
    "Platform",
    "Policy",
    "Problems",
    "Progress",
    "Reasons",
    "Report",
    "Reporter",
    "Request",
    "Safety",
    "Session",
    "Settings",
    "SlimOptions",
    "Slimmed",
    "SlimmerError",
    "Step",
    "Trials",
    "Verdict",
    "Verified",
    "VerifyOptions",
    "__version__",
    "blame",
    "load_settings",
    "named_policy",
    "open",
    "owners",
    "parse_budget",
    "parse_size",
    "policy_for",
    "saved_report",
    "shipped_policies",
]
