"""Partial block: a broken-down car reaches from the shoulder into the ego's lane."""

from alpamayo_scenarios.actors import WARNING_TRIANGLE
from alpamayo_scenarios.families.axes import bend, can_stop, ego_speed
from alpamayo_scenarios.families.family import Family, Parameter, Rng, Values, posted_limit
from alpamayo_scenarios.families.taxonomy import CocTrigger, Group, OddTag, OodCluster
from alpamayo_scenarios.roads import CrossSection
from alpamayo_scenarios.scenery import draw_car
from alpamayo_scenarios.sites import START_M, road_site
from alpamayo_sim.datatypes.reasoning import Lateral, Longitudinal
from alpamayo_sim.datatypes.scenario import Scenario
from alpamayo_sim.datatypes.scene import Category

DURATION_S = 18.0
TRIANGLE_DISTANCE_M = 15.0  # m before the car


def _accepts(p: Values) -> bool:
    return can_stop(p["ego_speed"], p["ego_speed"] * p["distance_time"] - 5.0)


def _make(p: Values, rng: Rng) -> Scenario:
    speed, limit = p["ego_speed"], posted_limit(p["ego_speed"])
    section = CrossSection(1, 1, 3.5, float(rng.uniform(1.4, 2.0)))
    gap = speed * p["distance_time"]
    site = road_site(rng, speed, limit, section, duration=DURATION_S, curvature=p["curvature"], reach=gap + 200.0)
    size = draw_car(rng)
    place = site.ahead(gap, size)
    site.standing("broken-down", place, section.right_edge + p["overlap"] - 0.5 * size[1], size)
    behind = place - 0.5 * size[0] - TRIANGLE_DISTANCE_M
    site.prop("triangle", Category.CONE, behind, section.right_edge - 0.4, WARNING_TRIANGLE)
    first = place - START_M + 1.2 * limit * p["distance_time"]
    site.oncoming([first - 60.0, first + 55.0, first + 110.0], 0.9 * limit)
    return site.scenario(gap + 45.0)


PARTIAL_BLOCK = Family(
    name="partial-block",
    number=109,
    title="Partly blocked lane",
    summary="A broken-down car stands half on the shoulder and reaches into the ego's lane of a two-way road.",
    group=Group.LONGITUDINAL,
    cluster=OodCluster.EMERGENCY_INCIDENT_SCENE,
    trigger=CocTrigger.NUDGE,
    decision=(Longitudinal.PASSING, Lateral.OUT_OF_LANE_NUDGE),
    critical_actors=("broken-down",),
    odd=(OddTag.RURAL, OddTag.TWO_WAY),
    source="UN R157 partial block; ASAM OSC-ALKS: lateral position in steps of 0.25 m",
    parameters=(
        ego_speed(8.0, 18.0, 13.0, "ASAM OSC-ALKS: 5 to 60 km/h"),
        Parameter("distance_time", "s", 4.0, 7.0, "time to the car at the start", default=5.0),
        Parameter("overlap", "m", 0.95, 1.6, "how far it reaches into the lane of 3.5 m", default=1.2),
        bend(0.004),
    ),
    accepts=_accepts,
    make=_make,
)
