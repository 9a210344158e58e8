"""Images of many kinds: the program itself is run before and after, and must answer alike.

`SLIMMER_KEEP_IMAGES=1` builds in the engine that runs already and leaves all images there, as
`slimtest/NAME:before` and `slimtest/NAME:POLICY`.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from recipes import HANDED, HERE, MissingError, Recipe, Workshop, announced, changed, recipes

pytestmark = pytest.mark.compat

KEPT = bool(os.environ.get("SLIMMER_KEEP_IMAGES"))
OURS = recipes(HERE)
HANDED_IN = recipes(HANDED)
CASES = [
    pytest.param(recipe, policy, id=f"{recipe.name}-{policy}")
    for recipe in OURS + HANDED_IN
    for policy in recipe.policies
]
BAD_POLICY = """
name = "bad"
description = "takes what the program serves"
safety = "safe"
[rules.served]
action = "remove"
safety = "safe"
why = "a rule that is wrong about this image"
evidence = "none"
match.path = ["/app/static/test/"]
"""


@pytest.fixture(scope="session")
def workshop(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    if KEPT:
        engine = os.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock")
        debian = "reference:base"
    else:
        engine = request.getfixturevalue("docker_socket")
        debian = request.getfixturevalue("debian")
    slimmer = Path(sys.executable).with_name("slimmer")
    return Workshop(engine, str(slimmer), tmp_path_factory.mktemp("scans"), debian)


def before(recipe: Recipe, workshop: Workshop) -> str:
    """The tag of the image as it was built."""
    try:
        return workshop.image(recipe)
    except MissingError as error:
        pytest.skip(str(error))


def test_recipes_were_handed_in():
    if not HANDED_IN:
        pytest.skip(f"there is no {HANDED}")

    assert all(recipe.checks for recipe in HANDED_IN)


def test_there_are_ten_kinds():
    assert len(OURS) >= 10
    assert all(len(recipe.checks) >= 3 for recipe in OURS)


@pytest.mark.parametrize(("recipe", "policy"), CASES)
def test_the_program_answers_as_before(
    recipe: Recipe, policy: str, workshop: Workshop, tmp_path: Path
):
    right = workshop.answers(recipe, before(recipe, workshop))
    plan = workshop.plan(recipe, policy, tmp_path / "plan.json")
    slim = workshop.slim(recipe, f"slimtest/{recipe.name}:{policy}", tmp_path / "plan.json")
    answers = workshop.answers(recipe, slim)
    if not KEPT:
        workshop.drop(slim)

    allowed = recipe.breaks.get(policy, {})
    wrong = {
        name: told
        for name, told in changed(right, answers)
        if name not in allowed or not announced(plan, allowed[name])
    }
    known = recipe.known.get(policy, {})
    if wrong and wrong.keys() <= known.keys():
        pytest.xfail("; ".join(f"{name}: {known[name]}" for name in sorted(wrong)))
    assert {} == wrong


def test_a_plan_that_takes_what_the_program_needs_is_seen(workshop: Workshop, tmp_path: Path):
    """What these tests would miss if they asked nothing, or asked the wrong image."""
    recipe = Recipe.read(HERE / "nginx")
    right = workshop.answers(recipe, before(recipe, workshop))
    (tmp_path / "bad.toml").write_text(BAD_POLICY)
    plan = workshop.plan(recipe, str(tmp_path / "bad.toml"), tmp_path / "plan.json")
    slim = workshop.slim(recipe, "slimtest/nginx:bad", tmp_path / "plan.json")
    answers = workshop.answers(recipe, slim)
    workshop.drop(slim)

    assert ["served"] == [name for name, _ in changed(right, answers)]
    assert not announced(plan, "served")
