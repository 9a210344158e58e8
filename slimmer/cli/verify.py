"""`slimmer verify`: proof that a smaller image still does what the original did."""

from __future__ import annotations

from argparse import ArgumentTypeError, Namespace
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from slimmer.cli import pipeline
from slimmer.cli.progress import Progress

if TYPE_CHECKING:
    from collections.abc import Callable

    from slimmer.analysis.facts import Subject
    from slimmer.cli.pipeline import Commands
    from slimmer.cli.terminal import Rim
    from slimmer.plan.plan import Plan
    from slimmer.proof.runtime import Trials
    from slimmer.proof.verdict import Verdict
    from slimmer.rewrite import Mode

TEXT = """\
Compares a smaller image with the original. Without running anything: what resolved before still
resolves (libraries of ELF files, symlinks, requirements of distributions and packages, records).
With an engine, in containers that reach no network and are removed again: every top-level module of
every Python distribution still imports, libraries still load, and what you name below still works.
What failed in the original already is no fault.
"""
EXAMPLES = """\
examples:
  slimmer verify app:latest app:slim
  slimmer verify app:latest app:slim --run 'python -m app --self-test' --http 8000/health
  slimmer verify app.tar slim.tar --static --contents --plan plan.json
  slimmer verify app:latest app:slim --libraries all --deep-imports --format json

exit codes:
  0  nothing is worse        1  something is        2  cannot tell
"""


def add(commands: Commands) -> None:
    parser = commands.add_parser(
        "verify",
        help="prove that a smaller image still works",
        description=TEXT,
        epilog=EXAMPLES,
    )
    parser.add_argument("before", metavar="BEFORE", help="the original: archive, folder or name")
    parser.add_argument("after", metavar="AFTER", help="the result")
    parser.add_argument(
        "--contents", action="store_true", help="compare the sha256 of every kept file too"
    )
    parser.add_argument(
        "--static", action="store_true", help="run nothing, even where an engine could"
    )
    parser.add_argument(
        "--plan", metavar="FILE", help="the plan that was carried out: nothing else may differ"
    )
    parser.add_argument(
        "--mode",
        choices=("rewrite", "flatten", "overlay"),
        default="rewrite",
        help="how it was carried out (rewrite)",
    )
    arguments(parser)
    parser.add_argument("--platform", metavar="OS/ARCH", help="as for slimmer inspect")
    parser.add_argument(
        "--no-cache", action="store_true", help="neither use nor keep scans of layers"
    )
    parser.add_argument(
        "--format",
        choices=("text", "json"),
        default="text",
        metavar="text|json",
        help="text for people (the default), or json for programs",
    )
    parser.add_argument("-o", "--output", metavar="FILE", help="write a file instead of stdout")
    parser.set_defaults(run=run)


def arguments(parser: Any) -> None:
    """The arguments that say what to try; every command that proves its result has them."""
    parser.add_argument(
        "--run",
        dest="commands",
        action="append",
        default=[],
        metavar="COMMAND",
        help="a shell command: equal exit code and output (may repeat)",
    )
    parser.add_argument(
        "--http",
        dest="requests",
        action="append",
        default=[],
        metavar="PORT/PATH",
        help="start the container and ask it, from within: equal status and body (may repeat)",
    )
    parser.add_argument(
        "--libraries",
        choices=("changed", "all", "none"),
        default="changed",
        metavar="changed|all|none",
        help="shared libraries to load: those that a plan changed (the default), or every one",
    )
    parser.add_argument(
        "--deep-imports",
        action="store_true",
        help="import every submodule of the distributions that lost or changed a file",
    )
    parser.add_argument("--no-imports", action="store_true", help="import nothing")
    parser.add_argument("--no-health", action="store_true", help="leave HEALTHCHECK out")
    parser.add_argument(
        "--network", action="store_true", help="let the containers reach the network"
    )
    parser.add_argument(
        "--timeout",
        type=_seconds,
        default=120.0,
        metavar="SECONDS",
        help="for one module, one command, one answer (120)",
    )


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0
    if not 0 < seconds < 1e6:
        raise ArgumentTypeError(f"expected seconds, got {text!r}")
    return seconds


def trials(options: Namespace) -> Trials:
    """What the arguments ask to try."""
    from slimmer.proof.runtime import Request, Trials

    return Trials(
        imports=not options.no_imports,
        deep_imports=options.deep_imports,
        libraries=options.libraries,
        runs=tuple(options.commands),
        requests=tuple(Request.parse(text) for text in options.requests),
        health=not options.no_health,
        network=options.network,
        timeout=options.timeout,
    )


def run(options: Namespace, rim: Rim) -> int:
    from slimmer.cli import output

    wanted = trials(options)
    before, after = (_subject(options, rim, name) for name in (options.before, options.after))
    rim.problems(after.index.problems)
    verdict = proof(
        before,
        after,
        wanted,
        rim,
        plan=_plan(options.plan, before) if options.plan else None,
        mode=options.mode,
        static=options.static,
        contents=options.contents,
        must_run=bool(wanted.runs or wanted.requests),
    )
    if options.format == "json":
        import json

        fields = verdict.fields(options.before, options.after)
        text = json.dumps(fields, indent=1, ensure_ascii=True) + "\n"
    else:
        text = render(verdict, rim)
    output.write(text, options.output, rim)
    return 0 if verdict.holds else 1


def _subject(options: Namespace, rim: Rim, name: str) -> Subject:
    from slimmer.proof import static as verify

    looked = pipeline.look(
        Namespace(image=name, platform=options.platform, no_cache=options.no_cache),
        rim,
        inside=False,
    )
    return verify.subject(looked.ledger, looked.graph)


def _plan(path: str, before: Subject) -> Plan:
    from slimmer import actions
    from slimmer.plan.plan import Plan

    text = Path(path).read_text(encoding="utf-8", errors="replace")
    return Plan.read(text, before, actions.default(), actions.bookkeepers(), path)


def proof(
    before: Subject,
    after: Subject,
    wanted: Trials,
    rim: Rim,
    *,
    plan: Plan | None = None,
    mode: Mode = "rewrite",
    static: bool = False,
    contents: bool = False,
    must_run: bool = False,
) -> Verdict:
    """The verdict on two images; a missing engine is an error only where something must run."""
    from slimmer.proof import static as verify
    from slimmer.proof.verdict import Verdict
    from slimmer.stores.content import MediumError

    engine = None
    notes: tuple[str, ...] = ()
    if not static:
        from slimmer.stores.engine.runtime import Running

        podman = before.index.image.reference.startswith("podman:")
        try:
            engine = Running.connect(rim.environment, "podman" if podman else "any")
        except MediumError as error:
            if must_run:
                raise
            notes = (f"nothing was run: {error.message}",)
    with Progress(rim) as progress, engine or nullcontext():
        told = _told(progress)
        verdict = verify.verify(
            before,
            after,
            plan,
            engine=engine,
            trials=wanted,
            contents=contents,
            mode=mode,
            told=told,
        )
    return verdict + Verdict(notes=notes)


def _told(progress: Progress) -> Callable[[str, int, int], None]:
    now = ""
    tell: Callable[[int, int], None] = lambda done, total: None  # noqa: E731

    def told(what: str, done: int, total: int) -> None:
        nonlocal now, tell
        if what != now:
            now, tell = what, progress.stage(what)
        if total:
            tell(done, total)

    return told


GROUPS = {
    "unplanned": "not as planned",
    "config": "not carried over",
    "layer": "layers that no step touches",
    "content": "other contents",
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


def render(verdict: Verdict, rim: Rim) -> str:
    """The verdict for people."""
    from rich.text import Text

    from slimmer.formats.console import Paper, Pen, written
    from slimmer.names import printable

    pen = Pen(Paper(rim.width, rim.colour, rim.unicode))
    blocks: list[Any] = []
    for kind, title in GROUPS.items():
        faults = [fault for fault in verdict.faults if fault.kind == kind]
        if not faults:
            continue
        blocks.append(Text(f"{title} ({len(faults)})", style="bold red"))
        for fault in faults[:SHOWN]:
            blocks.append(pen.below(f"{fault.subject}: {fault.lost}"))
            if fault.step:
                blocks.append(pen.below(f"  by the step {fault.step}", "dim"))
            if fault.keep:
                blocks.append(pen.below(f"  hint: --keep '{fault.keep}'", "dim"))
            elif fault.path is not None:
                blocks.append(pen.below(f"  see /{printable(fault.path)}", "dim"))
        if len(faults) > SHOWN:
            blocks.append(pen.below(f"and {len(faults) - SHOWN} more: --format json", "dim"))
        blocks.append("")
    blocks += [pen.text(f"note: {note}", "dim") for note in verdict.notes]
    checked = ", ".join(f"{count:,} {what}" for what, count in verdict.checked)
    blocks.append(pen.text(f"checked: {checked or 'nothing'}"))
    if verdict.holds:
        blocks.append(pen.text("nothing is worse than before", "green"))
    else:
        count = len(verdict.faults)
        blocks.append(pen.text(f"{count} fault{'s' * (count > 1)}: worse than before", "bold red"))
    return written(blocks, pen.paper)
