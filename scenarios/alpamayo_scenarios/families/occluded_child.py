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
from alpamayo_scenarios.families.taxonomy import CocTrigger, Group, OddTag, OodCluster
from alpamayo_scenarios.roads import CrossSection, Road, curved_road
from alpamayo_scenarios.scenery import add_parked_cars, add_roadside, add_traffic, draw_car, draw_environment
from alpamayo_scenarios.stage import CHILD_SIZE, EGO_SIZE, Stage
from alpamayo_sim.datatypes.reasoning import Lateral, Longitudinal
from alpamayo_sim.datatypes.scenario import Manoeuvre, Scenario, Script, Trigger, TriggerKind
from alpamayo_sim.datatypes.scene import Category

DURATION_S = 18.0
START_M = 50.0
LANE_WIDTH_M = 3.4
PARKING_WIDTH_M = 2.3
PARKED_GAP_M = 0.9  # from the child's path to the parked car on either side
RUN_MPS2 = 4.0  # acceleration with which the child starts and stops
FREEZE_BEFORE_S = 1.1  # before the ego arrives, when the child stops


def _distances(p: Values) -> tuple[float, float, float]:
    """Return how far (m) the child runs until it is in sight, is in the ego's way, and has left it."""
    start = 0.5 * PARKING_WIDTH_M + 0.4  # from the middle of the strip 0.4 m towards the kerb
    seen = start - 0.2
    reached = start + p["clearance"] + 0.5 * (LANE_WIDTH_M - EGO_SIZE[1]) - 0.5 * CHILD_SIZE[0]
    return seen, reached, reached + EGO_SIZE[1] + CHILD_SIZE[0]


def _run(time: float, speed: float) -> float:
    """Return the distance (m) that the child runs in ``time`` (s) from standstill."""
    time = max(time, 0.0)
    up = speed / RUN_MPS2
    return 0.5 * RUN_MPS2 * time**2 if time < up else speed * (time - 0.5 * up)


def _time(distance: float, speed: float) -> float:
    """Return the time (s) that the child needs for ``distance`` (m) from standstill."""
    up = speed / RUN_MPS2
    return float(np.sqrt(2.0 * distance / RUN_MPS2)) if distance < 0.5 * speed * up else distance / speed + 0.5 * up


def _accepts(p: Values) -> bool:
    """Accept if a driver at the limit can stop after the child is in sight, and would hit it without braking."""
    limit, child = posted_limit(p["ego_speed"]), p["child_speed"]
    seen, reached, left = _distances(p)
    needed = _time(seen, child) + (stopping_distance(limit) + 0.5 * EGO_SIZE[0] + 0.8) / limit
    if p["freezes"]:
        place = _run(p["arrival_time"] - FREEZE_BEFORE_S, child) + 0.5 * child**2 / RUN_MPS2
    else:
        place = _run(p["arrival_time"], child)
    return needed <= p["arrival_time"] and reached + 0.2 < place < left - 0.2


def _make(p: Values, rng: Rng) -> Scenario:
    speed, count, limit = p["ego_speed"], int(p["lanes"]), posted_limit(p["ego_speed"])
    section = CrossSection(count, count, LANE_WIDTH_M, p["clearance"], PARKING_WIDTH_M)
    wait = float(rng.uniform(p["arrival_time"] + 0.5, 5.5))
    place, lane = START_M + speed * wait, count - 1
    road = curved_road(place + 220.0, section, limit, p["curvature"], 20.0)
    stage = Stage(road.alignment, DURATION_S)
    stage.add_ego(START_M, section.lane(lane), speed)
    _add_child(stage, road, p, place, wait)

    before, after = (*draw_car(rng)[:2], float(rng.uniform(1.7, 2.2))), draw_car(rng)
    for name, size, sign in (("parked-before", before, -1.0), ("parked-after", after, 1.0)):
        s = place + sign * (PARKED_GAP_M + 0.5 * size[0])
        stage.add_track(name, Category.VEHICLE, road.alignment.pose(s, section.parking_centre), 0.0, size)
    row = (place - 45.0, place - PARKED_GAP_M - before[0] - 0.6)
    add_parked_cars(stage, rng, section.parking_centre, row, (0.8, 2.5))
    add_parked_cars(
        stage, rng, section.parking_centre, (place + PARKED_GAP_M + after[0] + 0.8, place + 40.0), (0.8, 3.0), 0.7
    )
    opposite = section.left_kerb - 0.5 * PARKING_WIDTH_M
    add_parked_cars(stage, rng, opposite, (place - 30.0, place + 45.0), (0.8, 6.0), 0.5)
    add_traffic(stage, rng, section.lane(lane), [START_M - 26.0], speed)
    for k in range(count):
        # no oncoming car while the child may be on the road
        add_traffic(stage, rng, section.oncoming(k), [place - 20.0, START_M], limit, forward=False)
    add_roadside(stage, rng, road.road_map, [(road.alignment, section.right_kerb, section.left_kerb)])
    goal = speed * wait + 25.0
    return stage.scenario(road.road_map, road.route(lane, START_M), goal, draw_environment(rng))


def _add_child(stage: Stage, road: Road, p: Values, place: float, wait: float) -> None:
    """Add the child between the parked cars, with its path across the road and its triggers."""
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
        Trigger(TriggerKind.EGO_ARRIVAL, p["arrival_time"], point),
        speed=p["child_speed"],
        acceleration=RUN_MPS2,
    )
    freeze = Manoeuvre(Trigger(TriggerKind.EGO_ARRIVAL, FREEZE_BEFORE_S, point), speed=0.0, acceleration=RUN_MPS2)
    go_on = Manoeuvre(Trigger(TriggerKind.TIME, wait + 2.5), speed=p["child_speed"], acceleration=RUN_MPS2)
    manoeuvres = (run, freeze, go_on) if p["freezes"] else (run,)
    stage.add_track("child", Category.PEDESTRIAN, (x, y, heading), 0.0, CHILD_SIZE)
    stage.scripts.append(Script("child", path, 0.0, manoeuvres=manoeuvres))


OCCLUDED_CHILD = Family(
    name="occluded-child",
    number=2,
    title="Occluded child",
    summary="A child runs out from between parked cars, and may freeze in front of the ego.",
    group=Group.VULNERABLE,
    cluster=OodCluster.PEDESTRIAN_DENSITY_OR_CLOSE_PROXIMITY,
    trigger=CocTrigger.YIELD_TO_VRU,
    decision=(Longitudinal.YIELD, Lateral.LANE_KEEPING),
    critical_actors=("child",),
    odd=(OddTag.URBAN, OddTag.TWO_WAY, OddTag.PARKING, OddTag.OCCLUSION),
    source="Euro NCAP 2023 CPNCO (child from behind parked cars); CARLA leaderboard 2.0 ParkingCrossingPedestrian",
    parameters=(
        Parameter("ego_speed", "m/s", 5.6, 13.8, "Euro NCAP CPNCO: 10 to 60 km/h", default=9.6),
        Parameter("child_speed", "m/s", 1.4, 3.0, "Euro NCAP CPNCO: 5 km/h; running children to 3 m/s", default=2.3),
        Parameter("arrival_time", "s", 1.6, 4.2, "time of the ego to the crossing when the child starts", default=2.9),
        Parameter("angle", "rad", -0.03, 0.26, "CARLA leaderboard 2.0: -2 to 15 degrees", default=0.1),
        Parameter("clearance", "m", 0.4, 1.6, "strip between the lane and the parked cars", default=1.2),
        Parameter(
            "freezes", "1", 0, 1, "the child stops in front of the ego (1) or runs on (0)", integer=True, default=1.0
        ),
        Parameter("lanes", "1", 1, 2, "lanes each way of a town street", integer=True, default=2.0),
        curvature(0.008),
    ),
    accepts=_accepts,
    make=_make,
)
