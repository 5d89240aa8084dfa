"""Junction sites: the ego before a four-arm or T junction, and actors that follow the lanes of its map."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32

from alpamayo_scenarios.conflicts import add_on_path, add_stream, line_between, meeting, shortened
from alpamayo_scenarios.intersections import ARMS, CROSSWALK_SPAN_M, Intersection, Phase, four_arms
from alpamayo_scenarios.roads import CrossSection, lane_path
from alpamayo_scenarios.scenery import add_roadside, draw_car, draw_environment
from alpamayo_scenarios.stage import EGO_SIZE, Stage
from alpamayo_sim.datatypes.scenario import Scenario
from alpamayo_sim.datatypes.scene import (
    Category,
    Environment,
    Instruction,
    RoadMap,
    Route,
    Signal,
    SignalState,
    StopLine,
)
from alpamayo_sim.geometry import arc_length

Array = np.ndarray
Rng = np.random.Generator
Path = Float32[Array, "_ 3"]

WEST_ARM_M = 110.0  # the least length of the ego's arm
ARM_M = 110.0  # the side arms
EAST_ARM_M = 150.0
APPROACH_M = 8.0  # the least distance of the ego from its stop line at the start
TURNS = {
    "through": "Go straight on at the junction",
    "left": "Turn left at the junction",
    "right": "Turn right at the junction",
}
ARMS_FURTHER = {"right": 1, "through": 2, "left": 3}  # counter-clockwise
GREEN_FOR_EGO = (Phase(SignalState.GREEN, 60.0), Phase(SignalState.YELLOW, 3.0), Phase(SignalState.RED, 30.0))
RED_FOR_OTHERS = (Phase(SignalState.RED, 70.0), Phase(SignalState.GREEN, 20.0), Phase(SignalState.YELLOW, 3.0))


@dataclass(eq=False)
class JunctionSite:
    """A junction at the origin with the ego on the arm from the west.

    ``route`` is the ego's; its speed and the limit are in m/s. The middle of the junction is ``before`` m along
    the route.
    """

    crossing: Intersection
    road_map: RoadMap
    stage: Stage
    rng: Rng
    route: Route
    limit: float
    before: float

    @property
    def section(self) -> CrossSection:
        """The cross-section of all arms."""
        return self.crossing.section

    def path(self, arm: str, turn: str, before: float | None, lane: int = 0) -> Path:
        """Return the path from an arm through the junction, from ``before`` (m) ahead of the stop line; None is all."""
        whole = lane_path(self.road_map, lane_ids(arm, turn, lane))
        if before is None:
            return whole
        stop = arc_length(self.road_map.lane_by_id[f"{arm}-in-{lane}"].centreline)[-1]
        return shortened(whole, float(stop) - before)

    def across(self, arm: str, from_right: bool, setback: float) -> Path:
        """Return the path across an arm on its crosswalk; ``from_right`` as seen by incoming traffic."""
        k = ARMS.index(arm)
        x = self.crossing.box - 5.0 + 0.5 * (CROSSWALK_SPAN_M[0] + CROSSWALK_SPAN_M[1])
        half = -self.section.right_kerb + setback
        ends = [in_arm(k, x, y) for y in ((half, -half) if from_right else (-half, half))]
        return line_between(*ends)

    def fill(self, arm: str, turn: str, places: Sequence[float], speed: float, lane: int = 0) -> None:
        """Add cars that follow the IDM, ``places`` (m) ahead of the stop line of an arm."""
        for before in places:
            size, path = draw_car(self.rng), self.path(arm, turn, before, lane)
            x, y = (float(v) for v in path[0, :2])
            heading = float(np.arctan2(*(path[1, :2] - path[0, :2])[::-1]))
            if self.stage.fits((x, y, heading), (size[0] + 6.0, size[1], size[2])):
                name = f"car-{len(self.stage.tracks)}"
                add_on_path(self.stage, name, Category.VEHICLE, size, path, speed, yields=True)

    def stream(self, arm: str, times: Sequence[float], speed: float) -> None:
        """Add ``stream-*`` cars that go straight on from an arm and cross the ego's path at ``times`` (s)."""
        path = self.path(arm, "through", None)
        way, _ = meeting(path, self.route.path)
        add_stream(self.stage, self.rng, path, way, times, speed)

    def clear(self, path: Path, width: float = 2.5) -> None:
        """Keep houses and trees away from the ends of a path beside the road."""
        for end, other in ((path[0], path[1]), (path[-1], path[-2])):
            heading = float(np.arctan2(*(other[:2] - end[:2])[::-1]))
            self.stage.boxes.append((float(end[0]), float(end[1]), heading, 6.0, width))

    def scenario(
        self,
        beyond: float,
        *,
        signals: tuple[Signal, ...] = (),
        environment: Environment | None = None,
    ) -> Scenario:
        """Add the roadside and return the scenario; the goal is ``beyond`` (m) after the middle of the junction."""
        kerbs = self.section.right_kerb, self.section.left_kerb
        roads = [(self.crossing.main, *kerbs), (self.crossing.cross, *kerbs)]
        add_roadside(self.stage, self.rng, self.road_map, roads, 0.7)
        weather = environment or draw_environment(self.rng)
        return self.stage.scenario(self.road_map, self.route, self.before + beyond, weather, signals)


def junction_site(
    rng: Rng,
    speed: float,
    time: float,
    limit: float,
    *,
    turn: str = "through",
    lane: int = 0,
    count: int = 1,
    duration: float = 16.0,
    without: str | None = None,
    crosswalks: bool = True,
) -> JunctionSite:
    """Make a junction whose middle a steady ego reaches after ``time`` (s), or later where it would start inside.

    ``count`` is the number of lanes in each direction; ``without`` names an arm to leave out (a T junction).
    """
    section = CrossSection(count, count, 3.5, 0.5)
    crossing = four_arms(
        section, limit, (max(WEST_ARM_M, speed * time + 40.0), ARM_M, EAST_ARM_M, ARM_M), float(rng.uniform(6.0, 8.0))
    )
    road_map = crossing.road_map if without is None else without_arm(crossing, without)
    if not crosswalks:
        road_map = dataclasses.replace(road_map, crosswalks=())
    ids = lane_ids("west", turn, lane)
    whole = lane_path(road_map, ids)
    inside = road_map.lane_by_id[ids[1]].centreline
    middle = float(arc_length(road_map.lane_by_id[ids[0]].centreline)[-1]) + 0.5 * float(arc_length(inside)[-1])
    before = max(speed * time, 0.5 * float(arc_length(inside)[-1]) + APPROACH_M)
    path = shortened(whole, middle - before)
    route = Route(path, ids, (Instruction(0.0, TURNS[turn]),))
    stage = Stage(crossing.main, duration)
    stage.add_track("ego", Category.VEHICLE, (float(path[0, 0]), float(path[0, 1]), 0.0), speed, EGO_SIZE)
    return JunctionSite(crossing, road_map, stage, rng, route, limit, before)


def lane_ids(arm: str, turn: str, lane: int) -> tuple[str, str, str]:
    """Return the ids of the lanes from an arm through the junction."""
    target = ARMS[(ARMS.index(arm) + ARMS_FURTHER[turn]) % 4]
    return f"{arm}-in-{lane}", f"{arm}-{lane}-{turn}", f"{target}-out-{lane}"


def in_arm(arm: int, x: float, y: float) -> tuple[float, float]:
    """Return the world coordinates of a point ``x`` (m) outwards on an arm and ``y`` (m) left of that direction."""
    c, s = ((-1, 0), (0, -1), (1, 0), (0, 1))[arm]
    return float(c * x - s * y), float(s * x + c * y)


def without_arm(crossing: Intersection, arm: str) -> RoadMap:
    """Return the map of a T junction: the intersection without one of its arms."""
    whole, k = crossing.road_map, ARMS.index(arm)
    gone = {lane.id for lane in whole.lanes if lane.id.startswith(f"{arm}-")}
    gone |= {lane.id for lane in whole.lanes if any(name.startswith(f"{arm}-out") for name in lane.successors)}
    lanes = tuple(
        dataclasses.replace(lane, successors=tuple(name for name in lane.successors if name not in gone))
        for lane in whole.lanes
        if lane.id not in gone
    )
    before, after = whole.road_edges[k - 1], whole.road_edges[k]
    straight = np.stack([before[0], after[-1]])
    spaced = np.linspace(straight[0], straight[1], int(np.ceil(np.linalg.norm(straight[1] - straight[0]) / 2.0)) + 1)
    others = [whole.road_edges[(k + j) % 4] for j in (1, 2)]
    edges = (spaced.astype(np.float32), *others)
    each = len(whole.road_lines) // 4
    lines = tuple(line for i, line in enumerate(whole.road_lines) if i // each != k)
    return dataclasses.replace(
        whole,
        lanes=lanes,
        drivable_areas=(np.concatenate(edges),),
        road_edges=edges,
        crosswalks=tuple(area for i, area in enumerate(whole.crosswalks) if i != k),
        stop_lines=tuple(_kept(line, gone) for line in whole.stop_lines if line.id != f"stop-{arm}"),
        road_lines=lines,
    )


def _kept(line: StopLine, gone: set[str]) -> StopLine:
    return dataclasses.replace(line, lane_ids=tuple(name for name in line.lane_ids if name not in gone))
