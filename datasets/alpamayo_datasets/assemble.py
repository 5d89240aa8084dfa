"""The seam between a file format and a Scene.

A reader fills ``RawTrack``, ``RawSignal`` and ``RawMap`` with the values of its file, in the file's own coordinates,
and calls ``assemble``. That function does the rest in one way for all formats: an origin near the ego, missing widths,
boundaries and successors of lanes, the drivable area, stop lines, props, and the ego's route.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import numpy as np
from jaxtyping import Bool, Float64, Int8

from alpamayo_datasets.ground import areas_of_polygons, areas_of_rings
from alpamayo_datasets.lanes import RawLane, lanes_of, without_repeats
from alpamayo_datasets.route import instructions, route_of
from alpamayo_sim.datatypes.scene import (
    STATIC,
    Category,
    Environment,
    LineKind,
    Prop,
    Provenance,
    RoadLine,
    RoadMap,
    Route,
    Scene,
    Signal,
    StopLine,
    Track,
)
from alpamayo_sim.errors import InputError
from alpamayo_sim.io.limits import LIMITS, Line, check_counts, check_lines, check_track, name_of
from alpamayo_sim.map.index import index_of

Array = np.ndarray
Sign = tuple[Array, tuple[str, ...]]  # position of a stop sign or points of a line; its lanes where the file names them

PROP_MOVEMENT_M = 0.5  # a prop may move this far in a recording
SIGN_TO_LANE_M = 12.0  # from a stop sign to the end of its lane
STOP_LINE_HALF_WIDTH_M = 1.75
MIN_SIZE_M = 0.1


@dataclass(frozen=True, eq=False)
class RawTrack:
    """A road user as a file gives it, in the file's coordinates.

    ``position`` (m) is the centre of the box, with z of the ground below it. ``size`` is length, width, height (m),
    ``velocity`` m/s. Values of steps that are not ``valid`` are ignored.
    """

    id: str
    category: Category
    position: Float64[Array, "n 3"]
    heading: Float64[Array, " n"]
    velocity: Float64[Array, "n 2"]
    size: Float64[Array, "3"]
    valid: Bool[Array, " n"]


@dataclass(frozen=True, eq=False)
class RawSignal:
    """A traffic light: its position (m), its ``SignalState`` at each step, and the lanes that begin at it."""

    id: str
    position: Float64[Array, "3"]
    states: Int8[Array, " n"]
    lane_ids: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class RawRoute:
    """A route as a file gives it: its points in the file's coordinates (m), and the lanes that it uses."""

    path: Float64[Array, "n 3"]
    lane_ids: tuple[str, ...]


@dataclass(eq=False)
class RawMap:
    """A map as a file gives it: lists that a reader fills, in the file's coordinates (m).

    Road ``edges`` have the drivable side at their left. ``rings`` are closed outlines of the drivable ground; a ring
    inside another one is a hole. ``areas`` are polygons of drivable ground instead, which may touch and overlap.
    ``stop_lines`` are those of signs and signals that the file draws, with their lanes.
    """

    lanes: list[RawLane] = field(default_factory=list)
    crosswalks: list[Array] = field(default_factory=list)
    edges: list[Array] = field(default_factory=list)
    lines: list[tuple[Array, LineKind]] = field(default_factory=list)
    signs: list[Sign] = field(default_factory=list)
    rings: list[Array] = field(default_factory=list)
    areas: list[Array] = field(default_factory=list)
    stop_lines: list[Sign] = field(default_factory=list)


def assemble(
    where: str,
    id: str,  # noqa: A002 - the field's name
    provenance: Provenance,
    tracks: list[RawTrack],
    ego_id: str,
    raw_map: RawMap,
    signals: list[RawSignal],
    dt: float,
    environment: Environment | None = None,
    route: RawRoute | None = None,
) -> Scene:
    """Return the Scene of a file's values.

    Cones, barriers and debris that do not move become props: they exist also while the recording car did not see
    them. The drivable area is united here, once; worlds, drivers and the validator share its index.

    Args:
        where: The file, for messages.
        id: Name of the scene.
        provenance: Source and licence of the file.
        tracks: All road users, with the same number of steps.
        ego_id: Id of the ego's track.
        raw_map: The map.
        signals: Traffic lights, with a state for each step.
        dt: Time step (s).
        environment: Weather, light and friction, where the file tells them.
        route: The ego's route, where the file tells it; else the recorded path is the route.

    Raises:
        InputError: There is no such ego, or it has no valid step; or a value or a name is beyond ``LIMITS``.
    """
    ego = next((track for track in tracks if track.id == ego_id), None)
    if ego is None or not ego.valid.any():
        raise InputError(f"{where}: the ego {ego_id!r} is not among the {len(tracks)} tracks, or never valid")
    origin = np.round(ego.position[np.argmax(ego.valid)])
    name_of(id, f"{where}: name of the scene")
    _check_limits(where, origin, tracks, raw_map, signals)
    road_map = _road_map(raw_map, origin)
    index_of(road_map).drivable_area.unite()
    valid = [track for track in tracks if track.valid.any()]
    props = [track for track in valid if _is_prop(track)]
    moving = tuple(_track(track, origin) for track in valid if track not in props)
    scene = Scene(
        id=id,
        road_map=road_map,
        tracks=moving,
        ego_id=ego_id,
        provenance=provenance,
        signals=tuple(
            Signal(raw.id, (raw.position - origin).astype(np.float32), raw.states, raw.lane_ids) for raw in signals
        ),
        props=tuple(_prop(track, origin) for track in props),
        origin=origin,
        dt=dt,
        environment=environment or Environment(),
    )
    return replace(scene, route=_route(route, origin) if route else route_of(scene.ego, road_map))


def _route(raw: RawRoute, origin: Array) -> Route:
    path = raw.path - origin
    return Route(path.astype(np.float32), raw.lane_ids, instructions(path[:, :2]))


def _check_limits(where: str, origin: Array, tracks: list[RawTrack], raw_map: RawMap, signals: list[RawSignal]) -> None:
    """Raise ``InputError`` for values that no recording has: memory and time of all that follows depend on them."""
    if not np.all(np.abs(origin) < LIMITS.coordinate_m):
        raise InputError(f"{where}: the ego's position has values beyond {LIMITS.coordinate_m:g} m")
    check_counts(where, len(tracks), len(tracks[0].valid))
    for track in tracks:
        here = f"{where}: track {name_of(track.id, f'{where}: id of a track')!r}"
        check_track(here, track.position - origin, track.heading, track.velocity, track.size, track.valid)
    check_lines(where, ((name, line - origin) for name, line in _lines(raw_map, signals)))


def _lines(raw_map: RawMap, signals: list[RawSignal]) -> Iterator[Line]:
    """Yield all lines, areas and places of a map with their names."""
    for lane in raw_map.lanes:
        name = f"lane {name_of(lane.id, 'id of a lane')!r}"
        yield from ((name, line) for line in (lane.centreline, *(lane.boundaries or ())))
    for what in ("crosswalks", "edges", "rings", "areas"):
        yield from ((f"{what}[{i}]", line) for i, line in enumerate(getattr(raw_map, what)))
    for what in ("lines", "signs", "stop_lines"):
        for i, (line, _) in enumerate(getattr(raw_map, what)):
            yield f"{what}[{i}]", np.atleast_2d(line)
    yield from ((f"signal {name_of(signal.id, 'id of a signal')!r}", signal.position[None]) for signal in signals)


def _is_prop(track: RawTrack) -> bool:
    if track.category not in STATIC:
        return False
    xy = track.position[track.valid, :2]
    return bool(np.all(np.linalg.norm(xy - np.median(xy, axis=0), axis=1) < PROP_MOVEMENT_M))


def _track(raw: RawTrack, origin: Array) -> Track:
    def kept(values: Array) -> Array:
        mask = raw.valid if values.ndim == 1 else raw.valid[:, None]
        return np.where(mask, values, 0.0).astype(np.float32)

    return Track(
        id=raw.id,
        category=raw.category,
        position=kept(raw.position - origin),
        heading=kept(raw.heading),
        velocity=kept(raw.velocity),
        size=np.maximum(raw.size, MIN_SIZE_M).astype(np.float32),
        valid=raw.valid.astype(bool),
    )


def _prop(raw: RawTrack, origin: Array) -> Prop:
    first = np.argmax(raw.valid)
    place = np.median(raw.position[raw.valid], axis=0) - origin
    size = np.maximum(raw.size, MIN_SIZE_M).astype(np.float32)
    return Prop(raw.id, raw.category, place.astype(np.float32), float(raw.heading[first]), size)


def _road_map(raw: RawMap, origin: Array) -> RoadMap:
    areas, ring_edges = areas_of_rings(raw.rings) if raw.rings else areas_of_polygons(raw.areas)
    return RoadMap(
        lanes=lanes_of(raw.lanes, origin),
        drivable_areas=_moved(areas, origin, at_least=3),
        crosswalks=_moved(raw.crosswalks, origin, at_least=3),
        stop_lines=(*_drawn_stop_lines(raw.stop_lines, origin), *_stop_lines(raw.signs, raw.lanes, origin)),
        road_edges=_moved([*raw.edges, *ring_edges], origin),
        road_lines=tuple(
            RoadLine(line, kind) for points, kind in raw.lines for line in _moved([points], origin) if len(line)
        ),
    )


def _moved(lines: list[Array], origin: Array, at_least: int = 2) -> tuple[Array, ...]:
    """Return polylines relative to the origin, without repeated points and without those that are too short."""
    kept = [line[without_repeats(line)] for line in lines]
    return tuple((line - origin).astype(np.float32) for line in kept if len(line) >= at_least)


def _drawn_stop_lines(drawn: list[Sign], origin: Array) -> list[StopLine]:
    made = ((_moved([line], origin), lane_ids) for line, lane_ids in drawn)
    return [StopLine(f"line-{k}", moved[0], lane_ids) for k, (moved, lane_ids) in enumerate(made) if moved]


def _stop_lines(
    signs: list[tuple[Array, tuple[str, ...]]], lanes: list[RawLane], origin: Array
) -> tuple[StopLine, ...]:
    """Return a line across each lane of a stop sign, at the end of the lane that is nearer to the sign.

    A sign without lanes belongs to the lane with the nearest end.
    """
    by_id = {lane.id: lane for lane in lanes}
    found: dict[str, StopLine] = {}
    for place, named in signs:
        for lane in [by_id[name] for name in named if name in by_id] or _nearest_end(place, lanes):
            at_start = _distance(lane.centreline[0], place) < _distance(lane.centreline[-1], place)
            if not named:
                at_start = False
            name = f"stop-{lane.id}"
            found.setdefault(name, StopLine(name, _across(lane, 0 if at_start else -1, origin), (lane.id,)))
    return tuple(found.values())


def _nearest_end(place: Array, lanes: list[RawLane]) -> list[RawLane]:
    reach = sorted((_distance(lane.centreline[-1], place), lane.id, lane) for lane in lanes)
    return [reach[0][2]] if reach and reach[0][0] < SIGN_TO_LANE_M else []


def _distance(a: Array, b: Array) -> float:
    return float(np.hypot(a[0] - b[0], a[1] - b[1]))


def _across(lane: RawLane, end: int, origin: Array) -> Array:
    """Return a line of 3.5 m across a lane at its start (0) or end (-1)."""
    line = lane.centreline
    step = line[1] - line[0] if end == 0 else line[-1] - line[-2]
    left = np.array([-step[1], step[0], 0.0]) / np.hypot(step[0], step[1])
    centre = line[end] - origin
    return np.stack([centre + STOP_LINE_HALF_WIDTH_M * left, centre - STOP_LINE_HALF_WIDTH_M * left]).astype(np.float32)
