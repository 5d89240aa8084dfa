"""Braking lead: the car ahead brakes to a standstill and drives on."""

from alpamayo_scenarios.behaviours import at_time
from alpamayo_scenarios.families.axes import bend, ego_speed
from alpamayo_scenarios.families.family import (
    BRAKING_MPS2,
    REACTION_TIME_S,
    Family,
    Parameter,
    Rng,
    Values,
    posted_limit,
)
from alpamayo_scenarios.families.taxonomy import CocTrigger, Group, OddTag, OodCluster
from alpamayo_scenarios.roads import CrossSection
from alpamayo_scenarios.scenery import draw_car
from alpamayo_scenarios.sites import road_site
from alpamayo_sim.datatypes.manoeuvres import stop
from alpamayo_sim.datatypes.reasoning import Lateral, Longitudinal
from alpamayo_sim.datatypes.scenario import Scenario

DURATION_S = 18.0
SPARE_GAP_M = 2.0  # m of gap beyond what is needed
GOAL_BEYOND_M = 20.0  # m from where the lead stood to the goal


def _accepts(p: Values) -> bool:
    """A careful driver stops behind the lead."""
    speed = p["ego_speed"]
    room = p["gap"] + speed**2 / (2.0 * p["deceleration"])
    return room >= speed * REACTION_TIME_S + speed**2 / (2.0 * BRAKING_MPS2) + SPARE_GAP_M


def _make(p: Values, rng: Rng) -> Scenario:
    speed, limit, wait = p["ego_speed"], posted_limit(p["ego_speed"]), float(rng.uniform(0.8, 2.0))
    section = CrossSection(2, int(rng.choice([0, 2])), 3.5, float(rng.uniform(0.6, 2.0)))
    lane = int(rng.integers(0, 2))
    stood = p["gap"] + speed * wait + speed**2 / (2.0 * p["deceleration"])
    site = road_site(
        rng, speed, limit, section, lane=lane, duration=DURATION_S, curvature=p["curvature"], reach=stood + 190.0
    )
    size = draw_car(rng)
    halt = stop(at_time(wait), p["deceleration"], speed / p["deceleration"] + p["hold"], 0.9 * limit)
    site.actor("braking", site.ahead(p["gap"], size), site.d(), speed, size, manoeuvres=halt)
    site.flow(1 - lane, [-25.0, 4.0, 34.0, 64.0])
    site.oncoming([90.0, 150.0, 210.0])
    return site.scenario(stood + GOAL_BEYOND_M)


BRAKING_LEAD = Family(
    name="braking-lead",
    number=103,
    title="Braking lead",
    summary="The car ahead brakes hard to a standstill without a visible reason and drives on after a while.",
    group=Group.LONGITUDINAL,
    cluster=OodCluster.SPECIAL_OR_UNCOMMON_VEHICLE_BEHAVIOR,
    trigger=CocTrigger.STOP_FOR_LEAD,
    decision=(Longitudinal.LEAD_FOLLOWING, Lateral.LANE_KEEPING),
    critical_actors=("braking",),
    odd=(OddTag.URBAN,),
    source="Euro NCAP CCRb; ASAM OSC-ALKS deceleration; CARLA leaderboard 2.0 HardBreakRoute",
    parameters=(
        ego_speed(8.0, 18.0, 13.9, "Euro NCAP CCRb: 50 km/h; UN R157: up to 60 km/h"),
        Parameter("gap", "m", 12.0, 40.0, "Euro NCAP CCRb: 12 and 40 m", default=20.0),
        Parameter("deceleration", "m/s²", 2.0, 6.0, "Euro NCAP CCRb: 2 and 6 m/s²", default=4.0),
        Parameter("hold", "s", 1.0, 3.0, "time that the lead stands", default=2.0),
        bend(0.004),
    ),
    accepts=_accepts,
    make=_make,
)
