"""The error that a user of the backbone can cause."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class NemotronInputError(ValueError):
    """Report an invalid config, checkpoint, request or grammar.

    The message is one line that says what is wrong, where, and what was expected.
    """


def unknown_name(kind: str, name: str, known: Iterable[str]) -> NemotronInputError:
    """Return the error for a name that is not among the known ones; it suggests similar names, else lists all."""
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(near)}?" if near else f"there are: {', '.join(names)}"
    return NemotronInputError(f"unknown {kind} {name!r}; {hint}")
