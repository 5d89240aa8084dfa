"""Debris: lost cargo lies in the ego's lane, seen late when the car ahead swerves round it."""

import numpy as np

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
from alpamayo_scenarios.scenery import add_roadside, add_traffic, draw_car, draw_environment
from alpamayo_scenarios.stage import EGO_SIZE, Stage
from alpamayo_sim.datatypes.reasoning import Lateral, Longitudinal
from alpamayo_sim.datatypes.scenario import Manoeuvre, Scenario, Trigger, TriggerKind
from alpamayo_sim.datatypes.scene import Category

DURATION_S = 16.0
START_M = 60.0
LANE_WIDTH_M = 3.5
SWERVE_BEFORE_S = 1.9  # before the debris, when the car ahead begins to change its lane
SWERVE_DURATION_S = 1.6


def _accepts(p: Values) -> bool:
    """Accept if a driver at the limit can stop after the debris is in sight, and the debris is in the way."""
    limit = posted_limit(p["ego_speed"])
    sight = p["headway"] + SWERVE_BEFORE_S - 0.6 * SWERVE_DURATION_S if p["lead"] else p["distance_time"]
    in_the_way = abs(p["offset"]) < 0.5 * (EGO_SIZE[1] + p["size"]) - 0.1
    return in_the_way and sight * p["ego_speed"] >= stopping_distance(limit) + 0.5 * EGO_SIZE[0] + 1.0


def _make(p: Values, rng: Rng) -> Scenario:
    speed, count, limit = p["ego_speed"], int(p["lanes"]), posted_limit(p["ego_speed"])
    section = CrossSection(count, int(rng.choice([0, count])), LANE_WIDTH_M, float(rng.uniform(0.8, 2.5)))
    lane = int(rng.integers(0, count))
    escape = lane - 1 if lane > 0 and (lane == count - 1 or rng.random() < 0.5) else lane + 1
    road = curved_road(START_M + 170.0 + limit * DURATION_S, section, limit, p["curvature"], 40.0)
    stage = Stage(road.alignment, DURATION_S)
    stage.add_ego(START_M, section.lane(lane), speed)
    place = START_M + speed * p["distance_time"]
    _add_debris(stage, road, rng, p, place, lane)

    front = START_M
    if p["lead"]:
        size = draw_car(rng)
        front = START_M + p["headway"] * speed + 0.5 * (EGO_SIZE[0] + size[0])
        start = Trigger(TriggerKind.TIME, max(0.3, (place - front) / speed - SWERVE_BEFORE_S))
        side = section.lane(escape) - section.lane(lane)
        swerve = Manoeuvre(start, lateral_offset=side, duration=SWERVE_DURATION_S)
        stage.add_actor("lead", Category.VEHICLE, front, section.lane(lane), speed, size, manoeuvres=(swerve,))
    for k in range(count):
        far = [place + 110.0, place + 170.0] if k == lane else [front + 70.0, front + 130.0]
        near = [START_M - 34.0] if k in (lane, escape) else [START_M - 30.0, START_M + 8.0, START_M + 45.0]
        add_traffic(stage, rng, section.lane(k), near + far, speed)
    for k in range(section.backward):
        add_traffic(stage, rng, section.oncoming(k), [110.0, 180.0, 270.0, 350.0], limit, forward=False)
    add_roadside(stage, rng, road.road_map, [(road.alignment, section.right_kerb, section.left_kerb)], density=0.8)
    goal = speed * p["distance_time"] + 40.0
    return stage.scenario(road.road_map, road.route(lane, START_M), goal, draw_environment(rng))


def _add_debris(stage: Stage, road: Road, rng: Rng, p: Values, place: float, lane: int) -> None:
    """Add the piece that lies in the way and a few smaller ones behind it, all within the lane."""
    d, size = road.section.lane(lane), p["size"]
    piece = (size, size, 0.6 * size)
    stage.add_prop("debris-0", Category.DEBRIS, road.alignment.pose(place, d + p["offset"]), piece)
    room = 0.5 * LANE_WIDTH_M - 0.5
    for k in range(int(rng.integers(0, 3))):
        small = float(rng.uniform(0.15, 0.4))
        x, y, heading = road.alignment.pose(place + float(rng.uniform(1.5, 6.0)), d + float(rng.uniform(-room, room)))
        pose = (x, y, heading + float(rng.uniform(-np.pi, np.pi)))
        if stage.fits(pose, (small, small, small)):
            stage.add_prop(f"debris-{k + 1}", Category.DEBRIS, pose, (small, small, 0.6 * small))


DEBRIS = Family(
    name="debris",
    number=3,
    title="Debris",
    summary="Lost cargo lies in the ego's lane and comes into sight when the car ahead swerves round it.",
    group=Group.LONGITUDINAL,
    cluster=OodCluster.ROAD_DEBRIS_OR_SAFETY_TRACES,
    trigger=CocTrigger.LANE_CHANGE,
    decision=(Longitudinal.SPEED_ADAPTATION, Lateral.LANE_CHANGE),
    critical_actors=("debris-*",),
    odd=(OddTag.RURAL,),
    source="Waymo WOD-E2E foreign object debris; UN R157 cut-out with a blocked lane; NHTSA bypassing",
    parameters=(
        Parameter("ego_speed", "m/s", 10.0, 22.0, "UN R157 cut-out: 5 to 60 km/h; main roads to 80 km/h", default=17.0),
        Parameter("distance_time", "s", 4.0, 7.0, "time to the debris at the start", default=5.5),
        Parameter("size", "m", 0.4, 1.5, "lost cargo of 0.1 to 1.5 m; below 0.4 m a car drives over it", default=1.0),
        Parameter("offset", "m", -0.8, 0.8, "UN R157 partial block: steps of 0.25 m across the lane", default=0.0),
        Parameter("lead", "1", 0, 1, "a car ahead hides the debris and swerves (1)", integer=True, default=0.0),
        Parameter("headway", "s", 1.2, 2.6, "UN R157 following distance and above", default=1.8),
        Parameter("lanes", "1", 2, 3, "lanes one way", integer=True, default=3.0),
        curvature(0.004),
    ),
    accepts=_accepts,
    make=_make,
)
