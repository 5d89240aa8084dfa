"""Left turn across the path: an oncoming car turns left before the ego."""

from alpamayo_scenarios.conflicts import add_conflict, travel_time
from alpamayo_scenarios.families.axes import can_stop, ego_speed, lane_count, lateness
from alpamayo_scenarios.families.family import Family, Parameter, Rng, Values, posted_limit
from alpamayo_scenarios.families.taxonomy import CocTrigger, Group, OddTag, OodCluster
from alpamayo_scenarios.junctions import GREEN_FOR_EGO, RED_FOR_OTHERS, junction_site
from alpamayo_scenarios.scenery import draw_car
from alpamayo_sim.datatypes.reasoning import Lateral, Longitudinal
from alpamayo_sim.datatypes.scenario import Scenario
from alpamayo_sim.datatypes.scene import Category

DURATION_S = 15.0
MIN_CROSSING_PATH_M = 14.0  # m from where the car waits to the ego's lane, at least
PULL_AWAY_MPS2 = 2.5  # m/s²


def _accepts(p: Values) -> bool:
    """A careful driver stops once the car starts to turn."""
    time = travel_time(MIN_CROSSING_PATH_M, p["turning_speed"], PULL_AWAY_MPS2) - p["lateness"]
    return can_stop(p["ego_speed"], p["ego_speed"] * time)


def _make(p: Values, rng: Rng) -> Scenario:
    speed, limit = p["ego_speed"], posted_limit(p["ego_speed"])
    count = int(p["lanes"])
    site = junction_site(
        rng, speed, float(rng.uniform(4.5, 6.5)), limit, lane=count - 1, count=count, duration=DURATION_S
    )
    turning = site.path("east", "left", 1.0)
    add_conflict(
        site.stage,
        site.route.path,
        "turning",
        Category.VEHICLE,
        draw_car(rng),
        turning,
        p["turning_speed"],
        acceleration=PULL_AWAY_MPS2,
        lateness=p["lateness"],
    )
    site.fill("east", "left", [9.0], 0.5)
    signals = site.crossing.signals(GREEN_FOR_EGO, RED_FOR_OTHERS, site.stage.steps)
    site.fill("south", "through", [1.0 + float(rng.uniform(0.0, 1.0))], 0.01)
    return site.scenario(40.0, signals=signals)


LEFT_TURN_ACROSS_PATH = Family(
    name="left-turn-across-path",
    number=141,
    title="Left turn across the path",
    summary="An oncoming car that waits to turn left starts before the ego, which has a green light.",
    group=Group.INTERSECTION,
    cluster=OodCluster.COMPLEX_INTERSECTION_INTERACTION,
    trigger=CocTrigger.RISKY_DRIVING,
    decision=(Longitudinal.YIELD, Lateral.LANE_KEEPING),
    critical_actors=("turning",),
    odd=(OddTag.URBAN, OddTag.JUNCTION, OddTag.SIGNALS),
    source="NHTSA left turn across path, opposite direction; Euro NCAP CCFtap",
    parameters=(
        ego_speed(5.0, 14.0, 9.5, "Euro NCAP CCFtap: 10 to 20 km/h turning, 30 to 55 km/h going straight"),
        Parameter("turning_speed", "m/s", 3.5, 7.0, "Euro NCAP CCFtap: 10 to 20 km/h and above", default=5.0),
        lateness(0.4),
        lane_count(1, 2, 1, "lanes each way"),
    ),
    accepts=_accepts,
    make=_make,
)
