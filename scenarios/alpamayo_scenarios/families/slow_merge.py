"""Merge into slow traffic: the ego comes along an acceleration lane beside a slow, dense flow."""

from alpamayo_scenarios.families.axes import ego_speed
from alpamayo_scenarios.families.family import Family, Parameter, Rng, Values, posted_limit
from alpamayo_scenarios.families.taxonomy import CocTrigger, Group, OddTag, OodCluster
from alpamayo_scenarios.merges import merge_site
from alpamayo_scenarios.roads import CrossSection
from alpamayo_sim.datatypes.reasoning import Lateral, Longitudinal
from alpamayo_sim.datatypes.scenario import Scenario

DURATION_S = 20.0
MERGED_SHARE = 0.6  # of the taper after which the ego is well into the next lane
EASY_BRAKING_MPS2 = 2.5


def _accepts(p: Values) -> bool:
    """A careful driver is at the speed of the flow before the taper, and meets it where it would merge."""
    slower = p["ego_speed"] - p["flow_speed"]
    braking = (p["ego_speed"] ** 2 - p["flow_speed"] ** 2) / (2.0 * EASY_BRAKING_MPS2)
    return slower >= 1.0 and p["to_taper"] >= braking + 0.6 * p["ego_speed"]


def _make(p: Values, rng: Rng) -> Scenario:
    speed, flow, limit = p["ego_speed"], p["flow_speed"], posted_limit(p["ego_speed"] + 2.0)
    section = CrossSection(3, 0, 3.6, float(rng.uniform(0.8, 1.8)))
    site = merge_site(rng, speed, limit, section, lane=2, to_taper=p["to_taper"], taper=p["taper"], duration=DURATION_S)
    merged = p["to_taper"] + MERGED_SHARE * p["taper"]
    first = merged * (1.0 - flow / speed) + p["shift"]
    site.dense_flow("flow", 1, merged, flow, p["flow_gap"], p["shift"])
    site.flow(0, [first - 20.0, first + 30.0], 1.3 * flow)
    return site.scenario(merged + 50.0)


SLOW_MERGE = Family(
    name="slow-merge",
    number=121,
    title="Merge into slow traffic",
    summary="The ego comes along an acceleration lane and has to merge into a slow, dense flow.",
    group=Group.LATERAL,
    cluster=OodCluster.OTHER_LONGTAIL,
    trigger=CocTrigger.LANE_CHANGE,
    decision=(Longitudinal.GAP_SEARCHING, Lateral.MERGE_SPLIT),
    critical_actors=("flow-*",),
    odd=(OddTag.MOTORWAY, OddTag.ONE_WAY, OddTag.MERGE),
    source="CARLA leaderboard 2.0 MergerIntoSlowTraffic",
    parameters=(
        ego_speed(9.0, 18.0, 13.0, "end of a ramp, 30 to 65 km/h"),
        Parameter("flow_speed", "m/s", 6.0, 14.0, "CARLA leaderboard 2.0: flow of 8 to 17 m/s", default=9.0),
        Parameter("flow_gap", "m", 14.0, 40.0, "CARLA leaderboard 2.0: gaps of 10 to 55 m", default=20.0),
        Parameter("to_taper", "m", 50.0, 120.0, "acceleration lanes of 100 to 200 m", default=70.0),
        Parameter("taper", "m", 40.0, 70.0, "tapers of 1:11 to 1:19", default=50.0),
        Parameter("shift", "m", -2.0, 2.0, "place of a car at the merge, to the ego's centre", default=0.0),
    ),
    accepts=_accepts,
    make=_make,
)
