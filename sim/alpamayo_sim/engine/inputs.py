"""Inputs of a batch of worlds from the host: checks, and copies to the device."""

from typing import Any

import numpy as np
from jaxtyping import Bool, Float32

from alpamayo_sim.errors import InputError, shown

Array = np.ndarray
REAL_KINDS = "biuf"  # of numpy: bool, integers, floats


def per_ego(values: Array, egos: tuple[int, ...], last: tuple[int, ...], name: str) -> Float32[Array, "..."]:
    """Return values as [worlds, egos, *last]; the axis of the egos may be missing if each world has one ego.

    Args:
        values: the input.
        egos: the numbers of worlds, and of egos in each.
        last: shape of one ego's values.
        name: of the values, for messages.

    Raises:
        InputError: The shape is wrong, or a value is not finite.
    """
    with np.errstate(over="ignore"):  # a number beyond float32 becomes infinite, and is refused below
        array = real_array(values, name).astype(np.float32, copy=False)
    alone = egos[1] == 1
    if alone and array.shape == (egos[0], *last):
        array = array[:, None]
    if array.shape != (*egos, *last):
        raise InputError(f"{name} has shape {array.shape}, must be {(*egos[: 1 if alone else 2], *last)}")
    if not np.isfinite(array).all():
        w, e = (int(k) for k in np.argwhere(~np.isfinite(array))[0, :2])
        raise InputError(f"{name} of world {w}{'' if alone else f', ego {e}'} is not finite")
    return array


def real_array(values: Any, name: str) -> Array:
    """Return an array of real numbers of any type.

    Raises:
        InputError: The values are no numbers, or no array can be made of them.
    """
    try:
        array = np.asarray(values)
    except (TypeError, ValueError):  # rows of different lengths
        array = np.empty(0, object)
    if array.dtype.kind not in REAL_KINDS:
        raise InputError(f"{name} is {shown(values)}, must be an array of numbers")
    return array


def ego_mask(mask: Array | None, egos: tuple[int, ...], name: str) -> Array | bool:
    """Return a mask over worlds and egos; a mask over worlds counts for all of their egos; none by default.

    Raises:
        InputError: The shape or the dtype is wrong.
    """
    if mask is not None and np.shape(mask) == egos and np.asarray(mask).dtype == bool:
        return np.asarray(mask)
    found = world_mask(mask, egos[0], name, default=False)
    return found if isinstance(found, bool) else found[:, None]


def world_mask(mask: Array | None, worlds: int, name: str, default: bool) -> Bool[Array, " worlds"] | bool:
    """Return a mask over worlds; without one, ``default`` for all of them.

    Raises:
        InputError: The shape or the dtype is wrong.
    """
    if mask is None:
        return default
    array = np.asarray(mask)
    if array.shape != (worlds,) or array.dtype != bool:
        raise InputError(f"{name} is {array.dtype} of shape {array.shape}, must be bool of ({worlds},)")
    return array


class Input:
    """A device array that is filled from the host."""

    def __init__(self, array: Any) -> None:
        self.array = array
        self._view = array.numpy() if array.device.is_cpu else None

    def set(self, values: Any) -> None:
        """Copy numpy values, or one value."""
        if self._view is not None:
            self._view[...] = values
        else:
            fill(self.array, values)


def fill(array: Any, values: Any) -> None:
    """Copy numpy values, or one value, into a device array."""
    if array.device.is_cpu:
        array.numpy()[...] = values
    elif np.isscalar(values):
        array.fill_(values)
    else:
        array.assign(np.ascontiguousarray(values))


def resized(array: Array, shape: tuple[int, ...]) -> Array:
    """Return an array cut, or filled up with zeros, to a shape."""
    if array.shape == shape:
        return array
    out = np.zeros(shape, array.dtype)
    common = tuple(slice(min(sizes)) for sizes in zip(array.shape, shape, strict=True))
    out[common] = array[common]
    return out
