"""A four-arm intersection of two straight roads with signals, stop lines, crosswalks and all turns."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Int8

from alpamayo_scenarios.alignment import Alignment, flat, straight
from alpamayo_scenarios.roads import CrossSection, painted_lines, swept_lane
from alpamayo_sim.datatypes.scene import Instruction, Lane, RoadMap, Route, Signal, SignalState, StopLine

Array = np.ndarray

CROSSWALK_SPAN_M = (1.0, 4.0)  # outside the kerb return
STOP_LINE_M = 5.0  # outside the kerb return
ARMS = ("west", "south", "east", "north")  # counter-clockwise; the main road runs from west to east
SIGNAL_HEIGHT_M = 3.0
EDGE_SPACING_M = 2.0  # between the points of a kerb


@dataclass(frozen=True)
class Phase:
    """A state of a signal and its duration (s)."""

    state: SignalState
    duration: float


@dataclass(frozen=True, eq=False)
class Intersection:
    """Two crossing roads. ``main`` runs west to east, ``cross`` south to north; both pass the origin.

    ``box`` is the distance (m) of the stop lines from the centre.
    """

    main: Alignment
    cross: Alignment
    section: CrossSection
    road_map: RoadMap
    box: float
    signal_places: dict[str, Float32[Array, "3"]]
    signal_lanes: dict[str, tuple[str, ...]]

    def route(self, lane: int, start: float) -> Route:
        """Return the route straight on in ``lane`` of the main road, from ``start`` (m along ``main``)."""
        path = self.main.line(start, self.main.length, self.section.lane(lane))
        ids = (f"west-in-{lane}", f"west-{lane}-through", f"east-out-{lane}")
        return Route(path, ids, (Instruction(0.0, "Go straight on at the traffic lights"),))

    def signals(
        self, main: tuple[Phase, ...], cross: tuple[Phase, ...], steps: int, dt: float = 0.1, offset: float = 0.0
    ) -> tuple[Signal, ...]:
        """Return the signals of the four arms; ``offset`` (s) is the time in the cycle at the first step."""
        plans = {"west": main, "east": main, "south": cross, "north": cross}
        return tuple(
            Signal(f"signal-{arm}", self.signal_places[arm], unroll(plans[arm], steps, dt, offset), lanes)
            for arm, lanes in self.signal_lanes.items()
        )


def unroll(phases: tuple[Phase, ...], steps: int, dt: float, offset: float = 0.0) -> Int8[Array, " steps"]:
    """Return the state at each step of a repeated cycle of phases; times in s."""
    ends = np.cumsum([phase.duration for phase in phases])
    time = (offset + dt * np.arange(steps)) % ends[-1]
    states = np.array([phase.state for phase in phases], np.int8)
    return states[np.searchsorted(ends, time, side="right")]


def four_arms(
    section: CrossSection, speed_limit: float, arm_lengths: tuple[float, float, float, float], kerb_radius: float = 7.0
) -> Intersection:
    """Make a four-arm intersection at the origin; ``arm_lengths`` (m, from the centre) west, south, east, north.

    Both roads have the cross-section ``section``, with the same number of lanes in each direction. Every lane goes
    straight on; the inner one also turns left, the outer one also right.
    """
    corner = -section.right_kerb + kerb_radius
    box = corner + STOP_LINE_M
    west, south, east, north = arm_lengths
    main = straight(west + east, (-west, 0.0), 0.0)
    cross = straight(south + north, (0.0, -south), np.pi / 2)
    lanes: list[Lane] = []
    for k, arm in enumerate(ARMS):
        lanes += _arm_lanes(k, arm_lengths[k], box, section, speed_limit)
        lanes += _connectors(arm, k, section, corner, box, speed_limit)
    controlled = {
        arm: tuple(lane.id for lane in lanes if lane.in_intersection and lane.id.startswith(f"{arm}-")) for arm in ARMS
    }
    road_map = RoadMap(
        lanes=tuple(lanes),
        drivable_areas=(flat(np.concatenate(_outline(section, arm_lengths, kerb_radius))),),
        crosswalks=tuple(_across(k, corner, section, CROSSWALK_SPAN_M) for k in range(4)),
        stop_lines=tuple(_stop_line(arm, k, box, section, controlled[arm]) for k, arm in enumerate(ARMS)),
        road_edges=tuple(flat(edge) for edge in _outline(section, arm_lengths, kerb_radius)),
        road_lines=tuple(
            line
            for k, length in enumerate(arm_lengths)
            for line in painted_lines(_arm_alignment(k, length), section, 0.0, length - box)
        ),
    )
    places = {arm: flat(_in_arm(k, np.array([[box, -section.right_kerb + 0.5]])))[0] for k, arm in enumerate(ARMS)}
    for place in places.values():
        place[2] = SIGNAL_HEIGHT_M
    return Intersection(main, cross, section, road_map, box, places, controlled)


def _angle(arm: int) -> float:
    """Return the direction (rad) of an arm, from the centre outwards."""
    return float(np.pi + arm * np.pi / 2)


def _in_arm(arm: int, xy: Array) -> Array:
    """Express points of an arm's frame (x outwards, y left of that) in the world; exact for right angles."""
    c, s = ((-1, 0), (0, -1), (1, 0), (0, 1))[arm]
    return np.stack([c * xy[:, 0] - s * xy[:, 1], s * xy[:, 0] + c * xy[:, 1]], axis=-1)


def _arm_alignment(arm: int, length: float) -> Alignment:
    """Return the alignment of one arm, from its outer end to the centre."""
    start = _in_arm(arm, np.array([[length, 0.0]]))[0]
    return straight(length, (float(start[0]), float(start[1])), _angle(arm) + np.pi)


def _arm_lanes(arm: int, length: float, box: float, section: CrossSection, speed_limit: float) -> list[Lane]:
    name, alignment, count = ARMS[arm], _arm_alignment(arm, length), section.forward
    lanes = []
    for i in range(count):
        left, right = i - 1, i + 1
        for kind, forward, span in (("in", True, (0.0, length - box)), ("out", False, (length - box, 0.0))):
            successors = tuple(f"{name}-{i}-{turn}" for turn in _turns(i, count)) if forward else ()
            lanes.append(
                swept_lane(
                    alignment,
                    span,
                    section,
                    forward,
                    i,
                    id=f"{name}-{kind}-{i}",
                    speed_limit=speed_limit,
                    successors=successors,
                    left_neighbours=(f"{name}-{kind}-{left}",) if left >= 0 else (),
                    right_neighbours=(f"{name}-{kind}-{right}",) if right < count else (),
                )
            )
    return lanes


def _turns(lane: int, count: int) -> tuple[str, ...]:
    turns = ("through",) + (("left",) if lane == 0 else ()) + (("right",) if lane == count - 1 else ())
    return turns


def _connectors(arm: str, k: int, section: CrossSection, corner: float, box: float, speed_limit: float) -> list[Lane]:
    """Return the lanes of one arm through the intersection, from its stop line to the outgoing lanes."""
    lanes = []
    for i in range(section.forward):
        for turn in _turns(i, section.forward):
            target = ARMS[(k + {"through": 2, "right": 1, "left": 3}[turn]) % 4]
            lines = [
                flat(_in_arm(k, _connector(turn, y, corner, box)))
                for y in (np.array([0.5, 0.0, 1.0]) + i) * section.lane_width
            ]
            lanes.append(
                Lane(
                    id=f"{arm}-{i}-{turn}",
                    centreline=lines[0],
                    width=np.full(len(lines[0]), section.lane_width, np.float32),
                    left_boundary=lines[1],
                    right_boundary=lines[2],
                    speed_limit=speed_limit,
                    successors=(f"{target}-out-{i}",),
                    in_intersection=True,
                )
            )
    return lanes


def _connector(turn: str, y: float, corner: float, box: float) -> Array:
    """Return a line through the intersection in the frame of its incoming arm, where traffic comes in along -x."""
    if turn == "through":
        x = np.linspace(box, -box, int(np.ceil(box)) + 1)
        return np.stack([x, np.full_like(x, y)], axis=-1)
    side = 1.0 if turn == "right" else -1.0  # the arm at the driver's right lies at +y
    radius = corner - side * y
    angle = np.linspace(0.0, np.pi / 2, max(8, int(np.ceil(radius))))
    arc = np.stack([corner - radius * np.sin(angle), side * (corner - radius * np.cos(angle))], axis=-1)
    run = np.linspace(box, corner, 4)[:-1]
    entry = np.stack([run, np.full_like(run, y)], axis=-1)
    leave = np.stack([np.full_like(run, side * y), side * run[::-1]], axis=-1)
    return np.concatenate([entry, arc, leave])


def _across(arm: int, corner: float, section: CrossSection, span: tuple[float, float]) -> Float32[Array, "4 3"]:
    near, far, half = corner + span[0], corner + span[1], -section.right_kerb
    return flat(_in_arm(arm, np.array([[near, -half], [far, -half], [far, half], [near, half]])))


def _stop_line(arm: str, k: int, box: float, section: CrossSection, through: tuple[str, ...]) -> StopLine:
    """Return the stop line of an arm, for the lanes that end and that begin there."""
    ends = np.array([[box, 0.0], [box, section.forward * section.lane_width]])
    incoming = tuple(f"{arm}-in-{i}" for i in range(section.forward))
    return StopLine(f"stop-{arm}", flat(_in_arm(k, ends)), incoming + through)


def _outline(section: CrossSection, arm_lengths: tuple[float, ...], radius: float) -> list[Array]:
    """Return the kerbs, one at each corner from an arm to the next one, with the drivable ground at their left."""
    half = -section.right_kerb
    edges = []
    angle = np.linspace(0.0, np.pi / 2, 16)
    for k in range(4):
        # in the frame of arm k, the corner next to arm k+1 (counter-clockwise) is at x > 0, y > 0
        corner = half + radius
        arc = np.stack([corner - radius * np.sin(angle), corner - radius * np.cos(angle)], axis=-1)
        inbound = _spaced(arm_lengths[k], corner, half, along_x=True)
        outbound = _spaced(corner, arm_lengths[(k + 1) % 4], half, along_x=False)
        edges.append(_in_arm(k, np.concatenate([inbound[:-1], arc, outbound[1:]])))
    return edges


def _spaced(start: float, end: float, across: float, along_x: bool) -> Array:
    run = np.linspace(start, end, int(np.ceil(abs(end - start) / EDGE_SPACING_M)) + 1)
    other = np.full_like(run, across)
    return np.stack([run, other] if along_x else [other, run], axis=-1)
