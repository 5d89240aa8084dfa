"""Slow bicycle: a cyclist rides ahead in the ego's lane."""

from alpamayo_scenarios.actors import CYCLIST
from alpamayo_scenarios.families.axes import bend, ego_speed, follows
from alpamayo_scenarios.families.family import Family, Parameter, Rng, Values, posted_limit
from alpamayo_scenarios.families.taxonomy import CocTrigger, Group, OddTag, OodCluster
from alpamayo_scenarios.roads import CrossSection
from alpamayo_scenarios.sites import road_site
from alpamayo_sim.datatypes.reasoning import Lateral, Longitudinal
from alpamayo_sim.datatypes.scenario import Scenario
from alpamayo_sim.datatypes.scene import Category

DURATION_S = 18.0
MIN_CLOSING_MPS = 3.0  # m/s
MEETS_WITHIN_S = 8.0  # s until a steady ego runs into the cyclist


def _accepts(p: Values) -> bool:
    return follows(p["ego_speed"] - p["cyclist_speed"], p["gap"], MIN_CLOSING_MPS, MEETS_WITHIN_S)


def _make(p: Values, rng: Rng) -> Scenario:
    speed, limit = p["ego_speed"], posted_limit(p["ego_speed"])
    section = CrossSection(2, 0, float(rng.uniform(3.2, 3.5)), 0.4)
    reach = p["gap"] + p["ego_speed"] * DURATION_S + 80.0
    site = road_site(rng, speed, limit, section, lane=1, duration=DURATION_S, curvature=p["curvature"], reach=reach)
    place, d = site.ahead(p["gap"], CYCLIST), site.d() + p["offset"]
    site.actor("cyclist", place, d, p["cyclist_speed"], CYCLIST, category=Category.CYCLIST)
    site.flow(0, [-10.0 - p["flow_gap"], -10.0, -10.0 + p["flow_gap"]], speed)
    site.flow(1, [-30.0])
    return site.scenario(p["gap"] + p["cyclist_speed"] * (DURATION_S - 6.0))


SLOW_BICYCLE = Family(
    name="slow-bicycle",
    number=135,
    title="Slow bicycle",
    summary="A cyclist rides slowly in the ego's lane while faster traffic fills the lane beside it.",
    group=Group.OBSTACLE,
    cluster=OodCluster.CYCLISTS_AND_MICROMOBILITY_COMPLEX,
    trigger=CocTrigger.YIELD_TO_VRU,
    decision=(Longitudinal.LEAD_FOLLOWING, Lateral.LANE_CHANGE),
    critical_actors=("cyclist",),
    odd=(OddTag.URBAN, OddTag.ONE_WAY),
    source="CARLA leaderboard 2.0 HazardAtSideLane: 5 to 15 m/s; Euro NCAP CBLA",
    parameters=(
        ego_speed(7.0, 16.0, 11.0, "Euro NCAP CBLA: 25 to 60 km/h"),
        Parameter("cyclist_speed", "m/s", 3.0, 6.0, "Euro NCAP CBLA: 15 to 20 km/h", default=4.5),
        Parameter("gap", "m", 10.0, 60.0, "distance at which the ego comes up", default=35.0),
        Parameter("offset", "m", -0.9, 0.2, "the cyclist rides to the right of the lane's middle", default=-0.6),
        Parameter("flow_gap", "m", 22.0, 45.0, "CARLA flows: gaps of 10 to 110 m", default=30.0),
        bend(0.005),
    ),
    accepts=_accepts,
    make=_make,
)
