"""The tree of an image adds up to the byte, whatever it leaves out."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from thorough import examples
from tiny import image, layer

from slimmer.attribution import Attribution, Claim, Owner
from slimmer.elf.contents import Binary
from slimmer.evidence import Evidence
from slimmer.index import Index
from slimmer.report.report import Report
from slimmer.report.tree import NODES, Node, Tree

TORCH = Owner("pip", "torch", "2.9.0")
SITE = "usr/lib/python3.11/site-packages"


@dataclass(frozen=True)
class Says:
    """A rule that claims what the test tells it to."""

    claimed: tuple[Claim, ...]
    globs: tuple[tuple[str, int], ...] = ()

    def claims(self, index: Index) -> tuple[Claim, ...]:
        return self.claimed


def ledger(*tars: bytes, binaries: dict[bytes, Binary] | None = None) -> Attribution:
    index = Index.scan(image(*tars), Evidence([]))
    trees = (f"{SITE}/torch".encode(), f"{SITE}/torch-2.9.0.dist-info".encode(), b"usr/bin/torch")
    return Attribution.of(index, [Says((Claim(TORCH, "RECORD", trees=trees),))], binaries)


IMAGE = (
    layer(
        {
            f"{SITE}/torch/lib/libtorch.so": b"t" * 5000,
            f"{SITE}/torch/__init__.py": b"p" * 300,
            f"{SITE}/torch/nn/a.py": b"p" * 7,
            f"{SITE}/torch/nn/b.py": b"p" * 8,
            f"{SITE}/torch-2.9.0.dist-info/RECORD": b"r" * 40,
            "usr/bin/torch": b"b" * 20,
            "etc/empty": b"",
            "etc/old": b"o" * 4,
            "var/a/b/c/d": b"x" * 50,
        }
    ),
    layer({"etc/old": b"new"}, removed=["var/a"]),
)


def below(tree: Tree) -> dict[int, list[Node]]:
    found: dict[int, list[Node]] = defaultdict(list)
    for node in tree.nodes[1:]:
        found[node.parent].append(node)
    return found


def adds_up(tree: Tree, report: Report) -> None:
    """Every node is the sum of its parts; owners are the report's, by category too."""
    parts = below(tree)
    for place, node in enumerate(tree.nodes):
        assert node.parent < place
        if place in parts:
            assert node.size == sum(part.size for part in parts[place]), node
    assert report.unpacked == tree.nodes[0].size
    owners = {node.name: place for place, node in enumerate(tree.nodes) if node.kind == "owner"}
    assert {row.label for row in report.owners if row.size} == owners.keys()
    for row in report.owners:
        if row.size:
            categories: dict[str, int] = defaultdict(int)
            todo = [owners[row.label]]
            while todo:
                place = todo.pop()
                if place in parts:
                    todo += (at for at, node in enumerate(tree.nodes) if node.parent == place)
                else:
                    categories[tree.nodes[place].category] += tree.nodes[place].size
            assert row.categories == categories


def test_every_node_is_the_sum_of_its_parts():
    found = ledger(*IMAGE)
    report = Report.of(found)

    adds_up(Tree.of(report, found), report)


def test_folders_on_the_way_to_an_owners_bytes_are_passed_over():
    found = ledger(*IMAGE)
    tree = Tree.of(Report.of(found), found)

    (torch,) = (place for place, node in enumerate(tree.nodes) if node.name == "pip:torch 2.9.0")
    names = {node.name for node in below(tree)[torch]}
    assert {f"{SITE}/torch", f"{SITE}/torch-2.9.0.dist-info", "usr/bin"} == names


def test_hidden_bytes_have_their_place():
    found = ledger(*IMAGE)
    tree = Tree.of(Report.of(found), found)

    hidden = [(node.name, node.size) for node in tree.nodes if node.kind == "hidden"]
    assert [
        ("hidden bytes", 54),
        ("layer 1: deleted in layer 0", 50),
        ("layer 1: overwritten in layer 0", 4),
    ] == hidden


def test_a_library_is_parted_by_what_is_inside():
    path = f"{SITE}/torch/lib/libtorch.so".encode()
    found = ledger(*IMAGE, binaries={path: Binary({"sm_90": 3000}, 500)})
    report = Report.of(found)
    tree = Tree.of(report, found)

    (place,) = (at for at, node in enumerate(tree.nodes) if node.name == "libtorch.so")
    assert {"device code": 3000, "debug symbols": 500, "native libraries": 1500} == {
        part.name: part.size for part in below(tree)[place]
    }
    adds_up(tree, report)


def test_without_a_ledger_it_ends_at_the_categories_of_owners():
    report = Report.of(ledger(*IMAGE))
    tree = Tree.of(report)

    assert {"image", "owner", "kind", "hidden"} == {node.kind for node in tree.nodes}
    adds_up(tree, report)


def test_a_filter_narrows_it_as_it_narrows_the_report():
    found = ledger(*IMAGE)
    tree = Tree.of(Report.of(found, pattern="*.py"), found, "*.py")

    assert 315 == tree.nodes[0].size
    assert not [node for node in tree.nodes if node.name == "libtorch.so"]


def test_a_folder_of_any_depth_is_no_trouble():
    found = ledger(layer({"/".join("d" * 1500) + "/deep": b"x" * 9, "d/top": b"y"}))
    report = Report.of(found)

    adds_up(Tree.of(report, found), report)


def test_many_files_of_one_size_stay_a_bounded_tree():
    files = {f"d{number % 90}/f{number}": b"x" * 64 for number in range(2 * NODES)}
    found = ledger(layer(files))
    report = Report.of(found)
    tree = Tree.of(report, found)

    assert len(tree.nodes) <= NODES
    adds_up(tree, report)


NAMES = st.sampled_from(["a", "b", "__proto__", "c.py", "d.so", "e.txt"])


@settings(max_examples=examples(60), deadline=None)
@given(
    st.dictionaries(
        st.lists(NAMES, min_size=1, max_size=5).map(lambda steps: "/".join([*steps, "file.py"])),
        st.integers(0, 3000),
        max_size=30,
    )
)
def test_any_image_adds_up(files: dict[str, int]):
    found = ledger(layer({path: b"x" * size for path, size in files.items()}))
    report = Report.of(found)

    adds_up(Tree.of(report, found), report)


@pytest.mark.parametrize("detail", [True, False])
def test_the_same_image_gives_the_same_tree(detail: bool):
    one, two = ledger(*IMAGE), ledger(*IMAGE)

    assert Tree.of(Report.of(one), one if detail else None) == Tree.of(
        Report.of(two), two if detail else None
    )
