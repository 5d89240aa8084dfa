"""Carriageways on which the route changes its lane: connecting lanes between lanes, and an exit with its ramp."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float32, Float64

from alpamayo_scenarios.alignment import bend, straight
from alpamayo_scenarios.conflicts import shortened
from alpamayo_scenarios.merges import connecting_lane
from alpamayo_scenarios.roads import CrossSection, Road, cut_bounds, lane_id, lane_path, painted_lines, road_along
from alpamayo_sim.datatypes.scene import Instruction, Lane, RoadMap, Route

Array = np.ndarray

RAMP_M = 160.0


@dataclass(frozen=True)
class Change:
    """A connecting lane from the forward lane ``origin`` to ``target`` between two arc lengths (m)."""

    origin: int
    target: int
    start: float
    end: float


@dataclass(frozen=True)
class Exit:
    """The outermost lane leaves the road at the arc length ``gore`` (m), on a bend of ``radius`` (m) to the right."""

    gore: float
    radius: float
    speed_limit: float


@dataclass(frozen=True, eq=False)
class WeavingRoad(Road):
    """A one-way road with a route that changes its lane: ``route_ids`` are its lanes from the road's beginning."""

    cuts: tuple[float, ...]
    route_ids: tuple[str, ...]
    instruction: str

    @property
    def bounds(self) -> Float64[Array, " k"]:
        """The arc lengths (m) at which lanes are cut: the ends of the changes among them."""
        return cut_bounds(self.alignment.length, self.cuts)

    def route(self, lane: int, start: float) -> Route:
        """Return the route along a lane from ``start`` (m); that of the changes' first lane changes its lane."""
        if lane_id("forward", lane, 0) != self.route_ids[0]:
            return super().route(lane, start)
        gone = int((self.bounds[1:] <= start).sum())
        path = shortened(lane_path(self.road_map, self.route_ids), start)
        return Route(path, self.route_ids[gone:], (Instruction(0.0, self.instruction),))


def weaving_road(length: float, section: CrossSection, speed_limit: float, changes: Sequence[Change]) -> WeavingRoad:
    """Make a straight road of ``length`` (m) with changes of the lane, one after the other; the limit is in m/s."""
    cuts = tuple(place for change in changes for place in (change.start, change.end))
    bounds = cut_bounds(length, cuts)
    road = road_along(straight(length), section, speed_limit, bounds)
    lanes = _connected(road, bounds, changes, speed_limit)
    ids = _route_ids(bounds, changes, np.inf)
    road_map = replace(road.road_map, lanes=lanes)
    side = "right" if changes[0].target > changes[0].origin else "left"
    return WeavingRoad(road.alignment, section, road_map, cuts, ids, f"Change lanes to the {side}")


def exit_road(length: float, section: CrossSection, speed_limit: float, change: Change, out: Exit) -> WeavingRoad:
    """Make a straight road of ``length`` (m) whose outermost lane becomes an exit after a change of the lane to it."""
    cuts = (change.start, change.end, out.gore)
    bounds = cut_bounds(length, cuts)
    alignment, outer = straight(length), section.forward - 1
    road = road_along(alignment, section, speed_limit, bounds)
    ramp = _ramp(road, out)
    kept = tuple(
        _before_exit(lane, bounds, outer, out.gore, ramp.road_map.lanes[0].id)
        for lane in _connected(road, bounds, (change,), speed_limit)
        if not _is_beyond(lane.id, bounds, outer, out.gore)
    )
    left = replace(section, forward=outer)
    right = np.concatenate(
        [alignment.line(0.0, out.gore, section.right_kerb), alignment.line(out.gore, length, left.right_kerb)]
    )
    other = alignment.line(length, 0.0, section.left_kerb)
    ramp_right, ramp_left = ramp.road_map.road_edges
    nose = _nose(ramp_left, left.right_kerb)
    road_map = RoadMap(
        lanes=(*kept, *ramp.road_map.lanes),
        drivable_areas=(np.concatenate([right, other]), *ramp.road_map.drivable_areas),
        road_edges=(
            np.concatenate([alignment.line(0.0, out.gore, section.right_kerb), ramp_right]),
            alignment.line(float(nose[-1, 0]), length, left.right_kerb),
            nose,
            other,
        ),
        road_lines=(
            *painted_lines(alignment, section, 0.0, out.gore),
            *painted_lines(alignment, left, out.gore, length),
            *ramp.road_map.road_lines,
        ),
    )
    ids = (*_route_ids(bounds, (change,), out.gore), *(lane.id for lane in ramp.road_map.lanes))
    return WeavingRoad(alignment, section, road_map, cuts, ids, "Take the exit")


def _connected(
    road: Road, bounds: Float64[Array, " k"], changes: Sequence[Change], speed_limit: float
) -> tuple[Lane, ...]:
    """Return the lanes of a road with connecting lanes for the changes."""
    lanes = {lane.id: lane for lane in road.road_map.lanes}
    for k, change in enumerate(changes):
        name, span, between = f"change-{k}", (change.start, change.end), (change.origin, change.target)
        before, after = _parts(bounds, change.origin, 0.0, change.start)[-1], _parts(bounds, change.target, *span)
        following = lanes[after[-1]].successors
        lanes[before] = replace(lanes[before], successors=(*lanes[before].successors, name))
        lanes[name] = connecting_lane(road.alignment, road.section, span, between, name, speed_limit, following)
    return tuple(lanes.values())


def _route_ids(bounds: Float64[Array, " k"], changes: Sequence[Change], end: float) -> tuple[str, ...]:
    """Return the lanes of the route through the changes, up to the arc length ``end`` (m) of the last lane."""
    ids, at = [], 0.0
    for k, change in enumerate(changes):
        ids += [*_parts(bounds, change.origin, at, change.start), f"change-{k}"]
        at = change.end
    return (*ids, *_parts(bounds, changes[-1].target, at, end))


def _parts(bounds: Float64[Array, " k"], lane: int, start: float, end: float) -> list[str]:
    """Return the parts of a forward lane between two arc lengths (m)."""
    inside = np.flatnonzero((bounds[:-1] >= start) & (bounds[1:] <= end))
    return [lane_id("forward", lane, int(k)) for k in inside]


def _ramp(road: Road, out: Exit) -> Road:
    """Return the ramp, whose lane goes on from the outermost lane of the road."""
    section = replace(road.section, forward=1)
    x, y, heading = road.alignment.pose(out.gore, -(road.section.forward - 1) * section.lane_width)
    alignment = bend(RAMP_M, -1.0 / out.radius, 0.0, (x, y), heading)
    ramp = road_along(alignment, section, out.speed_limit)
    lanes = tuple(
        replace(lane, id=_ramp_id(lane.id), successors=tuple(_ramp_id(name) for name in lane.successors))
        for lane in ramp.road_map.lanes
    )
    return replace(ramp, road_map=replace(ramp.road_map, lanes=lanes))


def _ramp_id(name: str) -> str:
    return f"ramp-{name.rsplit('-', 1)[1]}"


def _is_beyond(name: str, bounds: Float64[Array, " k"], outer: int, gore: float) -> bool:
    """Return whether a lane is a part of the outermost lane beyond the gore."""
    return name in _parts(bounds, outer, gore, np.inf)


def _before_exit(lane: Lane, bounds: Float64[Array, " k"], outer: int, gore: float, ramp: str) -> Lane:
    """Return a lane that leads into the ramp where it led on beyond the gore."""
    successors = tuple(ramp if _is_beyond(name, bounds, outer, gore) else name for name in lane.successors)
    beside = tuple(name for name in lane.right_neighbours if not _is_beyond(name, bounds, outer, gore))
    return replace(lane, successors=successors, right_neighbours=beside)


def _nose(edge: Float32[Array, "n 3"], kerb: float) -> Float32[Array, "m 3"]:
    """Return the left edge of the ramp, which runs backwards, up to where it meets the road's right kerb."""
    return edge[edge[:, 1] < kerb]
