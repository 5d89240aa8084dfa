"""Protocol Buffers messages read from their wire format, without generated code.

Format: https://protobuf.dev/programming-guides/encoding. Groups, which nothing here uses, are refused.
"""

import struct
from collections import defaultdict

import numpy as np
from jaxtyping import Float64, Int64

from alpamayo_sim.errors import InputError

Array = np.ndarray
Message = dict[int, list[int | bytes]]  # the values of each field in order: varints as int, all others as bytes

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
MAX_VARINT_BYTES = 10
DTYPES = {"d": (FIXED64, "<f8"), "f": (FIXED32, "<f4"), "v": (VARINT, "u1")}


def parse(data: bytes, where: str) -> Message:
    """Return the fields of a message.

    Raises:
        InputError: The bytes are not a whole message.
    """
    fields: Message = defaultdict(list)
    i, end = 0, len(data)
    try:
        while i < end:
            key = data[i]
            if key < 128:  # nearly always: no call
                i += 1
            else:
                key, i = _varint(data, i)
            wire = key & 7
            if wire == BYTES:
                size = data[i]
                if size < 128:
                    i += 1
                else:
                    size, i = _varint(data, i)
            elif wire == VARINT:
                value, i = _varint(data, i)
                fields[key >> 3].append(value)
                continue
            elif wire in (FIXED64, FIXED32):
                size = 8 if wire == FIXED64 else 4
            else:
                raise InputError(f"{where}: has a field of wire type {wire}, which is not one of Protocol Buffers 2")
            if i + size > end:
                raise InputError(f"{where}: field {key >> 3} is cut short")
            fields[key >> 3].append(data[i : i + size])
            i += size
    except IndexError:
        raise InputError(f"{where}: the message is cut short") from None
    return fields


def columns(messages: list[bytes], layout: tuple[tuple[int, str], ...], where: str) -> Float64[Array, "n k"]:
    """Return the fields of many small messages as a table, NaN where a message lacks one.

    ``layout`` names fields by number and kind: ``d`` double, ``f`` float, ``v`` varint. Messages that hold exactly
    these, in this order, are read all at once.
    """
    packed, tags = _packed_layout(layout)
    table = np.full((len(messages), len(layout)), np.nan)
    usual = np.array([len(message) == packed.itemsize for message in messages], bool)
    rows = np.frombuffer(b"".join(m for m, fits in zip(messages, usual, strict=True) if fits), packed)
    fits = np.ones(len(rows), bool)
    for k, (_, kind) in enumerate(layout):
        fits &= (rows[f"tag{k}"] == tags[k]) & ((rows[f"value{k}"] < 128) if kind == "v" else True)
    at = np.flatnonzero(usual)
    for k in range(len(layout)):
        table[at, k] = rows[f"value{k}"]
    rare: dict[bytes, list[float]] = {}  # states of a track that is not seen are all the same
    for i in [*np.flatnonzero(~usual), *at[~fits]]:
        message = messages[i]
        if message not in rare:
            fields = parse(message, where)
            rare[message] = [scalar(fields, number, kind, where, np.nan) for number, kind in layout]
        table[i] = rare[message]
    return table


def scalar(fields: Message, number: int, kind: str, where: str, default: float = 0.0) -> float:
    """Return the last value of a field of kind ``d``, ``f`` or ``v``, else the default."""
    if number not in fields:
        return default
    value = fields[number][-1]
    wire, dtype = DTYPES[kind]
    if wire == VARINT:
        if not isinstance(value, int):
            raise InputError(f"{where}: field {number} must be a varint")
        return value
    if not isinstance(value, bytes) or len(value) != np.dtype(dtype).itemsize:
        raise InputError(f"{where}: field {number} must be a {'double' if kind == 'd' else 'float'}")
    return float(struct.unpack(dtype.replace("f8", "d").replace("f4", "f"), value)[0])


def integer(fields: Message, number: int, where: str, default: int = 0) -> int:
    """Return the last value of a varint field as a signed integer of 64 bits, else the default."""
    value = int(scalar(fields, number, "v", where, default))
    return value - (1 << 64) if value >= 1 << 63 else value


def text(fields: Message, number: int, where: str) -> str:
    """Return the last value of a string field, else an empty string."""
    value = fields[number][-1] if number in fields else b""
    if not isinstance(value, bytes):
        raise InputError(f"{where}: field {number} must be a string")
    return value.decode("utf-8", "replace")


def submessages(fields: Message, number: int, where: str) -> list[bytes]:
    """Return the bytes of a field's messages."""
    values = fields.get(number, [])
    for value in values:
        if not isinstance(value, bytes):
            raise InputError(f"{where}: field {number} must hold messages")
    return values  # type: ignore[return-value]


def integers(fields: Message, number: int, where: str) -> Int64[Array, " n"]:
    """Return all values of a repeated varint field, packed or not, as signed integers."""
    parts = [
        _packed_varints(value, where) if isinstance(value, bytes) else np.array([value], np.uint64)
        for value in fields.get(number, [])
    ]
    return np.concatenate(parts).view(np.int64) if parts else np.zeros(0, np.int64)


def floats(fields: Message, number: int, where: str) -> Float64[Array, " n"]:
    """Return all values of a repeated float field, packed or not."""
    return _numbers(fields, number, "<f4", where)


def doubles(fields: Message, number: int, where: str) -> Float64[Array, " n"]:
    """Return all values of a repeated double field, packed or not."""
    return _numbers(fields, number, "<f8", where)


def _numbers(fields: Message, number: int, dtype: str, where: str) -> Array:
    parts = submessages(fields, number, where)
    if any(len(part) % np.dtype(dtype).itemsize for part in parts):
        raise InputError(f"{where}: field {number} does not hold whole numbers of type {dtype}")
    return np.frombuffer(b"".join(parts), dtype).astype(np.float64)


def _packed_varints(data: bytes, where: str) -> Array:
    raw = np.frombuffer(data, np.uint8)
    last = np.flatnonzero(raw < 128)
    first = np.concatenate([[0], last[:-1] + 1]) if len(last) else last
    length = last - first + 1
    if len(raw) and (not len(last) or last[-1] != len(raw) - 1 or length.max() > MAX_VARINT_BYTES):
        raise InputError(f"{where}: packed integers are cut short")
    values = np.zeros(len(last), np.uint64)
    for k in range(int(length.max()) if len(last) else 0):
        has = length > k
        values[has] |= (raw[first[has] + k].astype(np.uint64) & np.uint64(127)) << np.uint64(7 * k)
    return values


def _varint(data: bytes, i: int) -> tuple[int, int]:
    """Return the varint at ``i`` and the index after it."""
    value = data[i]
    i += 1
    if value < 128:
        return value, i
    value &= 127
    for shift in range(7, 7 * MAX_VARINT_BYTES, 7):
        byte = data[i]
        i += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value & 0xFFFFFFFFFFFFFFFF, i
    raise IndexError


def _packed_layout(layout: tuple[tuple[int, str], ...]) -> tuple[np.dtype, list[int]]:
    """Return the layout as a record of bytes, and the tag of each field. Field numbers are below 16."""
    pairs, tags = [], []
    for k, (number, kind) in enumerate(layout):
        wire, dtype = DTYPES[kind]
        pairs += [(f"tag{k}", "u1"), (f"value{k}", dtype)]
        tags.append(number << 3 | wire)
    return np.dtype(pairs), tags
