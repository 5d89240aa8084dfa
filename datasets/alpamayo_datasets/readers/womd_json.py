"""Waymo Open Motion scenes as JSON: name, scenario_id, objects, roads, tl_states, metadata.

Lanes are bare polylines without widths; their successors are found by geometry. Road edges have the drivable side at
their left, as in Waymo's own map.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np

from alpamayo_datasets.assemble import RawMap, RawSignal, RawTrack, assemble
from alpamayo_datasets.fields import MAX_STEPS, get, get_list, get_record, numbers, points
from alpamayo_datasets.lanes import RawLane, unknown_sides, without_repeats
from alpamayo_datasets.sizes import usual_size
from alpamayo_datasets.words import meaning_of
from alpamayo_sim.datatypes.scene import Category, LaneKind, LineKind, Provenance, Scene, SignalState
from alpamayo_sim.errors import InputError, shown
from alpamayo_sim.io.files import read_regular
from alpamayo_sim.io.limits import name_of

Array = np.ndarray

MAX_FILE_BYTES = 64 << 20
TIME_STEP_S = 0.1
MAX_SIZE_M = 1000.0
LICENCE = "Waymo Open Dataset licence, non-commercial"
KEYS = ("objects", "roads", "metadata")
CATEGORIES = {"vehicle": Category.VEHICLE, "pedestrian": Category.PEDESTRIAN, "cyclist": Category.CYCLIST}
# Numbers of map elements as in Waymo's tf.Example features ("roadgraph_samples/type").
LANE_KINDS = {0: LaneKind.OTHER, 1: LaneKind.DRIVING, 2: LaneKind.DRIVING, 3: LaneKind.BICYCLE}
LINE_KINDS = {
    6: LineKind.BROKEN_WHITE,
    7: LineKind.SOLID_WHITE,
    8: LineKind.DOUBLE_WHITE,
    9: LineKind.BROKEN_YELLOW,
    10: LineKind.BROKEN_YELLOW,
    11: LineKind.SOLID_YELLOW,
    12: LineKind.DOUBLE_YELLOW,
    13: LineKind.DOUBLE_YELLOW,
}
UNKNOWN_CATEGORIES = ("other", "unset", "unknown", "None")
UNKNOWN_STATES = (0, "unknown")
UNKNOWN_LINES = (0, 5)
# Numbers and words of Waymo's TrafficSignalLaneState; Nocturne has the words.
SIGNAL_STATES: dict[int | str, SignalState] = {
    1: SignalState.RED,
    2: SignalState.YELLOW,
    3: SignalState.GREEN,
    4: SignalState.RED,
    5: SignalState.YELLOW,
    6: SignalState.GREEN,
    7: SignalState.RED,
    8: SignalState.YELLOW,
    **dict.fromkeys(("arrow_stop", "stop", "flashing_stop"), SignalState.RED),
    **dict.fromkeys(("arrow_caution", "caution", "flashing_caution"), SignalState.YELLOW),
    **dict.fromkeys(("arrow_go", "go"), SignalState.GREEN),
}


def matches(path: Path, head: bytes) -> bool:
    """Return whether the file begins as a JSON record does."""
    return head.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] == b"{"


def read(path: Path) -> Scene:
    """Return the Scene of a Waymo-motion JSON file.

    Raises:
        InputError: The file cannot be read, is larger than 64 MiB, is not JSON, or is not a Waymo-motion scene.
    """
    record, where = _load_json(path), str(path)
    if not isinstance(record, dict) or not set(KEYS) <= set(record):
        missing = [key for key in KEYS if not isinstance(record, dict) or key not in record]
        raise InputError(f"{where}: not a Waymo-motion scene: has no {' and no '.join(map(repr, missing))}")
    objects = get_list(record, "objects", where)
    if not objects:
        raise InputError(f"{where}: has no objects")
    tracks = [_track(item, k, f"{where}: object {k}") for k, item in enumerate(objects)]
    names = {track.id for track in tracks}
    if len(names) < len(tracks):
        raise InputError(f"{where}: two objects have the same id")
    metadata = get_record(record, "metadata", where)
    sdc = get(metadata, "sdc_track_index", f"{where}: metadata")
    if not isinstance(sdc, int) or not 0 <= sdc < len(tracks):
        raise InputError(f"{where}: metadata: sdc_track_index is {shown(sdc)}, must be in [0, {len(tracks)})")
    name = name_of(record.get("scenario_id") or record.get("name") or path.stem, f"{where}: scenario_id")
    provenance = Provenance("Waymo Open Motion Dataset", LICENCE, name)
    raw_map = _map(get_list(record, "roads", where), where)
    signals = _signals(record.get("tl_states") or {}, len(tracks[0].valid), where)
    return assemble(where, name, provenance, tracks, tracks[sdc].id, raw_map, signals, TIME_STEP_S)


def _load_json(path: Path) -> Any:
    try:
        return json.loads(read_regular(path, MAX_FILE_BYTES))
    except InputError:
        raise
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: not valid JSON ({error})") from error


def _track(item: Any, number: int, where: str) -> RawTrack:
    """Return an object. Nocturne's files have no id, no height and no z: then its number and the usual height."""
    valid = np.array([value is True or value == 1 for value in get_list(item, "valid", where)], bool)
    n = len(valid)
    if not 0 < n <= MAX_STEPS:
        raise InputError(f"{where}: has {n} steps, must be 1 to {MAX_STEPS}")
    position = _coordinates(item, "position", "xyz", n, where)
    velocity = _coordinates(item, "velocity", "xy", n, where)
    heading = numbers(get(item, "heading", where), (n,), f"{where}: heading")
    category = meaning_of(str(item.get("type")), CATEGORIES, Category.UNKNOWN, "type", where, UNKNOWN_CATEGORIES)
    height = item.get("height", float(usual_size(category)[2]))
    sides = [get(item, key, where) for key in ("length", "width")]
    keys = ("length", "width", "height")
    size = np.array([_number(value, f"{where}: {key}") for key, value in zip(keys, (*sides, height), strict=True)])
    if not np.all(size > 0):
        raise InputError(f"{where}: length, width and height must be positive")
    for array, what in ((position, "position"), (heading, "heading"), (velocity, "velocity")):
        if not np.isfinite(array[valid]).all():
            raise InputError(f"{where}: {what} has values that are not finite")
    if "z" in item["position"][0]:
        position[:, 2] -= 0.5 * size[2]
    return RawTrack(name_of(item.get("id", number), f"{where}: id"), category, position, heading, velocity, size, valid)


def _number(value: Any, where: str) -> float:
    if not isinstance(value, (int, float)) or not abs(value) < MAX_SIZE_M:
        raise InputError(f"{where}: is {shown(value)}, must be a number below {MAX_SIZE_M:g}")
    return float(value)


def _coordinates(item: Any, key: str, axes: str, n: int | None, where: str) -> Array:
    """Return a list of records with x, y (and z) as an array; a missing z is 0."""
    rows = get_list(item, key, where)
    if n is not None and len(rows) != n:
        raise InputError(f"{where}: {key} has {len(rows)} rows, must be {n}")
    try:
        values = [[row.get(axis, 0.0) if axis == "z" else row[axis] for axis in axes] for row in rows]
        return np.array(values, np.float64).reshape(len(rows), len(axes))
    except (TypeError, KeyError, AttributeError, ValueError, OverflowError):
        raise InputError(f"{where}: {key} must be records of the numbers {', '.join(axes)}") from None


def _map(roads: list[Any], where: str) -> RawMap:
    raw, seen = RawMap(), set()
    for k, item in enumerate(roads):
        here = f"{where}: road {k}"
        line = points(_coordinates(item, "geometry", "xyz", None, here), here)
        kind, number = str(get(item, "type", here)), item.get("map_element_id")
        if kind == "lane" and len(kept := without_repeats(line)) > 1:
            line = line[kept]
            name = name_of(item.get("id", f"road-{k}"), f"{here}: id")
            name = f"{name}-{k}" if name in seen else name
            seen.add(name)
            lane_kind = meaning_of(number, LANE_KINDS, LaneKind.DRIVING, "map_element_id of a lane", here)
            raw.lanes.append(RawLane(name, line, *unknown_sides(line), kind=lane_kind))
        elif kind == "road_edge":
            raw.edges.append(line)
        elif kind == "road_line":
            paint = meaning_of(number, LINE_KINDS, LineKind.UNKNOWN, "map_element_id of a line", here, UNKNOWN_LINES)
            raw.lines.append((line, paint))
        elif kind == "crosswalk":
            raw.crosswalks.append(line)
        elif kind == "stop_sign" and len(line):
            raw.signs.append((line[0], ()))
    return raw


def _signals(states: Any, steps: int, where: str) -> list[RawSignal]:
    """Return the traffic lights: records by lane id, with lists of x, y, z, state and the steps of these."""
    if not isinstance(states, dict):
        raise InputError(f"{where}: 'tl_states' is a {type(states).__name__}, must be a record")
    found = []
    for name, item in states.items():
        here = f"{where}: signal {name!r}"
        shown = get_list(item, "state", here)
        when = item.get("time_index") or list(range(len(shown)))
        if len(when) != len(shown) or not all(isinstance(t, int) and 0 <= t < steps for t in when):
            raise InputError(f"{here}: time_index must be {len(shown)} steps in [0, {steps})")
        codes = np.full(steps, SignalState.UNKNOWN, np.int8)
        for t, value in zip(when, shown, strict=True):
            codes[t] = meaning_of(
                value, SIGNAL_STATES, SignalState.UNKNOWN, "state of a traffic light", here, UNKNOWN_STATES
            )
        places = [numbers(get(item, axis, here), (None,), f"{here}: {axis}") for axis in "xyz"]
        if not all(len(values) and np.isfinite(values[0]) for values in places):
            raise InputError(f"{here}: x, y and z must be lists of finite numbers")
        place = np.array([values[0] for values in places])
        found.append(RawSignal(str(name), place, codes, (str(name),)))
    return found
