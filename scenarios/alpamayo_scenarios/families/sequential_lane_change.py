"""Sequential lane change: the route leads over two lanes in a row, and both have dense traffic."""

from alpamayo_scenarios.families.axes import ego_speed
from alpamayo_scenarios.families.family import Family, Parameter, Rng, Values, posted_limit
from alpamayo_scenarios.families.taxonomy import CocTrigger, Group, OddTag, OodCluster
from alpamayo_scenarios.roads import CrossSection
from alpamayo_scenarios.sites import START_M, site_on
from alpamayo_scenarios.weaving import Change, weaving_road
from alpamayo_sim.datatypes.reasoning import Lateral, Longitudinal
from alpamayo_sim.datatypes.scenario import Scenario

DURATION_S = 20.0
GOAL_BEYOND_M = 12.0  # the second change
CHANGED_SHARE = 0.6  # of a change after which the ego is well into the next lane
GAP_SEARCH_S = 2.8  # to fall back by half a gap and a car's length


def _accepts(p: Values) -> bool:
    """The ego has time to fall back to the next gap before each change."""
    return min(p["lead_time"], p["between_time"]) + 0.4 * p["change_time"] >= GAP_SEARCH_S


def _make(p: Values, rng: Rng) -> Scenario:
    speed, limit = p["ego_speed"], posted_limit(p["ego_speed"])
    section = CrossSection(3, 0, 3.6, float(rng.uniform(0.8, 1.8)))
    origin, step = (2, -1) if p["to_left"] else (0, 1)
    length = p["change_time"] * speed
    begins = [p["lead_time"] * speed, (p["lead_time"] + p["change_time"] + p["between_time"]) * speed]
    changes = [
        Change(origin + k * step, origin + (k + 1) * step, START_M + begin, START_M + begin + length)
        for k, begin in enumerate(begins)
    ]
    road = weaving_road(changes[-1].end + 250.0, section, limit, changes)
    site = site_on(road, rng, speed, limit, origin, DURATION_S)
    for change, begin, share in zip(changes, begins, (p["flow_share"], p["second_share"]), strict=True):
        meets = begin + CHANGED_SHARE * length
        site.dense_flow(f"flow-{change.target}", change.target, meets, share * speed, p["flow_gap"], p["shift"])
    site.flow(origin, [-30.0])
    return site.scenario(begins[-1] + length + GOAL_BEYOND_M)


SEQUENTIAL_LANE_CHANGE = Family(
    name="sequential-lane-change",
    number=124,
    title="Two lane changes in a row",
    summary="The route leads over two lanes in a row, and both have dense traffic at speeds of their own.",
    group=Group.LATERAL,
    cluster=OodCluster.OTHER_LONGTAIL,
    trigger=CocTrigger.LANE_CHANGE,
    decision=(Longitudinal.GAP_SEARCHING, Lateral.MERGE_SPLIT),
    critical_actors=("flow-*",),
    odd=(OddTag.MOTORWAY, OddTag.ONE_WAY, OddTag.MERGE),
    source="CARLA leaderboard 2.0 and Bench2Drive, SequentialLaneChange",
    parameters=(
        ego_speed(10.0, 17.0, 13.0, "urban arterials, 35 to 60 km/h"),
        Parameter("flow_share", "1", 0.75, 0.97, "speed of the first flow, share of the ego's", default=0.88),
        Parameter("second_share", "1", 0.75, 0.97, "speed of the second flow, share of the ego's", default=0.82),
        Parameter("flow_gap", "m", 18.0, 40.0, "CARLA leaderboard 2.0: gaps of 10 to 55 m", default=26.0),
        Parameter("lead_time", "s", 1.8, 3.0, "time to the beginning of the first change", default=2.4),
        Parameter("change_time", "s", 2.8, 3.3, "lane changes of 3 s", default=3.0),
        Parameter("between_time", "s", 1.6, 2.4, "time from the first change to the second", default=2.0),
        Parameter("to_left", "1", 0, 1, "to the right (0) or the left (1)", integer=True, default=0.0),
        Parameter("shift", "m", -2.0, 2.0, "place of a car at each change, to the ego's centre", default=0.0),
    ),
    accepts=_accepts,
    make=_make,
    held_out=True,
)
