"""Priority violation: a car from the side starts from its stop line before the ego."""

from alpamayo_scenarios.conflicts import add_conflict, travel_time
from alpamayo_scenarios.families.axes import can_stop, ego_speed, from_left, lateness
from alpamayo_scenarios.families.family import Family, Parameter, Rng, Values, posted_limit
from alpamayo_scenarios.families.taxonomy import CocTrigger, Group, OddTag, OodCluster
from alpamayo_scenarios.junctions import junction_site
from alpamayo_scenarios.scenery import draw_car
from alpamayo_sim.datatypes.reasoning import Lateral, Longitudinal
from alpamayo_sim.datatypes.scenario import Scenario
from alpamayo_sim.datatypes.scene import Category

DURATION_S = 15.0
MIN_CROSSING_PATH_M = 12.0  # m from where the car waits to the ego's lane, at least


def _accepts(p: Values) -> bool:
    """A careful driver stops once the car starts, and half a second later where it is hidden."""
    time = travel_time(MIN_CROSSING_PATH_M, p["crossing_speed"], p["pull_away"]) - p["lateness"]
    return can_stop(p["ego_speed"], p["ego_speed"] * time)


def _make(p: Values, rng: Rng) -> Scenario:
    speed, limit = p["ego_speed"], posted_limit(p["ego_speed"])
    arm, turn, missing = ("north" if p["from_left"] else "south"), "through", None
    site = junction_site(
        rng, speed, float(rng.uniform(4.5, 6.5)), limit, duration=DURATION_S, without=missing, crosswalks=False
    )
    add_conflict(
        site.stage,
        site.route.path,
        "crossing",
        Category.VEHICLE,
        draw_car(rng),
        site.path(arm, turn, 2.5),
        p["crossing_speed"],
        acceleration=p["pull_away"],
        lateness=p["lateness"],
    )
    site.fill("south" if p["from_left"] else "north", "through", [1.5], 0.01)
    return site.scenario(40.0)


STOP_SIGN_VIOLATION = Family(
    name="stop-sign-violation",
    number=146,
    title="Priority violation",
    summary="A car that waits at a stop sign of the side road starts before the ego, which has the right of way.",
    group=Group.INTERSECTION,
    cluster=OodCluster.COMPLEX_INTERSECTION_INTERACTION,
    trigger=CocTrigger.RISKY_DRIVING,
    decision=(Longitudinal.YIELD, Lateral.LANE_KEEPING),
    critical_actors=("crossing",),
    odd=(OddTag.URBAN, OddTag.JUNCTION),
    source="CARLA leaderboard 2.0 PriorityAtJunction; NHTSA straight crossing paths",
    parameters=(
        ego_speed(5.5, 14.0, 10.0, "Euro NCAP CCCscp: 20 to 60 km/h"),
        Parameter("crossing_speed", "m/s", 4.0, 8.0, "Euro NCAP CCCscp targets: 20 km/h and above", default=5.5),
        Parameter("pull_away", "m/s²", 1.5, 3.0, "passenger cars pulling away", default=2.0),
        lateness(0.4),
        from_left(),
    ),
    accepts=_accepts,
    make=_make,
)
