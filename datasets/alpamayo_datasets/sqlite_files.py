"""SQLite files of unknown origin: opened for reading only, asked for plain columns, bounded in rows."""

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from alpamayo_sim.errors import InputError

HEAD = b"SQLite format 3\x00"
MAX_ROWS = 5_000_000
MAX_VALUE_BYTES = 64 << 20
STEPS_BETWEEN_CHECKS = 1_000_000
MAX_CHECKS = 2000  # of the work on one file: two thousand million instructions


@contextmanager
def open_database(path: Path) -> Iterator[sqlite3.Connection]:
    """Open a file for reading.

    Raises:
        InputError: The file cannot be read, or is damaged in what is asked of it.
    """
    if not path.is_file():
        raise InputError(f"cannot read {path}: no such file")
    try:
        with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro&immutable=1", uri=True)) as connection:
            connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, MAX_VALUE_BYTES)
            connection.execute("PRAGMA trusted_schema = OFF")
            checks = iter(range(MAX_CHECKS))
            connection.set_progress_handler(lambda: next(checks, None) is None, STEPS_BETWEEN_CHECKS)
            connection.text_factory = lambda data: data.decode("utf-8", "replace")
            yield connection
    except (sqlite3.Error, UnicodeDecodeError, OverflowError) as error:  # messages may hold the file's bytes
        raise InputError(f"{path}: damaged, or not of the expected schema ({' '.join(str(error).split())})") from error


def rows(
    connection: sqlite3.Connection, query: str, where: str, parameters: Sequence[Any] = ()
) -> list[tuple[Any, ...]]:
    """Return all rows of a query.

    Raises:
        InputError: There are more than five million.
    """
    found = connection.execute(query, parameters).fetchmany(MAX_ROWS + 1)
    if len(found) > MAX_ROWS:
        raise InputError(f"{where}: has more than {MAX_ROWS} rows")
    return found
