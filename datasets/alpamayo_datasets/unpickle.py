"""Read pickles safely: the result is plain data and numpy arrays, and nothing of the file is ever called.

A pickle is a program. Here it may name a few things only (numpy's array and dtype, the functions that rebuild them,
``int`` and ``defaultdict``), and these are stand-ins of this module. Arrays are built from bytes that the file really
holds, so a forged shape or dtype cannot allocate, run or reach anything. Pickles of protocol 0 to 2 name more than that
and are refused; ScenarioNet writes protocol 4.
"""

import pickle
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from alpamayo_sim.errors import InputError

MAX_FILE_BYTES = 256 << 20
MAX_ITEM_BYTES = 1024  # of one element of an array
DTYPE_KINDS = "biufSU"  # no objects, no records
Array = np.ndarray


def read_pickle(path: Path) -> Any:
    """Return the plain data (dicts, lists, tuples, numbers, strings, numpy arrays) of a pickle.

    Raises:
        InputError: The file cannot be read, is larger than 256 MiB, is damaged, or asks for anything but data.
    """
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise InputError(f"{path}: larger than {MAX_FILE_BYTES >> 20} MiB, the limit for a scenario")
        with path.open("rb") as file:
            return _plain(_Unpickler(file).load(), {})
    except _RefusedError as refused:
        raise InputError(
            f"{path}: refused, the pickle asks for {refused}, which is not data of a ScenarioNet scenario"
        ) from None
    except InputError:
        raise
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}") from error
    except Exception as error:  # a damaged pickle can raise nearly anything
        raise InputError(f"{path}: not a whole pickle ({type(error).__name__}: {error})") from error


class _RefusedError(Exception):
    """The pickle names something that it may not name."""


class _DType:
    """Stand-in for ``numpy.dtype``: keeps the file's values and makes only plain dtypes of them."""

    def __init__(self, code: str, align: bool = False, copy: bool = False) -> None:
        self.code = code if isinstance(code, str) else "O"
        self.order = "|"

    def __setstate__(self, state: Any) -> None:
        self.order = state[1]

    def make(self) -> np.dtype:
        """Return the dtype.

        Raises:
            _RefusedError: It is not of numbers, booleans or short strings.
        """
        if self.code[:1] not in (*DTYPE_KINDS, "?"):
            raise _RefusedError(f"an array of dtype {self.code!r}")
        dtype = np.dtype(self.code)
        if dtype.kind not in DTYPE_KINDS or dtype.itemsize > MAX_ITEM_BYTES:
            raise _RefusedError(f"an array of dtype {self.code!r}")
        return dtype.newbyteorder(">") if self.order == ">" else dtype


class _NDArray:
    """Stand-in for ``numpy.ndarray``: its state becomes an array if it has all the bytes."""

    def __init__(self) -> None:
        self.value: Array = np.zeros(0)

    def __setstate__(self, state: Any) -> None:
        _, shape, dtype, fortran, data = state
        self.value = _array(data, dtype, shape, "F" if fortran else "C")


class _Name:
    """Something that a pickle may name or call; the result of a call is made here."""

    __slots__ = ("_call",)

    def __init__(self, call: Any) -> None:
        self._call = call

    def __call__(self, *arguments: Any) -> Any:
        return self._call(*arguments)


def _array(data: Any, dtype: Any, shape: Any, order: Any) -> Array:
    if not isinstance(dtype, _DType):
        raise _RefusedError("an array of no dtype")
    made = dtype.make()
    if not isinstance(data, (bytes, bytearray)):
        raise _RefusedError("an array that is not made of bytes")
    array = np.frombuffer(bytes(data), made).reshape(shape, order="F" if order == "F" else "C")
    return array.astype(made.newbyteorder("="))


def _no_call(*_: Any) -> Any:
    raise _RefusedError("a call of int or ndarray")


_NAMES = {
    ("numpy", "ndarray"): _Name(_no_call),
    ("numpy", "dtype"): _Name(_DType),
    ("builtins", "int"): _Name(_no_call),
    ("collections", "defaultdict"): _Name(lambda *_: {}),
}
for _module in ("numpy.core", "numpy._core"):
    _NAMES[f"{_module}.multiarray", "_reconstruct"] = _Name(lambda *_: _NDArray())
    _NAMES[f"{_module}.multiarray", "scalar"] = _Name(lambda dtype, data: _array(data, dtype, (1,), "C")[0].item())
    _NAMES[f"{_module}.numeric", "_frombuffer"] = _Name(_array)


# The C unpickler grows its memo to any index that a file names. The Python unpickler does not.
class _Unpickler(pickle._Unpickler):
    def __init__(self, file: BinaryIO) -> None:
        super().__init__(file, encoding="latin1")

    def find_class(self, module: str, name: str) -> Any:
        """Return the stand-in of an admitted name, and refuse all other names."""
        if (module, name) not in _NAMES:
            raise _RefusedError(f"{module}.{name}")
        return _NAMES[module, name]

    def persistent_load(self, pid: Any) -> Any:
        """Refuse persistent ids: data has none."""
        raise _RefusedError("a persistent id")


def _plain(value: Any, seen: dict[int, Any]) -> Any:
    """Return the data with arrays in place of their stand-ins; shared parts stay shared."""
    if isinstance(value, _NDArray):
        return value.value
    if isinstance(value, (set, frozenset)):
        value = sorted(value, key=repr)
    if isinstance(value, (dict, list, tuple)):
        if id(value) not in seen:
            seen[id(value)] = _plain_container(value, seen)
        return seen[id(value)]
    if value is None or isinstance(value, (bool, int, float, str, np.ndarray)):
        return value
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    raise _RefusedError(f"a {type(value).__name__.strip('_')} where data is expected")


def _plain_container(value: Any, seen: dict[int, Any]) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item, seen) for key, item in value.items()}
    if all(type(item) in (int, float, str, bool) for item in value):
        return value
    return type(value)(_plain(item, seen) for item in value)
