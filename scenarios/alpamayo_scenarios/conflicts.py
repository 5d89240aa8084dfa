"""Actors whose path crosses the ego's path, timed to meet a steady ego."""

import math
from collections.abc import Sequence

import numpy as np
import shapely
from jaxtyping import Float32

from alpamayo_scenarios.alignment import flat
from alpamayo_scenarios.scenery import draw_car
from alpamayo_scenarios.stage import Size, Stage
from alpamayo_sim.datatypes.scenario import Manoeuvre, Script, Trigger, TriggerKind
from alpamayo_sim.datatypes.scene import Category
from alpamayo_sim.geometry import arc_length

Array = np.ndarray
Path = Float32[Array, "_ 3"]
Point = tuple[float, float]

STREAM_START_M = 3.0  # the least distance of a stream's car from the beginning of its path


def travel_time(distance: float, speed: float, acceleration: float) -> float:
    """Return the time (s) for ``distance`` (m) from a standstill, at ``acceleration`` (m/s²) to ``speed`` (m/s)."""
    ramp = speed / acceleration
    if distance < 0.5 * speed * ramp:
        return math.sqrt(2.0 * distance / acceleration)
    return distance / speed + 0.5 * ramp


def meeting(path: Path, ego_path: Path) -> tuple[float, Point]:
    """Return the first crossing of ``path`` with ``ego_path``: the distance (m) along ``path``, and the point.

    Raises:
        ValueError: The paths do not cross.
    """
    line = shapely.LineString(path[:, :2])
    crossing = line.intersection(shapely.LineString(ego_path[:, :2]))
    if crossing.is_empty:
        raise ValueError("the paths do not cross")
    distance = min(float(line.project(shapely.Point(x, y))) for x, y in shapely.get_coordinates(crossing))
    point = line.interpolate(distance)
    return distance, (point.x, point.y)


def add_conflict(
    stage: Stage,
    ego_path: Path,
    name: str,
    category: Category,
    size: Size,
    path: Path,
    speed: float,
    *,
    acceleration: float,
    lateness: float = 0.0,
    then: tuple[Manoeuvre, ...] = (),
) -> None:
    """Add a road user that stands at the start of ``path`` and meets a steady ego at the crossing of their paths.

    It starts when the ego's time to the crossing point falls to its own time to that point, so it acts relative to
    the ego. It reaches the point ``lateness`` (s) after the ego; the manoeuvres ``then`` follow the start.
    """
    distance, point = meeting(path, ego_path)
    time = max(travel_time(distance, speed, acceleration) - lateness, 0.2)
    start = Manoeuvre(Trigger(TriggerKind.EGO_ARRIVAL, time, point), speed=speed, acceleration=acceleration)
    add_on_path(stage, name, category, size, path, 0.0, manoeuvres=(start, *then))


def add_on_path(
    stage: Stage,
    name: str,
    category: Category,
    size: Size,
    path: Path,
    speed: float,
    *,
    yields: bool = False,
    manoeuvres: tuple[Manoeuvre, ...] = (),
) -> None:
    """Add a road user at the start of ``path`` that follows it at ``speed`` (m/s)."""
    stage.add_track(name, category, start_pose(path), speed, size)
    stage.scripts.append(Script(name, path, speed, yields, manoeuvres))


def start_pose(path: Path) -> tuple[float, float, float]:
    """Return x, y (m) and heading (rad) at the start of a path."""
    ahead = path[1, :2] - path[0, :2]
    return float(path[0, 0]), float(path[0, 1]), math.atan2(float(ahead[1]), float(ahead[0]))


def add_stream(
    stage: Stage, rng: np.random.Generator, path: Path, distance: float, times: Sequence[float], speed: float
) -> None:
    """Add ``stream-*`` cars at ``speed`` (m/s) that have driven ``distance`` (m) of ``path`` at ``times`` (s)."""
    for k, time in enumerate(times):
        start = distance - speed * time
        if start > STREAM_START_M:
            car, begin = draw_car(rng), shortened(path, start)
            add_on_path(stage, f"stream-{k}", Category.VEHICLE, car, begin, speed)


def shortened(path: Path, start: float) -> Path:
    """Return ``path`` without its first ``start`` (m)."""
    along = arc_length(path)
    kept = along > start + 1e-3
    first = [np.interp(start, along, path[:, k]) for k in range(3)]
    return np.concatenate([np.array([first]), path[kept]]).astype(np.float32)


def line_between(start: Point, end: Point) -> Path:
    """Return a straight path on the ground."""
    return flat(np.linspace(start, end, 12))
