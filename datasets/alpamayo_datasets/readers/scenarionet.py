"""ScenarioNet scenario descriptions: one pickle for each scene, made from nuScenes, Waymo, nuPlan and others.

The keys are those of ScenarioNet's ScenarioDescription. The converters fill them differently for each dataset. For
nuScenes, the third column of lane polylines is a heading, the map is flat, the ego's length and width are exchanged
and its point is that of the rear axle, and the closed ``boundary_*`` lines outline the drivable ground.
"""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from alpamayo_datasets.assemble import RawMap, RawSignal, RawTrack, assemble
from alpamayo_datasets.fields import MAX_STEPS, get, get_list, get_record, numbers, points
from alpamayo_datasets.lanes import RawLane, sides_from_polygon, unknown_sides, without_repeats
from alpamayo_datasets.sizes import usual_size
from alpamayo_datasets.unpickle import check_sharing, read_pickle
from alpamayo_datasets.words import meaning_of
from alpamayo_sim.datatypes.scene import Category, LaneKind, LineKind, Provenance, Scene, SignalState
from alpamayo_sim.errors import InputError
from alpamayo_sim.geometry import wrap_angle
from alpamayo_sim.io.limits import name_of

Array = np.ndarray

LICENCES = {
    "nuscenes": "CC BY-NC-SA 4.0 (nuScenes)",
    "waymo": "Waymo Open Dataset licence, non-commercial",
}
CATEGORIES = {
    "VEHICLE": Category.VEHICLE,
    "PEDESTRIAN": Category.PEDESTRIAN,
    "CYCLIST": Category.CYCLIST,
    "TRAFFIC_CONE": Category.CONE,
    "TRAFFIC_BARRIER": Category.BARRIER,
}
DETAILED_CATEGORIES = {
    "vehicle.truck": Category.TRUCK,
    "vehicle.trailer": Category.TRUCK,
    "vehicle.construction": Category.TRUCK,
    "vehicle.bus.rigid": Category.BUS,
    "vehicle.bus.bendy": Category.BUS,
    "vehicle.motorcycle": Category.MOTORCYCLE,
    "vehicle.bicycle": Category.CYCLIST,
    "animal": Category.ANIMAL,
    "movable_object.debris": Category.DEBRIS,
}
LANE_KINDS = {
    "LANE_SURFACE_STREET": LaneKind.DRIVING,
    "LANE_FREEWAY": LaneKind.DRIVING,
    "LANE_BIKE_LANE": LaneKind.BICYCLE,
    "LANE_BUS_LANE": LaneKind.BUS,
    "LANE_PARKING": LaneKind.PARKING,
    "LANE_SURFACE_UNSTRUCTURE": LaneKind.OTHER,
}
LINE_KINDS = {
    "ROAD_LINE_BROKEN_SINGLE_WHITE": LineKind.BROKEN_WHITE,
    "ROAD_LINE_SOLID_SINGLE_WHITE": LineKind.SOLID_WHITE,
    "ROAD_LINE_SOLID_DOUBLE_WHITE": LineKind.DOUBLE_WHITE,
    "ROAD_LINE_BROKEN_SINGLE_YELLOW": LineKind.BROKEN_YELLOW,
    "ROAD_LINE_BROKEN_DOUBLE_YELLOW": LineKind.BROKEN_YELLOW,
    "ROAD_LINE_SOLID_SINGLE_YELLOW": LineKind.SOLID_YELLOW,
    "ROAD_LINE_SOLID_DOUBLE_YELLOW": LineKind.DOUBLE_YELLOW,
    "ROAD_LINE_PASSING_DOUBLE_YELLOW": LineKind.DOUBLE_YELLOW,
}
SIGNAL_STATES = {
    **dict.fromkeys(
        ("LANE_STATE_STOP", "LANE_STATE_ARROW_STOP", "LANE_STATE_FLASHING_STOP", "TRAFFIC_LIGHT_RED", "RED", "STOP"),
        SignalState.RED,
    ),
    **dict.fromkeys(
        (
            "LANE_STATE_CAUTION",
            "LANE_STATE_ARROW_CAUTION",
            "LANE_STATE_FLASHING_CAUTION",
            "TRAFFIC_LIGHT_YELLOW",
            "YELLOW",
            "CAUTION",
        ),
        SignalState.YELLOW,
    ),
    **dict.fromkeys(("LANE_STATE_GO", "LANE_STATE_ARROW_GO", "TRAFFIC_LIGHT_GREEN", "GREEN", "GO"), SignalState.GREEN),
    **dict.fromkeys(("TRAFFIC_LIGHT_OFF", "OFF"), SignalState.OFF),
}
UNKNOWN_LINES = ("ROAD_LINE_UNKNOWN",)
UNKNOWN_STATES = ("LANE_STATE_UNKNOWN", "TRAFFIC_LIGHT_UNKNOWN", "UNKNOWN", "NONE", "")
UNKNOWN_CATEGORIES = ("OTHER", "UNSET", "UNKNOWN", "NONE", "DEFAULT")
AXLE_TO_CENTRE_M = 1.35  # rear axle to the middle of the Renault Zoe of nuScenes
MPS_PER_MPH = 0.44704
SPEED_UNITS_MPS = {"speed_limit_mph": MPS_PER_MPH, "speed_limit_mps": 1.0, "speed_limit_kmh": 1.0 / 3.6}


def matches(path: Path, head: bytes) -> bool:
    """Return whether the file is a pickle of protocol 2 or later."""
    return head[:1] == b"\x80"


def read(path: Path) -> Scene:
    """Return the Scene of a ScenarioNet pickle.

    Raises:
        InputError: The file cannot be read, is damaged or hostile, or is not a ScenarioNet scenario.
    """
    record, where = read_pickle(path), str(path)
    check_sharing(record, path)
    if not isinstance(record, dict) or not {"tracks", "map_features", "metadata"} <= set(record):
        raise InputError(f"{where}: not a ScenarioNet scenario, which has tracks, map_features and metadata")
    metadata = get_record(record, "metadata", where)
    flat = metadata.get("dataset") == "nuscenes"
    ego_id = name_of(get(metadata, "sdc_id", f"{where}: metadata"), f"{where}: metadata: 'sdc_id'")
    tracks = [
        _track(name, item, f"{where}: track {name!r}", flat)
        for name, item in _named(get_record(record, "tracks", where), f"{where}: name of a track")
    ]
    if not tracks:
        raise InputError(f"{where}: has no tracks")
    if flat:
        tracks = [_centred(track, _dt(metadata, where)) if track.id == ego_id else track for track in tracks]
    name = name_of(metadata.get("scenario_id", record.get("id", path.stem)), f"{where}: metadata: 'scenario_id'")
    dataset = name_of(metadata.get("dataset", "unknown"), f"{where}: metadata: 'dataset'")
    return assemble(
        where,
        name,
        Provenance(f"{dataset}, by ScenarioNet", LICENCES.get(dataset, "unknown"), name),
        tracks,
        ego_id,
        _map(get_record(record, "map_features", where), where, flat),
        _signals(record.get("dynamic_map_states") or {}, len(tracks[0].valid), where),
        _dt(metadata, where),
    )


def _named(record: dict[Any, Any], where: str) -> Iterator[tuple[str, Any]]:
    """Yield names and values of a record."""
    return ((name_of(name, where), item) for name, item in record.items())


def _word(value: Any, where: str) -> str:
    """Return a word of the format; a missing one is "None"."""
    return "None" if value is None else name_of(value, where)


def _dt(metadata: dict[str, Any], where: str) -> float:
    """Return the time step (s): the median of the time stamps' steps, and exactly 0.1 where it is within 5 ms of it."""
    key = "ts" if "ts" in metadata else "timestep"
    times = numbers(get(metadata, key, f"{where}: metadata"), (None,), f"{where}: metadata: {key!r}")
    dt = float(np.median(np.diff(times))) if len(times) > 1 else 0.1
    if not (np.isfinite(dt) and dt > 0):
        raise InputError(f"{where}: metadata: {key!r} does not grow")
    return 0.1 if abs(dt - 0.1) < 0.005 else round(dt, 4)


def _track(name: str, item: Any, where: str, flat: bool) -> RawTrack:
    state = get_record(item, "state", where)
    position = numbers(get(state, "position", where), (None, 3), f"{where}: position")
    n = len(position)
    if not 0 < n <= MAX_STEPS:
        raise InputError(f"{where}: has {n} steps, must be 1 to {MAX_STEPS}")
    valid = numbers(get(state, "valid", where), (n,), f"{where}: valid") > 0.5
    heading = numbers(get(state, "heading", where), (n,), f"{where}: heading")
    velocity = numbers(get(state, "velocity", where), (n, None), f"{where}: velocity")[:, :2]
    details = item.get("metadata") if isinstance(item.get("metadata"), dict) else {}
    kind, detailed = (_word(holder.get("type"), f"{where}: type") for holder in (item, details))
    category = _category(kind, detailed, where)
    size = _size(state, category, valid, where)
    for array, what in ((position, "position"), (heading, "heading"), (velocity, "velocity")):
        if not np.isfinite(array[valid]).all():
            raise InputError(f"{where}: {what} has values that are not finite")
    ground = np.zeros(n) if flat else position[:, 2] - 0.5 * size[2]
    return RawTrack(
        id=name,
        category=category,
        position=np.concatenate([position[:, :2], ground[:, None]], axis=1),
        heading=heading,
        velocity=_last_velocity(velocity, valid),
        size=size,
        valid=valid,
    )


def _size(state: dict[str, Any], category: Category, valid: Array, where: str) -> Array:
    """Return length, width and height (m): medians of the valid steps, the usual ones where the file has none."""
    size, n = usual_size(category), len(valid)
    for k, key in enumerate(("length", "width", "height")):
        if key in state and valid.any():
            size[k] = np.median(numbers(state[key], (n,), f"{where}: {key}")[valid])
    if not (np.isfinite(size).all() and np.all(size > 0)):
        raise InputError(f"{where}: length, width and height must be positive")
    return size


def _centred(track: RawTrack, dt: float) -> RawTrack:
    """Return nuScenes' ego with its longer side along its heading, and its box about its middle.

    The recorded point is the middle of the rear axle.
    """
    length, width, height = track.size
    c, s = np.cos(track.heading), np.sin(track.heading)
    ahead = AXLE_TO_CENTRE_M * np.stack([c, s, np.zeros(len(c))], axis=1)
    turned = np.array(wrap_angle(np.diff(track.heading, prepend=track.heading[:1])))
    side = AXLE_TO_CENTRE_M * turned / dt
    return replace(
        track,
        size=np.array([max(length, width), min(length, width), height]),
        position=track.position + ahead,
        velocity=track.velocity + side[:, None] * np.stack([-s, c], axis=1),
    )


def _category(kind: str, detailed: str, where: str) -> Category:
    if detailed in DETAILED_CATEGORIES:
        return DETAILED_CATEGORIES[detailed]
    return meaning_of(kind.upper(), CATEGORIES, Category.UNKNOWN, "type", where, UNKNOWN_CATEGORIES)


def _last_velocity(velocity: Array, valid: Array) -> Array:
    """Repeat the last but one velocity where the last is zero: forward differences end in a zero."""
    steps = np.flatnonzero(valid)
    if len(steps) > 1 and not velocity[steps[-1]].any() and np.hypot(*velocity[steps[-2]]) > 1.0:
        velocity = velocity.copy()
        velocity[steps[-1]] = velocity[steps[-2]]
    return velocity


def _map(features: dict[str, Any], where: str, flat: bool) -> RawMap:
    raw = RawMap()
    for name, item in _named(features, f"{where}: name of a map feature"):
        here = f"{where}: map feature {name!r}"
        kind = name_of(get(item, "type", here), f"{here}: type")
        if kind.startswith("LANE_"):
            raw.lanes.extend(_lane(name, item, kind, here, flat))
        elif kind == "ROAD_EDGE_SIDEWALK" and "polygon" in item:
            continue  # the ground that people walk on; of converters since September 2023
        elif kind.startswith("ROAD_EDGE"):
            raw.edges.append(_points(item, here))
        elif kind.startswith("ROAD_LINE") and name.startswith("boundary_"):
            raw.rings.append(_points(item, here))
        elif kind.startswith("ROAD_LINE"):
            raw.lines.append(
                (_points(item, here), meaning_of(kind, LINE_KINDS, LineKind.UNKNOWN, "type", here, UNKNOWN_LINES))
            )
        elif kind == "CROSSWALK":
            raw.crosswalks.append(_points(item, here))
        elif kind == "STOP_SIGN":
            raw.signs.append((_place(get(item, "position", here), here), _names(get_list(item, "lane", here))))
    return raw


def _points(item: dict[str, Any], where: str) -> Array:
    """Return the points of a feature: converters of different years call them a polyline or a polygon."""
    return points(item["polygon"] if "polygon" in item else get(item, "polyline", where), where)


def _place(value: Any, where: str) -> Array:
    """Return one point; converters give two or three coordinates, some of them for each step."""
    if np.ndim(value) == 1:
        value = [value]
    found = points(value, where)
    if not len(found):
        raise InputError(f"{where}: must be a point of 2 or 3 coordinates")
    return found[0]


def _names(value: Any) -> tuple[str, ...]:
    """Return the ids in a list of ids or of records that name a feature."""
    if not isinstance(value, (list, tuple)):
        return ()
    ids = [item.get("feature_id") if isinstance(item, dict) else item for item in value]
    return tuple(dict.fromkeys(name_of(name, "name of a lane") for name in ids if isinstance(name, (int, str))))


def _lane(name: str, item: Any, kind: str, where: str, flat: bool) -> list[RawLane]:
    line = points(get(item, "polyline", where), where, keep_z=not flat)
    kept = without_repeats(line)
    if len(kept) < 2:
        return []
    left, right = unknown_sides(line[kept])
    if "width" in item:
        left, right = numbers(item["width"], (len(line), 2), f"{where}: width")[kept].T
    elif "polygon" in item:
        left, right = sides_from_polygon(line[kept], points(item["polygon"], f"{where}: polygon"))
    exits = item.get("exit_lanes")
    return [
        RawLane(
            id=name,
            centreline=line[kept],
            left=left,
            right=right,
            kind=meaning_of(kind, LANE_KINDS, LaneKind.DRIVING, "type", where, ("LANE_UNKNOWN",)),
            # nuScenes' maps have no speed limits; the converter writes 100 km/h on every lane
            speed_limit=None if flat else _speed_limit(item),
            successors=tuple(name_of(i, f"{where}: exit_lanes") for i in exits)
            if isinstance(exits, (list, tuple))
            else None,
            left_neighbours=_names(item.get("left_neighbor")),
            right_neighbours=_names(item.get("right_neighbor")),
            # nuScenes' lane connectors have no polygon; Waymo marks lanes without paint as interpolating
            in_intersection=bool(item.get("interpolating")) or (flat and "polygon" not in item),
        )
    ]


def _speed_limit(item: dict[str, Any]) -> float | None:
    """Return the speed limit (m/s) of a lane, in whichever unit it is given."""
    for key, unit in SPEED_UNITS_MPS.items():
        limit = item.get(key)
        if isinstance(limit, (int, float)) and np.isfinite(limit) and limit > 0:
            return float(limit) * unit
    return None


def _signals(states: Any, steps: int, where: str) -> list[RawSignal]:
    if not isinstance(states, dict):
        raise InputError(f"{where}: 'dynamic_map_states' is a {type(states).__name__}, must be a record")
    found = []
    for name, item in _named(states, f"{where}: name of a signal"):
        here = f"{where}: signal {name!r}"
        shown = get_list(get_record(item, "state", here), "object_state", here)
        if len(shown) != steps:
            raise InputError(f"{here}: has {len(shown)} states, the tracks have {steps} steps")
        holder = item if "stop_point" in item else item["state"]
        place = _place(get(holder, "stop_point", here), f"{here}: stop_point")
        codes = np.array([signal_state(value, here) for value in shown], np.int8)
        found.append(RawSignal(name, place, codes, (name_of(get(item, "lane", here), f"{here}: lane"),)))
    return found


def signal_state(value: Any, where: str) -> SignalState:
    """Return the state of a traffic light from a word of Waymo, ScenarioNet, MetaDrive or nuPlan."""
    return meaning_of(
        _word(value, where).upper(),
        SIGNAL_STATES,
        SignalState.UNKNOWN,
        "state of a traffic light",
        where,
        UNKNOWN_STATES,
    )
