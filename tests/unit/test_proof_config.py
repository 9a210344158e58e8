"""Fields of the config, and what may differ."""

from __future__ import annotations

import pytest
from proofs import image, kinds, looked
from tiny import layer

from slimmer.proof.config import field_name
from slimmer.proof.differences import Allowed
from slimmer.proof.verify import static, verify

FILES: dict[str, bytes | None] = {"etc/a": b"a", "usr/doc": None, "usr/doc/x": b"x", "z": b"z"}


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("entrypoint", "entrypoint"),
        ("ENTRYPOINT", "entrypoint"),
        ("Cmd", "command"),
        ("working-directory", "working directory"),
        ("WorkingDir", "working directory"),
        ("env", "environment"),
        ("stop_signal", "stop signal"),
        ("label my.Key", "label my.Key"),
        ("architecture", "architecture"),
        ("/usr/share/doc/", None),
        ("*.pyc", None),
    ],
)
def test_fields_are_named_as_people_do(text: str, name: str | None):
    assert name == field_name(text)


def test_what_is_allowed_is_no_fault():
    one = image(layer(FILES), runtime={"User": "a", "Env": ["A=1"], "Labels": {"l": "1", "m": "1"}})
    two = image(layer({"etc/a": b"bb", "z": b"z"}), runtime={"Labels": {"l": "2"}})
    before, after = looked(one), looked(two)

    def judged(*allowed: str) -> list[tuple[str, str]]:
        return kinds(static(before, after, allowed=Allowed.of(allowed)))

    everything = judged()
    assert ("lost", "usr/doc") in everything
    assert ("changed", "etc/a") in everything
    assert 6 == len(everything)
    assert [] == judged("/usr/doc/", "/etc/a", "user", "env", "labels")
    assert [("config", "label m")] == judged("/usr/doc/", "a", "user", "env", "label l")


def test_without_a_plan_an_image_without_its_application_does_not_hold():
    before = looked(image(layer(FILES), runtime={"Cmd": ["/z"]}))
    after = looked(image(layer({"etc/a": b"a"}), runtime={"Cmd": ["/z"]}))

    assert [("lost", "usr/doc"), ("lost", "z")] == kinds(verify(before, after), "lost")


def test_labels_that_tell_where_an_image_came_from_are_meant_to_change():
    own = {"io.slimmer.plan": "x", "org.opencontainers.image.base.digest": "y"}
    before = looked(image(layer(FILES), runtime={"Labels": own}))

    assert verify(before, looked(image(layer(FILES)))).holds


def test_nothing_and_empty_are_the_same():
    before = looked(image(layer(FILES), runtime={"Cmd": None, "Env": []}))

    assert verify(before, looked(image(layer(FILES), runtime={"User": ""}))).holds
