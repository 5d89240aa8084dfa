"""Emergency vehicle: an ambulance comes up fast from behind in the ego's lane, and the ego has to make way."""

from alpamayo_scenarios.actors import AMBULANCE
from alpamayo_scenarios.families.axes import bend, ego_speed
from alpamayo_scenarios.families.family import Family, Parameter, Rng, Values, posted_limit
from alpamayo_scenarios.families.taxonomy import CocTrigger, Group, OddTag, OodCluster
from alpamayo_scenarios.roads import CrossSection
from alpamayo_scenarios.sites import START_M, road_site
from alpamayo_scenarios.stage import EGO_SIZE
from alpamayo_sim.datatypes.reasoning import Lateral, Longitudinal
from alpamayo_sim.datatypes.scenario import Scenario

DURATION_S = 18.0
MAKES_WAY_S = 4.5  # to find a gap in the next lane and to change to it
LATEST_S = 10.0
GOAL_SHARE = 0.75  # of the distance that a steady ego drives


def _accepts(p: Values) -> bool:
    """There is time to change to the next lane, and the ambulance arrives long before the end."""
    return MAKES_WAY_S <= p["gap"] / p["excess"] <= LATEST_S


def _make(p: Values, rng: Rng) -> Scenario:
    speed, limit = p["ego_speed"], posted_limit(p["ego_speed"])
    section = CrossSection(2, 0, 3.6, float(rng.uniform(1.0, 2.0)))
    site = road_site(rng, speed, limit, section, duration=DURATION_S, curvature=p["curvature"])
    rear = START_M - 0.5 * (EGO_SIZE[0] + AMBULANCE[0]) - p["gap"]
    site.actor("ambulance", rear, site.d(), speed + p["excess"], AMBULANCE)
    reached = speed * p["gap"] / p["excess"]
    site.dense_flow("flow", 1, reached, p["flow_share"] * speed, p["flow_gap"], p["shift"])
    return site.scenario(GOAL_SHARE * speed * DURATION_S)


EMERGENCY_VEHICLE = Family(
    name="emergency-vehicle",
    number=138,
    title="Emergency vehicle from behind",
    summary="An ambulance comes up fast from behind in the ego's lane, and the next lane has traffic with gaps.",
    group=Group.OBSTACLE,
    cluster=OodCluster.SPECIAL_OR_UNCOMMON_VEHICLE_BEHAVIOR,
    trigger=CocTrigger.LANE_CHANGE,
    decision=(Longitudinal.GAP_SEARCHING, Lateral.LANE_CHANGE),
    critical_actors=("ambulance",),
    odd=(OddTag.URBAN, OddTag.ONE_WAY),
    source="CARLA leaderboard 2.0 YieldToEmergencyVehicle: from 26 to 150 m behind",
    parameters=(
        ego_speed(9.0, 16.0, 12.0, "urban arterials, 30 to 60 km/h"),
        Parameter("gap", "m", 26.0, 48.0, "CARLA leaderboard 2.0: 26 to 150 m", default=36.0),
        Parameter("excess", "m/s", 3.5, 8.0, "speed of the ambulance above the ego's", default=5.0),
        Parameter("flow_share", "1", 0.85, 1.0, "speed of the next lane, share of the ego's", default=0.92),
        Parameter("flow_gap", "m", 16.0, 34.0, "CARLA leaderboard 2.0: gaps of 10 to 55 m", default=22.0),
        Parameter("shift", "m", -10.0, 10.0, "place of a car of the next lane when the ambulance arrives", default=0.0),
        bend(0.002),
    ),
    accepts=_accepts,
    make=_make,
    held_out=True,
)
