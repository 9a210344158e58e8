"""What becomes of alternatives when their choices leave."""

from __future__ import annotations

from typing import TYPE_CHECKING

from systems import debian, facts, package, planned, proposed

from slimmer.actions.debian.remove import RemoveDebianPackage
from slimmer.policy import Rule, Safety, Selector

if TYPE_CHECKING:
    from slimmer.plan.plan import Plan


def rule(*owners: str) -> Rule:
    selector = Selector(owners=owners)
    return Rule("build", "remove-debian-package", Safety.CAUTION, "nothing builds here", selector)


def outcome(image, *owners: str) -> tuple[list[set[str]], dict[str, str]]:
    """Packages by step, and the evidence for those that stay."""
    steps, refusals = proposed(RemoveDebianPackage(), image, rule(*owners))
    return (
        [set(dict(step.options)["packages"]) for step in steps],
        {refusal.target: refusal.evidence for refusal in refusals},
    )


def after(image, *owners: str) -> tuple[Plan, dict[bytes, bytes]]:
    """The plan, and the books of dpkg and apt as they will be."""
    plan = planned(image, RemoveDebianPackage(), rule(*owners))
    books: dict[bytes, bytes] = {}
    for edit, layer in zip(plan.changes.edits, image.index.layers, strict=True):
        starts = {header.start: header.path for header in layer.headers}
        for start, splice in edit.splices.items():
            path = starts[start]
            [(_, old)] = image.contents([path])
            parts = [old[piece.offset : piece.offset + piece.length] for piece in splice.pieces]
            books[path] = b"".join(parts)
    return plan, books


ALTERNATIVES = {
    "usr/bin/cc": "/etc/alternatives/cc",
    "etc/alternatives/cc": "/usr/bin/gcc",
    "usr/share/man/man1/cc.1.gz": "/etc/alternatives/cc.1.gz",
    "etc/alternatives/cc.1.gz": "/usr/share/man/man1/gcc.1.gz",
}


RECORD = (
    "auto\n/usr/bin/cc\ncc.1.gz\n/usr/share/man/man1/cc.1.gz\n\n"
    "/usr/bin/gcc\n20\n/usr/share/man/man1/gcc.1.gz\n"
)


def test_alternatives_leave_with_their_last_choice():
    gcc = package("gcc", {"usr/bin/gcc": b"x", "usr/share/man/man1/gcc.1.gz": b"m"})
    files = {**debian(gcc), "var/lib/dpkg/alternatives/cc": (RECORD + "\n").encode()}
    plan, _ = after(facts(files, symlinks=ALTERNATIVES), "deb:gcc")

    left = {path.decode() for path in plan.changes.after.visible}
    assert not left & {*ALTERNATIVES, "var/lib/dpkg/alternatives/cc"}


def test_a_choice_among_several_leaves_unless_it_is_the_current_one():
    gcc = package("gcc", {"usr/bin/gcc": b"x", "usr/share/man/man1/gcc.1.gz": b"m"})
    clang = package("clang", {"usr/bin/clang": b"c"})
    record = RECORD + "/usr/bin/clang\n10\n\n\n"
    files = {**debian(gcc, clang), "var/lib/dpkg/alternatives/cc": record.encode()}
    image = facts(files, symlinks=ALTERNATIVES)

    _, books = after(image, "deb:clang")
    assert books[b"var/lib/dpkg/alternatives/cc"] == (RECORD + "\n").encode()
    assert outcome(image, "deb:gcc") == ([], {"deb:gcc": "it is the current choice for cc"})
