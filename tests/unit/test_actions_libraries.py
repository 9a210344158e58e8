"""Steps that make ELF files smaller."""

from __future__ import annotations

import json

from synthetic_elf import Load, Part, elf, fatbin
from systems import facts, planned, proposed

from slimmer import actions
from slimmer.policy import ActionName, Rule, Safety
from slimmer.splice import view

SYMBOLS = (
    Part(".symtab", bytes(24 * 900), kind=2, flags=0, link=".strtab"),
    Part(".strtab", b"\0main\0" * 5000, kind=3, flags=0, alignment=1),
)
CODE = fatbin(*((2, arch, 0x11, bytes([arch]) * 400_000) for arch in (70, 80, 90)))
LIBRARY = elf((Load((Part(".text", b"t" * 3000, flags=6), Part(".nv_fatbin", CODE))),), SYMBOLS)
FILES = {"opt/lib/liba.so": LIBRARY, "opt/lib/notes.txt": b"n" * 20000}


def rule(action: ActionName, **options: object) -> Rule:
    return Rule("r", action, Safety.SAFE, "w", options=tuple(sorted(options.items())))


def test_symbols_leave_and_the_step_promises_what_they_take():
    [step], _ = proposed(
        actions.default()[ActionName.SYMBOLS], facts(FILES), rule(ActionName.SYMBOLS)
    )
    [rewrite] = step.rewrites

    assert b"opt/lib/liba.so" == rewrite.path
    assert len(LIBRARY) - rewrite.splice.size == step.unpacked == step.rootfs > 50_000
    assert "1 files" == step.evidence


def test_code_for_other_gpus_leaves_and_each_architecture_is_told():
    cut = actions.default()[ActionName.DEVICE_CODE]
    [step], _ = proposed(cut, facts(FILES), rule(ActionName.DEVICE_CODE, gpus="sm_90"))

    assert step.unpacked > 700_000
    assert "MB by architecture: sm_70 0→0, sm_80 0→0, sm_90 0" == step.evidence
    assert [] == proposed(cut, facts(FILES), rule(ActionName.DEVICE_CODE))[0], "no GPU is named"


def test_a_plan_file_works_the_contents_out_again():
    image = facts(FILES)
    for name, options in ((ActionName.SYMBOLS, {}), (ActionName.DEVICE_CODE, {"gpus": "sm_90"})):
        plan = planned(image, actions.default()[name], rule(name, **options))
        again = type(plan).read(plan.to_json(), image, actions.default(), ())

        assert plan.steps[0].rewrites[0].splice == again.steps[0].rewrites[0].splice
        assert json.loads(plan.to_json()) == json.loads(again.to_json())


def test_both_together_make_one_file():
    image = facts(FILES)
    both = [
        proposed(actions.default()[name], image, rule(name, **options))[0][0].rewrites[0]
        for name, options in ((ActionName.SYMBOLS, {}), (ActionName.DEVICE_CODE, {"gpus": "sm_90"}))
    ]
    read = lambda offset, length: LIBRARY[offset : offset + length]  # noqa: E731
    assert both[1].again is not None
    second = both[1].again(view(read, both[0].splice), both[0].splice.size)

    assert second is not None
    assert second.size < min(one.splice.size for one in both)
