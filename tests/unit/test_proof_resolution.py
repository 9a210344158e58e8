"""Law 8 on written images."""

from __future__ import annotations

from typing import TYPE_CHECKING

from proofs import SITE, compared, distribution, elf, image, kinds, looked, plan_of, step, written
from tiny import layer

from slimmer.policy import Safety

if TYPE_CHECKING:
    from slimmer.image import Image


LAW = ("symlink", "library", "requirement", "record")


def broken(source: Image, *removes: bytes, safety: Safety = Safety.SAFE, action: str = "remove"):
    before = looked(source)
    plan = plan_of(before, step(*removes, safety=safety, action=action))
    return compared(before, looked(written(plan)), plan)


def test_a_symlink_that_loses_its_target_names_the_file_and_the_step():
    source = image(
        layer({"lib/x.1": b"", "lib/y": b""}, symlinks={"lib/x": "x.1", "lib/gone": "nowhere"})
    )

    (fault,) = broken(source, b"lib/x.1").faults

    assert ("symlink", "lib/x", b"lib/x.1") == (fault.kind, fault.subject, fault.path)
    assert ("rule:target", "/lib/x.1") == (fault.step, fault.keep)
    assert () == broken(source, b"lib/y").faults
    assert () == broken(source, b"lib/x.1", b"lib/x").faults


def test_a_symlink_to_a_folder_that_no_tar_names_still_leads_there():
    source = image(layer({"usr/lib/x": b"", "y": b""}, symlinks={"lib": "usr/lib"}))

    assert () == broken(source, b"y").faults
    assert [("symlink", "lib")] == kinds(broken(source, b"usr/lib/x"))


def test_an_elf_file_that_loses_a_library_names_both_and_the_step():
    source = image(
        layer(
            {
                "usr/lib/libfoo.so.1": elf(soname="libfoo.so.1"),
                "usr/lib/libbar.so": elf("libfoo.so.1", "libnever.so"),
                "opt/z": b"",
            }
        )
    )

    (fault,) = broken(source, b"usr/lib/libfoo.so.1").faults

    assert ("library", "usr/lib/libbar.so") == (fault.kind, fault.subject)
    assert (b"usr/lib/libfoo.so.1", "rule:target") == (fault.path, fault.step)
    assert "libfoo.so.1" in fault.lost
    assert () == broken(source, b"opt/z").faults
    assert () == broken(source, b"usr/lib/libbar.so").faults


def test_what_the_loader_found_by_itself_must_not_need_luck_from_now_on():
    library = elf(soname="libfoo.so.1")
    source = image(
        layer(
            {
                "usr/lib/libfoo.so.1": library,
                "opt/elsewhere/libfoo.so.1": library,
                "usr/lib/libbar.so": elf("libfoo.so.1"),
            }
        )
    )

    assert [("library", "usr/lib/libbar.so")] == kinds(broken(source, b"usr/lib/libfoo.so.1"))
    assert [] == kinds(broken(source, b"opt/elsewhere/libfoo.so.1"))


def test_a_rewritten_elf_file_is_read_again():
    needing = elf("libfoo.so.1")
    files = {"usr/lib/libfoo.so.1": elf(soname="libfoo.so.1"), "usr/lib/libbar.so": needing}
    before = looked(image(layer(files)))
    asks = files | {"usr/lib/libbar.so": elf("libnew.so.1")}
    damaged = files | {"usr/lib/libbar.so": b"\x7fELF" + needing[4:60]}

    def found(changed: dict[str, bytes]) -> list[tuple[str, str]]:
        return kinds(compared(before, looked(image(layer(changed)))), *LAW)

    assert [] == found(files)
    assert [("library", "usr/lib/libbar.so")] == found(asks)
    assert [("library", "usr/lib/libbar.so")] == found(damaged)


def test_another_file_in_the_same_place_has_needs_of_its_own():
    files = {
        "usr/lib/libfoo.so.1": elf(soname="libfoo.so.1"),
        "usr/lib/libbar.so": elf("libfoo.so.1"),
    }
    swapped = {"usr/lib/libbar.so": elf(soname="libbar.so")}

    assert [] == kinds(compared(looked(image(layer(files))), looked(image(layer(swapped)))), *LAW)


def test_a_python_distribution_that_loses_a_requirement():
    source = image(layer(distribution("one", "two>=1", "three") | distribution("two")))
    gone = tuple(path.encode() for path in distribution("two"))

    (fault,) = broken(source, *gone).faults

    assert ("requirement", "pip:one 1") == (fault.kind, fault.subject)
    assert "two>=1" in fault.lost
    assert (gone[0], "rule:target") == (fault.path, fault.step)


def test_a_risky_step_whose_aim_it_is_may_take_a_requirement_away():
    source = image(layer(distribution("one", "two") | distribution("two")))
    gone = tuple(path.encode() for path in distribution("two"))

    verdict = broken(source, *gone, safety=Safety.RISKY, action="remove-distribution")

    assert () == verdict.faults
    assert any("as agreed" in note for note in verdict.notes)
    assert 1 == len(broken(source, *gone, safety=Safety.RISKY, action="remove").faults)
    assert 1 == len(broken(source, *gone, action="remove-distribution").faults)


def test_a_debian_package_that_loses_a_dependency():
    def stanza(name: str, depends: str = "") -> str:
        return (
            f"Package: {name}\nStatus: install ok installed\nVersion: 1\nArchitecture: amd64\n"
            f"{depends}\n"
        )

    def status(*stanzas: str) -> dict[str, bytes]:
        return {"var/lib/dpkg/status": "\n".join(stanzas).encode()}

    def files(name: str) -> dict[str, bytes]:
        return {f"var/lib/dpkg/info/{name}.list": f"/opt/{name}\n".encode(), f"opt/{name}": b""}

    one, two = stanza("one", "Depends: two (>= 1)\n"), stanza("two")
    before = looked(image(layer(files("one") | files("two") | status(one, two))))
    after = looked(image(layer(files("one") | status(one))))

    assert [("requirement", "deb:one 1")] == kinds(compared(before, after), *LAW)
    assert [] == kinds(compared(before, before), *LAW)


def test_a_record_that_names_what_left_is_a_fault():
    source = image(layer(distribution("one", files=["one.py", "two.py"])))

    (fault,) = broken(source, (SITE + "two.py").encode()).faults

    assert ("record", "pip:one 1", "rule:target") == (fault.kind, fault.subject, fault.step)
