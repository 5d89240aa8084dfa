"""Motorcycle filtering: it passes between the lanes and moves in before the ego."""

from alpamayo_scenarios.actors import MOTORCYCLE
from alpamayo_scenarios.behaviours import OvertakingCutIn
from alpamayo_scenarios.families.axes import cut_in_accepted, ego_speed
from alpamayo_scenarios.families.family import Family, Parameter, Rng, Values, posted_limit
from alpamayo_scenarios.families.taxonomy import CocTrigger, Group, OddTag, OodCluster
from alpamayo_scenarios.roads import CrossSection
from alpamayo_scenarios.sites import START_M, road_site
from alpamayo_sim.datatypes.reasoning import Lateral, Longitudinal
from alpamayo_sim.datatypes.scenario import Scenario
from alpamayo_sim.datatypes.scene import Category

DURATION_S = 18.0
LANE_WIDTH_M = 3.6


def _cut_in(p: Values) -> OvertakingCutIn:
    slow = p["slow_share"] * p["ego_speed"]
    return OvertakingCutIn(
        p["ego_speed"],
        p["excess"],
        p["gap"],
        0.5 * LANE_WIDTH_M,
        p["lateral_speed"],
        slow,
        p["deceleration"],
        MOTORCYCLE[0],
    )


def _accepts(p: Values) -> bool:
    return cut_in_accepted(_cut_in(p), DURATION_S)


def _make(p: Values, rng: Rng) -> Scenario:
    speed, limit, cut_in = p["ego_speed"], posted_limit(p["ego_speed"] + p["excess"]), _cut_in(p)
    section = CrossSection(2, 0, LANE_WIDTH_M, float(rng.uniform(1.0, 2.5)))
    goal = cut_in.contact_distance + 12.0
    site = road_site(rng, speed, limit, section, lane=1, duration=DURATION_S, reach=goal + 170.0)
    site.actor(
        "motorcycle",
        START_M - cut_in.BEHIND,
        site.d() + cut_in.across,
        speed + p["excess"],
        MOTORCYCLE,
        category=Category.MOTORCYCLE,
        manoeuvres=cut_in.manoeuvres(-cut_in.across),
    )
    # The cars of the next lane keep to its far side, as they do where motorcycles filter.
    for k, s in enumerate((-2.0, 18.0, 38.0, 58.0)):
        site.actor(f"neighbour-{k}", START_M + s, site.d(0) + 0.5, 0.9 * speed, yields=True)
    return site.scenario(goal)


MOTORCYCLE_FILTERING = Family(
    name="motorcycle-filtering",
    number=125,
    title="Filtering motorcycle",
    summary="A motorcycle filters between the lanes, moves in closely before the ego and slows down.",
    group=Group.LATERAL,
    cluster=OodCluster.CYCLISTS_AND_MICROMOBILITY_COMPLEX,
    trigger=CocTrigger.CUT_IN,
    decision=(Longitudinal.YIELD, Lateral.LANE_KEEPING),
    critical_actors=("motorcycle",),
    odd=(OddTag.URBAN, OddTag.ONE_WAY),
    source="Lane splitting: Rice, Troszak and Erhardt 2015; Euro NCAP 2023 car to motorcyclist",
    parameters=(
        ego_speed(6.0, 14.0, 10.5, "lane splitting happens in traffic of up to 50 km/h"),
        Parameter("excess", "m/s", 3.0, 7.0, "Rice et al.: mostly up to 25 km/h faster", default=4.2),
        Parameter("gap", "m", 2.0, 8.0, "bumper gap at which it moves in", default=3.0),
        Parameter("lateral_speed", "m/s", 0.8, 2.0, "UN R157: 0.5 to 3 m/s", default=1.4),
        Parameter("deceleration", "m/s²", 2.0, 5.0, "firm braking", default=3.3),
        Parameter("slow_share", "1", 0.3, 0.6, "speed after braking, share of the ego's", default=0.5),
    ),
    accepts=_accepts,
    make=_make,
    held_out=True,
)
