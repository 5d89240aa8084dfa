"""Pedestrian at a turn: one crosses the arm that the ego turns into."""

from alpamayo_scenarios.actors import ADULT
from alpamayo_scenarios.conflicts import add_conflict, travel_time
from alpamayo_scenarios.families.axes import can_stop, ego_speed, lateness
from alpamayo_scenarios.families.family import Family, Parameter, Rng, Values, posted_limit
from alpamayo_scenarios.families.taxonomy import CocTrigger, Group, OddTag, OodCluster
from alpamayo_scenarios.junctions import junction_site
from alpamayo_sim.datatypes.reasoning import Lateral, Longitudinal
from alpamayo_sim.datatypes.scenario import Scenario
from alpamayo_sim.datatypes.scene import Category

DURATION_S = 17.0
PULL_AWAY_MPS2 = 2.0  # m/s²
MIN_WALK_M = 3.0  # m from the kerb to the ego's path, at least


def _accepts(p: Values) -> bool:
    time = travel_time(MIN_WALK_M + p["setback"], p["walking_speed"], PULL_AWAY_MPS2) - p["lateness"]
    return can_stop(p["ego_speed"], p["ego_speed"] * time)


def _make(p: Values, rng: Rng) -> Scenario:
    speed, limit, left = p["ego_speed"], posted_limit(p["ego_speed"]), p["left_turn"] > 0
    turn, arm = ("left", "north") if left else ("right", "south")
    site = junction_site(rng, speed, float(rng.uniform(4.0, 6.0)), limit, turn=turn, duration=DURATION_S)
    path = site.across(arm, left, p["setback"])
    add_conflict(
        site.stage,
        site.route.path,
        "pedestrian",
        Category.PEDESTRIAN,
        ADULT,
        path,
        p["walking_speed"],
        acceleration=PULL_AWAY_MPS2,
        lateness=p["lateness"],
    )
    site.clear(path)
    site.fill(arm, "through", [1.5], 0.01)
    return site.scenario(35.0)


TURN_INTO_PEDESTRIAN = Family(
    name="turn-into-pedestrian",
    number=156,
    title="Pedestrian at a turn",
    summary="A pedestrian crosses the road that the ego turns into.",
    group=Group.VULNERABLE,
    cluster=OodCluster.PEDESTRIAN_DENSITY_OR_CLOSE_PROXIMITY,
    trigger=CocTrigger.YIELD_TO_VRU,
    decision=(Longitudinal.YIELD, Lateral.TURN),
    critical_actors=("pedestrian",),
    odd=(OddTag.URBAN, OddTag.JUNCTION, OddTag.CROSSWALK),
    source="Euro NCAP CPTA; CARLA leaderboard 2.0 VehicleTurningRoutePedestrian",
    parameters=(
        ego_speed(3.5, 7.0, 5.5, "Euro NCAP CPTA: 10 to 20 km/h"),
        Parameter("walking_speed", "m/s", 1.0, 2.2, "Euro NCAP CPTA: 5 km/h and above", default=1.4),
        Parameter("setback", "m", 0.5, 2.5, "distance to the kerb at which the pedestrian stands", default=1.0),
        Parameter("left_turn", "1", 0, 1, "the ego turns right (0) or left (1)", integer=True, default=0.0),
        lateness(0.4),
    ),
    accepts=_accepts,
    make=_make,
)
