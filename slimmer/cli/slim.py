"""`slimmer slim`: a smaller image, written without a rebuild and checked against the original."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path
from typing import TYPE_CHECKING

from slimmer.cli import pipeline
from slimmer.cli import plan as planning
from slimmer.cli import verify as checking

if TYPE_CHECKING:
    from slimmer.cli.pipeline import Commands, Looked
    from slimmer.cli.terminal import Rim
    from slimmer.edits.layers import Draft
    from slimmer.plan.plan import Plan
    from slimmer.proof.runtime import Trials
    from slimmer.proof.verdict import Verdict
    from slimmer.stores.destination import Written

TEXT = """\
Writes a smaller image: the steps of a plan carried out layer by layer, without a rebuild and
without touching the source. Layers that no step touches are the very same layers. The result is
checked against the original before the command says that it is done.

DESTINATION is written whole or not at all:
  docker:app:slim            a tag of the local engine (-t app:slim is short for it)
  docker-archive:slim.tar    what `docker load` reads; also for a bare file name
  oci:folder:tag             an OCI layout; oci-archive:slim.tar the same in one file

Exits with 1 where the budget cannot be met (nothing is written, unless --anyway) or where the
check finds that something broke (the result is removed again, unless --keep-failed).

examples:
  slimmer slim app:latest --max 4GB -t app:slim
  slimmer slim app:latest --policy balanced --gpu sm_90 -t app:slim --http 8000/health
  slimmer slim app.tar -o slim.tar --keep pip:scipy
  slimmer slim app:latest --plan plan.json -o oci:out:slim --compression zstd
  slimmer slim app:latest --mode overlay -t app:pruned
"""


def add(commands: Commands) -> None:
    parser = pipeline.command(commands, "slim", "write a smaller image that still works", TEXT)
    target = parser.add_argument_group("where to")
    target.add_argument("-t", "--tag", metavar="TAG", help="tag of the local engine to write")
    target.add_argument("-o", "--output", metavar="DESTINATION", help="where to write instead")
    target.add_argument(
        "--compression",
        choices=("gzip", "zstd", "none"),
        help="of the layers; by default gzip in OCI layouts, none in archives for Docker",
    )
    planning.add_choices(parser)
    how = parser.add_argument_group("how")
    how.add_argument("--plan", metavar="FILE", help="carry out this plan instead of making one")
    how.add_argument(
        "--mode",
        choices=("rewrite", "flatten", "overlay"),
        default="rewrite",
        help="rewrite the layers that steps touch (the default); flatten layers into one; or"
        " overlay: one more layer of whiteouts, which shrinks rootfs and neither the pull nor the"
        " disk",
    )
    how.add_argument(
        "--from-layer", type=int, default=0, metavar="N", help="first layer to flatten (0)"
    )
    how.add_argument(
        "--anyway", action="store_true", help="write the best there is where nothing fits"
    )
    proof = parser.add_argument_group("the check")
    proof.add_argument("--no-verify", action="store_true", help="do not check the result")
    proof.add_argument(
        "--static", action="store_true", help="check without running anything, even with an engine"
    )
    proof.add_argument(
        "--keep-failed", action="store_true", help="keep a result that failed the check"
    )
    checking.arguments(proof)
    parser.add_argument(
        "--top", type=pipeline.count, default=15, metavar="N", help="rows of each table (15)"
    )
    parser.set_defaults(run=run)


def run(options: Namespace, rim: Rim) -> int:
    from slimmer import stores
    from slimmer.cli import output
    from slimmer.errors import SlimmerError
    from slimmer.formats import plan as ladder
    from slimmer.formats.console import Paper
    from slimmer.rewrite import apply
    from slimmer.stores.staging import Provisional

    if options.from_layer and options.mode != "flatten":
        raise SlimmerError("--from-layer says where to flatten from", hint="--mode flatten")
    place = Provisional.of(_destination(options))
    if place.replaces(*stores.on_disk(options.image)):
        raise SlimmerError(
            f"{options.image} is what to read, and cannot be written over",
            hint="write beside it, under another name",
        )
    wanted = checking.trials(options)
    looked = pipeline.look(options, rim)
    rim.problems(looked.ledger.index.problems)
    plan = _plan(options, looked, rim)
    paper = Paper(rim.width, rim.colour, rim.unicode)
    output.write(ladder.text(plan, paper, options.top), None, rim)
    if plan.shortfall and not options.anyway:
        rim.notes(["nothing was written; --anyway writes the best there is"])
        return 1
    draft = apply(looked.ledger.index.image, plan, options.mode, options.from_layer)
    if not draft.changed:
        raise SlimmerError(
            "there is nothing to take from this image", hint="a bolder policy: --policy balanced"
        )
    if options.no_verify:
        written = _write(draft, place.destination, options, rim)
        _tell(written, place.destination, rim)
        return 0
    written = _write(draft, place.target, options, rim)
    try:
        verdict = _check(options, looked, plan, written, wanted, rim)
        output.write("\n" + checking.render(verdict, rim), None, rim)
    except BaseException:
        place.discard(rim.environment)
        raise
    if not verdict.holds and not options.keep_failed:
        place.discard(rim.environment)
        rim.notes(["the result was removed again; --keep-failed keeps it, --keep mends the plan"])
        return 1
    place.accept(rim.environment)
    _tell(written, place.destination, rim)
    return 0 if verdict.holds else 1


def _destination(options: Namespace) -> str:
    from slimmer.errors import SlimmerError

    if (options.tag is None) == (options.output is None):
        raise SlimmerError(
            "where to write is not said" if options.tag is None else "two places to write are said",
            hint="-t TAG for the local engine, or -o DESTINATION for an archive or an OCI layout",
        )
    if options.tag is None:
        return str(options.output)
    transport = "podman" if str(options.image).startswith("podman:") else "docker"
    return f"{transport}:{options.tag}"


def _plan(options: Namespace, looked: Looked, rim: Rim) -> Plan:
    if options.plan is None:
        return planning.make(options, looked, rim)
    from slimmer import actions
    from slimmer.analysis.facts import Subject
    from slimmer.plan.plan import Plan

    subject = Subject.of(looked.ledger, looked.graph, planning.chosen(options))
    known = actions.default(options.find_links, options.index_url)
    text = Path(options.plan).read_text(encoding="utf-8", errors="replace")
    return Plan.read(text, subject, known, actions.bookkeepers(), options.plan)


def _write(draft: Draft, destination: str, options: Namespace, rim: Rim) -> Written:
    from slimmer import stores
    from slimmer.cli.progress import Progress

    with Progress(rim) as progress:
        written = stores.write(
            draft,
            destination,
            compression=options.compression,
            progress=progress.bytes("writing"),
            environment=rim.environment,
        )
    rim.notes(written.notices)
    return written


def _check(
    options: Namespace,
    looked: Looked,
    plan: Plan,
    written: Written,
    wanted: Trials,
    rim: Rim,
) -> Verdict:
    """The verdict on the result as it was written, opened anew."""
    from slimmer.proof import static as verify

    after = pipeline.look(
        Namespace(image=written.reference, platform=options.platform, no_cache=options.no_cache),
        rim,
        inside=False,
    )
    return checking.proof(
        verify.subject(looked.ledger, looked.graph),
        verify.subject(after.ledger, after.graph),
        wanted,
        rim,
        plan=plan,
        mode=options.mode,
        static=options.static,
        must_run=bool(wanted.runs or wanted.requests),
    )


def _tell(written: Written, destination: str, rim: Rim) -> None:
    from slimmer.cli import output
    from slimmer.units import size_text

    sizes = [
        f"{size_text(size)} {name}"
        for name, size in (("unpacked", written.unpacked), ("packed", written.packed))
        if size is not None
    ]
    output.write(
        f"wrote {destination}: {', '.join(sizes)}; {written.reused} layers as they were,"
        f" {written.written} anew; {written.id[:19]}\n",
        None,
        rim,
    )
