"""Parking pull-out: one of a row of parked cars leaves its place before the ego."""

from alpamayo_scenarios.behaviours import at_arrival, pull_out
from alpamayo_scenarios.families.axes import bend, can_stop, ego_speed
from alpamayo_scenarios.families.family import Family, Parameter, Rng, Values, posted_limit
from alpamayo_scenarios.families.taxonomy import CocTrigger, Group, OddTag, OodCluster
from alpamayo_scenarios.roads import CrossSection
from alpamayo_scenarios.scenery import add_parked_cars
from alpamayo_scenarios.sites import START_M, road_site
from alpamayo_sim.datatypes.reasoning import Lateral, Longitudinal
from alpamayo_sim.datatypes.scenario import Scenario

DURATION_S = 16.0
PARKING_WIDTH_M = 2.3  # m


def _accepts(p: Values) -> bool:
    """A careful driver stops before the place that the car comes out of."""
    return can_stop(p["ego_speed"], p["ego_speed"] * p["arrival_time"] - 3.0)


def _make(p: Values, rng: Rng) -> Scenario:
    speed, limit = p["ego_speed"], posted_limit(p["ego_speed"])
    section = CrossSection(1, 1, 3.4, 0.5, PARKING_WIDTH_M)
    distance = speed * (p["arrival_time"] + float(rng.uniform(0.5, 2.0)))
    site = road_site(rng, speed, limit, section, duration=DURATION_S, curvature=p["curvature"], reach=distance + 170.0)
    place, d = START_M + distance, section.parking_centre
    starts = at_arrival(p["arrival_time"], site.point(place))
    leaves = pull_out(starts, site.d() - d, p["change_time"], p["final_speed"], p["acceleration"])
    site.actor("pull-out", place, d, 0.0, manoeuvres=leaves)
    add_parked_cars(site.stage, rng, d, (place - 50.0, place - 5.0), (0.8, 2.5))
    add_parked_cars(site.stage, rng, d, (place + 9.0, place + 40.0), (0.8, 2.5))
    site.oncoming([k * 1.8 * limit for k in range(1, 9)], 0.8 * limit)
    site.flow(0, [-28.0])
    return site.scenario(distance + 3.0 * p["final_speed"])


PARKING_PULL_OUT = Family(
    name="parking-pull-out",
    number=117,
    title="Parking pull-out",
    summary="One of a row of parked cars pulls out into the ego's lane of a town street.",
    group=Group.LATERAL,
    cluster=OodCluster.SPECIAL_OR_UNCOMMON_VEHICLE_BEHAVIOR,
    trigger=CocTrigger.CUT_IN,
    decision=(Longitudinal.YIELD, Lateral.LANE_KEEPING),
    critical_actors=("pull-out",),
    odd=(OddTag.URBAN, OddTag.TWO_WAY, OddTag.PARKING),
    source="CARLA leaderboard 2.0 ParkingCutIn",
    parameters=(
        ego_speed(6.0, 13.8, 9.5, "town streets, 20 to 50 km/h"),
        Parameter("arrival_time", "s", 2.2, 4.5, "time of the ego to the place when the car starts", default=3.2),
        Parameter("change_time", "s", 1.5, 3.0, "time to leave a parallel place", default=2.2),
        Parameter("final_speed", "m/s", 3.0, 7.0, "speed that it reaches", default=5.0),
        Parameter("acceleration", "m/s²", 1.0, 2.0, "passenger cars pulling away", default=1.5),
        bend(0.006),
    ),
    accepts=_accepts,
    make=_make,
)
