"""Double-parked van: it blocks the ego's lane of a street with several lanes."""

from alpamayo_scenarios.actors import ADULT, DELIVERY_VAN
from alpamayo_scenarios.families.axes import bend, can_stop, ego_speed
from alpamayo_scenarios.families.family import Family, Parameter, Rng, Values, posted_limit
from alpamayo_scenarios.families.taxonomy import CocTrigger, Group, OddTag, OodCluster
from alpamayo_scenarios.roads import CrossSection
from alpamayo_scenarios.scenery import add_parked_cars
from alpamayo_scenarios.sites import road_site
from alpamayo_sim.datatypes.reasoning import Lateral, Longitudinal
from alpamayo_sim.datatypes.scenario import Scenario
from alpamayo_sim.datatypes.scene import Category

DURATION_S = 16.0


def _accepts(p: Values) -> bool:
    return can_stop(p["ego_speed"], p["ego_speed"] * p["distance_time"] - 5.0)


def _make(p: Values, rng: Rng) -> Scenario:
    speed, limit, gap = p["ego_speed"], posted_limit(p["ego_speed"]), p["ego_speed"] * p["distance_time"]
    section = CrossSection(2, int(rng.choice([0, 2])), 3.4, 0.4, 2.2)
    site = road_site(
        rng, speed, limit, section, lane=1, duration=DURATION_S, curvature=p["curvature"], reach=gap + 220.0
    )
    place = site.ahead(gap, DELIVERY_VAN)
    site.standing("van", place, site.d() - p["offset"], DELIVERY_VAN)
    driver = place - 0.5 * DELIVERY_VAN[0] - 0.8
    site.standing("courier", driver, site.d() - p["offset"], ADULT, category=Category.PEDESTRIAN)
    add_parked_cars(site.stage, rng, section.parking_centre, (place - 40.0, place + 40.0), (0.8, 2.5))
    site.flow(0, [-8.0 - p["flow_gap"], -8.0, gap + 45.0], speed)
    site.flow(1, [-30.0])
    site.oncoming([80.0, 140.0, 200.0])
    return site.scenario(gap + 35.0)


DOUBLE_PARKED = Family(
    name="double-parked",
    number=132,
    title="Double-parked van",
    summary="A double-parked van and its courier block the ego's lane; the other lane has traffic with gaps.",
    group=Group.OBSTACLE,
    cluster=OodCluster.OTHER_LONGTAIL,
    trigger=CocTrigger.LANE_CHANGE,
    decision=(Longitudinal.SPEED_ADAPTATION, Lateral.LANE_CHANGE),
    critical_actors=("van", "courier"),
    odd=(OddTag.URBAN, OddTag.PARKING),
    source="CARLA leaderboard 2.0 ParkedObstacle; NHTSA bypassing 01",
    parameters=(
        ego_speed(7.0, 13.8, 10.0, "town streets, 25 to 50 km/h"),
        Parameter("distance_time", "s", 4.0, 7.0, "CARLA ParkedObstacle: 40 to 100 m", default=5.0),
        Parameter("offset", "m", 0.0, 0.7, "the van stands to the right in its lane", default=0.4),
        Parameter("flow_gap", "m", 26.0, 45.0, "CARLA flows: gaps of 10 to 110 m", default=32.0),
        bend(0.004),
    ),
    accepts=_accepts,
    make=_make,
)
