"""Cut-in: a slower car pulls out from behind a truck into the ego's lane."""

from alpamayo_scenarios.families.family import (
    BRAKING_MPS2,
    REACTION_TIME_S,
    Family,
    Parameter,
    Rng,
    Values,
    curvature,
    posted_limit,
)
from alpamayo_scenarios.families.taxonomy import CocTrigger, Group, OddTag, OodCluster
from alpamayo_scenarios.roads import CrossSection, curved_road
from alpamayo_scenarios.scenery import add_roadside, add_traffic, draw_car, draw_environment, draw_truck
from alpamayo_scenarios.stage import EGO_SIZE, Stage
from alpamayo_sim.datatypes.reasoning import Lateral, Longitudinal
from alpamayo_sim.datatypes.scenario import Manoeuvre, Scenario, Trigger, TriggerKind
from alpamayo_sim.datatypes.scene import Category

DURATION_S = 15.0
START_M = 60.0  # of the ego along the road
LANE_WIDTH_M = 3.5
NOTICED_SHARE = 0.15  # of the lane change, after which an attentive driver sees the drift
MAX_SPARE_GAP_M = 8.0  # beyond the needed gap
R157 = "UN R157 cut-in, ASAM OSC-ALKS ranges"


def _accepts(p: Values) -> bool:
    """Accept if braking at 6 m/s² just suffices when the drift is noticed early."""
    slower = p["ego_speed"] - p["closing_speed"]
    if slower < 0.5 * p["ego_speed"]:
        return False
    end = _end_speed(p, slower)
    noticed = NOTICED_SHARE * LANE_WIDTH_M / p["lateral_speed"] + REACTION_TIME_S
    needed = p["closing_speed"] * noticed + (p["ego_speed"] - end) ** 2 / (2.0 * BRAKING_MPS2)
    if p["braking"] > 0.0:
        needed -= (slower - end) ** 2 / (2.0 * p["braking"])
    return needed + 1.0 <= p["gap"] <= needed + MAX_SPARE_GAP_M


def _end_speed(p: Values, slower: float) -> float:
    return slower if p["braking"] == 0.0 else 0.75 * slower


def _make(p: Values, rng: Rng) -> Scenario:
    speed, slower = p["ego_speed"], p["ego_speed"] - p["closing_speed"]
    count, side = int(p["lanes"]), 1 if p["side"] > 0 else -1
    ego_lane = int(rng.integers(1, count)) if side > 0 else int(rng.integers(0, count - 1))
    limit = posted_limit(speed)
    section = CrossSection(count, int(rng.choice([0, count])), LANE_WIDTH_M, float(rng.uniform(0.6, 2.5)))
    road = curved_road(START_M + 170.0 + limit * DURATION_S, section, limit, p["curvature"], 40.0)
    stage = Stage(road.alignment, DURATION_S)
    stage.add_ego(START_M, section.lane(ego_lane), speed)

    size, wait = draw_car(rng), float(rng.uniform(1.6, 3.0))
    centres = p["gap"] + 0.5 * (EGO_SIZE[0] + size[0])
    s, d = START_M + centres + p["closing_speed"] * wait, section.lane(ego_lane - side)
    shift = LANE_WIDTH_M / p["lateral_speed"]
    manoeuvres = [Manoeuvre(Trigger(TriggerKind.EGO_GAP, centres), lateral_offset=-side * LANE_WIDTH_M, duration=shift)]
    if p["braking"] > 0.0:
        later = Trigger(TriggerKind.TIME, wait + shift)
        manoeuvres.append(Manoeuvre(later, speed=_end_speed(p, slower), acceleration=p["braking"]))
    stage.add_actor("cut-in", Category.VEHICLE, s, d, slower, size, manoeuvres=tuple(manoeuvres))
    truck = draw_truck(rng)
    ahead = s + 0.5 * (size[0] + truck[0]) + float(rng.uniform(8.0, 20.0))
    stage.add_actor("slow-truck", Category.TRUCK, ahead, d, slower, truck, yields=True)

    for lane in range(count):
        beside = lane not in (ego_lane, ego_lane - side)
        places = [START_M - 34.0, ahead + 90.0] + ([START_M - 5.0, START_M + 45.0, START_M + 95.0] if beside else [])
        add_traffic(stage, rng, section.lane(lane), places, speed)
    for lane in range(section.backward):
        add_traffic(stage, rng, section.oncoming(lane), [120.0, 190.0, 280.0, 360.0], limit, forward=False)
    add_roadside(stage, rng, road.road_map, [(road.alignment, section.right_kerb, section.left_kerb)], density=0.8)
    goal = 0.85 * (speed * wait + _end_speed(p, slower) * (DURATION_S - wait))
    return stage.scenario(road.road_map, road.route(ego_lane, START_M), goal, draw_environment(rng))


CUT_IN = Family(
    name="cut-in",
    number=1,
    title="Cut-in",
    summary="A slower car pulls out from behind a truck into the ego's lane, and may brake there.",
    group=Group.LATERAL,
    cluster=OodCluster.SPECIAL_OR_UNCOMMON_VEHICLE_BEHAVIOR,
    trigger=CocTrigger.CUT_IN,
    decision=(Longitudinal.YIELD, Lateral.LANE_KEEPING),
    critical_actors=("cut-in",),
    odd=(OddTag.RURAL,),
    source="UN R157 (ALKS) cut-in; ASAM OSC-ALKS; CARLA leaderboard 2.0 HighwayCutIn",
    parameters=(
        Parameter("ego_speed", "m/s", 8.0, 22.0, "UN R157: 20 to 60 km/h and above", default=14.5),
        Parameter("closing_speed", "m/s", 2.8, 10.0, f"{R157}: the car is 10 to 50 km/h slower", default=6.7),
        Parameter("gap", "m", 4.0, 40.0, f"{R157}: 0 to 60 m between the bumpers", default=16.8),
        Parameter("lateral_speed", "m/s", 0.8, 2.0, f"{R157}: 0.5 to 3 m/s", default=1.4),
        Parameter("braking", "m/s²", 0.0, 3.0, f"{R157}: up to 3 m/s²", typical_share=0.5, default=1.7),
        Parameter("lanes", "1", 2, 3, "lanes one way on urban and rural main roads", integer=True, default=3.0),
        Parameter("side", "1", 0, 1, "from the right (0) or the left (1)", integer=True, default=1.0),
        curvature(0.004),
    ),
    accepts=_accepts,
    make=_make,
)
