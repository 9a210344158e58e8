"""Which edition of this program is running, so that it never shows what another one found."""

from __future__ import annotations

import os
import sys
from functools import cache
from pathlib import Path


@cache
def edition() -> tuple[object, ...]:
    """Changes whenever a file of this program does; found once for each process."""
    folders = [Path(__file__).parents[1]]
    newest = files = 0
    while folders:
        for entry in os.scandir(folders.pop()):
            if entry.is_dir():
                if entry.name != "__pycache__":
                    folders.append(Path(entry.path))
            else:
                newest = max(newest, entry.stat().st_mtime_ns)
                files += 1
    return newest, files, sys.version_info[:2]
