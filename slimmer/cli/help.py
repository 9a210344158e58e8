"""How `--help` reads: prose and lists fill the terminal, examples stay as they are."""

from __future__ import annotations

import argparse
import re
import textwrap

_ITEM = re.compile(r"( +\S+(?: \S+)* {2,})\S")
"""An indented line of a list: a word, a gap, and what there is to say about it."""


class Help(argparse.HelpFormatter):
    """Fills each paragraph of a description, and each item of a list below its own column."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        return "\n\n".join(
            "\n".join(self._list(paragraph, width))
            if any(line.startswith(" ") for line in paragraph.splitlines())
            else textwrap.fill(" ".join(paragraph.split()), width)
            for paragraph in text.strip("\n").split("\n\n")
        )

    def _list(self, paragraph: str, width: int) -> list[str]:
        lines: list[str] = []
        for line in paragraph.splitlines():
            item = _ITEM.match(line)
            if item is None or len(line) <= width or line.startswith("  slimmer "):
                lines.append(line)
            else:
                hang = " " * len(item[1])
                rest = textwrap.wrap(line[len(hang) :], max(width - len(hang), 20))
                lines += [item[1] + rest[0], *(hang + more for more in rest[1:])]
        return lines
