"""A scenario in the making: actors and props are added one by one and must not overlap."""

import math
from dataclasses import dataclass, field

import numpy as np

from alpamayo_scenarios.alignment import Alignment
from alpamayo_scenarios.roads import path_along
from alpamayo_sim.datatypes.scenario import Goal, Manoeuvre, Scenario, Script
from alpamayo_sim.datatypes.scene import Category, Environment, Prop, Provenance, RoadMap, Route, Scene, Signal, Track
from alpamayo_sim.geometry import box_separation

Array = np.ndarray
Size = tuple[float, float, float]

TIME_STEP_S = 0.1
EGO_SIZE: Size = (4.9, 1.95, 1.65)
CHILD_SIZE: Size = (0.45, 0.5, 1.2)
EGO_ID = "ego"
LICENCE = "Apache-2.0"


@dataclass(eq=False)
class Stage:
    """A scenario in the making. Nothing may overlap what was added before.

    Positions are s and d (m) on ``alignment``, the ego's road. ``duration`` is in s.
    """

    alignment: Alignment
    duration: float
    tracks: list[Track] = field(default_factory=list)
    scripts: list[Script] = field(default_factory=list)
    props: list[Prop] = field(default_factory=list)
    boxes: list[tuple[float, float, float, float, float]] = field(default_factory=list)

    @property
    def steps(self) -> int:
        """Rows of each track: one more than the steps of an episode."""
        return round(self.duration / TIME_STEP_S) + 1

    def fits(self, pose: tuple[float, float, float], size: Size, clearance: float = 0.3) -> bool:
        """Return whether a box keeps ``clearance`` (m) from everything that was added before."""
        x, y, half = pose[0], pose[1], 0.5 * math.hypot(size[0], size[1]) + clearance + 1e-6
        near = [box for box in self.boxes if math.hypot(box[0] - x, box[1] - y) <= 0.5 * math.hypot(*box[3:]) + half]
        if not near:  # as for most boxes; no array is made then
            return True
        others = np.array(near)
        gap = box_separation(np.array([pose]), np.array([size[:2]]), others[:, :3], others[:, 3:])
        return bool(np.all(gap > clearance))

    def add_track(
        self,
        id: str,  # noqa: A002 - the field's name
        category: Category,
        pose: tuple[float, float, float],
        speed: float,
        size: Size,
    ) -> None:
        """Add a road user whose track repeats its initial state; a script moves it, or it stands. Speed in m/s."""
        self._occupy(id, pose, size)
        n, (x, y, heading) = self.steps, pose
        velocity = speed * np.array([np.cos(heading), np.sin(heading)])
        self.tracks.append(
            Track(
                id=id,
                category=category,
                position=np.tile(np.array([x, y, 0.0], np.float32), (n, 1)),
                heading=np.full(n, heading, np.float32),
                velocity=np.tile(velocity.astype(np.float32), (n, 1)),
                size=np.array(size, np.float32),
                valid=np.ones(n, bool),
            )
        )

    def add_ego(self, s: float, d: float, speed: float) -> None:
        """Add the ego on the main alignment, with its initial speed (m/s)."""
        self.add_track(EGO_ID, Category.VEHICLE, self.alignment.pose(s, d), speed, EGO_SIZE)

    def add_actor(
        self,
        id: str,  # noqa: A002 - the field's name
        category: Category,
        s: float,
        d: float,
        speed: float,
        size: Size,
        *,
        forward: bool = True,
        yields: bool = False,
        manoeuvres: tuple[Manoeuvre, ...] = (),
        alignment: Alignment | None = None,
    ) -> None:
        """Add a road user that drives at offset ``d`` from ``s`` to the end of the road, with manoeuvres."""
        line = alignment or self.alignment
        self.add_track(id, category, line.pose(s, d, forward), speed, size)
        self.scripts.append(Script(id, path_along(line, s, d, forward), speed, yields, manoeuvres))

    def add_prop(
        self,
        id: str,  # noqa: A002 - the field's name
        category: Category,
        pose: tuple[float, float, float],
        size: Size,
    ) -> None:
        """Add a thing that never moves."""
        self._occupy(id, pose, size)
        x, y, heading = pose
        position = np.array([x, y, 0.0], np.float32)
        self.props.append(Prop(id, category, position, float(heading), np.array(size, np.float32)))

    def scenario(
        self,
        road_map: RoadMap,
        route: Route,
        goal_distance: float,
        environment: Environment,
        signals: tuple[Signal, ...] = (),
    ) -> Scenario:
        """Return the finished scenario with a goal distance (m); the family adds its name, parameters and seed."""
        scene = Scene(
            id="generated",
            road_map=road_map,
            tracks=tuple(self.tracks),
            ego_id=EGO_ID,
            provenance=Provenance("alpamayo_scenarios", LICENCE),
            signals=signals,
            props=tuple(self.props),
            environment=environment,
            route=route,
            dt=TIME_STEP_S,
        )
        return Scenario(scene, Goal(float(goal_distance), float(self.duration)), tuple(self.scripts))

    def _occupy(self, name: str, pose: tuple[float, float, float], size: Size) -> None:
        if not self.fits(pose, size, clearance=0.0):
            raise AssertionError(f"{name} overlaps something that was added before")
        self.boxes.append((*pose, size[0], size[1]))
