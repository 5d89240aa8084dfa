"""Cyclist crossing: a cyclist rides across the road before the ego without stopping."""

from alpamayo_scenarios.actors import CYCLIST
from alpamayo_scenarios.conflicts import travel_time
from alpamayo_scenarios.families.axes import bend, can_stop, crossing_path_length, ego_speed, from_left, lateness
from alpamayo_scenarios.families.family import Family, Parameter, Rng, Values, posted_limit
from alpamayo_scenarios.families.taxonomy import CocTrigger, Group, OddTag, OodCluster
from alpamayo_scenarios.roads import CrossSection
from alpamayo_scenarios.sites import START_M, road_site
from alpamayo_sim.datatypes.reasoning import Lateral, Longitudinal
from alpamayo_sim.datatypes.scenario import Scenario
from alpamayo_sim.datatypes.scene import Category

DURATION_S = 15.0
LANE_WIDTH_M, SHOULDER_M = 3.4, 0.5  # m
PULL_AWAY_MPS2 = 2.0  # m/s²


def _time(p: Values) -> float:
    """Return the time (s) from the start of the cyclist to the middle of the ego's lane."""
    return (
        travel_time(crossing_path_length(p, LANE_WIDTH_M, SHOULDER_M), p["cyclist_speed"], PULL_AWAY_MPS2)
        - p["lateness"]
    )


def _accepts(p: Values) -> bool:
    return can_stop(p["ego_speed"], p["ego_speed"] * _time(p))


def _make(p: Values, rng: Rng) -> Scenario:
    speed, limit = p["ego_speed"], posted_limit(p["ego_speed"])
    distance = speed * (_time(p) + float(rng.uniform(0.8, 2.0)))
    section = CrossSection(1, 1, LANE_WIDTH_M, SHOULDER_M)
    site = road_site(rng, speed, limit, section, curvature=p["curvature"], reach=distance + 170.0)
    place = START_M + distance
    site.crosser(
        "cyclist",
        place,
        p["cyclist_speed"],
        from_left=p["from_left"] > 0,
        category=Category.CYCLIST,
        size=CYCLIST,
        setback=p["setback"],
        acceleration=PULL_AWAY_MPS2,
        lateness=p["lateness"],
    )
    site.clear(place, 4.0, 12.0)
    site.flow(0, [-28.0])
    site.oncoming([distance - 35.0, distance + 8.0 * limit, distance + 11.0 * limit], 0.7 * limit)
    return site.scenario(distance + 25.0)


CYCLIST_CROSSING = Family(
    name="cyclist-crossing",
    number=157,
    title="Crossing cyclist",
    summary="A cyclist comes out of a side way and rides across the road before the ego.",
    group=Group.VULNERABLE,
    cluster=OodCluster.CYCLISTS_AND_MICROMOBILITY_COMPLEX,
    trigger=CocTrigger.YIELD_TO_VRU,
    decision=(Longitudinal.YIELD, Lateral.LANE_KEEPING),
    critical_actors=("cyclist",),
    odd=(OddTag.URBAN, OddTag.TWO_WAY),
    source="Euro NCAP CBNA and CBFA; NHTSA pedalcyclist",
    parameters=(
        ego_speed(5.5, 14.0, 9.5, "Euro NCAP CBNA: 10 to 60 km/h"),
        Parameter("cyclist_speed", "m/s", 3.0, 5.5, "Euro NCAP CBNA: 15 to 20 km/h", default=4.2),
        Parameter("setback", "m", 2.0, 8.0, "distance to the kerb at which the cyclist starts", default=5.0),
        lateness(0.3),
        from_left(),
        bend(0.004),
    ),
    accepts=_accepts,
    make=_make,
)
