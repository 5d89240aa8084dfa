"""Double-parked van on a two-way street: it blocks the ego's lane, and others come the other way."""

from alpamayo_scenarios.actors import DELIVERY_VAN
from alpamayo_scenarios.families.axes import bend, bypass_accepted, ego_speed, oncoming_platoon
from alpamayo_scenarios.families.family import Family, Parameter, Rng, Values, posted_limit
from alpamayo_scenarios.families.taxonomy import CocTrigger, Group, OddTag, OodCluster
from alpamayo_scenarios.obstacles import add_oncoming_platoon
from alpamayo_scenarios.roads import CrossSection
from alpamayo_scenarios.scenery import add_parked_cars
from alpamayo_scenarios.sites import START_M, road_site
from alpamayo_sim.datatypes.reasoning import Lateral, Longitudinal
from alpamayo_sim.datatypes.scenario import Scenario

LENGTH, GOAL_BEYOND_M = 6.0, 20.0  # m of the van, and from its end to the goal

DURATION_S = 20.0


def _accepts(p: Values) -> bool:
    return bypass_accepted(p, LENGTH + GOAL_BEYOND_M, DURATION_S)


def _make(p: Values, rng: Rng) -> Scenario:
    speed, limit, gap = p["ego_speed"], posted_limit(p["ego_speed"]), p["ego_speed"] * p["distance_time"]
    section = CrossSection(1, 1, 3.5, 0.4, 2.2)
    site = road_site(rng, speed, limit, section, duration=DURATION_S, curvature=p["curvature"], reach=gap + 220.0)
    place = site.ahead(gap, DELIVERY_VAN)
    site.standing("van", place, site.d() - p["offset"], DELIVERY_VAN)
    add_parked_cars(site.stage, rng, section.parking_centre, (place - 40.0, place + 40.0), (0.8, 2.5))
    add_oncoming_platoon(site, START_M + gap, p["clear_time"], p["oncoming_speed"], int(p["oncoming_cars"]))
    site.flow(0, [-28.0, gap + 70.0])
    return site.scenario(place + 0.5 * DELIVERY_VAN[0] - START_M + GOAL_BEYOND_M)


DOUBLE_PARKED_TWO_WAY = Family(
    name="double-parked-two-way",
    number=133,
    title="Double-parked van, two-way street",
    summary="A double-parked van blocks the ego's lane of a two-way street while others come the other way.",
    group=Group.OBSTACLE,
    cluster=OodCluster.OTHER_LONGTAIL,
    trigger=CocTrigger.NUDGE,
    decision=(Longitudinal.GAP_SEARCHING, Lateral.OUT_OF_LANE_NUDGE),
    critical_actors=("van",),
    odd=(OddTag.URBAN, OddTag.TWO_WAY, OddTag.PARKING),
    source="CARLA leaderboard 2.0 ParkedObstacleTwoWays; NHTSA bypassing 04",
    parameters=(
        ego_speed(6.0, 12.0, 9.0, "town streets, 20 to 45 km/h"),
        Parameter("distance_time", "s", 3.5, 6.5, "CARLA ParkedObstacle: 40 to 100 m", default=4.5),
        Parameter("offset", "m", 0.3, 0.9, "the van stands to the right in its lane", default=0.6),
        *oncoming_platoon(),
        bend(0.004),
    ),
    accepts=_accepts,
    make=_make,
)
