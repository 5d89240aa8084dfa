"""Coverage of the operational design domain (ODD): the conditions of the drives, in levels that can be counted.

Limits of rain: American Meteorological Society, Glossary of Meteorology, "rain" (light to 2.5 mm/h, moderate to
7.6 mm/h). Fog: WMO, a visibility under 1 km. Twilight: civil, the sun less than 6° below the horizon. The limits of
low sun, friction, bends and speed are this project's.
"""

import itertools
import math
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np

from alpamayo.episode import Episode
from alpamayo_sim.datatypes.scene import Environment, Scene
from alpamayo_sim.geometry import arc_length, polyline_headings

Array = np.ndarray
LOW_SUN_RAD = math.radians(12.0)
CIVIL_TWILIGHT_RAD = math.radians(-6.0)
FOG_VISIBILITY_M = 1000.0
BEND_RADIUS_M = 500.0
BEND_SPAN_M = 20.0  # arc length over which a bend is measured
BEND_SPACING_M = 5.0  # between the starts of these spans

LEVELS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "light": ("day", "low sun", "twilight", "night"),
        "weather": ("dry", "light rain", "moderate rain", "heavy rain", "fog"),
        "friction": ("grip 0.7 and more", "0.4 to 0.7", "under 0.4"),
        "road": ("straight", "bend", "intersection"),
        "speed": ("to 30 km/h", "30 to 50 km/h", "50 to 80 km/h", "over 80 km/h"),
    }
)


def levels(episode: Episode) -> dict[str, str]:
    """Return the level of an episode on each axis."""
    return conditions(episode.scenario.scene, float(episode.ego_speed[0]))


def conditions(scene: Scene, speed: float) -> dict[str, str]:
    """Return the level of a scene on each axis, with the initial speed (m/s) of the ego."""
    return {
        "light": light(scene.environment.sun_elevation),
        "weather": weather(scene.environment),
        "friction": LEVELS["friction"][int(np.digitize(-scene.environment.friction, [-0.7, -0.4], right=True))],
        "road": road(scene),
        "speed": LEVELS["speed"][int(np.digitize(3.6 * speed, [30.0, 50.0, 80.0], right=True))],
    }


def light(sun_elevation: float) -> str:
    """Classify the light by the sun's elevation (rad)."""
    return LEVELS["light"][int(np.digitize(-sun_elevation, [-LOW_SUN_RAD, 0.0, -CIVIL_TWILIGHT_RAD], right=True))]


def weather(environment: Environment) -> str:
    """Classify the weather by the rain; fog if it is dry and the visibility is less than a kilometre."""
    if environment.rain > 0.0:
        return LEVELS["weather"][1 + int(np.digitize(environment.rain, [2.5, 7.6], right=True))]
    return "fog" if environment.visibility is not None and environment.visibility < FOG_VISIBILITY_M else "dry"


def road(scene: Scene) -> str:
    """Classify the road: intersection if the route crosses one, else bend if its radius is below 500 m."""
    if scene.route is None:
        return "straight"
    lanes = scene.road_map.lane_by_id
    if any(name in lanes and lanes[name].in_intersection for name in scene.route.lane_ids):
        return "intersection"
    knots = arc_length(scene.route.path)
    heading = np.unwrap(polyline_headings(scene.route.path)[:-1])
    middle = 0.5 * (knots[1:] + knots[:-1])
    at = np.arange(0.0, max(float(knots[-1]) - BEND_SPAN_M, 0.0), BEND_SPACING_M)
    turned = np.interp(at + BEND_SPAN_M, middle, heading) - np.interp(at, middle, heading)
    return "bend" if np.abs(turned).max(initial=0.0) > BEND_SPAN_M / BEND_RADIUS_M else "straight"


def coverage(runs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Compute the coverage of runs: scenarios by family, parameters, levels of each axis, and t-wise shares.

    A scenario that several drivers drove counts once. The shares for t = 2 and 3 refer to all combinations of the
    levels of t axes (the families of the runs are an axis too), even if the levels cannot occur together.
    """
    scenarios = list({run["hashes"]["scenario"]: run for run in runs}.values())
    families = sorted({run["family"] for run in scenarios})
    axes = {"family": tuple(families), **LEVELS}
    points = [{"family": run["family"], **run["odd"]} for run in scenarios]
    return {
        "scenarios": len(scenarios),
        "families": {name: _family([run for run in scenarios if run["family"] == name]) for name in families},
        "axes": {
            axis: {level: sum(point[axis] == level for point in points) for level in names}
            for axis, names in axes.items()
            if axis != "family"
        },
        "t_wise": {str(t): t_wise(points, axes, t) for t in (2, 3)},
        "missing_pairs": missing_pairs(points, axes),
    }


def t_wise(points: Sequence[Mapping[str, str]], axes: Mapping[str, Sequence[str]], t: int) -> dict[str, Any]:
    """Count the combinations of ``t`` axes' levels that the points cover."""
    chosen = list(itertools.combinations(axes, t))
    covered = sum(len({tuple(point[axis] for axis in group) for point in points}) for group in chosen)
    total = sum(math.prod(len(axes[axis]) for axis in group) for group in chosen)
    return {"covered": covered, "of": total, "share": covered / total if total else None}


def missing_pairs(points: Sequence[Mapping[str, str]], axes: Mapping[str, Sequence[str]]) -> list[list[str]]:
    """List the pairs of levels, as "axis: level", that no point has."""
    return [
        [f"{a}: {x}", f"{b}: {y}"]
        for a, b in itertools.combinations(axes, 2)
        for x, y in itertools.product(axes[a], axes[b])
        if not any(point[a] == x and point[b] == y for point in points)
    ]


def _family(runs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    spans: dict[str, list[float]] = {}
    for run in runs:
        for name, value in run["parameters"].items():
            spans.setdefault(name, []).append(value)
    ranges = {name: [min(values), max(values)] for name, values in sorted(spans.items())}
    return {"scenarios": len(runs), "ranges": ranges}
