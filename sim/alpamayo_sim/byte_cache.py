"""Caches that are bounded in bytes, for what is made of scenes and maps: textures, indices, packed arrays."""

import ctypes
import dataclasses
import threading
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from functools import wraps
from typing import Any, ParamSpec, TypeVar

import numpy as np

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")
MAX_DEPTH = 12  # of nested objects that are measured
RETURNED_BYTES = 4 << 20  # dropped at once; from so many on, free memory goes back to the system


def byte_cache(max_bytes: int) -> Callable[[Callable[Parameters, Result]], Callable[Parameters, Result]]:
    """Keep the results of a function of hashable arguments, up to ``max_bytes`` of arrays in arguments and results.

    Results that were asked for last are kept longest, the last one always. Results may grow while they are kept: each
    is measured again when another one takes its place as the newest. The memory of large results goes back to the
    system when they are dropped.
    """

    def decorate(make: Callable[Parameters, Result]) -> Callable[Parameters, Result]:
        kept: OrderedDict[Any, tuple[Result, int]] = OrderedDict()
        lock = threading.Lock()

        @wraps(make)
        def cached(*args: Parameters.args, **kwargs: Parameters.kwargs) -> Result:
            key = (*args, *sorted(kwargs.items()))
            with lock:
                if key in kept:
                    kept.move_to_end(key)
                    return kept[key][0]
            result = make(*args, **kwargs)
            with lock:
                for other in list(kept)[-1:]:
                    kept[other] = kept[other][0], array_bytes((other, kept[other][0]))
                kept[key] = result, array_bytes((key, result))
                total = sum(size for _, size in kept.values())
                dropped = 0
                while total - dropped > max_bytes and len(kept) > 1:
                    dropped += kept.popitem(last=False)[1][1]
            if dropped >= RETURNED_BYTES:
                return_free_memory()
            return result

        return cached

    return decorate


def return_free_memory() -> None:
    """Return free memory to the system, which the C library would keep. Does nothing where it is not glibc."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


def array_bytes(value: Any) -> int:
    """Return the bytes of all different arrays in an object: in its fields, items and attributes."""
    return _measured(value, set(), 0)


def _measured(value: Any, seen: set[int], depth: int) -> int:
    if depth > MAX_DEPTH or id(value) in seen or isinstance(value, (str, bytes, int, float, type(None))):
        return 0
    seen.add(id(value))
    if isinstance(value, np.ndarray):
        return int(value.nbytes)
    if type(value).__module__.startswith("warp"):
        capacity = getattr(value, "capacity", None)
        return int(capacity) if isinstance(capacity, int) else _items(vars(value).values(), seen, depth)
    if isinstance(value, dict):
        return _items(value.values(), seen, depth)
    if isinstance(value, (list, tuple, set, frozenset)):
        return _items(value, seen, depth)
    if dataclasses.is_dataclass(value) or hasattr(value, "__dict__"):
        return _items(vars(value).values(), seen, depth)
    return 0


def _items(values: Any, seen: set[int], depth: int) -> int:
    return sum(_measured(item, seen, depth + 1) for item in list(values))
