"""A report adds up the ledger of an image."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise

import pytest
from tiny import image, layer

from slimmer.attribution import Attribution, Claim, Owner
from slimmer.elf.contents import Binary
from slimmer.evidence import Evidence
from slimmer.image import Digest, History, Layer
from slimmer.index import Index
from slimmer.report.report import Report, command
from slimmer.report.rows import HiddenRow, OwnerRow

TORCH = Owner("pip", "torch", "2.9.0")
LIBC = Owner("deb", "libc6", "2.36")


@dataclass(frozen=True)
class Tree:
    """A rule that claims what the test tells it to."""

    claimed: tuple[Claim, ...]
    globs: tuple[tuple[str, int], ...] = field(default=())

    def claims(self, index: Index) -> tuple[Claim, ...]:
        return self.claimed


class Graph:
    """Retained sizes as the test wants them."""

    def retained(self, owner: Owner) -> int | None:
        return {TORCH: 77}.get(owner)


def ledger(*tars: bytes, claims: tuple[Claim, ...] = (), **more: object) -> Attribution:
    index = Index.scan(image(*tars), Evidence([]))
    return Attribution.of(index, [Tree(claims)], **more)  # type: ignore[arg-type]


CLAIMS = (
    Claim(TORCH, "RECORD", trees=(b"opt/torch",)),
    Claim(LIBC, "dpkg", files=(b"lib/libc.so.6",)),
)
BASE = layer({"lib/libc.so.6": b"c" * 30, "var/cache/x.deb": b"d" * 9, "etc/old": b"o" * 4})
TOP = layer(
    {
        "opt/torch/lib/libtorch.so": b"t" * 100,
        "opt/torch/tests/test_a.py": b"p" * 20,
        "etc/old": b"new",
    },
    removed=["var/cache"],
)


def report(pattern: str | None = None) -> Report:
    return Report.of(ledger(BASE, TOP, claims=CLAIMS), Graph(), pattern)  # type: ignore[arg-type]


def test_the_sizes_are_the_indexs():
    made = report()

    assert (166, 153, None) == (made.unpacked, made.rootfs, made.packed)
    assert (4, 9) == (made.overwritten, made.deleted)


def test_owners_come_largest_first_with_categories_and_layers():
    assert (
        OwnerRow(
            kind="pip",
            name="torch",
            version="2.9.0",
            size=120,
            retained=77,
            files=2,
            categories={"native libraries": 100, "tests": 20},
            layers={1: 120},
        )
        == report().owners[0]
    )


def test_every_visible_byte_is_on_one_owner_one_category_and_in_one_directory():
    made = report()

    assert made.rootfs == sum(row.size for row in made.owners)
    assert made.rootfs == sum(made.categories.values())
    assert ("", made.rootfs) == (made.directories[0].path, made.directories[0].size)
    assert made.rootfs == sum(row.size for row in made.files)


def test_hidden_rows_say_which_layer_hides_what_and_add_up():
    made = report()

    assert (
        HiddenRow(0, 1, "deleted", size=9, files=1, largest=(("var/cache", 9),)),
        HiddenRow(0, 1, "overwritten", size=4, files=1, largest=(("etc/old", 4),)),
    ) == made.hidden
    assert made.overwritten + made.deleted == sum(row.size for row in made.hidden)


def test_an_owner_of_no_byte_is_listed_too():
    claims = (*CLAIMS, Claim(Owner("deb", "usrmerge"), "dpkg", files=(b"bin",)))
    made = Report.of(ledger(BASE, layer({}, symlinks={"bin": "usr/bin"}), claims=claims))

    assert ("usrmerge", 0, 0) in [(row.name, row.size, row.files) for row in made.owners]


def test_a_filter_narrows_the_rows_and_not_the_image():
    made = report("torch")

    assert ["pip:torch 2.9.0"] == [row.label for row in made.owners]
    assert (120, 2) == (made.filter and made.filter.size, made.filter and made.filter.files)
    assert made.rootfs == 153
    assert {"native libraries": 100, "tests": 20} == made.categories
    assert () == made.hidden


def test_a_filter_is_held_against_paths_too():
    made = report("*/tests/*")

    assert ["opt/torch/tests/test_a.py"] == [row.path for row in made.files]


def test_a_filter_that_nothing_fits_leaves_no_rows():
    made = report("nothing of that name")

    assert ((), (), {}) == (made.owners, made.files, made.categories)


def test_directories_hold_what_lies_below_and_stand_before_it():
    rows = {row.path: (row.size, row.files) for row in report().directories}

    assert (120, 2) == rows["opt/torch"]
    assert list(rows).index("opt") < list(rows).index("opt/torch")
    assert all(first >= second for first, second in pairwise(size for size, _ in rows.values()))


def test_the_inside_of_a_library_divides_its_categories():
    path = b"opt/torch/lib/libtorch.so"
    made = Report.of(
        ledger(TOP, claims=CLAIMS, binaries={path: Binary({"sm_90": 60, "sm_80": 10}, debug=5)})
    )

    assert {"device code": 70, "native libraries": 25, "tests": 20, "debug symbols": 5} == (
        made.owners[0].categories
    )
    assert {"sm_90": 60, "sm_80": 10} == made.files[0].device_code


def test_names_of_the_image_are_printable_in_every_row():
    evil = "opt/\x1b[31m\u202e<b>|`\n"
    made = Report.of(
        ledger(
            layer({evil: b"x" * 9}),
            layer({}, removed=[evil]),
            layer({evil: b"y"}),
            claims=(Claim(Owner("pip", "a\x1b]0;", "1\n"), "", files=(evil.encode(),)),),
        )
    )

    texts = [
        *(row.label for row in made.owners),
        *(row.path for row in made.files),
        *(row.path for row in made.directories),
        *(path for row in made.hidden for path, _ in row.largest),
    ]
    assert all(text.isprintable() for text in texts)
    assert r"opt/\x1b[31m\u202e<b>|`\x0a" in texts


@pytest.mark.parametrize(
    ("created_by", "told"),
    [
        ('/bin/sh -c #(nop)  CMD ["bash"]', 'CMD ["bash"]'),
        ("/bin/sh -c #(nop) COPY file:0123abcd in /app/x ", "COPY ... /app/x"),
        ("/bin/sh -c #(nop) ADD multi:0123abcd in / ", "ADD ... /"),
        (
            "/bin/sh -c apt-get update &&     apt-get -y install",
            "RUN apt-get update && apt-get -y install",
        ),
        ("|2 A=1 B=x y /bin/sh -c make \t install", "RUN make install"),
        ("RUN |1 A=1 /bin/sh -c make # buildkit", "RUN make"),
        ("RUN /bin/sh -c pip install . # buildkit", "RUN pip install ."),
        ("SHELL [/bin/bash -o pipefail -c]", "SHELL [/bin/bash -o pipefail -c]"),
        ("RUN /bin/bash -o pipefail -c curl x | sh # buildkit", "RUN curl x | sh"),
        ("COPY . /app # buildkit", "COPY . /app"),
        ("bazel build ...", "bazel build ..."),
        ("RUN echo '\x1b[2J'", r"RUN echo '\x1b[2J'"),
        ("", ""),
    ],
)
def test_a_layers_command_reads_as_in_the_dockerfile(created_by: str, told: str):
    made = Layer(Digest.of(b""), None, history=History(created_by))  # type: ignore[arg-type]

    assert told == command(made)
