"""What is looked for with pip: a name and a version, whatever a plan file or an image says."""

from __future__ import annotations

import re
import subprocess
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from thorough import examples

from slimmer.actions.swap.wheels import Target, WheelError, Wheels

if TYPE_CHECKING:
    from collections.abc import Sequence

TARGET = Target((3, 11), "3.11.2", "cp311", ("manylinux_2_17_x86_64",), "x86_64", "glibc 2.36")
ODD = st.sampled_from(
    [
        *("torch", "Torch.CPU", "1.0", "2.9.0+cpu", "1!2.0rc1", ""),
        *("evil.tar.gz", "./evil", "/tmp/evil", "-r/tmp/list", "--index-url=http://x.example"),
        *("a @ file:///evil", "git+https://x.example/a#egg=a", "a; python_version>'3'", "a b"),
        *("1.0 --pre", "1.0#egg=a", "1.0+a#b", "1.0,>0", "*", "a\nb", "\0", "a[extra]", "é"),
    ]
)
TEXTS = st.one_of(ODD, st.text(max_size=12), st.tuples(ODD, ODD).map("".join))


def asked(name: str, version: str) -> list[list[str]]:
    """What pip was told when a wheel of that name and version was looked for."""
    calls: list[list[str]] = []

    def run(arguments: Sequence[str]) -> subprocess.CompletedProcess[str]:
        calls.append(list(arguments))
        return subprocess.CompletedProcess(arguments, 1, "", "")

    with suppress(WheelError):
        Wheels(run=run).get(name, version, TARGET)
    return calls


@settings(max_examples=examples(2000), deadline=None)
@given(TEXTS, TEXTS)
def test_pip_is_given_a_name_and_a_version_and_nothing_else_out_of_a_file(name: str, version: str):
    for arguments in asked(name, version):
        place = arguments.index("--")
        [requirement] = arguments[place + 1 :]
        assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*==[0-9a-z!.+]+", requirement)
        assert "--only-binary=:all:" in arguments[:place]
        assert "--no-deps" in arguments[:place]
        options = [one for one in arguments[1:place] if not one.startswith("-")]
        assert [arguments[arguments.index("--dest") + 1]] == options


@pytest.mark.parametrize(
    ("name", "version", "requirement"),
    [("torch", "2.9.0+cpu", "torch==2.9.0+cpu"), ("Xgboost_CPU", "2.1", "xgboost-cpu==2.1")],
)
def test_what_is_a_distribution_is_looked_for(name: str, version: str, requirement: str):
    [arguments] = asked(name, version)

    assert requirement == arguments[-1]


@pytest.mark.parametrize(
    "name", ["./evil", "a @ file:///evil", "-rlist", "https://x.example/a.whl"]
)
def test_what_is_none_never_reaches_pip(name: str):
    with pytest.raises(WheelError, match="expected the name and version of a distribution"):
        Wheels(run=lambda arguments: pytest.fail(str(arguments))).get(name, "1.0", TARGET)
