"""Cut-out: the car ahead leaves the lane at the last moment and reveals a stopped one."""

from alpamayo_scenarios.behaviours import at_time
from alpamayo_scenarios.families.axes import bend, ego_speed, lane_count
from alpamayo_scenarios.families.family import Family, Parameter, Rng, Values, posted_limit, stopping_distance
from alpamayo_scenarios.families.taxonomy import CocTrigger, Group, OddTag, OodCluster
from alpamayo_scenarios.roads import CrossSection
from alpamayo_scenarios.scenery import draw_car
from alpamayo_scenarios.sites import START_M, road_site
from alpamayo_scenarios.stage import EGO_SIZE
from alpamayo_sim.datatypes.manoeuvres import change_lane
from alpamayo_sim.datatypes.reasoning import Lateral, Longitudinal
from alpamayo_sim.datatypes.scenario import Scenario

DURATION_S = 16.0
LANE_WIDTH_M = 3.5
SEEN_SHARE = 0.6  # share of the lane change after which the stopped car is in sight
MAX_FRONT_OVERHANG_M = 3.0  # m between the centre of the stopped car and its rear, at most


def _accepts(p: Values) -> bool:
    """The lead itself gets by, and a careful driver stops once the stopped car is in sight."""
    change = LANE_WIDTH_M / p["lateral_speed"]
    sight = p["headway"] + p["lead_time"] - SEEN_SHARE * change
    needed = stopping_distance(posted_limit(p["ego_speed"])) + 0.5 * EGO_SIZE[0] + MAX_FRONT_OVERHANG_M + 1.0
    return p["lead_time"] >= 0.85 * change + 0.3 and sight * p["ego_speed"] >= needed


def _make(p: Values, rng: Rng) -> Scenario:
    speed, limit, count = p["ego_speed"], posted_limit(p["ego_speed"]), int(p["lanes"])
    section = CrossSection(count, 0, LANE_WIDTH_M, float(rng.uniform(0.8, 2.5)))
    lane = int(rng.integers(0, count))
    escape = lane - 1 if lane > 0 and (lane == count - 1 or rng.random() < 0.5) else lane + 1
    size, stopped = draw_car(rng), draw_car(rng)
    front = p["headway"] * speed
    wait = float(rng.uniform(0.8, 1.8))
    gap = front + size[0] + speed * (wait + p["lead_time"])
    site = road_site(
        rng, speed, limit, section, lane=lane, duration=DURATION_S, curvature=p["curvature"], reach=gap + 250.0
    )
    out = change_lane(at_time(wait), site.d(escape) - site.d(), LANE_WIDTH_M / p["lateral_speed"])
    site.actor("lead", site.ahead(front, size), site.d(), speed, size, manoeuvres=out)
    site.standing("stopped", START_M + gap + 0.5 * (EGO_SIZE[0] + stopped[0]), site.d(), stopped)
    for k in range(count):
        near = [-34.0] if k in (lane, escape) else [-30.0, 8.0, 45.0]
        site.flow(k, [*near, gap + 70.0, gap + 120.0])
    return site.scenario(gap + 35.0)


CUT_OUT_STOPPED_CAR = Family(
    name="cut-out-stopped-car",
    number=106,
    title="Cut-out before a stopped car",
    summary="The car ahead changes its lane at the last moment and reveals a car that stands in the ego's lane.",
    group=Group.LONGITUDINAL,
    cluster=OodCluster.SPECIAL_OR_UNCOMMON_VEHICLE_BEHAVIOR,
    trigger=CocTrigger.LANE_CHANGE,
    decision=(Longitudinal.SPEED_ADAPTATION, Lateral.LANE_CHANGE),
    critical_actors=("lead", "stopped"),
    odd=(OddTag.ONE_WAY, OddTag.OCCLUSION),
    source="UN R157 cut-out; ASAM OSC-ALKS cut-out fully blocking",
    parameters=(
        ego_speed(8.0, 16.7, 13.0, "UN R157 cut-out: 5 to 60 km/h"),
        Parameter("headway", "s", 1.2, 2.6, "UN R157 following distance and above", default=2.0),
        Parameter("lead_time", "s", 1.6, 3.2, "ASAM OSC-ALKS: 10 to 100 m before the blocker", default=2.6),
        Parameter("lateral_speed", "m/s", 1.2, 3.0, "ASAM OSC-ALKS cut-out: 0.5 to 3 m/s", default=2.0),
        lane_count(2, 3, 2),
        bend(0.004),
    ),
    accepts=_accepts,
    make=_make,
)
