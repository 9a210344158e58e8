"""What holds a Debian package that no other package depends on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from systems import debian, facts, library, package, planned, proposed, system

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


def test_no_elf_file_loses_a_library():
    own = {**debian(*TOOLS), "opt/model.so": library("libgomp.so.1")}
    [left] = outcome(facts(own), "deb:gcc")[0]
    selected = outcome(facts(own), "deb:gcc", "deb:libgomp1")[1]

    assert left == {"gcc", "cpp", "libmpc3", "libgmp10"}
    assert selected == {"deb:libgomp1": "opt/model.so links libgomp.so.1"}


def test_what_stays_for_a_programs_sake_is_not_taken_by_the_next_autoremove():
    own = {**debian(*TOOLS), "opt/model.so": library("libgomp.so.1")}
    _, books = after(facts(own), "deb:gcc")

    assert books[b"var/lib/apt/extended_states"].strip() == b""  # no mark left: libgomp1 is wanted

    wanted = package("other", {"usr/bin/other": b"x"}, "libgomp1")
    _, books = after(facts({**own, **debian(*TOOLS, wanted)}), "deb:gcc")
    assert b"Package: libgomp1" in books[b"var/lib/apt/extended_states"]


def test_a_library_that_a_program_may_open_stays():
    own = {**debian(*TOOLS), "opt/tool.py": b"ctypes.CDLL('libgmp.so')"}

    assert outcome(facts(own), "deb:gcc")[0] == [{"gcc", "cpp", "libmpc3", "libgomp1"}]


def test_a_script_keeps_its_interpreter_but_an_example_does_not():
    make = package("make", {"usr/bin/make": b"make"})
    script = {"usr/local/bin/rules": b"#!/usr/bin/make -f\n"}
    example = {"usr/share/doc/x/examples/rules": b"#!/usr/bin/make -f\n"}

    def with_script(files: dict[str, bytes]):
        return outcome(facts({**debian(make), **files}, executable=list(files)), "deb:make")

    assert with_script(script) == ([], {"deb:make": "usr/local/bin/rules runs by it"})
    assert with_script(example) == ([{"make"}], {})


def test_a_symlink_of_the_users_keeps_its_target():
    image = facts(debian(*TOOLS), symlinks={"usr/local/bin/cc": "/usr/bin/gcc"})

    assert outcome(image, "deb:gcc")[1] == {"deb:gcc": "usr/local/bin/cc leads to it"}


def test_what_the_user_keeps_stays():
    assert outcome(system(debian(*TOOLS), keep_owners=["deb:gcc"]), "deb:gcc")[0] == []
    assert outcome(system(debian(*TOOLS), keep=["/usr/bin/gcc"]), "deb:gcc")[1] == {
        "deb:gcc": "the policy keeps usr/bin/gcc"
    }


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


def test_a_package_that_diverts_files_of_others_stays():
    make = package("make", {"usr/bin/make": b"make"})
    diverted = b"/usr/bin/other\n/usr/bin/other.distrib\nmake\n"
    image = facts({**debian(make), "var/lib/dpkg/diversions": diverted})

    assert outcome(image, "deb:make") == (
        [],
        {"deb:make": "it diverts files of other packages"},
    )
