"""What is known of names that need nothing, each with its reason."""

from __future__ import annotations

from typing import NamedTuple


class Known(NamedTuple):
    """Names in one source that need nothing of what they name."""

    source: bytes
    """End of its path; a folder, with a slash behind it, stands for the modules in it."""
    names: tuple[str, ...]
    """Beginnings of what stands there."""
    reason: str


KNOWN = (
    Known(
        b"/_compat_pickle.py",
        ("test.",),
        "maps modules of Python 2 to those of Python 3 for what Python 2 pickled; nothing pickles"
        " an object of the test suite",
    ),
    Known(
        b"/_sysconfigdata__linux_x86_64-linux-gnu.py",
        ("",),
        "lists what the interpreter was built of",
    ),
    Known(
        b"/idlelib/",
        ("idlelib.idle_test", "test.support"),
        "IDLE's modules import their tests in functions for tests by hand (`htest`) and where"
        " `idlelib.testing` is set, which its tests alone set",
    ),
    Known(
        b"/lib2to3/refactor.py",
        ("iter_modules",),
        "lists the package of fixers that it is given",
    ),
    Known(
        b"/multiprocessing/util.py",
        ("test",),
        "`_cleanup_tests` is called by the tests of multiprocessing",
    ),
    Known(
        b"/future/moves/test/",
        ("test",),
        "future offers Python's test suite under a second name, to tests",
    ),
    Known(
        b"/future/standard_library/__init__.py",
        ("test", "future.moves.test"),
        "future imports the test suite where there is one, and goes on where there is none",
    ),
    Known(
        b"/_distutils_hack/__init__.py",
        ("test.test_",),
        "setuptools names the tests of CPython before which it must step aside",
    ),
)


def is_known(path: bytes, text: str) -> bool:
    """Whether what a source names is known to need nothing."""
    return any(
        text.startswith(known.names)
        for known in KNOWN
        if path.endswith(known.source)
        or (known.source.endswith(b"/") and path[: path.rfind(b"/") + 1].endswith(known.source))
    )
