"""Symlinks that lose their target, or a symlink on the way to it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import given, settings
from hypothesis import strategies as st
from systems import facts, proposed, system
from thorough import examples

from slimmer.actions.remove import Remove
from slimmer.analysis.facts import ways
from slimmer.analysis.symlinks import dangling
from slimmer.policy import Globs, Rule, Safety, Selector

if TYPE_CHECKING:
    from slimmer.analysis.facts import Facts

DOCS = {"usr/share/doc/gcc-12-base/README": b"read me"}
OVER_A_FOLDER = {
    "usr/share/doc/gcc-12": "gcc-12-base",
    "usr/share/doc/gcc/README": "../gcc-12/README",
}


def broken(image: Facts, *removed: str) -> dict[str, tuple[str, ...]]:
    return {
        one.link.decode(): tuple(path.decode() for path in one.lost)
        for one in dangling(image, {path.encode() for path in removed})
    }


def test_a_symlink_needs_its_target():
    image = facts({"opt/a": b"a"}, symlinks={"etc/a": "/opt/a"})

    assert {} == broken(image)
    assert {"etc/a": ("opt/a",)} == broken(image, "opt/a")
    assert {} == broken(image, "opt/a", "etc/a")


def test_a_symlink_needs_every_symlink_on_its_way_in_the_place_of_folders_too():
    image = facts(DOCS, symlinks=OVER_A_FOLDER)

    assert [b"usr/share/doc/gcc-12"] == ways(image.index, b"usr/share/doc/gcc/README")
    assert {"usr/share/doc/gcc/README": ("usr/share/doc/gcc-12",)} == broken(
        image, "usr/share/doc/gcc-12"
    )


def test_a_symlink_to_a_folder_needs_something_in_it():
    image = facts({"opt/d/a": b"a", "opt/d/e/b": b"b"}, symlinks={"etc/d": "/opt/d"})

    assert {} == broken(image, "opt/d/a")
    assert {"etc/d": ("opt/d/a", "opt/d/e/b")} == broken(image, "opt/d/a", "opt/d/e/b")


def test_what_is_kept_leads_over_no_symlink_that_left():
    rule = Rule("docs", "remove", Safety.SAFE, "w", Selector(Globs(["/usr/share/doc/"])))
    given = system(DOCS, symlinks=OVER_A_FOLDER, keep=["/usr/share/doc/gcc/"])
    steps, _ = proposed(Remove(), given, rule)

    assert [] == steps


NAMES = st.sampled_from(["a", "b", "d/a", "d/b", "d/e/a", "f/a"])
LINKS = st.sampled_from(["l", "m", "d/l", "g", "g/l", "h"])
TARGETS = st.sampled_from(
    ["/a", "/d", "/d/a", "a", "../a", "/l", "/g", "/g/a", "/h/l", "/f", "e/a"]
)


@given(st.sets(NAMES, min_size=1), st.dictionaries(LINKS, TARGETS), st.sets(NAMES | LINKS))
@settings(max_examples=examples(400), deadline=None)
def test_no_symlink_that_stays_loses_its_target(
    files: set[str], links: dict[str, str], wanted: set[str]
):
    if "g" in links:
        links.pop("g/l", None)  # nothing lies below a symlink
    image = facts({name: name.encode() for name in files}, symlinks=links)
    chosen = Globs([f"/{name}" for name in sorted(wanted)] or ["/none"])
    rule = Rule("r", "remove", Safety.SAFE, "w", Selector(chosen))
    steps, _ = proposed(Remove(), image, rule)
    gone = {path for step in steps for path in step.removes}
    visible = {path: header for path, header in image.index.visible.items() if path not in gone}
    held = {path[: path.rfind(b"/")] if b"/" in path else b"" for path in visible}

    for link, target in image.symlinks:
        if link in visible:
            assert target in visible or any((b + b"/").startswith(target + b"/") for b in held)
            assert not gone & set(ways(image.index, link))
