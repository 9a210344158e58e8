r"""Names inside an image made fit to be shown: no name acts as markup's or a terminal's command.

Everything in an image is untrusted, and a name in it is any bytes but NUL. On its way into a report
each name becomes printable text, once, by an escape scheme that loses nothing:

- `\xNN` is one byte: an ASCII control character (ESC, newline, tab …), or a byte that is not UTF-8;
- `\uNNNN` and `\UNNNNNNNN` are a character that does not print or that changes how its neighbours
  do: C1 controls, bidirectional overrides, zero-width and private-use characters, line separators;
- `\\` is a backslash.

What is left is printable for `str.isprintable`. A format still has to keep it from being read as
*its* markup: that is the format's own business, and each has one place for it.
"""

from __future__ import annotations

import re
from fnmatch import translate
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

_ESCAPE = re.compile(rb"\\(?:x([0-9a-f]{2})|u([0-9a-f]{4})|U([0-9a-f]{8})|(\\))")


def printable(name: bytes | str) -> str:
    """A name as text that is safe to print; see the module for the scheme.

    A str may carry undecodable bytes as `surrogateescape` puts them (PEP 383).
    """
    text = name.decode("utf-8", "surrogateescape") if isinstance(name, bytes) else name
    if text.isprintable() and "\\" not in text:
        return text
    return "".join(map(_printable, text))


def _printable(character: str) -> str:
    if character == "\\":
        return "\\\\"
    if character.isprintable():
        return character
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:  # an undecodable byte, PEP 383
        code -= 0xDC00
    elif code >= 0x80:
        return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
    return f"\\x{code:02x}"


def in_ascii(text: str) -> str:
    """Printable text where only ASCII can be shown; escaped by the same scheme."""
    if text.isascii():
        return text
    return "".join(
        character
        if character.isascii()
        else f"\\u{ord(character):04x}"
        if ord(character) < 0x10000
        else f"\\U{ord(character):08x}"
        for character in text
    )


def raw(text: str) -> bytes:
    """The name that `printable` made this text of."""

    def byte(match: re.Match[bytes]) -> bytes:
        single, short, long, _ = match.groups()
        if single:
            return bytes.fromhex(single.decode())
        code = short or long
        return chr(int(code, 16)).encode("utf-8", "surrogatepass") if code else b"\\"

    return _ESCAPE.sub(byte, text.encode())


def one_line(text: str) -> str:
    """Free text of an image (a command, a problem) on one line that is safe to print.

    White space becomes single spaces, and backslashes stay as they are: it is read, not read back.
    """
    return printable(" ".join(text.split())).replace("\\\\", "\\")


def matcher(pattern: str) -> Callable[[str], bool]:
    """What `--filter` means: a glob where the pattern has `*`, `?` or `[`, else a part of the text.

    Upper and lower case are the same, and `*` crosses slashes.
    """
    if any(character in pattern for character in "*?["):
        match = re.compile(translate(pattern), re.IGNORECASE).match
        return lambda text: match(text) is not None
    part = pattern.lower()
    return lambda text: part in text.lower()
