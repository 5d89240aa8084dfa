"""Checked access to what a file holds: every complaint says where in the file, and what would be right."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Float64

from alpamayo_sim.errors import InputError

Array = np.ndarray
MAX_POINTS = 1_000_000  # of one polyline
MAX_STEPS = 100_000


def get(record: Any, key: str, where: str) -> Any:
    """``record[key]``; ``InputError`` when it is not a record with that key."""
    if not isinstance(record, Mapping) or key not in record:
        raise InputError(f"{where}: has no {key!r}")
    return record[key]


def get_record(record: Any, key: str, where: str) -> dict[str, Any]:
    """``record[key]``, which must be a record."""
    value = get(record, key, where)
    if not isinstance(value, dict):
        raise InputError(f"{where}: {key!r} is a {type(value).__name__}, must be a record")
    return value


def get_list(record: Any, key: str, where: str) -> list[Any]:
    """``record[key]``, which must be a list."""
    value = get(record, key, where)
    if not isinstance(value, (list, tuple)):
        raise InputError(f"{where}: {key!r} is a {type(value).__name__}, must be a list")
    return list(value)


def numbers(value: Any, shape: tuple[int | None, ...], where: str) -> Array:
    """A float64 array of that shape (None is any length)."""
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
    """A polyline or polygon as float64 [n, 3]; two-dimensional ones get z = 0.

    With ``keep_z`` False a third column is not a height and is dropped.
    """
    xyz = numbers(value, (None, None), where)
    if xyz.shape[1] not in (2, 3) or not np.isfinite(xyz).all():
        raise InputError(f"{where}: must be finite points of 2 or 3 coordinates")
    if xyz.shape[1] == 2 or not keep_z:
        xyz = np.concatenate([xyz[:, :2], np.zeros((len(xyz), 1))], axis=1)
    return xyz


def _check_size(value: Any, where: str) -> None:
    """Refuse what would unfold into far more numbers than a scenario has (lists may share their parts)."""
    if isinstance(value, np.ndarray):
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
