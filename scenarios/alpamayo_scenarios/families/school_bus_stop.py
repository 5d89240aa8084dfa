"""School bus: a child walks onto the road before a bus that stands at the kerb."""

from alpamayo_scenarios.actors import SCHOOL_BUS
from alpamayo_scenarios.conflicts import travel_time
from alpamayo_scenarios.families.axes import bend, can_stop, ego_speed, lateness
from alpamayo_scenarios.families.family import Family, Parameter, Rng, Values, posted_limit
from alpamayo_scenarios.families.taxonomy import CocTrigger, Group, OddTag, OodCluster
from alpamayo_scenarios.roads import CrossSection
from alpamayo_scenarios.sites import START_M, road_site
from alpamayo_scenarios.stage import CHILD_SIZE
from alpamayo_sim.datatypes.reasoning import Lateral, Longitudinal
from alpamayo_sim.datatypes.scenario import Scenario
from alpamayo_sim.datatypes.scene import Category

DURATION_S = 16.0
BAY_WIDTH_M = 2.7  # m, of the bay that the bus stands in
LANE_WIDTH_M = 3.4
RUN_UP_MPS2 = 2.5  # m/s² with which the child starts
WALKS_OFF_M = 0.7  # m from the front of the bus to the child's path


def _accepts(p: Values) -> bool:
    """The ego is far enough when the child starts, and the bus hides the child until about then."""
    return can_stop(p["ego_speed"], p["ego_speed"] * _time(p))


def _time(p: Values) -> float:
    """Return the time (s) from the start of the child to the middle of the ego's lane."""
    return travel_time(0.5 * BAY_WIDTH_M + 0.4 + 0.5 * LANE_WIDTH_M, p["child_speed"], RUN_UP_MPS2) - 0.2


def _make(p: Values, rng: Rng) -> Scenario:
    speed, limit = p["ego_speed"], posted_limit(p["ego_speed"])
    section = CrossSection(1, 1, LANE_WIDTH_M, 0.4, BAY_WIDTH_M)
    distance = speed * (_time(p) + float(rng.uniform(1.0, 2.5)))
    site = road_site(rng, speed, limit, section, duration=DURATION_S, curvature=p["curvature"], reach=distance + 170.0)
    place = START_M + distance
    bus = place - WALKS_OFF_M - 0.5 * SCHOOL_BUS[0]
    site.standing("bus", bus, section.parking_centre, SCHOOL_BUS, category=Category.BUS)
    site.crosser(
        "child",
        place,
        p["child_speed"],
        size=CHILD_SIZE,
        setback=-0.5 * BAY_WIDTH_M,
        acceleration=RUN_UP_MPS2,
        lateness=p["lateness"],
    )
    for k in range(int(p["waiting"])):
        s, d = place + 3.0 + 1.2 * k, section.parking_centre - float(rng.uniform(0.2, 0.9))
        site.standing(f"waiting-{k}", s, d, CHILD_SIZE, category=Category.PEDESTRIAN)
    site.clear(place)
    site.flow(0, [-28.0])
    site.oncoming([distance + 25.0, distance + 60.0], 0.6 * limit)
    return site.scenario(distance + 25.0)


SCHOOL_BUS_STOP = Family(
    name="school-bus-stop",
    number=139,
    title="Stopped school bus",
    summary="A child walks onto the road in front of a school bus that stands in a bay and hides it.",
    group=Group.OBSTACLE,
    cluster=OodCluster.PEDESTRIAN_DENSITY_OR_CLOSE_PROXIMITY,
    trigger=CocTrigger.YIELD_TO_VRU,
    decision=(Longitudinal.YIELD, Lateral.LANE_KEEPING),
    critical_actors=("child",),
    odd=(OddTag.URBAN, OddTag.TWO_WAY, OddTag.OCCLUSION),
    source="WOD-E2E pedestrians; Euro NCAP CPNCO; NHTSA school bus stops",
    parameters=(
        ego_speed(5.5, 11.0, 8.0, "town streets at a school bus, 20 to 40 km/h"),
        Parameter("child_speed", "m/s", 1.2, 2.0, "Euro NCAP CPNCO: 5 km/h; running a little", default=1.4),
        lateness(0.3),
        Parameter("waiting", "1", 0, 3, "children who wait on the kerb", integer=True, default=1.0),
        bend(0.004),
    ),
    accepts=_accepts,
    make=_make,
)
