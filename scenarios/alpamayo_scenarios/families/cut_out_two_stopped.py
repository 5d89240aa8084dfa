"""Cut-out before two stopped cars: the car ahead reveals cars that block two lanes."""

from alpamayo_scenarios.behaviours import at_time
from alpamayo_scenarios.families.axes import bend, can_stop, ego_speed, from_left
from alpamayo_scenarios.families.family import Family, Parameter, Rng, Values, posted_limit
from alpamayo_scenarios.families.taxonomy import CocTrigger, Group, OddTag, OodCluster
from alpamayo_scenarios.roads import CrossSection
from alpamayo_scenarios.scenery import draw_car
from alpamayo_scenarios.sites import START_M, road_site
from alpamayo_scenarios.stage import EGO_SIZE
from alpamayo_sim.datatypes.manoeuvres import change_lane
from alpamayo_sim.datatypes.reasoning import Lateral, Longitudinal
from alpamayo_sim.datatypes.scenario import Scenario

DURATION_S = 17.0
LANE_WIDTH_M = 3.5
SEEN_SHARE = 0.6  # share of the lane change after which the stopped cars are in sight


def _accepts(p: Values) -> bool:
    """The lead itself gets by, and a careful driver stops once the stopped cars are in sight."""
    change = LANE_WIDTH_M / p["lateral_speed"]
    sight = p["headway"] + p["lead_time"] - SEEN_SHARE * change
    return p["lead_time"] >= 0.85 * change + 0.3 and can_stop(p["ego_speed"], sight * p["ego_speed"] - 2.5)


def _make(p: Values, rng: Rng) -> Scenario:
    speed, limit = p["ego_speed"], posted_limit(p["ego_speed"])
    section = CrossSection(3, 0, LANE_WIDTH_M, float(rng.uniform(0.8, 2.5)))
    size, escape = draw_car(rng), 2 if p["from_left"] else 0
    front, wait = p["headway"] * speed, float(rng.uniform(0.8, 1.8))
    gap = front + size[0] + speed * (wait + p["lead_time"])
    site = road_site(
        rng, speed, limit, section, lane=1, duration=DURATION_S, curvature=p["curvature"], reach=gap + 250.0
    )
    out = change_lane(at_time(wait), site.d(escape) - site.d(), LANE_WIDTH_M / p["lateral_speed"])
    site.actor("lead", site.ahead(front, size), site.d(), speed, size, manoeuvres=out)
    for k, (lane, more) in enumerate(((1, 0.0), (2 - escape, float(rng.uniform(-4.0, 6.0))))):
        stopped = draw_car(rng)
        place = START_M + gap + more + 0.5 * (EGO_SIZE[0] + stopped[0])
        turned = float(rng.uniform(-0.25, 0.25))
        site.standing(f"stopped-{k}", place, site.d(lane), stopped, turned=turned)
    for k in range(3):
        near = [-34.0] if k in (1, escape) else [-30.0, 8.0]
        site.flow(k, [*near, gap + 70.0, gap + 120.0])
    return site.scenario(gap + 35.0)


CUT_OUT_TWO_STOPPED = Family(
    name="cut-out-two-stopped",
    number=107,
    title="Cut-out before two stopped cars",
    summary="The car ahead changes its lane at the last moment and reveals cars that block two of three lanes.",
    group=Group.LONGITUDINAL,
    cluster=OodCluster.EMERGENCY_INCIDENT_SCENE,
    trigger=CocTrigger.LANE_CHANGE,
    decision=(Longitudinal.SPEED_ADAPTATION, Lateral.LANE_CHANGE),
    critical_actors=("lead", "stopped-*"),
    odd=(OddTag.MOTORWAY, OddTag.ONE_WAY, OddTag.OCCLUSION),
    source="ASAM OSC-ALKS cut-out with multiple blocking targets",
    parameters=(
        ego_speed(8.0, 16.7, 13.0, "UN R157 cut-out: 5 to 60 km/h"),
        Parameter("headway", "s", 1.2, 2.6, "UN R157 following distance and above", default=2.0),
        Parameter("lead_time", "s", 1.6, 3.2, "ASAM OSC-ALKS: 10 to 100 m before the blocker", default=2.6),
        Parameter("lateral_speed", "m/s", 1.2, 3.0, "ASAM OSC-ALKS cut-out: 0.5 to 3 m/s", default=2.0),
        from_left(),
        bend(0.003),
    ),
    accepts=_accepts,
    make=_make,
    held_out=True,
)
