"""`slimmer plan`: which steps would shrink an image, and how far."""

from __future__ import annotations

from pathlib import PurePath
from typing import TYPE_CHECKING

from slimmer.cli import pipeline, settings

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace
    from collections.abc import Iterable

    from slimmer.analysis.facts import Subject
    from slimmer.cli.pipeline import Commands, Looked
    from slimmer.cli.terminal import Rim
    from slimmer.plan.plan import Plan
    from slimmer.plan.steps import Action, Budget, Refusal, Step
    from slimmer.policy import Policy, Rule, Safety

FORMATS = ("text", "json", "markdown")

TEXT = """\
Proposes steps that shrink an image, each with its bytes, its risk and its reason, and picks the
least risky ones that fit the budget. Nothing is written but the plan.

  safe      cannot change what any program in the image does
  caution   changes something measurable, such as start-up time or native tracebacks, no result
  risky     can break a program that uses what is gone

The plan file that -o writes is bound to this very image. Read it, drop steps from it, have it
reviewed, and carry it out with: slimmer slim IMAGE --plan plan.json

Exits with 1 where the budget cannot be met.

examples:
  slimmer plan app:latest
  slimmer plan app:latest --max 4GB --policy balanced
  slimmer plan app:latest --max 4GB --policy balanced --gpu sm_90
  slimmer plan app:latest --max 4GB --keep 'pip:scipy' --keep '*/nltk_data/' -o plan.json
"""


def add(commands: Commands) -> None:
    parser = pipeline.command(commands, "plan", "say what would shrink an image, and how far", TEXT)
    add_choices(parser)
    parser.add_argument(
        "--top", type=pipeline.count, default=25, metavar="N", help="rows of each table (25)"
    )
    parser.add_argument(
        "--format",
        choices=FORMATS,
        metavar="|".join(FORMATS),
        default="text",
        help="text for people (the default), json for programs, markdown for a merge request",
    )
    parser.add_argument("-o", "--output", metavar="FILE", help="write the plan to a file")
    parser.set_defaults(run=run)


def add_choices(parser: ArgumentParser, *, bounded: bool = True) -> None:
    """The arguments that say what a plan may do; `slim` and `budget` have them too.

    `bounded` adds those that set the budget.
    """
    group = parser.add_argument_group("what may be done")
    if bounded:
        group.add_argument(
            "--max", metavar="SIZE", help="the budget, such as 4GB (10⁹) or 4GiB (2³⁰)"
        )
        group.add_argument(
            "--metric",
            choices=("unpacked", "rootfs"),
            default="unpacked",
            help="what the budget bounds: all layers (the default), or the merged tree",
        )
    group.add_argument(
        "--policy", metavar="NAME|FILE", help="safe (the default), balanced, aggressive, or a file"
    )
    group.add_argument(
        "--accept",
        choices=("safe", "caution", "risky"),
        help="the most that a step may risk; the policy's own level by default",
    )
    group.add_argument(
        "--keep",
        action="append",
        default=[],
        metavar="GLOB|OWNER",
        help="what must stay as it is: a path, or an owner such as pip:scipy; may repeat",
    )
    group.add_argument(
        "--gpu",
        metavar="NAMES",
        help="GPUs that the image will meet, such as sm_90 or a100,l4, or none: device code for"
        " others may leave; NVIDIA's licence on modifying its libraries is yours to read",
    )
    group.add_argument(
        "--gpu-mode",
        choices=("shrink", "zero"),
        help="give the bytes back (the default), or only zero them, which shrinks what is packed",
    )
    group.add_argument(
        "--swap",
        action="append",
        default=[],
        metavar="NAME=cpu|WHEEL",
        help="replace a CUDA build by the CPU wheel of the same version; may repeat",
    )
    group.add_argument(
        "--find-links", action="append", default=[], metavar="FOLDER", help="where wheels are"
    )
    group.add_argument("--index-url", metavar="URL", help="package index to find wheels in")
    group.add_argument(
        "--settings",
        metavar="FILE",
        help="instead of ./slimmer.toml, or [tool.slimmer] in ./pyproject.toml",
    )


def run(options: Namespace, rim: Rim) -> int:
    from slimmer.cli import output

    plan = make(options, pipeline.look(options, rim), rim)
    if options.output is not None and PurePath(options.output).suffix == ".json":
        output.write(plan.to_json(), options.output, rim)
        output.write(_text(plan, options.format, options, rim), None, rim)
    else:
        output.write(_text(plan, options.format, options, rim), options.output, rim)
    if plan.shortfall:
        rim.notes([f"what may close the gap: {', '.join(bolder(options))}"])
    return 1 if plan.shortfall else 0


def make(options: Namespace, looked: Looked, rim: Rim) -> Plan:
    """The plan for what the arguments ask."""
    from slimmer.plan.steps import Budget
    from slimmer.policy import Safety
    from slimmer.units import parse_size

    policy = chosen(options)
    accept = settings.filled(options, settings.load(options)).accept
    budget = None
    if options.max is not None:
        budget = Budget.of(parse_size(options.max, "--max"), options.metric)
    level = Safety.parse(accept, "--accept") if accept else None
    plan = Planner(looked, rim).plan(policy, budget, level)
    rim.notes(
        [
            f"--keep {name} fits nothing in this image"
            for name in options.keep
            if not _matches(looked, name)
        ]
    )
    return plan


class Planner:
    """Plans by several policies for one image: what they share is worked out once."""

    def __init__(self, looked: Looked, rim: Rim) -> None:
        from slimmer import actions

        self._looked = looked
        self._rim = rim
        self._actions: dict[str, Action] = {
            name: _Remembering(action) for name, action in actions.default().items()
        }
        self._subjects: dict[object, Subject] = {}

    def plan(self, policy: Policy, budget: Budget | None, accept: Safety | None) -> Plan:
        """What a policy comes to on the image."""
        from slimmer import actions
        from slimmer.analysis.facts import Subject
        from slimmer.cli.progress import Progress
        from slimmer.plan.plan import Plan as Made

        kept = (policy.keep, policy.keep_owners)
        with Progress(self._rim) as progress:
            progress.stage("looking for what may leave")
            if kept not in self._subjects:
                looked = self._looked
                self._subjects[kept] = Subject.of(looked.ledger, looked.graph, policy)
            return Made.of(
                self._subjects[kept],
                policy,
                self._actions,
                actions.bookkeepers(),
                budget,
                accept,
            )


class _Remembering:
    """An action that answers the same question once only."""

    def __init__(self, action: Action) -> None:
        self.name = action.name
        self.restore = action.restore
        self._action = action
        self._answers: dict[object, tuple[Step | Refusal, ...]] = {}

    def propose(self, subject: Subject, rule: Rule) -> Iterable[Step | Refusal]:
        question = (id(subject), repr(rule))
        if question not in self._answers:
            self._answers[question] = tuple(self._action.propose(subject, rule))
        return self._answers[question]


def bolder(options: Namespace) -> list[str]:
    """Arguments that were not given and take more out of an image."""
    ways = []
    if (options.policy or "safe") == "safe":
        ways.append("--policy balanced")
    elif options.policy == "balanced":
        ways.append("--policy aggressive")
    if not options.gpu:
        ways.append("--gpu NAMES (device code of other GPUs leaves)")
    if not options.swap:
        ways.append("--swap torch=cpu (where no GPU is met)")
    return ways or ["--accept risky"]


def chosen(options: Namespace) -> Policy:
    """The policy that the arguments and the project's settings name, with their options."""
    from dataclasses import replace

    from slimmer.policy import Safety, find

    project = settings.load(options)
    options = settings.filled(options, project)
    if options.policy:
        # A path on the command line is meant from the working folder.
        policy = project.chosen(
            options.policy,
            lambda name, source: find(name, "./x" if name == options.policy else source),
        )
    else:
        policy = project.chosen("", find)
    levers = {rule.action: rule for rule in find("balanced", "").rules}
    if options.gpu:
        policy = policy.told(
            "device-code", levers.get("device-code"), gpus=options.gpu, mode=options.gpu_mode
        )
    if options.swap or options.gpu:
        policy = policy.told(
            "swap",
            levers.get("swap") if options.swap or options.gpu == "none" else None,
            swaps=options.swap or None,
            find_links=options.find_links or None,
            index_url=options.index_url,
            gpus=options.gpu,
        )
        if options.swap or options.gpu == "none":  # asking for it is accepting it
            policy = replace(policy, safety=max(policy.safety, Safety.CAUTION))
    return policy.keeping(options.keep)


def _matches(looked: Looked, name: str) -> bool:
    from slimmer.policy import Policy, Selector

    kept = Policy("", (), Selector().paths).keeping([name])
    if kept.keep:
        return any(path in kept.keep for path in looked.ledger.index.visible)
    selector = Selector(owners=kept.keep_owners)
    return any(selector.owner(owner) for owner in looked.ledger.paths())


def _text(plan: Plan, form: str, options: Namespace, rim: Rim) -> str:
    from slimmer.formats import plan as ladder

    if form == "json":
        return ladder.report(plan)
    if form == "markdown":
        return ladder.markdown(plan, options.top)
    from slimmer.formats.console import Paper

    to_file = options.output not in (None, "-") and PurePath(options.output).suffix != ".json"
    paper = Paper(rim.width, rim.colour and not to_file, rim.unicode or to_file)
    return ladder.text(plan, paper, options.top)
