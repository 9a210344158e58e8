"""A wheel installed into a layer, as pip would have installed it."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING

import pytest
import synthetic_elf
from cuda import (
    CUDA,
    NEW,
    OTHERS,
    TORCH,
    cpu_wheel,
    cuda_image,
    planned,
    refused,
    tree,
    written,
)
from tiny import image
from wheelhouse import (
    BASE,
    MTIME,
    SITE,
    row,
    rule,
    system_of,
    tar,
)

from slimmer.evidence import Evidence
from slimmer.index import Index
from slimmer.tar.reading import DIRECTORY, FILE

if TYPE_CHECKING:
    from pathlib import Path


def test_record_names_every_file_with_its_hash_and_size(tmp_path: Path):
    cpu_wheel(tmp_path)
    source = cuda_image()

    after = tree(written(source, planned(source, tmp_path, swaps=["torch=cpu"])))

    own = "torch-2.13.0+cpu.dist-info/RECORD"
    rows = list(csv.reader(io.StringIO(after[f"{SITE}/{own}"].decode())))
    places = {
        path: f"usr/local/bin/{path.rpartition('/')[2]}" if "../" in path else f"{SITE}/{path}"
        for path, _, _ in rows
    }
    expected = [
        [path, "", ""] if path == own else list(row(path, after[place]))
        for path, place in sorted(places.items())
    ]
    assert expected == rows
    assert {"../../../bin/torchrun", "../../../bin/helper"} <= places.keys()
    mine = {path for path in after if path not in BASE and path not in OTHERS}
    assert mine == set(places.values())


def test_new_files_have_owner_mode_and_time_of_the_old_ones(tmp_path: Path):
    cpu_wheel(tmp_path, programs=["torch/lib/libtorch_cpu.so"])
    modes = dict.fromkeys(TORCH, 416) | {f"{SITE}/torch": 0o2750}
    source = image(tar(BASE), tar(TORCH | CUDA | OTHERS, uid=1000, mtime=MTIME + 7, modes=modes))

    index = Index.scan(
        written(source, planned(source, tmp_path, swaps=["torch=cpu"])), Evidence([])
    )

    def look(path: str) -> tuple[object, ...]:
        header = index.visible[path.encode()]
        return header.kind, header.mode, header.uid, header.gid, header.mtime

    then = (MTIME + 7) * 10**9
    assert (FILE, 0o640, 1000, 1000, then) == look(f"{SITE}/torch/__init__.py")
    assert (FILE, 0o750, 1000, 1000, then) == look(f"{SITE}/torch/lib/libtorch_cpu.so")
    assert (FILE, 0o750, 1000, 1000, then) == look("usr/local/bin/torchrun")
    assert (DIRECTORY, 0o755, 1000, 1000, then) == look(f"{SITE}/torch/new/deep")
    assert (DIRECTORY, 0o2750, 1000, 1000, then) == look(f"{SITE}/torch"), "as it was before"


@pytest.mark.parametrize("told", [b"# what was signed", b"# CPU build"])
def test_a_member_that_is_not_what_record_says_refuses_the_wheel(tmp_path: Path, told: bytes):
    cpu_wheel(tmp_path, told={"torch/__init__.py": told})

    refusal = refused(system_of(cuda_image()), rule(swaps=["torch=cpu"]), tmp_path)

    assert "torch/__init__.py is not what its RECORD says" in refusal.evidence


def test_a_wheel_cannot_write_outside_of_its_place(tmp_path: Path):
    cpu_wheel(tmp_path, files=NEW | {"torch/../../../../../etc/passwd": b"root"})

    refusal = refused(system_of(cuda_image()), rule(swaps=["torch=cpu"]), tmp_path)

    assert "writes outside of its place" in refusal.evidence


def test_symbols_of_the_new_libraries_can_be_left_out(tmp_path: Path):
    library = synthetic_elf.elf(
        (synthetic_elf.Load((synthetic_elf.Part(".text", b"t" * 500),), flags=5),),
        (
            synthetic_elf.Part(".symtab", b"s" * 24 * 400, kind=2, flags=0, link=".strtab"),
            synthetic_elf.Part(".strtab", b"\0" * 3000, kind=3, flags=0),
        ),
    )
    cpu_wheel(tmp_path, files=NEW | {"torch/lib/libtorch_cpu.so": library})
    source = cuda_image()

    plan = planned(source, tmp_path, swaps=["torch=cpu"], strip=True)
    after = tree(written(source, plan))

    stripped = after[f"{SITE}/torch/lib/libtorch_cpu.so"]
    assert len(stripped) < len(library) - 9000
    assert (
        ",".join(row("torch/lib/libtorch_cpu.so", stripped)).encode()
        in (after[f"{SITE}/torch-2.13.0+cpu.dist-info/RECORD"])
    )
    assert plan.after.unpacked == sum(map(len, after.values()))
