"""Parquet and Feather files as checked numpy columns."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from alpamayo_sim.errors import InputError
from alpamayo_sim.io.files import check_regular

Array = np.ndarray

KIND_NAMES = {"f": "numbers", "i": "integers", "s": "text"}
MAX_ROWS = 20_000_000
MAX_BYTES = 2 << 30  # of the columns once they are decompressed


def read_columns(path: Path, columns: Mapping[str, str]) -> dict[str, Array]:
    """Return columns of a Parquet or Feather file; their kind is ``f`` float64, ``i`` int64 or ``s`` str.

    Raises:
        InputError: The file cannot be read, is damaged or too large, or a column is missing, of another kind or has
            missing values.
    """
    with _reading(path):
        table = _table(path, list(columns))
        return {name: _column(table[name], kind, f"{path}: column {name!r}") for name, kind in columns.items()}


def read_lists(path: Path, columns: list[str]) -> tuple[dict[str, list[Any]], dict[bytes, bytes]]:
    """Return columns as Python values, also nested ones, and the metadata of the file's schema.

    Raises:
        InputError: The file cannot be read, is damaged or too large, or a column is missing.
    """
    with _reading(path):
        table = _table(path, columns)
        return {name: table[name].to_pylist() for name in columns}, dict(table.schema.metadata or {})


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Turn what pyarrow raises for a file into an error that names it."""
    import pyarrow as pa

    try:
        yield
    except InputError:
        raise
    except OSError as error:
        raise InputError(f"cannot read {path}: {_line(error.strerror or error)}") from error
    except (pa.ArrowException, ValueError, OverflowError) as error:  # ArrowInvalid is a ValueError
        raise InputError(f"{path}: damaged ({_line(error)})") from error


def _table(path: Path, columns: list[str]) -> Any:
    """Return the table of these columns, checked as a whole: a forged offset must not be followed."""
    import pyarrow.feather
    import pyarrow.parquet

    check_regular(path, MAX_BYTES)
    if path.suffix == ".parquet":
        file = pyarrow.parquet.ParquetFile(path)
        metadata, known = file.metadata, set(file.schema_arrow.names)
        size = sum(metadata.row_group(k).total_byte_size for k in range(metadata.num_row_groups))
        if not 0 <= metadata.num_rows <= MAX_ROWS or not 0 <= size <= MAX_BYTES:
            raise InputError(f"{path}: says that it has {metadata.num_rows} rows in {size} bytes, too many")
        _check_known(path, columns, known)
        table = file.read(columns=columns)
    else:
        table = pyarrow.feather.read_table(path, memory_map=False)
        _check_known(path, columns, set(table.column_names))
        table = table.select(columns)
    table.validate(full=True)
    if table.num_rows > MAX_ROWS:
        raise InputError(f"{path}: has {table.num_rows} rows, must be at most {MAX_ROWS}")
    return table


def _check_known(path: Path, columns: list[str], known: set[str]) -> None:
    missing = [name for name in columns if name not in known]
    if missing:
        raise InputError(f"{path}: has no column {missing[0]!r}; it has {', '.join(sorted(known)[:20])}")


def _column(column: Any, kind: str, where: str) -> Array:
    import pyarrow as pa

    fits = {
        "f": lambda t: pa.types.is_floating(t) or pa.types.is_integer(t),
        "i": pa.types.is_integer,
        "s": lambda t: pa.types.is_string(t) or pa.types.is_large_string(t) or pa.types.is_dictionary(t),
    }[kind]
    if not fits(column.type):
        raise InputError(f"{where}: is of type {column.type}, must be {KIND_NAMES[kind]}")
    if column.null_count:
        raise InputError(f"{where}: has {column.null_count} missing values")
    if kind == "s":
        return np.array([str(value) for value in column.to_pylist()], dtype=object)
    return column.to_numpy().astype(np.float64 if kind == "f" else np.int64)


def _line(error: object) -> str:
    return " ".join(str(error).split())[:200]
