"""One processor, two names."""

from __future__ import annotations

import pytest

from slimmer.ecosystems.machines import architecture, machine


@pytest.mark.parametrize(
    ("image", "uname"),
    [("amd64", "x86_64"), ("arm64", "aarch64"), ("386", "i686"), ("s390x", "s390x")],
)
def test_what_images_call_it_and_what_uname_does(image: str, uname: str):
    assert (uname, image) == (machine(image), architecture(uname))
