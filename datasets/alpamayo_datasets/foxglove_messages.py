"""Messages of Foxglove's schemas, from Protocol Buffers or JSON, as plain records.

Names and numbers of the fields: https://github.com/foxglove/foxglove-sdk/tree/main/schemas. Fields that nothing here
needs are left out. A missing number is 0, a missing rotation none.
"""

import base64
import binascii
import json
from typing import Any

import numpy as np
from jaxtyping import Float64

from alpamayo_datasets import protobuf_wire as wire
from alpamayo_datasets.fields import numbers
from alpamayo_sim.errors import InputError

Array = np.ndarray
Layout = dict[str, tuple[int, str]]

PREFIX = "foxglove."
ENCODINGS = ("protobuf", "json")
POINT = ((1, "d"), (2, "d"), (3, "d"))
WHOLE_POINT_BYTES = 27
PARTS = {"vector": ("x", "y", "z"), "quaternion": ("x", "y", "z", "w")}
LAYOUTS: dict[str, Layout] = {  # a kind with * is a list of messages
    "SceneUpdate": {"entities": (2, "*SceneEntity")},
    "SceneEntity": {
        "timestamp": (1, "time"),
        "frame_id": (2, "text"),
        "id": (3, "text"),
        "metadata": (6, "*KeyValuePair"),
        "cubes": (8, "*CubePrimitive"),
        "lines": (11, "*LinePrimitive"),
    },
    "KeyValuePair": {"key": (1, "text"), "value": (2, "text")},
    "CubePrimitive": {"pose": (1, "Pose"), "size": (2, "vector")},
    "LinePrimitive": {"type": (1, "integer"), "pose": (2, "Pose"), "points": (5, "points")},
    "Pose": {"position": (1, "vector"), "orientation": (2, "quaternion")},
    "FrameTransforms": {"transforms": (1, "*FrameTransform")},
    "FrameTransform": {
        "timestamp": (1, "time"),
        "parent_frame_id": (2, "text"),
        "child_frame_id": (3, "text"),
        "translation": (4, "vector"),
        "rotation": (5, "quaternion"),
    },
    "CompressedImage": {"timestamp": (1, "time"), "frame_id": (4, "text"), "data": (2, "bytes")},
    "RawImage": {
        "timestamp": (1, "time"),
        "frame_id": (7, "text"),
        "width": (2, "fixed32"),
        "height": (3, "fixed32"),
        "encoding": (4, "text"),
        "step": (5, "fixed32"),
        "data": (6, "bytes"),
    },
    "CameraCalibration": {
        "frame_id": (9, "text"),
        "width": (2, "fixed32"),
        "height": (3, "fixed32"),
        "distortion_model": (4, "text"),
        "D": (5, "doubles"),
        "K": (6, "doubles"),
    },
}


def decode(schema: str, data: bytes, encoding: str, where: str) -> dict[str, Any]:
    """Return a message of a schema (``foxglove.NAME``) as a record.

    Times are s, positions (x, y, z), rotations (w, x, y, z), points float64 [n, 3].

    Raises:
        InputError: The data is no message of that schema.
    """
    name = schema.removeprefix(PREFIX)
    if encoding == "protobuf":
        return _from_wire(name, data, where)
    try:
        value = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{where}: is no JSON") from error
    return _from_json(name, value, where)


def _from_wire(name: str, data: bytes, where: str) -> dict[str, Any]:
    fields = wire.parse(data, where)
    return {key: _wire_value(kind, fields, number, where) for key, (number, kind) in LAYOUTS[name].items()}


def _wire_value(kind: str, fields: wire.Message, number: int, where: str) -> Any:
    if kind == "text":
        return wire.text(fields, number, where)
    if kind == "integer":
        return wire.integer(fields, number, where)
    if kind == "doubles":
        return wire.doubles(fields, number, where).tolist()
    parts = wire.submessages(fields, number, where)
    if kind == "points":
        return _points(parts, where)
    if kind.startswith("*"):
        return [_from_wire(kind[1:], part, where) for part in parts]
    last = parts[-1] if parts else b""
    if kind == "bytes":
        return last
    if kind == "fixed32":
        return int.from_bytes(last, "little")
    if kind in LAYOUTS:
        return _from_wire(kind, last, where)
    inner = wire.parse(last, where)
    if kind == "time":
        return wire.integer(inner, 1, where) + 1e-9 * wire.integer(inner, 2, where)
    return _parts(kind, [wire.scalar(inner, k + 1, "d", where) for k in range(len(PARTS[kind]))])


def _points(parts: list[bytes], where: str) -> Float64[Array, "n 3"]:
    """Return points; a coordinate that is 0 may be left out of its message."""
    table = wire.columns(parts, POINT, where)
    whole = np.array([len(part) >= WHOLE_POINT_BYTES for part in parts], bool)
    if np.isnan(table[whole]).any():
        raise InputError(f"{where}: has points that are not finite")
    return np.nan_to_num(table, nan=0.0)


def _from_json(name: str, value: Any, where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise InputError(f"{where}: {name} is a {type(value).__name__}, must be a record")
    return {key: _json_value(kind, value.get(key), f"{where}: {key}") for key, (_, kind) in LAYOUTS[name].items()}


def _json_value(kind: str, value: Any, where: str) -> Any:
    if kind.startswith("*") or kind == "points":
        rows = [] if value is None else value
        if not isinstance(rows, list):
            raise InputError(f"{where}: is a {type(value).__name__}, must be a list")
        if kind == "points":
            return np.array([_json_value("vector", row, where) for row in rows], np.float64).reshape(-1, 3)
        return [_from_json(kind[1:], row, where) for row in rows]
    if kind in LAYOUTS:
        return _from_json(kind, {} if value is None else value, where)
    if kind == "text":
        return _checked("" if value is None else value, str, where)
    if kind == "bytes":
        try:
            return base64.b64decode(_checked(value, str, where), validate=True)
        except binascii.Error:
            raise InputError(f"{where}: is not in base64") from None
    if kind in ("integer", "fixed32"):
        return _checked(0 if value is None else value, int, where)
    if kind == "doubles":
        return numbers([] if value is None else value, (None,), where).tolist()
    record = _checked({} if value is None else value, dict, where)
    names = ("sec", "nsec") if kind == "time" else PARTS[kind]
    found = numbers([record.get(name, 0.0) for name in names], (len(names),), where).tolist()
    return found[0] + 1e-9 * found[1] if kind == "time" else _parts(kind, found)


def _checked(value: Any, kind: type, where: str) -> Any:
    if not isinstance(value, kind) or isinstance(value, bool):
        raise InputError(f"{where}: is a {type(value).__name__}, must be a {kind.__name__}")
    return value


def _parts(kind: str, values: list[float]) -> tuple[float, ...]:
    if kind == "vector":
        return tuple(values)
    x, y, z, w = values
    return (w, x, y, z) if any(values) else (1.0, 0.0, 0.0, 0.0)
