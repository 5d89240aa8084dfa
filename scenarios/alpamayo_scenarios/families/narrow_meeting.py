"""Narrow meeting: parked cars on both sides leave room for one, and oncoming cars are in it first."""

from alpamayo_scenarios.families.axes import bypass_accepted, ego_speed
from alpamayo_scenarios.families.family import Family, Parameter, Rng, Values, posted_limit
from alpamayo_scenarios.families.taxonomy import CocTrigger, Group, OddTag, OodCluster
from alpamayo_scenarios.obstacles import add_oncoming_platoon
from alpamayo_scenarios.roads import CrossSection
from alpamayo_scenarios.scenery import draw_car
from alpamayo_scenarios.sites import START_M, road_site
from alpamayo_sim.datatypes.reasoning import Lateral, Longitudinal
from alpamayo_sim.datatypes.scenario import Scenario

DURATION_S = 20.0
LANE_WIDTH_M, SHOULDER_M = 3.1, 1.6
MIDDLE_M = 1.0  # the offset of the middle between the parked cars, most of which stand in the ego's lane
GOAL_BEYOND_M = 12.0  # from the end of the narrow part to the goal
SLOW_PASSING_M = 15.0  # that the ego would come further if it did not slow down between the parked cars
CAR_PITCH_M = 5.8


def _accepts(p: Values) -> bool:
    return bypass_accepted(p, p["length"] + GOAL_BEYOND_M + SLOW_PASSING_M, DURATION_S)


def _make(p: Values, rng: Rng) -> Scenario:
    speed, limit, gap = p["ego_speed"], posted_limit(p["ego_speed"]), p["ego_speed"] * p["distance_time"]
    site = road_site(
        rng, speed, limit, CrossSection(1, 1, LANE_WIDTH_M, SHOULDER_M), duration=DURATION_S, reach=gap + 230.0
    )
    first, count = START_M + gap, max(int(p["length"] / CAR_PITCH_M), 1)
    end = first + count * CAR_PITCH_M
    for k in range(count):
        for name, side in (("right", -1.0), ("left", 1.0)):
            size = draw_car(rng)
            d = MIDDLE_M + side * 0.5 * (p["room"] + size[1])
            site.standing(f"narrow-{name}-{k}", first + (k + 0.5) * CAR_PITCH_M, d, size)
    cars = p["clear_time"], p["oncoming_speed"], int(p["oncoming_cars"])
    add_oncoming_platoon(site, first, *cars, narrow=(first, end, MIDDLE_M))
    site.flow(0, [-28.0])
    return site.scenario(end - START_M + GOAL_BEYOND_M)


NARROW_MEETING = Family(
    name="narrow-meeting",
    number=137,
    title="Meeting in a narrow street",
    summary="Cars parked on both sides of a street leave room for one, and oncoming cars are in it first.",
    group=Group.OBSTACLE,
    cluster=OodCluster.OTHER_LONGTAIL,
    trigger=CocTrigger.NUDGE,
    decision=(Longitudinal.GAP_SEARCHING, Lateral.OUT_OF_LANE_NUDGE),
    critical_actors=("narrow-*", "oncoming-*"),
    odd=(OddTag.URBAN, OddTag.TWO_WAY, OddTag.PARKING),
    source="ISO 34502, traffic disturbance on narrow roads; CARLA leaderboard 2.0 ParkedObstacleTwoWays",
    parameters=(
        ego_speed(6.0, 10.0, 7.5, "residential streets, 22 to 36 km/h"),
        Parameter("distance_time", "s", 4.0, 7.0, "time to the narrow part at the start", default=5.0),
        Parameter("room", "m", 3.2, 3.8, "width between the parked cars", default=3.5),
        Parameter("length", "m", 6.0, 18.0, "length of the narrow part", default=12.0),
        Parameter("oncoming_cars", "1", 1, 3, "a platoon from the other side", integer=True, default=2.0),
        Parameter("oncoming_speed", "m/s", 5.0, 8.0, "residential streets, 18 to 30 km/h", default=6.5),
        Parameter("clear_time", "s", 4.0, 8.0, "when the last oncoming car is through", default=6.0),
    ),
    accepts=_accepts,
    make=_make,
)
