"""Scenes of Waymo's Scenario proto.

Numbers of fields are those of waymo_open_dataset/protos/scenario.proto and map.proto.
"""

import numpy as np
import shapely
from jaxtyping import Float64

from alpamayo_datasets.assemble import RawMap, RawSignal, RawTrack, assemble
from alpamayo_datasets.fields import MAX_STEPS
from alpamayo_datasets.lanes import MAX_SIDE_M, RawLane, unknown_sides, without_repeats
from alpamayo_datasets.protobuf_wire import (
    Message,
    columns,
    doubles,
    integer,
    integers,
    parse,
    scalar,
    submessages,
    text,
)
from alpamayo_datasets.readers.scenarionet import MPS_PER_MPH
from alpamayo_datasets.readers.womd_json import LANE_KINDS, LICENCE, SIGNAL_STATES, UNKNOWN_STATES
from alpamayo_datasets.words import meaning_of
from alpamayo_sim.datatypes.scene import Category, LaneKind, LineKind, Provenance, Scene, SignalState
from alpamayo_sim.errors import InputError

Array = np.ndarray

TIMESTAMPS, TRACKS, SCENARIO_ID, SDC_TRACK_INDEX, DYNAMIC_MAP_STATES, MAP_FEATURES = 1, 2, 5, 6, 7, 8
STATE = ((2, "d"), (3, "d"), (4, "d"), (5, "f"), (6, "f"), (7, "f"), (8, "f"), (9, "f"), (10, "f"), (11, "v"))
POINT = ((1, "d"), (2, "d"), (3, "d"))
LANE, ROAD_LINE, ROAD_EDGE, STOP_SIGN, CROSSWALK = 3, 4, 5, 7, 8
UNKNOWN_CATEGORIES = (0, 4)  # unset and other
CATEGORIES = {1: Category.VEHICLE, 2: Category.PEDESTRIAN, 3: Category.CYCLIST}
LINE_KINDS = {
    1: LineKind.BROKEN_WHITE,
    2: LineKind.SOLID_WHITE,
    3: LineKind.DOUBLE_WHITE,
    4: LineKind.BROKEN_YELLOW,
    5: LineKind.BROKEN_YELLOW,
    6: LineKind.SOLID_YELLOW,
    7: LineKind.DOUBLE_YELLOW,
    8: LineKind.DOUBLE_YELLOW,
}
USUAL_TIME_STEP_S = 0.1
MAX_VALUES = 20_000_000  # tracks times steps


def id_of(data: bytes, where: str) -> str:
    """Return the scenario id of a record.

    Raises:
        InputError: The record is not a Scenario proto.
    """
    return text(parse(data, where), SCENARIO_ID, f"{where}: scenario_id") or where.rpartition(" ")[2]


def scene_of(data: bytes, where: str) -> Scene:
    """Return the Scene of a record.

    Raises:
        InputError: The record is not a Scenario proto, or a field of it is wrong.
    """
    scenario = parse(data, where)
    if not {TIMESTAMPS, TRACKS, MAP_FEATURES} <= set(scenario):
        raise InputError(f"{where}: not a Waymo Scenario, which has timestamps_seconds, tracks and map_features")
    times = doubles(scenario, TIMESTAMPS, f"{where}: timestamps_seconds")
    tracks = _tracks(submessages(scenario, TRACKS, f"{where}: tracks"), len(times), where)
    sdc = integer(scenario, SDC_TRACK_INDEX, f"{where}: sdc_track_index")
    if not 0 <= sdc < len(tracks):
        raise InputError(f"{where}: sdc_track_index is {sdc}, must be in [0, {len(tracks)})")
    name = id_of(data, where)
    return assemble(
        where,
        name,
        Provenance("Waymo Open Motion Dataset", LICENCE, name),
        tracks,
        tracks[sdc].id,
        _map(submessages(scenario, MAP_FEATURES, f"{where}: map_features"), where),
        _signals(submessages(scenario, DYNAMIC_MAP_STATES, f"{where}: dynamic_map_states"), len(times), where),
        time_step(times, f"{where}: timestamps_seconds"),
    )


def time_step(times: Float64[Array, " n"], where: str) -> float:
    """Return the median time step (s): 0.1 where it is within 5 ms of it.

    Raises:
        InputError: There are no times, or they do not grow.
    """
    if not 0 < len(times) <= MAX_STEPS or not np.isfinite(times).all():
        raise InputError(f"{where}: must be 1 to {MAX_STEPS} finite numbers")
    steps = np.diff(times)
    if len(steps) and not steps.min() > 0.0:
        raise InputError(f"{where}: do not grow at step {int(np.argmin(steps)) + 1}")
    dt = float(np.median(steps)) if len(steps) else USUAL_TIME_STEP_S
    return USUAL_TIME_STEP_S if abs(dt - USUAL_TIME_STEP_S) < 0.005 else round(dt, 4)


def _tracks(records: list[bytes], steps: int, where: str) -> list[RawTrack]:
    if len(records) * steps > MAX_VALUES:
        raise InputError(f"{where}: has {len(records)} tracks of {steps} steps, more than any scenario")
    fields = [parse(record, f"{where}: track {k}") for k, record in enumerate(records)]
    states = [submessages(track, 3, f"{where}: track {k}: states") for k, track in enumerate(fields)]
    for k, rows in enumerate(states):
        if len(rows) != steps:
            raise InputError(f"{where}: track {k} has {len(rows)} states, timestamps_seconds has {steps}")
    table = columns([row for rows in states for row in rows], STATE, f"{where}: tracks: states")
    return [
        _track(track, values, f"{where}: track {k}")
        for k, (track, values) in enumerate(zip(fields, table.reshape(len(fields), steps, -1), strict=True))
    ]


def _track(track: Message, values: Float64[Array, "n 10"], where: str) -> RawTrack:
    """Return a track; the columns of ``values`` are those of ``STATE``."""
    name = str(integer(track, 1, f"{where}: id"))
    category = category_of(integer(track, 2, f"{where}: object_type"), where)
    return box_track(name, category, values[:, :9], values[:, 9] == 1.0, where)


def box_track(name: str, category: Category, values: Float64[Array, "n 9"], valid: Array, where: str) -> RawTrack:
    """Return a track of x, y, z of the box' centre, length, width, height, heading, velocity x and y at each step.

    Raises:
        InputError: A value of a valid step is not finite, or a size is not positive.
    """
    if not np.isfinite(values[valid]).all():
        raise InputError(f"{where}: a valid state has values that are missing or not finite")
    size = np.median(values[valid, 3:6], axis=0) if valid.any() else np.ones(3)
    if not np.all(size > 0):
        raise InputError(f"{where}: length, width and height must be positive")
    return RawTrack(
        id=name,
        category=category,
        position=values[:, :3] - np.array([0.0, 0.0, 0.5 * size[2]]),
        heading=values[:, 6],
        velocity=values[:, 7:9],
        size=size,
        valid=valid,
    )


def category_of(number: int, where: str) -> Category:
    """Return the category of a Waymo object type; a number without a meaning is named."""
    return meaning_of(number, CATEGORIES, Category.UNKNOWN, "object_type", where, UNKNOWN_CATEGORIES)


def state_of(number: int, where: str) -> SignalState:
    """Return what a light shows by Waymo's number of its state; a number without a meaning is named."""
    return meaning_of(number, SIGNAL_STATES, SignalState.UNKNOWN, "state of a traffic light", where, UNKNOWN_STATES)


def _map(features: list[bytes], where: str) -> RawMap:
    raw, lanes, borders = RawMap(), [], {}
    for k, record in enumerate(features):
        here = f"{where}: map feature {k}"
        feature = parse(record, here)
        name = str(integer(feature, 1, f"{here}: id"))
        for kind in (LANE, ROAD_LINE, ROAD_EDGE, STOP_SIGN, CROSSWALK):
            for data in submessages(feature, kind, here):
                part = parse(data, here)
                if kind == LANE:
                    lanes.append((name, part, here))
                elif kind == STOP_SIGN:
                    raw.signs.extend(_sign(part, here))
                elif kind == CROSSWALK:
                    raw.crosswalks.append(_points(part, 1, here))
                else:
                    borders[name] = line = _points(part, 2, here)
                    if kind == ROAD_EDGE:
                        raw.edges.append(line)
                    else:
                        number = integer(part, 1, f"{here}: type")
                        paint = meaning_of(number, LINE_KINDS, LineKind.UNKNOWN, "type of a road line", here, (0,))
                        raw.lines.append((line, paint))
    for name, part, here in lanes:
        raw.lanes.extend(_lane(name, part, borders, here))
    return raw


def _lane(name: str, lane: Message, borders: dict[str, Array], where: str) -> list[RawLane]:
    line = _points(lane, 8, f"{where}: polyline")
    kept = without_repeats(line)
    if len(kept) < 2:
        return []
    limit = scalar(lane, 1, "d", f"{where}: speed_limit_mph")
    return [
        RawLane(
            id=name,
            centreline=line[kept],
            left=_side(line, submessages(lane, 13, where), borders, where)[kept],
            right=_side(line, submessages(lane, 14, where), borders, where)[kept],
            kind=meaning_of(integer(lane, 2, f"{where}: type"), LANE_KINDS, LaneKind.DRIVING, "type of a lane", where),
            speed_limit=limit * MPS_PER_MPH if np.isfinite(limit) and limit > 0 else None,
            successors=tuple(str(i) for i in integers(lane, 10, f"{where}: exit_lanes")),
            left_neighbours=_neighbours(lane, 11, where),
            right_neighbours=_neighbours(lane, 12, where),
            in_intersection=bool(integer(lane, 3, f"{where}: interpolating")),
        )
    ]


def _side(line: Array, segments: list[bytes], borders: dict[str, Array], where: str) -> Float64[Array, " n"]:
    """Return the distance (m) of the lane's boundary from each point; NaN where it has none."""
    side, _ = unknown_sides(line)
    for record in segments:
        segment = parse(record, f"{where}: boundary")
        first, last = (integer(segment, number, f"{where}: boundary") for number in (1, 2))
        border = borders.get(str(integer(segment, 3, f"{where}: boundary_feature_id")))
        if border is None or len(border) < 2 or not 0 <= first <= last < len(line):
            continue
        rows = slice(first, last + 1)
        distance = shapely.distance(shapely.points(line[rows, :2]), shapely.linestrings(border[:, :2]))
        side[rows] = np.where(distance < MAX_SIDE_M, distance, side[rows])
    return side


def _neighbours(lane: Message, number: int, where: str) -> tuple[str, ...]:
    records = submessages(lane, number, f"{where}: neighbors")
    names = [str(integer(parse(record, where), 1, f"{where}: feature_id")) for record in records]
    return tuple(dict.fromkeys(names))


def _sign(sign: Message, where: str) -> list[tuple[Array, tuple[str, ...]]]:
    place = _points(sign, 2, f"{where}: position")
    return [(place[0], tuple(str(i) for i in integers(sign, 1, f"{where}: lane")))] if len(place) else []


def _points(fields: Message, number: int, where: str) -> Float64[Array, "n 3"]:
    points = columns(submessages(fields, number, where), POINT, where)
    if not np.isfinite(points).all():
        raise InputError(f"{where}: has points that are missing or not finite")
    return points


def _signals(records: list[bytes], steps: int, where: str) -> list[RawSignal]:
    """Return the signal of each lane that has one: what it shows at each step, unknown where it was not seen."""
    if len(records) > steps:
        raise InputError(f"{where}: has {len(records)} dynamic_map_states, timestamps_seconds has {steps}")
    states: dict[str, Array] = {}
    places: dict[str, Array] = {}
    for k, record in enumerate(records):
        here = f"{where}: dynamic map state {k}"
        for data in submessages(parse(record, here), 1, here):
            signal = parse(data, here)
            name = str(integer(signal, 1, f"{here}: lane"))
            shown = states.setdefault(name, np.full(steps, SignalState.UNKNOWN, np.int8))
            shown[k] = state_of(integer(signal, 2, f"{here}: state"), f"{where}: traffic light of lane {name}")
            if name not in places and len(place := _points(signal, 3, f"{here}: stop_point")):
                places[name] = place[0]
    return [RawSignal(name, places[name], shown, (name,)) for name, shown in states.items() if name in places]
