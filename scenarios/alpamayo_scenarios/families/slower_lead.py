"""Slower lead: the ego closes in on a much slower vehicle that it cannot pass."""

from alpamayo_scenarios.families.axes import bend, ego_speed, follows
from alpamayo_scenarios.families.family import Family, Parameter, Rng, Values, posted_limit
from alpamayo_scenarios.families.taxonomy import CocTrigger, Group, OddTag, OodCluster
from alpamayo_scenarios.roads import CrossSection
from alpamayo_scenarios.scenery import draw_truck
from alpamayo_scenarios.sites import road_site
from alpamayo_sim.datatypes.reasoning import Lateral, Longitudinal
from alpamayo_sim.datatypes.scenario import Scenario
from alpamayo_sim.datatypes.scene import Category

DURATION_S = 15.0
MIN_CLOSING_MPS = 4.0  # m/s
MEETS_WITHIN_S = 9.0  # s until a steady ego runs into it


def _accepts(p: Values) -> bool:
    return follows(p["ego_speed"] - p["lead_speed"], p["gap"], MIN_CLOSING_MPS, MEETS_WITHIN_S)


def _make(p: Values, rng: Rng) -> Scenario:
    speed, slow, limit = p["ego_speed"], p["lead_speed"], posted_limit(p["ego_speed"])
    section = CrossSection(1, 1, float(rng.uniform(3.4, 3.7)), float(rng.uniform(0.5, 1.0)))
    site = road_site(rng, speed, limit, section, curvature=p["curvature"], reach=p["gap"] + 12.0 * DURATION_S + 100.0)
    size = draw_truck(rng)
    site.actor("slow", site.ahead(p["gap"], size), site.d(), slow, size, category=Category.TRUCK, yields=True)
    site.flow(0, [-32.0])
    site.oncoming([k * 1.6 * limit + 10.0 for k in range(1, 14)], 0.8 * limit)
    return site.scenario(p["gap"] + 0.75 * slow * DURATION_S)


SLOWER_LEAD = Family(
    name="slower-lead",
    number=102,
    title="Slower lead",
    summary="The ego closes in on a slow truck on a two-way road with steady oncoming traffic.",
    group=Group.LONGITUDINAL,
    cluster=OodCluster.SPECIAL_OR_UNCOMMON_VEHICLE_BEHAVIOR,
    trigger=CocTrigger.SLOW_FOR_LEAD,
    decision=(Longitudinal.LEAD_FOLLOWING, Lateral.LANE_KEEPING),
    critical_actors=("slow",),
    odd=(OddTag.RURAL, OddTag.TWO_WAY),
    source="NHTSA pre-crash typology, lead vehicle slower; Euro NCAP CCRm",
    parameters=(
        ego_speed(8.3, 22.0, 16.0, "Euro NCAP CCRm: 30 to 80 km/h"),
        Parameter("lead_speed", "m/s", 3.0, 8.0, "Euro NCAP CCRm: target at 20 km/h", default=5.6),
        Parameter("gap", "m", 15.0, 90.0, "distance at which the lead comes into sight", default=50.0),
        bend(0.004),
    ),
    accepts=_accepts,
    make=_make,
)
