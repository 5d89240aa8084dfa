"""Animal: a deer runs across a rural road."""

from alpamayo_scenarios.actors import DEER
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
START_UP_MPS2 = 4.0  # m/s² with which it starts
LANE_WIDTH_M, SHOULDER_M = 3.5, 0.8  # m


def _accepts(p: Values) -> bool:
    time = (
        travel_time(crossing_path_length(p, LANE_WIDTH_M, SHOULDER_M), p["animal_speed"], START_UP_MPS2) - p["lateness"]
    )
    return can_stop(p["ego_speed"], p["ego_speed"] * time)


def _make(p: Values, rng: Rng) -> Scenario:
    speed, limit = p["ego_speed"], posted_limit(p["ego_speed"])
    section = CrossSection(1, 1, LANE_WIDTH_M, SHOULDER_M)
    time = travel_time(crossing_path_length(p, LANE_WIDTH_M, SHOULDER_M), p["animal_speed"], START_UP_MPS2)
    distance = speed * (time + float(rng.uniform(1.0, 3.0)))
    site = road_site(rng, speed, limit, section, curvature=p["curvature"], reach=distance + 180.0)
    place = START_M + distance
    site.crosser(
        "deer",
        place,
        p["animal_speed"],
        from_left=p["from_left"] > 0,
        category=Category.ANIMAL,
        size=DEER,
        setback=p["setback"],
        acceleration=START_UP_MPS2,
        lateness=p["lateness"],
    )
    site.clear(place, 4.0, 14.0)
    site.flow(0, [-32.0])
    site.oncoming([distance + 2.0 * limit * time + 40.0, distance + 2.0 * limit * time + 90.0], 0.8 * limit)
    return site.scenario(distance + 30.0)


ANIMAL = Family(
    name="animal",
    number=140,
    title="Animal on the road",
    summary="A deer at the side of a rural road runs across it before the ego.",
    group=Group.OBSTACLE,
    cluster=OodCluster.ANIMALS_BIRDS_ROADKILL,
    trigger=CocTrigger.RISKY_DRIVING,
    decision=(Longitudinal.YIELD, Lateral.LANE_KEEPING),
    critical_actors=("deer",),
    odd=(OddTag.RURAL, OddTag.TWO_WAY),
    source="NHTSA pre-crash typology, animal; Waymo WOD-E2E special mission and animals",
    parameters=(
        ego_speed(10.0, 20.0, 15.0, "rural roads, 35 to 70 km/h"),
        Parameter("animal_speed", "m/s", 3.0, 8.0, "trotting to galloping roe deer", default=3.9),
        Parameter("setback", "m", 0.5, 8.0, "distance to the kerb at which it stands", default=5.5),
        lateness(0.3),
        from_left(),
        bend(0.004),
    ),
    accepts=_accepts,
    make=_make,
)
