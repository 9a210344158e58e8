"""Which commands a shell text holds, and in which words."""

from __future__ import annotations

from time import process_time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from thorough import examples

from slimmer.analysis.shell import Variable, parse


def called(text: str) -> list[str]:
    return [str(command.words[0][0]) for command in parse(text).commands]


@pytest.mark.parametrize(
    ("text", "programs"),
    [
        ("make all", ["make"]),
        ("a; b && c || d | e & f", ["a", "b", "c", "d", "e", "f"]),
        ("A=1 B=$(x y) make", ["x", "make"]),
        ("if a; then b; elif c; then d; else e; fi", ["a", "b", "c", "d", "e"]),
        ("while read line; do m4 <in; done", ["read", "m4"]),
        ("for x in make cc; do ld; done", ["ld"]),
        ("case $1 in make|cc) ld;; (x) nm;; esac; ar", ["ld", "nm", "ar"]),
        ("f() { make; }; f", ["make"]),
        ("function f { make; }\nf", ["make"]),
        ("( make ) ; { cc; }", ["make", "cc"]),
        ('echo "$(make -v)" `cc -v` <(ld)', ["make", "cc", "ld", "echo"]),
        ("cat <<END\nmake\nEND\ncc", ["cat", "cc"]),
        ("cat <<-'END'\n\tmake\n\tEND\ncc", ["cat", "cc"]),
        ("# make\necho x#y 'make' # cc", ["echo"]),
        ("ma\\\nke x", ["make"]),
        ("'ma'\"ke\" x", ["make"]),
        ("a=(make cc); ld", ["ld"]),
        ("! time make 2>&1 >/dev/null", ["make"]),
        ('echo "unfinished $(make', ["make", "echo"]),
        ("x=$((make + 1)); cc", ["cc"]),
        ("x) make", ["x", "make"]),
    ],
)
def test_commands_are_found_where_a_shell_would_run_them(text: str, programs: list[str]) -> None:
    assert programs == called(text)


def test_variables_are_parts_of_words_and_assignments_are_told() -> None:
    script = parse('TOOL=${T:-make}\n"$TOOL" -C "$dir/x" >>log')

    (command,) = script.commands
    assert (Variable("TOOL"),) == command.words[0]
    assert (Variable("dir"), "/x") == command.words[2]
    assert (("log",),) == command.files
    assert ((Variable("T", "make"),),) == script.values["TOOL"]
    assert 2 == command.line


@settings(max_examples=examples(500), deadline=None)
@given(st.text(st.sampled_from("$(){}[]<>|&;\"'`\\ \n\tab=#*-0")) | st.text())
def test_any_text_is_read_to_its_end(text: str) -> None:
    for command in parse(text).commands:
        assert command.words
        assert 1 <= command.line <= text.count("\n") + 1


@pytest.mark.parametrize(
    "piece",
    [
        *("$(", "(", "{ ", "cat <<A\n", '"$(', "if a; then ", "case a in ", "${a:-", "`", "a=("),
        *(
            "[[ ",
            "<(",
            "\\a",
            "$'",
            "'",
            "$((",
            'a"',
            "x()",
            "$a",
            "<<",
            "a=b ",
            "function f ",
            "#",
        ),
    ],
)
def test_a_text_written_to_be_slow_is_not(piece: str) -> None:
    def seconds(times: int) -> float:
        tries = []
        for _ in range(3):
            start = process_time()
            parse(piece * times)
            tries.append(process_time() - start)
        return min(tries)

    # Four times the text must not take sixteen times as long.
    small = max(seconds(5_000), 0.01)
    assert seconds(20_000) < 10 * small
