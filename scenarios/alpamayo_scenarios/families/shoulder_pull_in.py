"""Shoulder pull-in: a car that stands on the hard shoulder pulls into the ego's lane."""

from alpamayo_scenarios.behaviours import at_arrival, pull_out
from alpamayo_scenarios.families.axes import bend, can_stop, ego_speed
from alpamayo_scenarios.families.family import Family, Parameter, Rng, Values, posted_limit
from alpamayo_scenarios.families.taxonomy import CocTrigger, Group, OddTag, OodCluster
from alpamayo_scenarios.roads import CrossSection
from alpamayo_scenarios.sites import START_M, road_site
from alpamayo_sim.datatypes.reasoning import Lateral, Longitudinal
from alpamayo_sim.datatypes.scenario import Scenario

DURATION_S = 18.0
SHOULDER_M = 2.8  # m


def _contact(p: Values) -> float:
    """Return the seconds from the start of the car until a steady ego runs into it."""
    lead = p["ego_speed"] * p["arrival_time"] - p["final_speed"] ** 2 / (2.0 * p["acceleration"])
    return lead / (p["ego_speed"] - p["final_speed"])


def _accepts(p: Values) -> bool:
    """A careful driver stops before the place that the car comes out of; a steady one finds it in the lane."""
    slow_enough = p["final_speed"] <= 0.6 * p["ego_speed"]
    moved = slow_enough and 0.8 * p["change_time"] <= _contact(p) <= 8.0
    return moved and can_stop(p["ego_speed"], p["ego_speed"] * p["arrival_time"] - 3.0)


def _make(p: Values, rng: Rng) -> Scenario:
    speed, limit = p["ego_speed"], posted_limit(p["ego_speed"])
    section = CrossSection(2, 0, 3.6, SHOULDER_M)
    wait = float(rng.uniform(0.8, 2.0))
    distance, goal = speed * (p["arrival_time"] + wait), speed * (wait + abs(_contact(p))) + 8.0
    reach = max(distance, goal) + 190.0
    site = road_site(rng, speed, limit, section, lane=1, duration=DURATION_S, curvature=p["curvature"], reach=reach)
    place, d = START_M + distance, section.right_edge - 0.5 * SHOULDER_M
    starts = at_arrival(p["arrival_time"], site.point(place))
    leaves = pull_out(starts, site.d() - d, p["change_time"], p["final_speed"], p["acceleration"])
    site.actor("pull-in", place, d, 0.0, manoeuvres=leaves)
    site.flow(0, [-22.0, 6.0, 36.0, 66.0])
    site.flow(1, [-32.0])
    return site.scenario(goal)


SHOULDER_PULL_IN = Family(
    name="shoulder-pull-in",
    number=116,
    title="Pull-in from the shoulder",
    summary="A car that stands on the hard shoulder pulls slowly into the ego's lane.",
    group=Group.LATERAL,
    cluster=OodCluster.SPECIAL_OR_UNCOMMON_VEHICLE_BEHAVIOR,
    trigger=CocTrigger.CUT_IN,
    decision=(Longitudinal.YIELD, Lateral.LANE_KEEPING),
    critical_actors=("pull-in",),
    odd=(OddTag.MOTORWAY, OddTag.ONE_WAY),
    source="CARLA leaderboard 2.0 StaticCutIn",
    parameters=(
        ego_speed(10.0, 22.0, 16.0, "CARLA leaderboard 2.0 motorway routes"),
        Parameter("arrival_time", "s", 2.4, 5.0, "CARLA StaticCutIn: 40 to 170 m", default=4.0),
        Parameter("change_time", "s", 1.5, 3.5, "duration of a lane change", default=2.5),
        Parameter("final_speed", "m/s", 4.0, 9.0, "speed that it reaches", default=6.0),
        Parameter("acceleration", "m/s²", 1.0, 2.5, "passenger cars pulling away", default=1.8),
        bend(0.003),
    ),
    accepts=_accepts,
    make=_make,
)
