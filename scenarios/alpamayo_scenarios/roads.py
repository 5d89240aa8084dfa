"""Generated roads: a cross-section swept along an alignment.

Traffic keeps to the right. The offset ``d`` (m) is measured from the alignment, left positive: backward lanes lie at
d > 0, forward lanes at d < 0. On either side follow, from the inside to the outside: lanes, shoulder, parking strip,
kerb.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Float64

from alpamayo_scenarios.alignment import Alignment, bend, straight
from alpamayo_sim.datatypes.scene import Instruction, Lane, LaneKind, LineKind, RoadLine, RoadMap, Route

Array = np.ndarray

MAX_LANE_LENGTH_M = 100.0  # a longer lane is cut into parts


@dataclass(frozen=True)
class CrossSection:
    """The number of lanes in each direction, and the widths (m) of a lane, the shoulder and the parking strip."""

    forward: int
    backward: int = 0
    lane_width: float = 3.5
    shoulder: float = 0.5
    parking: float = 0.0

    @property
    def right_edge(self) -> float:
        """Offset of the line at the right of the forward lanes."""
        return -self.forward * self.lane_width

    @property
    def left_edge(self) -> float:
        """Offset of the line at the left of the backward lanes, or of the forward lanes of a one-way road."""
        return self.backward * self.lane_width

    @property
    def right_kerb(self) -> float:
        """Offset of the right kerb."""
        return self.right_edge - self.shoulder - self.parking

    @property
    def left_kerb(self) -> float:
        """Offset of the left kerb. Each direction has its parking strip on the right."""
        return self.left_edge + self.shoulder + (self.parking if self.backward else 0.0)

    def lane(self, index: int) -> float:
        """Return the offset of the centre of forward lane ``index``, counted from the middle of the road."""
        return -(index + 0.5) * self.lane_width

    def oncoming(self, index: int = 0) -> float:
        """Return the offset of the centre of backward lane ``index``, counted from the middle of the road."""
        return (index + 0.5) * self.lane_width

    @property
    def parking_centre(self) -> float:
        """Offset of the middle of the right parking strip."""
        return self.right_edge - self.shoulder - 0.5 * self.parking


@dataclass(frozen=True, eq=False)
class Road:
    """An alignment with its cross-section and its map."""

    alignment: Alignment
    section: CrossSection
    road_map: RoadMap

    @property
    def bounds(self) -> Array:
        """The arc lengths (m) at which lanes are cut."""
        return section_bounds(self.alignment.length)

    def route(self, lane: int, start: float) -> Route:
        """Return the route along forward lane ``lane`` from ``start`` (m) to the end of the road."""
        bounds = self.bounds
        ids = tuple(lane_id("forward", lane, k) for k in range(len(bounds) - 1) if bounds[k + 1] > start)
        path = self.alignment.line(start, self.alignment.length, self.section.lane(lane))
        return Route(path, ids, (Instruction(0.0, "Follow the road"),))


def straight_road(length: float, section: CrossSection, speed_limit: float) -> Road:
    """Make a straight road of ``length`` (m) to the east; ``speed_limit`` in m/s."""
    return road_along(straight(length), section, speed_limit)


def curved_road(
    length: float, section: CrossSection, speed_limit: float, curvature: float, lead_in: float = 30.0
) -> Road:
    """Make a road of ``length`` (m) with one bend of ``curvature`` (1/m, left positive) after ``lead_in`` (m)."""
    return road_along(bend(length, curvature, lead_in), section, speed_limit)


def lane_id(direction: str, index: int, part: int) -> str:
    """Return the name of a lane: direction, number counted from the middle, and part along the road."""
    return f"{direction}-{index}-{part}"


def road_along(
    alignment: Alignment, section: CrossSection, speed_limit: float, bounds: Float64[Array, " k"] | None = None
) -> Road:
    """Make a road along an alignment; its lanes are cut at the arc lengths ``bounds`` (m), by default evenly."""
    length = alignment.length
    bounds = section_bounds(length) if bounds is None else bounds
    lanes = tuple(
        lane
        for forward, count in ((True, section.forward), (False, section.backward))
        for index in range(count)
        for lane in _lanes(alignment, section, bounds, forward, index, count, speed_limit)
    )
    lanes += _parking_lanes(alignment, section)
    right, left = alignment.line(0, length, section.right_kerb), alignment.line(length, 0, section.left_kerb)
    road_map = RoadMap(
        lanes=lanes,
        drivable_areas=(np.concatenate([right, left]),),
        road_edges=(right, left),
        road_lines=painted_lines(alignment, section, 0.0, length),
    )
    return Road(alignment, section, road_map)


def section_bounds(length: float) -> Array:
    """Return the arc lengths (m) at which the lanes of a road are cut."""
    return np.linspace(0.0, length, int(np.ceil(length / MAX_LANE_LENGTH_M)) + 1)


def cut_bounds(length: float, cuts: Sequence[float]) -> Float64[Array, " k"]:
    """Return the arc lengths (m) at which the lanes of a road are cut: at ``cuts``, in rising order, and in between."""
    starts, ends = (0.0, *cuts), (*cuts, length)
    spans = [start + section_bounds(end - start) for start, end in zip(starts, ends, strict=True)]
    return np.concatenate([*(span[:-1] for span in spans), spans[-1][-1:]])


def lane_path(road_map: RoadMap, ids: Sequence[str]) -> Float32[Array, "n 3"]:
    """Return the centrelines of successive lanes as one path."""
    pieces = [road_map.lane_by_id[name].centreline for name in ids]
    return np.concatenate([pieces[0], *(piece[1:] for piece in pieces[1:])])


def _lanes(
    alignment: Alignment,
    section: CrossSection,
    bounds: Float64[Array, " k"],
    forward: bool,
    index: int,
    count: int,
    speed_limit: float,
) -> list[Lane]:
    """Return the parts of one lane, in driving direction."""
    name = "forward" if forward else "backward"
    if not forward:
        bounds = bounds[::-1]
    parts = len(bounds) - 1
    return [
        swept_lane(
            alignment,
            (float(bounds[k]), float(bounds[k + 1])),
            section,
            forward,
            index,
            id=lane_id(name, index, k),
            speed_limit=speed_limit,
            successors=(lane_id(name, index, k + 1),) if k + 1 < parts else (),
            left_neighbours=(lane_id(name, index - 1, k),) if index > 0 else (),
            right_neighbours=(lane_id(name, index + 1, k),) if index + 1 < count else (),
        )
        for k in range(parts)
    ]


def swept_lane(
    alignment: Alignment,
    span: tuple[float, float],
    section: CrossSection,
    forward: bool,
    index: int,
    *,
    id: str,  # noqa: A002 - the field's name
    speed_limit: float,
    successors: tuple[str, ...] = (),
    left_neighbours: tuple[str, ...] = (),
    right_neighbours: tuple[str, ...] = (),
    in_intersection: bool = False,
) -> Lane:
    """Return a lane of a cross-section between two arc lengths (m) of an alignment, in driving direction."""
    side = -1.0 if forward else 1.0
    edges = [alignment.line(*span, side * k * section.lane_width) for k in (index, index + 1)]
    centre = alignment.line(*span, side * (index + 0.5) * section.lane_width)
    return Lane(
        id=id,
        centreline=centre,
        width=np.full(len(centre), section.lane_width, np.float32),
        left_boundary=edges[0],
        right_boundary=edges[1],
        speed_limit=speed_limit,
        successors=successors,
        left_neighbours=left_neighbours,
        right_neighbours=right_neighbours,
        in_intersection=in_intersection,
    )


def _parking_lanes(alignment: Alignment, section: CrossSection) -> tuple[Lane, ...]:
    if not section.parking:
        return ()
    length, middle = alignment.length, section.parking_centre
    spans = [("parking-right", 0.0, length, middle)]
    if section.backward:
        spans.append(("parking-left", length, 0.0, section.left_kerb - 0.5 * section.parking))
    lanes = []
    for name, start, end, d in spans:
        side = np.sign(end - start) * 0.5 * section.parking
        centre = alignment.line(start, end, d)
        lanes.append(
            Lane(
                id=name,
                centreline=centre,
                width=np.full(len(centre), section.parking, np.float32),
                left_boundary=alignment.line(start, end, d + side),
                right_boundary=alignment.line(start, end, d - side),
                kind=LaneKind.PARKING,
            )
        )
    return tuple(lanes)


def painted_lines(alignment: Alignment, section: CrossSection, start: float, end: float) -> tuple[RoadLine, ...]:
    """Return the lane markings between two arc lengths (m): yellow in the middle of a two-way road, else white."""
    width = section.lane_width
    lines = {-k * width: LineKind.BROKEN_WHITE for k in range(1, section.forward)}
    lines |= {k * width: LineKind.BROKEN_WHITE for k in range(1, section.backward)}
    lines[section.right_edge] = LineKind.SOLID_WHITE
    if section.backward:
        lines[section.left_edge] = LineKind.SOLID_WHITE
        two_lanes = section.forward == section.backward == 1
        lines[0.0] = LineKind.BROKEN_YELLOW if two_lanes else LineKind.DOUBLE_YELLOW
    else:
        lines[0.0] = LineKind.SOLID_YELLOW
    return tuple(RoadLine(alignment.line(start, end, d), kind) for d, kind in sorted(lines.items()))


def path_along(
    alignment: Alignment, start: float, d: float, forward: bool = True, end: float | None = None
) -> Float32[Array, "n 3"]:
    """Return the path at offset ``d`` from ``start`` to ``end`` (m), by default to the road's end in that direction."""
    last = (alignment.length if forward else 0.0) if end is None else end
    return alignment.line(start, last, d)
