"""Carriageways whose outer lane ends: lane drops, and acceleration lanes where a ramp comes in.

The ending lane is the outermost forward lane. Over the taper its centreline leads into the next lane, which is how
its traffic and its routes merge.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float32

from alpamayo_scenarios.alignment import POINT_SPACING_M, Alignment, bend, flat
from alpamayo_scenarios.conflicts import add_on_path, shortened
from alpamayo_scenarios.roads import CrossSection, Road, cut_bounds, lane_id, lane_path, painted_lines, swept_lane
from alpamayo_scenarios.sites import START_M, RoadSite, site_on
from alpamayo_scenarios.stage import Size
from alpamayo_sim.datatypes.scene import Category, Instruction, Lane, LineKind, RoadLine, RoadMap, Route

Array = np.ndarray

MERGE_ID = "merge-0"


@dataclass(frozen=True, eq=False)
class MergingRoad(Road):
    """A one-way road whose outermost lane ends over the ``taper`` (m along the alignment, from and to)."""

    taper: tuple[float, float]

    @property
    def bounds(self) -> Array:
        """The arc lengths (m) at which lanes are cut: the ends of the taper among them."""
        return cut_bounds(self.alignment.length, self.taper)

    @property
    def ending(self) -> int:
        """The number of the lane that ends."""
        return self.section.forward - 1

    def route(self, lane: int, start: float) -> Route:
        """Return the route along a lane from ``start`` (m); that of the ending lane merges."""
        if lane == self.ending:
            ids = tuple(name for name in self._merging_ids() if self._end(name) > start)
            return Route(self.merging_path(start), ids, (Instruction(0.0, "Merge left"),))
        return super().route(lane, start)

    def merging_path(self, start: float) -> Float32[Array, "n 3"]:
        """Return the path along the ending lane from ``start`` (m), over the taper and on in the next lane."""
        whole = lane_path(self.road_map, self._merging_ids())
        return shortened(whole, start) if start > 0.0 else whole

    def _merging_ids(self) -> list[str]:
        parts = self.bounds
        first = [lane_id("forward", self.ending, k) for k in range(len(parts) - 1) if parts[k + 1] <= self.taper[0]]
        after = [lane_id("forward", self.ending - 1, k) for k in range(len(parts) - 1) if parts[k] >= self.taper[1]]
        return [*first, MERGE_ID, *after]

    def _end(self, name: str) -> float:
        if name == MERGE_ID:
            return self.taper[1]
        return float(self.bounds[int(name.rsplit("-", 1)[1]) + 1])


def merging_road(
    length: float, section: CrossSection, speed_limit: float, taper: tuple[float, float], curvature: float = 0.0
) -> MergingRoad:
    """Make a one-way road of ``length`` (m) whose outermost lane ends over ``taper``; the limit is in m/s."""
    alignment = bend(length, curvature, taper[1] + 20.0)
    left = replace(section, forward=section.forward - 1)
    bounds = cut_bounds(length, taper)
    lanes = [
        _part(alignment, section, bounds, index, k, speed_limit, taper)
        for index in range(section.forward)
        for k in range(len(bounds) - 1)
        if index < left.forward or bounds[k + 1] <= taper[0]
    ]
    lanes.append(_merge(alignment, section, bounds, speed_limit, taper))
    right = np.concatenate(
        [alignment.line(0.0, taper[0], section.right_kerb), alignment.line(taper[1], length, left.right_kerb)]
    )
    other = alignment.line(length, 0.0, section.left_kerb)
    edge = np.stack([alignment.line(*taper, section.right_edge)[0], alignment.line(*taper, left.right_edge)[-1]])
    lines = (
        *painted_lines(alignment, section, 0.0, taper[0]),
        *painted_lines(alignment, left, taper[1], length),
        RoadLine(alignment.line(*taper, left.left_edge), LineKind.SOLID_YELLOW),
        RoadLine(edge, LineKind.SOLID_WHITE),
    )
    road_map = RoadMap(tuple(lanes), (np.concatenate([right, other]),), road_edges=(right, other), road_lines=lines)
    return MergingRoad(alignment, section, road_map, taper)


def _part(
    alignment: Alignment,
    section: CrossSection,
    bounds: Array,
    index: int,
    k: int,
    limit: float,
    taper: tuple[float, float],
) -> Lane:
    ending = section.forward - 1
    before = bounds[k + 1] <= taper[0]
    lanes_here = section.forward if before else ending
    last = index == ending and bounds[k + 1] == taper[0]
    following = (MERGE_ID,) if last else (lane_id("forward", index, k + 1),) if k + 2 < len(bounds) else ()
    return swept_lane(
        alignment,
        (float(bounds[k]), float(bounds[k + 1])),
        section,
        True,
        index,
        id=lane_id("forward", index, k),
        speed_limit=limit,
        successors=following,
        left_neighbours=(lane_id("forward", index - 1, k),) if index else (),
        right_neighbours=(lane_id("forward", index + 1, k),) if index + 1 < lanes_here else (),
    )


def _merge(
    alignment: Alignment, section: CrossSection, bounds: Array, limit: float, taper: tuple[float, float]
) -> Lane:
    """Return the lane over the taper, which moves over by its width."""
    ending = section.forward - 1
    after = int(np.flatnonzero(bounds == taper[1])[0])
    following = (lane_id("forward", ending - 1, after),)
    return connecting_lane(alignment, section, taper, (ending, ending - 1), MERGE_ID, limit, following)


def connecting_lane(
    alignment: Alignment,
    section: CrossSection,
    span: tuple[float, float],
    lanes: tuple[int, int],
    id: str,  # noqa: A002 - the field's name
    limit: float,
    successors: tuple[str, ...],
) -> Lane:
    """Return a lane that moves over from one forward lane to another between two arc lengths (m)."""
    count = max(2, int(np.ceil((span[1] - span[0]) / POINT_SPACING_M)) + 1)
    s = np.linspace(*span, count)
    part = np.linspace(0.0, 1.0, count)
    across = (lanes[0] - lanes[1]) * section.lane_width
    d = section.lane(lanes[0]) + across * part**2 * (3.0 - 2.0 * part)
    half = 0.5 * section.lane_width
    return Lane(
        id=id,
        centreline=flat(alignment.position(s, d)),
        width=np.full(count, section.lane_width, np.float32),
        left_boundary=flat(alignment.position(s, d + half)),
        right_boundary=flat(alignment.position(s, d - half)),
        speed_limit=limit,
        successors=successors,
    )


def merge_site(
    rng: np.random.Generator,
    speed: float,
    limit: float,
    section: CrossSection,
    *,
    lane: int,
    to_taper: float,
    taper: float,
    duration: float,
    beyond: float = 330.0,
) -> RoadSite:
    """Put the ego in a lane of a merging road, ``to_taper`` (m) before a taper of a length ``taper`` (m)."""
    begin = START_M + to_taper
    road = merging_road(begin + taper + beyond, section, limit, (begin, begin + taper))
    return site_on(road, rng, speed, limit, lane, duration)


def add_merging(
    site: RoadSite, names: Sequence[str], places: Sequence[float], speed: float, sizes: Sequence[Size]
) -> None:
    """Add cars on the ending lane at arc lengths ``places`` (m) that keep their speed (m/s) and merge."""
    assert isinstance(site.road, MergingRoad)
    for name, place, size in zip(names, places, sizes, strict=True):
        path = site.road.merging_path(place)
        add_on_path(site.stage, name, Category.VEHICLE, size, path, speed)
