"""Motorway cut-in: a slow vehicle at the end of an acceleration lane moves in closely before the ego."""

from alpamayo_scenarios.families.axes import ego_speed, slowing_gap
from alpamayo_scenarios.families.family import Family, Parameter, Rng, Values, posted_limit
from alpamayo_scenarios.families.taxonomy import CocTrigger, Group, OddTag, OodCluster
from alpamayo_scenarios.merges import add_merging, merge_site
from alpamayo_scenarios.roads import CrossSection
from alpamayo_scenarios.scenery import draw_truck
from alpamayo_scenarios.sites import START_M
from alpamayo_scenarios.stage import EGO_SIZE
from alpamayo_sim.datatypes.reasoning import Lateral, Longitudinal
from alpamayo_sim.datatypes.scenario import Scenario

DURATION_S = 17.0
SEEN_SHARE = 0.25  # of the taper after which a careful driver sees the move over


def _accepts(p: Values) -> bool:
    """Braking when the vehicle begins to move over avoids it, and a steady ego runs into it within 7 s."""
    closing = p["closing_share"] * p["ego_speed"]
    slow = p["ego_speed"] - closing
    moved = closing * SEEN_SHARE * p["taper"] / slow
    return p["gap"] - moved >= slowing_gap(closing) - 4.0 and p["gap"] <= 7.0 * closing


def _make(p: Values, rng: Rng) -> Scenario:
    speed, limit = p["ego_speed"], posted_limit(p["ego_speed"])
    slow = (1.0 - p["closing_share"]) * speed
    section = CrossSection(3, 0, 3.7, float(rng.uniform(1.5, 2.5)))
    size = draw_truck(rng)
    between = p["gap"] + 0.5 * (EGO_SIZE[0] + size[0])
    wait = p["lead_time"]
    to_taper = speed * wait + between
    site = merge_site(rng, speed, limit, section, lane=1, to_taper=to_taper, taper=p["taper"], duration=DURATION_S)
    place = START_M + to_taper - slow * wait
    add_merging(site, ["entering"], [place], slow, [size])
    site.flow(0, [-22.0, 6.0, 40.0], 1.05 * speed)
    site.flow(1, [-36.0], speed)
    return site.scenario(to_taper + p["taper"] + 40.0)


HIGHWAY_CUT_IN = Family(
    name="highway-cut-in",
    number=115,
    title="Motorway cut-in",
    summary="A slow truck at the end of an acceleration lane moves in closely before the ego on a motorway.",
    group=Group.LATERAL,
    cluster=OodCluster.SPECIAL_OR_UNCOMMON_VEHICLE_BEHAVIOR,
    trigger=CocTrigger.CUT_IN,
    decision=(Longitudinal.YIELD, Lateral.LANE_KEEPING),
    critical_actors=("entering",),
    odd=(OddTag.MOTORWAY, OddTag.ONE_WAY, OddTag.MERGE),
    source="CARLA leaderboard 2.0 HighwayCutIn; ASAM OSC-ALKS cut-in",
    parameters=(
        ego_speed(14.0, 28.0, 20.0, "motorways, 50 to 100 km/h"),
        Parameter("closing_share", "1", 0.2, 0.45, "the truck is 10 to 50 km/h slower", default=0.3),
        Parameter("gap", "m", 12.0, 45.0, "bumper gap when the truck begins to move over", default=25.0),
        Parameter("taper", "m", 35.0, 70.0, "tapers of 1:9 to 1:19", default=45.0),
        Parameter("lead_time", "s", 1.5, 3.0, "time until the truck begins to move over", default=2.0),
    ),
    accepts=_accepts,
    make=_make,
)
