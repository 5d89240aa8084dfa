"""Errors with one line for the user: wrong input, a driver that fails; and faults that are the machine's alone."""

import difflib
import errno
import reprlib
from collections.abc import Collection, Iterable
from typing import Any

MACHINE_ERRNOS = frozenset(
    {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.ENOMEM, errno.EIO, errno.EROFS, errno.EMFILE, errno.ENFILE}
)
OUT_OF_MEMORY_TEXTS = ("can't allocate memory", "out of memory", "cannot allocate memory")  # of PyTorch and of Warp
MAX_MESSAGE_CHARACTERS = 600
MAX_NAMES = 24  # that a message lists
_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = 120  # characters


class InputError(ValueError):
    """Wrong input of a user: a file, a name, an argument.

    The message is one line that says what is wrong, where, and what would be right. The command line prints
    it without a traceback and exits with code 2.
    """


class DriverError(InputError):
    """A driver raised or gave a wrong answer. The message names the line of its code."""


def is_machine_fault(error: BaseException) -> bool:
    """Return whether the machine failed, not its input or a driver: no memory, a full disk, too many open files."""
    if isinstance(error, OSError):
        return error.errno in MACHINE_ERRNOS
    text = str(error).lower() if isinstance(error, RuntimeError) else ""
    return isinstance(error, MemoryError) or any(words in text for words in OUT_OF_MEMORY_TEXTS)


def one_line(text: str) -> str:
    """Return a message as one line of printable characters that any terminal can show, cut to a readable length."""
    line = " ".join(text.split())
    shown = "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in line)
    return shown if len(shown) <= MAX_MESSAGE_CHARACTERS else shown[: MAX_MESSAGE_CHARACTERS - 3] + "..."


def shown(value: Any) -> str:
    """Return a value as short text for a message, whatever it is."""
    try:
        return one_line(_SHORT.repr(value))
    except Exception:  # a number of more digits than Python writes, or an object that cannot describe itself
        return f"a {type(value).__name__}"


def check_known(what: str, name: Any, known: Collection[str]) -> None:
    """Check that a name is a known one.

    Raises:
        InputError: It is not; the message offers similar names.
    """
    if not isinstance(name, str) or name not in known:
        raise unknown_name(what, name, known)


def unknown_name(what: str, name: Any, known: Iterable[str]) -> InputError:
    """Return the error for an unknown name; it offers similar names, else all known names, or the first of many."""
    names = sorted(known)
    lower = {known_name.lower(): known_name for known_name in names}
    near = difflib.get_close_matches(name.lower(), lower, n=3, cutoff=0.5) if isinstance(name, str) else []
    near = [lower[known_name] for known_name in near]
    more = f" and {len(names) - MAX_NAMES} more" if len(names) > MAX_NAMES else ""
    hint = f"did you mean {' or '.join(near)}?" if near else f"there are: {', '.join(names[:MAX_NAMES])}{more}"
    return InputError(f"unknown {what} {shown(name)}; {hint}")
