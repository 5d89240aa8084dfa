"""Jaywalker: a pedestrian walks onto the road from behind something that hides them."""

from alpamayo_scenarios.conflicts import travel_time
from alpamayo_scenarios.families.axes import bend, can_stop, ego_speed, lane_count, lateness
from alpamayo_scenarios.families.family import Family, Parameter, Rng, Values, posted_limit
from alpamayo_scenarios.families.taxonomy import CocTrigger, Group, OddTag, OodCluster
from alpamayo_scenarios.roads import CrossSection
from alpamayo_scenarios.sites import START_M, road_site
from alpamayo_sim.datatypes.reasoning import Lateral, Longitudinal
from alpamayo_sim.datatypes.scenario import Scenario
from alpamayo_sim.datatypes.scene import Category

DURATION_S = 16.0
LANE_WIDTH_M, SHOULDER_M = 3.4, 0.6  # m
STEP_OFF_MPS2 = 2.5
HEDGE_SIZE_M = (6.0, 0.8, 1.9)  # m
HIDDEN_WALK_M = 0.8  # m that the pedestrian walks before being in sight


def _time(p: Values) -> float:
    """Return the time (s) from the first step to the middle of the ego's lane."""
    return (
        travel_time(0.5 * LANE_WIDTH_M + SHOULDER_M + p["setback"], p["walking_speed"], STEP_OFF_MPS2) - p["lateness"]
    )


def _accepts(p: Values) -> bool:
    """A careful driver stops once the pedestrian is in sight."""
    hidden = travel_time(HIDDEN_WALK_M, p["walking_speed"], STEP_OFF_MPS2)
    return can_stop(p["ego_speed"], p["ego_speed"] * (_time(p) - hidden))


def _make(p: Values, rng: Rng) -> Scenario:
    speed, limit = p["ego_speed"], posted_limit(p["ego_speed"])
    distance = speed * (_time(p) + float(rng.uniform(1.0, 2.5)))
    section = CrossSection(int(p["lanes"]), int(p["lanes"]), LANE_WIDTH_M, SHOULDER_M)
    lane = section.forward - 1
    site = road_site(
        rng, speed, limit, section, lane=lane, duration=DURATION_S, curvature=p["curvature"], reach=distance + 170.0
    )
    place = START_M + distance
    site.crosser(
        "jaywalker",
        place,
        p["walking_speed"],
        setback=p["setback"],
        acceleration=STEP_OFF_MPS2,
        lateness=p["lateness"],
    )
    hedge = place - 0.6 - 0.5 * HEDGE_SIZE_M[0], section.right_kerb - p["setback"] + HIDDEN_WALK_M + 0.2
    site.prop("hedge", Category.VEGETATION, *hedge, HEDGE_SIZE_M)
    site.clear(place, 3.0, 10.0)
    site.flow(lane, [-28.0])
    site.oncoming([distance - 35.0, distance + 8.0 * limit, distance + 11.0 * limit], 0.7 * limit)
    return site.scenario(distance + 25.0)


JAYWALKER = Family(
    name="jaywalker",
    number=158,
    title="Jaywalker",
    summary="A pedestrian walks onto the road from behind a hedge, away from any crosswalk.",
    group=Group.VULNERABLE,
    cluster=OodCluster.PEDESTRIAN_DENSITY_OR_CLOSE_PROXIMITY,
    trigger=CocTrigger.YIELD_TO_VRU,
    decision=(Longitudinal.YIELD, Lateral.LANE_KEEPING),
    critical_actors=("jaywalker",),
    odd=(OddTag.URBAN, OddTag.TWO_WAY, OddTag.OCCLUSION),
    source="CARLA leaderboard 2.0 DynamicObjectCrossing: 15 to 113 m, with a blocking prop",
    parameters=(
        ego_speed(5.0, 11.0, 8.0, "town streets, 20 to 40 km/h"),
        Parameter("walking_speed", "m/s", 1.2, 2.2, "Euro NCAP: 5 and 8 km/h", default=1.5),
        Parameter("setback", "m", 1.9, 3.5, "distance to the kerb at which the pedestrian stands", default=2.2),
        lateness(0.4),
        lane_count(1, 2, 1, "lanes each way"),
        bend(0.004),
    ),
    accepts=_accepts,
    make=_make,
    held_out=True,
)
