"""Models are told by the formats of their weights."""

from __future__ import annotations

import json

from tiny import image, layer

from slimmer import owners
from slimmer.attribution import Attribution
from slimmer.categories import Category
from slimmer.index import Index


def ledger(*tars: bytes, **about: object) -> Attribution:
    built = image(*tars, **about)  # type: ignore[arg-type]
    return Attribution.of(Index.scan(built, owners.evidence()), owners.default)


def owner(ledger: Attribution, path: str) -> str:
    return str(ledger.owner(path.encode()))


def safetensors(size: int) -> bytes:
    header = json.dumps({"w": {"dtype": "F32"}}).encode()
    return (len(header).to_bytes(8, "little") + header).ljust(size, b"\0")


def test_weights_that_nobody_brought_are_a_model_by_their_format():
    held = ledger(layer({"opt/net/weights.bin": safetensors(1 << 20), "opt/net/notes.txt": b"1"}))

    assert "model:weights.bin" == owner(held, "opt/net/weights.bin")
    assert Category.MODELS is held.category_of[b"opt/net/weights.bin"]
    assert "unowned" == owner(held, "opt/net/notes.txt")


def test_a_folder_with_weights_and_their_config_is_a_model():
    held = ledger(
        layer({"opt/net/model.safetensors": safetensors(1 << 20), "opt/net/config.json": b"{}"})
    )

    assert "model:net" == owner(held, "opt/net/config.json")


def test_a_saved_model_is_a_folder_by_its_definition():
    held = ledger(
        layer(
            {"srv/net/1/saved_model.pb": b"\x08\x01", "srv/net/1/variables/variables.index": b"1"}
        )
    )

    assert "model:net" == owner(held, "srv/net/1/variables/variables.index")


def test_weights_in_a_cache_stay_the_cache_s():
    held = ledger(layer({"root/.cache/torch/hub/checkpoints/a.pth": safetensors(1 << 20)}))

    assert "cache:torch" == owner(held, "root/.cache/torch/hub/checkpoints/a.pth")
    assert Category.MODELS is held.category_of[b"root/.cache/torch/hub/checkpoints/a.pth"]
