"""Offset lead: a slower car ahead keeps to one side of its lane, so that the lane seems half free."""

from alpamayo_scenarios.families.axes import bend, ego_speed, follows
from alpamayo_scenarios.families.family import Family, Parameter, Rng, Values, posted_limit
from alpamayo_scenarios.families.taxonomy import CocTrigger, Group, OddTag, OodCluster
from alpamayo_scenarios.roads import CrossSection
from alpamayo_scenarios.scenery import draw_car
from alpamayo_scenarios.sites import road_site
from alpamayo_sim.datatypes.reasoning import Lateral, Longitudinal
from alpamayo_sim.datatypes.scenario import Scenario

DURATION_S = 16.0
MIN_CLOSING_MPS = 1.5
MEETS_WITHIN_S = 10.0  # until a steady ego runs into it


def _accepts(p: Values) -> bool:
    return follows(p["ego_speed"] - p["lead_speed"], p["gap"], MIN_CLOSING_MPS, MEETS_WITHIN_S)


def _make(p: Values, rng: Rng) -> Scenario:
    speed, slow, limit = p["ego_speed"], p["lead_speed"], posted_limit(p["ego_speed"])
    section = CrossSection(1, 1, float(rng.uniform(3.5, 3.8)), float(rng.uniform(0.8, 1.4)))
    site = road_site(rng, speed, limit, section, curvature=p["curvature"], reach=p["gap"] + 14.0 * DURATION_S + 100.0)
    size = draw_car(rng)
    side = 1.0 if p["to_left"] else -1.0
    place = site.ahead(p["gap"], size)
    site.actor("offset", place, site.d() + side * p["offset"], slow, size, yields=True)
    site.flow(0, [-30.0, p["gap"] + 60.0], slow)
    site.oncoming([k * 1.7 * limit + 20.0 for k in range(1, 13)], 0.8 * limit)
    return site.scenario(p["gap"] + 0.75 * slow * DURATION_S)


OFFSET_LEAD = Family(
    name="offset-lead",
    number=104,
    title="Offset lead",
    summary="The ego follows a slower car that keeps to one side of its lane, so that the lane seems half free.",
    group=Group.LONGITUDINAL,
    cluster=OodCluster.SPECIAL_OR_UNCOMMON_VEHICLE_BEHAVIOR,
    trigger=CocTrigger.SLOW_FOR_LEAD,
    decision=(Longitudinal.LEAD_FOLLOWING, Lateral.LANE_KEEPING),
    critical_actors=("offset",),
    odd=(OddTag.RURAL, OddTag.TWO_WAY),
    source="ASAM OSC-ALKS following with a lateral offset of up to 1.75 m",
    parameters=(
        ego_speed(9.0, 20.0, 14.0, "ASAM OSC-ALKS: up to 60 km/h and above"),
        Parameter("lead_speed", "m/s", 5.0, 15.0, "a little slower than the ego", default=10.5),
        Parameter("gap", "m", 10.0, 40.0, "distance at the start", default=22.0),
        Parameter("offset", "m", 0.4, 0.9, "ASAM OSC-ALKS: lateral offsets of up to 1.75 m", default=0.7),
        Parameter("to_left", "1", 0, 1, "the car keeps to the right (0) or the left (1)", integer=True, default=0.0),
        bend(0.003),
    ),
    accepts=_accepts,
    make=_make,
)
