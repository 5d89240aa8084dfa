"""The map and the traffic lights of a Scene, made from a road network."""

import numpy as np
from jaxtyping import Float64

from alpamayo_datasets.assemble import RawMap, RawSignal, Sign
from alpamayo_datasets.lanes import RawLane, without_repeats
from alpamayo_datasets.opendrive.network import LaneRecord, Network, Road, RoadSignal, Section, Step
from alpamayo_sim.datatypes.scene import LaneKind, LineKind, SignalState

Array = np.ndarray

SPACING_M = 2.0  # between the points of a lane
LEAST_WIDTH_M = 0.3  # of a lane; narrower parts, where a lane opens or ends, are left out
KINDS = {
    "driving": LaneKind.DRIVING,
    "entry": LaneKind.DRIVING,
    "exit": LaneKind.DRIVING,
    "onRamp": LaneKind.DRIVING,
    "offRamp": LaneKind.DRIVING,
    "connectingRamp": LaneKind.DRIVING,
    "slipLane": LaneKind.DRIVING,
    "bidirectional": LaneKind.DRIVING,
    "bus": LaneKind.BUS,
    "taxi": LaneKind.BUS,
    "biking": LaneKind.BICYCLE,
    "parking": LaneKind.PARKING,
}
DRIVABLE = frozenset({*KINDS, "shoulder", "stop", "median", "restricted"} - {"biking"})
STOP_SIGNS = ("206", "R1-1")  # Germany and the United States
TRAFFIC_LIGHTS = ("1000001", "1000011", "1000009")


def lane_name(step: Step) -> str:
    """Return the id of a lane in the Scene: road, number of the section and lane."""
    return "/".join(map(str, step))


def raw_map(network: Network) -> RawMap:
    """Return the lanes, the drivable areas, the paint, the crosswalks and the stop signs of a network."""
    found = RawMap()
    for road in network.roads.values():
        for k, section in enumerate(road.sections):
            s = _stations(section)
            if len(s) < 2:
                continue
            _add_lanes(found, network, road, k, s)
            _add_areas(found, road, section, s)
            _add_paint(found, road, section, s)
        found.crosswalks += list(road.crosswalks)
        found.signs += [_stop_sign(road, signal) for signal in road.signals if signal.kind in STOP_SIGNS]
    return found


def scene_signals(network: Network, steps: int) -> list[RawSignal]:
    """Return the traffic lights of a network, whose states are unknown unless a storyboard sets them."""
    return [
        RawSignal(signal.id, _place(road, signal), np.full(steps, SignalState.UNKNOWN, np.int8), lanes)
        for road in network.roads.values()
        for signal in road.signals
        if signal.dynamic and signal.kind in TRAFFIC_LIGHTS
        for lanes in [_behind(network, road, signal)]
    ]


def _stations(section: Section) -> Float64[Array, " n"]:
    """Return the arc lengths (m) at which the lanes of a section get their points."""
    length = section.end - section.start
    count = max(int(np.ceil(length / SPACING_M)), 1) + 1
    return np.linspace(section.start, section.end, count) if length > 0.0 else np.zeros(0)


def _add_lanes(found: RawMap, network: Network, road: Road, k: int, s: Float64[Array, " n"]) -> None:
    section = road.sections[k]
    for lane, record in section.lanes.items():
        kind = KINDS.get(record.kind)
        if not lane or kind is None:
            continue
        inner, outer = _borders(road, section, lane, s)
        wide = np.abs(outer - inner) > LEAST_WIDTH_M
        if wide.sum() < 2:
            continue
        rows = slice(None) if road.runs_along(lane) else slice(None, None, -1)
        at, edges = s[wide][rows], (inner[wide][rows], outer[wide][rows])
        left, right = edges if (lane < 0) is road.runs_along(lane) else edges[::-1]
        line = road.points(at, 0.5 * (left + right))
        kept = without_repeats(line)
        if len(kept) < 2:
            continue
        half = 0.5 * np.abs(left - right)[kept]
        found.lanes.append(
            RawLane(
                id=lane_name((road.id, k, lane)),
                centreline=line[kept],
                left=half,
                right=half,
                kind=kind,
                speed_limit=_limit(road, section, record),
                successors=tuple(
                    lane_name(step) for step in network.following((road.id, k, lane)) if _is_lane(network, step)
                ),
                left_neighbours=_beside(road, k, lane, left=True),
                right_neighbours=_beside(road, k, lane, left=False),
                in_intersection=road.junction is not None,
                boundaries=(road.points(at, left), road.points(at, right)),
            )
        )


def _is_lane(network: Network, step: Step) -> bool:
    """Return whether a lane of the file is a lane of the map."""
    road, k, lane = step
    return network.roads[road].sections[k].lanes[lane].kind in KINDS


def _beside(road: Road, k: int, lane: int, left: bool) -> tuple[str, ...]:
    """Return the next lane of the same direction at a side."""
    step = 1 if left is road.runs_along(lane) else -1
    other = lane + step
    record = road.sections[k].lanes.get(other)
    same = other != 0 and (other > 0) is (lane > 0)
    return (lane_name((road.id, k, other)),) if record and same and record.kind in KINDS else ()


def _borders(
    road: Road, section: Section, lane: int, s: Float64[Array, " n"]
) -> tuple[Float64[Array, " n"], Float64[Array, " n"]]:
    """Return the offsets (m) of the inner and the outer border of a lane from the reference line."""
    middle = road.offset(s)
    return middle + section.border(lane - (1 if lane > 0 else -1), s), middle + section.border(lane, s)


def _limit(road: Road, section: Section, record: LaneRecord) -> float | None:
    """Return the limit (m/s) at the beginning of a lane."""
    if record.speeds:
        return record.speeds[0][1]
    before = [limit for start, limit in road.speeds if start <= section.start + 1e-6]
    return before[-1] if before else None


def _add_areas(found: RawMap, road: Road, section: Section, s: Float64[Array, " n"]) -> None:
    """Add the ground between the outermost borders of each run of drivable lanes."""
    for run in _runs(section):
        left, right = _left_border(road, section, max(run), s), _right_border(road, section, min(run), s)
        if np.max(left - right) > LEAST_WIDTH_M:
            right = np.minimum(right, left - 1e-3)
            found.areas.append(np.concatenate([road.points(s, right), road.points(s, left)[::-1]]))


def _runs(section: Section) -> list[list[int]]:
    """Return the ids of drivable lanes that lie side by side."""
    runs: list[list[int]] = []
    last: int | None = None
    for lane in sorted(lane for lane, record in section.lanes.items() if lane and record.kind in DRIVABLE):
        beside = last is not None and (lane == last + 1 or (last == -1 and lane == 1))
        if beside:
            runs[-1].append(lane)
        else:
            runs.append([lane])
        last = lane
    return runs


def _left_border(road: Road, section: Section, lane: int, s: Float64[Array, " n"]) -> Float64[Array, " n"]:
    inner, outer = _borders(road, section, lane, s)
    return outer if lane > 0 else inner


def _right_border(road: Road, section: Section, lane: int, s: Float64[Array, " n"]) -> Float64[Array, " n"]:
    inner, outer = _borders(road, section, lane, s)
    return inner if lane > 0 else outer


def _add_paint(found: RawMap, road: Road, section: Section, s: Float64[Array, " n"]) -> None:
    """Add the markings of all lanes, each until the next one of its lane begins."""
    for lane, record in section.lanes.items():
        starts = [section.start + mark[0] for mark in record.marks]
        ends = [*starts, section.end][1:]
        for (_, kind, colour), start, end in zip(record.marks, starts, ends, strict=False):
            inside = s[(s >= start - 1e-6) & (s <= end + 1e-6)]
            if kind != "none" and len(inside) > 1:
                line = road.points(inside, road.offset(inside) + section.border(lane, inside))
                found.lines.append((line, _paint(kind, colour)))


def _paint(kind: str, colour: str) -> LineKind:
    yellow = colour == "yellow"
    if kind in ("solid solid", "solid broken", "broken solid", "broken broken"):
        return LineKind.DOUBLE_YELLOW if yellow else LineKind.DOUBLE_WHITE
    if kind == "broken":
        return LineKind.BROKEN_YELLOW if yellow else LineKind.BROKEN_WHITE
    if kind == "solid":
        return LineKind.SOLID_YELLOW if yellow else LineKind.SOLID_WHITE
    return LineKind.UNKNOWN


def _place(road: Road, signal: RoadSignal) -> Float64[Array, "3"]:
    return np.asarray(road.points(np.array([signal.s]), np.array([signal.t]))[0])


def _valid_lanes(road: Road, signal: RoadSignal) -> list[Step]:
    """Return the lanes that a signal is valid for, in the section where it stands."""
    k = road.section_at(signal.s)
    facing = {"+": True, "-": False}.get(signal.orientation)
    ranges = [(min(pair), max(pair)) for pair in signal.validity] or [(-1000, 1000)]
    return [
        (road.id, k, lane)
        for lane, record in road.sections[k].lanes.items()
        if lane
        and record.kind in KINDS
        and any(low <= lane <= high for low, high in ranges)
        and (facing is None or facing is (lane < 0))
    ]


def _behind(network: Network, road: Road, signal: RoadSignal) -> tuple[str, ...]:
    """Return the lanes that begin behind a traffic light: those that the lanes before it lead into."""
    after = [following for step in _valid_lanes(road, signal) for following in network.following(step)]
    return tuple(dict.fromkeys(lane_name(step) for step in after if _is_lane(network, step)))


def _stop_sign(road: Road, signal: RoadSignal) -> Sign:
    return _place(road, signal), tuple(lane_name(step) for step in _valid_lanes(road, signal))
