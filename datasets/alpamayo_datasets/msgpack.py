"""MessagePack (msgpack.org, specification 2.0) as Python values, bounded; arrays as py123d packs them."""

import struct
from typing import Any

import numpy as np

from alpamayo_sim.errors import InputError

MAX_DEPTH = 16
ARRAY_KEY = b"__ndarray__"
NUMBERS = {  # code: format of struct
    0xCA: ">f", 0xCB: ">d", 0xCC: ">B", 0xCD: ">H", 0xCE: ">I", 0xCF: ">Q",
    0xD0: ">b", 0xD1: ">h", 0xD2: ">i", 0xD3: ">q",
}  # fmt: skip
LENGTHS = {  # code: kind, format of the length
    0xC4: ("bytes", ">B"), 0xC5: ("bytes", ">H"), 0xC6: ("bytes", ">I"), 0xD9: ("text", ">B"), 0xDA: ("text", ">H"),
    0xDB: ("text", ">I"), 0xDC: ("list", ">H"), 0xDD: ("list", ">I"), 0xDE: ("map", ">H"), 0xDF: ("map", ">I"),
}  # fmt: skip
CONSTANTS = {0xC0: None, 0xC2: False, 0xC3: True}
DTYPES = ("<f8", "<f4", "<i8", "<i4")


def unpack(data: bytes, where: str) -> Any:
    """Return the value that a message holds.

    Raises:
        InputError: The message is cut short, too deep, or has an extension type.
    """
    try:
        value, end = _value(memoryview(data), 0, 0)
    except (IndexError, struct.error, UnicodeDecodeError, ValueError, TypeError) as error:
        raise InputError(f"{where}: is no MessagePack ({type(error).__name__}: {error})") from error
    if end != len(data):
        raise InputError(f"{where}: has {len(data) - end} bytes after the message")
    return value


def _value(data: memoryview, at: int, depth: int) -> tuple[Any, int]:
    if depth > MAX_DEPTH:
        raise ValueError("nested too deep")
    code = data[at]
    at += 1
    if code in CONSTANTS:
        return CONSTANTS[code], at
    if code in NUMBERS:
        kind = NUMBERS[code]
        return struct.unpack_from(kind, data, at)[0], at + struct.calcsize(kind)
    if code < 0x80 or code >= 0xE0:
        return code if code < 0x80 else code - 0x100, at
    what, count, at = _length(data, code, at)
    if count > len(data) - at:
        raise ValueError(f"a {what} of {count} items in {len(data) - at} bytes")
    if what in ("bytes", "text"):
        raw = bytes(data[at : at + count])
        return raw if what == "bytes" else raw.decode(), at + count
    return _items(data, what, count, at, depth + 1)


def _length(data: memoryview, code: int, at: int) -> tuple[str, int, int]:
    for what, first, mask in (("map", 0x80, 0x0F), ("list", 0x90, 0x0F), ("text", 0xA0, 0x1F)):
        if first <= code <= first + mask:
            return what, code & mask, at
    if code not in LENGTHS:
        raise ValueError(f"the type {code:#x} is not read")
    what, kind = LENGTHS[code]
    return what, int(struct.unpack_from(kind, data, at)[0]), at + struct.calcsize(kind)


def _items(data: memoryview, what: str, count: int, at: int, depth: int) -> tuple[Any, int]:
    values = []
    for _ in range(count * (2 if what == "map" else 1)):
        value, at = _value(data, at, depth)
        values.append(value)
    if what == "list":
        return values, at
    found = dict(zip(values[::2], values[1::2], strict=True))
    return (_array(found) if ARRAY_KEY in found else found), at


def _array(packed: dict[Any, Any]) -> np.ndarray:
    """Return an array as py123d packs it: its type, shape and bytes."""
    kind = packed.get(b"dtype", "")
    if kind not in DTYPES:
        raise ValueError(f"an array of type {kind!r}, must be of {', '.join(DTYPES)}")
    return np.frombuffer(packed.get(b"data", b""), dtype=kind).reshape(packed.get(b"shape", ()))
