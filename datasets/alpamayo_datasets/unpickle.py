"""Read pickles safely: the result is plain data and numpy arrays, and nothing of the file is ever called.

A pickle is a program. Here it may name a few things only (numpy's array and dtype, the functions that rebuild them,
``int`` and ``defaultdict``), and these are stand-ins of this module. Arrays are built from bytes that the file really
holds, so a forged shape or dtype cannot allocate, run or reach anything. Pickles of protocol 0 to 2 name more than that
and are refused; ScenarioNet writes protocol 4.
"""

import io
import pickle
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from alpamayo_sim.errors import InputError, is_machine_fault
from alpamayo_sim.io.files import read_regular

MAX_FILE_BYTES = 256 << 20
EXPANSION = 32  # bytes of Python objects for one of the file: a small integer has 2 bytes there, a shared word 2
EXPANSION_BASE_BYTES = 16 << 20
KEY_TYPES = (str, int, float, bool, bytes, type(None))  # a tuple of shared tuples takes for ever to hash
MAX_ITEM_BYTES = 1024  # of one element of an array
DTYPE_KINDS = "biufSU"  # no objects, no records
Array = np.ndarray


def read_pickle(path: Path) -> Any:
    """Return the plain data (dicts, lists, tuples, numbers, strings, numpy arrays) of a pickle.

    Raises:
        InputError: The file cannot be read, is larger than 256 MiB, is damaged, or asks for anything but data.
    """
    try:
        return _plain(_Unpickler(io.BytesIO(read_regular(path, MAX_FILE_BYTES))).load(), {})
    except _RefusedError as refused:
        raise InputError(
            f"{path}: refused, the pickle asks for {refused}, which is not data of a ScenarioNet scenario"
        ) from None
    except InputError:
        raise
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}") from error
    except Exception as error:  # a damaged pickle can raise nearly anything
        if is_machine_fault(error):
            raise
        raise InputError(f"{path}: not a whole pickle ({type(error).__name__}: {error})") from error


def check_sharing(value: Any, path: Path) -> None:
    """Check that the data of a pickle is not far larger than its file, each shared part counted as often as it occurs.

    Raises:
        InputError: It is far larger: work on it would have no bound.
    """
    if _expanded(value, {}) > EXPANSION * path.stat().st_size + EXPANSION_BASE_BYTES:
        raise InputError(f"{path}: refused, parts that it shares make far more data than the file holds")


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
    array = np.frombuffer(data, made).reshape(shape, order="F" if order == "F" else "C")
    return array.astype(made.newbyteorder("="), copy=False)  # a view of the bytes, which other arrays may share


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


def _checked(instruction: bytes) -> Any:
    """Return the load function of an instruction that makes dicts or sets, with a check of their keys before it."""
    load = pickle._Unpickler.dispatch[instruction[0]]

    def checked(unpickler: Any) -> None:
        stack = unpickler.stack
        keys = stack[-2:-1] if instruction == pickle.SETITEM else stack[:: 1 if instruction in SET_INSTRUCTIONS else 2]
        for key in keys:
            if not isinstance(key, KEY_TYPES):
                raise _RefusedError(f"a {type(key).__name__} as a key")
        load(unpickler)

    return checked


SET_INSTRUCTIONS = (pickle.ADDITEMS, pickle.FROZENSET)
_Unpickler.dispatch = pickle._Unpickler.dispatch | {
    instruction[0]: _checked(instruction)
    for instruction in (pickle.SETITEM, pickle.SETITEMS, pickle.DICT, *SET_INSTRUCTIONS)
}


def _expanded(value: Any, seen: dict[int, int]) -> int:
    """Return about how many bytes the data would have if no part were shared."""
    if isinstance(value, np.ndarray):
        return value.nbytes + 64
    if isinstance(value, (str, bytes, bytearray)):
        return len(value) + 8
    if isinstance(value, int):
        return value.bit_length() // 8 + 8
    if not isinstance(value, (dict, list, tuple, set, frozenset)):
        return 8
    if id(value) not in seen:
        parts = [*value.keys(), *value.values()] if isinstance(value, dict) else value
        seen[id(value)] = 8 + sum(_expanded(part, seen) for part in parts)
    return seen[id(value)]


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
