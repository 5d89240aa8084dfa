"""Configurations in JSON: what a damaged one raises becomes one line that names its place."""

from collections.abc import Iterator
from contextlib import contextmanager

from alpamayo_sim.errors import InputError, one_line

DAMAGES = (AttributeError, KeyError, TypeError, ValueError, OverflowError, RecursionError)
"""What reading a record from JSON of any content can raise; errors of its own checks are among them."""


@contextmanager
def reading_config(where: str, what: str) -> Iterator[None]:
    """Read a configuration inside.

    Args:
        where: its file, for the message.
        what: what should be there.

    Raises:
        InputError: it is damaged.
    """
    try:
        yield
    except DAMAGES as error:
        raise InputError(f"{where}: is no {what} ({one_line(str(error))})") from error
