"""Things that close a lane, as several families put them: crashed cars, double-parked vans, cones before works."""

import numpy as np

from alpamayo_scenarios.actors import ADULT
from alpamayo_scenarios.alignment import POINT_SPACING_M, flat
from alpamayo_scenarios.conflicts import Path, add_on_path, start_pose
from alpamayo_scenarios.scenery import draw_car, draw_truck
from alpamayo_scenarios.sites import RoadSite
from alpamayo_scenarios.stage import Size
from alpamayo_sim.datatypes.scene import Category

CONE: Size = (0.4, 0.4, 0.75)
BARRIER: Size = (2.0, 0.5, 1.0)
CONE_SPACING_M = 2.5  # m between cones
HELPER_SPREAD_M = 1.2  # m
SWING_M = 24.0  # over which an oncoming car moves over before a narrow part, and back to its lane


def add_crash(site: RoadSite, place: float, d: float) -> float:
    """Add two crashed cars at an offset ``d``, a police car behind them and two helpers; return where it ends (m).

    ``place`` is where the police car's rear is; the critical names begin with ``crash-``.
    """
    police, first, second = draw_car(site.rng), draw_car(site.rng), draw_car(site.rng)
    s = place + 0.5 * police[0]
    site.standing("crash-police", s, d, police, turned=float(site.rng.uniform(-0.15, 0.15)))
    s += 0.5 * police[0] + 6.5
    site.standing("crash-car-0", s, d, first, turned=float(site.rng.uniform(-0.35, 0.35)))
    ahead = s + 0.5 * (first[0] + second[0]) + 1.0
    site.standing("crash-car-1", ahead, d, second, turned=float(site.rng.uniform(-0.3, 0.3)))
    for k in range(2):
        person = s - 0.5 * first[0] - 1.6 - k * 1.3, d + float(site.rng.uniform(-HELPER_SPREAD_M, HELPER_SPREAD_M))
        site.standing(f"crash-helper-{k}", *person, ADULT, category=Category.PEDESTRIAN)
    return ahead + 0.5 * second[0]


def add_oncoming_platoon(
    site: RoadSite,
    place: float,
    clear_time: float,
    speed: float,
    count: int,
    narrow: tuple[float, float, float] | None = None,
) -> None:
    """Add oncoming cars, the last of which passes arc length ``place`` (m) at ``clear_time`` (s).

    Where the road is ``narrow``, between two arc lengths (m), they drive at a third value, an offset (m), and do not
    give way.
    """
    d = site.section.oncoming()
    s = place - 12.0 + speed * clear_time
    for k in range(count):
        size = draw_car(site.rng)
        path = None if narrow is None else _through(site, s, narrow)
        pose = site.road.alignment.pose(s, d, forward=False) if path is None else start_pose(path)
        if s > size[0] and site.stage.fits(pose, size):
            if path is None:
                site.actor(f"oncoming-{k}", s, d, speed, size, forward=False, yields=True)
            else:
                add_on_path(site.stage, f"oncoming-{k}", Category.VEHICLE, size, path, speed)
        s -= size[0] + float(site.rng.uniform(1.0, 2.2)) * speed


def _through(site: RoadSite, start: float, narrow: tuple[float, float, float]) -> Path:
    """Return the path of an oncoming car from ``start`` (m) through the narrow part at its offset."""
    s = np.linspace(start, 0.0, max(int(np.ceil(start / POINT_SPACING_M)), 1) + 1)
    apart = np.maximum(np.maximum(narrow[0] - s, s - narrow[1]), 0.0)
    part = np.clip(apart / SWING_M, 0.0, 1.0)
    across = site.section.oncoming() - narrow[2]
    return flat(site.road.alignment.position(s, narrow[2] + across * part**2 * (3.0 - 2.0 * part)))


def add_lane_closure(site: RoadSite, place: float, lane: int, taper: float, length: float) -> float:
    """Close an outer forward lane by a taper of cones, barriers and a truck of the works; return where it ends (m).

    The critical names begin with ``works-``.
    """
    section, width = site.section, site.section.lane_width
    outwards = 1.0 if lane == 0 else -1.0
    inner = section.lane(lane) - outwards * 0.5 * width
    outer = inner + outwards * (width - 0.4)
    end = place + taper + length
    for k, s in enumerate(np.arange(place, end + 0.1, CONE_SPACING_M)):
        d = float(np.interp(s, [place, place + taper], [outer, inner + 0.35 * outwards]))
        site.prop(f"works-cone-{k}", Category.CONE, float(s), d, CONE)
    site.prop("works-barrier", Category.BARRIER, place + taper + 2.0, section.lane(lane), BARRIER, turned=0.5 * np.pi)
    truck = draw_truck(site.rng)
    site.standing(
        "works-truck", place + taper + 5.0 + 0.5 * truck[0], section.lane(lane), truck, category=Category.TRUCK
    )
    return end
