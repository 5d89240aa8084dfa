"""Accident on a two-way road: the own lane is blocked, and others come the other way."""

from alpamayo_scenarios.families.axes import bend, bypass_accepted, ego_speed, oncoming_platoon
from alpamayo_scenarios.families.family import Family, Parameter, Rng, Values, posted_limit
from alpamayo_scenarios.families.taxonomy import CocTrigger, Group, OddTag, OodCluster
from alpamayo_scenarios.obstacles import add_crash, add_oncoming_platoon
from alpamayo_scenarios.roads import CrossSection
from alpamayo_scenarios.sites import START_M, road_site
from alpamayo_sim.datatypes.reasoning import Lateral, Longitudinal
from alpamayo_sim.datatypes.scenario import Scenario

LENGTH, GOAL_BEYOND_M = 22.0, 15.0  # m of the scene, and from its end to the goal

DURATION_S = 20.0


def _accepts(p: Values) -> bool:
    return bypass_accepted(p, LENGTH + GOAL_BEYOND_M, DURATION_S)


def _make(p: Values, rng: Rng) -> Scenario:
    speed, limit, gap = p["ego_speed"], posted_limit(p["ego_speed"]), p["ego_speed"] * p["distance_time"]
    section = CrossSection(1, 1, 3.6, float(rng.uniform(0.6, 1.2)))
    site = road_site(rng, speed, limit, section, duration=DURATION_S, curvature=p["curvature"], reach=gap + 250.0)
    end = add_crash(site, START_M + gap, site.d() - 0.3)
    add_oncoming_platoon(site, START_M + gap, p["clear_time"], p["oncoming_speed"], int(p["oncoming_cars"]))
    site.flow(0, [-30.0, gap + 80.0])
    return site.scenario(end - START_M + GOAL_BEYOND_M)


ACCIDENT_TWO_WAY = Family(
    name="accident-two-way",
    number=129,
    title="Accident on a two-way road",
    summary="An accident blocks the ego's lane of a two-way road; the ego waits for oncoming cars and goes round it.",
    group=Group.OBSTACLE,
    cluster=OodCluster.EMERGENCY_INCIDENT_SCENE,
    trigger=CocTrigger.NUDGE,
    decision=(Longitudinal.GAP_SEARCHING, Lateral.OUT_OF_LANE_NUDGE),
    critical_actors=("crash-*",),
    odd=(OddTag.RURAL, OddTag.TWO_WAY),
    source="CARLA leaderboard 2.0 AccidentTwoWays",
    parameters=(
        ego_speed(7.0, 13.8, 10.0, "town and rural roads, 25 to 50 km/h"),
        Parameter("distance_time", "s", 3.5, 6.0, "CARLA AccidentTwoWays: 10 to 220 m", default=4.5),
        *oncoming_platoon(),
        bend(0.003),
    ),
    accepts=_accepts,
    make=_make,
)
