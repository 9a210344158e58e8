"""Tables of TOML files, checked as they are read: every error names file, table and key."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from slimmer.errors import SlimmerError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


@dataclass(frozen=True, slots=True)
class Table:
    """One table of a file, and how to speak of it."""

    fields: Mapping[str, Any]
    where: str
    """File and table, for messages: `slimmer.toml`, `slimmer.toml: budget.owners`."""
    error: type[SlimmerError] = SlimmerError
    """What is raised where a value is not what it should be."""

    @classmethod
    def parse(cls, text: str, source: str, error: type[SlimmerError]) -> Self:
        """The file as a whole."""
        try:
            return cls(tomllib.loads(text), source, error)
        except (tomllib.TOMLDecodeError, RecursionError) as fault:
            raise error(f"{source}: {fault}", hint="the file is TOML: https://toml.io") from None

    def __contains__(self, key: str) -> bool:
        return key in self.fields

    def place(self, key: str) -> str:
        """A key of the table, for messages."""
        return f"{self.where}{'.' if ': ' in self.where else ': '}{key}"

    def fault(self, key: str, expected: str, hint: str = "") -> SlimmerError:
        """The error for a value that is not as expected, which it shows."""
        got = f"{self.fields.get(key)!r:.60}"
        return self.error(f"{self.place(key)}: expected {expected}, got {got}", hint=hint)

    def only(self, keys: Iterable[str]) -> Self:
        """The table, once no key is in it but these."""
        known = tuple(keys)
        for key in self.fields:
            if key not in known:
                raise self.error(
                    f"{self.where}: there is no key {key!r:.60}", hint="one of: " + ", ".join(known)
                )
        return self

    def having(self, *keys: str) -> Self:
        """The table, once all of these keys are in it."""
        for key in keys:
            if key not in self.fields:
                raise self.error(f"{self.where}: the key {key!r} is missing")
        return self

    def table(self, key: str) -> Self:
        """The table under a key; an empty one where it is missing."""
        value = self.fields.get(key, {})
        if not isinstance(value, dict):
            raise self.fault(key, "a table")
        return type(self)(value, self.place(key), self.error)

    def tables(self) -> Iterable[tuple[str, Self]]:
        """Every key with its table, for a table of tables."""
        return [(key, self.table(key)) for key in self.fields]

    def text(self, key: str, default: str = "") -> str:
        """One text."""
        value = self.fields.get(key, default)
        if not isinstance(value, str) or (key in self.fields and not value.strip()):
            raise self.fault(key, "a text")
        return value

    def texts(self, key: str, what: str = "texts") -> tuple[str, ...]:
        """A list of texts that are not empty; one text alone is a list of one."""
        value = self.fields.get(key, [])
        if isinstance(value, str):
            value = [value]
        if not isinstance(value, list) or not all(isinstance(one, str) and one for one in value):
            raise self.fault(key, f"a list of {what}")
        return tuple(value)

    def choice(self, key: str, choices: Iterable[str], default: str) -> str:
        """One of a few texts."""
        known = tuple(choices)
        value = self.fields.get(key, default)
        if value not in known:
            raise self.fault(key, f"one of {', '.join(known)}")
        return str(value)
