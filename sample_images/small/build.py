"""Makes `sample_images/small.tar`, the sample image, byte for byte the same on any machine.

    python sample_images/small/build.py [OUTPUT [EXPECTED]]

Needs Python >= 3.11 and pip's package index: the wheels are real and pinned by hash, everything
below them is made up (`stand_ins`). The layers are those that `app/Dockerfile` would leave; they
are uncompressed, because compressed bytes depend on the zlib at hand.

`expected.json` is the truth about the image (`truth`), for tests to compare slimmer with.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from archive import digest, pack
from layers import OPAQUE, Layer, Member, directory, parents, stack, whiteout
from stand_ins import (
    ACCOUNTS,
    GROUPS,
    app_files,
    apt_files,
    base_files,
    binary,
    interpreter_files,
    noise,
)
from truth import truth
from wheels import Wheel, fetch, install, leftovers, pip_cache

HERE = Path(__file__).resolve().parent
STARTED = datetime(2025, 9, 8, 9, 30, tzinfo=UTC)
CACHED = frozenset({"fastapi", "markupsafe", "starlette"})
"""Of these the pip cache keeps its copy; all of them would make the sample too big."""


def layers(wheels: tuple[Wheel, ...], upgrade: Wheel) -> tuple[Layer, ...]:
    """Each step with the seconds it took, lowest layer first."""
    return stack(
        STARTED,
        (
            (0.5, base_files()),
            (183.25, interpreter_files()),
            (14.125, apt_files()),
            (0.0625, [directory("app")]),
            (0.25, app_files()),
            (21.5, pip_install(wheels)),
            (3.75, pip_upgrade(wheels, upgrade)),
            (1.125, chown()),
            (0.375, remove_too_late()),
        ),
    )


def pip_install(wheels: tuple[Wheel, ...]) -> Iterator[Member]:
    for wheel in wheels:
        yield from wheel.installed
        if wheel.name in CACHED:
            yield from pip_cache(wheel)
    yield directory("root/.cache", 0o700)
    yield binary(f"root/.cache/pip/selfcheck/{noise('selfcheck', 28).hex()}", 300, b"{")


def pip_upgrade(wheels: tuple[Wheel, ...], upgrade: Wheel) -> Iterator[Member]:
    (old,) = (wheel for wheel in wheels if wheel.name == upgrade.name)
    yield from (*upgrade.installed, *pip_cache(upgrade), *leftovers(old, upgrade))


def chown() -> Iterator[Member]:
    for member in app_files():
        yield replace(member, owner=1000)
        yield from (directory(folder, owner=1000) for folder in parents(member.name))
    yield Member("etc/passwd", content=ACCOUNTS + b"app:x:1000:1000::/home/app:/bin/sh\n")
    yield Member("etc/group", content=GROUPS + b"app:x:1000:\n")


def remove_too_late() -> Iterator[Member]:
    yield from (whiteout("root/.cache/pip/http-v2"), whiteout("usr/share/doc"))
    # Removed and made again within one step: the folder is a new one, which hides the old.
    yield Member(f"var/lib/apt/lists/{OPAQUE}", mode=0)
    yield directory("var/lib/apt/lists/partial")


def build() -> tuple[bytes, bytes]:
    """The archive, and `expected.json`. Raises CalledProcessError if pip can't get the wheels."""
    dockerfile = (HERE / "app/Dockerfile").read_text(encoding="utf-8")
    requirements = (HERE / "app/requirements.txt").read_text(encoding="utf-8")
    requested = frozenset(line.partition("==")[0] for line in requirements.splitlines())
    with tempfile.TemporaryDirectory() as folder:
        first = fetch(HERE / "wheels.txt", Path(folder, "first"))
        second = fetch(HERE / "wheels-upgrade.txt", Path(folder, "second"))
        wheels = tuple(install(path, requested) for path in first)
        (upgrade,) = (install(path, requested) for path in second)
    stacked = layers(wheels, upgrade)
    archive = pack(stacked, dockerfile)
    replaced = tuple(wheel for wheel in wheels if wheel.name == upgrade.name)
    seen = (*(wheel for wheel in wheels if wheel not in replaced), upgrade)
    facts = truth(stacked, archive, dockerfile, seen, replaced)
    return archive.content, json.dumps(facts, indent=2).encode() + b"\n"


def write(path: Path, content: bytes) -> None:
    part = path.with_name(path.name + ".part")
    part.write_bytes(content)
    part.replace(path)


def main() -> int:
    parser = argparse.ArgumentParser(description="Makes the sample image.")
    parser.add_argument("output", nargs="?", type=Path, help="default: small.tar and its truth")
    parser.add_argument("expected", nargs="?", type=Path, help="also write the truth here")
    arguments = parser.parse_args()
    output = arguments.output or HERE.parent / "small.tar"
    expected = arguments.expected or (None if arguments.output else HERE / "expected.json")
    try:
        image, facts = build()
    except subprocess.CalledProcessError as error:
        print(f"pip could not get the wheels:\n{error.stderr}", file=sys.stderr, end="")
        print("hint: pip needs a package index, see `pip config list`", file=sys.stderr)
        return 2
    write(output, image)
    if expected:
        write(expected, facts)
    print(f"{output}: {len(image):,} bytes, {digest(image)}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
