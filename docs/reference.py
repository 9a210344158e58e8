"""Makes the reference page of the Python API from its docstrings: `reference.py FOLDER`."""

from __future__ import annotations

import sys
from pathlib import Path

import pdoc

import slimmer


def main(folder: Path) -> None:
    for name in slimmer.__all__:  # pdoc shows what is there, and slimmer imports it when asked
        setattr(slimmer, name, getattr(slimmer, name))
    pdoc.render.configure(show_source=False)
    # One page: the public names, wherever they live.
    pdoc.pdoc("slimmer", r"!slimmer\..*", output_directory=folder)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
