"""Generated roads: a cross-section swept along an alignment, and two of them crossing under signals.

Traffic keeps to the right. ``d`` is measured from the alignment, left positive: backward lanes lie at d > 0,
forward lanes at d < 0. On either side, from the inside out: lanes, shoulder, parking strip, kerb.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32

from alpamayo_scenarios.alignment import Alignment, bend, straight
from alpamayo_sim.datatypes.scene import Instruction, Lane, LaneKind, LineKind, RoadLine, RoadMap, Route

Array = np.ndarray

SECTION_LENGTH = 100.0  # m, the most that one lane is long


@dataclass(frozen=True)
class CrossSection:
    """How many lanes a road has each way, and how wide (m) what is beside them is."""

    forward: int
    backward: int = 0
    lane_width: float = 3.5
    shoulder: float = 0.5
    parking: float = 0.0

    @property
    def right_edge(self) -> float:
        """D of the line at the right of the forward lanes."""
        return -self.forward * self.lane_width

    @property
    def left_edge(self) -> float:
        """D of the line at the left of the backward lanes, or of the forward lanes of a one-way road."""
        return self.backward * self.lane_width

    @property
    def right_kerb(self) -> float:
        """D of the right kerb."""
        return self.right_edge - self.shoulder - self.parking

    @property
    def left_kerb(self) -> float:
        """D of the left kerb. A parking strip is on the right of each direction."""
        return self.left_edge + self.shoulder + (self.parking if self.backward else 0.0)

    def lane(self, index: int) -> float:
        """D of the centre of forward lane ``index``, counted from the middle of the road."""
        return -(index + 0.5) * self.lane_width

    def oncoming(self, index: int = 0) -> float:
        """D of the centre of backward lane ``index``, counted from the middle of the road."""
        return (index + 0.5) * self.lane_width

    @property
    def parking_centre(self) -> float:
        """D of the middle of the right parking strip."""
        return self.right_edge - self.shoulder - 0.5 * self.parking


@dataclass(frozen=True, eq=False)
class Road:
    """An alignment with its cross-section and, for a road of its own, its map."""

    alignment: Alignment
    section: CrossSection
    road_map: RoadMap

    def route(self, lane: int, start: float) -> Route:
        """Along forward lane ``lane`` from ``start`` (m) to the road's end."""
        bounds = _section_bounds(self.alignment.length)
        ids = tuple(lane_id("forward", lane, k) for k in range(len(bounds) - 1) if bounds[k + 1] > start)
        path = self.alignment.line(start, self.alignment.length, self.section.lane(lane))
        return Route(path, ids, (Instruction(0.0, "Follow the road"),))


def straight_road(length: float, section: CrossSection, speed_limit: float) -> Road:
    """A straight road towards the east; ``speed_limit`` in m/s."""
    return _road(straight(length), section, speed_limit)


def curved_road(
    length: float, section: CrossSection, speed_limit: float, curvature: float, lead_in: float = 30.0
) -> Road:
    """A road that bends with ``curvature`` (1/m, left positive; 0 is straight) after ``lead_in`` m."""
    return _road(bend(length, curvature, lead_in), section, speed_limit)


def lane_id(direction: str, index: int, part: int) -> str:
    """Name of a lane: ``forward`` or ``backward``, counted from the middle, and its part along the road."""
    return f"{direction}-{index}-{part}"


def _road(alignment: Alignment, section: CrossSection, speed_limit: float) -> Road:
    length = alignment.length
    lanes = tuple(
        lane
        for forward, count in ((True, section.forward), (False, section.backward))
        for index in range(count)
        for lane in _lanes(alignment, section, forward, index, count, speed_limit)
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


def _section_bounds(length: float) -> Array:
    return np.linspace(0.0, length, int(np.ceil(length / SECTION_LENGTH)) + 1)


def _lanes(
    alignment: Alignment, section: CrossSection, forward: bool, index: int, count: int, speed_limit: float
) -> list[Lane]:
    """The parts of one lane, in driving direction."""
    name, bounds = ("forward" if forward else "backward"), _section_bounds(alignment.length)
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
    """One lane of a cross-section between two arc lengths (m) of an alignment, in driving direction."""
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
    """Lane markings between two arc lengths: yellow in the middle of a two-way road, white elsewhere."""
    width = section.lane_width
    places = {-k * width: LineKind.BROKEN_WHITE for k in range(1, section.forward)}
    places |= {k * width: LineKind.BROKEN_WHITE for k in range(1, section.backward)}
    places[section.right_edge] = LineKind.SOLID_WHITE
    if section.backward:
        places[section.left_edge] = LineKind.SOLID_WHITE
        one_each = section.forward == section.backward == 1
        places[0.0] = LineKind.BROKEN_YELLOW if one_each else LineKind.DOUBLE_YELLOW
    else:
        places[0.0] = LineKind.SOLID_YELLOW
    return tuple(RoadLine(alignment.line(start, end, d), kind) for d, kind in sorted(places.items()))


def path_along(
    alignment: Alignment, start: float, d: float, forward: bool = True, end: float | None = None
) -> Float32[Array, "n 3"]:
    """A path at the offset ``d`` from ``start`` (m) to ``end``, or to where the road ends in that direction."""
    last = (alignment.length if forward else 0.0) if end is None else end
    return alignment.line(start, last, d)
