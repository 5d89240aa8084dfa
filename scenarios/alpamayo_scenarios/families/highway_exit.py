"""Motorway exit: the ego has to cross a lane with dense traffic to reach its exit."""

from alpamayo_scenarios.families.axes import ego_speed
from alpamayo_scenarios.families.family import Family, Parameter, Rng, Values, posted_limit
from alpamayo_scenarios.families.taxonomy import CocTrigger, Group, OddTag, OodCluster
from alpamayo_scenarios.roads import CrossSection
from alpamayo_scenarios.sites import START_M, site_on
from alpamayo_scenarios.weaving import Change, Exit, exit_road
from alpamayo_sim.datatypes.reasoning import Lateral, Longitudinal
from alpamayo_sim.datatypes.scenario import Scenario

DURATION_S = 20.0
DECELERATION_LANE_M = 30.0  # from the end of the lane change to the gore
GOAL_BEYOND_M = 15.0  # the gore
RAMP_SPEED_SHARE = 0.8
GAP_SEARCH_S = 3.8  # to fall back by half a gap and a car's length
CROSSED_SHARE = 0.5  # of the change after which the ego is in the crossed lane


def _accepts(p: Values) -> bool:
    """The ego has time to fall back to the next gap before it is in the crossed lane."""
    return p["lead_time"] + 0.3 * p["change_time"] >= GAP_SEARCH_S


def _make(p: Values, rng: Rng) -> Scenario:
    speed, limit = p["ego_speed"], posted_limit(p["ego_speed"])
    section = CrossSection(3, 0, 3.6, float(rng.uniform(0.8, 1.8)))
    to_change, length = p["lead_time"] * speed, p["change_time"] * speed
    change = Change(0, 2, START_M + to_change, START_M + to_change + length)
    out = Exit(change.end + DECELERATION_LANE_M, p["radius"], posted_limit(RAMP_SPEED_SHARE * speed))
    road = exit_road(out.gore + 250.0, section, limit, change, out)
    site = site_on(road, rng, speed, limit, 0, DURATION_S)
    crossed = to_change + CROSSED_SHARE * length
    site.dense_flow("flow", 1, crossed, p["flow_share"] * speed, p["flow_gap"], p["shift"])
    site.flow(0, [-30.0])
    return site.scenario(out.gore - START_M + GOAL_BEYOND_M)


HIGHWAY_EXIT = Family(
    name="highway-exit",
    number=123,
    title="Motorway exit across a flow",
    summary="The ego has to cross a lane with dense traffic to reach its exit from a motorway.",
    group=Group.LATERAL,
    cluster=OodCluster.OTHER_LONGTAIL,
    trigger=CocTrigger.LANE_CHANGE,
    decision=(Longitudinal.GAP_SEARCHING, Lateral.MERGE_SPLIT),
    critical_actors=("flow-*",),
    odd=(OddTag.MOTORWAY, OddTag.ONE_WAY, OddTag.MERGE),
    source="CARLA leaderboard 2.0 HighwayExit: flow of 10 to 15 m/s",
    parameters=(
        ego_speed(11.0, 18.0, 14.0, "motorways in dense traffic, 40 to 65 km/h"),
        Parameter("flow_share", "1", 0.75, 0.97, "speed of the flow, share of the ego's", default=0.85),
        Parameter("flow_gap", "m", 16.0, 40.0, "CARLA leaderboard 2.0: gaps of 10 to 55 m", default=24.0),
        Parameter("lead_time", "s", 2.0, 4.0, "time to the beginning of the lane change", default=3.0),
        Parameter("change_time", "s", 4.5, 6.0, "two lane changes of 2 to 3 s", default=5.0),
        Parameter("radius", "m", 120.0, 220.0, "ramps of 40 to 60 km/h", default=160.0),
        Parameter("shift", "m", -2.0, 2.0, "place of a car at the crossing, to the ego's centre", default=0.0),
    ),
    accepts=_accepts,
    make=_make,
)
