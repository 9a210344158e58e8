"""What a container is started with: every field of the config that is not as it was."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from slimmer.names import one_line
from slimmer.proof.faults import Fault, Verdict

if TYPE_CHECKING:
    from collections.abc import Iterator

    from slimmer.image import Image

NAMES = {
    "Env": "environment",
    "Entrypoint": "entrypoint",
    "Cmd": "command",
    "WorkingDir": "working directory",
    "User": "user",
    "Healthcheck": "health check",
    "ExposedPorts": "exposed ports",
    "Volumes": "volumes",
    "StopSignal": "stop signal",
    "StopTimeout": "stop timeout",
    "OnBuild": "on build",
    "Labels": "labels",
    "Shell": "shell",
}
"""Field of the config (OCI `config.md`, Docker's image specification v1.2) to what we call it;
others go by the name that they have."""
PLATFORM = ("architecture", "os", "variant", "os.version", "os.features", "author")
"""Fields beside `config` that say what the image is; the others tell how it was made."""
OWN = ("org.opencontainers.image.base.", "io.slimmer.")
"""Labels that tell where an image came from, and are meant to change."""


def field_name(text: str) -> str | None:
    """What we call a field that people name: `entrypoint`, `stop-signal`, `Cmd`; or None."""
    words = text.strip().lower().replace("-", " ").replace("_", " ")
    known = {key.lower(): name for key, name in NAMES.items()}
    known |= {name: name for name in (*NAMES.values(), *PLATFORM)} | {"env": "environment"}
    if words.startswith("label "):
        return "label " + text.strip()[6:]
    return known.get(words)


def compare(before: Image, after: Image, allowed: frozenset[str] = frozenset()) -> Verdict:
    """Every field of both configs, as their JSON has it; nothing and empty are the same."""
    one, two = json.loads(before.config.raw), json.loads(after.config.raw)
    faults = []
    count = 0
    for name, was, now in _fields(one, two):
        count += 1
        if was == now or name in allowed or name.partition(" ")[0] + "s" in allowed:
            continue
        shown = f"was {_told(was)}, is {_told(now)}" if now else f"was {_told(was)}, is not set"
        faults.append(Fault("config", one_line(name), shown if was else f"is {_told(now)} now"))
    return Verdict(tuple(faults), (("config fields", count),))


def _fields(one: Any, two: Any) -> Iterator[tuple[str, object, object]]:
    for name in PLATFORM:
        if one.get(name) or two.get(name):
            yield name, one.get(name), two.get(name)
    was, now = one.get("config") or {}, two.get("config") or {}
    for key in dict.fromkeys((*NAMES, *was, *now)):
        if key != "Labels":
            yield NAMES.get(key, key), was.get(key) or None, now.get(key) or None
    old, new = was.get("Labels") or {}, now.get("Labels") or {}
    for key in sorted({*old, *new}):
        if not key.startswith(OWN):
            yield f"label {key}", old.get(key), new.get(key)


def _told(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return one_line(text if len(text) < 200 else text[:200] + "…")
