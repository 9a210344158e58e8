"""dpkg's and apt's books agree with what left."""

from __future__ import annotations

from typing import TYPE_CHECKING

from systems import debian, facts, library, package, planned, proposed

from slimmer.actions.debian.remove import RemoveDebianPackage
from slimmer.policy import Rule, Safety, Selector

if TYPE_CHECKING:
    from slimmer.plan.plan import Plan

LIB = "usr/lib/x86_64-linux-gnu"


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


def test_the_books_agree_that_it_left():
    licence = {"usr/share/doc/gcc/copyright": b"GPL"}
    gcc = package("gcc", {"usr/bin/gcc": b"gcc", **licence}, "cpp")
    files = debian(gcc, CPP, package("gcc-doc", {"usr/share/x": b"x"}))
    files |= {
        "var/lib/dpkg/info/gcc.postinst": b"#!/bin/sh",
        "var/lib/dpkg/info/cpp:amd64.triggers": b"x",
        "var/lib/dpkg/triggers/File": b"/usr/share/x gcc-doc\n/usr/lib/gcc gcc/noawait\n",
        "var/lib/dpkg/triggers/own": b"cpp\n",
    }
    plan, books = after(facts(files), "deb:gcc")

    gone = {path.decode() for path in plan.changes.removed}
    assert gone >= {
        "usr/bin/gcc",
        "usr/bin/cpp",
        *(f"var/lib/dpkg/info/gcc.{end}" for end in ("list", "md5sums", "postinst")),
        *(f"var/lib/dpkg/info/cpp{end}" for end in (".list", ".md5sums", ":amd64.triggers")),
        "var/lib/dpkg/triggers/own",
    }
    assert not any("gcc-doc" in path or "copyright" in path for path in gone)
    status = books[b"var/lib/dpkg/status"].decode()
    assert [line for line in status.splitlines() if line.startswith("Package")] == [
        "Package: dpkg",
        "Package: gcc-doc",
    ]
    assert "\n\n\n" not in status
    assert books[b"var/lib/apt/extended_states"].strip() == b""
    assert books[b"var/lib/dpkg/triggers/File"] == b"/usr/share/x gcc-doc\n"
    before, promised = plan.before.unpacked, plan.after.unpacked
    assert before - promised == plan.steps[0].unpacked


def test_odd_books_do_no_harm():
    files = {
        **debian(*TOOLS),
        "var/lib/dpkg/alternatives/odd": b"",
        "var/lib/dpkg/alternatives/cut": b"auto\n/usr/bin/x",
        "var/lib/dpkg/alternatives/bytes": bytes(range(256)),
        "var/lib/dpkg/triggers/File": b"\n\xff\n",
    }
    files["var/lib/dpkg/status"] += b"Package:\nStatus: x\n\nnonsense\n"

    assert outcome(facts(files), "deb:gcc")[0]
    assert outcome(facts({"a": b""}), "deb:gcc") == ([], {})
