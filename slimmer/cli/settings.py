"""Where a project's settings are read: `slimmer.toml`, or `[tool.slimmer]` of pyproject.toml."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from slimmer.app.settings import Settings

FILES: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("slimmer.toml", ()),
    ("pyproject.toml", ("tool", "slimmer")),
)
"""Names in the working folder, in the order in which they are looked for, with their tables."""


def load(options: Namespace) -> Settings:
    """The project's settings; empty ones where it has none. Raises SlimmerError."""
    from slimmer.app.settings import Settings, SettingsError

    named = getattr(options, "settings", None)
    if named is not None:
        path = Path(named)
        tables: tuple[str, ...] = ("tool", "slimmer") if path.name == "pyproject.toml" else ()
        found = Settings.parse(_read(path), named, *tables)
        if found is None:
            raise SettingsError(f"{named} has no table [tool.slimmer]")
        return found
    for name, tables in FILES:
        if Path(name).is_file():
            found = Settings.parse(_read(Path(name)), name, *tables)
            if found is not None:
                return found
    return Settings()


def filled(options: Namespace, settings: Settings) -> Namespace:
    """The options of a plan with what the settings say where they say nothing; lists add up."""
    return Namespace(
        **{
            **vars(options),
            "accept": options.accept or settings.accept or None,
            "gpu": options.gpu or settings.gpu or None,
            "gpu_mode": options.gpu_mode or settings.gpu_mode or None,
            "index_url": options.index_url or settings.index_url or None,
            "swap": [*settings.swap, *options.swap],
            "find_links": [*settings.find_links, *options.find_links],
        }
    )


def beside(settings: Settings, name: str) -> str:
    """A path that the settings name, from the folder of their file."""
    folder = Path(settings.source.partition(": ")[0]).parent
    return name if not name or folder == Path() else str(folder / name)


def _read(path: Path) -> str:
    from slimmer.app.settings import SettingsError

    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise SettingsError(f"{path} is not UTF-8", hint="TOML files are") from None
