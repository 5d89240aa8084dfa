"""Ramp entry: cars come along an acceleration lane in a row and merge into the ego's lane."""

from alpamayo_scenarios.families.axes import ego_speed
from alpamayo_scenarios.families.family import Family, Parameter, Rng, Values, posted_limit
from alpamayo_scenarios.families.taxonomy import CocTrigger, Group, OddTag, OodCluster
from alpamayo_scenarios.merges import MergingRoad, add_merging, merge_site
from alpamayo_scenarios.roads import CrossSection
from alpamayo_scenarios.scenery import draw_car
from alpamayo_scenarios.sites import START_M
from alpamayo_sim.datatypes.reasoning import Lateral, Longitudinal
from alpamayo_sim.datatypes.scenario import Scenario

DURATION_S = 17.0
MERGED_SHARE = 0.5  # of the taper after which a car is in the way
MIN_START_M = 6.0  # from the beginning of the road to the last car of the row


def _accepts(p: Values) -> bool:
    """A careful driver can fall back behind the row, which is slower, before the taper ends."""
    row = (p["cars"] - 1.0) * p["spacing"]
    slower = p["flow_share"] <= 0.97
    return slower and p["to_taper"] >= 2.6 * p["ego_speed"] and row <= 45.0


def _make(p: Values, rng: Rng) -> Scenario:
    speed, limit, count = p["ego_speed"], posted_limit(p["ego_speed"]), int(p["cars"])
    section = CrossSection(3, 0, 3.6, float(rng.uniform(0.8, 1.8)))
    site = merge_site(rng, speed, limit, section, lane=1, to_taper=p["to_taper"], taper=p["taper"], duration=DURATION_S)
    assert isinstance(site.road, MergingRoad)
    pace = p["flow_share"] * speed
    merged = p["to_taper"] + MERGED_SHARE * p["taper"]
    middle = merged * (1.0 - pace / speed) + p["shift"]
    places = [START_M + middle + (0.5 * (count - 1) - k) * p["spacing"] for k in range(count)]
    names = [f"entering-{k}" for k in range(count)]
    kept = [k for k, place in enumerate(places) if place > MIN_START_M]
    add_merging(site, [names[k] for k in kept], [places[k] for k in kept], pace, [draw_car(rng) for _ in kept])
    site.flow(0, [-24.0, 8.0, 42.0], 1.05 * speed)
    site.flow(1, [-34.0], speed)
    return site.scenario(merged + 60.0)


RAMP_ENTRY = Family(
    name="ramp-entry",
    number=122,
    title="Cars enter from a ramp",
    summary="A row of cars comes along an acceleration lane and merges into the ego's lane.",
    group=Group.LATERAL,
    cluster=OodCluster.OTHER_LONGTAIL,
    trigger=CocTrigger.CUT_IN,
    decision=(Longitudinal.YIELD, Lateral.LANE_KEEPING),
    critical_actors=("entering-*",),
    odd=(OddTag.MOTORWAY, OddTag.ONE_WAY, OddTag.MERGE),
    source="CARLA leaderboard 2.0 EnterActorFlow: 12 to 20 m/s",
    parameters=(
        ego_speed(11.0, 22.0, 15.0, "CARLA leaderboard 2.0: flow of 12 to 20 m/s"),
        Parameter("flow_share", "1", 0.75, 0.97, "speed of the row, share of the ego's", default=0.88),
        Parameter("cars", "1", 1, 4, "cars in the row", integer=True, default=3.0),
        Parameter("spacing", "m", 12.0, 22.0, "CARLA leaderboard 2.0: gaps of 10 m and more", default=15.0),
        Parameter("to_taper", "m", 35.0, 90.0, "acceleration lanes of 100 to 200 m", default=60.0),
        Parameter("taper", "m", 35.0, 60.0, "tapers of 1:10 to 1:17", default=45.0),
        Parameter("shift", "m", -4.0, 4.0, "place of the row's middle at the merge, to the ego's centre", default=0.0),
    ),
    accepts=_accepts,
    make=_make,
)
