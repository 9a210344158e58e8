"""Imports modules one after another, and says of each what came of it.

usage: imports.py NAMES      a file with one dotted name a line; one line of JSON each on stdout

A program of its own: a module may end it.
"""

import contextlib
import importlib
import io
import json
import os
import sys

OUT = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)


def outcome(name):
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            importlib.import_module(name)
    except BaseException as error:  # noqa: BLE001  (a module may even exit)
        return f"{type(error).__name__}: {error}"
    return "imported"


with open(sys.argv[1]) as names:
    for name in names.read().split():
        OUT.write(json.dumps([name, outcome(name)]) + "\n")
        OUT.flush()
OUT.flush()
os._exit(0)  # What modules registered to run at the end is not ours.
