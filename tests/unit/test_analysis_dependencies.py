"""Who requires whom, and what would leave with whom."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st
from thorough import examples
from tiny import config, image, layer

from slimmer import owners
from slimmer.analysis.dependencies import DependencyGraph
from slimmer.attribution import Attribution, Owner
from slimmer.image import Config, Image
from slimmer.index import Index

SITE = "usr/local/lib/python3.11/site-packages"


def installed(
    name: str, *requires: str, version: str = "1", site: str = SITE, size: int = 10
) -> dict[str, bytes]:
    """A distribution of one file of `size` bytes; a requirement per text."""
    folder = f"{site}/{name}-{version}.dist-info"
    lines = [f"Name: {name}", f"Version: {version}", *(f"Requires-Dist: {r}" for r in requires)]
    return {
        f"{site}/{name}.so": bytes(size),
        f"{folder}/METADATA": "\n".join([*lines, "", ""]).encode(),
        f"{folder}/RECORD": f"{name}.so,,\n{folder.rpartition('/')[2]}/METADATA,,\n".encode(),
    }


PYTHON = {
    "usr/local/lib/python3.11/os.py": b"",
    "usr/local/include/python3.11/patchlevel.h": b'#define PY_VERSION "3.11.9"\n',
}


def graph(*parts: dict[str, bytes], architecture: str = "amd64") -> DependencyGraph:
    files: dict[str, bytes | None] = dict(PYTHON)
    for part in parts:
        files.update(part)
    built = image(layer(files), created_by=["COPY x /srv"])
    if architecture != "amd64":
        raw = config([layer(files)], ["COPY x /srv"]).replace(
            b'"amd64"', f'"{architecture}"'.encode()
        )
        content = built.layers[0].content
        built = Image.of("tiny:latest", Config.parse(raw), [(content, None, None)])
    index = Index.scan(built, owners.evidence())
    return DependencyGraph.of(Attribution.of(index, owners.default))


def names(owners: object) -> list[str]:
    return [owner.name for owner in owners]  # type: ignore[attr-defined]


def requires(graph: DependencyGraph, name: str) -> list[str]:
    (owner,) = graph.find(name)
    return sorted(names(graph.distributions[owner].requires))


def test_roots_are_what_nothing_requires_and_what_was_asked_for():
    marked = {f"{SITE}/low-1.dist-info/REQUESTED": b""}
    held = graph(installed("top", "low", "mid"), installed("low"), installed("mid"), marked)

    assert {"top", "low"} == set(names(held.roots))


def test_a_circle_that_nothing_leads_to_stays_together():
    held = graph(
        installed("a", "b"), installed("b", "a"), installed("c", "a"), installed("c2", "c")
    )
    alone = graph(installed("a", "b"), installed("b", "a"))

    assert ["c2"] == names(held.roots)
    assert {"a", "b"} == set(names(alone.roots))


def test_retained_is_what_only_it_needs():
    held = graph(
        installed("top", "left", "right", size=1000),
        installed("left", "shared", "own", size=2000),
        installed("right", "shared", size=4000),
        installed("shared", size=8000),
        installed("own", size=16000),
    )
    size = {owner.name: held.distributions[owner].size for owner in held.distributions}
    (left,), (top,) = held.find("left"), held.find("top")

    assert size["left"] + size["own"] == held.retained(left)
    assert sum(size.values()) == held.retained(top)
    assert {"left", "own"} == set(names(held.leaves_with("left")))
    assert held.retained(Owner("cache", "pip")) is None


def test_chains_tell_why_it_is_there_shortest_first():
    held = graph(
        installed("top", "left", "low"),
        installed("left", "low"),
        installed("low"),
        installed("b", "left"),
    )

    assert [["top", "low"], ["b", "left", "low"]] == [names(chain) for chain in held.chains("low")]
    assert [["top"]] == [names(chain) for chain in held.chains("top")]
    assert () == held.chains("nobody")


def test_owners_are_found_by_name_kind_and_version():
    held = graph(installed("low", version="1"), installed("Low_Er", version="2"))

    assert held.find("pip:low") == held.find("low") == held.find("low 1")
    assert (Owner("pip", "low-er", "2"),) == held.find("low.er")
    assert () == held.find("deb:low") == held.find("low 3")


def node(number: int) -> Owner:
    return Owner("pip", f"n{number}")


@st.composite
def graphs(draw: st.DrawFn) -> DependencyGraph:
    count = draw(st.integers(1, 9))
    numbers = st.integers(0, count - 1)
    edges = draw(st.lists(st.tuples(numbers, numbers), max_size=24))
    requested = draw(st.sets(numbers, max_size=2))
    return DependencyGraph.between(
        {node(number): 1 << number for number in range(count)},
        {
            node(number): [node(to) for start, to in edges if start == number]
            for number in range(count)
        },
        [node(number) for number in requested],
    )


def reachable(graph: DependencyGraph, without: Owner | None) -> set[Owner]:
    todo = [owner for owner in graph.roots if owner != without]
    reached = set(todo)
    while todo:
        for other in graph.distributions[todo.pop()].requires:
            if other not in reached and other != without:
                reached.add(other)
                todo.append(other)
    return reached


@settings(max_examples=examples(500), deadline=None)
@given(held=graphs())
def test_retained_equals_what_a_walk_without_it_no_longer_reaches(held: DependencyGraph):
    everything = reachable(held, None)
    assert everything == set(held.distributions)
    for owner in held.distributions:
        gone = everything - reachable(held, owner)
        assert gone == set(held.leaves_with(owner))
        assert sum(held.distributions[one].size for one in gone) == held.retained(owner)


@settings(max_examples=examples(300), deadline=None)
@given(held=graphs())
def test_roots_are_requested_or_required_by_nobody_outside_their_circle(held: DependencyGraph):
    for root in held.roots:
        distribution = held.distributions[root]
        if not distribution.requested:
            below = {root}
            todo = [root]
            while todo:
                for other in held.distributions[todo.pop()].requires:
                    if other not in below:
                        below.add(other)
                        todo.append(other)
            assert set(distribution.required_by) <= below


@settings(max_examples=examples(300), deadline=None)
@given(held=graphs())
def test_chains_are_walks_from_a_root_and_none_is_longer_than_needed(held: DependencyGraph):
    for owner in held.distributions:
        chains = held.chains(owner)
        assert chains
        for chain in chains:
            assert chain[0] in held.roots
            assert chain[-1] == owner
            assert len(set(chain)) == len(chain)
            for one, other in pairwise(chain):
                assert other in held.distributions[one].requires


def test_a_chain_of_ten_thousand_is_no_deeper_than_any_other():
    sizes = {node(number): 1 for number in range(10_000)}
    held = DependencyGraph.between(sizes, {node(n): [node(n + 1)] for n in range(9_999)})

    assert 10_000 == held.retained(node(0))
    assert 10_000 == len(held.chains(node(9_999))[0])
