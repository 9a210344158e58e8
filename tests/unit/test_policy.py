"""What a policy may say, and how it says no."""

from __future__ import annotations

import pytest

from slimmer.attribution import Owner
from slimmer.errors import SlimmerError
from slimmer.policy import Globs, Policy, PolicyError, Safety, Selector

RULE = 'action = "remove"\nsafety = "safe"\nwhy = "nobody reads it"\n'


def parse(text: str, **others: str) -> Policy:
    def find(name: str, source: str) -> Policy:
        return Policy.parse(others[name], name, find)

    return Policy.parse(text, "mine.toml", find)


@pytest.mark.parametrize(
    ("pattern", "path", "fits"),
    [
        ("*.a", b"usr/lib/libx.a", True),
        ("/usr/*.a", b"usr/lib/libx.a", False),
        ("/usr/**.a", b"usr/lib/libx.a", True),
        ("tests/", b"x/tests/data/1", True),
        ("tests/", b"x/tests", True),
        ("tests/", b"x/tests.py", False),
        ("tests/", b"x/mytests/1", False),
        ("/usr/share/doc/*/copyright", b"usr/share/doc/x/copyright", True),
        ("/usr/share/doc/*/copyright", b"usr/share/doc/x/y/copyright", False),
        ("/**/copyright", b"usr/share/doc/x/y/copyright", True),
        ("a[!b]c", b"axc", True),
        ("a[!b]c", b"abc", False),
        ("a?c", b"a/c", False),
        ("no\nline", b"no\nline", True),
    ],
)
def test_a_glob_fits_as_gitignore_taught_people(pattern: str, path: bytes, fits: bool):
    assert fits == (path in Globs([pattern]))


@pytest.mark.parametrize(
    ("pattern", "owner", "fits"),
    [
        ("torch", Owner("pip", "torch", "2"), True),
        ("pip:torch", Owner("pip", "torch", "2"), True),
        ("deb:torch", Owner("pip", "torch", "2"), False),
        ("pip:nvidia-*", Owner("pip", "nvidia-nccl-cu12"), True),
        ("app", Owner("app", ""), True),
    ],
)
def test_an_owner_is_named_with_or_without_its_kind(pattern: str, owner: Owner, fits: bool):
    assert fits == Selector(owners=(pattern,)).owner(owner)


def test_a_policy_extends_another_and_its_rules_replace_those_of_the_same_name():
    base = f'keep = ["a"]\n[rules.one]\n{RULE}[rules.two]\n{RULE}'
    policy = parse(
        'extends = ["base"]\nkeep = ["b"]\nsafety = "caution"\n'
        '[rules.one]\nsafety = "risky"\n[rules.two]\nenabled = false\n',
        base=base,
    )

    assert [("one", Safety.RISKY, "nobody reads it")] == [
        (rule.name, rule.safety, rule.why) for rule in policy.rules
    ]
    assert ("a", "b") == policy.keep.patterns
    assert Safety.CAUTION is policy.safety


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "the policy has no rules"),
        ("colour = 1", "there is no key 'colour'"),
        ("= 1", "mine.toml"),
        (
            "[rules.x]\n" + RULE.replace("remove", "burn"),
            "rules.x.action: there is no action 'burn'",
        ),
        ("[rules.x]\n" + RULE.replace('"safe"', '"sure"'), "rules.x.safety"),
        ('[rules.x]\naction = "remove"\nsafety = "safe"', "the key 'why' is missing"),
        ("[rules.x]\n" + RULE + "guards = ['none']", "there is no guard 'none'"),
        ("[rules.x]\n" + RULE + "match = { paths = ['a'] }", "rules.x.match: there is no key"),
        ("[rules.x]\n" + RULE + "match = { category = ['fun'] }", "there is no category 'fun'"),
        ("[rules.x]\n" + RULE + "match = { size = '1MB' }", "expected a size such as '>=1MB'"),
        ("[rules.x]\n" + RULE + "match = { size = '>=1G' }", "expected a size"),
        ("[rules.x]\n" + RULE + "match = { path = 3 }", "rules.x.match.path: expected a list"),
    ],
)
def test_what_a_policy_may_not_say_is_told_with_file_table_and_key(text: str, says: str):
    with pytest.raises(SlimmerError) as caught:
        parse(text)

    assert says in str(caught.value)
    assert "mine.toml" in str(caught.value)


def test_what_must_stay_is_an_owner_or_a_path():
    policy = parse(f"[rules.x]\n{RULE}").keeping(["pip:scipy", "*/nltk_data/", "a:b/c"])

    assert ("pip:scipy",) == policy.keep_owners
    assert ("*/nltk_data/", "a:b/c") == policy.keep.patterns


def test_an_option_goes_to_the_rules_of_its_action_or_to_a_rule_that_brings_it_in():
    policy = parse(f"[rules.x]\n{RULE}")
    lever = parse('[rules.cut]\naction = "device-code"\nsafety = "safe"\nwhy = "w"').rules[0]

    told = policy.with_options("device-code", lever, gpus="sm_90", mode=None)

    assert [(), (("gpus", "sm_90"),)] == [rule.options for rule in told.rules]
    assert told == told.with_options("device-code", lever, gpus="sm_90")


def test_a_policy_that_nobody_wrote_is_an_error_with_the_names_there_are():
    from slimmer.policy import find

    with pytest.raises(PolicyError) as caught:
        find("fearless", "./slimmer.toml")

    assert "fearless" in caught.value.message
    assert "TOML" in caught.value.hint


def test_a_pattern_that_only_shipped_policies_keep_is_told_from_ones_of_the_users():
    from slimmer.policy import find

    safe = find("safe", "")
    own = Policy.parse('extends = ["safe"]\nkeep = ["ptxas*", "mine/"]', "own.toml", find)

    assert set(safe.shipped_keep) == set(safe.keep.patterns)
    assert set(own.shipped_keep) == set(safe.shipped_keep) - {"ptxas*"}
    assert "certifi/" in own.shipped_keep
    assert "certifi/" not in own.keeping(["certifi/", "pip:x"]).shipped_keep
    assert not parse(f'keep = ["a"]\n[rules.x]\n{RULE}').shipped_keep


def test_every_action_and_every_guard_that_a_rule_may_name_is_there():
    from slimmer import actions
    from slimmer.plan import guards
    from slimmer.policy import GUARDS, ActionName

    known = actions.default()

    assert set(ActionName) == known.keys()
    assert {name: str(name) for name in ActionName} == {
        name: action.name for name, action in known.items()
    }
    assert set(GUARDS) == guards.GUARDS.keys()
