"""Which policy applies: the one that is asked for, with the project's rules and what users say."""

from __future__ import annotations

from dataclasses import replace
from pathlib import PurePath
from typing import TYPE_CHECKING

from slimmer.app.settings import FILES, load_settings
from slimmer.policy import ActionName, Policy, Safety, find, shipped

if TYPE_CHECKING:
    from slimmer.app.options import PlanOptions


def shipped_policies() -> tuple[Policy, ...]:
    """The policies that come with slimmer, by name.

    >>> [policy.name for policy in slimmer.shipped_policies()]
    ['aggressive', 'balanced', 'safe']
    """
    return tuple(find(name, "") for name in shipped_names())


def shipped_names() -> list[str]:
    return sorted(path.stem for path in shipped().glob("*.toml") if path.stem != "platforms")


def named_policy(name: str) -> Policy:
    """The policy of that name or file, or the one that a settings file is. Raises SlimmerError.

    >>> slimmer.named_policy("safe").safety
    <Safety.SAFE: 0>
    """
    if PurePath(name).name in [file for file, _ in FILES]:
        return load_settings(name).chosen("", find)
    return find(name, "./slimmer.toml")


def policy_for(options: PlanOptions) -> Policy:
    """The policy that the options and their settings name, with what they say beside it.

    >>> slimmer.policy_for(slimmer.PlanOptions(keep=("pip:toolz",))).keep_owners
    ('pip:toolz',)
    """
    project = options.settings
    if options.policy:
        # A path that the caller names is meant from the working folder.
        policy = project.chosen(
            options.policy,
            lambda name, source: find(name, "./x" if name == options.policy else source),
        )
    else:
        policy = project.chosen("", find)
    balanced = {rule.action: rule for rule in find("balanced", "").rules}
    if options.gpu:
        policy = policy.with_options(
            ActionName.DEVICE_CODE,
            balanced.get(ActionName.DEVICE_CODE),
            gpus=options.gpu,
            mode=options.gpu_mode or None,
        )
    if options.swap or options.gpu:
        wanted = bool(options.swap) or options.gpu == "none"
        policy = policy.with_options(
            ActionName.SWAP,
            balanced.get(ActionName.SWAP) if wanted else None,
            swaps=list(options.swap) or None,
            find_links=list(options.find_links) or None,
            index_url=options.index_url or None,
            gpus=options.gpu or None,
        )
        if wanted:  # asking for it is accepting it
            policy = replace(policy, safety=max(policy.safety, Safety.CAUTION))
    return policy.keeping(options.keep)


def bolder(options: PlanOptions) -> list[str]:
    """Arguments of the command line that were not given and take more out of an image."""
    policy = options.policy or options.settings.policy or "safe"
    ways = []
    if policy == "safe":
        ways.append("--policy balanced")
    elif policy == "balanced":
        ways.append("--policy aggressive")
    if not options.gpu:
        ways.append("--gpu NAMES (device code of other GPUs leaves)")
    if not options.swap:
        ways.append("--swap torch=cpu (where no GPU is met)")
    return ways or ["--accept risky"]
