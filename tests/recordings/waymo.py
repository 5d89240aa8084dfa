"""Small recordings of the Waymo Open Motion Dataset: both of its protocol buffers, in tfrecords."""

import struct
from pathlib import Path

import numpy as np

from alpamayo_datasets.tfrecord import frame
from recordings.motion import DT, STEPS, bend, curve

Array = np.ndarray

WAYMO_ORIGIN = np.array([-7000.0, 3000.0, 30.0])


def proto(*fields: tuple[int, object]) -> bytes:
    """Return a message: float as double, np.float32 as float, int as varint, bytes and str as they are."""
    out = b""
    for number, value in fields:
        if isinstance(value, (bytes, str)):
            data = value.encode() if isinstance(value, str) else value
            out += varint(number << 3 | 2) + varint(len(data)) + data
        elif isinstance(value, np.float32):
            out += varint(number << 3 | 5) + struct.pack("<f", value)
        elif isinstance(value, float):
            out += varint(number << 3 | 1) + struct.pack("<d", value)
        else:
            out += varint(number << 3) + varint(int(value))  # type: ignore[call-overload]
    return out


def varint(value: int) -> bytes:
    """Return an integer as a varint."""
    value &= (1 << 64) - 1
    out = b""
    while value > 127:
        out += bytes([value & 127 | 128])
        value >>= 7
    return out + bytes([value])


def womd_scenario(number: int = 0, steps: int = STEPS) -> bytes:
    """Return a Scenario: an ego on a bend, a car that leaves, a pedestrian; two lanes, their edges, a signal."""

    def state(x: float, y: float, z: float, size: tuple[float, float, float], heading: float, v: Array) -> bytes:
        floats = [np.float32(value) for value in (*size, heading, *v)]
        return proto((2, float(x)), (3, float(y)), (4, float(z)), *zip(range(5, 11), floats, strict=True), (11, 1))

    def track(name: int, kind: int, start: float, speed: float, size: tuple[float, float, float], seen: int) -> bytes:
        xy, heading, v = curve(start, speed)
        ox, oy, oz = WAYMO_ORIGIN
        states = [
            state(xy[k, 0] + ox, xy[k, 1] + oy, oz + size[2] / 2, size, heading[k], v[k])
            if k < seen
            else proto((11, 0))
            for k in range(steps)
        ]
        return proto((1, name), (2, kind), *((3, row) for row in states))

    def points(number: int, xy: Array, rise: float = 0.0) -> list[tuple[int, object]]:
        xyz = np.column_stack([xy, np.zeros(len(xy))]) + WAYMO_ORIGIN + [0.0, 0.0, rise]
        return [(number, proto((1, x), (2, y), (3, z))) for x, y, z in xyz.tolist()]

    def border(first: int, last: int, feature: int) -> bytes:
        return proto((1, first), (2, last), (3, feature), (4, 1))

    def lane(first: float, last: float, exits: list[int], interpolating: int = 0) -> bytes:
        line = bend(first, last)
        sides = [(13, border(0, len(line) - 1, 4)), (14, border(0, len(line) - 1, 3))]
        neighbour = [(11, proto((1, 77)))]
        exit_lanes = [(10, b"".join(varint(i) for i in exits))] if exits else []
        return proto((1, 25.0), (2, 2), (3, interpolating), *points(8, line), *exit_lanes, *neighbour, *sides)

    features = [
        (1, 3, lane(-20.0, 30.0, [2])),
        (2, 3, lane(30.0, 90.0, [], 1)),
        (3, 5, proto((1, 1), *points(2, bend(-20.0, 90.0, -2.0)))),
        (4, 4, proto((1, 6), *points(2, bend(-20.0, 90.0, 1.5)))),
        (5, 8, proto(*points(1, np.array([[28.0, 0.0], [32.0, 0.0], [32.0, 20.0], [28.0, 20.0]])))),
        (6, 7, proto((1, 1), *points(2, bend(29.0, 29.0, -3.0)))),
        (8, 9, proto(*points(1, bend(5.0, 8.0)))),
    ]
    stop = points(3, bend(30.0, 30.0))
    shown = [proto((1, 2), (2, 4 if k < 10 else 6), *stop) for k in range(steps)]
    return proto(
        *((1, DT * k) for k in range(steps)),
        (2, track(8, 1, 20.0, 4.0, (4.0, 1.8, 1.6), 18)),
        (2, track(7, 1, 0.0, 5.0, (4.5, 1.9, 1.8), steps)),
        (2, track(9, 2, 35.0, 1.0, (0.8, 0.8, 1.7), steps)),
        (5, f"scenario-{number}"),
        (6, 1),
        *((7, proto((1, row))) for row in shown),
        *((8, proto((1, name), (kind, data))) for name, kind, data in features),
        (10, 10),
    )


def womd_example(number: int = 0) -> bytes:
    """Return the same scene as a tf.Example with 10 past steps, the current one and 80 to come."""
    spans = {"past": slice(0, 10), "current": slice(10, 11), "future": slice(11, 91)}
    features: dict[str, object] = {"scenario/id": f"example-{number}".encode()}
    values = {name: np.full((128, 91), -1.0) for name in ("x", "y", "z", "length", "width", "height", "bbox_yaw")}
    values |= {"velocity_x": np.full((128, 91), -1.0), "velocity_y": np.full((128, 91), -1.0)}
    valid = np.zeros((128, 91), np.int64)
    for row, (start, speed, seen) in enumerate([(20.0, 4.0, 18), (0.0, 5.0, STEPS)]):
        xy, heading, v = curve(start, speed)
        valid[row, :seen] = 1
        columns = (*(xy + WAYMO_ORIGIN[:2]).T, WAYMO_ORIGIN[2] + 0.9, 4.5, 1.9, 1.8, heading, *v.T)
        for name, column in zip(values, columns, strict=True):
            values[name][row, :seen] = np.broadcast_to(column, STEPS)[:seen]
    for span, part in spans.items():
        features |= {f"state/{span}/{name}": table[:, part] for name, table in values.items()}
        features[f"state/{span}/valid"] = valid[:, part]
        lights = {"id": 2, "state": 4, "valid": 1, "x": 0.0, "y": 0.0, "z": 0.0}
        stop = bend(30.0, 30.0)[0] + WAYMO_ORIGIN[:2]
        for name, value in (lights | {"x": stop[0], "y": stop[1], "z": WAYMO_ORIGIN[2]}).items():
            table = np.full((part.stop - part.start, 16), -1, np.int64 if isinstance(value, int) else np.float64)
            table[:, 3] = value
            features[f"traffic_light_state/{span}/{name}"] = table
    agents = np.arange(128)
    features |= {"state/id": np.where(agents < 2, agents + 7.0, -1.0), "state/type": np.where(agents < 2, 1.0, -1.0)}
    features["state/is_sdc"] = (agents == 1).astype(np.int64)
    parts = [(1, 2, bend(-20.0, 30.0, spacing=0.5)), (2, 2, bend(30.0, 90.0, spacing=0.5))]
    parts += [(3, 15, bend(-20.0, 90.0, -2.0)), (4, 11, bend(-20.0, 90.0, 1.5)), (6, 17, bend(29.0, 29.0, -3.0))]
    xy = np.concatenate([line for _, _, line in parts])
    features["roadgraph_samples/xyz"] = np.column_stack([xy, np.zeros(len(xy))]) + WAYMO_ORIGIN
    features["roadgraph_samples/id"] = np.concatenate([np.full(len(line), i) for i, _, line in parts])
    features["roadgraph_samples/type"] = np.concatenate([np.full(len(line), kind) for _, kind, line in parts])
    features["roadgraph_samples/valid"] = np.ones(len(xy), np.int64)
    entries = [proto((1, proto((1, name), (2, _feature(value))))) for name, value in features.items()]
    return proto((1, b"".join(entries)))


def _feature(value: object) -> bytes:
    if isinstance(value, bytes):
        return proto((1, proto((1, value))))
    array = np.asarray(value).ravel()
    if array.dtype.kind == "f":
        return proto((2, proto((1, array.astype("<f4").tobytes()))))
    return proto((3, proto((1, b"".join(varint(int(item)) for item in array)))))


def write_womd_scenario(folder: Path) -> Path:
    """Write a tfrecord with one Scenario."""
    path = folder / "scenario.tfrecord"
    path.write_bytes(frame(womd_scenario()))
    return path


def write_womd_example(folder: Path) -> Path:
    """Write a tfrecord with one tf.Example."""
    path = folder / "example.tfrecord"
    path.write_bytes(frame(womd_example()))
    return path
