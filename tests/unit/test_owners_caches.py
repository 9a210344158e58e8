"""Caches are told by where their programs keep them."""

from __future__ import annotations

import pytest
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


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("root/.cache/pip/http-v2/a", "cache:pip"),
        ("home/me/.cache/pypoetry/artifacts/a", "cache:poetry"),
        ("root/.cache/uv/wheels-v1/a", "cache:uv"),
        ("root/.cache/something/a", "cache:something"),
        ("opt/app/.cache/pip/a", "cache:pip"),
        ("root/.camel_tools/data/a", "cache:camel_tools"),
        ("root/nltk_data/corpora/a", "cache:nltk"),
        ("root/.npm/_cacache/a", "cache:npm"),
        ("root/.cache/torch/hub/checkpoints/a", "cache:torch"),
        ("var/cache/apt/archives/a.deb", "cache:apt"),
        ("var/lib/apt/lists/a", "cache:apt"),
        ("var/cache/apk/a", "cache:apk"),
        ("tmp/left/over", "cache:tmp"),
        ("var/log/dpkg.log", "cache:logs"),
        ("srv/home/.keras/models/a", "cache:keras"),
        ("models/hub/x", "cache:huggingface"),
        ("root/.cache/huggingface/hub/models--org--net/blobs/a", "model:org/net"),
        ("models/models--net/snapshots/a", "model:net"),
        ("root/data/a", "unowned"),
    ],
)
def test_caches_are_told_by_where_their_programs_keep_them(path: str, expected: str):
    held = ledger(
        layer({"etc/passwd": b"me:x:1000:1000::/srv/home:/bin/sh\n", path: b"1"}),
        runtime={"Env": ["HF_HOME=/models", "TORCH_HOME=/", "PIP_CACHE_DIR=relative"]},
    )

    assert expected == owner(held, path)
    if expected.startswith("cache:"):
        assert Category.CACHES is held.category_of[path.encode()]
