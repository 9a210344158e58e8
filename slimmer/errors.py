"""The one error that slimmer raises on purpose.

Concrete errors live beside the code that raises them; the command line catches only this base.
"""

from __future__ import annotations


class SlimmerError(Exception):
    """Cannot go on: a one-line message for people, and what may help.

    A result (an image over its budget) is not an error, and something odd inside an image is a
    recorded problem; both are values.

    >>> try:
    ...     slimmer.open("./none.tar")
    ... except slimmer.SlimmerError as error:
    ...     error.message
    'there is no file or folder ./none.tar'
    """

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        """One line, without a full stop, that names what is wrong and where."""
        self.hint = hint
        """One line that names what to try, or an empty string."""
