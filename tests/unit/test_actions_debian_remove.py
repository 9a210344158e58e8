"""Debian packages leave in steps of their own, and out of a plan file too."""

from __future__ import annotations

from systems import debian, facts, library, package, planned

from slimmer.actions.debian.remove import RemoveDebianPackage
from slimmer.plan.plan import Plan
from slimmer.policy import Rule, Safety, Selector

LIB = "usr/lib/x86_64-linux-gnu"


def rule(*owners: str) -> Rule:
    selector = Selector(owners=owners)
    return Rule("build", "remove-debian-package", Safety.CAUTION, "nothing builds here", selector)


GCC = package("gcc", {"usr/bin/gcc": b"gcc"}, "cpp, libmpc3 (>= 1.1), libgomp1")


CPP = package("cpp", {"usr/bin/cpp": b"cpp"}, automatic=True)


MPC = package("libmpc3", {f"{LIB}/libmpc.so.3": library()}, "libgmp10", automatic=True)


GMP = package("libgmp10", {f"{LIB}/libgmp.so.10": library()}, automatic=True)


GOMP = package("libgomp1", {f"{LIB}/libgomp.so.1": library()}, automatic=True)


TOOLS = (GCC, CPP, MPC, GMP, GOMP)


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


def test_steps_are_consistent_alone_and_together_and_out_of_a_file():
    make = package("make", {"usr/bin/make": b"make"})
    image = facts(debian(*TOOLS, make))
    plan, books = after(image, "deb:gcc", "deb:make")
    again = Plan.read(plan.to_json(), image, {"remove-debian-package": RemoveDebianPackage()}, ())

    names = [line for line in books[b"var/lib/dpkg/status"].split(b"\n") if b"Package:" in line]
    assert names == [b"Package: dpkg"]
    assert again.changes.removed == plan.changes.removed
    assert again.after == plan.after
