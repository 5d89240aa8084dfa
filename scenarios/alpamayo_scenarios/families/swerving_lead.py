"""Swerving lead: a slower car ahead weaves in its lane."""

from alpamayo_scenarios.behaviours import at_time
from alpamayo_scenarios.families.axes import bend, ego_speed, follows
from alpamayo_scenarios.families.family import Family, Parameter, Rng, Values, posted_limit
from alpamayo_scenarios.families.taxonomy import CocTrigger, Group, OddTag, OodCluster
from alpamayo_scenarios.roads import CrossSection
from alpamayo_scenarios.scenery import draw_car
from alpamayo_scenarios.sites import road_site
from alpamayo_sim.datatypes.manoeuvres import Manoeuvres, after, change_lane
from alpamayo_sim.datatypes.reasoning import Lateral, Longitudinal
from alpamayo_sim.datatypes.scenario import Scenario

DURATION_S = 16.0
MIN_CLOSING_MPS = 2.5
MEETS_WITHIN_S = 9.0  # until a steady ego runs into it


def _accepts(p: Values) -> bool:
    return follows(p["ego_speed"] - p["lead_speed"], p["gap"], MIN_CLOSING_MPS, MEETS_WITHIN_S)


def _weaving(offset: float, period: float) -> Manoeuvres:
    """Return moves by ``offset`` (m) to either side in turns; ``period`` (s) is there and back."""
    half = 0.5 * period
    made = list(change_lane(at_time(0.3), offset, 0.5 * half))
    for k in range(int(DURATION_S / half)):
        made += change_lane(after(half), -offset if k % 2 == 0 else offset, half)
    return tuple(made)


def _make(p: Values, rng: Rng) -> Scenario:
    speed, slow, limit = p["ego_speed"], p["lead_speed"], posted_limit(p["ego_speed"])
    section = CrossSection(1, 1, float(rng.uniform(3.4, 3.7)), float(rng.uniform(0.5, 1.0)))
    site = road_site(rng, speed, limit, section, curvature=p["curvature"], reach=p["gap"] + 12.0 * DURATION_S + 100.0)
    size = draw_car(rng)
    weaving = _weaving(p["offset"], p["period"])
    site.actor("weaving", site.ahead(p["gap"], size), site.d(), slow, size, manoeuvres=weaving)
    site.flow(0, [-32.0])
    site.oncoming([k * 1.8 * limit + 25.0 for k in range(1, 12)], 0.8 * limit)
    return site.scenario(p["gap"] + 0.75 * slow * DURATION_S)


SWERVING_LEAD = Family(
    name="swerving-lead",
    number=118,
    title="Swerving lead",
    summary="The ego comes up to a slower car that weaves from side to side in its lane.",
    group=Group.LATERAL,
    cluster=OodCluster.SPECIAL_OR_UNCOMMON_VEHICLE_BEHAVIOR,
    trigger=CocTrigger.RISKY_DRIVING,
    decision=(Longitudinal.LEAD_FOLLOWING, Lateral.LANE_KEEPING),
    critical_actors=("weaving",),
    odd=(OddTag.RURAL, OddTag.TWO_WAY),
    source="ASAM OSC-ALKS swerving lead vehicle",
    parameters=(
        ego_speed(9.0, 20.0, 14.0, "ASAM OSC-ALKS: up to 60 km/h and above"),
        Parameter("lead_speed", "m/s", 5.0, 12.0, "slower than the ego", default=9.0),
        Parameter("gap", "m", 12.0, 50.0, "distance at the start", default=28.0),
        Parameter("offset", "m", 0.4, 1.1, "ASAM OSC-ALKS: lateral offsets of up to 1.75 m", default=0.8),
        Parameter("period", "s", 3.0, 6.0, "there and back", default=4.0),
        bend(0.003),
    ),
    accepts=_accepts,
    make=_make,
)
