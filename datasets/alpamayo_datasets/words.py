"""The words of a format: what they mean, and a warning that names each word without a meaning."""

import logging
from collections.abc import Mapping
from typing import Any, TypeVar

Meaning = TypeVar("Meaning")
MAX_NAMED = 1000  # words that are warned of in one process
SHOWN_CHARACTERS = 60

_log = logging.getLogger(__name__)
_named: set[tuple[str, str, str]] = set()


def meaning_of(
    word: Any, table: Mapping[Any, Meaning], otherwise: Meaning, what: str, where: str, unknown: tuple[Any, ...] = ()
) -> Meaning:
    """Return the meaning of a word of a file.

    A word that is neither in the table nor one of the format's own words for ``unknown`` is logged as a warning, once
    for each place, and means ``otherwise``.

    Args:
        word: the word or number.
        table: the meanings of known words.
        otherwise: the meaning of all other words.
        what: what the word says, such as "state of a traffic light".
        where: the place in the file.
        unknown: the words that say that something is not known.
    """
    try:
        if word in table:
            return table[word]
        is_known = word is None or word in unknown
    except TypeError:  # a list or a record in the place of a word
        is_known = False
    key = where, what, repr(word)[:SHOWN_CHARACTERS]
    if not is_known and key not in _named and len(_named) < MAX_NAMED:
        _named.add(key)
        _log.warning("%s: %s has the unknown word %s", where, what, key[2])
    return otherwise
