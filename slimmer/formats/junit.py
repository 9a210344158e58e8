"""The gate as JUnit XML: each limit is a test case, as CI servers show them."""

from __future__ import annotations

from typing import TYPE_CHECKING
from xml.etree import ElementTree

from slimmer.formats.findings import dive_text, judgement_text

if TYPE_CHECKING:
    from collections.abc import Iterator

    from slimmer.gate.gate import Gate


def render(gate: Gate) -> str:
    """The gate as XML, a line feed at its end."""
    cases = list(_cases(gate))
    failures = sum(case.find("failure") is not None for case in cases)
    counts = {"tests": str(len(cases)), "failures": str(failures), "errors": "0"}
    top = ElementTree.Element("testsuites", {"name": "slimmer budget", **counts})
    suite = ElementTree.SubElement(
        top, "testsuite", {"name": _text(gate.report.reference), **counts, "skipped": "0"}
    )
    suite.extend(cases)
    lines = [*gate.notes]
    if gate.command:
        lines.append(f"to get there: {gate.command}")
    if lines:
        ElementTree.SubElement(suite, "system-out").text = _text("\n".join(lines))
    ElementTree.indent(top, " ")
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        + ElementTree.tostring(top, encoding="unicode", short_empty_elements=True)
        + "\n"
    )


def _cases(gate: Gate) -> Iterator[ElementTree.Element]:
    for judgement in gate.ruling.judgements:
        yield _case(
            judgement.limit.title,
            judgement.fits,
            judgement.summary,
            judgement_text(judgement),
            "over budget",
        )
    for rule in gate.ruling.dive:
        yield _case(f"dive: {rule.rule.name}", rule.fits, dive_text(rule), dive_text(rule), "dive")


def _case(name: str, fits: bool, message: str, body: str, kind: str) -> ElementTree.Element:
    case = ElementTree.Element(
        "testcase", {"classname": "slimmer.budget", "name": _text(name), "time": "0"}
    )
    if not fits:
        failure = ElementTree.SubElement(case, "failure", {"message": _text(message), "type": kind})
        failure.text = _text(body)
    else:
        ElementTree.SubElement(case, "system-out").text = _text(message)
    return case


def _text(text: str) -> str:
    """Without what XML 1.0 cannot hold, however it got here."""
    return "".join(
        character if character.isprintable() or character == "\n" else "\ufffd"
        for character in text
    )
