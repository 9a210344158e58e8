"""Debian packages that leave whole, and what holds them."""

from __future__ import annotations

import pytest
from systems import debian, facts, library, package, planned, proposed, system

from slimmer.actions.debian.remove import RemoveDebianPackage
from slimmer.plan.plan import Plan
from slimmer.policy import Rule, Safety, Selector

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


def test_a_package_leaves_with_what_apt_brought_for_it():
    assert outcome(facts(debian(*TOOLS)), "deb:gcc") == (
        [{"gcc", "cpp", "libmpc3", "libgmp10", "libgomp1"}],
        {},
    )


def test_what_somebody_asked_for_stays():
    asked = package("libgmp10", {f"{LIB}/libgmp.so.10": library()})

    assert outcome(facts(debian(GCC, CPP, MPC, asked, GOMP)), "deb:gcc")[0] == [
        {"gcc", "cpp", "libmpc3", "libgomp1"}
    ]


@pytest.mark.parametrize(
    ("depends", "stays"),
    [
        ({"depends": "libgmp10"}, {"libgmp10"}),
        ({"depends": "no-such | libgmp10 (>= 2)"}, {"libgmp10"}),
        ({"recommends": "libmpc3"}, {"libmpc3", "libgmp10"}),
        ({"depends": "libc-compiler"}, {"cpp"}),
    ],
)
def test_what_a_package_that_stays_wants_stays(depends: dict[str, str], stays: set[str]):
    cpp = package("cpp", {"usr/bin/cpp": b"cpp"}, provides="libc-compiler (= 1)", automatic=True)
    other = package("other", {"usr/bin/other": b"x"}, **depends)
    image = facts(debian(GCC, cpp, MPC, GMP, GOMP, other))

    [left] = outcome(image, "deb:gcc")[0]
    assert left == {"gcc", "cpp", "libmpc3", "libgmp10", "libgomp1"} - stays


def test_a_selected_package_that_another_depends_on_is_refused_with_who_does():
    other = package("other", {"usr/bin/other": b"x"}, "gcc | clang")
    image = facts(debian(*TOOLS, other))

    assert outcome(image, "deb:gcc") == ([], {"deb:gcc": "other depends on it"})
    assert outcome(image, "deb:gcc", "deb:other") == (
        [{"gcc", "other"} | {"cpp", "libmpc3", "libgmp10", "libgomp1"}],
        {},
    )


def test_of_alternatives_only_one_has_to_stay():
    clang = package("clang", {"usr/bin/clang": b"c"})
    other = package("other", {"usr/bin/other": b"x"}, "gcc | clang")

    assert outcome(facts(debian(*TOOLS, clang, other)), "deb:gcc")[1] == {}


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


@pytest.mark.parametrize("field", ["Essential: yes", "Priority: required", "Priority: important"])
def test_what_dpkg_holds_dear_stays(field: str):
    image = facts(debian(package("cc", {"usr/bin/cc": b"x"}, fields=field + "\n")))
    steps, told = outcome(image, "deb:cc")

    assert steps == []
    assert told.keys() == {"deb:cc"}


def test_what_the_user_keeps_stays():
    assert outcome(system(debian(*TOOLS), keep_owners=["deb:gcc"]), "deb:gcc")[0] == []
    assert outcome(system(debian(*TOOLS), keep=["/usr/bin/gcc"]), "deb:gcc")[1] == {
        "deb:gcc": "the policy keeps usr/bin/gcc"
    }


def test_packages_that_nothing_connects_are_steps_of_their_own():
    make = package("make", {"usr/bin/make": b"make"})

    assert outcome(facts(debian(*TOOLS, make)), "deb:gcc", "deb:make")[0] == [
        {"gcc", "cpp", "libmpc3", "libgmp10", "libgomp1"},
        {"make"},
    ]


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


def test_a_file_that_two_packages_list_stays_with_the_other():
    shared = {"usr/share/both": b"both"}
    files = debian(
        package("one", {"usr/bin/one": b"1", **shared}),
        package("two", {"usr/bin/two": b"2", **shared}),
    )
    plan, _ = after(facts(files), "deb:one")
    assert b"usr/share/both" not in plan.changes.removed

    plan, _ = after(facts(files), "deb:one", "deb:two")
    assert b"usr/share/both" in plan.changes.removed
    assert len(plan.steps) == 1  # neither leaves it behind without the other


def test_steps_are_consistent_alone_and_together_and_out_of_a_file():
    make = package("make", {"usr/bin/make": b"make"})
    image = facts(debian(*TOOLS, make))
    plan, books = after(image, "deb:gcc", "deb:make")
    again = Plan.read(plan.to_json(), image, {"remove-debian-package": RemoveDebianPackage()}, ())

    names = [line for line in books[b"var/lib/dpkg/status"].split(b"\n") if b"Package:" in line]
    assert names == [b"Package: dpkg"]
    assert again.changes.removed == plan.changes.removed
    assert again.after == plan.after


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


def test_a_package_that_diverts_files_of_others_stays():
    make = package("make", {"usr/bin/make": b"make"})
    diverted = b"/usr/bin/other\n/usr/bin/other.distrib\nmake\n"
    image = facts({**debian(make), "var/lib/dpkg/diversions": diverted})

    assert outcome(image, "deb:make") == (
        [],
        {"deb:make": "it diverts files of other packages"},
    )
