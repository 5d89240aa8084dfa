"""Small scenes made by hand for the engine's and the environments' tests."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from alpamayo_sim.datatypes.scenario import Goal, Scenario, Script
from alpamayo_sim.datatypes.scene import (
    Category,
    Environment,
    Instruction,
    Lane,
    Prop,
    Provenance,
    RoadMap,
    Route,
    Scene,
    Signal,
    Track,
)

CAR = (4.8, 2.0, 1.6)


def line(*points: tuple[float, float]) -> np.ndarray:
    """A polyline on the ground."""
    return np.array([(x, y, 0.0) for x, y in points], np.float32)


def moving(
    name: str,
    x: float = 0.0,
    y: float = 0.0,
    speed: float = 10.0,
    heading: float = 0.0,
    steps: int = 60,
    size: tuple[float, float, float] = CAR,
    category: Category = Category.VEHICLE,
) -> Track:
    """A track of constant velocity."""
    way = speed * 0.1 * np.arange(steps)
    c, s = np.cos(heading), np.sin(heading)
    return Track(
        id=name,
        category=category,
        position=np.column_stack([x + c * way, y + s * way, np.zeros(steps)]).astype(np.float32),
        heading=np.full(steps, heading, np.float32),
        velocity=np.tile(np.array([speed * c, speed * s], np.float32), (steps, 1)),
        size=np.array(size, np.float32),
        valid=np.ones(steps, bool),
    )


def cone(name: str, x: float, y: float) -> Prop:
    return Prop(name, Category.CONE, np.array([x, y, 0], np.float32), 0.0, np.array([0.4, 0.4, 0.8], np.float32))


def road() -> RoadMap:
    """Two lanes of 3.5 m to the east, from x = -100 to 500 m; the right one lies on y = 0."""
    x = np.arange(-100.0, 500.1, 5.0)
    lanes = tuple(
        Lane(
            id=f"lane {i}",
            centreline=np.column_stack([x, np.full_like(x, 3.5 * i), 0.0 * x]).astype(np.float32),
            width=np.full(len(x), 3.5, np.float32),
            speed_limit=14.0,
        )
        for i in range(2)
    )
    return RoadMap(lanes=lanes, drivable_areas=(line((-100, -1.75), (500, -1.75), (500, 5.25), (-100, 5.25)),))


ROAD = road()


def scenario(
    *others: Track,
    scripts: Sequence[Script] = (),
    props: Sequence[Prop] = (),
    signals: Sequence[Signal] = (),
    ego: Track | None = None,
    road_map: RoadMap = ROAD,
    route: Route | None = None,
    friction: float = 0.9,
    goal: float = 100.0,
    **scene: Any,
) -> Scenario:
    """The ego at the origin at 10 m/s on the right lane of a straight road, and who else is there."""
    instructions = (Instruction(0.0, "go straight on"), Instruction(50.0, "then stop"))
    ego = ego or moving("ego")
    return Scenario(
        scene=Scene(
            id="by hand",
            road_map=road_map,
            tracks=(*others, ego),
            ego_id="ego",
            provenance=Provenance("hand", "Apache-2.0"),
            signals=tuple(signals),
            props=tuple(props),
            environment=Environment(friction=friction),
            route=route or Route(line((0, 0), (200, 0), (400, 0)), ("lane 0",), instructions),
            **scene,
        ),
        goal=Goal(distance=goal, duration=10.0),
        scripts=tuple(scripts),
    )
