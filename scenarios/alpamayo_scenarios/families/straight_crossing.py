"""Straight crossing: a car from the side comes to a junction without signals at speed and does not give way."""

from alpamayo_scenarios.families.axes import can_stop, ego_speed, from_left, lateness
from alpamayo_scenarios.families.family import Family, Parameter, Rng, Values, posted_limit
from alpamayo_scenarios.families.taxonomy import CocTrigger, Group, OddTag, OodCluster
from alpamayo_scenarios.junctions import junction_site
from alpamayo_sim.datatypes.reasoning import Lateral, Longitudinal
from alpamayo_sim.datatypes.scenario import Scenario

DURATION_S = 15.0
GIVING_WAY_MPS2 = 4.0  # at which a driver that gives way brakes at the latest
MIN_CROSSING_PATH_M = 11.0  # m from the stop line to the ego's lane, at least


def _accepts(p: Values) -> bool:
    """A careful driver stops once the car can hardly stop before its line any more."""
    way = p["crossing_speed"] ** 2 / (2.0 * GIVING_WAY_MPS2) + MIN_CROSSING_PATH_M
    seen_before = way / p["crossing_speed"] - p["lateness"]
    return seen_before <= p["arrival_time"] and can_stop(p["ego_speed"], p["ego_speed"] * seen_before)


def _make(p: Values, rng: Rng) -> Scenario:
    speed, limit, time = p["ego_speed"], posted_limit(p["ego_speed"]), p["arrival_time"]
    site = junction_site(rng, speed, time, limit, duration=DURATION_S, crosswalks=False)
    arm, other = ("north", "south") if p["from_left"] else ("south", "north")
    site.stream(arm, [time + p["lateness"]], p["crossing_speed"])
    site.fill(other, "through", [1.5], 0.01)
    return site.scenario(40.0)


STRAIGHT_CROSSING = Family(
    name="straight-crossing",
    number=142,
    title="Straight crossing",
    summary="A car from the side comes to a junction without signals at speed and does not give way to the ego.",
    group=Group.INTERSECTION,
    cluster=OodCluster.COMPLEX_INTERSECTION_INTERACTION,
    trigger=CocTrigger.PASSING_INTERSECTION,
    decision=(Longitudinal.YIELD, Lateral.LANE_KEEPING),
    critical_actors=("stream-*",),
    odd=(OddTag.URBAN, OddTag.JUNCTION),
    source="Euro NCAP car-to-car crossing straight crossing path (CCCscp); NHTSA straight crossing paths",
    parameters=(
        ego_speed(5.5, 14.0, 9.0, "Euro NCAP CCCscp: 20 to 60 km/h"),
        Parameter("crossing_speed", "m/s", 5.5, 14.0, "Euro NCAP CCCscp targets: 20 to 60 km/h", default=9.0),
        Parameter("arrival_time", "s", 4.0, 6.5, "of a steady ego in the junction", default=5.0),
        lateness(0.3),
        from_left(),
    ),
    accepts=_accepts,
    make=_make,
    held_out=True,
)
