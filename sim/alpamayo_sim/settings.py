"""Checks of settings that a user or a JSON configuration gives: their types and ranges, before any work."""

import dataclasses
import math
import os
import sys
import types
import typing
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from numbers import Integral, Real
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from alpamayo_sim.errors import InputError, shown

T = TypeVar("T")
Bounds = tuple[float, float]

ANY_NUMBER: Bounds = (-math.inf, math.inf)
FINITE: Bounds = (-sys.float_info.max, sys.float_info.max)
SEEDS: Bounds = (0, (1 << 63) - 1)  # numbers that every random generator and every record takes
WORDS = {
    bool: "True or False",
    int: "a whole number",
    float: "a number",
    str: "a text",
    types.NoneType: "None",
    np.ndarray: "an array",
}


def real_number(value: Any, what: str, bounds: Bounds = ANY_NUMBER, unit: str = "") -> float:
    """Return a number of any type as a float.

    Raises:
        InputError: It is not a number, or not within the bounds.
    """
    if not _is_of(value, float, bounds):
        raise InputError(f"{what} is {shown(value)}{unit}, must be {_described(float, bounds)}{unit}")
    return float(value)


def whole_number(value: Any, what: str, bounds: Bounds = ANY_NUMBER) -> int:
    """Return a whole number of any type as an int.

    Raises:
        InputError: It is not a whole number, or not within the bounds.
    """
    if not _is_of(value, int, bounds):
        raise InputError(f"{what} is {shown(value)}, must be {_described(int, bounds)}")
    return int(value)


def instance_of(value: T, kind: type, what: str) -> T:
    """Return a value that must be of a type.

    Raises:
        InputError: It is of another type.
    """
    if not isinstance(value, kind):
        raise InputError(f"{what} is {shown(value)}, must be a {kind.__name__}")
    return value


def path_of(value: Any, what: str) -> Path:
    """Return a path that was given as text or as a path.

    Raises:
        InputError: It is neither, or no system has such a path.
    """
    if not isinstance(value, (str, os.PathLike)) or not isinstance(os.fspath(value), str):
        raise InputError(f"{what} is {shown(value)}, must be a path")
    try:
        fits = b"\0" not in os.fsencode(value)
    except UnicodeEncodeError:
        fits = False
    if not fits:
        raise InputError(f"{what} is {shown(value)}, must be text that a file system can hold")
    return Path(value)


def names_of(value: Any, what: str) -> tuple[str, ...]:
    """Return one name, or a list of names, as a tuple.

    Raises:
        InputError: It is neither.
    """
    names = (value,) if isinstance(value, str) else value
    if not isinstance(names, (tuple, list)) or not all(isinstance(name, str) for name in names):
        raise InputError(f"{what} is {shown(value)}, must be a list of names")
    return tuple(names)


def named_values(value: Any, what: str, known: Iterable[str] | None = None, kind: str = "setting") -> dict[str, Any]:
    """Return values by name, such as a JSON object.

    Raises:
        InputError: It has no names, or one that is not known.
    """
    if not isinstance(value, Mapping) or not all(isinstance(name, str) for name in value):
        raise InputError(f"{what} is {shown(value)}, must be a mapping of names to values")
    names = None if known is None else tuple(known)
    for name in value:
        if names is not None and name not in names:
            raise InputError(f"{what} has no {kind} {shown(name)}; it has {', '.join(names)}")
    return dict(value)


def plain_values(value: Any, kind: type, what: str) -> dict[str, Any]:
    """Return the fields of a dataclass from plain data, such as a JSON object; its lists become tuples.

    Raises:
        InputError: It has no names, or one that is no field.
    """
    given = named_values(value, what, [name for name, *_ in _field_kinds(kind)])
    return {name: tuple(each) if isinstance(each, list) else each for name, each in given.items()}


def check_fields(settings: Any, what: str, bounds: Mapping[str, Bounds] = types.MappingProxyType({})) -> None:
    """Check the fields of a dataclass against their annotated types, and numbers against their bounds.

    A number may not be NaN. Of containers other than tuples, and of arrays, the type alone is checked.

    Raises:
        InputError: A field is of another type, or out of its bounds.
    """
    for name, kind, exact in _field_kinds(settings.__class__):
        value = getattr(settings, name)
        if name not in bounds and type(value) in exact and (type(value) is not float or not math.isnan(value)):
            continue  # nearly always
        if not _is_of(value, kind, limits := bounds.get(name, ANY_NUMBER)):
            raise InputError(f"{what}: {name} is {shown(value)}, must be {_described(kind, limits)}")


@lru_cache(maxsize=256)
def _field_kinds(kind: type) -> tuple[tuple[str, Any, frozenset[Any]], ...]:
    """Return the fields of a dataclass: name, type, and the classes whose values need no further look."""
    hints = typing.get_type_hints(kind)
    return tuple((field.name, hints[field.name], _classes(hints[field.name])) for field in dataclasses.fields(kind))


def _classes(kind: Any) -> frozenset[Any]:
    """Return the classes whose instances all are of a type, but for NaN; none for containers with a type of parts."""
    if isinstance(kind, types.UnionType):
        return frozenset().union(*map(_classes, typing.get_args(kind)))
    return frozenset({getattr(kind, "array_type", kind)})


def _is_of(value: Any, kind: Any, bounds: Bounds) -> bool:
    """Return whether a value has a type, and a number lies within the bounds."""
    if (check := CHECKS.get(kind)) is not None:
        return check(value, bounds)
    arguments, container = typing.get_args(kind), typing.get_origin(kind) or kind
    if isinstance(kind, types.UnionType):
        return any(_is_of(value, option, bounds) for option in arguments)
    if container is tuple and arguments:
        return isinstance(value, tuple) and _are_of(value, arguments, bounds)
    container = getattr(container, "array_type", container)  # of an annotated array; its shape is checked elsewhere
    return not isinstance(container, type) or isinstance(value, container)


def _are_of(values: tuple[Any, ...], kinds: tuple[Any, ...], bounds: Bounds) -> bool:
    if kinds[-1] is Ellipsis:
        return all(_is_of(value, kinds[0], bounds) for value in values)
    return len(values) == len(kinds) and all(map(_is_of, values, kinds, [bounds] * len(kinds)))


def _is_real(value: Any, bounds: Bounds) -> bool:
    if isinstance(value, bool) or not isinstance(value, Real):
        return False
    try:
        return bounds[0] <= float(value) <= bounds[1]
    except OverflowError:
        return False


def _is_whole(value: Any, bounds: Bounds) -> bool:
    is_whole = isinstance(value, Integral) and not isinstance(value, bool)
    return is_whole and bounds[0] <= int(value) <= bounds[1]


CHECKS: Mapping[Any, Callable[[Any, Bounds], bool]] = {
    float: _is_real,
    int: _is_whole,
    bool: lambda value, bounds: isinstance(value, (bool, np.bool_)),
}


def _described(kind: Any, bounds: Bounds) -> str:
    """Return in words what is right."""
    arguments, container = typing.get_args(kind), typing.get_origin(kind) or kind
    if isinstance(kind, types.UnionType):
        return " or ".join(_described(option, bounds) for option in arguments)
    if container is tuple and arguments:
        count = "tuple" if arguments[-1] is Ellipsis else f"tuple of {len(arguments)}"
        return f"a {count}, each {_described(arguments[0], bounds)}"
    container = getattr(container, "array_type", container)
    words = WORDS.get(container, f"a {getattr(container, '__name__', container)}")
    if kind is float and bounds == FINITE:
        return "a finite number"
    return f"{words} in {_range(bounds)}" if kind in (int, float) and bounds != ANY_NUMBER else words


def _range(bounds: Bounds) -> str:
    low, high = (str(bound) if isinstance(bound, int) else f"{bound:g}" for bound in bounds)
    return f"[{low}, {high}]"
