"""Why an owner is in an image, and what leaves with each that brings it in."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from tiny import image, layer

from slimmer.analysis.dependencies import DependencyGraph
from slimmer.attribution import Attribution, Claim, Owner
from slimmer.evidence import Evidence
from slimmer.formats import text
from slimmer.formats.console import Display
from slimmer.index import Index
from slimmer.report.reasons import OwnerError, reasons

APP, TORCH, CUDNN, NUMPY = (
    Owner("pip", name, "1") for name in ("app", "torch", "nvidia-cudnn-cu12", "numpy")
)
CACHE = Owner("cache", "pip")
SIZES = {APP: 1, TORCH: 20, CUDNN: 300, NUMPY: 4000}
GRAPH = DependencyGraph.between(
    SIZES, {APP: [TORCH, NUMPY], TORCH: [CUDNN, NUMPY]}, [APP], {TORCH: ("triton>=3",)}
)


@dataclass(frozen=True)
class Told:
    """A rule that gives each owner one file of its size."""

    globs: tuple[tuple[str, int], ...] = ()

    def claims(self, index: Index) -> tuple[Claim, ...]:
        owners = (*SIZES, CACHE)
        return tuple(
            Claim(owner, f"a record of {owner.name}\x1b[31m", files=(owner.name.encode(),))
            for owner in owners
        )


LEDGER = Attribution.of(
    Index.scan(
        image(
            layer({owner.name: b"x" * size for owner, size in SIZES.items()} | {"pip": b"y" * 50})
        ),
        Evidence([]),
    ),
    [Told()],
)


def test_the_chains_lead_from_what_was_asked_for():
    (found,) = reasons(LEDGER, GRAPH, "nvidia-cudnn-cu12")

    assert (("pip:app 1", "pip:torch 1", "pip:nvidia-cudnn-cu12 1"),) == found.chains
    assert (300, 300) == (found.size, found.retained)


def test_each_link_says_what_leaves_with_it():
    (found,) = reasons(LEDGER, GRAPH, "pip:nvidia-cudnn-cu12")

    assert [
        ("pip:app 1", 4321, ("pip:numpy 1", "pip:nvidia-cudnn-cu12 1", "pip:torch 1"), True),
        ("pip:torch 1", 320, ("pip:nvidia-cudnn-cu12 1",), True),
        ("pip:nvidia-cudnn-cu12 1", 300, (), True),
    ] == [(link.owner, link.retained, link.leaves, link.takes_it_along) for link in found.links]


def test_what_others_need_too_stays():
    (found,) = reasons(LEDGER, GRAPH, "numpy")

    assert [("pip:app 1", True), ("pip:torch 1", False), ("pip:numpy 1", True)] == [
        (link.owner, link.takes_it_along) for link in found.links
    ]


def test_what_was_asked_for_says_so_with_what_it_misses():
    (app,) = reasons(LEDGER, GRAPH, "app")
    (torch,) = reasons(LEDGER, GRAPH, "TORCH")

    assert (True, False) == (app.requested, torch.requested)
    assert ("triton>=3",) == torch.unmet


@pytest.mark.parametrize("name", ["cache:pip", "pip", "Cache:Pip"])
def test_an_owner_that_nothing_can_require_has_evidence(name: str):
    (found,) = reasons(LEDGER, GRAPH, name)

    assert ("cache:pip", 50, None, ()) == (found.owner, found.size, found.retained, found.chains)
    assert (r"a record of pip\x1b[31m",) == found.evidence


def test_a_name_that_is_nowhere_gets_names_that_are_close():
    with pytest.raises(OwnerError, match="nothing in the image is called 'numpi'") as caught:
        reasons(LEDGER, GRAPH, "numpi")
    assert "did you mean numpy?" == caught.value.hint

    with pytest.raises(OwnerError) as caught:
        reasons(LEDGER, GRAPH, "qqqqqqqqq")
    assert "slimmer inspect IMAGE --by owner" in caught.value.hint


@pytest.mark.parametrize("unicode", [True, False])
def test_the_text_shows_chains_and_links(unicode: bool):
    made = text.render_reasons(reasons(LEDGER, GRAPH, "numpy"), Display(100, unicode=unicode))

    arrow = "→" if unicode else "->"
    assert f"pip:app 1 {arrow} pip:numpy 1" in made
    assert "no, others need it" in made
    assert all(line.isprintable() for line in made.splitlines())
    assert made.isascii() != unicode
