"""Adult crossing: a pedestrian steps onto a crosswalk before the ego."""

from alpamayo_scenarios.actors import ADULT
from alpamayo_scenarios.conflicts import travel_time
from alpamayo_scenarios.families.axes import bend, can_stop, crossing_path_length, ego_speed, from_left, lateness
from alpamayo_scenarios.families.family import Family, Parameter, Rng, Values, posted_limit
from alpamayo_scenarios.families.taxonomy import CocTrigger, Group, OddTag, OodCluster
from alpamayo_scenarios.roads import CrossSection
from alpamayo_scenarios.sites import START_M, road_site
from alpamayo_sim.datatypes.reasoning import Lateral, Longitudinal
from alpamayo_sim.datatypes.scenario import Scenario
from alpamayo_sim.datatypes.scene import Category

DURATION_S = 16.0
LANE_WIDTH_M, SHOULDER_M = 3.4, 0.5  # m
STEP_OFF_MPS2 = 2.0


def _time(p: Values) -> float:
    """Return the time (s) from the first step to the middle of the ego's lane."""
    return (
        travel_time(crossing_path_length(p, LANE_WIDTH_M, SHOULDER_M), p["walking_speed"], STEP_OFF_MPS2)
        - p["lateness"]
    )


def _accepts(p: Values) -> bool:
    return can_stop(p["ego_speed"], p["ego_speed"] * _time(p))


def _make(p: Values, rng: Rng) -> Scenario:
    speed, limit = p["ego_speed"], posted_limit(p["ego_speed"])
    distance = speed * (_time(p) + float(rng.uniform(1.0, 2.5)))
    section = CrossSection(1, 1, LANE_WIDTH_M, SHOULDER_M)
    site = road_site(rng, speed, limit, section, duration=DURATION_S, curvature=p["curvature"], reach=distance + 170.0)
    place = START_M + distance
    site.crosswalk(place)
    site.crosser(
        "pedestrian",
        place,
        p["walking_speed"],
        from_left=p["from_left"] > 0,
        setback=p["setback"],
        acceleration=STEP_OFF_MPS2,
        lateness=p["lateness"],
    )
    for k in range(int(p["bystanders"])):
        s, d = place + 3.5 + 1.5 * k, section.right_kerb - float(rng.uniform(0.8, 2.0))
        site.standing(f"bystander-{k}", s, d, ADULT, category=Category.PEDESTRIAN)
    site.clear(place, 12.0)
    site.flow(0, [-28.0])
    # Oncoming cars are past the crosswalk before the pedestrian, or reach it well after.
    site.oncoming([distance - 35.0, distance + 8.0 * limit, distance + 11.0 * limit], 0.7 * limit)
    return site.scenario(distance + 25.0)


ADULT_CROSSING = Family(
    name="adult-crossing",
    number=153,
    title="Adult on a crosswalk",
    summary="A pedestrian steps onto a crosswalk from either side and walks across before the ego.",
    group=Group.VULNERABLE,
    cluster=OodCluster.PEDESTRIAN_DENSITY_OR_CLOSE_PROXIMITY,
    trigger=CocTrigger.YIELD_TO_VRU,
    decision=(Longitudinal.YIELD, Lateral.LANE_KEEPING),
    critical_actors=("pedestrian",),
    odd=(OddTag.URBAN, OddTag.TWO_WAY, OddTag.CROSSWALK),
    source="Euro NCAP CPFA and CPNA; NHTSA pedestrian",
    parameters=(
        ego_speed(5.0, 13.8, 9.5, "Euro NCAP CPFA and CPNA: 10 to 60 km/h"),
        Parameter("walking_speed", "m/s", 1.2, 2.3, "Euro NCAP: 5 and 8 km/h", default=1.4),
        Parameter("setback", "m", 0.4, 2.0, "distance to the kerb at which the pedestrian stands", default=0.8),
        lateness(0.4),
        from_left(),
        Parameter("bystanders", "1", 0, 3, "people who wait and do not cross", integer=True, default=1.0),
        bend(0.005),
    ),
    accepts=_accepts,
    make=_make,
)
