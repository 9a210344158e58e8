"""Debian packages own what their lists name."""

from __future__ import annotations

from tiny import image, layer

from slimmer import owners
from slimmer.attribution import Attribution
from slimmer.index import Index

INFO = "var/lib/dpkg/info"


STATUS = b"""Package: libc6
Status: install ok installed
Architecture: amd64
Multi-Arch: same
Version: 2.36-9

Package: dpkg
Status: install ok installed
Architecture: amd64
Version: 1.21
Pre-Depends: libc6 (>= 2.15),
 tar (>= 1.28)
Depends: libzstd1 | libzstd2
Description: manager
 Depends: not a field

Package: libc6
Status: install ok installed
Architecture: i386
Version: 2.36-8
"""


def ledger(*tars: bytes) -> Attribution:
    return Attribution.of(Index.scan(image(*tars), owners.evidence()), owners.default)


def owner(ledger: Attribution, path: str) -> str:
    return str(ledger.owner(path.encode()))


def test_a_list_names_files_and_the_status_tells_version_and_requirements():
    held = ledger(
        layer(
            {
                "var/lib/dpkg/status": STATUS,
                f"{INFO}/dpkg.list": b"/.\n/usr\n/usr/bin\n/usr/bin/dpkg\n",
                "usr/bin": None,
                "usr/bin/dpkg": b"1",
            }
        )
    )

    assert "deb:dpkg 1.21" == owner(held, "usr/bin/dpkg")
    assert "deb:dpkg 1.21" == owner(held, "var/lib/dpkg/status")
    assert "deb:dpkg 1.21" == owner(held, "usr/bin")
    assert ("libc6 (>= 2.15)", "tar (>= 1.28)", "libzstd1 | libzstd2") == held.claim_of[
        b"usr/bin/dpkg"
    ].requires


def test_lists_of_several_architectures_are_told_apart():
    held = ledger(
        layer(
            {
                "var/lib/dpkg/status": STATUS,
                f"{INFO}/libc6:amd64.list": b"/lib/x86_64-linux-gnu/libc.so.6\n",
                f"{INFO}/libc6:i386.list": b"/lib/i386-linux-gnu/libc.so.6\n",
                "usr/lib/x86_64-linux-gnu/libc.so.6": b"1",
                "usr/lib/i386-linux-gnu/libc.so.6": b"22",
            },
            symlinks={"lib": "usr/lib"},
        )
    )

    assert "deb:libc6 2.36-9" == owner(held, "usr/lib/x86_64-linux-gnu/libc.so.6")
    assert "deb:libc6:i386 2.36-8" == owner(held, "usr/lib/i386-linux-gnu/libc.so.6")


def test_a_folder_of_many_packages_is_the_base_system_s_without_a_dispute():
    held = ledger(
        layer(
            {
                f"{INFO}/a.list": b"/usr\n/usr/bin\n",
                f"{INFO}/base-files.list": b"/usr\n/usr/bin\n",
                "usr": None,
                "usr/bin": None,
            }
        )
    )

    assert "deb:base-files" == owner(held, "usr/bin")
    assert () == held.disputes


def test_merged_usr_is_no_dispute_about_its_symlinks():
    held = ledger(
        layer(
            {
                f"{INFO}/a.list": b"/bin\n/bin/a\n",
                f"{INFO}/b.list": b"/bin\n/bin/b\n",
                "usr/bin/a": b"1",
                "usr/bin/b": b"22",
            },
            symlinks={"bin": "usr/bin"},
        )
    )

    assert ("deb:a", "deb:b") == (owner(held, "usr/bin/a"), owner(held, "usr/bin/b"))
    assert () == held.disputes


def test_a_diverted_file_stays_with_the_package_it_came_from():
    held = ledger(
        layer(
            {
                f"{INFO}/bash.list": b"/usr/bin/sh\n",
                f"{INFO}/dash.list": b"/usr/bin/sh\n",
                "var/lib/dpkg/diversions": b"/usr/bin/sh\n/usr/bin/sh.distrib\ndash\n",
                "usr/bin/sh": b"1",
                "usr/bin/sh.distrib": b"22",
            }
        )
    )

    assert "deb:dash" == owner(held, "usr/bin/sh")
    assert "deb:bash" == owner(held, "usr/bin/sh.distrib")
    assert () == held.disputes


def test_a_system_package_beats_the_python_distribution_inside_it():
    site = "usr/lib/python3/dist-packages"
    held = ledger(
        layer(
            {
                f"{INFO}/python3-six.list": f"/{site}/six.py\n".encode(),
                f"{site}/six.py": b"1",
                f"{site}/__pycache__/six.cpython-311.pyc": b"22",
                f"{site}/six-1.0.dist-info/METADATA": b"Name: six\nVersion: 1.0\n",
                f"{site}/six-1.0.dist-info/top_level.txt": b"six\n",
            }
        )
    )

    assert "deb:python3-six" == owner(held, f"{site}/six.py")
    assert "deb:python3-six" == owner(held, f"{site}/__pycache__/six.cpython-311.pyc")


def test_distroless_keeps_a_control_file_and_sums_by_package():
    held = ledger(
        layer(
            {
                "var/lib/dpkg/status.d/libssl3": b"Package: libssl3\nVersion: 3.0\n",
                "var/lib/dpkg/status.d/libssl3.md5sums": b"0123  usr/lib/libssl.so.3\n",
                "usr/lib/libssl.so.3": b"1",
            }
        )
    )

    assert "deb:libssl3 3.0" == owner(held, "usr/lib/libssl.so.3")
    assert "deb:libssl3 3.0" == owner(held, "var/lib/dpkg/status.d/libssl3.md5sums")
