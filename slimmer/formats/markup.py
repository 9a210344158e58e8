"""HTML built so that no text can act as markup: what is not `Html` already is escaped."""

from __future__ import annotations

import json
from base64 import b64encode
from hashlib import sha256
from html import escape


class Html(str):
    """Markup that slimmer wrote itself; only this module makes it out of text."""

    __slots__ = ()


VOID = frozenset(("br", "input", "link", "meta"))
"""Elements that have no end tag."""


def html(*parts: str) -> Html:
    """Parts one after the other; a str among them is text."""
    return Html("".join(part if isinstance(part, Html) else escape(part) for part in parts))


def tag(name: str, /, *parts: str, **attributes: str | int | bool | None) -> Html:
    """An element; `class_` and `data_value` stand for `class` and `data-value`.

    An attribute that is None or False is left out, one that is True has no value.
    """
    written = "".join(
        f" {key.rstrip('_').replace('_', '-')}"
        + ("" if value is True else f'="{escape(str(value))}"')
        for key, value in attributes.items()
        if value is not None and value is not False
    )
    start = f"<{name}{written}>"
    return Html(start if name in VOID else f"{start}{html(*parts)}</{name}>")


def embedded(value: object, name: str) -> Html:
    """A value as JSON inside the page; nothing in it can end the element that holds it."""
    text = json.dumps(value, ensure_ascii=True, separators=(",", ":"))
    text = text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")
    return Html(f'<script type="application/json" id="{escape(name)}">{text}</script>')


def script(code: str) -> tuple[Html, str]:
    """A script of the page, and the source that a content security policy names it by."""
    if "</script" in code.lower() or "<!--" in code:
        raise ValueError("this script would end inside itself")
    hashed = b64encode(sha256(code.encode()).digest()).decode()
    return Html(f"<script>{code}</script>"), f"'sha256-{hashed}'"


def style(code: str) -> Html:
    """A style sheet of the page."""
    if "</" in code:
        raise ValueError("this style sheet would end inside itself")
    return Html(f"<style>{code}</style>")
