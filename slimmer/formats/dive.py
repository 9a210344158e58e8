"""dive's own JSON, for programs that read it: every number to the last digit.

Only two things differ. `id` is the layer's diff_id without its algorithm: dive prints the first
part of the layer's path in the archive, which since Docker 25 is `blobs` for every layer. And what
is no ASCII is escaped, so that no name acts on a terminal; to a reader of JSON it is the same.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from slimmer.gate.dive import trees
from slimmer.tar.reading import (
    BLOCK_DEVICE,
    CHARACTER,
    DIRECTORY,
    FIFO,
    FILE,
    HARDLINK,
    SYMLINK,
)

if TYPE_CHECKING:
    from slimmer.gate.dive import Score
    from slimmer.index import Index
    from slimmer.tar.reading import Header

_FLAGS = {
    FILE: (b"0", 0),
    HARDLINK: (b"1", 0),
    SYMLINK: (b"2", 1 << 27),
    CHARACTER: (b"3", 1 << 26 | 1 << 21),
    BLOCK_DEVICE: (b"4", 1 << 26),
    DIRECTORY: (b"5", 1 << 31),
    FIFO: (b"6", 1 << 25),
}
"""Kind → its flag in a tar, and its bits of Go's `os.FileMode` (package io/fs)."""
_BITS = ((0o4000, 1 << 23), (0o2000, 1 << 22), (0o1000, 1 << 20))
"""setuid, setgid and sticky, which Go keeps elsewhere than Unix."""


def render(index: Index, score: Score) -> str:
    """The image as `dive --json` writes it."""
    told = index.image.config.history
    fields = {
        "layer": [
            {
                "index": layer.number,
                "id": layer.layer.diff_id.hex,
                "digestId": layer.layer.diff_id,
                "sizeBytes": layer.size,
                "command": layer.layer.history.created_by.removeprefix("/bin/sh -c ")
                if told
                else "(missing)",
                "fileList": [_file(node.header) for node, _ in tree.walk()],
            }
            for layer, tree in zip(index.layers, trees(index), strict=True)
        ],
        "image": {
            "sizeBytes": score.size,
            "inefficientBytes": score.wasted,
            "efficiencyScore": score.efficiency,
            "fileReference": [
                {"count": path.count, "sizeBytes": path.size, "file": _text(path.path)}
                for path in score.repeated
            ],
        },
    }
    return json.dumps(fields, indent=2, ensure_ascii=True) + "\n"


def _file(header: Header | None) -> dict[str, Any]:
    if header is None:
        return {
            "path": "",
            "typeFlag": 0,
            "linkName": "",
            "size": 0,
            "fileMode": 0,
            "uid": 0,
            "gid": 0,
            "isDir": False,
        }
    flag, mode = _FLAGS[header.kind]
    for unix, go in _BITS:
        mode |= go if header.mode & unix else 0
    return {
        "path": _text(header.path),
        "typeFlag": flag[0],
        "linkName": _text(header.link),
        "size": header.size,
        "fileMode": mode | header.mode & 0o777,
        "uid": header.uid,
        "gid": header.gid,
        "isDir": header.kind == DIRECTORY,
    }


def _text(name: bytes) -> str:
    return name.decode("utf-8", "replace")  # as Go does with bytes that are no UTF-8
