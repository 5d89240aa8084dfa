"""From what a file says, in its own coordinates, to a Scene around an origin near the ego."""

from dataclasses import dataclass, field, replace

import numpy as np
from jaxtyping import Bool, Float64, Int8

from alpamayo_datasets.ground import areas_of_rings
from alpamayo_datasets.lanes import RawLane, lanes_of, without_repeats
from alpamayo_datasets.route import route_of
from alpamayo_sim.datatypes.scene import (
    STATIC,
    Category,
    LineKind,
    Prop,
    Provenance,
    RoadLine,
    RoadMap,
    Scene,
    Signal,
    StopLine,
    Track,
)
from alpamayo_sim.errors import InputError
from alpamayo_sim.map.index import index_of

Array = np.ndarray
Sign = tuple[Array, tuple[str, ...]]  # place of a stop sign, and the lanes that it is for where the file says so

STILL = 0.5  # m that a standing thing may wander in a recording
SIGN_REACH = 12.0  # m from a stop sign to the lanes that it is for
SMALLEST = 0.1  # m


@dataclass(frozen=True, eq=False)
class RawTrack:
    """A road user as a file gives it; ``position`` is in the file's coordinates, z is the ground under it."""

    id: str
    category: Category
    position: Float64[Array, "n 3"]
    heading: Float64[Array, " n"]
    velocity: Float64[Array, "n 2"]
    size: Float64[Array, "3"]
    valid: Bool[Array, " n"]


@dataclass(frozen=True, eq=False)
class RawSignal:
    """A traffic light: where it is, what it shows, and the lanes that begin at it."""

    id: str
    position: Float64[Array, "3"]
    states: Int8[Array, " n"]
    lane_ids: tuple[str, ...]


@dataclass(eq=False)
class RawMap:
    """A map as a file gives it: lists that a reader fills. ``rings`` outline the drivable ground."""

    lanes: list[RawLane] = field(default_factory=list)
    crosswalks: list[Array] = field(default_factory=list)
    edges: list[Array] = field(default_factory=list)
    lines: list[tuple[Array, LineKind]] = field(default_factory=list)
    signs: list[Sign] = field(default_factory=list)
    rings: list[Array] = field(default_factory=list)


def assemble(
    where: str,
    id: str,  # noqa: A002 - the field's name
    provenance: Provenance,
    tracks: list[RawTrack],
    ego_id: str,
    raw_map: RawMap,
    signals: list[RawSignal],
    dt: float,
) -> Scene:
    """The Scene; ``where`` is the file, for messages.

    Cones and barriers that stand become props: they are there also while the recording car did not see them.
    The drivable ground is united here, once; worlds, drivers and judges of the scene share its index.

    Raises:
        InputError: there is no such ego, or it is seen at no step.
    """
    ego = next((track for track in tracks if track.id == ego_id), None)
    if ego is None or not ego.valid.any():
        raise InputError(f"{where}: the ego {ego_id!r} is not among the {len(tracks)} tracks, or never valid")
    origin = np.round(ego.position[np.argmax(ego.valid)])
    road_map = _road_map(raw_map, origin)
    index_of(road_map).drivable_area.unite()
    seen = [track for track in tracks if track.valid.any()]
    standing = [track for track in seen if _stands(track)]
    made = tuple(_track(track, origin) for track in seen if track not in standing)
    scene = Scene(
        id=id,
        road_map=road_map,
        tracks=made,
        ego_id=ego_id,
        provenance=provenance,
        signals=tuple(
            Signal(raw.id, (raw.position - origin).astype(np.float32), raw.states, raw.lane_ids) for raw in signals
        ),
        props=tuple(_prop(track, origin) for track in standing),
        origin=origin,
        dt=dt,
    )
    return replace(scene, route=route_of(scene.ego, road_map))


def _stands(track: RawTrack) -> bool:
    if track.category not in STATIC:
        return False
    xy = track.position[track.valid, :2]
    return bool(np.all(np.linalg.norm(xy - np.median(xy, axis=0), axis=1) < STILL))


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
        size=np.maximum(raw.size, SMALLEST).astype(np.float32),
        valid=raw.valid.astype(bool),
    )


def _prop(raw: RawTrack, origin: Array) -> Prop:
    first = np.argmax(raw.valid)
    place = np.median(raw.position[raw.valid], axis=0) - origin
    size = np.maximum(raw.size, SMALLEST).astype(np.float32)
    return Prop(raw.id, raw.category, place.astype(np.float32), float(raw.heading[first]), size)


def _road_map(raw: RawMap, origin: Array) -> RoadMap:
    areas, ring_edges = areas_of_rings(raw.rings) if raw.rings else ([], [])
    return RoadMap(
        lanes=lanes_of(raw.lanes, origin),
        drivable_areas=_moved(areas, origin, at_least=3),
        crosswalks=_moved(raw.crosswalks, origin, at_least=3),
        stop_lines=_stop_lines(raw.signs, raw.lanes, origin),
        road_edges=_moved([*raw.edges, *ring_edges], origin),
        road_lines=tuple(
            RoadLine(line, kind) for points, kind in raw.lines for line in _moved([points], origin) if len(line)
        ),
    )


def _moved(lines: list[Array], origin: Array, at_least: int = 2) -> tuple[Array, ...]:
    """Polylines relative to the origin, without repeated points; those that are too short are left out."""
    kept = [line[without_repeats(line)] for line in lines]
    return tuple((line - origin).astype(np.float32) for line in kept if len(line) >= at_least)


def _stop_lines(
    signs: list[tuple[Array, tuple[str, ...]]], lanes: list[RawLane], origin: Array
) -> tuple[StopLine, ...]:
    """A line across each lane of a stop sign, at the end of the lane that is nearer to the sign.

    Where the file does not say which lanes a sign is for, it is for the one whose end is nearest.
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
    return [reach[0][2]] if reach and reach[0][0] < SIGN_REACH else []


def _distance(a: Array, b: Array) -> float:
    return float(np.hypot(a[0] - b[0], a[1] - b[1]))


def _across(lane: RawLane, end: int, origin: Array) -> Array:
    """A line of 3.5 m across a lane at its start (0) or end (-1)."""
    line = lane.centreline
    step = line[1] - line[0] if end == 0 else line[-1] - line[-2]
    left = np.array([-step[1], step[0], 0.0]) / np.hypot(step[0], step[1])
    centre = line[end] - origin
    return np.stack([centre + 1.75 * left, centre - 1.75 * left]).astype(np.float32)
