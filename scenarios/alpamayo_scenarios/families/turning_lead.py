"""Turning lead: the car ahead turns right, stops for a pedestrian, and its rear stays in the ego's lane."""

from alpamayo_scenarios.actors import ADULT
from alpamayo_scenarios.behaviours import at_time
from alpamayo_scenarios.conflicts import add_on_path
from alpamayo_scenarios.families.axes import ego_speed
from alpamayo_scenarios.families.family import Family, Parameter, Rng, Values, posted_limit, stopping_distance
from alpamayo_scenarios.families.taxonomy import CocTrigger, Group, OddTag, OodCluster
from alpamayo_scenarios.junctions import junction_site
from alpamayo_scenarios.scenery import draw_car
from alpamayo_scenarios.stage import EGO_SIZE
from alpamayo_sim.datatypes.manoeuvres import stop
from alpamayo_sim.datatypes.reasoning import Lateral, Longitudinal
from alpamayo_sim.datatypes.scenario import Scenario
from alpamayo_sim.datatypes.scene import Category

DURATION_S = 20.0
INTO_TURN_M = 5.5  # from the stop line to the centre of the car where it waits
TURNING_SPEED_MPS = 5.0
CAR_M = 4.5


def _accepts(p: Values) -> bool:
    """A careful driver can stop behind the car when it brakes."""
    room = p["gap"] + _braking(p) - 1.0
    return room >= stopping_distance(p["ego_speed"]) - 2.0 and p["lead_speed"] <= p["ego_speed"]


def _braking(p: Values) -> float:
    """Return the braking distance (m) of the car ahead."""
    return float(p["lead_speed"] ** 2 / (2.0 * p["deceleration"]))


def _make(p: Values, rng: Rng) -> Scenario:
    speed, lead, limit = p["ego_speed"], p["lead_speed"], posted_limit(p["ego_speed"])
    size = draw_car(rng)
    site = junction_site(rng, speed, float(rng.uniform(5.5, 7.0)), limit, duration=DURATION_S)
    line = site.before - site.crossing.box
    before = line - p["gap"] - 0.5 * (EGO_SIZE[0] + size[0])
    path = site.path("west", "right", before)
    wait = max((before + INTO_TURN_M - _braking(p)) / lead, 0.1)
    waiting = stop(at_time(wait), p["deceleration"], lead / p["deceleration"] + p["hold"], TURNING_SPEED_MPS)
    add_on_path(site.stage, "turning", Category.VEHICLE, size, path, lead, manoeuvres=waiting)
    across = site.across("south", True, 0.8)
    add_on_path(site.stage, "pedestrian", Category.PEDESTRIAN, ADULT, across, 1.2)
    site.clear(across)
    return site.scenario(20.0)


TURNING_LEAD = Family(
    name="turning-lead",
    number=148,
    title="Turning lead stops for a pedestrian",
    summary="The car ahead turns right and stops for a pedestrian, and its rear stays in the ego's lane.",
    group=Group.INTERSECTION,
    cluster=OodCluster.COMPLEX_INTERSECTION_INTERACTION,
    trigger=CocTrigger.STOP_FOR_LEAD,
    decision=(Longitudinal.STOP_STATIC, Lateral.LANE_KEEPING),
    critical_actors=("turning",),
    odd=(OddTag.URBAN, OddTag.JUNCTION, OddTag.CROSSWALK),
    source="CARLA leaderboard 2.0 VehicleTurningRoutePedestrian, seen from behind; NHTSA lead vehicle turning",
    parameters=(
        ego_speed(6.0, 12.0, 9.0, "urban junctions, 20 to 45 km/h"),
        Parameter("lead_speed", "m/s", 5.0, 10.0, "the car slows for its turn", default=7.5),
        Parameter("gap", "m", 8.0, 25.0, "bumper gap at the start", default=14.0),
        Parameter("deceleration", "m/s²", 3.0, 6.0, "Euro NCAP CCRb: 2 to 6 m/s²", default=4.0),
        Parameter("hold", "s", 3.5, 6.0, "the pedestrian takes this long", default=4.5),
    ),
    accepts=_accepts,
    make=_make,
)
