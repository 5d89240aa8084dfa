"""Checked access to the values of a file: every error names the place in the file and the right form."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Float64

from alpamayo_sim.errors import InputError

Array = np.ndarray
MAX_POINTS = 100_000  # of one polyline
MAX_STEPS = 100_000


def get(record: Any, key: str, where: str) -> Any:
    """Return ``record[key]``.

    Raises:
        InputError: ``record`` is not a record with that key.
    """
    if not isinstance(record, Mapping) or key not in record:
        raise InputError(f"{where}: has no {key!r}")
    return record[key]


def get_record(record: Any, key: str, where: str) -> dict[str, Any]:
    """Return ``record[key]``, a record.

    Raises:
        InputError: There is no such key, or its value is not a record.
    """
    value = get(record, key, where)
    if not isinstance(value, dict):
        raise InputError(f"{where}: {key!r} is a {type(value).__name__}, must be a record")
    return value


def get_list(record: Any, key: str, where: str) -> list[Any]:
    """Return ``record[key]``, a list.

    Raises:
        InputError: There is no such key, or its value is not a list.
    """
    value = get(record, key, where)
    if not isinstance(value, (list, tuple)):
        raise InputError(f"{where}: {key!r} is a {type(value).__name__}, must be a list")
    return list(value)


def numbers(value: Any, shape: tuple[int | None, ...], where: str) -> Array:
    """Return a float64 array of a shape, where None is any length.

    Raises:
        InputError: The value is not numbers of that shape.
    """
    _check_size(value, where)
    try:
        array = np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        raise InputError(f"{where}: must be numbers of shape {_text(shape)}") from None
    if array.ndim == len(shape) + 1 and array.shape[-1] == 1 and shape and shape[-1] != 1:
        array = array[..., 0]
    fits = array.ndim == len(shape) and all(want in (None, have) for want, have in zip(shape, array.shape, strict=True))
    if not fits:
        raise InputError(f"{where}: has shape {list(array.shape)}, must be {_text(shape)}")
    return array


def points(value: Any, where: str, keep_z: bool = True) -> Float64[Array, "n 3"]:
    """Return a polyline or polygon as float64 [n, 3] (m), with z = 0 where the file has two coordinates.

    Without ``keep_z`` a third column is dropped: it is not a height.

    Raises:
        InputError: The value is not finite points of 2 or 3 coordinates.
    """
    xyz = numbers(value, (None, None), where)
    if xyz.shape[1] not in (2, 3) or not np.isfinite(xyz).all():
        raise InputError(f"{where}: must be finite points of 2 or 3 coordinates")
    if xyz.shape[1] == 2 or not keep_z:
        xyz = np.concatenate([xyz[:, :2], np.zeros((len(xyz), 1))], axis=1)
    return xyz


def _check_size(value: Any, where: str) -> None:
    """Refuse lists that would expand to far more numbers than a scenario has (lists may share their parts)."""
    if isinstance(value, np.ndarray):
        if value.size > 4 * MAX_POINTS:
            raise InputError(f"{where}: has {len(value)} rows, must be at most {MAX_POINTS} points")
        return
    if not isinstance(value, (list, tuple)):
        raise InputError(f"{where}: is a {type(value).__name__}, must be numbers")
    count = len(value)
    for item in value:
        if isinstance(item, (list, tuple)):
            count += len(item)
            if any(isinstance(part, (list, tuple)) for part in item[:4]):
                raise InputError(f"{where}: is nested too deep")
    if count > 4 * MAX_POINTS:
        raise InputError(f"{where}: has more than {MAX_POINTS} points")


def _text(shape: tuple[int | None, ...]) -> str:
    return "[" + ", ".join("n" if size is None else str(size) for size in shape) + "]"
