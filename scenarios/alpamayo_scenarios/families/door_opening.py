"""Door opening: the door of a parked car opens into the ego's lane."""

from alpamayo_scenarios.behaviours import at_arrival
from alpamayo_scenarios.families.axes import bend, can_stop, ego_speed
from alpamayo_scenarios.families.family import Family, Parameter, Rng, Values, posted_limit
from alpamayo_scenarios.families.taxonomy import CocTrigger, Group, OddTag, OodCluster
from alpamayo_scenarios.roads import CrossSection
from alpamayo_scenarios.scenery import add_parked_cars, draw_car
from alpamayo_scenarios.sites import START_M, road_site
from alpamayo_sim.datatypes.manoeuvres import door
from alpamayo_sim.datatypes.reasoning import Lateral, Longitudinal
from alpamayo_sim.datatypes.scenario import Scenario

DURATION_S = 15.0
PARKING_WIDTH_M = 2.2  # m


def _accepts(p: Values) -> bool:
    """A careful driver can stop before the door, and a steady one hits it."""
    return can_stop(p["ego_speed"], p["ego_speed"] * p["arrival_time"] - 1.0)


def _make(p: Values, rng: Rng) -> Scenario:
    speed, limit = p["ego_speed"], posted_limit(p["ego_speed"])
    section = CrossSection(1, 1, 3.2, p["clearance"], PARKING_WIDTH_M)
    distance = speed * (p["arrival_time"] + float(rng.uniform(0.8, 2.0)))
    site = road_site(rng, speed, limit, section, curvature=p["curvature"], reach=distance + 170.0)
    place, size = START_M + distance, draw_car(rng)
    d = section.right_edge - section.shoulder - 0.5 * size[1] - 0.05
    site.standing("parked-door", place, d, size)
    opens = at_arrival(p["arrival_time"], site.point(place))
    track, script = door(site.stage.tracks[-1], True, opens)
    site.stage.tracks.append(track)
    site.stage.scripts.append(script)
    row = section.parking_centre
    add_parked_cars(site.stage, rng, row, (place - 45.0, place - 3.6), (0.8, 2.5))
    add_parked_cars(site.stage, rng, row, (place + 3.6, place + 40.0), (0.8, 2.5))
    site.oncoming([k * 1.8 * limit for k in range(1, 9)], 0.8 * limit)
    site.flow(0, [-28.0])
    return site.scenario(distance + 25.0)


DOOR_OPENING = Family(
    name="door-opening",
    number=134,
    title="Opening door",
    summary="The door of a parked car opens into the ego's lane of a narrow street.",
    group=Group.OBSTACLE,
    cluster=OodCluster.SPECIAL_OR_UNCOMMON_VEHICLE_BEHAVIOR,
    trigger=CocTrigger.NUDGE,
    decision=(Longitudinal.SPEED_ADAPTATION, Lateral.IN_LANE_NUDGE),
    critical_actors=("parked-door-door",),
    odd=(OddTag.URBAN, OddTag.TWO_WAY, OddTag.PARKING),
    source="CARLA leaderboard 2.0 VehicleOpensDoorTwoWays",
    parameters=(
        ego_speed(5.5, 12.0, 8.5, "town streets, 20 to 45 km/h"),
        Parameter("arrival_time", "s", 2.2, 4.0, "CARLA VehicleOpensDoor: 35 to 80 m", default=3.0),
        Parameter("clearance", "m", 0.02, 0.12, "between the lane and the parked cars", default=0.05),
        bend(0.002),
    ),
    accepts=_accepts,
    make=_make,
)
