"""Dark signals: the lights of a junction are off, and a car from the side drives on."""

from alpamayo_scenarios.conflicts import add_conflict, travel_time
from alpamayo_scenarios.families.axes import can_stop, ego_speed, from_left, lane_count, lateness
from alpamayo_scenarios.families.family import Family, Parameter, Rng, Values, posted_limit
from alpamayo_scenarios.families.taxonomy import CocTrigger, Group, OddTag, OodCluster
from alpamayo_scenarios.intersections import Phase
from alpamayo_scenarios.junctions import junction_site
from alpamayo_scenarios.scenery import draw_car
from alpamayo_sim.datatypes.reasoning import Lateral, Longitudinal
from alpamayo_sim.datatypes.scenario import Scenario
from alpamayo_sim.datatypes.scene import Category, SignalState

DURATION_S = 15.0
STANDS_BACK_M = 9.0  # m before its stop line where the car starts
MIN_CROSSING_PATH_M = 13.0  # m from the stop line to the ego's lane, at least
PULL_AWAY_MPS2 = 2.5  # m/s²


def _accepts(p: Values) -> bool:
    """A careful driver stops once the car starts."""
    time = travel_time(STANDS_BACK_M + MIN_CROSSING_PATH_M, p["crossing_speed"], PULL_AWAY_MPS2) - p["lateness"]
    return can_stop(p["ego_speed"], p["ego_speed"] * time)


def _make(p: Values, rng: Rng) -> Scenario:
    speed, limit = p["ego_speed"], posted_limit(p["ego_speed"])
    count = int(p["lanes"])
    site = junction_site(
        rng, speed, float(rng.uniform(5.0, 7.0)), limit, lane=count - 1, count=count, duration=DURATION_S
    )
    arm = "north" if p["from_left"] else "south"
    add_conflict(
        site.stage,
        site.route.path,
        "crossing",
        Category.VEHICLE,
        draw_car(rng),
        site.path(arm, "through", STANDS_BACK_M),
        p["crossing_speed"],
        acceleration=PULL_AWAY_MPS2,
        lateness=p["lateness"],
    )
    other = "south" if p["from_left"] else "north"
    site.fill(other, "through", [1.5], 0.01)
    off = (Phase(SignalState.OFF, 60.0),)
    signals = site.crossing.signals(off, off, site.stage.steps)
    return site.scenario(40.0, signals=signals)


DARK_SIGNALS = Family(
    name="dark-signals",
    number=151,
    title="Dark signals",
    summary="The traffic lights of a junction are out, and a car from the side drives on without giving way.",
    group=Group.INTERSECTION,
    cluster=OodCluster.COMPLEX_INTERSECTION_INTERACTION,
    trigger=CocTrigger.PASSING_INTERSECTION,
    decision=(Longitudinal.YIELD, Lateral.LANE_KEEPING),
    critical_actors=("crossing",),
    odd=(OddTag.URBAN, OddTag.JUNCTION, OddTag.SIGNALS),
    source="Waymo WOD-E2E intersections; CARLA leaderboard 2.0 without signal control",
    parameters=(
        ego_speed(6.0, 14.0, 10.0, "town streets, 20 to 50 km/h"),
        Parameter("crossing_speed", "m/s", 5.0, 10.0, "Euro NCAP CCCscp targets: 20 to 60 km/h", default=7.0),
        lateness(0.4),
        from_left(),
        lane_count(1, 2, 1, "lanes each way"),
    ),
    accepts=_accepts,
    make=_make,
    held_out=True,
)
