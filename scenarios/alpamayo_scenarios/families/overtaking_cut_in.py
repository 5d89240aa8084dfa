"""Overtaking cut-in: a car passes, moves in closely before the ego and brakes."""

from alpamayo_scenarios.behaviours import OvertakingCutIn
from alpamayo_scenarios.families.axes import bend, cut_in_accepted, ego_speed
from alpamayo_scenarios.families.family import Family, Parameter, Rng, Values, posted_limit
from alpamayo_scenarios.families.taxonomy import CocTrigger, Group, OddTag, OodCluster
from alpamayo_scenarios.roads import CrossSection
from alpamayo_scenarios.sites import START_M, road_site
from alpamayo_sim.datatypes.reasoning import Lateral, Longitudinal
from alpamayo_sim.datatypes.scenario import Scenario

DURATION_S = 18.0
LANE_WIDTH_M = 3.5


def _cut_in(p: Values) -> OvertakingCutIn:
    slow = p["slow_share"] * p["ego_speed"]
    return OvertakingCutIn(
        p["ego_speed"], p["excess"], p["gap"], LANE_WIDTH_M, p["lateral_speed"], slow, p["deceleration"]
    )


def _accepts(p: Values) -> bool:
    return cut_in_accepted(_cut_in(p), DURATION_S)


def _make(p: Values, rng: Rng) -> Scenario:
    speed, limit, cut_in = p["ego_speed"], posted_limit(p["ego_speed"] + p["excess"]), _cut_in(p)
    section = CrossSection(3, 0, LANE_WIDTH_M, float(rng.uniform(1.0, 2.5)))
    lane, goal = int(rng.integers(1, 3)), cut_in.contact_distance + 12.0
    site = road_site(
        rng, speed, limit, section, lane=lane, duration=DURATION_S, curvature=p["curvature"], reach=goal + 170.0
    )
    passing = speed + p["excess"]
    site.actor(
        "cut-in", START_M - cut_in.BEHIND, site.d(lane - 1), passing, manoeuvres=cut_in.manoeuvres(-LANE_WIDTH_M)
    )
    site.flow(lane, [-34.0, 110.0])
    if lane == 1:
        site.flow(2, [-20.0, 10.0, 40.0, 70.0])
    return site.scenario(goal)


OVERTAKING_CUT_IN = Family(
    name="overtaking-cut-in",
    number=114,
    title="Overtaking cut-in with braking",
    summary="A car overtakes, moves in closely before the ego and brakes hard at once.",
    group=Group.LATERAL,
    cluster=OodCluster.SPECIAL_OR_UNCOMMON_VEHICLE_BEHAVIOR,
    trigger=CocTrigger.CUT_IN,
    decision=(Longitudinal.YIELD, Lateral.LANE_KEEPING),
    critical_actors=("cut-in",),
    odd=(OddTag.MOTORWAY, OddTag.ONE_WAY),
    source="UN R157 cut-in; esmini alks_r157_cut_in_quick_brake",
    parameters=(
        ego_speed(10.0, 22.0, 19.0, "UN R157: up to 60 km/h and above"),
        Parameter("excess", "m/s", 3.0, 6.0, "speed of the overtaking car above the ego's", default=4.3),
        Parameter("gap", "m", 3.0, 15.0, "UN R157: 0 to 60 m between the bumpers", default=4.0),
        Parameter("lateral_speed", "m/s", 1.0, 2.5, "UN R157: 0.5 to 3 m/s", default=1.6),
        Parameter("deceleration", "m/s²", 2.0, 5.0, "esmini alks_r157_cut_in_quick_brake", default=3.5),
        Parameter("slow_share", "1", 0.3, 0.6, "speed after braking, share of the ego's", default=0.5),
        bend(0.003),
    ),
    accepts=_accepts,
    make=_make,
)
