"""npm packages own the folders that hold their package.json."""

from __future__ import annotations

import json

from tiny import image, layer

from slimmer import owners
from slimmer.analysis.dependencies import DependencyGraph
from slimmer.attribution import Attribution, Owner
from slimmer.index import Index


def ledger(*tars: bytes) -> Attribution:
    return Attribution.of(Index.scan(image(*tars), owners.evidence()), owners.default)


def owner(ledger: Attribution, path: str) -> str:
    return str(ledger.owner(path.encode()))


def test_npm_packages_are_trees_and_the_copies_of_a_version_one_owner():
    package = json.dumps({"name": "ms", "version": "2.0.0"}).encode()
    app = json.dumps({"name": "@a/b", "version": "1.0", "dependencies": {"ms": "*"}}).encode()
    held = ledger(
        layer(
            {
                "srv/node_modules/ms/package.json": package,
                "srv/node_modules/ms/lib/x.js": b"1",
                "srv/node_modules/@a/b/package.json": app,
                "srv/node_modules/@a/b/node_modules/ms/package.json": package,
                "srv/node_modules/@a/b/node_modules/ms/y.js": b"22",
                "srv/node_modules/broken/package.json": b"[1, {",
                "srv/node_modules/broken/z.js": b"333",
            }
        )
    )

    assert "npm:ms 2.0.0" == owner(held, "srv/node_modules/ms/lib/x.js")
    assert "npm:ms 2.0.0" == owner(held, "srv/node_modules/@a/b/node_modules/ms/y.js")
    assert "npm:@a/b 1.0" == owner(held, "srv/node_modules/@a/b/package.json")
    assert "npm:broken" == owner(held, "srv/node_modules/broken/z.js")
    graph = DependencyGraph.of(held)
    assert (Owner("npm", "ms", "2.0.0"),) == graph.distributions[
        Owner("npm", "@a/b", "1.0")
    ].requires


def test_node_is_told_by_its_header():
    header = b"#define NODE_MAJOR_VERSION 20\n#define NODE_MINOR_VERSION 1\n"
    held = ledger(
        layer(
            {
                "usr/local/include/node/node_version.h": header,
                "usr/local/bin/node": b"1",
                "usr/local/bin/nodemon": b"22",
            }
        )
    )

    assert "node 20.1.0" == owner(held, "usr/local/bin/node")
    assert "unowned" == owner(held, "usr/local/bin/nodemon")
