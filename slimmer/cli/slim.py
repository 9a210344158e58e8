"""`slimmer slim`: a smaller image, written without a rebuild and checked against the original."""

from __future__ import annotations

from typing import TYPE_CHECKING

from slimmer.cli import arguments

if TYPE_CHECKING:
    from argparse import Namespace

    from slimmer.app.events import Event
    from slimmer.cli.arguments import Commands
    from slimmer.cli.terminal import Terminal

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
    parser = arguments.command(commands, "slim", "write a smaller image that still works", TEXT)
    target = parser.add_argument_group("where to")
    target.add_argument("-t", "--tag", metavar="TAG", help="tag of the local engine to write")
    target.add_argument("-o", "--output", metavar="DESTINATION", help="where to write instead")
    target.add_argument(
        "--compression",
        choices=("gzip", "zstd", "none"),
        help="of the layers; by default gzip in OCI layouts, none in archives for Docker",
    )
    arguments.add_plan(parser)
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
    arguments.add_trials(proof)
    parser.add_argument(
        "--top", type=arguments.count, default=15, metavar="N", help="rows of each table (15)"
    )
    parser.set_defaults(run=run)


def run(options: Namespace, terminal: Terminal) -> int:
    from slimmer.app.events import PlanMade, Verified
    from slimmer.app.options import SlimOptions
    from slimmer.app.settings import load_settings
    from slimmer.cli import output
    from slimmer.formats.plan import text as plan_text
    from slimmer.formats.verdict import text as verdict_text
    from slimmer.formats.written import text as written_text

    def show(event: Event) -> None:
        match event:
            case PlanMade(plan):
                text = plan_text(plan, output.display(terminal), options.top)
                output.write(text, None, terminal)
            case Verified(verdict):
                text = verdict_text(verdict, output.display(terminal))
                output.write("\n" + text, None, terminal)
            case _:
                pass

    wanted = SlimOptions(
        plan=arguments.plan_options(options, load_settings(options.settings)),
        plan_file=options.plan or "",
        mode=options.mode,
        from_layer=options.from_layer,
        compression=options.compression,
        anyway=options.anyway,
        verify=not options.no_verify,
        static=options.static,
        trials=arguments.trials(options),
        keep_failed=options.keep_failed,
    )
    destination = _destination(options)
    result = arguments.session(options, terminal, options.image, show).slim(destination, wanted)
    written = result.written
    if written is not None:
        sizes = (("unpacked", written.unpacked), ("packed", written.packed))
        told = written_text(result.destination, written.id, sizes, written.reused, written.written)
        output.write(told, None, terminal)
    return 0 if result.holds else 1


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
