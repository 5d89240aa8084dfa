"""Sites: a generated road with the ego on it, and the actors placed in the ego's terms."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float32

from alpamayo_scenarios.actors import ADULT
from alpamayo_scenarios.alignment import flat
from alpamayo_scenarios.conflicts import add_conflict
from alpamayo_scenarios.roads import CrossSection, Road, curved_road
from alpamayo_scenarios.scenery import add_roadside, add_traffic, draw_car, draw_environment
from alpamayo_scenarios.stage import EGO_SIZE, Size, Stage
from alpamayo_sim.datatypes.scenario import Manoeuvre, Scenario
from alpamayo_sim.datatypes.scene import Category, Environment, RoadMap

Array = np.ndarray
Rng = np.random.Generator

START_M = 60.0  # m along the road, the ego's initial position
ROAD_BEYOND_M = 130.0  # m of road beyond the distance at the speed limit
LEAD_IN_M = 40.0  # m before a bend
FAR_KERB_M = 1.5  # m beyond the far kerb, the end of a crossing path
FLOW_CARS = 9  # of a dense flow ahead of the car beside the ego; half as many at most are behind it
FLOW_CAR_M = 4.5  # their usual length
FLOW_START_M = 8.0  # from the beginning of the road to the last car


@dataclass(eq=False)
class RoadSite:
    """A road with the ego in forward lane ``lane`` at ``START_M``.

    Distances along are arc lengths (m) of the road, offsets ``d`` (m) are left positive from its middle, speeds are
    in m/s. ``limit`` is the speed limit.
    """

    road: Road
    stage: Stage
    rng: Rng
    lane: int
    speed: float
    limit: float
    crosswalks: list[Float32[Array, "4 3"]] = field(default_factory=list)

    @property
    def section(self) -> CrossSection:
        """The cross-section of the road."""
        return self.road.section

    def d(self, lane: int | None = None) -> float:
        """Return the offset of the centre of a forward lane, by default of the ego's lane."""
        return self.section.lane(self.lane if lane is None else lane)

    def ahead(self, gap: float, size: Size) -> float:
        """Return the arc length of the centre of a box whose rear is ``gap`` (m) ahead of the ego's front."""
        return START_M + gap + 0.5 * (EGO_SIZE[0] + size[0])

    def point(self, s: float, d: float | None = None) -> tuple[float, float]:
        """Return the world coordinates (m) of (s, d), by default in the ego's lane."""
        x, y, _ = self.road.alignment.pose(s, self.d() if d is None else d)
        return x, y

    def actor(
        self,
        name: str,
        s: float,
        d: float,
        speed: float,
        size: Size | None = None,
        *,
        category: Category = Category.VEHICLE,
        forward: bool = True,
        yields: bool = False,
        manoeuvres: Sequence[Manoeuvre] = (),
    ) -> None:
        """Add a scripted road user at offset ``d``; a passenger car when no size is given."""
        size = size or draw_car(self.rng)
        self.stage.add_actor(
            name, category, s, d, speed, size, forward=forward, yields=yields, manoeuvres=tuple(manoeuvres)
        )

    def standing(
        self,
        name: str,
        s: float,
        d: float,
        size: Size,
        *,
        category: Category = Category.VEHICLE,
        turned: float = 0.0,
    ) -> None:
        """Add a standing road user, turned (rad) from the road's direction."""
        x, y, heading = self.road.alignment.pose(s, d)
        self.stage.add_track(name, category, (x, y, heading + turned), 0.0, size)

    def prop(self, name: str, category: Category, s: float, d: float, size: Size, turned: float = 0.0) -> None:
        """Add a prop, turned (rad) from the road's direction."""
        x, y, heading = self.road.alignment.pose(s, d)
        self.stage.add_prop(name, category, (x, y, heading + turned), size)

    def crosser(
        self,
        name: str,
        place: float,
        speed: float,
        *,
        from_left: bool = False,
        category: Category = Category.PEDESTRIAN,
        size: Size = ADULT,
        setback: float = 0.6,
        acceleration: float = 2.5,
        lateness: float = 0.0,
        then: tuple[Manoeuvre, ...] = (),
    ) -> None:
        """Add an actor that crosses the road at arc length ``place`` and meets a steady ego.

        It starts ``setback`` (m) beyond the kerb; see ``add_conflict``.
        """
        near = self.section.left_kerb + setback if from_left else self.section.right_kerb - setback
        far = self.section.right_kerb - FAR_KERB_M if from_left else self.section.left_kerb + FAR_KERB_M
        path = flat(self.road.alignment.position(np.full(12, place), np.linspace(near, far, 12)))
        add_conflict(
            self.stage,
            self.route_path,
            name,
            category,
            size,
            path,
            speed,
            acceleration=acceleration,
            lateness=lateness,
            then=then,
        )

    @property
    def route_path(self) -> Float32[Array, "n 3"]:
        """The ego's path."""
        return self.road.route(self.lane, START_M).path

    def crosswalk(self, place: float, width: float = 4.0) -> None:
        """Add a crosswalk over the whole road, centred at arc length ``place``."""
        s = place + 0.5 * width * np.array([-1.0, 1.0, 1.0, -1.0])
        d = np.array([self.section.right_kerb, self.section.right_kerb, self.section.left_kerb, self.section.left_kerb])
        self.crosswalks.append(flat(self.road.alignment.position(s, d)))

    def clear(self, place: float, length: float = 3.0, reach: float = 8.0) -> None:
        """Keep houses and trees away from both roadsides around arc length ``place``, where actors cross."""
        for side, kerb in ((-1.0, self.section.right_kerb), (1.0, self.section.left_kerb)):
            pose = self.road.alignment.pose(place, kerb + side * (0.5 * reach + 1.0))
            self.stage.boxes.append((*pose, length, reach))

    def flow(self, lane: int, gaps: Sequence[float], speed: float | None = None) -> None:
        """Add traffic in a forward lane, ``gaps`` (m) ahead of the ego; negative is behind it."""
        places = [START_M + gap for gap in gaps]
        add_traffic(self.stage, self.rng, self.d(lane), places, self.speed if speed is None else speed)

    def dense_flow(self, name: str, lane: int, meets: float, speed: float, gap: float, shift: float = 0.0) -> None:
        """Add ``NAME-*`` cars that follow the IDM in a forward lane at a ``gap`` (m); one of them is beside the ego.

        It is ``shift`` (m) ahead of a steady ego that has driven ``meets`` (m).
        """
        first = START_M + (meets * (1.0 - speed / self.speed) + shift)
        spacing = gap + FLOW_CAR_M
        behind = int((first - FLOW_START_M) // spacing)
        for k in range(-min(behind, FLOW_CARS // 2), FLOW_CARS):
            self.actor(
                f"{name}-{k + FLOW_CARS}", first + k * spacing, self.d(lane), speed, draw_car(self.rng), yields=True
            )

    def oncoming(self, gaps: Sequence[float], speed: float | None = None) -> None:
        """Add traffic in all backward lanes, ``gaps`` (m) ahead of the ego."""
        for lane in range(self.section.backward):
            places = [START_M + gap for gap in gaps]
            pace = self.limit if speed is None else speed
            add_traffic(self.stage, self.rng, self.section.oncoming(lane), places, pace, forward=False)

    def scenario(
        self,
        goal: float,
        *,
        environment: Environment | None = None,
        road_map: RoadMap | None = None,
        density: float = 0.8,
    ) -> Scenario:
        """Add the roadside and return the scenario; ``goal`` is a distance (m) along the route."""
        section, road_map = self.section, road_map or self.road.road_map
        if self.crosswalks:
            road_map = dataclasses.replace(road_map, crosswalks=(*road_map.crosswalks, *self.crosswalks))
        kerbs = (self.road.alignment, section.right_kerb, section.left_kerb)
        add_roadside(self.stage, self.rng, road_map, [kerbs], density)
        route = self.road.route(self.lane, START_M)
        return self.stage.scenario(road_map, route, goal, environment or draw_environment(self.rng))


def road_site(
    rng: Rng,
    speed: float,
    limit: float,
    section: CrossSection,
    *,
    lane: int = 0,
    duration: float = 15.0,
    curvature: float = 0.0,
    reach: float | None = None,
) -> RoadSite:
    """Make a road with the ego on it; the road goes on for ``reach`` (m) ahead of the ego. Speeds in m/s."""
    length = START_M + (ROAD_BEYOND_M + limit * duration if reach is None else reach)
    road = curved_road(length, section, limit, curvature, LEAD_IN_M)
    return site_on(road, rng, speed, limit, lane, duration)


def site_on(road: Road, rng: Rng, speed: float, limit: float, lane: int, duration: float) -> RoadSite:
    """Put the ego on a forward lane of a road, with its speed (m/s), for an episode of a duration (s)."""
    stage = Stage(road.alignment, duration)
    stage.add_ego(START_M, road.section.lane(lane), speed)
    return RoadSite(road, stage, rng, lane, speed, limit)
