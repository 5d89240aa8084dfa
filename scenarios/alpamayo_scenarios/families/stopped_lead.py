"""Stopped lead: a car stands in the ego's lane and moves off once the ego has slowed."""

from alpamayo_scenarios.behaviours import move_off
from alpamayo_scenarios.families.axes import bend, can_stop, ego_speed
from alpamayo_scenarios.families.family import Family, Parameter, Rng, Values, posted_limit
from alpamayo_scenarios.families.taxonomy import CocTrigger, Group, OddTag, OodCluster
from alpamayo_scenarios.roads import CrossSection
from alpamayo_scenarios.scenery import draw_car
from alpamayo_scenarios.sites import road_site
from alpamayo_sim.datatypes.reasoning import Lateral, Longitudinal
from alpamayo_sim.datatypes.scenario import Scenario

DURATION_S = 20.0
GOAL_BEYOND_M = 35.0  # m from where the car stood to the goal


def _accepts(p: Values) -> bool:
    return can_stop(p["ego_speed"], p["ego_speed"] * p["distance_time"] - 5.0)


def _make(p: Values, rng: Rng) -> Scenario:
    speed, limit = p["ego_speed"], posted_limit(p["ego_speed"])
    section = CrossSection(1, 1, float(rng.uniform(3.4, 3.7)), float(rng.uniform(0.5, 1.2)))
    gap = speed * p["distance_time"]
    site = road_site(rng, speed, limit, section, duration=DURATION_S, curvature=p["curvature"], reach=gap + 200.0)
    size = draw_car(rng)
    leave = move_off(1.5, p["hold"], 0.8 * limit)
    site.actor("stopped", site.ahead(gap, size), site.d() + p["offset"], 0.0, size, yields=True, manoeuvres=leave)
    site.flow(0, [gap + 80.0, gap + 130.0])
    site.oncoming([k * 1.7 * limit + 15.0 for k in range(1, 12)], 0.8 * limit)
    return site.scenario(gap + GOAL_BEYOND_M)


STOPPED_LEAD = Family(
    name="stopped-lead",
    number=101,
    title="Stopped lead",
    summary="A car stands in the ego's lane of a two-way road and moves off once the ego waits behind it.",
    group=Group.LONGITUDINAL,
    cluster=OodCluster.SPECIAL_OR_UNCOMMON_VEHICLE_BEHAVIOR,
    trigger=CocTrigger.STOP_FOR_LEAD,
    decision=(Longitudinal.LEAD_FOLLOWING, Lateral.LANE_KEEPING),
    critical_actors=("stopped",),
    odd=(OddTag.RURAL, OddTag.TWO_WAY),
    source="NHTSA pre-crash typology, lead vehicle stopped; Euro NCAP CCRs",
    parameters=(
        ego_speed(8.0, 20.0, 13.0, "Euro NCAP CCRs: 10 to 80 km/h"),
        Parameter("distance_time", "s", 4.0, 7.0, "time to the car at the start", default=5.0),
        Parameter("offset", "m", -0.7, 0.7, "Euro NCAP CCRs: overlap of 50 to 100 %", default=0.0),
        Parameter("hold", "s", 0.5, 2.5, "standing time of queues that dissolve", default=1.0),
        bend(0.004),
    ),
    accepts=_accepts,
    make=_make,
)
