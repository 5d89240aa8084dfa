"""The surroundings of a scenario: weather and light, houses and trees, parked cars, other traffic."""

import numpy as np
import shapely
from shapely.geometry.base import BaseGeometry

from alpamayo_scenarios.alignment import Alignment
from alpamayo_scenarios.stage import Size, Stage
from alpamayo_sim.datatypes.scene import Category, Environment, RoadMap
from alpamayo_sim.geometry import box_corners

Rng = np.random.Generator
Kerbs = tuple[Alignment, float, float]  # a road with the d of its right and left kerb

WET_FRICTION = 0.7
START_GAP_M = 8.0  # between the cars of the traffic at the start
SETBACK_M = {Category.VEGETATION: (1.5, 4.0), Category.BUILDING: (4.5, 10.0)}  # from the kerb
TRUCK_SHARE = 0.12
VAN_SHARE = 0.2
TREE_SHARE = 0.55
WEATHER = ("clear", "low sun", "rain", "fog", "night")
WEATHER_SHARES = (0.6, 0.12, 0.12, 0.08, 0.08)


def draw_environment(rng: Rng) -> Environment:
    """Draw weather and light: mostly a clear day, some low sun, rain (mm/h), fog (visibility in m) and night."""
    kind = rng.choice(WEATHER, p=WEATHER_SHARES)
    azimuth = float(rng.uniform(-np.pi, np.pi))
    elevation = float(rng.uniform(0.5, 1.1))
    if kind == "low sun":
        return Environment(sun_elevation=float(rng.uniform(0.08, 0.2)), sun_azimuth=azimuth)
    if kind == "rain":
        rain, visibility = float(rng.uniform(2.0, 15.0)), float(rng.uniform(300.0, 1500.0))
        return Environment(WET_FRICTION, elevation, azimuth, rain, visibility)
    if kind == "fog":
        return Environment(0.8, elevation, azimuth, 0.0, float(rng.uniform(100.0, 250.0)))
    if kind == "night":
        return Environment(sun_elevation=float(rng.uniform(-0.4, -0.15)), sun_azimuth=azimuth)
    return Environment(sun_elevation=elevation, sun_azimuth=azimuth)


def draw_car(rng: Rng) -> Size:
    """Draw length, width, height (m) of a passenger car or van."""
    if rng.random() < VAN_SHARE:
        return _size(rng, (4.7, 5.4), (1.9, 2.0), (1.9, 2.3))
    return _size(rng, (3.9, 4.9), (1.72, 1.92), (1.4, 1.75))


def draw_truck(rng: Rng) -> Size:
    """Draw length, width, height (m) of a rigid truck."""
    return _size(rng, (7.0, 10.5), (2.3, 2.5), (2.9, 3.8))


def _size(rng: Rng, length: tuple[float, float], width: tuple[float, float], height: tuple[float, float]) -> Size:
    return float(rng.uniform(*length)), float(rng.uniform(*width)), float(rng.uniform(*height))


def add_parked_cars(
    stage: Stage, rng: Rng, d: float, span: tuple[float, float], gap: tuple[float, float], share: float = 0.8
) -> None:
    """Add a row of parked cars at offset ``d`` over a ``span`` (m); each place is taken with probability ``share``."""
    s = span[0]
    while s < span[1]:
        size = draw_car(rng)
        s += 0.5 * size[0]
        pose = stage.alignment.pose(s, d + float(rng.uniform(-0.1, 0.1)), forward=d < 0)
        if rng.random() < share and stage.fits(pose, size):
            stage.add_track(f"parked-{len(stage.tracks)}", Category.VEHICLE, pose, 0.0, size)
        s += 0.5 * size[0] + float(rng.uniform(*gap))


def add_traffic(
    stage: Stage,
    rng: Rng,
    d: float,
    positions: list[float],
    speed: float,
    *,
    forward: bool = True,
    alignment: Alignment | None = None,
) -> None:
    """Add cars and trucks that follow the IDM, near the arc lengths ``positions`` (m) at offset ``d``."""
    line = alignment or stage.alignment
    for s in positions:
        size = draw_truck(rng) if rng.random() < TRUCK_SHARE else draw_car(rng)
        category = Category.TRUCK if size[2] > 2.5 else Category.VEHICLE
        s += float(rng.uniform(-4.0, 4.0))
        initial_speed = speed * float(rng.uniform(0.88, 1.0))
        inside = 0.5 * size[0] < s < line.length - 0.5 * size[0]
        room = (size[0] + 2.0 * START_GAP_M, size[1], size[2])
        if inside and stage.fits(line.pose(s, d, forward), room):
            stage.add_actor(
                f"car-{len(stage.tracks)}",
                category,
                s,
                d,
                initial_speed,
                size,
                forward=forward,
                yields=True,
                alignment=line,
            )


def add_roadside(stage: Stage, rng: Rng, road_map: RoadMap, roads: list[Kerbs], density: float = 1.0) -> None:
    """Add houses and trees along roads, a metre or more from all drivable ground."""
    ground = shapely.union_all([shapely.Polygon(area[:, :2]) for area in road_map.drivable_areas]).buffer(1.0)
    shapely.prepare(ground)
    for line, right, left in roads:
        for side, kerb in ((-1.0, -right), (1.0, left)):
            s = float(rng.uniform(0.0, 15.0))
            while s < line.length - 8.0:
                kind = Category.VEGETATION if rng.random() < TREE_SHARE else Category.BUILDING
                size = _tree(rng) if kind == Category.VEGETATION else _house(rng)
                setback = float(rng.uniform(*SETBACK_M[kind]))
                pose = line.pose(s + 0.5 * size[0], side * (kerb + setback + 0.5 * size[1]))
                wanted = rng.random() < density
                if wanted and stage.fits(pose, size, 0.5) and not _on_ground(ground, pose, size):
                    stage.add_prop(f"{kind.name.lower()}-{len(stage.props)}", kind, pose, size)
                s += size[0] + float(rng.uniform(5.0, 22.0))


def _tree(rng: Rng) -> Size:
    spread = float(rng.uniform(1.2, 3.0))
    return spread, spread, float(rng.uniform(3.0, 8.0))


def _house(rng: Rng) -> Size:
    return _size(rng, (8.0, 22.0), (7.0, 12.0), (4.0, 14.0))


def _on_ground(ground: BaseGeometry, pose: tuple[float, float, float], size: Size) -> bool:
    outline = shapely.polygons(box_corners(np.array(pose), np.array(size[:2])))
    return bool(shapely.intersects(ground, outline))
