"""Occluded junction: a car comes out of a side road that parked vans hide."""

from alpamayo_scenarios.actors import DELIVERY_VAN
from alpamayo_scenarios.conflicts import add_conflict, travel_time
from alpamayo_scenarios.families.axes import can_stop, ego_speed, lateness
from alpamayo_scenarios.families.family import Family, Parameter, Rng, Values, posted_limit
from alpamayo_scenarios.families.taxonomy import CocTrigger, Group, OddTag, OodCluster
from alpamayo_scenarios.junctions import JunctionSite, junction_site
from alpamayo_scenarios.scenery import draw_car
from alpamayo_sim.datatypes.reasoning import Lateral, Longitudinal
from alpamayo_sim.datatypes.scenario import Scenario
from alpamayo_sim.datatypes.scene import Category

DURATION_S = 15.0
HIDDEN_S = 0.6  # s that the car moves before it is in sight
MIN_CROSSING_PATH_M = 10.5  # m from where the car waits to the ego's lane, at least


def _accepts(p: Values) -> bool:
    """A careful driver stops once the car starts, and half a second later where it is hidden."""
    time = travel_time(MIN_CROSSING_PATH_M, p["crossing_speed"], p["pull_away"]) - p["lateness"] - HIDDEN_S
    return can_stop(p["ego_speed"], p["ego_speed"] * time)


def _make(p: Values, rng: Rng) -> Scenario:
    speed, limit = p["ego_speed"], posted_limit(p["ego_speed"])
    arm, turn, missing = "south", "left", "north"
    site = junction_site(
        rng, speed, float(rng.uniform(4.5, 6.5)), limit, duration=DURATION_S, without=missing, crosswalks=False
    )
    add_conflict(
        site.stage,
        site.route.path,
        "crossing",
        Category.VEHICLE,
        draw_car(rng),
        site.path(arm, turn, 1.0),
        p["crossing_speed"],
        acceleration=p["pull_away"],
        lateness=p["lateness"],
    )
    _hide(site, p["sight"])
    return site.scenario(40.0)


def _hide(site: JunctionSite, sight: float) -> None:
    """Add vans on the corner between the ego and the side road, beside the kerb of the main road."""
    y = site.section.right_kerb - 0.5 * DELIVERY_VAN[1] - 0.3
    for k in range(3):
        x = -(site.crossing.box - 2.0) - 0.5 * DELIVERY_VAN[0] - k * (DELIVERY_VAN[0] + 1.0) - sight
        site.stage.add_prop(f"fence-{k}", Category.BUILDING, (x, y - 1.2, 0.0), (DELIVERY_VAN[0], 2.0, 2.6))


OCCLUDED_JUNCTION = Family(
    name="occluded-junction",
    number=152,
    title="Occluded junction",
    summary="A car comes out of a side road of a T junction that parked vans hide until it is on the road.",
    group=Group.INTERSECTION,
    cluster=OodCluster.COMPLEX_INTERSECTION_INTERACTION,
    trigger=CocTrigger.RISKY_DRIVING,
    decision=(Longitudinal.YIELD, Lateral.LANE_KEEPING),
    critical_actors=("crossing",),
    odd=(OddTag.URBAN, OddTag.JUNCTION, OddTag.OCCLUSION),
    source="Occluded crossing paths, sight distance of 5 to 40 m; Euro NCAP CCCscp with obstruction",
    parameters=(
        ego_speed(5.5, 11.0, 8.0, "Euro NCAP CCCscp: 20 to 60 km/h"),
        Parameter("crossing_speed", "m/s", 4.0, 8.0, "Euro NCAP CCCscp targets: 20 km/h and above", default=5.5),
        Parameter("pull_away", "m/s²", 1.5, 3.0, "passenger cars pulling away", default=2.0),
        lateness(0.4),
        Parameter("sight", "m", 0.0, 8.0, "from the corner of the kerb to what hides the side road", default=3.0),
    ),
    accepts=_accepts,
    make=_make,
    held_out=True,
)
