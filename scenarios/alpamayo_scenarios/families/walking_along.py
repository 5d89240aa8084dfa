"""Walking along: a pedestrian walks at the edge of the ego's lane on a road without a footway."""

from alpamayo_scenarios.actors import ADULT
from alpamayo_scenarios.families.axes import bend, can_stop, ego_speed
from alpamayo_scenarios.families.family import Family, Parameter, Rng, Values, posted_limit
from alpamayo_scenarios.families.taxonomy import CocTrigger, Group, OddTag, OodCluster
from alpamayo_scenarios.roads import CrossSection
from alpamayo_scenarios.sites import START_M, road_site
from alpamayo_sim.datatypes.reasoning import Lateral, Longitudinal
from alpamayo_sim.datatypes.scenario import Scenario
from alpamayo_sim.datatypes.scene import Category, Environment

DURATION_S = 18.0


def _accepts(p: Values) -> bool:
    return can_stop(p["ego_speed"], p["ego_speed"] * p["distance_time"])


def _make(p: Values, rng: Rng) -> Scenario:
    speed, limit = p["ego_speed"], posted_limit(p["ego_speed"])
    section = CrossSection(1, 1, 3.4, 0.4)
    distance = speed * p["distance_time"]
    site = road_site(rng, speed, limit, section, duration=DURATION_S, curvature=p["curvature"], reach=distance + 200.0)
    d = site.d() - p["offset"]
    for k in range(int(p["people"])):
        site.actor(
            f"pedestrian-{k}",
            START_M + distance + 1.4 * k,
            d - 0.1 * k,
            p["walking_speed"],
            ADULT,
            category=Category.PEDESTRIAN,
        )
    site.oncoming([k * p["oncoming_gap"] + 20.0 for k in range(1, 6)], 0.8 * limit)
    site.flow(0, [-32.0])
    light = Environment(sun_elevation=-0.25 if p["night"] else 0.7)
    return site.scenario(distance + 40.0, environment=light)


WALKING_ALONG = Family(
    name="walking-along",
    number=155,
    title="Pedestrian along the road",
    summary="People walk along the edge of the ego's lane on a rural road without a footway, by day or at night.",
    group=Group.VULNERABLE,
    cluster=OodCluster.PEDESTRIAN_DENSITY_OR_CLOSE_PROXIMITY,
    trigger=CocTrigger.NUDGE,
    decision=(Longitudinal.PASSING, Lateral.OUT_OF_LANE_NUDGE),
    critical_actors=("pedestrian-*",),
    odd=(OddTag.RURAL, OddTag.TWO_WAY, OddTag.NIGHT),
    source="Euro NCAP CPLA: 20 to 80 km/h, by day and at night",
    parameters=(
        ego_speed(6.0, 16.0, 11.0, "Euro NCAP CPLA: 20 to 80 km/h"),
        Parameter("distance_time", "s", 3.5, 7.0, "time to the pedestrian at the start", default=5.0),
        Parameter("walking_speed", "m/s", 1.0, 2.0, "Euro NCAP CPLA: 5 km/h", default=1.4),
        Parameter("offset", "m", 0.95, 1.2, "Euro NCAP CPLA: overlap of up to 25 %", default=1.1),
        Parameter("people", "1", 1, 3, "one, or a small group", integer=True, default=1.0),
        Parameter("night", "1", 0, 1, "by day (0) or at night (1)", integer=True, default=0.0),
        Parameter("oncoming_gap", "m", 90.0, 180.0, "light oncoming traffic", default=120.0),
        bend(0.004),
    ),
    accepts=_accepts,
    make=_make,
)
