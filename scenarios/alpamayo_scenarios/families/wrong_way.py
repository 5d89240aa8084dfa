"""Wrong-way driver: a car comes towards the ego in its own lane."""

from alpamayo_scenarios.families.family import Family, Parameter, Rng, Values, curvature, posted_limit
from alpamayo_scenarios.families.taxonomy import CocTrigger, Group, OddTag, OodCluster
from alpamayo_scenarios.roads import CrossSection, curved_road
from alpamayo_scenarios.scenery import add_roadside, add_traffic, draw_car, draw_environment
from alpamayo_scenarios.stage import EGO_SIZE, Stage
from alpamayo_sim.datatypes.reasoning import Lateral, Longitudinal
from alpamayo_sim.datatypes.scenario import Scenario
from alpamayo_sim.datatypes.scene import Category

DURATION_S = 15.0
START_M = 60.0
EVASION_S = 3.2  # to react and leave its lane: 3.5 m sideways at up to 3 m/s²


def _accepts(p: Values) -> bool:
    """Accept if there is time to leave the lane, also at the speed limit."""
    limit, other = posted_limit(p["ego_speed"]), p["other_speed"]
    distance = (p["ego_speed"] + other) * p["meeting_time"] - EGO_SIZE[0]
    return distance / (limit + other) >= EVASION_S


def _make(p: Values, rng: Rng) -> Scenario:
    speed, other, limit = p["ego_speed"], p["other_speed"], posted_limit(p["ego_speed"])
    count = int(p["lanes"])
    lane = int(rng.integers(0, count))
    section = CrossSection(count, 0, float(rng.uniform(3.4, 3.75)), float(rng.uniform(1.0, 2.5)))
    place = START_M + (speed + other) * p["meeting_time"]
    road = curved_road(place + 60.0 + limit * DURATION_S, section, limit, p["curvature"], 40.0)
    stage = Stage(road.alignment, DURATION_S)
    stage.add_ego(START_M, section.lane(lane), speed)
    d = section.lane(lane) + p["offset"]
    stage.add_actor("wrong-way", Category.VEHICLE, place, d, other, draw_car(rng), forward=False)
    for k in range(count):
        if k == lane:
            places = [place + 40.0, place + 90.0]
        elif abs(k - lane) == 1:
            # the lane to escape to is free beside the ego and far ahead of it
            places = [START_M - 36.0, START_M + 75.0, place + 60.0]
        else:
            places = [START_M - 12.0, START_M + 40.0, START_M + 100.0]
        add_traffic(stage, rng, section.lane(k), places, speed)
    add_roadside(stage, rng, road.road_map, [(road.alignment, section.right_kerb, section.left_kerb)], density=0.8)
    goal = 0.75 * speed * DURATION_S
    return stage.scenario(road.road_map, road.route(lane, START_M), goal, draw_environment(rng))


WRONG_WAY = Family(
    name="wrong-way",
    number=6,
    title="Wrong-way driver",
    summary="On a one-way carriageway a car comes towards the ego in the ego's lane and does not give way.",
    group=Group.LATERAL,
    cluster=OodCluster.SPECIAL_OR_UNCOMMON_VEHICLE_BEHAVIOR,
    trigger=CocTrigger.RISKY_DRIVING,
    decision=(Longitudinal.SPEED_ADAPTATION, Lateral.LANE_CHANGE),
    critical_actors=("wrong-way",),
    odd=(OddTag.MOTORWAY, OddTag.ONE_WAY),
    source="NHTSA pre-crash typology, opposite direction; CARLA leaderboard 2.0 invading vehicles",
    parameters=(
        Parameter("ego_speed", "m/s", 8.0, 22.0, "main roads, 30 to 80 km/h", default=14.3),
        Parameter("other_speed", "m/s", 6.0, 20.0, "CARLA leaderboard 2.0 flows: 8 to 20 m/s", default=12.3),
        Parameter("meeting_time", "s", 3.6, 8.0, "time until a steady ego meets it", default=5.7),
        Parameter("offset", "m", -0.5, 0.5, "CARLA leaderboard 2.0 InvadingTurn: 0.15 to 0.6 m", default=0.0),
        Parameter("lanes", "1", 2, 3, "lanes of a carriageway", integer=True, default=3.0),
        curvature(0.004),
    ),
    accepts=_accepts,
    make=_make,
)
