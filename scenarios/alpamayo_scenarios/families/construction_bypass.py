"""Construction bypass: works close the ego's lane of a two-way road, and oncoming cars use the other lane."""

import numpy as np

from alpamayo_scenarios.families.family import Family, Parameter, Rng, Values, curvature, posted_limit
from alpamayo_scenarios.families.taxonomy import CocTrigger, Group, OddTag, OodCluster
from alpamayo_scenarios.roads import CrossSection, Road, curved_road
from alpamayo_scenarios.scenery import add_roadside, add_traffic, draw_car, draw_environment, draw_truck
from alpamayo_scenarios.stage import Stage
from alpamayo_sim.datatypes.reasoning import Lateral, Longitudinal
from alpamayo_sim.datatypes.scenario import Scenario
from alpamayo_sim.datatypes.scene import Category

DURATION_S = 20.0
START_M = 50.0
TAPER_M = 14.0  # length over which the cones lead from the kerb to the middle of the road
RETURN_M = 6.0  # length over which they lead back
CONE_SIZE_M = (0.4, 0.4, 0.75)
BARRIER_SIZE_M = (2.2, 0.5, 1.0)
BYPASS_SPEED_MPS = 6.5  # past the works
GOAL_BEYOND_WORKS_M = 20.0


def _accepts(p: Values) -> bool:
    """Accept if there is time to pass the works at 6.5 m/s from standstill after the last oncoming car."""
    start = max(p["clear_time"], p["approach_time"]) + 2.5
    return start + (TAPER_M + p["works_length"] + RETURN_M + GOAL_BEYOND_WORKS_M) / BYPASS_SPEED_MPS <= DURATION_S


def _make(p: Values, rng: Rng) -> Scenario:
    speed, limit = p["ego_speed"], posted_limit(p["ego_speed"])
    section = CrossSection(1, 1, float(rng.uniform(3.4, 3.75)), float(rng.uniform(0.4, 1.0)))
    begin = START_M + 10.0 + speed * p["approach_time"]
    end = begin + TAPER_M + p["works_length"]
    road = curved_road(end + 260.0, section, limit, p["curvature"], 30.0)
    stage = Stage(road.alignment, DURATION_S)
    stage.add_ego(START_M, section.lane(0), speed)
    _close_lane(stage, road, rng, begin, end)

    d = section.oncoming()
    s = begin - 12.0 + p["oncoming_speed"] * p["clear_time"]
    for k in range(int(p["oncoming_cars"])):
        size = draw_car(rng)
        if s > 6.0 and stage.fits(road.alignment.pose(s, d, forward=False), size):
            stage.add_actor(
                f"oncoming-{k}", Category.VEHICLE, s, d, p["oncoming_speed"], size, forward=False, yields=True
            )
        s -= size[0] + float(rng.uniform(1.0, 2.2)) * p["oncoming_speed"]
    add_traffic(stage, rng, section.lane(0), [START_M - 28.0, end + 60.0], speed)
    add_roadside(stage, rng, road.road_map, [(road.alignment, section.right_kerb, section.left_kerb)])
    goal = end + RETURN_M + GOAL_BEYOND_WORKS_M - START_M
    return stage.scenario(road.road_map, road.route(0, START_M), goal, draw_environment(rng))


def _close_lane(stage: Stage, road: Road, rng: Rng, begin: float, end: float) -> None:
    """Add cones along the taper, the middle of the road and back; a barrier, a truck and workers behind them."""
    section = road.section
    outer, middle = section.right_kerb + 0.3, -0.35
    knots = [begin, begin + TAPER_M, end, end + RETURN_M]
    places = np.arange(begin, end + RETURN_M + 0.1, 2.0)
    for k, s in enumerate(places):
        d = float(np.interp(s, knots, [outer, middle, middle, outer]))
        stage.add_prop(f"cone-{k}", Category.CONE, road.alignment.pose(float(s), d), CONE_SIZE_M)
    x, y, heading = road.alignment.pose(begin + TAPER_M + 1.5, section.lane(0) - 0.1)
    stage.add_prop("barrier-0", Category.BARRIER, (x, y, heading + 0.5 * np.pi), BARRIER_SIZE_M)
    truck = draw_truck(rng)
    s = begin + TAPER_M + 4.0 + 0.5 * truck[0]
    if s + 0.5 * truck[0] < end + 1.0:
        pose = road.alignment.pose(s, section.lane(0) - 0.35)
        if stage.fits(pose, truck, 0.05):
            stage.add_track("works-truck", Category.TRUCK, pose, 0.0, truck)
    for k in range(int(rng.integers(0, 3))):
        pose = road.alignment.pose(end - 1.0 - 1.5 * k, section.lane(0) - float(rng.uniform(0.0, 0.8)))
        if stage.fits(pose, (0.6, 0.6, 1.8)):
            stage.add_track(f"worker-{k}", Category.PEDESTRIAN, pose, 0.0, (0.6, 0.6, 1.8))


CONSTRUCTION_BYPASS = Family(
    name="construction-bypass",
    number=4,
    title="Two-way construction bypass",
    summary="Works close the ego's lane of a two-way road; it waits for oncoming cars and goes round them.",
    group=Group.OBSTACLE,
    cluster=OodCluster.WORK_ZONES_TEMP_TRAFFIC_CONTROL,
    trigger=CocTrigger.BYPASS_CONSTRUCTION,
    decision=(Longitudinal.GAP_SEARCHING, Lateral.OUT_OF_LANE_NUDGE),
    critical_actors=("cone-*", "barrier-0", "works-truck", "worker-*"),
    odd=(OddTag.URBAN, OddTag.TWO_WAY, OddTag.WORK_ZONE),
    source="CARLA leaderboard 2.0 ConstructionObstacleTwoWays; NHTSA bypassing",
    parameters=(
        Parameter("ego_speed", "m/s", 6.0, 13.8, "town streets, 20 to 50 km/h", default=9.8),
        Parameter("approach_time", "s", 3.0, 6.0, "time to the first cone at the start", default=4.4),
        Parameter("works_length", "m", 8.0, 26.0, "CARLA leaderboard 2.0 obstacles and a works truck", default=20.0),
        Parameter("oncoming_cars", "1", 1, 4, "a platoon from the other side", integer=True, default=3.0),
        Parameter(
            "oncoming_speed", "m/s", 7.0, 12.0, "CARLA leaderboard 2.0 opposite flow: 8 to 17 m/s, in town", default=9.7
        ),
        Parameter("clear_time", "s", 3.0, 8.5, "when the last oncoming car has passed the first cone", default=5.3),
        curvature(0.005),
    ),
    accepts=_accepts,
    make=_make,
)
