"""One vector of weights, kept in a safetensors file."""

import json
import zlib
from array import array
from collections.abc import Mapping
from pathlib import Path


def load(path: Path) -> array:
    """The float32 weights of the tensor called `weight`."""
    content = path.read_bytes()
    start = 8 + int.from_bytes(content[:8], "little")
    first, last = json.loads(content[8:start])["weight"]["data_offsets"]
    return array("f", content[start + first : start + last])


def score(weights: array, words: Mapping[str, int]) -> float:
    """The mean weight of the words; each word has the place that its CRC-32 gives it."""
    total = sum(words.values()) or 1
    return (
        sum(
            weights[zlib.crc32(word.encode()) % len(weights)] * count
            for word, count in words.items()
        )
        / total
    )
