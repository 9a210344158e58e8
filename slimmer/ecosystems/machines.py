"""What the same processor is called: by images (GOARCH), and by `uname -m` and platform tags."""

from __future__ import annotations

_UNAME = {
    "amd64": "x86_64",
    "arm64": "aarch64",
    "386": "i686",
    "arm": "armv7l",
    "loong64": "loongarch64",
}
_GOARCH = {machine: architecture for architecture, machine in _UNAME.items()}


def machine(architecture: str) -> str:
    """`uname -m` for the architecture of an image's platform; most are called the same."""
    return _UNAME.get(architecture, architecture)


def architecture(machine: str) -> str:
    """What the platform of an image calls the machine that `uname -m` names."""
    return _GOARCH.get(machine, machine)
