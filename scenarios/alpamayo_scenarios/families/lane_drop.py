"""Lane drop: the ego's lane ends, and a car keeps its speed in the next lane where the ego has to merge."""

from alpamayo_scenarios.families.axes import ego_speed, lane_count
from alpamayo_scenarios.families.family import Family, Parameter, Rng, Values, posted_limit
from alpamayo_scenarios.families.taxonomy import CocTrigger, Group, OddTag, OodCluster
from alpamayo_scenarios.merges import merge_site
from alpamayo_scenarios.roads import CrossSection
from alpamayo_scenarios.scenery import draw_truck
from alpamayo_scenarios.sites import START_M
from alpamayo_sim.datatypes.reasoning import Lateral, Longitudinal
from alpamayo_sim.datatypes.scenario import Scenario
from alpamayo_sim.datatypes.scene import Category

DURATION_S = 17.0
MERGED_SHARE = 0.6  # of the taper after which the ego is well into the next lane
GAP_M = 30.0  # between the neighbour and the cars before and behind it, at least


def _accepts(p: Values) -> bool:
    """The ego has time to fall back by a truck's length before the taper ends."""
    return p["to_taper"] + 0.4 * p["taper"] >= 2.2 * p["ego_speed"]


def _make(p: Values, rng: Rng) -> Scenario:
    speed, limit, count = p["ego_speed"], posted_limit(p["ego_speed"]), int(p["lanes"])
    section = CrossSection(count + 1, 0, 3.6, float(rng.uniform(0.8, 1.8)))
    site = merge_site(
        rng, speed, limit, section, lane=count, to_taper=p["to_taper"], taper=p["taper"], duration=DURATION_S
    )
    size, pace = draw_truck(rng), p["neighbour_share"] * speed
    merged = p["to_taper"] + MERGED_SHARE * p["taper"]
    ahead = merged * (1.0 - pace / speed) + p["shift"]
    site.actor("neighbour", START_M + ahead, site.d(count - 1), pace, size, category=Category.TRUCK)
    site.flow(count - 1, [ahead - GAP_M - 18.0, ahead + GAP_M + 12.0], pace)
    return site.scenario(merged + 60.0)


LANE_DROP = Family(
    name="lane-drop",
    number=120,
    title="Lane drop",
    summary="The ego's lane ends, and a truck keeps its speed in the next lane where the ego has to merge.",
    group=Group.LATERAL,
    cluster=OodCluster.OTHER_LONGTAIL,
    trigger=CocTrigger.LANE_CHANGE,
    decision=(Longitudinal.GAP_SEARCHING, Lateral.MERGE_SPLIT),
    critical_actors=("neighbour",),
    odd=(OddTag.MOTORWAY, OddTag.ONE_WAY, OddTag.MERGE),
    source="NHTSA pre-crash typology, changing lanes, same direction; lane drops of ISO 34502",
    parameters=(
        ego_speed(9.0, 20.0, 14.0, "urban arterials and ring roads, 30 to 70 km/h"),
        Parameter("to_taper", "m", 25.0, 70.0, "sight of the end of the lane", default=45.0),
        Parameter("taper", "m", 30.0, 60.0, "tapers of 1:8 to 1:16", default=45.0),
        Parameter("neighbour_share", "1", 0.8, 1.0, "speed of the truck, share of the ego's", default=0.92),
        Parameter("shift", "m", -3.0, 3.0, "place of the truck at the merge, to the ego's centre", default=0.0),
        lane_count(1, 2, 1, "lanes that go on"),
    ),
    accepts=_accepts,
    make=_make,
)
