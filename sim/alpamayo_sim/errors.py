"""The error for wrong input of a user."""

import difflib
from collections.abc import Iterable


class InputError(ValueError):
    """Wrong input of a user: a file, a name, an argument.

    The message is one line that says what is wrong, where, and what would be right. The command line prints
    it without a traceback and exits with code 2.
    """


def unknown_name(what: str, name: str, known: Iterable[str]) -> InputError:
    """Return the error for an unknown name; it offers similar names, else all known names."""
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(near)}?" if near else f"there are: {', '.join(names)}"
    return InputError(f"unknown {what} {name!r}; {hint}")
