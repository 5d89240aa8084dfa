"""Occluded child: a child runs out from between parked cars."""

import numpy as np

from alpamayo_scenarios.alignment import flat
from alpamayo_scenarios.families.family import (
    Family,
    Parameter,
    Rng,
    Values,
    curvature,
    posted_limit,
    stopping_distance,
)
from alpamayo_scenarios.roads import CrossSection, Road, curved_road
from alpamayo_scenarios.scenery import add_parked_cars, add_roadside, add_traffic, draw_car, draw_environment
from alpamayo_scenarios.stage import CHILD_SIZE, EGO_SIZE, Stage
from alpamayo_sim.datatypes.scenario import Manoeuvre, Scenario, Script, Trigger, TriggerKind
from alpamayo_sim.datatypes.scene import Category

DURATION = 18.0
START = 50.0
LANE_WIDTH = 3.4
PARKING = 2.3
GAP = 0.9  # m from the child's path to the parked car on either side
RUN_UP = 4.0  # m/s² with which the child starts and stops
STOP_AT = 1.1  # s before the ego arrives when a child that freezes does so


def _distances(p: Values) -> tuple[float, float, float]:
    """How far (m) the child runs until it is in sight, until it is in the ego's way, until it has left that."""
    start = 0.5 * PARKING + 0.4  # from the middle of the strip 0.4 m towards the kerb
    seen = start - 0.2
    reached = start + p["clearance"] + 0.5 * (LANE_WIDTH - EGO_SIZE[1]) - 0.5 * CHILD_SIZE[0]
    return seen, reached, reached + EGO_SIZE[1] + CHILD_SIZE[0]


def _run(time: float, speed: float) -> float:
    """How far (m) the child comes in ``time`` from standing."""
    time = max(time, 0.0)
    up = speed / RUN_UP
    return 0.5 * RUN_UP * time**2 if time < up else speed * (time - 0.5 * up)


def _time(distance: float, speed: float) -> float:
    """How long (s) the child takes for ``distance`` from standing."""
    up = speed / RUN_UP
    return float(np.sqrt(2.0 * distance / RUN_UP)) if distance < 0.5 * speed * up else distance / speed + 0.5 * up


def _accepts(p: Values) -> bool:
    """A driver at the limit can stop once the child is in sight; one who never brakes hits it."""
    limit, child = posted_limit(p["ego_speed"]), p["child_speed"]
    seen, reached, left = _distances(p)
    needed = _time(seen, child) + (stopping_distance(limit) + 0.5 * EGO_SIZE[0] + 0.8) / limit
    if p["freezes"]:
        place = _run(p["arrival_time"] - STOP_AT, child) + 0.5 * child**2 / RUN_UP
    else:
        place = _run(p["arrival_time"], child)
    return needed <= p["arrival_time"] and reached + 0.2 < place < left - 0.2


def _make(p: Values, rng: Rng) -> Scenario:
    speed, count, limit = p["ego_speed"], int(p["lanes"]), posted_limit(p["ego_speed"])
    section = CrossSection(count, count, LANE_WIDTH, p["clearance"], PARKING)
    wait = float(rng.uniform(p["arrival_time"] + 0.5, 5.5))
    place, lane = START + speed * wait, count - 1
    road = curved_road(place + 220.0, section, limit, p["curvature"], 20.0)
    stage = Stage(road.alignment, DURATION)
    stage.add_ego(START, section.lane(lane), speed)
    _add_child(stage, road, p, place, wait)

    before, after = (*draw_car(rng)[:2], float(rng.uniform(1.7, 2.2))), draw_car(rng)
    for name, size, sign in (("parked-before", before, -1.0), ("parked-after", after, 1.0)):
        s = place + sign * (GAP + 0.5 * size[0])
        stage.add_track(name, Category.VEHICLE, road.alignment.pose(s, section.parking_centre), 0.0, size)
    row = (place - 45.0, place - GAP - before[0] - 0.6)
    add_parked_cars(stage, rng, section.parking_centre, row, (0.8, 2.5))
    add_parked_cars(stage, rng, section.parking_centre, (place + GAP + after[0] + 0.8, place + 40.0), (0.8, 3.0), 0.7)
    opposite = section.left_kerb - 0.5 * PARKING
    add_parked_cars(stage, rng, opposite, (place - 30.0, place + 45.0), (0.8, 6.0), 0.5)
    add_traffic(stage, rng, section.lane(lane), [START - 26.0], speed)
    for k in range(count):
        # Nobody comes the other way while the child may be on the road.
        add_traffic(stage, rng, section.oncoming(k), [place - 20.0, START], limit, forward=False)
    add_roadside(stage, rng, road.road_map, [(road.alignment, section.right_kerb, section.left_kerb)])
    goal = speed * wait + 25.0
    return stage.scenario(road.road_map, road.route(lane, START), goal, draw_environment(rng))


def _add_child(stage: Stage, road: Road, p: Values, place: float, wait: float) -> None:
    """The child between the parked cars, its path across the road and what makes it run."""
    section = road.section
    x, y, heading = road.alignment.pose(place, section.parking_centre - 0.4)
    heading += 0.5 * np.pi - p["angle"]
    ahead = np.array([np.cos(heading), np.sin(heading)])
    to_lane = section.lane(section.forward - 1) - section.parking_centre + 0.4
    crossing = np.array([x, y]) + ahead * to_lane / np.cos(p["angle"])
    across = section.left_kerb + 1.5 - section.parking_centre
    path = flat(np.array([x, y]) + np.linspace(0.0, across / np.cos(p["angle"]), 12)[:, None] * ahead)
    point = (float(crossing[0]), float(crossing[1]))
    run = Manoeuvre(
        Trigger(TriggerKind.EGO_ARRIVAL, p["arrival_time"], point), speed=p["child_speed"], acceleration=RUN_UP
    )
    freeze = Manoeuvre(Trigger(TriggerKind.EGO_ARRIVAL, STOP_AT, point), speed=0.0, acceleration=RUN_UP)
    go_on = Manoeuvre(Trigger(TriggerKind.TIME, wait + 2.5), speed=p["child_speed"], acceleration=RUN_UP)
    manoeuvres = (run, freeze, go_on) if p["freezes"] else (run,)
    stage.add_track("child", Category.PEDESTRIAN, (x, y, heading), 0.0, CHILD_SIZE)
    stage.scripts.append(Script("child", path, 0.0, manoeuvres=manoeuvres))


OCCLUDED_CHILD = Family(
    name="occluded-child",
    number=2,
    title="Occluded child",
    summary="A child runs out from between parked cars, and may freeze in front of the ego.",
    cluster="PEDESTRIAN_DENSITY_OR_CLOSE_PROXIMITY",
    source="Euro NCAP 2023 CPNCO (child from behind parked cars); CARLA leaderboard 2.0 ParkingCrossingPedestrian",
    parameters=(
        Parameter("ego_speed", "m/s", 5.6, 13.8, "Euro NCAP CPNCO: 10 to 60 km/h"),
        Parameter("child_speed", "m/s", 1.4, 3.0, "Euro NCAP CPNCO: 5 km/h; running children to 3 m/s"),
        Parameter("arrival_time", "s", 1.6, 4.2, "time of the ego to the crossing when the child starts"),
        Parameter("angle", "rad", -0.03, 0.26, "CARLA leaderboard 2.0: -2 to 15 degrees"),
        Parameter("clearance", "m", 0.4, 1.6, "strip between the lane and the parked cars"),
        Parameter("freezes", "1", 0, 1, "the child stops in front of the ego (1) or runs on (0)", integer=True),
        Parameter("lanes", "1", 1, 2, "lanes each way of a town street", integer=True),
        curvature(0.008),
    ),
    accepts=_accepts,
    make=_make,
)
