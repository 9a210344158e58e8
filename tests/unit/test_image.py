"""An image as its config tells it."""

from __future__ import annotations

import json

import pytest
from tiny import Bytes, config, layer

from slimmer.image import Config, Image


def seconds(*created: str | None) -> list[float | None]:
    tars = [layer({str(number): b"x"}) for number in range(len(created))]
    fields = json.loads(config(tars))
    fields["history"] = [{"created": time} if time else {} for time in created]
    raw = json.dumps(fields).encode()
    image = Image.of("tiny", Config.parse(raw), [(Bytes(tar), None, None) for tar in tars])
    return [layer.seconds for layer in image.layers]


def test_a_layer_took_the_time_since_the_one_before_it():
    assert [None, 90.0] == seconds("2024-01-01T00:00:00Z", "2024-01-01T00:01:30.000000001Z")


@pytest.mark.parametrize(
    "made_up",
    [
        "1970-01-01T00:00:00Z",
        "1970-01-01T00:00:01Z",
        "1980-01-01T00:00:00Z",
        "0001-01-01T00:00:00Z",
    ],
)
def test_a_date_before_there_were_containers_tells_no_time(made_up: str):
    real = "2024-01-01T00:00:00Z"

    assert [None, None] == seconds(made_up, real)
    assert [None, None, 0.0] == seconds(real, made_up, real)
    assert [None, None] == seconds(made_up, made_up)
